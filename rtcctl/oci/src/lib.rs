//! OCI images as documents that are named by what they contain, on disk and in registries.
//!
//! - [`Digest`] names bytes, [`Reference`] names an image somewhere, [`media`] says what bytes are;
//! - [`document`] holds descriptors, manifests, indexes and configurations;
//! - [`layout`] is a folder of them, [`archive`] the same as one file;
//! - [`registry`] is a registry over HTTP, [`credentials`] who it is told we are, [`docker`] what `docker login` keeps;
//! - [`transfer`] pushes, copies and pulls whole images.
//!
//! Invariants:
//! - bytes that came from outside are believed when their digest has been seen, not before;
//! - a document that was read is passed on as the bytes it was, never as it would be written anew;
//! - the same documents written twice are the same bytes.

pub mod archive;
pub mod credentials;
mod digest;
pub mod docker;
pub mod document;
mod error;
pub mod layout;
pub mod media;
mod reference;
pub mod registry;

#[cfg(any(test, feature = "testing"))]
pub mod testing;
#[cfg(test)]
mod tests;
pub mod transfer;

pub use digest::{Digest, Hasher};
pub use document::{Descriptor, Document, Image, Index, Manifest, Platform};
pub use error::{Error, Result};
pub use layout::{Blob, BlobWriter, Layout};
pub use reference::Reference;
