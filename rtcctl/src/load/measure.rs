//! What was measured: latencies from the intended time, and failures by kind.
//!
//! Invariants: every request that was due is counted exactly once; a request that timed out stays in the latencies with
//! the time that was waited, so that the slowest cannot improve a percentile by not answering.

use std::collections::BTreeMap;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

/// Why a request has no good answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Failure {
    /// No connection could be made: nothing was sent.
    Connect,
    /// It waited for a connection until its time was over: nothing was sent.
    TimeoutUnsent,
    /// Sent, and not answered in time.
    Timeout,
    /// Sent, and the connection broke.
    Reset,
    /// The answer is not what the interface says.
    BadAnswer,
    /// Too many requests were under way.
    Dropped,
    Status(u16),
}

impl Failure {
    /// The stable name in reports.
    pub fn name(self) -> String {
        match self {
            Failure::Connect => "connect".into(),
            Failure::TimeoutUnsent | Failure::Timeout => "timeout".into(),
            Failure::Reset => "reset".into(),
            Failure::BadAnswer => "bad_answer".into(),
            Failure::Dropped => "dropped".into(),
            Failure::Status(status) => format!("http_{status}"),
        }
    }

    /// Whether the service was not there for the caller. A refusal (4xx) is an answer.
    pub fn is_unavailability(self) -> bool {
        !matches!(self, Failure::Status(400..=499))
    }

    /// Whether the request may have taken effect although this came back.
    pub fn leaves_the_outcome_open(self) -> bool {
        matches!(self, Failure::Timeout | Failure::Reset | Failure::BadAnswer | Failure::Status(500..))
    }
}

/// A histogram of microseconds, three digits exact, up to an hour.
fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 3_600_000_000, 3)
        .expect("the bounds are constants that the histogram takes")
}

/// The percentiles of a set of durations.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Spread {
    pub samples: u64,
    pub p50_ms: f64,
    pub p90_ms: f64,
    pub p99_ms: f64,
    pub p999_ms: f64,
    pub max_ms: f64,
    pub mean_ms: f64,
}

/// Durations that are added one by one.
#[derive(Debug, Clone)]
pub struct Durations(Histogram<u64>);

impl Default for Durations {
    fn default() -> Self {
        Self(histogram())
    }
}

impl Durations {
    pub fn add(&mut self, duration: Duration) {
        self.0.saturating_record(u64::try_from(duration.as_micros()).unwrap_or(u64::MAX));
    }

    pub fn len(&self) -> u64 {
        self.0.len()
    }

    pub fn clear(&mut self) {
        self.0.reset();
    }

    pub fn percentile(&self, percent: f64) -> Duration {
        Duration::from_micros(self.0.value_at_percentile(percent))
    }

    /// `None` when there is nothing to tell percentiles of.
    pub fn spread(&self) -> Option<Spread> {
        let ms = |micros: u64| micros as f64 / 1_000.0;
        (!self.0.is_empty()).then(|| Spread {
            samples: self.0.len(),
            p50_ms: ms(self.0.value_at_percentile(50.0)),
            p90_ms: ms(self.0.value_at_percentile(90.0)),
            p99_ms: ms(self.0.value_at_percentile(99.0)),
            p999_ms: ms(self.0.value_at_percentile(99.9)),
            max_ms: ms(self.0.max()),
            mean_ms: (self.0.mean() / 10.0).round() / 100.0,
        })
    }
}

/// The counters of a run.
#[derive(Debug, Clone, Default)]
pub struct Measures {
    pub latency: Durations,
    /// Since the last tick of the progress.
    pub recent: Durations,
    /// How late the generator itself was in sending what was due.
    pub lag: Durations,
    /// From the intended time until there was a connection to send it on.
    pub waiting: Durations,
    pub requests: u64,
    pub answered: u64,
    pub failures: BTreeMap<Failure, u64>,
}

impl Measures {
    /// Counts a request that ended `after` its intended time.
    pub fn end(&mut self, after: Duration, failure: Option<Failure>) {
        self.requests += 1;
        if let Some(failure) = failure {
            *self.failures.entry(failure).or_default() += 1;
        }
        match failure {
            Some(Failure::Connect | Failure::Reset | Failure::Dropped) => return,
            Some(Failure::Timeout | Failure::TimeoutUnsent) => {}
            Some(Failure::BadAnswer | Failure::Status(_)) | None => self.answered += 1,
        }
        self.latency.add(after);
        self.recent.add(after);
    }

