//! The breaker of one service: where most calls fail, calls fail at once and the service is left in peace (R95).
//!
//! Invariant: a call speaks only of the state in which it was let through. Thousands may be under way as that changes, and
//! how they end, answered, failed or given up, is no news of the service as it is now.

use std::time::Duration;

use tokio::time::Instant;

const SLOT: Duration = Duration::from_secs(1);
const SLOTS: usize = 10;
/// With fewer calls in the window nothing is known.
const CALLS_MIN: u32 = 20;
const OPEN_FIRST: Duration = Duration::from_millis(500);
const OPEN_MAX: Duration = Duration::from_secs(5);
/// So many probes must come back before it closes.
const PROBES: u32 = 3;
const PROBE_MAX: Duration = Duration::from_secs(5);

#[derive(Debug, Clone, Copy, Default)]
struct Slot {
    good: u32,
    bad: u32,
}

#[derive(Debug, Clone, Copy)]
enum State {
    Closed,
    Open { until: Instant },
    HalfOpen { probe_since: Option<Instant>, good: u32 },
}

/// A call that was let through. It is told once how it went.
#[derive(Debug)]
#[must_use]
pub(crate) struct Ticket {
    epoch: u64,
    at: Instant,
}

/// What a note changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    Opened(Duration),
    Closed,
}

#[derive(Debug)]
pub(crate) struct Breaker {
    state: State,
    /// Raised at each change of the state.
    epoch: u64,
    slots: [Slot; SLOTS],
    current: usize,
    current_since: Instant,
    times_open: u32,
}

