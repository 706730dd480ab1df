//! Where STS is, by region: the host that a cluster looks for in a token.
//!
//! Source: "AWS STS Regions and endpoints", "FIPS endpoints by service", and the partitions of the endpoint rules.

use super::OPERATION;
use crate::{Error, Kind, Result};

/// Regions of the commercial partition whose STS has a FIPS endpoint of its own.
const FIPS: [&str; 4] = ["us-east-1", "us-east-2", "us-west-1", "us-west-2"];
/// Partitions, by what their regions begin with. The longer prefix stands first.
const PARTITIONS: [(&str, &str); 7] = [
    ("us-isob-", "sc2s.sgov.gov"),
    ("us-isof-", "csp.hci.ic.gov"),
    ("us-iso-", "c2s.ic.gov"),
    ("eu-isoe-", "cloud.adc-e.uk"),
    ("eusc-", "amazonaws.eu"),
    ("cn-", "amazonaws.com.cn"),
    ("", "amazonaws.com"),
];

/// Which endpoints are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Endpoints {
    Ordinary,
    /// Those with validated cryptography.
    Fips,
}

/// STS of a region.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sts {
    pub(super) region: String,
    pub(super) host: String,
}

impl Sts {
    /// The endpoint of a region. It is never another one by configuration: a cluster takes no other.
    ///
    /// # Errors
    /// [`Kind::Invalid`] where the text is no region, or where STS has no FIPS endpoint there.
    pub fn of(region: &str, endpoints: Endpoints) -> Result<Self> {
        let invalid = |reason: String| Error::new(Kind::Invalid, OPERATION, reason);
        let is_plain =
            region.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
        if !is_plain || !region.contains('-') || region.starts_with('-') || region.ends_with('-') {
            return Err(invalid(format!("{region:?} is no region of AWS")));
        }
        let suffix = PARTITIONS.iter().find(|(prefix, _)| region.starts_with(prefix));
        let suffix = suffix.map_or("amazonaws.com", |(_, suffix)| suffix);
        let service = match endpoints {
            Endpoints::Ordinary => "sts",
            // Where everything is validated, the ordinary endpoint is.
            Endpoints::Fips if region.starts_with("us-gov-") => "sts",
            Endpoints::Fips if FIPS.contains(&region) => "sts-fips",
            Endpoints::Fips => return Err(invalid(format!("STS has no FIPS endpoint in {region}"))),
        };
        Ok(Self { region: region.to_owned(), host: format!("{service}.{region}.{suffix}") })
    }

    pub fn host(&self) -> &str {
        &self.host
    }

    pub fn region(&self) -> &str {
        &self.region
    }
}
