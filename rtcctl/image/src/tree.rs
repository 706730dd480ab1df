//! The files of a layer before it is one: paths with kind, mode and owner, wherever their content is.
//!
//! Invariants: a path is relative, in normal form, and there once; what is iterated comes sorted, a folder before what
//! is in it.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::path::PathBuf;

use crate::error::{Error, Result};
use crate::links::follow;
use crate::sysroot::split;

/// Folders that everybody may look into, and programs.
pub const SEARCHED: u32 = 0o755;
/// What is read and not run.
pub const READ: u32 = 0o644;
/// The application: nobody writes it, its owner included.
pub const RUN: u32 = 0o555;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Owner {
    pub uid: u64,
    pub gid: u64,
}

pub const ROOT: Owner = Owner { uid: 0, gid: 0 };

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    Bytes(Vec<u8>),
    /// A file of this machine.
    File(PathBuf),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    Directory,
    /// A symlink, with its target.
    Link(String),
    File(Source),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub kind: Kind,
    pub mode: u32,
    pub owner: Owner,
}

impl Entry {
    pub(crate) fn shown(&self) -> String {
        let what = match &self.kind {
            Kind::Directory => "a folder".to_owned(),
            Kind::Link(target) => format!("a link to {target}"),
            Kind::File(Source::Bytes(_)) => "a file".to_owned(),
            Kind::File(Source::File(path)) => path.display().to_string(),
        };
        format!("{what} {:04o} of {}:{}", self.mode, self.owner.uid, self.owner.gid)
    }
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tree {
    entries: BTreeMap<String, Entry>,
}

impl Tree {
    pub fn directory(&mut self, path: &str, mode: u32, owner: Owner) -> Result<()> {
        self.add(path, Entry { kind: Kind::Directory, mode, owner })
    }

    pub fn file(&mut self, path: &str, mode: u32, owner: Owner, source: Source) -> Result<()> {
        self.add(path, Entry { kind: Kind::File(source), mode, owner })
    }

    pub fn link(&mut self, path: &str, target: &str) -> Result<()> {
        if target.is_empty() || target.contains('\0') {
            return Err(Error::Path { path: target.to_owned() });
        }
        self.add(path, Entry { kind: Kind::Link(target.to_owned()), mode: 0o777, owner: ROOT })
    }

    /// The same entry twice is one. Errors: [`Error::Path`], [`Error::Conflict`].
    fn add(&mut self, path: &str, entry: Entry) -> Result<()> {
        let path = relative(path)?;
        match self.entries.get(&path) {
            Some(known) if *known != entry => Err(conflict(&path, known, &entry)),
            Some(_) => Ok(()),
            None => {
                self.entries.insert(path, entry);
                Ok(())
            }
        }
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, &Entry)> {
        self.entries.iter().map(|(path, entry)| (path.as_str(), entry))
    }

