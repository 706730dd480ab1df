//! AWS as the operator's tool meets it: one configuration for every client, and failures by what to do about them.
//!
//! Invariants: nothing is asked of the network before a client is used; no error carries a credential.

mod failure;

use std::path::Path;

use aws_config::ecs::EcsCredentialsProvider;
use aws_config::imds::credentials::ImdsCredentialsProvider;
use aws_config::meta::credentials::CredentialsProviderChain;
use aws_config::profile::ProfileFileCredentialsProvider;
use aws_config::provider_config::ProviderConfig;
use aws_config::web_identity_token::WebIdentityTokenCredentialsProvider;
use aws_config::{BehaviorVersion, Region};
use aws_credential_types::provider::SharedCredentialsProvider;
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
    let files = file.map(|file| {
        let files = EnvConfigFiles::builder().include_default_credentials_file(true);
        files.with_file(EnvConfigFileKind::Config, file).build()
    });
    if let Some(files) = &files {
        loader = loader.profile_files(files.clone());
    }
    if let Some(region) = &place.region {
        loader = loader.region(Region::new(region.clone()));
    }
    let config = loader.load().await;
    let Some(region) = config.region().cloned() else {
        return Err(Error::new(
            Kind::Invalid,
            "configuration",
            "no region is set: neither in rtc.toml nor by AWS_REGION nor in the profile",
        ));
    };
    Ok(match &place.profile {
        Some(profile) => {
            let credentials = SharedCredentialsProvider::new(of_profile(profile, files, region));
            config.into_builder().credentials_provider(credentials).build()
        }
        None => config,
    })
}

/// Who the profile says we are, and after it the machine's role. Keys in variables are another account's as likely as not:
/// whoever names a profile means it, as with every tool of AWS.
fn of_profile(name: &str, files: Option<EnvConfigFiles>, region: Region) -> CredentialsProviderChain {
    let provider = ProviderConfig::without_region().with_region(Some(region));
    let mut profile = ProfileFileCredentialsProvider::builder().configure(&provider).profile_name(name);
    if let Some(files) = files {
        profile = profile.profile_files(files);
    }
    CredentialsProviderChain::first_try("profile", profile.build())
        .or_else("web identity", WebIdentityTokenCredentialsProvider::builder().configure(&provider).build())
        .or_else("container", EcsCredentialsProvider::builder().configure(&provider).build())
        .or_else("machine", ImdsCredentialsProvider::builder().configure(&provider).build())
}
