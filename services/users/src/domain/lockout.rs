//! Failed sign-ins: of one network address at one account, and at one account from everywhere.
//!
//! Invariants: an attempt is counted before the password is looked at, so that attempts at the same moment cannot
//! get past the limit together; only a success forgets what was counted.

use std::time::Duration;

use kernel::Timestamp;

#[derive(Debug, Clone, Copy)]
pub(crate) struct Rules {
    pub failures_max: u32,
    pub window: Duration,
}

/// What is known of one pair, or of one account.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Lockout {
    /// Attempts within the window that have not succeeded, oldest first.
    pub attempts_at: Vec<Timestamp>,
    pub locked_until: Option<Timestamp>,
}

impl Lockout {
    /// Counts an attempt, or says until when there are none.
    pub(crate) fn attempt(mut self, now: Timestamp, rules: Rules) -> Result<Self, Timestamp> {
        if let Some(until) = self.locked_until.filter(|until| *until > now) {
            return Err(until);
        }
        let horizon = now.minus(rules.window);
        self.attempts_at.retain(|at| *at > horizon);
        self.attempts_at.push(now);
        self.locked_until = None;
        if self.attempts_at.len() >= rules.failures_max as usize {
            self.attempts_at.clear();
            self.locked_until = Some(now.plus(rules.window));
        }
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: Rules = Rules { failures_max: 10, window: Duration::from_secs(900) };

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis(seconds * 1_000)
    }

    #[test]
    fn the_eleventh_attempt_within_the_window_is_refused() {
        let mut pair = Lockout::default();
        for second in 0..10 {
            pair = pair.attempt(at(second), RULES).unwrap();
        }
        assert_eq!(pair.clone().attempt(at(10), RULES), Err(at(909)));
        assert_eq!(pair.clone().attempt(at(908), RULES), Err(at(909)));
        assert_eq!(pair.attempt(at(909), RULES).unwrap().attempts_at, [at(909)]);
    }

    #[test]
    fn attempts_that_are_spread_out_lock_nobody_out() {
        let mut pair = Lockout::default();
        for n in 0..100 {
            pair = pair.attempt(at(n * 101), RULES).unwrap();
            assert!(pair.locked_until.is_none() && pair.attempts_at.len() <= 9);
        }
    }
}
