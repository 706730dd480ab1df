//! The breaker of one service: where most calls fail, calls fail at once and the service is left in peace (R95).

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

/// What a note changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    Opened(Duration),
    Closed,
}

#[derive(Debug)]
pub(crate) struct Breaker {
    state: State,
    slots: [Slot; SLOTS],
    current: usize,
    current_since: Instant,
    times_open: u32,
}

impl Breaker {
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            state: State::Closed,
            slots: [Slot::default(); SLOTS],
            current: 0,
            current_since: now,
            times_open: 0,
        }
    }

    /// Whether a call may be made; otherwise in how long to ask again.
    pub(crate) fn admit(&mut self, now: Instant) -> Result<(), Duration> {
        match &mut self.state {
            State::Closed => Ok(()),
            State::Open { until } if now < *until => Err(*until - now),
            State::Open { .. } => {
                self.state = State::HalfOpen { probe_since: Some(now), good: 0 };
                Ok(())
            }
            State::HalfOpen { probe_since: Some(since), .. } if now < *since + PROBE_MAX => Err(OPEN_FIRST),
            State::HalfOpen { probe_since, .. } => {
                *probe_since = Some(now);
                Ok(())
            }
        }
    }

    /// A call was answered.
    pub(crate) fn succeeded(&mut self, now: Instant) -> Option<Change> {
        match &mut self.state {
            State::Closed => self.slot(now).good += 1,
            State::Open { .. } => {}
            State::HalfOpen { probe_since, good } => {
                *probe_since = None;
                *good += 1;
                if *good >= PROBES {
                    (self.state, self.times_open) = (State::Closed, 0);
                    self.slots = [Slot::default(); SLOTS];
                    return Some(Change::Closed);
                }
            }
        }
        None
    }

    /// A call was given up by its caller and says nothing: if it was the probe, the next call may be one.
    pub(crate) fn given_up(&mut self) {
        if let State::HalfOpen { probe_since, .. } = &mut self.state {
            *probe_since = None;
        }
    }

    /// A call was not answered.
    pub(crate) fn failed(&mut self, now: Instant) -> Option<Change> {
        match self.state {
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

    fn open(&mut self, now: Instant) -> Change {
        let open = OPEN_FIRST.saturating_mul(1 << self.times_open.min(10)).min(OPEN_MAX);
        self.times_open += 1;
        self.state = State::Open { until: now + open };
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

    #[test]
    fn it_opens_when_half_of_enough_calls_fail_and_not_before() {
        let now = Instant::now();
        let mut breaker = Breaker::new(now);
        for _ in 0..CALLS_MIN - 1 {
            assert_eq!(breaker.failed(now), None);
            assert!(breaker.admit(now).is_ok());
        }
        assert_eq!(breaker.failed(now), Some(Change::Opened(OPEN_FIRST)));
        assert_eq!(breaker.admit(now + Duration::from_millis(100)), Err(Duration::from_millis(400)));

        let mut breaker = Breaker::new(now);
        for _ in 0..1_000 {
            assert_eq!(breaker.succeeded(now), None);
            assert_eq!(breaker.succeeded(now), None);
            assert_eq!(breaker.failed(now), None, "a third of the calls fails");
        }
    }

    #[test]
    fn half_open_lets_one_call_through_at_a_time_and_three_close_it() {
        let mut now = Instant::now();
        let mut breaker = Breaker::new(now);
        (0..CALLS_MIN).for_each(|_| {
            breaker.failed(now);
        });
        now += OPEN_FIRST;
        for probe in 0..PROBES {
            assert!(breaker.admit(now).is_ok());
            assert!(breaker.admit(now).is_err(), "one at a time");
            let closed = (probe == PROBES - 1).then_some(Change::Closed);
            assert_eq!(breaker.succeeded(now), closed);
        }
        assert!(breaker.admit(now).is_ok() && breaker.admit(now).is_ok());
        assert_eq!(breaker.failed(now), None, "the window is empty again");
    }

    #[test]
    fn a_failed_probe_opens_it_for_longer() {
        let mut now = Instant::now();
        let mut breaker = Breaker::new(now);
        (0..CALLS_MIN).for_each(|_| {
            breaker.failed(now);
        });
        let mut open = OPEN_FIRST;
        let mut times = Vec::new();
        for _ in 0..5 {
            now += open;
            assert!(breaker.admit(now).is_ok());
            let Some(Change::Opened(next)) = breaker.failed(now) else { panic!("it stays closed") };
            times.push(next.as_millis());
            open = next;
        }
        assert_eq!(times, [1_000, 2_000, 4_000, 5_000, 5_000]);
    }

    #[test]
    fn a_lost_probe_is_replaced() {
        let mut now = Instant::now();
        let mut breaker = Breaker::new(now);
        (0..CALLS_MIN).for_each(|_| {
            breaker.failed(now);
        });
        now += OPEN_FIRST;
        assert!(breaker.admit(now).is_ok());
        assert!(breaker.admit(now + PROBE_MAX - Duration::from_millis(1)).is_err());
        assert!(breaker.admit(now + PROBE_MAX).is_ok());
    }

    #[test]
    fn old_failures_are_forgotten() {
        let mut now = Instant::now();
        let mut breaker = Breaker::new(now);
        for _ in 0..100 {
            assert_eq!(breaker.failed(now), None);
            now += Duration::from_secs(1);
        }
        (0..CALLS_MIN - 10).for_each(|_| {
            breaker.failed(now);
        });
        assert!(breaker.admit(now).is_ok(), "nine old ones are in the window still");
        assert!(breaker.failed(now).is_some());
    }
}
