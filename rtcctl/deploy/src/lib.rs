//! A release of the platform on a cluster.
//!
//! - [`describe`] joins what `rtc.toml` says with what Terraform and the build know;
//! - [`manifest`] is what comes of it, [`revision`] what of it is kept in the cluster;
//! - [`port`] is what is needed of a cluster; [`apply`] and [`diff`] bring objects there and say what changes;
//! - [`room`] says whether a namespace's quota holds a release twice;
//! - [`run`] drives a rollout from its journal; [`gate`] is what decides after the pods stand.
//!
//! Invariant: nothing here draws, asks an operator, or reads a file of configuration.

pub mod apply;
pub mod describe;
pub mod diff;
pub mod gate;
pub mod manifest;
pub mod port;
pub mod revision;
pub mod room;
pub mod run;

#[cfg(test)]
mod tests;
