//! `[images.NAME]`: what an image is made of, and the repository that holds it.

mod values;

use std::collections::BTreeMap;
use std::fmt;

use codes::{Error, Result};
use serde::de::value::MapAccessDeserializer;
use serde::de::{IntoDeserializer, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Value, json};
use toml::Spanned;
use toml::de::DeValue;

pub use values::platform;

use super::file::Reader;

const KEYS: [&str; 18] = [
    "about",
    "base",
    "binaries",
    "command",
    "compression",
    "entrypoint",
    "environment",
    "folders",
    "labels",
    "package",
    "path",
    "ports",
    "repository",
    "source",
    "stop_signal",
    "user",
    "workdir",
    "zones",
];
const BINARY_KEYS: [&str; 3] = ["path", "platform", "sysroot"];
const REPOSITORY_KEYS: [&str; 5] = ["immutable", "kept_releases", "name", "scan_on_push", "untagged_days"];

/// An image as `rtc.toml` describes it. Paths are relative to that file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImageEntry {
    #[serde(default)]
    pub about: String,
    /// One program a platform.
    pub binaries: Vec<BinaryEntry>,
    /// The package in `Cargo.lock` whose dependencies are in the binary; the image's name where it is empty.
    #[serde(default)]
    pub package: String,
    /// `none`, or `registry/repository@sha256:…`.
    #[serde(default = "none")]
    pub base: String,
    /// Where the program is in the image; `/usr/local/bin/NAME` where it is empty.
    #[serde(default)]
    pub path: String,
    /// What is started; the program where it is empty.
    #[serde(default)]
    pub entrypoint: Vec<String>,
    #[serde(default)]
    pub command: Vec<String>,
    /// Who the program runs as, in numbers; group and user are the same.
    #[serde(default = "nobody")]
    pub user: u32,
    #[serde(default)]
    pub ports: Vec<u16>,
    /// Folders that the user may write.
    #[serde(default)]
    pub folders: Vec<String>,
    #[serde(default)]
    pub workdir: String,
    /// The time zones that the image knows; all where it is empty.
    #[serde(default)]
    pub zones: Vec<String>,
    #[serde(default)]
    pub stop_signal: String,
    /// Where the source is published, for the annotation.
    #[serde(default)]
    pub source: String,
    #[serde(default)]
    pub compression: Compression,
    #[serde(default)]
    pub environment: BTreeMap<String, String>,
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    #[serde(default)]
    pub repository: RepositoryEntry,
    /// Where it stands, for whoever finds fault with it.
    #[serde(skip)]
    pub place: String,
    /// The folder that its paths are relative to.
    #[serde(skip)]
    pub folder: std::path::PathBuf,
}

/// A program: its path, or a table where there is more to say.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct BinaryEntry {
    pub path: String,
    /// What it must be for, `linux/arm64`; what its file says where it is empty.
    pub platform: String,
    /// The folder that its libraries are taken from, as they would lie below `/`; this machine where it is empty.
    pub sysroot: String,
}

/// The same as a table.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct BinaryTable {
    path: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    platform: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    sysroot: String,
}

impl<'de> Deserialize<'de> for BinaryEntry {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;

        impl<'de> Visitor<'de> for Either {
            type Value = BinaryEntry;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a path, or { path, platform, sysroot }")
            }

            fn visit_str<E>(self, path: &str) -> Result<BinaryEntry, E> {
                Ok(BinaryEntry { path: path.to_owned(), ..BinaryEntry::default() })
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<BinaryEntry, A::Error> {
                let table = BinaryTable::deserialize(MapAccessDeserializer::new(map))?;
                Ok(BinaryEntry { path: table.path, platform: table.platform, sysroot: table.sysroot })
            }
        }

        deserializer.deserialize_any(Either)
    }
}

impl Serialize for BinaryEntry {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { path, platform, sysroot } = self.clone();
        match platform.is_empty() && sysroot.is_empty() {
            true => serializer.serialize_str(&path),
            false => BinaryTable { path, platform, sysroot }.serialize(serializer),
        }
    }
}

/// How layers are compressed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Compression {
    #[default]
    Gzip,
    Zstd,
}

/// The repository of an image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RepositoryEntry {
    /// Its name in the registry; the environment's `image_prefix`, a slash and the image's name where it is empty.
    pub name: String,
    pub immutable: bool,
    pub scan_on_push: bool,
    /// So many images stay, the last pushed first.
    pub kept_releases: u32,
    /// What has no tag goes after this many days.
    pub untagged_days: u32,
}

impl Default for RepositoryEntry {
    /// As `terraform/modules/ecr` makes it.
    fn default() -> Self {
        Self { name: String::new(), immutable: true, scan_on_push: true, kept_releases: 50, untagged_days: 7 }
    }
}

fn is_name(name: &str) -> bool {
    let is_letter = |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit();
    name.starts_with(is_letter)
        && name.ends_with(is_letter)
        && name.chars().all(|letter| is_letter(letter) || matches!(letter, '-' | '_' | '.'))
}

fn none() -> String {
    "none".to_owned()
}

/// A number that no system gives to anybody.
fn nobody() -> u32 {
    65_532
}

