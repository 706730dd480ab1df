//! What opens a registry of ECR.

use std::fmt;

use kernel::Timestamp;

use crate::{Ecr, Error, Host, Kind, Result};

/// The value of an `Authorization` header, good for every repository that the caller may use.
///
/// "Amazon ECR private registry authentication": the token is base64 of `AWS:<password>`, valid for 12 hours, and is
/// sent as `Basic` unchanged; ECR has no token exchange.
#[derive(Clone, PartialEq, Eq)]
pub struct Token {
    header: String,
    pub expires_at: Timestamp,
    /// The registry that it opens: the caller's own.
    pub host: Host,
}

impl Token {
    /// `Basic …`, to be sent and never shown.
    pub fn header(&self) -> &str {
        &self.header
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Token").field("expires_at", &self.expires_at).finish_non_exhaustive()
    }
}

impl Ecr {
    /// Asks for a token.
    pub async fn token(&self) -> Result<Token> {
        const OPERATION: &str = "ecr:GetAuthorizationToken";
        let answer = self
            .client
            .get_authorization_token()
            .send()
            .await
            .map_err(|error| Error::of(OPERATION, error))?;
        let given = answer.authorization_data().first();
        let given = given
            .and_then(|data| Some((data.authorization_token()?, data.expires_at()?, data.proxy_endpoint()?)));
        let fault = |reason: String| Error::new(Kind::Fault, OPERATION, reason);
        let Some((token, expires_at, endpoint)) = given else {
            return Err(fault("the answer has no token".to_owned()));
        };
        let host = endpoint.trim_start_matches("https://").trim_end_matches('/');
        let host = host.parse().map_err(|error: crate::host::NotEcr| fault(error.to_string()))?;
        let expires_at = Timestamp::from_millis(expires_at.secs() * 1_000);
        Ok(Token { header: format!("Basic {token}"), expires_at, host })
    }
}
