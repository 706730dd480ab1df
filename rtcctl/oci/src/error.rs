//! What can go wrong with images, each kind by itself, so that whoever calls can tell them apart.

use std::io;
use std::path::{Path, PathBuf};

use crate::Digest;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{text:?} is no digest: {reason}")]
    Digest { text: String, reason: String },
    #[error("{text:?} is no image reference: {reason}")]
    Reference { text: String, reason: String },
    /// A document that cannot be read as what it says it is.
    #[error("{what} is not valid: {reason}")]
    Invalid { what: String, reason: String },
    /// A file or folder, among them a full disk.
    #[error("{}: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error("{} is no OCI layout: {reason}", path.display())]
    NotALayout { path: PathBuf, reason: String },
    /// A name or a digest that a layout or a registry has not.
    #[error("there is no {what}")]
    NotFound { what: String },
    #[error("{what} has the digest {actual} instead of {expected}")]
    DigestMismatch { what: String, expected: Digest, actual: Digest },
    #[error("{what} has {actual} bytes instead of {expected}")]
    SizeMismatch { what: String, expected: u64, actual: u64 },
}

pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What `map_err` takes to say which file it was.
pub(crate) fn io(path: impl AsRef<Path>) -> impl FnOnce(io::Error) -> Error {
    move |source| Error::Io { path: path.as_ref().to_owned(), source }
}
