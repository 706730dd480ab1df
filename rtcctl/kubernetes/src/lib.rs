//! The API of Kubernetes as rtcctl uses it: objects as JSON, applied by the server, followed by list and watch.
//!
//! - [`Cluster`] is one API server; [`access`] says where it is and who we are there;
//! - [`write`] changes objects, [`read`] asks for them, [`watch`] follows them into a [`rollout::world::World`];
//! - [`Error`] says what went wrong and what to do about it;
//! - `testing` (feature of the same name) is an API server to be tested against.
//!
//! Invariants: no answer, error or log of this crate holds a token; what is repeated by itself is safe to repeat; an
//! answer that is not of Kubernetes is never taken for one.

pub mod access;
mod cluster;
mod error;
pub mod kinds;
mod lines;
pub mod read;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
#[cfg(test)]
mod tests;
pub mod watch;
pub mod write;

pub use access::{Access, Tokens};
pub use cluster::{Cluster, Place};
pub use error::{Cause, Conflict, Error, Result, Subject};
pub use kinds::{Gvk, Resource, Scope};
