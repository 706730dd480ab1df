//! Files that get their names when they are whole, and blobs written so.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use super::{Blob, Layout, WRITING};
use crate::document::Descriptor;
use crate::error::io;
use crate::{Error, Hasher, Result};

pub(super) fn temporary(folder: &Path) -> Result<NamedTempFile> {
    let file = tempfile::Builder::new().prefix(WRITING).tempfile_in(folder).map_err(io(folder))?;
    // As long as it lives nobody takes it for what a dead one left; where nothing can be locked nothing is cleared.
    let _ = file.as_file().lock();
    Ok(file)
}

/// A finished file, readable by all as the rest of a layout is, whatever the umask.
pub(super) fn complete(file: &NamedTempFile, path: &Path) -> Result<()> {
    file.as_file().set_permissions(fs::Permissions::from_mode(0o644)).map_err(io(path))?;
    file.as_file().sync_data().map_err(io(path))
}

/// Puts a finished file where it belongs.
pub(super) fn keep(file: NamedTempFile, path: &Path) -> Result<()> {
    complete(&file, path)?;
    file.persist(path).map(drop).map_err(|error| io(path)(error.error))
}

/// Writes one blob, hashing on the way; dropped before [`BlobWriter::finish`] it leaves nothing. The errors of its
/// [`Write`] name the file.
#[derive(Debug)]
pub struct BlobWriter {
    layout: Layout,
    file: NamedTempFile,
    hasher: Hasher,
    size: u64,
}

impl BlobWriter {
    pub(super) fn new(layout: Layout, file: NamedTempFile) -> Self {
        Self { layout, file, hasher: Hasher::default(), size: 0 }
    }

    /// The file that is written until it has its name.
    pub fn path(&self) -> &Path {
        self.file.path()
    }

    /// How many bytes were written.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// # Errors
    /// [`Error::Io`].
    pub fn finish(self) -> Result<Blob> {
        let blob = Blob { digest: self.hasher.finish(), size: self.size };
        if self.layout.blob_size(&blob.digest)? != Some(blob.size) {
            keep(self.file, &self.layout.blob_path(&blob.digest))?;
        }
        Ok(blob)
    }

    /// Finishes what came from outside, if it is what was asked for.
    ///
    /// # Errors
    /// [`Error::SizeMismatch`], [`Error::DigestMismatch`], [`Error::Io`].
    pub fn finish_as(self, expected: &Descriptor) -> Result<Blob> {
        let what = format!("blob {}", expected.digest);
        if self.size != expected.size {
            return Err(Error::SizeMismatch { what, expected: expected.size, actual: self.size });
        }
        expected.digest.expect(self.hasher.clone().finish(), &what)?;
        self.finish()
    }
}

impl Write for BlobWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.as_file_mut().write(bytes).map_err(|error| named(self.file.path(), error))?;
        self.hasher.update(&bytes[..written]);
        self.size += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.as_file_mut().flush().map_err(|error| named(self.file.path(), error))
    }
}

/// An error of the disk with its path in it, for those who see only [`Write`]. Interruptions stay what they are.
#[derive(Debug, thiserror::Error)]
#[error("{}: {source}", path.display())]
struct Named {
    path: PathBuf,
    source: io::Error,
}

fn named(path: &Path, source: io::Error) -> io::Error {
    io::Error::new(source.kind(), Named { path: path.to_owned(), source })
}

/// The same without it, for those who say the path themselves.
pub(crate) fn bare(path: &Path, error: io::Error) -> Error {
    let source = match error.downcast::<Named>() {
        Ok(named) => named.source,
        Err(error) => error,
    };
    Error::Io { path: path.to_owned(), source }
}
