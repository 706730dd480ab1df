//! ELF files made by hand, and small sysroots of them.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use crate::settings::Settings;

pub const X86_64: u16 = 62;
pub const AARCH64: u16 = 183;

const PROGRAM: u16 = 2;
const SHARED: u16 = 3;

/// What an ELF file is to say about itself.
#[derive(Debug, Clone)]
pub struct Made {
    machine: u16,
    kind: u16,
    interpreter: Option<String>,
    entries: Vec<(u64, String)>,
    flags: Option<u64>,
    dynamic: bool,
    /// What comes after everything that is read.
    pub code: Vec<u8>,
}

impl Made {
    pub fn program(machine: u16, interpreter: &str) -> Made {
        Made {
            interpreter: Some(interpreter.to_owned()),
            flags: Some(0x0800_0000),
            ..Made::library(machine, "")
        }
    }

    pub fn library(machine: u16, soname: &str) -> Made {
        let entries = if soname.is_empty() { Vec::new() } else { vec![(14, soname.to_owned())] };
        Made {
            machine,
            kind: SHARED,
            interpreter: None,
            entries,
            flags: None,
            dynamic: true,
            code: Vec::new(),
        }
    }

    pub fn static_program(machine: u16) -> Made {
        Made { kind: PROGRAM, dynamic: false, ..Made::library(machine, "") }
    }

    pub fn static_pie(machine: u16) -> Made {
        Made { flags: Some(0x0800_0000), ..Made::library(machine, "") }
    }

    pub fn needs(mut self, name: &str) -> Made {
        self.entries.push((1, name.to_owned()));
        self
    }

    pub fn rpath(mut self, folders: &str) -> Made {
        self.entries.push((15, folders.to_owned()));
        self
    }

    pub fn runpath(mut self, folders: &str) -> Made {
        self.entries.push((29, folders.to_owned()));
        self
    }

    pub fn code(mut self, code: &[u8]) -> Made {
        self.code = code.to_vec();
        self
    }

    /// Little-endian ELF64: header, program headers, loader, strings, dynamic section, code. All of it is one segment
    /// at [`BASE`], so that addresses are not offsets.
    pub fn bytes(&self) -> Vec<u8> {
        let count = 1 + u64::from(self.interpreter.is_some()) + u64::from(self.dynamic);
        let interpreter_at = 64 + 56 * count;
        let interpreter: Vec<u8> =
            self.interpreter.iter().flat_map(|path| path.bytes().chain(std::iter::once(0))).collect();
        let strings_at = interpreter_at + interpreter.len() as u64;
        let mut strings = vec![0];
        let mut dynamic = Vec::new();
        for (tag, text) in &self.entries {
            dynamic.push((*tag, strings.len() as u64));
            strings.extend(text.bytes().chain(std::iter::once(0)));
        }
        dynamic.extend(self.flags.map(|flags| (0x6fff_fffb, flags)));
        dynamic.extend([(5, BASE + strings_at), (10, strings.len() as u64), (0, 0)]);
        let dynamic_at = strings_at + strings.len() as u64;
        let dynamic: Vec<u8> = dynamic
            .iter()
            .flat_map(|(tag, value)| [tag.to_le_bytes(), value.to_le_bytes()].concat())
            .collect();
        let length = dynamic_at + dynamic.len() as u64 + self.code.len() as u64;

        let mut bytes = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
        for word in [self.kind, self.machine] {
            bytes.extend(word.to_le_bytes());
        }
        bytes.extend(1_u32.to_le_bytes());
        for offset in [BASE, 64, 0] {
            bytes.extend(offset.to_le_bytes());
        }
        bytes.extend(0_u32.to_le_bytes());
        for word in [64, 56, count as u16, 64, 0, 0] {
            bytes.extend(word.to_le_bytes());
        }
        let mut segment = |kind: u32, offset: u64, length: u64| {
            bytes.extend([kind.to_le_bytes(), 4_u32.to_le_bytes()].concat());
            for value in [offset, BASE + offset, BASE + offset, length, length, 1] {
                bytes.extend(value.to_le_bytes());
            }
        };
        segment(1, 0, length);
        if self.interpreter.is_some() {
            segment(3, interpreter_at, interpreter.len() as u64);
        }
        if self.dynamic {
            segment(2, dynamic_at, dynamic.len() as u64);
        }
        [bytes, interpreter, strings, dynamic, self.code.clone()].concat()
    }

    pub fn write(&self, path: impl AsRef<Path>) -> PathBuf {
        put(path, &self.bytes())
    }
}

const BASE: u64 = 0x40_0000;

pub fn put(path: impl AsRef<Path>, bytes: &[u8]) -> PathBuf {
    let path = path.as_ref();
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, bytes).unwrap();
    path.to_owned()
}

pub const LOADER: &str = "/lib64/ld-linux-x86-64.so.2";
pub const ZONE: &[u8] = b"TZif2 somewhere";