impl Breaker {
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            state: State::Closed,
            epoch: 0,
            slots: [Slot::default(); SLOTS],
            current: 0,
            current_since: now,
            times_open: 0,
        }
    }

    /// Whether a call may be made; otherwise in how long to ask again.
    pub(crate) fn admit(&mut self, now: Instant) -> Result<Ticket, Duration> {
        match &mut self.state {
            State::Closed => {}
            State::Open { until } if now < *until => return Err(*until - now),
            State::Open { .. } => self.enter(State::HalfOpen { probe_since: Some(now), good: 0 }),
            State::HalfOpen { probe_since: Some(since), .. } if now < *since + PROBE_MAX => {
                return Err(OPEN_FIRST);
            }
            State::HalfOpen { probe_since, .. } => *probe_since = Some(now),
        }
        Ok(Ticket { epoch: self.epoch, at: now })
    }

    /// The call was answered.
    pub(crate) fn succeeded(&mut self, ticket: Ticket, now: Instant) -> Option<Change> {
        self.end_probe(&ticket);
        match &mut self.state {
            _ if ticket.epoch != self.epoch => {}
            State::Closed => self.slot(now).good += 1,
            State::Open { .. } => {}
            State::HalfOpen { good, .. } => {
                *good += 1;
                if *good >= PROBES {
                    self.enter(State::Closed);
                    self.times_open = 0;
                    self.slots = [Slot::default(); SLOTS];
                    return Some(Change::Closed);
                }
            }
        }
        None
    }

    /// The call was given up by its caller and says nothing: if it was the probe, the next call may be one.
    pub(crate) fn given_up(&mut self, ticket: Ticket) {
        self.end_probe(&ticket);
    }

    /// The call was not answered.
    pub(crate) fn failed(&mut self, ticket: Ticket, now: Instant) -> Option<Change> {
        match self.state {
            _ if ticket.epoch != self.epoch => None,
            State::Closed => {
                self.slot(now).bad += 1;
                let (good, bad) =
                    self.slots.iter().fold((0, 0), |(good, bad), slot| (good + slot.good, bad + slot.bad));
                (good + bad >= CALLS_MIN && bad >= good).then(|| self.open(now))
            }
            State::Open { .. } => None,
            State::HalfOpen { .. } => Some(self.open(now)),
        }
    }

    /// Another call may be the probe, where this one was it: one that took too long has been replaced.
    fn end_probe(&mut self, ticket: &Ticket) {
        if let State::HalfOpen { probe_since, .. } = &mut self.state
            && ticket.epoch == self.epoch
            && *probe_since == Some(ticket.at)
        {
            *probe_since = None;
        }
    }

    fn enter(&mut self, state: State) {
        self.state = state;
        self.epoch += 1;
    }

    fn open(&mut self, now: Instant) -> Change {
        let open = OPEN_FIRST.saturating_mul(1 << self.times_open.min(10)).min(OPEN_MAX);
        self.times_open += 1;
        self.enter(State::Open { until: now + open });
        Change::Opened(open)
    }

    /// The slot of this moment; those that are older than the window are emptied on the way.
    fn slot(&mut self, now: Instant) -> &mut Slot {
        let passed = now.saturating_duration_since(self.current_since).as_millis() / SLOT.as_millis();
        let passed = usize::try_from(passed).unwrap_or(SLOTS);
        for _ in 0..passed.min(SLOTS) {
            self.current = (self.current + 1) % SLOTS;
            self.slots[self.current] = Slot::default();
        }
        if passed >= SLOTS {
            self.current_since = now;
        } else {
            self.current_since += SLOT * u32::try_from(passed).unwrap_or(0);
        }
        &mut self.slots[self.current]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(breaker: &mut Breaker, now: Instant) -> Ticket {
        breaker.admit(now).expect("it lets calls through")
    }

    fn fail(breaker: &mut Breaker, now: Instant) -> Option<Change> {
        let ticket = call(breaker, now);
        breaker.failed(ticket, now)
    }

    fn succeed(breaker: &mut Breaker, now: Instant) -> Option<Change> {
        let ticket = call(breaker, now);
        breaker.succeeded(ticket, now)
    }

    /// One that has just opened.
    fn open(now: Instant) -> Breaker {
        let mut breaker = Breaker::new(now);
        let changes: Vec<_> = (0..CALLS_MIN).filter_map(|_| fail(&mut breaker, now)).collect();
        assert_eq!(changes, [Change::Opened(OPEN_FIRST)]);
        breaker
    }

    #[test]
    fn it_opens_when_half_of_enough_calls_fail_and_not_before() {
        let now = Instant::now();
        let mut breaker = Breaker::new(now);
        for _ in 0..CALLS_MIN - 1 {
            assert_eq!(fail(&mut breaker, now), None);
        }
        assert_eq!(fail(&mut breaker, now), Some(Change::Opened(OPEN_FIRST)));
        let wait = breaker.admit(now + Duration::from_millis(100)).unwrap_err();
        assert_eq!(wait, Duration::from_millis(400));

        let mut breaker = Breaker::new(now);
        for _ in 0..1_000 {
            assert_eq!(succeed(&mut breaker, now), None);
            assert_eq!(succeed(&mut breaker, now), None);
            assert_eq!(fail(&mut breaker, now), None, "a third of the calls fails");
        }
    }

    #[test]
    fn half_open_lets_one_call_through_at_a_time_and_three_close_it() {
        let mut now = Instant::now();
        let mut breaker = open(now);
        now += OPEN_FIRST;
        for probe in 0..PROBES {
            let ticket = call(&mut breaker, now);
            assert!(breaker.admit(now).is_err(), "one at a time");
            let closed = (probe == PROBES - 1).then_some(Change::Closed);
            assert_eq!(breaker.succeeded(ticket, now), closed);
        }
        let (one, _other) = (call(&mut breaker, now), call(&mut breaker, now));
        assert_eq!(breaker.failed(one, now), None, "the window is empty again");
    }

    #[test]
    fn a_failed_probe_opens_it_for_longer() {
        let mut now = Instant::now();
        let mut breaker = open(now);
        let mut open = OPEN_FIRST;
        let mut times = Vec::new();
        for _ in 0..5 {
            now += open;
            let Some(Change::Opened(next)) = fail(&mut breaker, now) else { panic!("it stays closed") };
            times.push(next.as_millis());
            open = next;
        }
        assert_eq!(times, [1_000, 2_000, 4_000, 5_000, 5_000]);
    }

    #[test]
    fn a_lost_probe_is_replaced_and_ends_no_other() {
        let mut now = Instant::now();
        let mut breaker = open(now);
        now += OPEN_FIRST;
        let lost = call(&mut breaker, now);
        assert!(breaker.admit(now + PROBE_MAX - Duration::from_millis(1)).is_err());
        now += PROBE_MAX;
        let probe = call(&mut breaker, now);
        breaker.given_up(lost);
        assert!(breaker.admit(now).is_err(), "there is a probe still");
        breaker.given_up(probe);
        let _next = call(&mut breaker, now);
    }

    #[test]
    fn a_service_that_answers_later_than_a_probe_is_waited_for_is_found_again() {
        let mut now = Instant::now();
        let mut breaker = open(now);
        now += OPEN_FIRST;
        let mut changes = Vec::new();
        let mut asked = call(&mut breaker, now);
        for _ in 0..PROBES {
            now += PROBE_MAX;
            let next = call(&mut breaker, now);
            changes.extend(breaker.succeeded(std::mem::replace(&mut asked, next), now));
        }
        assert_eq!(changes, [Change::Closed]);
    }

    #[test]
    fn how_calls_end_that_were_made_before_it_opened_lets_nobody_through_and_proves_nothing() {
        let mut now = Instant::now();
        let mut breaker = Breaker::new(now);
        let mut stale: Vec<Ticket> = (0..100).map(|_| call(&mut breaker, now)).collect();
        while fail(&mut breaker, now).is_none() {}
        now += OPEN_FIRST;
        let probe = call(&mut breaker, now);
        for _ in 0..30 {
            breaker.given_up(stale.pop().unwrap());
            assert!(breaker.admit(now).is_err(), "one probe, whoever leaves");
            assert_eq!(breaker.succeeded(stale.pop().unwrap(), now), None);
            assert_eq!(breaker.failed(stale.pop().unwrap(), now), None);
        }
        assert_eq!(breaker.succeeded(probe, now), None, "it is half open still, and the probe counts");
        assert_eq!(succeed(&mut breaker, now), None);
        assert_eq!(succeed(&mut breaker, now), Some(Change::Closed));
        // They have waited since before it opened: that it closed is newer.
        while let Some(ticket) = stale.pop() {
            assert_eq!(breaker.failed(ticket, now), None);
        }
        assert_eq!(succeed(&mut breaker, now), None);
        for _ in 0..CALLS_MIN - 2 {
            assert_eq!(fail(&mut breaker, now), None, "none of theirs is in the window");
        }
    }

    #[test]
    fn old_failures_are_forgotten() {
        let mut now = Instant::now();
        let mut breaker = Breaker::new(now);
        for _ in 0..100 {
            assert_eq!(fail(&mut breaker, now), None);
            now += Duration::from_secs(1);
        }
        (0..CALLS_MIN - 10).for_each(|_| {
            fail(&mut breaker, now);
        });
        assert!(fail(&mut breaker, now).is_some(), "nine old ones are in the window still");
    }
}
