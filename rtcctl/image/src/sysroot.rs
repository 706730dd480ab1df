//! A file system that libraries are taken from: `/`, or the root of another platform's files under a folder.
//!
//! Symlinks are followed within it: an absolute one begins at its root, and `..` does not lead out of it.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use crate::links::follow;

#[derive(Debug, Clone)]
pub struct Sysroot {
    root: PathBuf,
}

/// A file found under a path of the sysroot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Located {
    /// Its path in the sysroot, where no folder is a symlink. The file itself may be one.
    pub path: String,
    /// What is behind it, to be opened.
    pub source: PathBuf,
    /// The same as a path of the sysroot.
    pub real: String,
    /// Symlinks to folders that the way led through: path to target, both as the sysroot has them.
    pub links: BTreeMap<String, String>,
}

impl Default for Sysroot {
    fn default() -> Sysroot {
        Sysroot::new("/")
    }
}

impl Sysroot {
    pub fn new(root: impl Into<PathBuf>) -> Sysroot {
        Sysroot { root: root.into() }
    }

    /// The path of the machine for a path of the sysroot whose folders are no symlinks.
    pub fn on_machine(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }

    /// The file at a path. Errors: those of the file system; links in a circle lead to nothing, which is `NotFound`.
    pub fn locate(&self, path: &str) -> io::Result<Located> {
        let (folder, name) = split(path);
        if name.is_empty() || name == "." || name == ".." {
            return Err(io::Error::new(io::ErrorKind::NotFound, "names no file"));
        }
        let mut links = BTreeMap::new();
        let folder = self.walk(folder, &mut links)?;
        let path = format!("{}/{name}", folder.trim_end_matches('/'));
        let real = self.walk(&path, &mut BTreeMap::new())?;
        Ok(Located { source: self.on_machine(&real), path, real, links })
    }

    /// What is at a path after all symlinks, as a path of the sysroot.
    pub fn real(&self, path: &str) -> io::Result<String> {
        self.walk(path, &mut BTreeMap::new())
    }

    pub fn read(&self, path: &str) -> io::Result<Vec<u8>> {
        std::fs::read(self.on_machine(&self.real(path)?))
    }

    /// The names in a folder, sorted.
    pub fn names(&self, path: &str) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in std::fs::read_dir(self.on_machine(&self.real(path)?))? {
            // What is no text is no file that an image could name.
            names.extend(entry?.file_name().into_string().ok());
        }
        names.sort();
        Ok(names)
    }

    fn walk(&self, path: &str, links: &mut BTreeMap<String, String>) -> io::Result<String> {
        let target_of = |at: &str| -> io::Result<Option<String>> {
            let here = format!("/{at}");
            let on_machine = self.on_machine(&here);
            if !std::fs::symlink_metadata(&on_machine)?.is_symlink() {
                return Ok(None);
            }
            let target = std::fs::read_link(&on_machine)?.into_os_string().into_string().map_err(|_| {
                io::Error::new(io::ErrorKind::InvalidData, "a symlink whose target is no text")
            })?;
            links.insert(here, target.clone());
            Ok(Some(target))
        };
        let real = follow(path, target_of)?;
        let real = real.ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "symlinks in a circle"))?;
        Ok(format!("/{real}"))
    }
}

/// Folder and name of a path.
pub fn split(path: &str) -> (&str, &str) {
    path.rsplit_once('/').unwrap_or(("", path))
}

/// A path without `.`, `..` and doubled slashes, absolute.
pub fn normal(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}

/// A path of the machine as text, where it is one.
pub fn text(path: &Path) -> io::Result<&str> {
    path.to_str().ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "a path that is no text"))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn sysroot() -> (tempfile::TempDir, Sysroot) {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        std::fs::create_dir_all(root.join("usr/lib/triplet")).unwrap();
        std::fs::write(root.join("usr/lib/triplet/libc.so.6"), "c").unwrap();
        symlink("usr/lib", root.join("lib")).unwrap();
        symlink("/lib/triplet/libc.so.6", root.join("usr/lib/libc.so")).unwrap();
        let sysroot = Sysroot::new(root);
        (folder, sysroot)
    }

    #[test]
    fn folders_that_are_links_are_followed_and_told() {
        let (_folder, sysroot) = sysroot();
        let located = sysroot.locate("/lib/triplet/libc.so.6").unwrap();
        assert_eq!(located.path, "/usr/lib/triplet/libc.so.6");
        assert_eq!(located.links, BTreeMap::from([("/lib".to_owned(), "usr/lib".to_owned())]));
    }

    #[test]
    fn an_absolute_link_begins_at_the_root_of_the_sysroot() {
        let (folder, sysroot) = sysroot();
        let located = sysroot.locate("/lib/libc.so").unwrap();
        assert_eq!(located.path, "/usr/lib/libc.so");
        assert_eq!(located.real, "/usr/lib/triplet/libc.so.6");
        assert_eq!(located.source, folder.path().join("usr/lib/triplet/libc.so.6"));
    }

    #[test]
    fn nothing_leads_out_of_it() {
        let (folder, sysroot) = sysroot();
        symlink("../../../../../etc", folder.path().join("usr/etc")).unwrap();
        assert_eq!(sysroot.real("/usr/etc").unwrap_err().kind(), io::ErrorKind::NotFound);
        assert_eq!(sysroot.real("/../../usr/lib").unwrap(), "/usr/lib");
    }

    #[test]
    fn a_circle_ends() {
        let (folder, sysroot) = sysroot();
        symlink("b", folder.path().join("a")).unwrap();
        symlink("a", folder.path().join("b")).unwrap();
        assert_eq!(sysroot.locate("/a/x").unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
