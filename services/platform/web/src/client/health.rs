//! What calls have shown of one replica: who fails is left out for a time that grows, then tried by one call.

use std::time::Duration;

use tokio::time::Instant;

const OUT_FIRST: Duration = Duration::from_millis(250);
const OUT_MAX: Duration = Duration::from_secs(10);
/// So many calls in a row without an answer put a replica out.
const UNANSWERED_MAX: u32 = 3;
/// A probe that was never heard of again makes place for another one.
const PROBE_MAX: Duration = Duration::from_secs(5);
/// How long a replica that said that it is stopping gets no new work, unless it says so again.
const STOPPING: Duration = Duration::from_secs(2);

/// How a call failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Failure {
    /// Nobody took the connection.
    Unreachable,
    /// The connection was there, the answer was not.
    Unanswered,
    /// Its caller had patience and left without an answer. Of a replica that is being probed by another call it says nothing new.
    Left,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Well,
    Out { until: Instant },
    Probed { since: Instant },
}

/// The one call by which a replica that was out is tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Probe(Instant);

#[derive(Debug)]
pub(crate) struct Health {
    state: State,
    unanswered: u32,
    /// How often in a row it was put out.
    times_out: u32,
    stopping_until: Option<Instant>,
}

impl Default for Health {
    fn default() -> Self {
        Self { state: State::Well, unanswered: 0, times_out: 0, stopping_until: None }
    }
}

impl Health {
    /// Whether a call may be sent there. A yes after a time out is a probe: the next one asks in vain until it is
    /// known how the probe went.
    pub(crate) fn admits(&mut self, now: Instant) -> bool {
        if self.stopping_until.is_some_and(|until| now < until) {
            return false;
        }
        match self.state {
            State::Well => true,
            State::Out { until } if now < until => false,
            State::Probed { since } if now < since + PROBE_MAX => false,
            State::Out { .. } | State::Probed { .. } => {
                self.state = State::Probed { since: now };
                true
            }
        }
    }

    /// The probe under way: asked for by the call that was just [admitted](Self::admits), it is that call.
    pub(crate) fn probe(&self) -> Option<Probe> {
        match self.state {
            State::Probed { since } => Some(Probe(since)),
            State::Well | State::Out { .. } => None,
        }
    }

    /// The probe was given up by its caller and says nothing.
    pub(crate) fn given_up(&mut self, Probe(since): Probe) {
        if self.state == (State::Probed { since }) {
            self.state = State::Out { until: since };
        }
    }

    /// It answered, whatever it answered. True where that is news.
    pub(crate) fn answered(&mut self) -> bool {
        let was_out = self.state != State::Well;
        (self.state, self.unanswered, self.times_out) = (State::Well, 0, 0);
        was_out
    }

    /// It said that it is about to stop.
    pub(crate) fn stops(&mut self, now: Instant) {
        self.stopping_until = Some(now + STOPPING);
    }