impl Reader<'_> {
    /// A table with no other keys than these.
    fn known(&self, value: &Spanned<DeValue<'_>>, keys: &[&str]) -> Result<()> {
        match self.table(value)?.iter().find(|(key, _)| !keys.contains(&key.get_ref().as_ref())) {
            Some((key, _)) => Err(self.unknown(key.get_ref(), key, keys)),
            None => Ok(()),
        }
    }

    /// The table `[images]`, in the order of the file.
    pub(super) fn images(&self, value: &Spanned<DeValue<'_>>) -> Result<Vec<(String, ImageEntry)>> {
        let mut images = Vec::new();
        for (name, value) in self.table(value)? {
            for (key, value) in self.table(value)? {
                if !KEYS.contains(&key.get_ref().as_ref()) {
                    return Err(self.unknown(key.get_ref(), key, &KEYS));
                }
                match key.get_ref().as_ref() {
                    "repository" => self.known(value, &REPOSITORY_KEYS)?,
                    "binaries" => {
                        let tables = value.get_ref().as_array().into_iter().flatten();
                        for table in tables.filter(|value| value.get_ref().is_table()) {
                            self.known(table, &BINARY_KEYS)?;
                        }
                    }
                    _ => {}
                }
            }
            let mut entry = ImageEntry::deserialize(value.clone().into_deserializer()).map_err(|error| {
                let at = error.span().map_or(name.span().start, |span| span.start);
                Error::new(&codes::CFG004, format!("{}: {}", self.place(at), error.message()))
            })?;
            entry.place = self.place(name.span().start);
            if !is_name(name.get_ref()) {
                let problem = "the name of an image is part of a repository and of a folder";
                let message = format!("{}: {:?}: {problem}", entry.place, name.get_ref());
                return Err(Error::new(&codes::CFG004, message).with_hint("use a to z, 0 to 9, - _ and ."));
            }
            if let Err(wrong) = values::check(&entry) {
                let top = wrong.key.split(['.', '[']).next().unwrap_or_default();
                let key = self.table(value)?.iter().find(|(key, _)| key.get_ref() == top);
                let at = key.map_or(name.span().start, |(key, _)| key.span().start);
                let place = format!("{}: images.{}.{}", self.place(at), name.get_ref(), wrong.key);
                let error = Error::new(&codes::CFG004, format!("{place}: {}", wrong.problem));
                return Err(error.with_hint(wrong.hint));
            }
            entry.folder = self.folder();
            images.push((name.span().start, name.get_ref().to_string(), entry));
        }
        images.sort_by_key(|(position, ..)| *position);
        Ok(images.into_iter().map(|(_, name, entry)| (name, entry)).collect())
    }
}

pub(super) fn json_schema() -> Value {
    let text = |about: &str| json!({"type": "string", "description": about});
    let texts = |about: &str| json!({"type": "array", "items": {"type": "string"}, "description": about});
    let map = |about: &str| json!({"type": "object", "additionalProperties": {"type": "string"}, "description": about});
    let flag = |about: &str| json!({"type": "boolean", "default": true, "description": about});
    let repository = RepositoryEntry::default();
    json!({
        "type": "object",
        "additionalProperties": false,
        "required": ["binaries"],
        "properties": {
            "about": text("what is in the image"),
            "binaries": {
                "type": "array",
                "description": "the program, once for each platform",
                "items": {"anyOf": [
                    {"type": "string"},
                    {
                        "type": "object",
                        "additionalProperties": false,
                        "required": ["path"],
                        "properties": {
                            "path": text("the program"),
                            "platform": text("what it must be for, as linux/arm64; what its file says by default"),
                            "sysroot": text("where its libraries are taken from; / by default"),
                        },
                    },
                ]},
            },
            "package": text("the package of Cargo.lock that the program is built from; the image's name by default"),
            "base": {
                "type": "string", "default": "none",
                "description": "registry/repository@sha256:DIGEST, or none: the libraries that the program needs",
            },
            "path": text("where the program is in the image; /usr/local/bin/NAME by default"),
            "entrypoint": texts("what is started; the program by default"),
            "command": texts("its arguments"),
            "user": {
                "type": "integer", "minimum": 1, "maximum": u32::MAX, "default": nobody(),
                "description": "the number of the user and of the group that it runs as",
            },
            "ports": {
                "type": "array", "items": {"type": "integer", "minimum": 1, "maximum": 65535},
                "description": "the TCP ports that it listens on",
            },
            "folders": texts("folders that the user may write"),
            "workdir": text("the folder that it is started in"),
            "zones": texts("the time zones that the image knows; all by default"),
            "stop_signal": text("what asks it to stop; SIGTERM by default"),
            "source": text("where the source is published"),
            "compression": {"enum": ["gzip", "zstd"], "default": "gzip", "description": "how layers are packed"},
            "environment": map("variables of the image"),
            "labels": map("labels of the image"),
            "repository": {
                "type": "object",
                "additionalProperties": false,
                "description": "how the repository is made where there is none",
                "properties": {
                    "name": text("its name; the environment's image_prefix/NAME by default"),
                    "immutable": flag("whether a tag stays where it is"),
                    "scan_on_push": flag("whether each push is scanned"),
                    "kept_releases": {
                        "type": "integer", "minimum": 5, "default": repository.kept_releases,
                        "description": "how many images stay, the last pushed first",
                    },
                    "untagged_days": {
                        "type": "integer", "minimum": 1, "default": repository.untagged_days,
                        "description": "after how many days an image without a tag goes",
                    },
                },
            },
        },
    })
}
