//! A source of tokens: one at a time, renewed before it ends.

use std::error::Error as StdError;
use std::sync::Arc;

use aws_config::SdkConfig;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider};
use kernel::Clock;
use tokio::sync::Mutex;

use super::{Endpoints, OPERATION, Sts, Token, check_name, presign};
use crate::{Error, Kind, Result};

/// Tokens of one cluster, for as long as somebody works with it.
#[derive(Debug)]
pub struct Tokens {
    cluster: String,
    sts: Sts,
    credentials: SharedCredentialsProvider,
    clock: Arc<dyn Clock>,
    kept: Mutex<Option<Token>>,
}

impl Tokens {
    /// Tokens for a cluster in the region of the configuration. Nothing is asked of the network, nor credentials looked for.
    ///
    /// # Errors
    /// [`Kind::Invalid`] for a name that no cluster can have, or a region without such an STS;
    /// [`Kind::Unauthenticated`] where the configuration provides no credentials at all.
    pub fn new(config: &SdkConfig, cluster: impl Into<String>, clock: Arc<dyn Clock>) -> Result<Self> {
        let cluster = cluster.into();
        check_name(&cluster)?;
        let endpoints = match config.use_fips() {
            Some(true) => Endpoints::Fips,
            _ => Endpoints::Ordinary,
        };
        let region = config.region().map(AsRef::as_ref).unwrap_or_default();
        let credentials = config.credentials_provider();
        Ok(Self {
            cluster,
            sts: Sts::of(region, endpoints)?,
            credentials: credentials.ok_or_else(|| {
                Error::new(Kind::Unauthenticated, OPERATION, "no credentials are configured")
            })?,
            clock,
            kept: Mutex::new(None),
        })
    }

    /// A token that is good for now. Whoever asks while one is being signed waits for that one.
    ///
    /// # Errors
    /// [`Kind::Unauthenticated`] where there are no credentials, or expired ones.
    pub async fn token(&self) -> Result<Token> {
        let mut kept = self.kept.lock().await;
        let now = self.clock.now();
        // A clock that was set back makes a token one from the future, which STS refuses too.
        if let Some(token) = kept.as_ref().filter(|token| token.signed_at <= now && now < token.expires_at) {
            return Ok(token.clone());
        }
        let credentials = self.credentials.provide_credentials().await.map_err(unauthenticated)?;
        let token = presign(&credentials, &self.cluster, &self.sts, self.clock.now())?;
        if token.expires_at <= token.signed_at {
            return Err(Error::new(Kind::Unauthenticated, OPERATION, "the credentials have expired"));
        }
        *kept = Some(token.clone());
        Ok(token)
    }

    /// Signs anew at the next call: the cluster refused what it was shown.
    pub async fn forget(&self) {
        *self.kept.lock().await = None;
    }

    pub fn cluster(&self) -> &str {
        &self.cluster
    }
}

/// The whole chain: the last link says whether to sign in, or what is wrong in a file.
fn unauthenticated(error: CredentialsError) -> Error {
    let mut text = error.to_string();
    let mut next = StdError::source(&error);
    while let Some(error) = next {
        let link = error.to_string();
        if !text.contains(&link) {
            text.push_str(": ");
            text.push_str(&link);
        }
        next = error.source();
    }
    Error::new(Kind::Unauthenticated, OPERATION, text)
}
