//! What opens a registry of ECR.

use std::fmt;

use kernel::Timestamp;

use crate::{Ecr, Error, Kind, Result};

/// The value of an `Authorization` header, good for every repository that the caller may use.
///
/// "Amazon ECR private registry authentication": the token is base64 of `AWS:<password>`, valid for 12 hours, and is
/// sent as `Basic` unchanged; ECR has no token exchange.
#[derive(Clone, PartialEq, Eq)]
pub struct Token {
    header: String,
    pub expires_at: Timestamp,
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
        let given = given.and_then(|data| Some((data.authorization_token()?, data.expires_at()?)));
        let Some((token, expires_at)) = given else {
            return Err(Error::new(Kind::Fault, OPERATION, "the answer has no token"));
        };
        let expires_at = Timestamp::from_millis(expires_at.secs() * 1_000);
        Ok(Token { header: format!("Basic {token}"), expires_at })
    }
}
