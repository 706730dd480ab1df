//! Terraform as a process that is planned with, watched and stopped, without a word to a terminal.
//!
//! - [`plan`] reads `terraform show -json`: what would change, and what forces a replacement;
//! - [`bill`] takes stock of what a plan is billed for by the month, [`cost`] prices it;
//! - [`guard`] refuses what loses data and nobody named;
//! - [`stream`] reads the lines of `-json`, [`watch`] keeps where each resource stands;
//! - [`failure`] tells from the diagnostics what went wrong;
//! - [`process`] runs the binary so that it outlives us, and forwards an interrupt exactly once.
//!
//! Invariant: a value that Terraform marks as sensitive leaves this crate only as [`plan::Value::Sensitive`].

pub mod attributes;
pub mod bill;
pub mod cost;
pub mod failure;
pub mod guard;
pub mod plan;
pub mod process;
pub mod stream;
pub mod watch;
