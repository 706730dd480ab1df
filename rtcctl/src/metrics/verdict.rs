//! Whether the value of an expression is within its limits: pass, breached, or "that cannot be said".
//!
//! Invariants: a value, zero, NaN, an infinity and no series are judged each on its own; several series need a rule; too
//! few samples never pass.

use serde::Serialize;
use serde_json::{Value, json};

use super::model::{Labels, Reading, number};

/// What a value must keep to; both ends belong to it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Limits {
    pub min: Option<f64>,
    pub max: Option<f64>,
}

impl Limits {
    fn allow(self, value: f64) -> bool {
        self.min.is_none_or(|min| value >= min) && self.max.is_none_or(|max| value <= max)
    }

    /// How far a value is outside, or how little it is inside: the greater, the worse.
    fn badness(self, value: f64) -> f64 {
        let over = self.max.map_or(f64::NEG_INFINITY, |max| beyond(value, max));
        let under = self.min.map_or(f64::NEG_INFINITY, |min| beyond(min, value));
        over.max(under)
    }
}

/// How much greater the first is; an infinity is as far from itself as can be said, nought.
fn beyond(value: f64, limit: f64) -> f64 {
    if value == limit { 0.0 } else { value - limit }
}

/// How several series are judged together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Rule {
    /// Passes when one of them is within the limits
    Any,
    /// Passes when each of them is, and each can be judged
    All,
    /// The worst of those that can be judged decides
    Worst,
}

/// What no series, or NaN, means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum NoData {
    Fail,
    Pass,
    #[default]
    Inconclusive,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    Pass,
    Breached,
    Inconclusive,
}

impl From<NoData> for Verdict {
    fn from(no_data: NoData) -> Self {
        match no_data {
            NoData::Fail => Verdict::Breached,
            NoData::Pass => Verdict::Pass,
            NoData::Inconclusive => Verdict::Inconclusive,
        }
    }
}

/// Why a verdict is what it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Because {
    Within,
    Outside,
    NoSeries,
    NaN,
    TooFewSamples,
    SeveralSeries,
}

impl Because {
    pub fn name(self) -> &'static str {
        match self {
            Because::Within => "within",
            Because::Outside => "outside",
            Because::NoSeries => "no_series",
            Because::NaN => "nan",
            Because::TooFewSamples => "too_few_samples",
            Because::SeveralSeries => "several_series",
        }
    }
}

/// The conditions of a check.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Conditions {
    pub limits: Limits,
    pub samples_min: usize,
    pub rule: Option<Rule>,
    pub no_data: NoData,
}

/// One series, judged.
#[derive(Debug, Clone, PartialEq)]
pub struct Judged {
    pub labels: Labels,
    /// The value that decides: the newest, or over a length of time the worst.
    pub value: Reading,
    pub samples: usize,
    pub verdict: Verdict,
    pub because: Because,
}

impl Judged {
    pub fn to_json(&self) -> Value {
        json!({
            "labels": self.labels.to_json(), "value": self.value.to_json(), "state": self.value.state(),
            "samples": self.samples, "verdict": self.verdict, "because": self.because.name(),
        })
    }
}

/// All series together.
#[derive(Debug, Clone, PartialEq)]
pub struct Judgement {
    pub verdict: Verdict,
    pub because: Because,
    pub series: Vec<Judged>,
    /// The place of the series that decided.
    pub decisive: Option<usize>,
}

/// Judges series by their values, each in the order of time. NaN among them is no sample.
pub fn judge(conditions: &Conditions, series: Vec<(Labels, Vec<f64>)>) -> Judgement {
    let judged: Vec<Judged> =
        series.into_iter().map(|(labels, values)| one(conditions, labels, &values)).collect();
    let (verdict, because, decisive) = together(conditions, &judged);
    Judgement { verdict, because, series: judged, decisive }
}

fn one(conditions: &Conditions, labels: Labels, values: &[f64]) -> Judged {
    let limits = conditions.limits;
    let numbers = || values.iter().copied().filter(|value| !value.is_nan());
    let worst = numbers().reduce(
        |worst, value| {
            if limits.badness(value) > limits.badness(worst) { value } else { worst }
        },
    );
    let samples = numbers().count();
    let (value, verdict, because) = match worst {
        None => (Reading::of(values.first().copied()), conditions.no_data.into(), Because::NaN),
        Some(worst) if !limits.allow(worst) => {
            (Reading::of(Some(worst)), Verdict::Breached, Because::Outside)
        }
        Some(worst) if samples < conditions.samples_min => {
            (Reading::of(Some(worst)), Verdict::Inconclusive, Because::TooFewSamples)
        }
        Some(worst) => (Reading::of(Some(worst)), Verdict::Pass, Because::Within),
    };
    // A single value outside the limits says nothing either, where more are asked for.
    let (verdict, because) = match because {
        Because::Outside if samples < conditions.samples_min => {
            (Verdict::Inconclusive, Because::TooFewSamples)
        }
        because => (verdict, because),
    };
    Judged { labels, value, samples, verdict, because }
}