    /// For how long the replica is out, where this failure puts it out.
    pub(crate) fn failed(&mut self, failure: Failure, now: Instant) -> Option<Duration> {
        // Whoever was stopping is gone now, and its successor is judged by itself.
        if failure == Failure::Unreachable {
            self.stopping_until = None;
        }
        match self.state {
            State::Out { .. } => return None,
            State::Probed { .. } if failure == Failure::Left => return None,
            State::Probed { .. } => {}
            State::Well => {
                self.unanswered += 1;
                if failure != Failure::Unreachable && self.unanswered < UNANSWERED_MAX {
                    return None;
                }
            }
        }
        let out = OUT_FIRST.saturating_mul(1 << self.times_out.min(10)).min(OUT_MAX);
        self.times_out += 1;
        self.state = State::Out { until: now + out };
        Some(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replica_that_refuses_connections_is_out_at_once_and_tried_by_one_call() {
        let mut now = Instant::now();
        let mut health = Health::default();
        assert!(health.admits(now));
        assert_eq!(health.failed(Failure::Unreachable, now), Some(Duration::from_millis(250)));
        assert_eq!(
            health.failed(Failure::Unreachable, now),
            None,
            "others that failed with it say nothing new"
        );
        assert!(!health.admits(now + Duration::from_millis(249)));
        now += Duration::from_millis(250);
        assert!(health.admits(now));
        assert!(!health.admits(now), "one probe at a time");
        assert!(health.answered());
        assert!(health.admits(now) && health.admits(now));
        assert!(!health.answered(), "no news");
    }

    #[test]
    fn the_time_out_grows_up_to_its_limit_and_begins_anew_after_an_answer() {
        let mut now = Instant::now();
        let mut health = Health::default();
        let mut outs = Vec::new();
        for _ in 0..9 {
            let out = health.failed(Failure::Unreachable, now).unwrap();
            outs.push(out.as_millis());
            now += out;
            assert!(health.admits(now));
        }
        assert_eq!(outs, [250, 500, 1_000, 2_000, 4_000, 8_000, 10_000, 10_000, 10_000]);
        health.answered();
        assert_eq!(health.failed(Failure::Unreachable, now), Some(OUT_FIRST));
    }

    #[test]
    fn calls_without_an_answer_count_only_in_a_row() {
        let now = Instant::now();
        let mut health = Health::default();
        for _ in 0..5 {
            assert_eq!(health.failed(Failure::Unanswered, now), None);
            assert_eq!(health.failed(Failure::Unanswered, now), None);
            health.answered();
        }
        health.failed(Failure::Unanswered, now);
        health.failed(Failure::Unanswered, now);
        assert_eq!(health.failed(Failure::Unanswered, now), Some(OUT_FIRST));
    }

    #[test]
    fn who_leaves_counts_like_who_is_not_answered_but_not_while_another_call_probes() {
        let mut now = Instant::now();
        let mut health = Health::default();
        assert_eq!([(); 2].map(|()| health.failed(Failure::Left, now)), [None, None]);
        now += health.failed(Failure::Left, now).unwrap();
        assert!(health.admits(now));
        let probe = health.probe().unwrap();
        assert_eq!(health.failed(Failure::Left, now), None, "it was let through before");
        health.given_up(probe);
        assert!(health.admits(now), "the probe's place was still the probe's");
        assert_eq!(health.failed(Failure::Unanswered, now), Some(2 * OUT_FIRST));
    }

    #[test]
    fn a_probe_that_is_never_heard_of_again_makes_place_for_another() {
        let mut now = Instant::now();
        let mut health = Health::default();
        now += health.failed(Failure::Unreachable, now).unwrap();
        assert!(health.admits(now));
        assert!(!health.admits(now + PROBE_MAX - Duration::from_millis(1)));
        assert!(health.admits(now + PROBE_MAX));
    }

    #[test]
    fn a_probe_that_is_given_back_makes_place_at_once_and_only_once() {
        let mut now = Instant::now();
        let mut health = Health::default();
        assert!(health.admits(now) && health.probe().is_none(), "nobody probes what is well");
        now += health.failed(Failure::Unreachable, now).unwrap();
        assert!(health.admits(now));
        let first = health.probe().unwrap();
        health.given_up(first);
        now += Duration::from_millis(1);
        assert!(health.admits(now));
        health.given_up(first);
        assert!(!health.admits(now), "another call's probe is not given back");
        assert_eq!(health.failed(Failure::Unreachable, now), Some(2 * OUT_FIRST));
    }

    #[test]
    fn a_replica_that_is_stopping_gets_no_new_work_until_it_is_another() {
        let now = Instant::now();
        let mut health = Health::default();
        health.stops(now);
        assert!(!health.admits(now));
        assert!(health.admits(now + STOPPING));
        health.stops(now);
        let out = health.failed(Failure::Unreachable, now).unwrap();
        assert!(health.admits(now + out), "gone, so the probe asks its successor");
    }
}
