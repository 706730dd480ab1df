//! The object store port, and a folder as one.
//!
//! Invariants of every adapter:
//! - an object is whole and durable before [`Objects::put`] answers, and is never seen in parts;
//! - putting an object makes it as new as now, also where the same one was there;
//! - a list is in the order of the bytes of the keys.

mod folder;
mod key;
#[cfg(test)]
mod tests;

use async_trait::async_trait;
use bytes::Bytes;
use kernel::Timestamp;

pub use folder::Folder;
pub use key::{Key, KeyError};

#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nothing answers, or it says that it is overloaded; try again.
    #[error("the object store is not available: {0}")]
    Unavailable(String),
    /// It answers, and will not: credentials, rights, a bucket that is not there. Somebody has to see to it.
    #[error("the object store refuses: {0}")]
    Refused(String),
}

impl From<Error> for kernel::Error {
    /// To a caller both are the same: the objects are not to be had now.
    fn from(error: Error) -> Self {
        let seconds = match error {
            Error::Unavailable(_) => 2,
            Error::Refused(_) => 30,
        };
        kernel::Error::unavailable("objects_unavailable", "the store of objects does not answer")
            .with_retry_after(seconds)
            .with_source(error)
    }
}

/// An object's content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Object {
    pub bytes: Bytes,
    /// Changes with the content. Opaque, without quotation marks.
    pub etag: String,
}

/// An object in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    pub key: Key,
    pub bytes: u64,
    /// By the store's own clock.
    pub modified_at: Timestamp,
}

#[async_trait]
pub trait Objects: Send + Sync {
    /// Keeps an object in place of what was under its key.
    async fn put(&self, key: &Key, bytes: Bytes, content_type: &str) -> Result<(), Error>;

    async fn get(&self, key: &Key) -> Result<Option<Object>, Error>;

    async fn exists(&self, key: &Key) -> Result<bool, Error>;

    /// Nothing happens where there is none.
    async fn remove(&self, key: &Key) -> Result<(), Error>;

    /// Objects whose keys begin with `prefix` and come after `after`, at most `limit` and at most 1000 of them; fewer
    /// only where there are no more.
    async fn list(&self, prefix: &str, after: Option<&Key>, limit: usize) -> Result<Vec<Listed>, Error>;
}

/// The most that one list holds.
pub const LIST_MAX: usize = 1_000;
