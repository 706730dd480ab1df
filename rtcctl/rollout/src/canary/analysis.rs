//! From single measurements to a verdict: counts against limits.
//!
//! Invariants: too few samples are inconclusive, never good or bad; of one metric, an error outranks an inconclusive
//! end, which outranks a failure; of several metrics, one failure is enough.

use serde::{Deserialize, Serialize};

/// One measurement of one metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Measurement {
    Good,
    Bad,
    /// No data, no number, or too few samples.
    Unknown,
    /// It could not be asked.
    Error,
}

/// What an analysis says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    Running,
    Pass,
    Fail,
    Inconclusive,
    Error,
}

impl Verdict {
    pub const ALL: [Verdict; 5] =
        [Verdict::Running, Verdict::Pass, Verdict::Fail, Verdict::Inconclusive, Verdict::Error];
}

/// How much of each is borne.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Measurements until it is over.
    pub count: u32,
    /// Bad ones.
    pub failures: u32,
    /// Ones that say nothing.
    pub inconclusive: u32,
    /// Errors one after another.
    pub consecutive_errors: u32,
    /// Good ones one after another that end it early; 0 is never.
    pub consecutive_good: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self { count: 1, failures: 0, inconclusive: 0, consecutive_errors: 4, consecutive_good: 0 }
    }
}

/// What was measured of one metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Tally {
    pub good: u32,
    pub bad: u32,
    pub unknown: u32,
    pub errors: u32,
    pub errors_in_a_row: u32,
    pub good_in_a_row: u32,
}

impl Tally {
    pub fn add(&mut self, measurement: Measurement) {
        let count = match measurement {
            Measurement::Good => &mut self.good,
            Measurement::Bad => &mut self.bad,
            Measurement::Unknown => &mut self.unknown,
            Measurement::Error => &mut self.errors,
        };
        *count += 1;
        self.errors_in_a_row = if measurement == Measurement::Error { self.errors_in_a_row + 1 } else { 0 };
        self.good_in_a_row = if measurement == Measurement::Good { self.good_in_a_row + 1 } else { 0 };
    }

    /// An error is no measurement: it is tried again.
    pub fn measured(&self) -> u32 {
        self.good + self.bad + self.unknown
    }

    pub fn verdict(&self, limits: &Limits) -> Verdict {
        if self.errors_in_a_row > limits.consecutive_errors {
            Verdict::Error
        } else if self.unknown > limits.inconclusive {
            Verdict::Inconclusive
        } else if self.bad > limits.failures {
            Verdict::Fail
        } else if self.measured() >= limits.count
            || (limits.consecutive_good > 0 && self.good_in_a_row >= limits.consecutive_good)
        {
            // Nothing good was seen at all: what is left is what was tolerated.
            if self.good == 0 { Verdict::Inconclusive } else { Verdict::Pass }
        } else {
            Verdict::Running
        }
    }
}

/// Of all metrics: a failure decides, then an error, then what says nothing; it passes when every one does.
pub fn joined(verdicts: impl IntoIterator<Item = Verdict>) -> Verdict {
    let mut joined = None;
    for verdict in verdicts {
        let rank = |verdict: &Verdict| match verdict {
            Verdict::Fail => 4,
            Verdict::Error => 3,
            Verdict::Inconclusive => 2,
            Verdict::Running => 1,
            Verdict::Pass => 0,
        };
        joined =
            Some(joined.map_or(verdict, |known| if rank(&verdict) > rank(&known) { verdict } else { known }));
    }
    // Without a metric nothing was shown.
    joined.unwrap_or(Verdict::Inconclusive)
}
