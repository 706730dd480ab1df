//! All services of RTC in one process, or some of them: `rtcd serve --only orders,payments`.
//!
//! Invariant: this crate composes and decides nothing about commerce; it is the only one that sees every service.

mod adapters;
mod admin;
pub mod cli;
mod data_dir;
mod faults;
pub mod invariants;
mod serve;
mod split;
mod targets;
#[cfg(test)]
mod tests;
mod traces;

pub use serve::{Options, Running, start};
pub use targets::{GATEWAY, Selection, Target, all, select};
