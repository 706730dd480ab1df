//! Minutes and the windows of the summary.
//!
//! Invariant: a window is a whole number of minutes and ends with the minute that is running.

use std::ops::Range;

use kernel::Timestamp;
use serde::{Deserialize, Serialize};

const MINUTE_MS: i64 = 60_000;

/// Minutes since the epoch.
pub type Minutes = Range<i64>;

pub fn minute_of(at: Timestamp) -> i64 {
    at.as_millis().div_euclid(MINUTE_MS)
}

pub fn minute_start(minute: i64) -> Timestamp {
    Timestamp::from_millis(minute * MINUTE_MS)
}

/// How far the summary looks back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub enum Window {
    #[serde(rename = "1m")]
    Minute,
    #[serde(rename = "1h")]
    Hour,
    #[serde(rename = "1d")]
    Day,
}

impl Window {
    const fn minutes(self) -> i64 {
        match self {
            Window::Minute => 1,
            Window::Hour => 60,
            Window::Day => 1_440,
        }
    }

    /// The window that ends with the running minute.
    pub fn current(self, now: Timestamp) -> Minutes {
        let end = minute_of(now) + 1;
        end - self.minutes()..end
    }

    /// The one before it.
    pub fn previous(self, now: Timestamp) -> Minutes {
        let current = self.current(now);
        current.start - self.minutes()..current.start
    }
}

/// `total ÷ count`, rounded half up once (half away from zero for a negative total); `None` where nothing was counted.
pub fn average(total: i64, count: i64) -> Option<i64> {
    if count <= 0 {
        return None;
    }
    let (total, count) = (i128::from(total), i128::from(count));
    let half = if total < 0 { -count } else { count };
    i64::try_from((2 * total + half) / (2 * count)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_average_rounds_half_away_from_zero_once() {
        assert_eq!(average(5, 2), Some(3));
        assert_eq!(average(-5, 2), Some(-3));
        assert_eq!(average(7, 3), Some(2));
        assert_eq!(average(8, 3), Some(3));
        assert_eq!(average(0, 3), Some(0));
        assert_eq!(average(i64::MAX, 1), Some(i64::MAX));
        assert_eq!(average(i64::MIN, 1), Some(i64::MIN));
        assert_eq!(average(5, 0), None);
        assert_eq!(average(5, -1), None);
    }

    #[test]
    fn two_windows_meet_and_do_not_overlap() {
        let now = Timestamp::from_millis(600 * MINUTE_MS + 59_999);
        assert_eq!(Window::Minute.current(now), 600..601);
        assert_eq!(Window::Minute.previous(now), 599..600);
        assert_eq!(Window::Hour.current(now), 541..601);
        assert_eq!(Window::Hour.previous(now), 481..541);
        assert_eq!(Window::Day.current(now).end, 601);
        assert_eq!(minute_of(Timestamp::from_millis(-1)), -1);
    }
}
