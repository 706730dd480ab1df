//! Which libraries a program needs, found as the loader would find them: `DT_RPATH` of the file and of those that
//! load it, `DT_RUNPATH`, the cache of `ldconfig`, the default folders.
//!
//! Differences from the loader, each so that the same files give the same image: `LD_LIBRARY_PATH` and the variants of
//! a library for this processor (`glibc-hwcaps`) are not looked at.
//!
//! Invariant: in the image every library is where the loader searches without a cache. One that only the cache knows
//! gets a symlink beside libc.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::path::{Path, PathBuf};

use oci::Platform;

use crate::elf::Elf;
use crate::error::{Error, Result};
use crate::loader_cache;
use crate::platform::same;
use crate::sysroot::{Sysroot, normal, split};

/// What glibc loads without saying so: names of users and hosts, and the unwinding of cancelled threads.
const OPENED_BY_GLIBC: [&str; 4] =
    ["libnss_dns.so.2", "libnss_files.so.2", "libresolv.so.2", "libgcc_s.so.1"];
const GLIBC: &str = "libc.so.6";

/// A file that a program is loaded with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Library {
    /// As it is asked for: `libm.so.6`.
    pub name: String,
    /// In the image, absolute, where no folder is a symlink.
    pub path: String,
    /// What is read.
    pub source: PathBuf,
    pub needed_by: String,
}

/// Everything that a program is loaded with.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Libraries {
    /// The loader itself; `None` for a static program.
    pub loader: Option<Library>,
    /// Sorted by path.
    pub libraries: Vec<Library>,
    /// Symlinks that the image needs: path to target.
    pub links: BTreeMap<String, String>,
}

/// Where a file was found, which says what its `$ORIGIN` is.
#[derive(Debug, Clone)]
enum Place {
    /// In the sysroot, at its path there.
    Sysroot,
    /// Beside the program, wherever on the machine that is.
    Machine(PathBuf),
}

struct Loaded {
    library: Library,
    elf: Elf,
    place: Place,
    /// Who asked for it first: an index into the same list; the program has none.
    by: Option<usize>,
    /// It was found by its path, not by a search that only the cache could make.
    by_own_path: bool,
}

struct Loading<'a> {
    sysroot: &'a Sysroot,
    platform: &'a Platform,
    cache: Option<BTreeMap<String, Vec<String>>>,
    folders: Vec<String>,
    loaded: Vec<Loaded>,
    links: BTreeMap<String, String>,
}

/// What `binary`, which will be at `target` in the image, is loaded with.
///
/// Errors: [`Error::MissingLibrary`], the loader among them; [`Error::ForeignSysroot`] if there are loaders for other
/// machines at most; [`Error::Unreadable`], [`Error::Malformed`].
pub fn resolve(binary: &Path, elf: &Elf, target: &str, sysroot: &Sysroot) -> Result<Libraries> {
    let Some(interpreter) = &elf.interpreter else {
        return Ok(Libraries::default());
    };
    let shown = binary.display().to_string();
    let missing = || without_loader(binary, interpreter, &elf.platform, sysroot);
    let found = match sysroot.locate(interpreter) {
        Ok(found) => found,
        Err(error) if is_absent(&error) => return Err(missing()),
        Err(source) => return Err(Error::Unreadable { path: sysroot.on_machine(interpreter), source }),
    };
    let loader = Library {
        name: split(interpreter).1.to_owned(),
        path: found.path,
        source: found.source,
        needed_by: shown,
    };
    let loader_elf = Elf::read(&loader.source)?;
    if !same(&loader_elf.platform, &elf.platform) {
        return Err(missing());
    }
    let origin = binary.canonicalize().unwrap_or_else(|_| binary.to_owned());
    let mut loading = Loading {
        sysroot,
        platform: &elf.platform,
        cache: loader_cache::read(sysroot)?,
        folders: Vec::new(),
        loaded: vec![Loaded {
            library: Library {
                name: split(target).1.to_owned(),
                path: normal(target),
                source: binary.to_owned(),
                needed_by: String::new(),
            },
            elf: elf.clone(),
            place: Place::Machine(origin.parent().unwrap_or(Path::new("/")).to_owned()),
            by: None,
            by_own_path: true,
        }],
        links: found.links,
    };
    if loading.cache.is_none() {
        loading.folders = loader_cache::configured_folders(sysroot)?;
    }
    loading.folders.extend(default_folders(&elf.platform));
    loading.load_all(0, &loader, &loader_elf)?;
    if let Some(libc) = loading.position(GLIBC) {
        for name in OPENED_BY_GLIBC {
            let known = loading.loaded.len();
            if loading.position(name).is_none() && loading.load(name, libc)?.is_some() {
                loading.load_all(known, &loader, &loader_elf)?;
            }
        }
    }
    Ok(loading.finish(loader))
}

