//! Whether the figures keep the thresholds, or whether there are too few of them to say.
//!
//! Invariant: "too few" is never turned into a pass; a breach that no further sample could heal is a breach however few
//! there are.

use std::time::Duration;

use super::Figures;

/// What was asked for on the command line.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Thresholds {
    pub min_availability_percent: Option<f64>,
    pub max_p99: Option<Duration>,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Verdict {
    Kept,
    Breached(Vec<String>),
    Inconclusive(String),
}

/// A 99th percentile is told of at least so many samples: one lies beyond it.
const P99_SAMPLES: u64 = 100;
/// The fewest requests that an availability is told of.
const AVAILABILITY_REQUESTS: u64 = 100;

/// Compares. Without thresholds a run is inconclusive when it was empty or mostly refused.
pub fn judge(figures: &Figures, thresholds: &Thresholds) -> Verdict {
    let mut breaches = Vec::new();
    let mut doubts = Vec::new();
    if figures.requests == 0 {
        return Verdict::Inconclusive("no request was sent".to_owned());
    }
    if figures.refused * 2 > figures.requests {
        doubts.push(format!(
            "{} of {} requests were refused (4xx), so little of the platform was under load",
            figures.refused, figures.requests
        ));
    }
    if let (Some(wanted), Some(found)) = (thresholds.min_availability_percent, figures.availability_percent) {
        let needed = requests_needed(wanted);
        let bad = figures.unavailable as f64;
        let allowed = |of: u64| (100.0 - wanted) / 100.0 * of as f64 + 1e-9;
        if bad > allowed(figures.requests.max(needed)) {
            breaches.push(format!("availability {} is below {wanted} %", percent(found)));
        } else if figures.requests < needed {
            doubts.push(format!(
                "{} requests are too few to tell an availability of {wanted} %, it takes {needed}",
                figures.requests
            ));
        }
    }
    if let Some(most) = thresholds.max_p99 {
        let most_ms = most.as_secs_f64() * 1_000.0;
        match figures.latency {
            Some(spread) if spread.samples >= P99_SAMPLES => {
                if spread.p99_ms > most_ms {
                    breaches.push(format!("p99 {} ms is above {most_ms} ms", spread.p99_ms));
                }
            }
            spread => doubts.push(format!(
                "{} answers are too few to tell a 99th percentile, it takes {P99_SAMPLES}",
                spread.map_or(0, |spread| spread.samples)
            )),
        }
    }
    match (breaches.is_empty(), doubts.is_empty()) {
        (false, _) => Verdict::Breached(breaches),
        (true, false) => Verdict::Inconclusive(doubts.join("; ")),
        (true, true) => Verdict::Kept,
    }
}

/// As many requests as let one failure be allowed: 99.9 % cannot be told from a hundred.
fn requests_needed(wanted_percent: f64) -> u64 {
    let allowed = (100.0 - wanted_percent) / 100.0;
    if allowed <= 0.0 {
        return AVAILABILITY_REQUESTS;
    }
    ((1.0 / allowed - 1e-6).ceil() as u64).clamp(AVAILABILITY_REQUESTS, 1_000_000)
}

/// An availability with as many digits as it takes not to call 99.996 a hundred.
pub fn percent(value: f64) -> String {
    let floored = (value * 1_000.0).floor() / 1_000.0;
    format!("{floored:.3} %")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::{Failure, Measures};

    fn run(good: u64, bad: u64, latency_ms: u64) -> Figures {
        let mut measures = Measures::default();
        (0..good).for_each(|_| measures.end(Duration::from_millis(latency_ms), None));
        (0..bad).for_each(|_| measures.end(Duration::from_millis(1), Some(Failure::Reset)));
        measures.figures(Duration::from_secs(1))
    }

    fn at_least(percent: f64) -> Thresholds {
        Thresholds { min_availability_percent: Some(percent), max_p99: None }
    }

    #[test]
    fn availability_is_kept_to_the_exact_number_of_failures() {
        assert_eq!(judge(&run(999, 1, 5), &at_least(99.9)), Verdict::Kept);
        assert!(matches!(judge(&run(998, 2, 5), &at_least(99.9)), Verdict::Breached(_)));
        assert_eq!(judge(&run(500, 0, 5), &at_least(100.0)), Verdict::Kept);
        assert!(matches!(judge(&run(500, 1, 5), &at_least(100.0)), Verdict::Breached(_)));
    }

    #[test]
    fn too_few_requests_are_no_pass_but_may_already_be_a_breach() {
        assert!(matches!(judge(&run(500, 0, 5), &at_least(99.9)), Verdict::Inconclusive(_)));
        assert!(matches!(judge(&run(500, 1, 5), &at_least(99.9)), Verdict::Inconclusive(_)));
        assert!(matches!(judge(&run(500, 2, 5), &at_least(99.9)), Verdict::Breached(_)));
        assert!(matches!(judge(&run(0, 0, 5), &Thresholds::default()), Verdict::Inconclusive(_)));
    }

    #[test]
    fn a_percentile_needs_samples_and_is_compared_with_its_bound() {
        let below =
            |ms| Thresholds { min_availability_percent: None, max_p99: Some(Duration::from_millis(ms)) };
        assert_eq!(judge(&run(100, 0, 5), &below(10)), Verdict::Kept);
        assert!(matches!(judge(&run(100, 0, 50), &below(10)), Verdict::Breached(_)));
        assert!(matches!(judge(&run(99, 50, 50), &below(10)), Verdict::Inconclusive(_)));
    }

    #[test]
    fn a_load_that_is_mostly_refused_proves_nothing() {
        let mut measures = Measures::default();
        (0..1_000).for_each(|number| {
            let failure = (number % 3 > 0).then_some(Failure::Status(401));
            measures.end(Duration::from_millis(1), failure);
        });
        let figures = measures.figures(Duration::from_secs(1));
        assert_eq!((figures.refused, figures.availability_percent), (666, Some(100.0)));
        assert!(matches!(judge(&figures, &at_least(99.0)), Verdict::Inconclusive(_)));
        assert!(matches!(judge(&figures, &Thresholds::default()), Verdict::Inconclusive(_)));
    }

    #[test]
    fn an_availability_is_never_rounded_up() {
        assert_eq!(percent(99.9999), "99.999 %");
        assert_eq!(percent(100.0), "100.000 %");
    }
}
