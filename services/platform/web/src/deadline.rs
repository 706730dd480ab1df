//! Deadlines (R93): how long whoever asks still waits, passed on from hop to hop.
//!
//! Invariants: a hop gives its own calls less time than it has; what nobody waits for any more is not begun.

use std::time::Duration;

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use tokio::time::Instant;

/// Milliseconds that the caller still waits. A duration and no instant: the clocks of two machines differ.
pub const DEADLINE_HEADER: HeaderName = HeaderName::from_static("x-rtc-deadline-ms");

/// Kept back from what a call is given, so that its answer is there before this hop has to answer itself.
const MARGIN_MIN: Duration = Duration::from_millis(5);
const MARGIN_MAX: Duration = Duration::from_millis(250);

/// When whoever asked stops waiting. The edge puts it into the request's extensions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Deadline(pub Instant);

impl Deadline {
    /// What is left of it.
    pub fn left(self, now: Instant) -> Duration {
        self.0.saturating_duration_since(now)
    }

    /// What a call that is made now may be told; `None` where there is no time for one.
    pub(crate) fn for_call(self, now: Instant) -> Option<HeaderValue> {
        let left = self.left(now);
        let given = left.checked_sub((left / 20).clamp(MARGIN_MIN, MARGIN_MAX))?;
        let millis = u64::try_from(given.as_millis()).unwrap_or(u64::MAX);
        (millis > 0).then(|| HeaderValue::from(millis))
    }
}

/// How long the caller says that it waits. What cannot be read says nothing.
pub(crate) fn asked(headers: &HeaderMap) -> Option<Duration> {
    let millis = headers.get(DEADLINE_HEADER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_millis(millis))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_given_less_time_than_there_is() {
        let now = Instant::now();
        let given = |left| {
            let deadline = Deadline(now + Duration::from_millis(left));
            deadline.for_call(now).and_then(|value| value.to_str().ok()?.parse::<u64>().ok())
        };
        assert_eq!(given(15_000), Some(14_750));
        assert_eq!(given(1_000), Some(950));
        assert_eq!(given(20), Some(15));
        assert_eq!((given(5), given(3), given(0)), (None, None, None));
    }

    #[test]
    fn a_header_that_cannot_be_read_is_no_deadline() {
        let asked_by = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(DEADLINE_HEADER, text.parse().unwrap());
            asked(&headers)
        };
        assert_eq!(asked_by("250"), Some(Duration::from_millis(250)));
        assert_eq!(asked_by("0"), Some(Duration::ZERO));
        for unreadable in ["-1", "soon", "1.5", ""] {
            assert_eq!(asked_by(unreadable), None, "{unreadable}");
        }
    }
}