/// What is said when a program's loader is not there, or is one for another machine.
fn without_loader(binary: &Path, interpreter: &str, platform: &Platform, sysroot: &Sysroot) -> Error {
    let mut others: Vec<String> = Vec::new();
    for folder in ["/lib", "/lib64"] {
        let names = sysroot.names(folder).unwrap_or_default();
        for name in names.iter().filter(|name| is_loader(name)) {
            let Ok(located) = sysroot.locate(&format!("{folder}/{name}")) else { continue };
            match Elf::read(&located.source) {
                // The machine is the right one, and only this loader is not there.
                Ok(elf) if same(&elf.platform, platform) => {
                    let needed_by = binary.display().to_string();
                    return Error::MissingLibrary { name: interpreter.to_owned(), needed_by };
                }
                Ok(elf) => others.push(elf.platform.to_string()),
                Err(_) => {}
            }
        }
    }
    others.sort();
    others.dedup();
    Error::ForeignSysroot {
        path: binary.to_owned(),
        platform: Box::new(platform.clone()),
        sysroot: sysroot.on_machine("/").components().collect(),
        has: match others.is_empty() {
            true => "none".to_owned(),
            false => format!("those for {} only", others.join(" and ")),
        },
    }
}

/// Whether a file is called as loaders of glibc and musl are.
pub(crate) fn is_loader(name: &str) -> bool {
    ["ld-linux", "ld-musl-", "ld64.so."].iter().any(|start| name.starts_with(start))
}

