//! ECR's own API: tokens, repositories as they should be, images, what a lifecycle deletes, scan findings.
//!
//! What every registry speaks (blobs, manifests, tags) is not here. Invariants: a repository that exists is never
//! changed silently; what a lifecycle deletes is decided by a pure function that can be shown before.

mod host;
mod images;
pub mod lifecycle;
mod repository;
pub mod scan;
mod token;

pub use aws::{Error, Kind, Result};
pub use host::Host;
pub use images::{Deleted, Image};
pub use lifecycle::Lifecycle;
pub use repository::{Difference, Ensured, Kept, Scan, Tags, Wanted};
pub use token::Token;

use aws_sdk_ecr::Client;

/// ECR of one account and region.
#[derive(Debug, Clone)]
pub struct Ecr {
    client: Client,
    /// The account, where it is not the caller's own.
    account: Option<String>,
}

impl Ecr {
    /// A client for the registry of an account; `None` is the caller's own.
    pub fn new(config: &aws_config::SdkConfig, account: Option<String>) -> Self {
        Self { client: Client::new(config), account }
    }
}
