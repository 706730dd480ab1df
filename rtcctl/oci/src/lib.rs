//! OCI images as documents that are named by what they contain, on disk and in registries.
//!
//! - [`Digest`] names bytes, [`Reference`] names an image somewhere, [`media`] says what bytes are;
//! - [`document`] holds descriptors, manifests, indexes and configurations;
//! - [`layout`] is a folder of them, [`archive`] the same as one file.
//!
//! Invariants:
//! - bytes that came from outside are believed when their digest has been seen, not before;
//! - a document that was read is passed on as the bytes it was, never as it would be written anew;
//! - the same documents written twice are the same bytes.

pub mod archive;
mod digest;
pub mod document;
mod error;
pub mod layout;
pub mod media;
mod reference;

#[cfg(test)]
mod tests;

pub use digest::{Digest, Hasher};
pub use document::{Descriptor, Document, Image, Index, Manifest, Platform};
pub use error::{Error, Result};
pub use layout::{Blob, BlobWriter, Layout};
pub use reference::Reference;
