//! Clusters of EKS: what they are, what still fits into them, and how to sign in.
//!
//! Invariants: nothing here changes anything at AWS; what is decided (a token, what fits, what is wrong, how a kubeconfig is
//! merged) is decided by pure functions; no token and no credential is ever shown.

mod cluster;
pub mod sign_in;
#[cfg(test)]
mod tests;

pub use aws::{Error, Kind, Result};
pub use cluster::Endpoint;
pub use sign_in::{Sts, Token, Tokens};

use aws_config::SdkConfig;

/// EKS of one account and region.
#[derive(Debug, Clone)]
pub struct Eks {
    eks: aws_sdk_eks::Client,
    region: String,
}

impl Eks {
    /// Clients for the account and region of a configuration. Nothing is asked of the network.
    pub fn new(config: &SdkConfig) -> Self {
        Self {
            eks: aws_sdk_eks::Client::new(config),
            region: config.region().map(ToString::to_string).unwrap_or_default(),
        }
    }

    /// The region that is asked.
    pub fn region(&self) -> &str {
        &self.region
    }
}