/// A root as Debian lays it out: merged `/usr`, libraries in the folder of their architecture, no cache.
pub fn debian(root: &Path) {
    let libraries = root.join("usr/lib/x86_64-linux-gnu");
    Made::library(X86_64, "ld-linux-x86-64.so.2").write(libraries.join("ld-linux-x86-64.so.2"));
    Made::library(X86_64, "libc.so.6").needs("ld-linux-x86-64.so.2").write(libraries.join("libc.so.6"));
    Made::library(X86_64, "libm.so.6").needs("libc.so.6").write(libraries.join("libm.so.6"));
    Made::library(X86_64, "libz.so.1").needs("libc.so.6").write(libraries.join("libz.so.1.3.1"));
    symlink("libz.so.1.3.1", libraries.join("libz.so.1")).unwrap();
    std::fs::create_dir_all(root.join("usr/lib64")).unwrap();
    symlink("/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2", root.join("usr/lib64/ld-linux-x86-64.so.2"))
        .unwrap();
    symlink("usr/lib", root.join("lib")).unwrap();
    symlink("usr/lib64", root.join("lib64")).unwrap();
    put(root.join("etc/ssl/certs/ca-certificates.crt"), b"-----BEGIN CERTIFICATE-----\n");
    put(root.join("usr/share/zoneinfo/Asia/Seoul"), ZONE);
    put(root.join("usr/share/zoneinfo/Etc/UTC"), b"TZif2 nowhere");
    symlink("Asia/Seoul", root.join("usr/share/zoneinfo/ROK")).unwrap();
    symlink("/etc/localtime", root.join("usr/share/zoneinfo/localtime")).unwrap();
    put(root.join("usr/share/zoneinfo/right/Asia/Seoul"), ZONE);
}

/// A program of that root, under a folder beside it, and what an image is made of it.
pub fn project(folder: &Path) -> Settings {
    let root = folder.join("root");
    debian(&root);
    let program = Made::program(X86_64, LOADER).needs("libm.so.6").needs("libc.so.6").code(b"one");
    let binary = program.write(folder.join("build/rtcd"));
    let mut settings = Settings::new("rtcd", binary);
    settings.binaries[0].sysroot = root.clone();
    settings.system = root;
    settings
}

/// The program of [`project`] with other code in it.
pub fn recompile(settings: &Settings, code: &[u8]) {
    let program = Made::program(X86_64, LOADER).needs("libm.so.6").needs("libc.so.6").code(code);
    program.write(&settings.binaries[0].path);
}

/// A workspace of two packages and its lock file, whose path it gives.
pub fn workspace(folder: &Path) -> PathBuf {
    put(
        folder.join("Cargo.toml"),
        b"[workspace]\nmembers = [\"app\", \"parts/*\"]\n[workspace.package]\nlicense = \"Apache-2.0\"\n\
          [workspace.dependencies]\nwords = { path = \"parts/words\", package = \"app-words\" }\n",
    );
    put(
        folder.join("app/Cargo.toml"),
        b"[package]\nname = \"rtcd\"\nlicense.workspace = true\n[dependencies]\nwords.workspace = true\nserde = \"1\"\n\
          [target.'cfg(unix)'.dependencies]\nlibc = \"0.2\"\n[dev-dependencies]\ninsta = \"1\"\n",
    );
    put(
        folder.join("parts/words/Cargo.toml"),
        b"[package]\nname = \"app-words\"\n[build-dependencies]\ncc = \"1\"\n",
    );
    let registry = "source = \"registry+https://github.com/rust-lang/crates.io-index\"";
    let package = |name: &str, version: &str, rest: &str| {
        format!("[[package]]\nname = \"{name}\"\nversion = \"{version}\"\n{rest}\n\n")
    };
    let downloaded = |name: &str, version: &str, needs: &str| {
        let checksum = oci::Digest::of(name.as_bytes()).hex();
        package(name, version, &format!("{registry}\nchecksum = \"{checksum}\"\ndependencies = [{needs}]"))
    };
    let lock = [
        "version = 4\n\n".to_owned(),
        package("app-words", "0.1.0", "dependencies = [\"cc\", \"insta\"]"),
        downloaded("cc", "1.2.0", ""),
        downloaded("elsewhere", "9.0.0", ""),
        package("forked", "0.3.1", "source = \"git+https://example.org/forked?branch=main#0123abc\""),
        downloaded("insta", "1.40.0", ""),
        downloaded("libc", "0.2.1", ""),
        package("rtcd", "0.1.0", "dependencies = [\"app-words\", \"insta\", \"libc\", \"serde 1.0.2+b\"]"),
        downloaded("serde", "0.9.0", "\"elsewhere\""),
        downloaded("serde", "1.0.2+b", "\"forked\", \"libc\""),
    ];
    put(folder.join("Cargo.lock"), lock.concat().as_bytes())
}