    pub fn get(&self, path: &str) -> Option<&Entry> {
        self.entries.get(path.trim_start_matches('/'))
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Adds the folders that are not there, as a tree below has them, or else as root's.
    ///
    /// Errors: [`Error::Conflict`] if something else than a folder is where one must be.
    pub fn complete(&mut self, below: &[&Tree]) -> Result<()> {
        let mut missing = BTreeMap::new();
        for (path, entry) in &self.entries {
            let mut inner = path.as_str();
            while let Some((folder, _)) = inner.rsplit_once('/') {
                inner = folder;
                let implied = Entry { kind: Kind::Directory, mode: SEARCHED, owner: ROOT };
                let known = self
                    .entries
                    .get(folder)
                    .or_else(|| below.iter().find_map(|tree| tree.entries.get(folder)));
                match known {
                    Some(known) if known.kind != Kind::Directory => {
                        return Err(conflict(folder, known, entry));
                    }
                    known => missing.insert(folder.to_owned(), known.cloned().unwrap_or(implied)),
                };
            }
        }
        for (path, entry) in missing {
            self.entries.entry(path).or_insert(entry);
        }
        Ok(())
    }

    /// Where a path leads when the folders on the way may be links of this tree.
    pub fn real(&self, path: &str) -> Result<String> {
        let (folder, name) = split(path);
        if !path.starts_with('/') {
            return Err(Error::Path { path: path.to_owned() });
        }
        let target_of = |at: &str| -> std::result::Result<_, Infallible> {
            Ok(match self.entries.get(at) {
                Some(Entry { kind: Kind::Link(target), .. }) => Some(target.clone()),
                _ => None,
            })
        };
        let real = follow(folder, target_of).ok().flatten();
        match real.ok_or_else(|| Error::Path { path: path.to_owned() })? {
            root if root.is_empty() => Ok(format!("/{name}")),
            folder => Ok(format!("/{folder}/{name}")),
        }
    }
}

fn conflict(path: &str, first: &Entry, second: &Entry) -> Error {
    Error::Conflict { path: format!("/{path}"), first: first.shown(), second: second.shown() }
}

/// A path of an image is absolute, has no `..` in it, and names something.
fn relative(path: &str) -> Result<String> {
    let wrong = || Error::Path { path: path.to_owned() };
    let inside = path.strip_prefix('/').ok_or_else(wrong)?;
    let parts: Vec<&str> = inside.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
    let broken = |part: &&str| *part == ".." || part.len() > 255 || part.contains('\0');
    match parts.is_empty() || parts.iter().any(broken) {
        true => Err(wrong()),
        false => Ok(parts.join("/")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(text: &str) -> Source {
        Source::Bytes(text.as_bytes().to_vec())
    }

    #[test]
    fn folders_come_before_what_is_in_them() {
        let mut tree = Tree::default();
        for path in ["/a/b", "/a-b/c", "/a.b", "/a/b.c/d"] {
            tree.file(path, READ, ROOT, bytes("")).unwrap();
        }
        tree.complete(&[]).unwrap();
        let paths: Vec<&str> = tree.iter().map(|(path, _)| path).collect();
        for (index, path) in paths.iter().enumerate() {
            if let Some((folder, _)) = path.rsplit_once('/') {
                assert!(paths[..index].contains(&folder), "{folder} before {path} in {paths:?}");
            }
        }
        assert_eq!(paths.len(), 7);
    }

    #[test]
    fn a_folder_keeps_the_owner_that_the_layer_below_gave_it() {
        let user = Owner { uid: 5, gid: 6 };
        let mut below = Tree::default();
        below.directory("/home/rtc", 0o700, user).unwrap();
        let mut tree = Tree::default();
        tree.file("/home/rtc/.profile", READ, user, bytes("")).unwrap();
        tree.complete(&[&below]).unwrap();
        let home = tree.get("/home/rtc").unwrap();
        assert_eq!((home.mode, home.owner), (0o700, user));
    }

    #[test]
    fn two_things_at_one_path_are_a_conflict_and_the_same_twice_is_not() {
        let mut tree = Tree::default();
        tree.file("/a", READ, ROOT, bytes("1")).unwrap();
        tree.file("/a", READ, ROOT, bytes("1")).unwrap();
        assert!(matches!(tree.link("/a", "b"), Err(Error::Conflict { .. })));
        tree.file("/a/b", READ, ROOT, bytes("")).unwrap();
        assert!(matches!(tree.complete(&[]), Err(Error::Conflict { path, .. }) if path == "/a"));
    }

    #[test]
    fn paths_that_lead_elsewhere_are_refused() {
        for path in ["a", "", "/", "/a/../b", "/a\0b", "//", "/."] {
            let refused = Tree::default().directory(path, SEARCHED, ROOT);
            assert!(matches!(refused, Err(Error::Path { .. })), "{path:?}");
        }
    }

    #[test]
    fn a_path_through_a_link_is_where_the_link_leads() {
        let mut tree = Tree::default();
        tree.link("/lib", "usr/lib").unwrap();
        tree.link("/usr/lib/deep", "../../opt/./x").unwrap();
        tree.link("/round", "round").unwrap();
        assert_eq!(tree.real("/lib/a.so").unwrap(), "/usr/lib/a.so");
        assert_eq!(tree.real("/lib/deep/a.so").unwrap(), "/opt/x/a.so");
        assert_eq!(tree.real("/lib").unwrap(), "/lib");
        for path in ["/round/a", "lib/a.so", ""] {
            assert!(matches!(tree.real(path), Err(Error::Path { .. })), "{path:?}");
        }
    }
}
