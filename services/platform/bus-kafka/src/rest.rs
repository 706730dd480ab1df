//! How long a member has been without a settled place in its group, and what follows from it.
//!
//! Invariants:
//! - a member that waits longer than silence is noticed is told of, once, and so is that it goes on;
//! - it joins anew with a fresh client only after longer than any rebalance may take: a rebalance waits for the slowest
//!   member's batch, and whoever leaves meanwhile begins it again for all. Members do not do so in step;
//! - time without brokers does not count: a fresh client finds none either.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::Duration;

use serde::Deserialize;
use tokio::time::Instant;

/// How often librdkafka says where it stands.
pub(crate) const SAY_EVERY: Duration = Duration::from_secs(2);

/// Where a member stands with its group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// It has what the group gave it, be it nothing.
    Settled,
    /// It joins, or waits for others who do.
    Joining,
    /// The brokers that keep the group cannot be reached.
    Away,
}

#[derive(Deserialize)]
struct Statistics<'a> {
    #[serde(borrow)]
    cgrp: Option<Group<'a>>,
}

#[derive(Deserialize)]
struct Group<'a> {
    state: &'a str,
    join_state: &'a str,
}

impl Place {
    /// From the statistics of librdkafka (STATISTICS.md, `cgrp`).
    pub fn read(statistics: &[u8]) -> Option<Self> {
        let group = serde_json::from_slice::<Statistics<'_>>(statistics).ok()?.cgrp?;
        Some(match (group.state, group.join_state) {
            ("up", "steady") => Place::Settled,
            ("up", _) => Place::Joining,
            _ => Place::Away,
        })
    }
}

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Fine,
    /// Its messages rest, and somebody should know.
    Tell(Duration),
    /// What was told is over.
    GoesOn(Duration),
    JoinAnew(Duration),
}

#[derive(Debug)]
pub(crate) struct Rest {
    tell_after: Duration,
    give_up_after: Duration,
    since: Option<Instant>,
    told: bool,
}

impl Rest {
    /// `share` of the session, from 0 to 1, is added before a member joins anew.
    pub fn new(session: Duration, handling: Duration, share: f64) -> Self {
        let give_up_after = handling + 2 * session + session.mul_f64(share.clamp(0.0, 1.0));
        Self { tell_after: 2 * session, give_up_after, since: None, told: false }
    }

    pub fn observe(&mut self, place: Place, now: Instant) -> Verdict {
        if place != Place::Joining {
            let since = self.since.take();
            let was_told = std::mem::take(&mut self.told);
            return match since {
                Some(since) if was_told && place == Place::Settled => Verdict::GoesOn(now - since),
                _ => Verdict::Fine,
            };
        }
        let rested = now - *self.since.get_or_insert(now);
        if rested >= self.give_up_after {
            // Its successor begins with a clock of its own.
            (self.since, self.told) = (None, false);
            return Verdict::JoinAnew(rested);
        }
        if rested >= self.tell_after && !self.told {
            self.told = true;
            return Verdict::Tell(rested);
        }
        Verdict::Fine
    }
}

/// From 0 to 1, another one at each call and in each process.
pub(crate) fn some_share() -> f64 {
    f64::from(RandomState::new().build_hasher().finish() as u32) / f64::from(u32::MAX)
}
