//! Clusters of EKS: what they are, what still fits into them, and how to sign in.
//!
//! Invariants: nothing here changes anything at AWS; what is decided (a token, what fits, what is wrong, how a kubeconfig is
//! merged) is decided by pure functions; what may not be looked at is told, and hides nothing else; no token and no
//! credential is ever shown.

mod addons;
pub mod capacity;
mod cluster;
mod concern;
mod entries;
mod images;
mod info;
pub mod kubeconfig;
mod nodes;
mod several;
pub mod sign_in;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
#[cfg(test)]
mod tests;

pub use addons::Addon;
pub use aws::{Error, Kind, Result};
pub use capacity::Capacity;
pub use cluster::{Cluster, Endpoint, Issue};
pub use concern::{Concern, Severity, What};
pub use entries::{Admission, Entry, Identity, Policy};
pub use images::Series;
pub use info::{Info, Insight, Support};
pub use nodes::{Group, Instance, Nodes};
pub use sign_in::{Sts, Token, Tokens};

use aws_config::SdkConfig;
use aws_sdk_eks::primitives::DateTime;
use kernel::Timestamp;

/// EKS, EC2 and STS of one account and region.
#[derive(Debug, Clone)]
pub struct Eks {
    eks: aws_sdk_eks::Client,
    ec2: aws_sdk_ec2::Client,
    sts: aws_sdk_sts::Client,
    region: String,
}

impl Eks {
    /// Clients for the account and region of a configuration. Nothing is asked of the network.
    pub fn new(config: &SdkConfig) -> Self {
        Self {
            eks: aws_sdk_eks::Client::new(config),
            ec2: aws_sdk_ec2::Client::new(config),
            sts: aws_sdk_sts::Client::new(config),
            region: config.region().map(ToString::to_string).unwrap_or_default(),
        }
    }

    /// The region that is asked.
    pub fn region(&self) -> &str {
        &self.region
    }
}

fn instant(at: &DateTime) -> Option<Timestamp> {
    at.to_millis().ok().map(Timestamp::from_millis)
}
