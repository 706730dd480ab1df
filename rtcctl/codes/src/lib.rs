//! Whatever `rtcctl` can fail with.
//!
//! - A [`Code`] is stable and documented: what happened, why, and what to do; one file an area in `areas/`, [`all`] joins them.
//! - An [`Error`] is a code with a message, the chain of causes and hints.
//! - An [`exit::Exit`] is what the process ends with: that of the code, unless the error says otherwise.
//!
//! Invariant: nothing here prints, and nothing ends the process.

mod areas;
mod error;
pub mod exit;

pub use areas::*;
pub use error::{Error, Result};
