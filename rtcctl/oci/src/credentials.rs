//! Who a registry is told we are.
//!
//! Invariant: a secret is in no [`std::fmt::Debug`] output and in no error.

use std::fmt;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::Result;

#[derive(Clone, PartialEq, Eq)]
pub enum Login {
    Anonymous,
    Password {
        user: String,
        password: String,
    },
    /// What follows `Basic ` in the header, sent with the first request and unchanged, as ECR's tokens are.
    Ready(String),
    /// A refresh token of the registry's own token service, as `docker login` keeps for some.
    Identity(String),
}

impl Login {
    /// What follows `Basic `; `None` where there is nothing to say.
    pub(crate) fn basic(&self) -> Option<String> {
        match self {
            Self::Anonymous | Self::Identity(_) => None,
            Self::Password { user, password } => Some(STANDARD.encode(format!("{user}:{password}"))),
            Self::Ready(token) => Some(token.clone()),
        }
    }
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Anonymous => f.write_str("Anonymous"),
            Self::Password { user, .. } => {
                f.debug_struct("Password").field("user", user).finish_non_exhaustive()
            }
            Self::Ready(_) => f.write_str("Ready"),
            Self::Identity(_) => f.write_str("Identity"),
        }
    }
}

/// A login and how long it is good for, as far as that is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    pub login: Login,
    pub valid_for: Option<Duration>,
}

impl From<Login> for Grant {
    fn from(login: Login) -> Self {
        Self { login, valid_for: None }
    }
}

/// Where logins come from. A registry asks when it needs one, again when that one has expired or was refused, and
/// never twice at the same time.
#[async_trait::async_trait]
pub trait Credentials: Send + Sync {
    /// # Errors
    /// [`crate::Error::Credentials`].
    async fn login(&self, registry: &str) -> Result<Grant>;

    /// The login for one repository, where there may be several for one registry.
    ///
    /// # Errors
    /// Those of [`Credentials::login`].
    async fn login_for(&self, registry: &str, _repository: &str) -> Result<Grant> {
        self.login(registry).await
    }
}

#[async_trait::async_trait]
impl Credentials for Login {
    async fn login(&self, _registry: &str) -> Result<Grant> {
        Ok(self.clone().into())
    }
}
