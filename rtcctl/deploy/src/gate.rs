//! What decides after the pods stand: checks of metrics, and what their measurements come to.
//!
//! Invariants: a check without data is told apart from a good one; a gate of which nothing could be measured is never
//! passed; a breach outranks everything that could not be said; what is told of a look is masked.

use std::time::Duration;

use async_trait::async_trait;
use kernel::Timestamp;
use rollout::canary::analysis::{Limits, Measurement, Tally, Verdict, joined};
use rollout::evidence::masked_text;
use serde::{Deserialize, Serialize};

/// What stands in an expression for the pods that are judged.
pub const PODS: &str = "$pods";
/// What stands in an expression for the time since the pods were applied.
pub const WINDOW: &str = "$window";

/// What no series, or no number, means.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NoData {
    #[default]
    Inconclusive,
    /// It says nothing, and others may.
    Pass,
    Fail,
}

/// How several series are judged together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Series {
    /// There has to be one alone.
    #[default]
    One,
    Any,
    All,
    Worst,
}

/// One expression and what its value must keep to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Check {
    pub name: String,
    pub expr: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<f64>,
    /// Samples that each series must be made of.
    #[serde(default = "one")]
    pub min_samples: u32,
    #[serde(default)]
    pub series: Series,
    #[serde(default)]
    pub no_data: NoData,
    /// Measurements until it is over.
    #[serde(default = "one")]
    pub count: u32,
    /// Bad ones that are borne.
    #[serde(default)]
    pub failures: u32,
    /// Ones that say nothing and are borne.
    #[serde(default)]
    pub inconclusive: u32,
    /// Errors one after another that are borne.
    #[serde(default = "four")]
    pub errors: u32,
}

fn one() -> u32 {
    1
}

fn four() -> u32 {
    4
}

fn interval() -> u64 {
    15
}

/// Checks that are made together.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Gate {
    /// Seconds between two measurements.
    #[serde(default = "interval")]
    pub interval_s: u64,
    #[serde(rename = "check")]
    pub checks: Vec<Check>,
}

/// Why a gate is none.
#[derive(Debug, thiserror::Error)]
pub enum Unfit {
    #[error("{0}")]
    Form(String),
    #[error("there is no [[check]]")]
    Empty,
    #[error("{0}: neither min nor max says what is allowed")]
    NoLimit(String),
    #[error("{0}: there are two of that name")]
    Twice(String),
}

impl Gate {
    /// From the text of a file.
    ///
    /// # Errors
    /// It is none, or would judge nothing.
    pub fn read(text: &str) -> Result<Self, Unfit> {
        let gate: Gate = toml::from_str(text).map_err(|error| Unfit::Form(error.message().to_owned()))?;
        if gate.checks.is_empty() {
            return Err(Unfit::Empty);
        }
        for (at, check) in gate.checks.iter().enumerate() {
            if check.min.is_none() && check.max.is_none() {
                return Err(Unfit::NoLimit(check.name.clone()));
            }
            if gate.checks[..at].iter().any(|other| other.name == check.name) {
                return Err(Unfit::Twice(check.name.clone()));
            }
        }
        Ok(gate)
    }

    pub fn interval(&self) -> Duration {
        Duration::from_secs(self.interval_s.max(1))
    }
}

impl Check {
    fn limits(&self) -> Limits {
        Limits {
            count: self.count.max(1),
            failures: self.failures,
            inconclusive: self.inconclusive,
            consecutive_errors: self.errors,
            consecutive_good: 0,
        }
    }

    /// The expression of a moment.
    pub fn at(&self, view: &View) -> String {
        let seconds = view.now.since(view.since).as_secs().max(60);
        self.expr.replace(WINDOW, &format!("{seconds}s")).replace(PODS, &view.pods)
    }
}

/// What is looked at.
#[derive(Debug, Clone, PartialEq)]
pub struct View {
    /// When what is judged was applied.
    pub since: Timestamp,
    pub now: Timestamp,
    /// A regular expression of the names of its pods.
    pub pods: String,
}

/// One look at one check.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Seen {
    pub measurement: Measurement,
    /// There was nothing to measure, and that is borne.
    pub is_silent: bool,
    /// What was seen, in words.
    pub says: String,
}

/// Whoever can measure.
#[async_trait]
pub trait Gauge: Send + Sync {
    async fn measure(&self, check: &Check, view: &View) -> Seen;

    /// A span of values for the evidence; none where it cannot be had.
    async fn range(&self, _query: &str, _from: Timestamp, _until: Timestamp) -> Option<serde_json::Value> {
        None
    }
}

/// Where the checks of a gate stand.
#[derive(Debug, Clone, Default)]
pub struct Standing {
    tallies: Vec<(Tally, u32, String)>,
}

impl Standing {
    pub fn new(gate: &Gate) -> Self {
        Self { tallies: vec![(Tally::default(), 0, String::new()); gate.checks.len()] }
    }

    /// Measures every check once that is not over.
    pub async fn measure(&mut self, gate: &Gate, gauge: &dyn Gauge, view: &View) {
        for (check, (tally, silent, says)) in gate.checks.iter().zip(&mut self.tallies) {
            if one_verdict(check, tally, *silent) != Verdict::Running {
                continue;
            }
            let seen = gauge.measure(check, view).await;
            if seen.is_silent {
                *silent += 1;
            } else {
                tally.add(seen.measurement);
            }
            *says = masked_text(&seen.says);
        }
    }

    /// What it comes to, and why.
    pub fn verdict(&self, gate: &Gate) -> (Verdict, String) {
        let each: Vec<Verdict> = gate
            .checks
            .iter()
            .zip(&self.tallies)
            .map(|(check, (tally, silent, _))| one_verdict(check, tally, *silent))
            .collect();
        let is_heard = self.tallies.iter().any(|(tally, ..)| tally.measured() > 0);
        let verdict = match joined(each.iter().copied()) {
            Verdict::Pass if !is_heard => Verdict::Inconclusive,
            verdict => verdict,
        };
        let why = gate
            .checks
            .iter()
            .zip(&self.tallies)
            .zip(&each)
            .filter(|(_, one)| verdict == Verdict::Pass || **one == verdict || !is_heard)
            .map(|((check, (.., says)), _)| format!("{}: {says}", check.name))
            .collect::<Vec<_>>()
            .join("; ");
        (verdict, why)
    }
}

fn one_verdict(check: &Check, tally: &Tally, silent: u32) -> Verdict {
    let limits = check.limits();
    match tally.verdict(&limits) {
        Verdict::Running if tally.measured() + silent >= limits.count => {
            // What was heard beside silence decides.
            if tally.bad > limits.failures { Verdict::Fail } else { Verdict::Pass }
        }
        verdict => verdict,
    }
}
