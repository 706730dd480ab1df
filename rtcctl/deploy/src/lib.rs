//! A release of the platform on a cluster.
//!
//! - [`describe`] joins what `rtc.toml` says with what Terraform and the build know; [`schema`] is the form of what may
//!   be said.
//!
//! Invariant: nothing here draws, asks an operator, or reads a file of configuration.

pub mod describe;
pub mod schema;

#[cfg(test)]
mod tests;
