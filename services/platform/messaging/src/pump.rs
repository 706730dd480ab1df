//! Work that goes on beside the requests: relays, consumers, timers, sweeps. The host turns each in a loop of its
//! own, a test turns them by hand.
//!
//! Invariant: a step does a bounded piece of work and never waits for more of it.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::Notify;

/// Whether a step found something to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    Worked,
    Idle,
}

impl Progress {
    pub const fn from_count(count: usize) -> Self {
        if count == 0 { Progress::Idle } else { Progress::Worked }
    }
}

#[async_trait]
pub trait Pump: Send + Sync {
    fn name(&self) -> &str;

    /// One bounded piece of work.
    async fn step(&self) -> kernel::Result<Progress>;

    /// Signalled when a step may find work.
    fn wake(&self) -> Arc<Notify>;

    /// How long the host waits at most before it looks without a signal.
    fn interval(&self) -> Duration;

    /// Its work begins with commits. Where another process may have made them no signal comes, and it has to look.
    fn follows_commits(&self) -> bool {
        false
    }

    /// The last step was the last, or was cut off by a panic: what is held for others' sake is let go. A step after it begins
    /// anew.
    async fn finish(&self) {}
}

/// The work of a timed pump.
#[async_trait]
pub trait Job: Send + Sync {
    async fn run(&self) -> kernel::Result<Progress>;
}

/// A pump made of a job and an interval: sweeps, expiry, reconciliation.
pub struct Every<J> {
    name: String,
    interval: Duration,
    wake: Arc<Notify>,
    follows_commits: bool,
    job: J,
}

impl<J: Job> Every<J> {
    pub fn new(name: impl Into<String>, interval: Duration, job: J) -> Self {
        Self { name: name.into(), interval, wake: Arc::new(Notify::new()), follows_commits: false, job }
    }

    /// Uses a signal that somebody else gives: a hook after a commit.
    #[must_use]
    pub fn woken_by(mut self, wake: Arc<Notify>) -> Self {
        self.wake = wake;
        self.follows_commits = true;
        self
    }
}

#[async_trait]
impl<J: Job> Pump for Every<J> {
    fn name(&self) -> &str {
        &self.name
    }

    async fn step(&self) -> kernel::Result<Progress> {
        self.job.run().await
    }

    fn wake(&self) -> Arc<Notify> {
        self.wake.clone()
    }

    fn interval(&self) -> Duration {
        self.interval
    }

    fn follows_commits(&self) -> bool {
        self.follows_commits
    }
}
