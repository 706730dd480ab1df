//! What is tried again, how long after and how often.

use std::time::Duration;

use backon::{BackoffBuilder as _, ExponentialBackoff, ExponentialBuilder};

use crate::{Error, Result};

/// How patient a client is.
#[derive(Debug, Clone)]
pub struct Patience {
    /// Including the first.
    pub attempts: u32,
    /// Before the second; doubled each time, and up to as much again is added by chance.
    pub first_wait: Duration,
    pub longest_wait: Duration,
    /// How long not a byte may move before the connection is given up.
    pub stall: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            attempts: 6,
            first_wait: Duration::from_millis(250),
            longest_wait: Duration::from_secs(15),
            stall: Duration::from_secs(60),
        }
    }
}

/// A registry that says how long to wait is believed up to this.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(90);

/// A name that is misspelt and a port where nothing listens stay so for longer than anybody waits.
const UNREACHED_ATTEMPTS: u32 = 3;

/// One attempt that failed.
#[derive(Debug)]
pub(crate) enum Failure {
    Final(Error),
    Again {
        reason: String,
        after: Option<Duration>,
    },
    /// Nobody was there to be asked.
    Unreached {
        reason: String,
    },
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Final(error)
    }
}

impl Failure {
    pub(crate) fn again(reason: impl Into<String>) -> Self {
        Self::Again { reason: reason.into(), after: None }
    }
}

/// Something is tried again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retry {
    /// The attempt that failed, from 1.
    pub attempt: u32,
    pub wait: Duration,
    pub reason: String,
}

/// The attempts at one thing.
pub(crate) struct Attempts {
    patience: Patience,
    waits: ExponentialBackoff,
    pub(crate) failed: u32,
}

impl Attempts {
    pub(crate) fn new(patience: &Patience) -> Self {
        Self { patience: patience.clone(), waits: waits(patience), failed: 0 }
    }

    /// Something moved: what fails from now on is a new matter.
    pub(crate) fn forget(&mut self) {
        self.waits = waits(&self.patience);
        self.failed = 0;
    }

    /// Waits for the next attempt.
    ///
    /// # Errors
    /// There is none: the failure was final, or [`Error::Unavailable`].
    pub(crate) async fn next(
        &mut self,
        registry: &str,
        what: &str,
        failure: Failure,
        notice: &(dyn Fn(&Retry) + Send + Sync),
    ) -> Result<()> {
        let (reason, after, attempts) = match failure {
            Failure::Final(error) => return Err(error),
            Failure::Again { reason, after } => (reason, after, self.patience.attempts),
            Failure::Unreached { reason } => (reason, None, self.patience.attempts.min(UNREACHED_ATTEMPTS)),
        };
        self.failed += 1;
        let Some(wait) = self.waits.next().filter(|_| self.failed < attempts) else {
            return Err(Error::Unavailable {
                registry: registry.to_owned(),
                what: what.to_owned(),
                attempts: self.failed,
                reason,
            });
        };
        let wait = after.map_or(wait, |asked| asked.min(RETRY_AFTER_MAX).max(wait));
        notice(&Retry { attempt: self.failed, wait, reason });
        tokio::time::sleep(wait).await;
        Ok(())
    }
}

fn waits(patience: &Patience) -> ExponentialBackoff {
    ExponentialBuilder::default()
        .with_jitter()
        .with_factor(2.0)
        .with_min_delay(patience.first_wait)
        .with_max_delay(patience.longest_wait)
        .without_max_times()
        .build()
}