    pub fn unavailable(&self) -> u64 {
        let bad = self.failures.iter().filter(|(failure, _)| failure.is_unavailability());
        bad.map(|(_, count)| count).sum()
    }

    pub fn errors(&self) -> u64 {
        self.failures.values().sum()
    }

    /// The figures for the report. `over` is how long it was sent.
    pub fn figures(&self, over: Duration) -> Figures {
        let mut errors = BTreeMap::new();
        for (failure, count) in &self.failures {
            *errors.entry(failure.name()).or_default() += count;
        }
        let available = (self.requests - self.unavailable()) as f64;
        let seconds = over.as_secs_f64();
        Figures {
            requests: self.requests,
            answered: self.answered,
            unavailable: self.unavailable(),
            refused: self.errors() - self.unavailable(),
            availability_percent: (self.requests > 0).then(|| 100.0 * available / self.requests as f64),
            errors,
            latency: self.latency.spread(),
            generator_lag_p99_ms: self.lag.spread().map(|spread| spread.p99_ms),
            connection_wait_p99_ms: self.waiting.spread().map(|spread| spread.p99_ms),
            sent_for_s: (seconds * 1_000.0).round() / 1_000.0,
            achieved_per_s: (seconds > 0.0).then(|| (self.answered as f64 / seconds * 10.0).round() / 10.0),
        }
    }
}

/// What a run came to.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Figures {
    pub requests: u64,
    /// Got an HTTP answer, whatever its status.
    pub answered: u64,
    /// No answer, or one of 5xx.
    pub unavailable: u64,
    /// Answered with a refusal (4xx).
    pub refused: u64,
    pub availability_percent: Option<f64>,
    pub errors: BTreeMap<String, u64>,
    pub latency: Option<Spread>,
    pub generator_lag_p99_ms: Option<f64>,
    /// A part of the latency: how long requests waited for one of the connections.
    pub connection_wait_p99_ms: Option<f64>,
    pub sent_for_s: f64,
    pub achieved_per_s: Option<f64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn a_refusal_is_an_answer_and_a_server_error_is_not() {
        let mut measures = Measures::default();
        for failure in [
            None,
            Some(Failure::Status(409)),
            Some(Failure::Status(503)),
            Some(Failure::Reset),
            Some(Failure::Connect),
            Some(Failure::Dropped),
            Some(Failure::Timeout),
            Some(Failure::TimeoutUnsent),
        ] {
            measures.end(MS, failure);
        }
        let figures = measures.figures(Duration::from_secs(2));
        assert_eq!((figures.requests, figures.answered, figures.unavailable), (8, 3, 6));
        assert_eq!(figures.availability_percent, Some(25.0));
        assert_eq!(figures.errors["timeout"], 2);
        assert_eq!(figures.errors["http_409"], 1);
        assert_eq!(figures.latency.unwrap().samples, 5, "answers and time-outs have a duration");
        assert_eq!(figures.achieved_per_s, Some(1.5));
    }

    #[test]
    fn percentiles_are_those_of_the_durations() {
        let mut measures = Measures::default();
        (1..=1_000).for_each(|ms| measures.end(MS * ms, None));
        let spread = measures.figures(Duration::from_secs(1)).latency.unwrap();
        for (found, exact) in
            [(spread.p50_ms, 500.0), (spread.p90_ms, 900.0), (spread.p99_ms, 990.0), (spread.p999_ms, 999.0)]
        {
            assert!((found - exact).abs() <= exact * 0.002, "{found} for {exact}");
        }
    }

    #[test]
    fn nothing_measured_has_no_percentiles_and_no_availability() {
        let figures = Measures::default().figures(Duration::ZERO);
        assert_eq!(
            (figures.latency, figures.availability_percent, figures.achieved_per_s),
            (None, None, None)
        );
    }

    #[test]
    fn a_duration_beyond_an_hour_is_kept_as_the_longest() {
        let mut durations = Durations::default();
        durations.add(Duration::from_secs(100_000));
        assert!(durations.spread().unwrap().max_ms >= 3_600_000.0);
    }
}
