//! One description of a release, the objects of Kubernetes that it comes to, and what would cost a shopper something in any
//! objects.
//!
//! - [`description`] says what is to run: targets, engines, entry, mesh, files, logs; [`Release`] is one that can be meant;
//!   [`description::schema`] is the form of what tables may say of it;
//! - [`render`] makes the objects of it, in the order in which they have to be applied;
//! - [`chart`] makes the same a Helm chart, with what operators change as values;
//! - [`lint`] looks for what makes a rollout lose requests, in objects of whatever origin;
//! - [`yaml`] writes objects so that every reader reads the same, and reads those of others.
//!
//! Invariants: an image is named by digest; no object holds a secret, only where it is; the same description gives the same
//! bytes.
//!
//! The description as TOML is in `examples/`: [`examples::DEV`] and [`examples::PROD`]. In `rtc.toml` it is `[environments.NAME.deploy]` over
//! `[deploy]`; image, addresses, roles and groups are filled in from the build and from Terraform's output `rtc`.

pub mod chart;
pub mod description;
pub mod examples;
pub mod lint;
pub mod render;
pub mod yaml;

#[cfg(test)]
mod tests;

pub use description::{Description, Fault, Release};
pub use render::{Object, Wave, render};