impl Loading<'_> {
    /// Breadth first, as the loader does it, from the file at `first` on.
    fn load_all(&mut self, first: usize, loader: &Library, loader_elf: &Elf) -> Result<()> {
        let mut ahead: VecDeque<usize> = (first..self.loaded.len()).collect();
        while let Some(by) = ahead.pop_front() {
            for name in self.loaded[by].elf.needed.clone() {
                let is_loader = name == loader.name
                    || loader_elf.soname.as_ref() == Some(&name)
                    || (loader.name.starts_with("ld-musl-") && name.starts_with("libc."));
                if is_loader || self.position(&name).is_some() {
                    continue;
                }
                match self.load(&name, by)? {
                    Some(index) => ahead.push_back(index),
                    None => {
                        let needed_by = self.loaded[by].library.source.display().to_string();
                        return Err(Error::MissingLibrary { name, needed_by });
                    }
                }
            }
        }
        Ok(())
    }

    fn position(&self, name: &str) -> Option<usize> {
        self.loaded
            .iter()
            .position(|known| known.library.name == name || known.elf.soname.as_deref() == Some(name))
    }

    fn load(&mut self, name: &str, by: usize) -> Result<Option<usize>> {
        if name.contains('/') {
            return self.try_entry(name, by, |text| text.to_owned());
        }
        for (owner, folder) in self.own_folders(by) {
            let found = self.try_entry_of(name, by, owner, &folder)?;
            if found.is_some() {
                return Ok(found);
            }
        }
        if self.loaded[by].elf.only_own_paths {
            return Ok(None);
        }
        let cached = self.cache.as_ref().and_then(|cache| cache.get(name)).cloned().unwrap_or_default();
        let searched = self.folders.iter().map(|folder| format!("{folder}/{name}"));
        for path in cached.into_iter().chain(searched).collect::<Vec<_>>() {
            if let Some(mut loaded) = self.in_sysroot(&path, name, by)? {
                loaded.by_own_path = false;
                return Ok(Some(self.keep(loaded)));
            }
        }
        Ok(None)
    }

    /// `DT_RPATH` of the file and of those that loaded it, or its `DT_RUNPATH`, each with the file that has it.
    fn own_folders(&self, by: usize) -> Vec<(usize, String)> {
        let of = |owner: usize, folders: &[String]| {
            folders.iter().map(|folder| (owner, folder.clone())).collect::<Vec<_>>()
        };
        let asking = &self.loaded[by].elf;
        if !asking.runpath.is_empty() {
            return of(by, &asking.runpath);
        }
        let mut folders = Vec::new();
        let mut owner = Some(by);
        while let Some(index) = owner {
            folders.extend(of(index, &self.loaded[index].elf.rpath));
            owner = self.loaded[index].by;
        }
        folders
    }

    fn try_entry_of(&mut self, name: &str, by: usize, owner: usize, folder: &str) -> Result<Option<usize>> {
        let found =
            self.try_entry(folder, owner, |folder| format!("{}/{name}", folder.trim_end_matches('/')))?;
        if let Some(index) = found {
            self.loaded[index].library.needed_by = self.loaded[by].library.source.display().to_string();
            self.loaded[index].library.name = name.to_owned();
            self.loaded[index].by = Some(by);
        }
        Ok(found)
    }

    /// A path out of an ELF file, where `$ORIGIN` is the folder of that file.
    fn try_entry(
        &mut self,
        entry: &str,
        owner: usize,
        whole: impl Fn(&str) -> String,
    ) -> Result<Option<usize>> {
        let plain = entry.replace("${ORIGIN}", "$ORIGIN");
        let Some(rest) = plain.strip_prefix("$ORIGIN") else {
            // `$LIB` and `$PLATFORM` depend on how the loader was built.
            if plain.contains('$') || !plain.starts_with('/') {
                return Ok(None);
            }
            let path = whole(&plain);
            let found = self.in_sysroot(&path, split(&path).1, owner)?;
            return Ok(found.map(|loaded| self.keep(loaded)));
        };
        let relative = whole(rest);
        let in_image = format!("{}{relative}", split(&self.loaded[owner].library.path).0);
        let name = split(&relative).1.to_owned();
        let found = match self.loaded[owner].place.clone() {
            Place::Sysroot => self.in_sysroot(&in_image, &name, owner)?,
            Place::Machine(folder) => {
                let source = folder.join(relative.trim_start_matches('/'));
                self.fitting(&source)?.map(|elf| Loaded {
                    place: Place::Machine(source.parent().unwrap_or(&folder).to_owned()),
                    library: Library {
                        name,
                        path: normal(&in_image),
                        needed_by: self.loaded[owner].library.source.display().to_string(),
                        source,
                    },
                    elf,
                    by: Some(owner),
                    by_own_path: true,
                })
            }
        };
        Ok(found.map(|loaded| self.keep(loaded)))
    }

    fn in_sysroot(&mut self, path: &str, name: &str, by: usize) -> Result<Option<Loaded>> {
        let located = match self.sysroot.locate(path) {
            Ok(located) => located,
            Err(error) if is_absent(&error) => return Ok(None),
            Err(source) => return Err(Error::Unreadable { path: self.sysroot.on_machine(path), source }),
        };
        let Some(elf) = self.fitting(&located.source)? else { return Ok(None) };
        self.links.extend(located.links);
        Ok(Some(Loaded {
            library: Library {
                name: name.to_owned(),
                path: located.path,
                source: located.source,
                needed_by: self.loaded[by].library.source.display().to_string(),
            },
            elf,
            place: Place::Sysroot,
            by: Some(by),
            by_own_path: true,
        }))
    }

    /// What is at a path, if the loader would take it; what is for another machine it passes over.
    fn fitting(&self, source: &Path) -> Result<Option<Elf>> {
        match Elf::read(source) {
            Ok(elf) if same(&elf.platform, self.platform) => Ok(Some(elf)),
            Ok(_) | Err(Error::NotElf { .. } | Error::UnknownMachine { .. }) => Ok(None),
            Err(Error::Unreadable { source, .. }) if is_absent(&source) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn keep(&mut self, loaded: Loaded) -> usize {
        self.loaded.push(loaded);
        self.loaded.len() - 1
    }

    fn finish(mut self, loader: Library) -> Libraries {
        let libc = self.position(GLIBC).map_or(&loader.path, |index| &self.loaded[index].library.path);
        let default = split(libc).0.to_owned();
        for loaded in &self.loaded[1..] {
            let (folder, _) = split(&loaded.library.path);
            if !loaded.by_own_path && folder != default {
                let link = format!("{default}/{}", loaded.library.name);
                self.links.insert(link, loaded.library.path.clone());
            }
        }
        let mut libraries: Vec<Library> =
            self.loaded.into_iter().skip(1).map(|loaded| loaded.library).collect();
        libraries.sort_by(|one, other| one.path.cmp(&other.path));
        Libraries { loader: Some(loader), libraries, links: self.links }
    }
}

fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

/// Where loaders search by themselves, those of Debian's several architectures first.
fn default_folders(platform: &Platform) -> Vec<String> {
    let triplet = match platform.architecture.as_str() {
        "amd64" => "x86_64-linux-gnu",
        "arm64" => "aarch64-linux-gnu",
        "386" => "i386-linux-gnu",
        "arm" => "arm-linux-gnueabihf",
        "riscv64" => "riscv64-linux-gnu",
        "ppc64le" => "powerpc64le-linux-gnu",
        "s390x" => "s390x-linux-gnu",
        _ => "loongarch64-linux-gnu",
    };
    let mut folders = vec![format!("/lib/{triplet}"), format!("/usr/lib/{triplet}")];
    folders.extend(["/lib64", "/usr/lib64", "/lib", "/usr/local/lib", "/usr/lib"].map(str::to_owned));
    folders
}

#[cfg(test)]
mod tests;
