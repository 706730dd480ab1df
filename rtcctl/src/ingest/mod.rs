//! The way of sales into a running platform.
//!
//! - [`read`] reads files one after the other, beside whoever sends.
//! - [`deliver`] sends batches until each of their lines is accepted, known already, or refused for a reason.
//! - [`SalesApi`] is where they go.
//!
//! Invariant: a second replay is told of duplicates and changes nothing, because a line has the same id every time.

mod deliver;
mod files;
mod platform;

#[cfg(test)]
mod tests;

pub use deliver::{Answer, Delivered, Ingest, NotTaken, Patience, RejectedLine, deliver};
pub use files::{Read, read};
pub use platform::{OPERATOR, SalesApi};
