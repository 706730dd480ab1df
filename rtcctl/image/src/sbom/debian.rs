//! Whose a file of a Debian system is: its package, version and licence, as dpkg and the package's copyright say.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use crate::error::{Error, Result};
use crate::sysroot::{Sysroot, split};

const STATUS: &str = "/var/lib/dpkg/status";
const LISTS: &str = "/var/lib/dpkg/info";
/// Names of licences in copyright files of Debian, and in SPDX. Those that mean the same in both are not here.
const LICENCES: [(&str, &str); 15] = [
    ("Apache-2", "Apache-2.0"),
    ("BSD-2-clause", "BSD-2-Clause"),
    ("BSD-3-clause", "BSD-3-Clause"),
    ("Expat", "MIT"),
    ("GPL-2", "GPL-2.0-only"),
    ("GPL-2+", "GPL-2.0-or-later"),
    ("GPL-3", "GPL-3.0-only"),
    ("GPL-3+", "GPL-3.0-or-later"),
    ("LGPL-2+", "LGPL-2.0-or-later"),
    ("LGPL-2.1", "LGPL-2.1-only"),
    ("LGPL-2.1+", "LGPL-2.1-or-later"),
    ("LGPL-3", "LGPL-3.0-only"),
    ("LGPL-3+", "LGPL-3.0-or-later"),
    ("zlib", "Zlib"),
    ("Zlib", "Zlib"),
];
const LICENCES_OF_BOTH: [&str; 5] = ["Apache-2.0", "ISC", "MIT", "MPL-2.0", "curl"];

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    pub name: String,
    pub version: String,
    pub architecture: String,
    /// The source package, where it is called otherwise.
    pub source: Option<String>,
    /// An identifier of SPDX.
    pub licence: Option<String>,
    /// `debian`
    pub distribution: String,
    /// `debian-12`
    pub release: Option<String>,
}

/// The packages of files (what is read, and its path in the image); `None` for those that belong to none.
///
/// Errors: [`Error::Unreadable`].
pub fn owners(sysroot: &Sysroot, files: &[(String, String)]) -> Result<Vec<Option<Owner>>> {
    let names = match sysroot.names(LISTS) {
        Ok(names) => names,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(vec![None; files.len()]);
        }
        Err(source) => return Err(Error::Unreadable { path: sysroot.on_machine(LISTS), source }),
    };
    let mut wanted: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for (index, file) in files.iter().enumerate() {
        for path in spellings(sysroot, file) {
            wanted.entry(path).or_default().push(index);
        }
    }
    let mut owning: Vec<Option<String>> = vec![None; files.len()];
    for name in names {
        let Some(package) = name.strip_suffix(".list") else { continue };
        let path = format!("{LISTS}/{name}");
        let list = sysroot
            .read(&path)
            .map_err(|source| Error::Unreadable { path: sysroot.on_machine(&path), source })?;
        for line in String::from_utf8_lossy(&list).lines() {
            for index in wanted.get(line).into_iter().flatten() {
                owning[*index].get_or_insert_with(|| package.to_owned());
            }
        }
    }
    let status = sysroot
        .read(STATUS)
        .map_err(|source| Error::Unreadable { path: sysroot.on_machine(STATUS), source })?;
    let packages = packages(&String::from_utf8_lossy(&status));
    let (distribution, release) = release(sysroot);
    let owner = |package: String| {
        let (name, architecture) = package.split_once(':').unwrap_or((&package, ""));
        let known = packages.iter().find(|known| {
            known.name == name && (architecture.is_empty() || known.architecture == architecture)
        })?;
        Some(Owner {
            name: name.to_owned(),
            version: known.version.clone(),
            architecture: known.architecture.clone(),
            source: known.source.clone(),
            licence: licence(sysroot, name),
            distribution: distribution.clone(),
            release: release.clone(),
        })
    };
    Ok(owning.into_iter().map(|package| package.and_then(owner)).collect())
}

/// The ways in which dpkg may have noted a path: where it was found, where it really is, and each of the two as it was
/// before `/usr` was merged.
fn spellings(sysroot: &Sysroot, (source, path): &(String, String)) -> Vec<String> {
    let root = sysroot.on_machine("/");
    let real = Path::new(source).strip_prefix(&root).ok().map(|inside| format!("/{}", inside.display()));
    let mut spellings = Vec::new();
    for path in real.iter().chain([path]) {
        spellings.push(path.clone());
        match path.strip_prefix("/usr/") {
            Some(inside) => spellings.push(format!("/{inside}")),
            None => spellings.push(format!("/usr{path}")),
        }
        // A soname is mostly a link of the same package.
        let (folder, name) = split(path);
        if let Ok(located) = sysroot.locate(&format!("{folder}/{name}")) {
            spellings.push(located.real);
        }
    }
    spellings.sort();
    spellings.dedup();
    spellings
}

struct Known {
    name: String,
    version: String,
    architecture: String,
    source: Option<String>,
}

fn packages(status: &str) -> Vec<Known> {
    let field = |paragraph: &str, name: &str| {
        let of =
            |line: &str| line.strip_prefix(name)?.strip_prefix(": ").map(|value| value.trim().to_owned());
        paragraph.lines().find_map(of)
    };
    let known = |paragraph: &str| {
        Some(Known {
            name: field(paragraph, "Package")?,
            version: field(paragraph, "Version")?,
            architecture: field(paragraph, "Architecture")?,
            source: field(paragraph, "Source"),
        })
    };
    status.split("\n\n").filter_map(known).collect()
}

/// Name of the distribution, and with its version.
fn release(sysroot: &Sysroot) -> (String, Option<String>) {
    let text = ["/etc/os-release", "/usr/lib/os-release"].iter().find_map(|path| sysroot.read(path).ok());
    let text = String::from_utf8_lossy(&text.unwrap_or_default()).into_owned();
    let value = |name: &str| {
        let of = |line: &str| {
            line.strip_prefix(name)?.strip_prefix('=').map(|value| value.trim_matches('"').to_owned())
        };
        text.lines().find_map(of)
    };
    let distribution = value("ID").unwrap_or_else(|| "debian".to_owned());
    let release = value("VERSION_ID").map(|version| format!("{distribution}-{version}"));
    (distribution, release)
}

/// The licence of `Files: *`, where the copyright file is one that machines can read and the licence is one by itself.
fn licence(sysroot: &Sysroot, package: &str) -> Option<String> {
    let text = sysroot.read(&format!("/usr/share/doc/{package}/copyright")).ok()?;
    let text = String::from_utf8_lossy(&text).into_owned();
    let mut paragraphs = text.split("\n\n").map(str::trim_start);
    let is_readable = |head: &str| {
        head.lines().any(|line| line.starts_with("Format:") && line.contains("copyright-format"))
    };
    if !paragraphs.next().is_some_and(is_readable) {
        return None;
    }
    let all = paragraphs.find(|paragraph| paragraph.lines().any(|line| line.trim_end() == "Files: *"))?;
    let named = all.lines().find_map(|line| line.strip_prefix("License:"))?.trim();
    let same = LICENCES_OF_BOTH.contains(&named).then_some(named);
    let other = LICENCES.iter().find(|(debian, _)| *debian == named).map(|(_, spdx)| *spdx);
    same.or(other).map(str::to_owned)
}
