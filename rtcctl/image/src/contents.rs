//! What was read of files: the digest of what went into a layer is told, not of what lies there later.
//!
//! Invariant: a file that somebody wrote to while it was read is in no layer, nor one that is another when it is
//! packed than when it was looked at.

use std::collections::BTreeMap;
use std::fs::{File, Metadata};
use std::io::{self, Seek as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use oci::Digest;

use crate::error::{Error, Result};

/// Which file it is and when it was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    file: (u64, u64),
    length: u64,
    modified: (i64, i64),
    /// Changes with names and modes too, which are no content.
    changed: (i64, i64),
}

impl Stamp {
    pub fn of(metadata: &Metadata) -> Stamp {
        Stamp {
            file: (metadata.dev(), metadata.ino()),
            length: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }

    /// Errors: [`Error::Unreadable`].
    pub fn at(path: &Path) -> Result<Stamp> {
        let metadata = std::fs::metadata(path);
        metadata
            .map(|metadata| Stamp::of(&metadata))
            .map_err(|source| Error::Unreadable { path: path.to_owned(), source })
    }

    fn is_of_same_write(&self, other: &Stamp) -> bool {
        Stamp { changed: other.changed, ..*self } == *other
    }
}

/// The digests of files that were read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Contents(BTreeMap<PathBuf, (Stamp, Digest)>);

impl Contents {
    /// Notes a file of which `digest` was read from the first byte to the last, beginning at `before`.
    ///
    /// Errors: [`Error::ChangedMeanwhile`], [`Error::Unreadable`].
    pub fn note(&mut self, path: &Path, mut file: File, before: Stamp, digest: Digest) -> Result<()> {
        let unreadable = |source: io::Error| Error::Unreadable { path: path.to_owned(), source };
        let after = Stamp::of(&file.metadata().map_err(unreadable)?);
        let is_same = match after.is_of_same_write(&before) {
            // A new name or mode, or a write whose time somebody set back: only the content can tell.
            true if after.changed != before.changed => {
                file.rewind().map_err(unreadable)?;
                Digest::read(file).map_err(unreadable)?.0 == digest
            }
            is_same => is_same,
        };
        if !is_same {
            return Err(Error::ChangedMeanwhile { path: path.to_owned() });
        }
        self.0.insert(path.to_owned(), (before, digest));
        Ok(())
    }

    /// Whether what was read of a file is what had a stamp.
    ///
    /// Errors: [`Error::ChangedMeanwhile`].
    pub fn check(&self, path: &Path, stamp: &Stamp) -> Result<()> {
        match self.0.get(path) {
            Some((read, _)) if !read.is_of_same_write(stamp) => {
                Err(Error::ChangedMeanwhile { path: path.to_owned() })
            }
            _ => Ok(()),
        }
    }

    /// The SHA-256 of a file as it was packed, in hexadecimal digits; one that was not is read.
    ///
    /// Errors: [`Error::Unreadable`].
    pub fn sha256(&self, path: &Path) -> Result<String> {
        if let Some((_, digest)) = self.0.get(path) {
            return Ok(digest.hex());
        }
        let unreadable = |source| Error::Unreadable { path: path.to_owned(), source };
        let (digest, _) = File::open(path).and_then(Digest::read).map_err(unreadable)?;
        Ok(digest.hex())
    }

    pub fn extend(&mut self, others: &Contents) {
        self.0.extend(others.0.iter().map(|(path, seen)| (path.clone(), *seen)));
    }
}
