//! The section `[services.users]`: lifetimes, limits and the cost of a password.

use std::time::Duration;

use host::StartError;
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// How long an access token is good (S2: at most 15 minutes).
    pub access_token_s: u64,
    /// How long a refresh token is good; each use gives a new one.
    pub refresh_token_s: u64,
    /// How long after its use a refresh token still gives its successor again, to tabs that refresh together (S3).
    pub refresh_grace_s: u64,
    /// How long the tokens of made-up shoppers are good; they exist in the embedded profile only.
    pub shopper_token_s: u64,
    /// How long a verification code is good.
    pub code_life_s: u64,
    /// How many codes are sent to one address in an hour.
    pub codes_per_hour: u32,
    /// How many wrong tries a code survives.
    pub code_tries: u32,
    /// So many failed sign-ins of one address at one account within the window lock that pair out for as long.
    pub lockout_failures: u32,
    /// So many failed sign-ins at one account within the window, from wherever, lock it out for as long (R6).
    pub lockout_account_failures: u32,
    pub lockout_window_s: u64,
    /// How long others may keep the key set; a key is published for so long before it signs (S2).
    pub jwks_cache_s: u64,
    pub password: PasswordCost,
}

/// What hashing a password costs (argon2id).
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PasswordCost {
    pub memory_kib: u32,
    pub passes: u32,
    pub lanes: u32,
    /// How many passwords are hashed at once: this many times `memory_kib` is the most memory that it takes.
    pub concurrency_max: usize,
    /// How long a request waits for its turn before it is refused with 503.
    pub queue_timeout_ms: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            access_token_s: 900,
            refresh_token_s: 3 * 86_400,
            refresh_grace_s: 30,
            shopper_token_s: 12 * 3_600,
            code_life_s: 180,
            codes_per_hour: 5,
            code_tries: 5,
            lockout_failures: 10,
            lockout_account_failures: 100,
            lockout_window_s: 900,
            jwks_cache_s: 300,
            password: PasswordCost::default(),
        }
    }
}

impl Default for PasswordCost {
    fn default() -> Self {
        Self { memory_kib: 19_456, passes: 2, lanes: 1, concurrency_max: 4, queue_timeout_ms: 5_000 }
    }
}

impl Config {
    /// Refuses what cannot be meant: a token that is never good, a lock that nobody opens.
    pub(crate) fn check(self) -> Result<Self, StartError> {
        let positive = [
            ("access_token_s", self.access_token_s),
            ("refresh_token_s", self.refresh_token_s),
            ("shopper_token_s", self.shopper_token_s),
            ("code_life_s", self.code_life_s),
            ("codes_per_hour", self.codes_per_hour.into()),
            ("code_tries", self.code_tries.into()),
            ("lockout_failures", self.lockout_failures.into()),
            ("lockout_window_s", self.lockout_window_s),
            ("password.concurrency_max", self.password.concurrency_max as u64),
        ];
        if let Some((key, _)) = positive.iter().find(|(_, value)| *value == 0) {
            return Err(StartError::Config(format!("services.users.{key} is at least 1")));
        }
        if self.lockout_account_failures < self.lockout_failures {
            let text = "services.users.lockout_account_failures is at least lockout_failures";
            return Err(StartError::Config(text.to_owned()));
        }
        // The platform forgets changed rights after a day: no token may outlive that.
        for (key, value) in
            [("access_token_s", self.access_token_s), ("shopper_token_s", self.shopper_token_s)]
        {
            if value > 86_000 {
                return Err(StartError::Config(format!("services.users.{key} is at most 86000")));
            }
        }
        Ok(self)
    }

    pub(crate) fn access_token_life(&self) -> Duration {
        Duration::from_secs(self.access_token_s)
    }

    pub(crate) fn refresh_token_life(&self) -> Duration {
        Duration::from_secs(self.refresh_token_s)
    }

    pub(crate) fn refresh_grace(&self) -> Duration {
        Duration::from_secs(self.refresh_grace_s)
    }

    pub(crate) fn shopper_token_life(&self) -> Duration {
        Duration::from_secs(self.shopper_token_s)
    }

    pub(crate) fn code_life(&self) -> Duration {
        Duration::from_secs(self.code_life_s)
    }

    pub(crate) fn lockout_window(&self) -> Duration {
        Duration::from_secs(self.lockout_window_s)
    }

    /// The longest life of any token: how long a key that signs no more is kept.
    pub(crate) fn longest_token_life(&self) -> Duration {
        self.access_token_life().max(self.shopper_token_life())
    }
}
