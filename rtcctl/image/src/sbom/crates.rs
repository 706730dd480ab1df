//! The crates that a package is made of, from `Cargo.lock`.
//!
//! The lock file does not tell development dependencies from others; the manifests of the workspace's own packages do,
//! where they lie beside it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::percent;
use crate::error::{Error, Result};
use crate::settings::Materials;

const CRATES_IO: &str = "registry+https://github.com/rust-lang/crates.io-index";

/// One version of a crate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Crate {
    pub name: String,
    pub version: String,
    /// As the lock file names it; `None` for packages of the workspace.
    pub source: Option<String>,
    /// SHA-256 of the package as it was downloaded, in hexadecimal digits.
    pub checksum: Option<String>,
    /// As a package of the workspace declares it.
    pub licence: Option<String>,
    /// Positions in the same list.
    pub dependencies: Vec<usize>,
}

impl Crate {
    /// The package URL, and where it can be downloaded.
    pub(super) fn origin(&self) -> (String, Option<String>) {
        let (name, version) = (percent(&self.name), percent(&self.version));
        let purl = format!("pkg:cargo/{name}@{version}");
        match self.source.as_deref() {
            None => (purl, None),
            Some(CRATES_IO) => {
                let location = format!("https://static.crates.io/crates/{name}/{name}-{version}.crate");
                (purl, Some(location))
            }
            Some(source) => match source.strip_prefix("git+") {
                Some(rest) => {
                    let (url, commit) = rest.split_once('#').unwrap_or((rest, ""));
                    let url = url.split('?').next().unwrap_or(url);
                    let location = format!("git+{url}@{commit}");
                    (format!("{purl}?vcs_url={}", percent(&location)), Some(location))
                }
                None => {
                    let registry = source.split_once('+').map_or(source, |(_, url)| url);
                    (format!("{purl}?repository_url={}", percent(registry)), None)
                }
            },
        }
    }
}

#[derive(Deserialize)]
struct Lock {
    #[serde(default)]
    package: Vec<Locked>,
}

#[derive(Deserialize)]
struct Locked {
    name: String,
    version: String,
    source: Option<String>,
    checksum: Option<String>,
    #[serde(default)]
    dependencies: Vec<String>,
}

/// The package first, then everything it reaches, sorted by name and version.
///
/// Errors: [`Error::Unreadable`], [`Error::Lock`], [`Error::UnknownPackage`].
pub fn read(materials: &Materials) -> Result<Vec<Crate>> {
    let path = &materials.lock;
    let wrong = |reason: String| Error::Lock { path: path.clone(), reason };
    let text =
        std::fs::read_to_string(path).map_err(|source| Error::Unreadable { path: path.clone(), source })?;
    let lock: Lock = toml::from_str(&text).map_err(|error| wrong(error.message().to_owned()))?;
    let root = lock
        .package
        .iter()
        .position(|locked| locked.name == materials.package && locked.source.is_none())
        .ok_or_else(|| Error::UnknownPackage { package: materials.package.clone(), path: path.clone() })?;
    let manifests = manifests(path.parent().unwrap_or(Path::new(".")));

    let mut edges: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    let mut ahead = vec![root];
    while let Some(index) = ahead.pop() {
        if edges.contains_key(&index) {
            continue;
        }
        let locked = &lock.package[index];
        let manifest = manifests.get(&locked.name).filter(|_| locked.source.is_none());
        let mut found = Vec::new();
        for named in &locked.dependencies {
            let dependency = find(&lock, named)
                .ok_or_else(|| wrong(format!("{} needs {named}, which is not in it", locked.name)))?;
            let name = &lock.package[dependency].name;
            if manifest.is_none_or(|manifest| manifest.dependencies.contains(name)) {
                found.push(dependency);
            }
        }
        ahead.extend(&found);
        edges.insert(index, found);
    }

    let mut order: Vec<usize> = edges.keys().copied().collect();
    order.sort_by_key(|index| {
        let locked = &lock.package[*index];
        (*index != root, &locked.name, &locked.version, &locked.source)
    });
    let places: BTreeMap<usize, usize> =
        order.iter().enumerate().map(|(place, index)| (*index, place)).collect();
    let crates = order.iter().map(|index| {
        let locked = &lock.package[*index];
        let mut dependencies: Vec<usize> = edges[index].iter().map(|dependency| places[dependency]).collect();
        dependencies.sort_unstable();
        Crate {
            name: locked.name.clone(),
            version: locked.version.clone(),
            source: locked.source.clone(),
            checksum: locked.checksum.clone(),
            licence: match locked.source {
                None => manifests.get(&locked.name).and_then(|manifest| manifest.licence.clone()),
                Some(_) => None,
            },
            dependencies,
        }
    });
    Ok(crates.collect())
}

