//! Layouts that are used for long: what nothing names any more is deleted when somebody wishes it.
//!
//! Invariants: a name goes before what it named; nothing is deleted while anybody builds or reads there, nor where a
//! document that is named cannot be read.

use std::collections::HashSet;
use std::fs::{self, File, TryLockError};

use super::{BLOBS, Layout};
use crate::error::io;
use crate::{Digest, Result};

/// Nothing is deleted from a layout as long as somebody has this.
#[derive(Debug)]
pub struct Busy {
    _lock: File,
}

/// What was deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Swept {
    pub blobs: usize,
    pub bytes: u64,
}

impl Layout {
    /// Keeps what is written and not named yet, and what is read, from being deleted by [`Layout::sweep`].
    ///
    /// # Errors
    /// [`Error::Io`](crate::Error::Io).
    pub fn busy(&self) -> Result<Busy> {
        let folder = self.root.join(BLOBS);
        let lock = File::open(&folder).map_err(io(&folder))?;
        // Where nothing can be locked nothing is swept.
        let _ = lock.lock_shared();
        Ok(Busy { _lock: lock })
    }

    /// Lists these documents alone, under the names that they have. What they are made of stays, and so do all blobs.
    ///
    /// # Errors
    /// [`Error::Io`](crate::Error::Io), [`Error::Invalid`](crate::Error::Invalid).
    pub fn keep_only(&self, wanted: &[Digest]) -> Result<()> {
        self.change(|index| index.manifests.retain(|listed| wanted.contains(&listed.digest)))
    }

    /// Deletes the blobs that nothing listed is made of. `None`: somebody is at work here, and nothing was deleted.
    ///
    /// # Errors
    /// Those of [`Layout::reachable`], before anything is deleted; [`Error::Io`](crate::Error::Io).
    pub fn sweep(&self) -> Result<Option<Swept>> {
        let folder = self.root.join(BLOBS);
        let lock = File::open(&folder).map_err(io(&folder))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(error)) => return Err(io(&folder)(error)),
        }
        let listed = self.index()?.manifests;
        let known: HashSet<String> =
            self.reachable(&listed)?.into_iter().map(|descriptor| descriptor.digest.hex()).collect();
        let mut swept = Swept::default();
        for entry in fs::read_dir(&folder).map_err(io(&folder))? {
            let entry = entry.map_err(io(&folder))?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let is_blob = format!("sha256:{name}").parse::<Digest>().is_ok();
            if !is_blob || known.contains(&name) {
                continue;
            }
            let path = entry.path();
            let bytes = entry.metadata().map_err(io(&path))?.len();
            fs::remove_file(&path).map_err(io(&path))?;
            swept = Swept { blobs: swept.blobs + 1, bytes: swept.bytes + bytes };
        }
        Ok(Some(swept))
    }
}
