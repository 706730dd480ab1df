//! When each request is due.
//!
//! Invariant: the times depend on the rate and the number of the request alone, never on how earlier ones fared.

use std::time::Duration;

/// A constant arrival rate over a span of time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Schedule {
    per_second: f64,
    total: u64,
}

impl Schedule {
    /// `per_second` is positive and finite; the command line sees to it.
    pub fn constant(per_second: f64, duration: Duration) -> Self {
        Self { per_second, total: (per_second * duration.as_secs_f64() - 1e-9).ceil().max(0.0) as u64 }
    }

    /// How many requests there are in all.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// When request `index` is due, from the start.
    pub fn at(&self, index: u64) -> Duration {
        Duration::from_secs_f64(index as f64 / self.per_second)
    }

    /// How many requests are due once `elapsed` has passed: exactly those with `at(index) <= elapsed`.
    pub fn due(&self, elapsed: Duration) -> u64 {
        let estimate = (elapsed.as_secs_f64() * self.per_second) as u64;
        let mut count = estimate.saturating_sub(1);
        while count < self.total && self.at(count) <= elapsed {
            count += 1;
        }
        count.min(self.total)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_rate_times_a_duration_is_the_number_of_requests() {
        let total = |rate, seconds| Schedule::constant(rate, Duration::from_secs_f64(seconds)).total();
        assert_eq!(total(2_000.0, 30.0), 60_000);
        assert_eq!(total(0.5, 10.0), 5);
        assert_eq!(total(0.3, 10.0), 3);
        assert_eq!(total(3.0, 0.1), 1, "the first is due at once");
        assert_eq!(total(1.0, 0.0), 0);
    }

    #[test]
    fn the_millionth_request_is_due_as_exactly_as_the_first() {
        let schedule = Schedule::constant(3_000.0, Duration::from_secs(3_600));
        assert_eq!(schedule.at(3_000_000), Duration::from_secs(1_000));
        assert_eq!(schedule.due(Duration::from_secs(1_000)), 3_000_001);
        assert_eq!(schedule.due(Duration::ZERO), 1);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]
        #[test]
        fn due_counts_what_at_says(rate in 0.01..50_000.0_f64, micros in 0_u64..100_000_000) {
            let schedule = Schedule::constant(rate, Duration::from_secs(100));
            let elapsed = Duration::from_micros(micros);
            let due = schedule.due(elapsed);
            prop_assert!(due == schedule.total() || schedule.at(due) > elapsed);
            prop_assert!(due == 0 || schedule.at(due - 1) <= elapsed);
        }
    }
}
