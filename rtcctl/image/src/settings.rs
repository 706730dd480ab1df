//! What is built from what: everything that decides an image's digest, beside the content of the files named here.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use oci::media::Compression;
use oci::{Descriptor, Platform};

use crate::layer::Packing;
use crate::root::{Account, Certificates, Zones};

/// A program for one platform.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Binary {
    pub path: PathBuf,
    /// What it must be for; `None` takes it as it is.
    pub platform: Option<Platform>,
    /// Where its libraries are taken from: `/`, or the root of another platform's files.
    pub sysroot: PathBuf,
}

impl Binary {
    pub fn new(path: impl Into<PathBuf>) -> Binary {
        Binary { path: path.into(), platform: None, sysroot: PathBuf::from("/") }
    }
}

/// An image of one platform that lies in the layout with all of its layers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Base {
    /// As it was asked for: `debian:13-slim`.
    pub name: String,
    pub manifest: Descriptor,
}

/// What a program stands on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Foundation {
    /// Only what it needs, taken from its sysroot.
    #[default]
    Minimal,
    /// Other images, one for each platform.
    Bases(Vec<Base>),
}

/// A file beside the program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Extra {
    pub source: PathBuf,
    pub target: String,
    pub mode: u32,
}

/// Whose dependencies the bill of materials names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Materials {
    /// `Cargo.lock`
    pub lock: PathBuf,
    /// The package of the binary.
    pub package: String,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// What the program is called in the image and in its bill of materials.
    pub name: String,
    pub binaries: Vec<Binary>,
    pub foundation: Foundation,
    /// Where certificates and time zones are taken from: `/`. They are the same for every platform.
    pub system: PathBuf,
    pub certificates: Certificates,
    pub zones: Zones,
    /// Where the program lies in the image; `None` is `/usr/local/bin/` and its name.
    pub target: Option<String>,
    pub extras: Vec<Extra>,
    /// Who runs it; `None` is the default account, or whom the base names.
    pub account: Option<Account>,
    /// Folders that the account may write, beside its home.
    pub owned: Vec<String>,
    /// `8080/tcp`; without a protocol it is TCP.
    pub ports: Vec<String>,
    pub labels: BTreeMap<String, String>,
    pub environment: BTreeMap<String, String>,
    /// `None` is the program itself.
    pub entrypoint: Option<Vec<String>>,
    pub cmd: Option<Vec<String>>,
    pub workdir: Option<String>,
    pub volumes: Vec<String>,
    pub stop_signal: Option<String>,
    /// Seconds since 1970, of the image and of every file in it: `SOURCE_DATE_EPOCH`.
    pub epoch: u64,
    /// Where the source is: a URL.
    pub source: Option<String>,
    /// The commit.
    pub revision: Option<String>,
    pub version: Option<String>,
    /// Further annotations of the manifest.
    pub annotations: BTreeMap<String, String>,
    pub compression: Compression,
    /// `None` makes no bill of materials.
    pub materials: Option<Materials>,
}

impl Settings {
    /// An image of one program with nothing but what it needs.
    pub fn new(name: impl Into<String>, binary: impl Into<PathBuf>) -> Settings {
        Settings {
            name: name.into(),
            binaries: vec![Binary::new(binary)],
            foundation: Foundation::default(),
            system: PathBuf::from("/"),
            certificates: Certificates::default(),
            zones: Zones::default(),
            target: None,
            extras: Vec::new(),
            account: None,
            owned: Vec::new(),
            ports: Vec::new(),
            labels: BTreeMap::new(),
            environment: BTreeMap::new(),
            entrypoint: None,
            cmd: None,
            workdir: None,
            volumes: Vec::new(),
            stop_signal: None,
            epoch: 0,
            source: None,
            revision: None,
            version: None,
            annotations: BTreeMap::new(),
            compression: Compression::Gzip,
            materials: None,
        }
    }

    pub(crate) fn target(&self) -> String {
        self.target.clone().unwrap_or_else(|| format!("/usr/local/bin/{}", self.name))
    }

    pub(crate) fn packing(&self) -> Packing {
        Packing { compression: self.compression, epoch: self.epoch }
    }
}

/// What a layer is there for: they change at different times.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Concern {
    /// Libraries, users, folders.
    Root,
    /// Certificates and time zones, which go out of date by themselves.
    World,
    /// The program and what lies beside it.
    Application,
}

impl fmt::Display for Concern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Concern::Root => "root",
            Concern::World => "certificates and time zones",
            Concern::Application => "application",
        })
    }
}
