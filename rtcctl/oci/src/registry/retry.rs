//! What is tried again, how long after and how often.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use backon::{BackoffBuilder as _, ExponentialBackoff, ExponentialBuilder};
use tokio::time::Instant;

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
    /// How long a registry is waited for that takes no connections: one that is started again is away for some seconds.
    pub absence: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            attempts: 7,
            first_wait: Duration::from_millis(250),
            longest_wait: Duration::from_secs(15),
            stall: Duration::from_secs(60),
            absence: Duration::from_secs(20),
        }
    }
}

/// A registry that says how long to wait is believed up to this.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(90);

/// A name that is misspelt stays so for longer than anybody waits.
const UNKNOWN_ATTEMPTS: u32 = 3;
/// Whoever comes back is to be found soon.
const ABSENT_WAIT_MAX: Duration = Duration::from_secs(3);

/// One attempt that failed.
#[derive(Debug)]
pub(crate) enum Failure {
    Final(Error),
    Again {
        reason: String,
        after: Option<Duration>,
    },
    /// The name of the registry leads nowhere.
    Unknown {
        reason: String,
    },
    /// Nobody was there to be asked: the connection was refused, or never made.
    Absent {
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

/// What an operator may want to know while nothing seems to go on.
#[derive(Debug, Clone, Copy)]
pub enum Notice<'a> {
    /// There was no answer for so long, and it is still waited for.
    Silent { what: &'a str, waited: Duration },
    /// Something is asked for again. A blob on its way says it by itself.
    Again { what: &'a str, retry: &'a Retry },
}

/// Who is told.
#[derive(Clone, Default)]
pub struct Notices(Option<Arc<dyn Fn(Notice<'_>) + Send + Sync>>);

impl Notices {
    pub fn new(tell: impl Fn(Notice<'_>) + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(tell)))
    }

    pub(crate) fn tell(&self, notice: Notice<'_>) {
        if let Some(tell) = &self.0 {
            tell(notice);
        }
    }
}

impl fmt::Debug for Notices {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Notices(told)" } else { "Notices(nobody)" })
    }
}

/// The attempts at one thing.
pub(crate) struct Attempts {
    patience: Patience,
    waits: ExponentialBackoff,
    /// All of them, also those that found nobody.
    pub(crate) failed: u32,
    /// Those that were answered, or broke off.
    tried: u32,
    absent_since: Option<Instant>,
}

impl Attempts {
    pub(crate) fn new(patience: &Patience) -> Self {
        Self { patience: patience.clone(), waits: waits(patience), failed: 0, tried: 0, absent_since: None }
    }

    /// Something moved: what fails from now on is a new matter.
    pub(crate) fn forget(&mut self) {
        *self = Self::new(&self.patience);
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
        self.failed += 1;
        let (reason, wait) = match failure {
            Failure::Final(error) => return Err(error),
            Failure::Again { reason, after } => (reason, self.wait(self.patience.attempts, after)),
            Failure::Unknown { reason } => {
                (reason, self.wait(self.patience.attempts.min(UNKNOWN_ATTEMPTS), None))
            }
            Failure::Absent { reason } => (reason, self.wait_for_return()),
        };
        let Some(wait) = wait else {
            return Err(Error::Unavailable {
                registry: registry.to_owned(),
                what: what.to_owned(),
                attempts: self.failed,
                reason,
            });
        };
        notice(&Retry { attempt: self.failed, wait, reason });
        tokio::time::sleep(wait).await;
        Ok(())
    }

    /// Of so many attempts. `after` is what the registry asked for.
    fn wait(&mut self, attempts: u32, after: Option<Duration>) -> Option<Duration> {
        if self.absent_since.take().is_some() {
            self.waits = waits(&self.patience);
        }
        self.tried += 1;
        let wait = self.waits.next().filter(|_| self.tried < attempts)?;
        Some(after.map_or(wait, |asked| asked.min(RETRY_AFTER_MAX).max(wait)))
    }

    /// As long as an absence may last, however many attempts that takes.
    fn wait_for_return(&mut self) -> Option<Duration> {
        if self.absent_since.is_none() {
            self.waits = waits(&self.patience);
        }
        let since = *self.absent_since.get_or_insert_with(Instant::now);
        let left = self.patience.absence.checked_sub(since.elapsed()).filter(|left| !left.is_zero())?;
        Some(self.waits.next()?.min(ABSENT_WAIT_MAX).min(left))
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