/// A dependency is `name`, `name version` or `name version (source)`, as much as is needed to tell it from others.
fn find(lock: &Lock, named: &str) -> Option<usize> {
    let mut words = named.splitn(3, ' ');
    let (name, version, source) = (words.next()?, words.next(), words.next());
    lock.package.iter().position(|locked| {
        let given = locked.source.as_ref().map(|source| format!("({source})"));
        locked.name == name
            && version.is_none_or(|version| locked.version == version)
            && source.is_none_or(|source| given.as_deref() == Some(source))
    })
}

/// What a package of the workspace says about itself.
struct Manifest {
    /// Names of the packages that it is built with.
    dependencies: BTreeSet<String>,
    licence: Option<String>,
}

/// The manifests of a workspace by package. One that cannot be read is as if it were not there: then the package's
/// development dependencies are listed with the others.
fn manifests(root: &Path) -> BTreeMap<String, Manifest> {
    let Some(workspace) = table(&root.join("Cargo.toml")) else { return BTreeMap::new() };
    let mut folders = vec![root.to_owned()];
    let members =
        workspace.get("workspace").and_then(|table| table.get("members")).and_then(|list| list.as_array());
    for member in members.into_iter().flatten().filter_map(|member| member.as_str()) {
        match member.strip_suffix("/*") {
            Some(parent) => folders.extend(inside(&root.join(parent))),
            None => folders.push(root.join(member)),
        }
    }
    let read = |folder: &PathBuf| manifest(&table(&folder.join("Cargo.toml"))?, &workspace);
    folders.iter().filter_map(read).collect()
}

fn inside(folder: &Path) -> Vec<PathBuf> {
    std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
}

fn table(path: &Path) -> Option<toml::Table> {
    toml::from_str(&std::fs::read_to_string(path).ok()?).ok()
}

fn manifest(manifest: &toml::Table, workspace: &toml::Table) -> Option<(String, Manifest)> {
    let package = manifest.get("package")?;
    let name = package.get("name")?.as_str()?.to_owned();
    let inherited = |of: &str, key: &str| workspace.get("workspace")?.get(of)?.get(key).cloned();
    let licence = match package.get("license") {
        Some(toml::Value::String(licence)) => Some(licence.clone()),
        Some(_) => inherited("package", "license").and_then(|licence| licence.as_str().map(str::to_owned)),
        None => None,
    };
    let targets = manifest.get("target").and_then(|targets| targets.as_table()).into_iter().flatten();
    let tables = std::iter::once(manifest).chain(targets.filter_map(|(_, target)| target.as_table()));
    let mut dependencies = BTreeSet::new();
    for table in tables {
        for kind in ["dependencies", "build-dependencies"] {
            for (key, value) in table.get(kind).and_then(|table| table.as_table()).into_iter().flatten() {
                let shared = value.get("workspace").and_then(|_| inherited("dependencies", key));
                let renamed = shared.as_ref().unwrap_or(value).get("package");
                let name = renamed.and_then(|name| name.as_str()).unwrap_or(key);
                dependencies.insert(name.to_owned());
            }
        }
    }
    Some((name, Manifest { dependencies, licence }))
}
