//! Whether the value of an expression is within its limits: pass, breached, or "that cannot be said".
//!
//! Invariants: a value, zero, NaN, an infinity and no series are judged each on its own; several series need a rule; too
//! few samples never pass; what cannot be judged is passed over only where `--no-data pass` says so.

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
    /// The worst decides; what cannot be judged may be the worst, unless --no-data says what it means
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

/// One series as it was measured.
#[derive(Debug, Clone, PartialEq)]
pub struct Measured {
    pub labels: Labels,
    /// In the order of time. NaN among them is no sample.
    pub values: Vec<f64>,
    /// How many samples its values are made of, where that was asked: between two of them a value is only repeated.
    pub scraped: Option<usize>,
}

/// Judges series by their values.
pub fn judge(conditions: &Conditions, series: Vec<Measured>) -> Judgement {
    let judged: Vec<Judged> = series.into_iter().map(|series| one(conditions, series)).collect();
    let (verdict, because, decisive) = together(conditions, &judged);
    Judgement { verdict, because, series: judged, decisive }
}

fn one(conditions: &Conditions, series: Measured) -> Judged {
    let Measured { labels, values, scraped } = series;
    let limits = conditions.limits;
    let numbers = || values.iter().copied().filter(|value| !value.is_nan());
    let worst = numbers().reduce(
        |worst, value| {
            if limits.badness(value) > limits.badness(worst) { value } else { worst }
        },
    );
    let samples = numbers().count().min(scraped.unwrap_or(usize::MAX));
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
            // NaN that counts as a breach or as no harm is neither worse nor better than a number of that verdict.
            let rank = |place: usize| {
                let one = &judged[place];
                let verdict = match one.verdict {
                    Verdict::Breached => 2,
                    Verdict::Inconclusive => 1,
                    Verdict::Pass => 0,
                };
                let badness = one.value.value().map(|value| conditions.limits.badness(value));
                (verdict, badness.unwrap_or(f64::NEG_INFINITY))
            };
            let worse = |worst: usize, place: usize| if rank(place) > rank(worst) { place } else { worst };
            with((0..judged.len()).reduce(worse).unwrap_or(0))
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

    fn measured(values: &[f64]) -> Measured {
        Measured { labels: Labels::default(), values: values.to_vec(), scraped: None }
    }

    fn verdict(conditions: Conditions, series: &[&[f64]]) -> (Verdict, Because) {
        let judgement = judge(&conditions, series.iter().map(|values| measured(values)).collect());
        (judgement.verdict, judgement.because)
    }

    #[test]
    fn several_series_are_judged_by_the_rule_that_is_given() {
        use Verdict::{Breached, Inconclusive, Pass};
        let table: [(&[&[f64]], Verdict, Verdict, Verdict); 5] = [
            (&[&[5.0], &[50.0]], Pass, Breached, Breached),
            (&[&[5.0], &[7.0]], Pass, Pass, Pass),
            // NaN cannot be judged: all of them means that one too, and it may be the worst.
            (&[&[5.0], &[f64::NAN]], Pass, Inconclusive, Inconclusive),
            (&[&[f64::NAN], &[f64::INFINITY]], Inconclusive, Breached, Breached),
            (&[&[f64::NAN], &[f64::NAN]], Inconclusive, Inconclusive, Inconclusive),
        ];
        for (series, any, all, worst) in table {
            for (rule, wanted) in [(Rule::Any, any), (Rule::All, all), (Rule::Worst, worst)] {
                assert_eq!(verdict(conditions(Some(rule)), series).0, wanted, "{series:?} {rule:?}");
            }
            assert_eq!(verdict(conditions(None), series), (Inconclusive, Because::SeveralSeries));
        }
    }

    #[test]
    fn the_worst_is_told_and_what_cannot_be_judged_is_what_the_caller_said() {
        use NoData::{Fail, Inconclusive, Pass};
        // Series, what no data means, and the verdict with the place of the series that decided.
        let table: [(&[&[f64]], NoData, Verdict, usize); 9] = [
            (&[&[5.0], &[f64::NAN], &[7.0]], Inconclusive, Verdict::Inconclusive, 1),
            (&[&[5.0], &[f64::NAN], &[7.0]], Pass, Verdict::Pass, 2),
            (&[&[5.0], &[f64::NAN], &[7.0]], Fail, Verdict::Breached, 1),
            // What is known to be outside needs no more to be known.
            (&[&[11.0], &[f64::NAN], &[99.0]], Inconclusive, Verdict::Breached, 2),
            (&[&[11.0], &[f64::NAN], &[99.0]], Pass, Verdict::Breached, 2),
            (&[&[11.0], &[f64::NAN], &[99.0]], Fail, Verdict::Breached, 2),
            (&[&[f64::NAN], &[f64::NAN]], Inconclusive, Verdict::Inconclusive, 0),
            (&[&[f64::NAN], &[f64::NAN]], Pass, Verdict::Pass, 0),
            (&[&[f64::NAN], &[f64::NAN]], Fail, Verdict::Breached, 0),
        ];
        for (series, no_data, wanted, place) in table {
            let conditions = Conditions { no_data, ..conditions(Some(Rule::Worst)) };
            let series: Vec<_> = series.iter().map(|values| measured(values)).collect();
            let judgement = judge(&conditions, series.clone());
            assert_eq!(
                (judgement.verdict, judgement.decisive),
                (wanted, Some(place)),
                "{series:?} {no_data:?}"
            );
        }
        // One that has too few samples is not passed over, whatever no data means.
        let three = Conditions { samples_min: 3, no_data: Pass, ..conditions(Some(Rule::Worst)) };
        let judgement = judge(&three, vec![measured(&[1.0, 2.0, 3.0]), measured(&[1.0])]);
        assert_eq!((judgement.verdict, judgement.decisive), (Verdict::Inconclusive, Some(1)));
    }

    #[test]
    fn samples_are_what_was_scraped_and_never_more_than_what_can_be_judged() {
        let three = Conditions { samples_min: 3, ..conditions(None) };
        let judged = |values: &[f64], scraped| {
            let one = Measured { scraped: Some(scraped), ..measured(values) };
            let judgement = judge(&three, vec![one]);
            (judgement.verdict, judgement.series[0].samples)
        };
        // Evaluated a hundred times, scraped twice.
        assert_eq!(judged(&[1.0; 100], 2), (Verdict::Inconclusive, 2));
        assert_eq!(judged(&[1.0; 100], 3), (Verdict::Pass, 3));
        assert_eq!(judged(&[1.0, f64::NAN, 1.0], 40), (Verdict::Inconclusive, 2));
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
