//! AWS as the operator's tool meets it: one configuration for every client, and failures by what to do about them.
//!
//! Invariants: nothing is asked of the network before a client is used; no error carries a credential.

mod failure;

use std::path::Path;

use aws_config::{BehaviorVersion, Region};
use aws_runtime::env_config::file::{EnvConfigFileKind, EnvConfigFiles};

pub use aws_config::SdkConfig;
pub use failure::{Error, Kind, Result};

/// Which account's AWS is meant, where the operator says so. What is empty is found as every AWS tool finds it:
/// variables, the shared files, the role of the machine.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Place {
    pub region: Option<String>,
    pub profile: Option<String>,
}

/// Reads the configuration that every client is made from.
///
/// # Errors
/// [`Kind::Invalid`] where no region is to be found.
pub async fn configure(place: &Place) -> Result<SdkConfig> {
    configure_from(place, None).await
}

/// The same with the file of profiles that `AWS_CONFIG_FILE` names to whoever has variables of their own.
///
/// # Errors
/// As [`configure`].
pub async fn configure_from(place: &Place, file: Option<&Path>) -> Result<SdkConfig> {
    let mut loader = aws_config::defaults(BehaviorVersion::latest());
    if let Some(profile) = &place.profile {
        loader = loader.profile_name(profile);
    }
    if let Some(file) = file {
        let files = EnvConfigFiles::builder().include_default_credentials_file(true);
        loader = loader.profile_files(files.with_file(EnvConfigFileKind::Config, file).build());
    }
    if let Some(region) = &place.region {
        loader = loader.region(Region::new(region.clone()));
    }
    let config = loader.load().await;
    match config.region() {
        Some(_) => Ok(config),
        None => Err(Error::new(
            Kind::Invalid,
            "configuration",
            "no region is set: neither in rtc.toml nor by AWS_REGION nor in the profile",
        )),
    }
}
