//! Whole images on their way: from a layout to a registry, from one registry to another, from a registry to a layout.
//!
//! Invariants:
//! - parts arrive before what is made of them, and the tag is moved last: who reads it sees the old image or the new;
//! - what is there already is not sent, and an image that its tag names already costs one `HEAD`, and one for each
//!   document that refers to it;
//! - documents travel as the bytes they are.

mod origin;
mod pull;
mod send;

use std::sync::Arc;

pub use pull::{choose, of_platform, pull};
pub use send::{copy, push};

use crate::registry::{Retry, Tagging};
use crate::{Descriptor, Digest};

/// How many blobs are on their way at once, when nothing else is asked for.
pub const JOBS: usize = 4;

/// What happens on the way, for whoever draws it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Transfer {
    /// Work at a blob of so many bytes begins.
    Began {
        digest: Digest,
        bytes: u64,
        media_type: String,
    },
    /// It is where it should be.
    Existed {
        digest: Digest,
    },
    /// The registry took it from another of its repositories.
    Mounted {
        digest: Digest,
        from: String,
    },
    /// So many of its bytes have moved; fewer than before when it was begun anew.
    Moved {
        digest: Digest,
        bytes: u64,
    },
    Retried {
        digest: Digest,
        retry: Retry,
    },
    /// All of it has moved.
    Done {
        digest: Digest,
        bytes: u64,
    },
    /// A manifest or an index is in its place, under a tag if it has one.
    Published {
        digest: Digest,
        tag: Option<String>,
    },
}

pub type Events = Arc<dyn Fn(Transfer) + Send + Sync>;

/// What refers to an image or to one of its platforms, an SBOM for one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Referrers {
    #[default]
    With,
    Without,
}

#[derive(Clone)]
pub struct Options {
    pub jobs: usize,
    pub tagging: Tagging,
    pub referrers: Referrers,
    /// A repository of the same registry that may have some of the blobs.
    pub mount_from: Option<String>,
    pub events: Events,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            jobs: JOBS,
            tagging: Tagging::default(),
            referrers: Referrers::default(),
            mount_from: None,
            events: Arc::new(|_| ()),
        }
    }
}

/// What was done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// The image that is now there.
    pub image: Descriptor,
    /// It was there, under its tag and with what refers to it, and nothing was sent.
    pub is_unchanged: bool,
    /// Blobs that were moved.
    pub moved: usize,
    /// Blobs that were there.
    pub existed: usize,
    /// Blobs that the registry took from another of its repositories.
    pub mounted: usize,
    /// Of blobs that were moved.
    pub bytes: u64,
    /// Manifests and indexes that were put.
    pub documents: usize,
}

impl Summary {
    fn new(image: Descriptor) -> Self {
        Self { image, is_unchanged: false, moved: 0, existed: 0, mounted: 0, bytes: 0, documents: 0 }
    }
}

/// The same content is moved once, however many images have it.
fn without_doubles(mut blobs: Vec<Descriptor>) -> Vec<Descriptor> {
    let mut seen = std::collections::HashSet::new();
    blobs.retain(|blob| seen.insert(blob.digest));
    blobs
}