fn together(conditions: &Conditions, judged: &[Judged]) -> (Verdict, Because, Option<usize>) {
    let first = |verdict: Verdict| judged.iter().position(|one| one.verdict == verdict);
    let with = |place: usize| (judged[place].verdict, judged[place].because, Some(place));
    match (judged, conditions.rule) {
        ([], _) => (conditions.no_data.into(), Because::NoSeries, None),
        ([_], _) => with(0),
        (_, None) => (Verdict::Inconclusive, Because::SeveralSeries, None),
        (_, Some(Rule::Any)) => {
            let order = [Verdict::Pass, Verdict::Inconclusive, Verdict::Breached];
            with(order.into_iter().find_map(first).unwrap_or(0))
        }
        (_, Some(Rule::All)) => {
            let order = [Verdict::Breached, Verdict::Inconclusive, Verdict::Pass];
            with(order.into_iter().find_map(first).unwrap_or(0))
        }
        (_, Some(Rule::Worst)) => {
            let badness = |place: usize| {
                judged[place]
                    .value
                    .value()
                    .map_or(f64::NEG_INFINITY, |value| conditions.limits.badness(value))
            };
            let judgeable = (0..judged.len()).filter(|place| judged[*place].value.value().is_some());
            with(
                judgeable
                    .reduce(|worst, place| if badness(place) > badness(worst) { place } else { worst })
                    .unwrap_or(0),
            )
        }
    }
}

/// A limit or a value as it is shown.
pub fn limits_json(limits: Limits) -> Value {
    json!({"min": limits.min.map(number), "max": limits.max.map(number)})
}

#[cfg(test)]
mod tests {
    use super::*;

    fn conditions(rule: Option<Rule>) -> Conditions {
        Conditions {
            limits: Limits { min: None, max: Some(10.0) },
            samples_min: 1,
            rule,
            no_data: NoData::Inconclusive,
        }
    }

    fn verdict(conditions: Conditions, series: &[&[f64]]) -> (Verdict, Because) {
        let named = series
            .iter()
            .enumerate()
            .map(|(n, values)| (Labels::new([("n", n.to_string().as_str())]), values.to_vec()));
        let judgement = judge(&conditions, named.collect());
        (judgement.verdict, judgement.because)
    }

    #[test]
    fn several_series_are_judged_by_the_rule_that_is_given() {
        use Verdict::{Breached, Inconclusive, Pass};
        let table: [(&[&[f64]], Verdict, Verdict, Verdict); 4] = [
            (&[&[5.0], &[50.0]], Pass, Breached, Breached),
            (&[&[5.0], &[7.0]], Pass, Pass, Pass),
            // NaN cannot be judged: all of them means that one too, the worst is among the others.
            (&[&[5.0], &[f64::NAN]], Pass, Inconclusive, Pass),
            (&[&[f64::NAN], &[f64::INFINITY]], Inconclusive, Breached, Breached),
        ];
        for (series, any, all, worst) in table {
            for (rule, wanted) in [(Rule::Any, any), (Rule::All, all), (Rule::Worst, worst)] {
                assert_eq!(verdict(conditions(Some(rule)), series).0, wanted, "{series:?} {rule:?}");
            }
            assert_eq!(verdict(conditions(None), series), (Inconclusive, Because::SeveralSeries));
        }
    }

    #[test]
    fn over_time_the_worst_value_decides_and_gaps_count_as_missing_samples() {
        let three = Conditions { samples_min: 3, ..conditions(None) };
        assert_eq!(verdict(three, &[&[1.0, 11.0, 2.0]]), (Verdict::Breached, Because::Outside));
        assert_eq!(verdict(three, &[&[1.0, f64::NAN, 2.0]]), (Verdict::Inconclusive, Because::TooFewSamples));
        assert_eq!(verdict(three, &[&[99.0]]), (Verdict::Inconclusive, Because::TooFewSamples));
        assert_eq!(verdict(three, &[&[1.0, 2.0, 10.0]]), (Verdict::Pass, Because::Within));
    }

    #[test]
    fn the_limits_belong_to_what_is_allowed_and_infinity_is_beyond_every_one() {
        let between = Limits { min: Some(1.0), max: Some(2.0) };
        for (value, allowed) in
            [(1.0, true), (2.0, true), (0.999, false), (f64::INFINITY, false), (f64::NEG_INFINITY, false)]
        {
            assert_eq!(between.allow(value), allowed, "{value}");
        }
        assert!(Limits { min: Some(1.0), max: None }.allow(f64::INFINITY));
    }
}
