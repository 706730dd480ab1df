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
    /// A document, an answer or a setting that cannot be read as what it should be.
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

    /// The registry has no such repository, and makes none by itself.
    #[error("{registry} has no repository {repository}: {message}")]
    NameUnknown { registry: String, repository: String, message: String },
    /// Nobody is logged in, the login is wrong, or it may not do this. `message` is the registry's.
    #[error("{registry} refused {what} ({status}): {message}")]
    Denied { registry: String, what: String, status: u16, message: String },
    /// A tag that is never given again names another image already.
    #[error("the tag {tag} of {repository} is {existing} and may not become {wanted}: it is immutable",
        existing = existing.map_or_else(|| "another image".to_owned(), |digest| digest.to_string()))]
    TagImmutable { repository: String, tag: String, existing: Option<Digest>, wanted: Digest },
    /// Something else answered: a proxy, a portal, a website.
    #[error("{url} does not answer as a registry does: {first_line}")]
    NotARegistry { url: String, first_line: String },
    /// The registry said no, in its own words.
    #[error("{registry} refused {what} ({status} {code}): {message}")]
    Refused { registry: String, what: String, status: u16, code: String, message: String },
    /// Tried as often as is sensible.
    #[error("{registry} is not available for {what} after {attempts} attempts: {reason}")]
    Unavailable { registry: String, what: String, attempts: u32, reason: String },
    /// The login could not be had: a helper failed, a file is not readable.
    #[error("no credentials for {registry}: {reason}")]
    Credentials { registry: String, reason: String },
}

pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What `map_err` takes to say which file it was.
pub(crate) fn io(path: impl AsRef<Path>) -> impl FnOnce(io::Error) -> Error {
    move |source| Error::Io { path: path.as_ref().to_owned(), source }
}
