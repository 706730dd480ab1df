//! Services in a test: databases in memory, a bus that a seed makes hostile, a clock that stands still, pumps that
//! are turned by hand.
//!
//! Invariant: a test that leaves outbox rows, undelivered messages or dead letters behind fails by itself
//! (see [`House::assert_settled`], called when the house is dropped).

mod askers;
mod call;
mod databases;
mod dump;
mod hostile;
mod house;
mod walk;

pub use askers::Askers;
pub use call::{Answer, Call};
pub use dump::dump;
pub use hostile::{Faults, HostileBus};
pub use house::{House, NOON};
pub use walk::walk_routes;
