//! Commands that wait for a worker, and who of the workers takes up which.
//!
//! Invariant: those that were put aside never have more than half of the workers, so that the others find one.

use std::collections::VecDeque;
use std::time::Duration;

use db::Job;
use tokio::time::Instant;

/// How many commands share a transaction at most: bounds what one that fails costs the others.
const GROUP_MAX: usize = 64;
/// How long a command waits for the worker that is at work before another one joins it.
pub(crate) const JOIN_AFTER: Duration = Duration::from_millis(30);
/// How long after a transaction of several has begun the next one begins at the earliest: twice as long as the last one took,
/// within bounds. The slower transactions are, because the server or this machine has much to do, the larger they get.
const GATHER_MIN: Duration = Duration::from_millis(10);
const GATHER_MAX: Duration = Duration::from_millis(40);
/// How long those that were put aside let others go first, where there are not connections enough for both.
const ASIDE_FOR: Duration = Duration::from_secs(2);

pub(crate) struct Waiting {
    pub job: Box<dyn Job>,
    pub since: Instant,
}

pub(crate) type Group = Vec<Box<dyn Job>>;

/// What a worker does next.
pub(crate) enum Taken {
    Group(Group),
    /// One that waits for a lock as long as it may.
    Aside(Box<dyn Job>),
}

#[derive(Default)]
pub(crate) struct Queue {
    pub jobs: VecDeque<Waiting>,
    pub lazy: VecDeque<Box<dyn Job>>,
    /// Those that met a lock which is held for long.
    pub aside: VecDeque<Waiting>,
    /// Workers alive, those of them that wait for work, those that are at work, and those that wait for a lock with one that was
    /// put aside.
    pub workers: usize,
    pub idle: usize,
    pub working: usize,
    pub patient: usize,
    /// Somebody looks whether those who wait are taken in time.
    pub is_watched: bool,
    /// Somebody lets those who wait become more, and takes them then.
    pub is_gathering: bool,
    /// When the last transaction began, where it was of several.
    pub began: Option<Instant>,
    /// How long the last one took that has ended.
    pub took: Duration,
    pub closed: bool,
}

impl Queue {
    /// How many wait, but for what is lazy.
    pub fn waiting(&self) -> usize {
        self.jobs.len() + self.aside.len()
    }

    /// Whether nobody waits whom somebody has to take up in a moment.
    pub fn is_idle(&self) -> bool {
        self.jobs.is_empty() && self.lazy.is_empty()
    }

    pub fn is_empty(&self) -> bool {
        self.is_idle() && self.aside.is_empty()
    }

    /// The next of those that were put aside, where a worker is to spare: half of them are there for the others.
    pub fn take_aside(&mut self, pool: usize, is_spare: bool) -> Option<Taken> {
        let may = self.closed || self.patient < (pool / 2).max(1);
        let is_due = self.aside.front().is_some_and(|first| first.since.elapsed() >= ASIDE_FOR);
        if !may || !(is_spare || is_due) {
            return None;
        }
        let waiting = self.aside.pop_front()?;
        self.patient += 1;
        Some(Taken::Aside(waiting.job))
    }

    /// Those who waited longest, and all that is lazy with them.
    pub fn take_group(&mut self) -> Group {
        let count = self.jobs.len().min(GROUP_MAX);
        let lazy = self.lazy.len().min(GROUP_MAX);
        self.began = (count > 1).then(Instant::now);
        self.jobs.drain(..count).map(|waiting| waiting.job).chain(self.lazy.drain(..lazy)).collect()
    }

    /// Whether more that come wait for the transaction after the next.
    pub fn is_full(&self) -> bool {
        self.jobs.len() >= GROUP_MAX
    }

    /// For how long those who wait may become more.
    pub fn gathers_for(&self) -> Duration {
        if self.closed || self.is_full() {
            return Duration::ZERO;
        }
        let gathers_for = (self.took * 2).clamp(GATHER_MIN, GATHER_MAX);
        self.began.map_or(Duration::ZERO, |began| gathers_for.saturating_sub(began.elapsed()))
    }

    /// How long the first may still wait for who is at work.
    pub fn patience(&self) -> Duration {
        self.jobs.front().map_or(JOIN_AFTER, |first| JOIN_AFTER.saturating_sub(first.since.elapsed()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_next_transaction_begins_twice_as_long_after_one_of_several_as_that_took_within_bounds() {
        let millis = Duration::from_millis;
        let mut queue = Queue::default();
        assert_eq!(queue.gathers_for(), Duration::ZERO, "nothing has begun");
        for (took, gathers_for) in [(1, 10), (15, 30), (100, 40)] {
            (queue.began, queue.took) = (Some(Instant::now()), millis(took));
            assert_eq!(queue.gathers_for(), millis(gathers_for));
            tokio::time::advance(millis(4)).await;
            assert_eq!(queue.gathers_for(), millis(gathers_for - 4));
        }
        queue.closed = true;
        assert_eq!(queue.gathers_for(), Duration::ZERO);
    }
}
