//! From a binary to a reproducible OCI image on disk.
//!
//! - [`elf`] reads what a binary says about itself, [`libraries`] finds what it is loaded with, in a [`sysroot`];
//! - [`root`] makes of them the least that a program needs around it, as a [`tree`] of files;
//! - [`layer`] packs a tree, [`kept`] knows what was packed already, [`contents`] what was read for it;
//! - [`build`](mod@build) joins layers to an image, one for each platform, and an index over them, as the
//!   [`settings`] want it;
//! - [`sbom`] says what is in it;
//! - [`files`] lists what layers hold, [`diff`] compares two images.
//!
//! Invariants: the same settings and the same files give the same digest, whatever the folder, the user, the umask, the
//! time zone and the order in which files were made; nothing is held in memory that grows with the size of a file.

mod base;
pub mod build;
mod configuration;
pub mod contents;
pub mod diff;
pub mod elf;
mod error;
pub mod files;
pub mod gzip;
pub mod kept;
pub mod layer;
pub mod libraries;
mod links;
mod loader_cache;
pub mod platform;
pub mod root;
pub mod sbom;
pub mod settings;
pub mod sysroot;
pub mod tree;

#[cfg(test)]
mod fixture;

pub use build::{Built, BuiltImage, Event, Outline, build, check};
pub use error::{Error, Result};
pub use settings::{Base, Binary, Foundation, Settings};
