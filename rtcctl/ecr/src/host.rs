//! The names of ECR's registries.

use std::fmt;
use std::str::FromStr;

/// A registry's host: `<account>.dkr.ecr.<region>.amazonaws.com`, with `-fips`, dual-stack (`.dkr-ecr.` under
/// `on.aws`) and the partitions' other suffixes ("Amazon ECR endpoints and quotas", AWS General Reference).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host {
    pub account: String,
    pub region: String,
    text: String,
}

/// What AWS owns. A token is sent to these hosts and to no other that merely looks like one.
const SUFFIXES: [&str; 9] = [
    "amazonaws.com",
    "amazonaws.com.cn",
    "amazonaws.eu",
    "on.aws",
    "on.amazonwebservices.com.cn",
    "c2s.ic.gov",
    "sc2s.sgov.gov",
    "cloud.adc-e.uk",
    "csp.hci.ic.gov",
];

/// The text names no registry of ECR.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no registry of ECR (<12 digits>.dkr.ecr.<region>.amazonaws.com)")]
pub struct NotEcr(String);

impl Host {
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromStr for Host {
    type Err = NotEcr;

    fn from_str(text: &str) -> Result<Self, NotEcr> {
        let not = || NotEcr(text.to_owned());
        let (account, rest) = text.split_once('.').ok_or_else(not)?;
        let rest = ["dkr.ecr.", "dkr.ecr-fips.", "dkr-ecr.", "dkr-ecr-fips."]
            .iter()
            .find_map(|kind| rest.strip_prefix(kind))
            .ok_or_else(not)?;
        let (region, suffix) = rest.split_once('.').ok_or_else(not)?;
        let is_account = account.len() == 12 && account.bytes().all(|byte| byte.is_ascii_digit());
        let is_region = region.contains('-')
            && region.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
        match is_account && is_region && SUFFIXES.contains(&suffix) {
            true => {
                Ok(Self { account: account.to_owned(), region: region.to_owned(), text: text.to_owned() })
            }
            false => Err(not()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_the_name_tells_account_and_region() {
        for text in [
            "123456789012.dkr.ecr.ap-northeast-2.amazonaws.com",
            "123456789012.dkr.ecr-fips.ap-northeast-2.amazonaws.com",
            "123456789012.dkr-ecr.ap-northeast-2.on.aws",
            "123456789012.dkr.ecr.ap-northeast-2.amazonaws.com.cn",
        ] {
            let host: Host = text.parse().unwrap();
            assert_eq!((host.account.as_str(), host.region.as_str()), ("123456789012", "ap-northeast-2"));
            assert_eq!(host.to_string(), text);
        }
    }

    #[test]
    fn other_registries_are_not_ecr() {
        for text in [
            "ghcr.io",
            "localhost:5000",
            "public.ecr.aws",
            "12345678901.dkr.ecr.eu-west-1.amazonaws.com",
            "123456789012.dkr.ecr",
            "123456789012.dkr.ecr.eu-west-1.attacker.invalid",
            "123456789012.dkr.ecr.eu-west-1.amazonaws.com.attacker.invalid",
            "123456789012.dkr.ecr.eu-west-1.amazonaws.com:8443",
            "123456789012.dkr.ecr.amazonaws.com",
            "123456789012.dkr.ecr.eu-west-1@attacker.amazonaws.com",
        ] {
            assert!(text.parse::<Host>().is_err(), "{text}");
        }
    }
}
