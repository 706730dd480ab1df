//! What a source of metrics answers: labels, samples, series, alerts, targets.
//!
//! Invariants: labels are sorted by name and none is empty; a value, zero, NaN and no series stay four different things
//! all the way to the screen; what JSON cannot say (NaN, infinities) is said as Prometheus says it, in a string.

use std::fmt;
use std::sync::Arc;

use serde::Serialize;
use serde_json::{Value, json};

/// The label that holds a metric's name.
pub const NAME: &str = "__name__";

/// Names and values of one series, the metric's name included.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Labels(Vec<(Arc<str>, Arc<str>)>);

impl Labels {
    pub fn new<N: Into<Arc<str>>, V: Into<Arc<str>>>(pairs: impl IntoIterator<Item = (N, V)>) -> Self {
        let mut pairs: Vec<(Arc<str>, Arc<str>)> =
            pairs.into_iter().map(|(name, value)| (name.into(), value.into())).collect();
        pairs.retain(|(_, value)| !value.is_empty());
        pairs.sort();
        pairs.dedup_by(|later, earlier| later.0 == earlier.0);
        Self(pairs)
    }

    /// The value of a label; a label that is absent is empty.
    pub fn get(&self, name: &str) -> &str {
        match self.0.binary_search_by(|(known, _)| (**known).cmp(name)) {
            Ok(index) => &self.0[index].1,
            Err(_) => "",
        }
    }

    /// Sets a label; an empty value takes it away.
    pub fn set(&mut self, name: &str, value: &str) {
        match self.0.binary_search_by(|(known, _)| (**known).cmp(name)) {
            Ok(index) if value.is_empty() => drop(self.0.remove(index)),
            Ok(index) => self.0[index].1 = value.into(),
            Err(_) if value.is_empty() => {}
            Err(index) => self.0.insert(index, (name.into(), value.into())),
        }
    }

    /// The same labels less the metric's name.
    #[must_use]
    pub fn nameless(&self) -> Self {
        self.keep(|name| name != NAME)
    }

    /// Those labels whose name passes.
    #[must_use]
    pub fn keep(&self, passes: impl Fn(&str) -> bool) -> Self {
        Self(self.0.iter().filter(|(name, _)| passes(name)).cloned().collect())
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (&**name, &**value))
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn to_json(&self) -> Value {
        self.iter().map(|(name, value)| (name.to_owned(), Value::from(value))).collect()
    }
}

impl fmt::Display for Labels {
    /// `name{label="value", …}`, as a query would write it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.get(NAME))?;
        let mut others = self.iter().filter(|(name, _)| *name != NAME).peekable();
        if others.peek().is_none() {
            return if self.get(NAME).is_empty() { f.write_str("{}") } else { Ok(()) };
        }
        f.write_str("{")?;
        for (index, (name, value)) in others.enumerate() {
            let comma = if index == 0 { "" } else { ", " };
            write!(f, "{comma}{name}={value:?}")?;
        }
        f.write_str("}")
    }
}

/// One value of one series.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    pub labels: Labels,
    pub at_ms: i64,
    pub value: f64,
}

/// Values of one series over time, the earliest first.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    pub labels: Labels,
    pub points: Vec<(i64, f64)>,
}

/// What an expression came to.
#[derive(Debug, Clone, PartialEq)]
pub enum Data {
    Scalar(i64, f64),
    Vector(Vec<Sample>),
    Matrix(Vec<Series>),
    Text(String),
}

/// What an expression came to, and what the source remarked.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    pub data: Data,
    pub warnings: Vec<String>,
}

impl Answer {
    pub fn new(data: Data) -> Self {
        Self { data, warnings: Vec::new() }
    }

    /// The samples of an instant; a scalar is one without labels.
    pub fn samples(self) -> Vec<Sample> {
        match self.data {
            Data::Vector(samples) => samples,
            Data::Scalar(at_ms, value) => vec![Sample { labels: Labels::default(), at_ms, value }],
            Data::Matrix(_) | Data::Text(_) => Vec::new(),
        }
    }

    /// The series of a range.
    pub fn series(self) -> Vec<Series> {
        match self.data {
            Data::Matrix(series) => series,
            _ => Vec::new(),
        }
    }
}

/// A part of time, and the distance of the points that are wanted of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    pub start_ms: i64,
    pub end_ms: i64,
    pub step_ms: i64,
}

/// More points than this of one series are refused by a Prometheus server.
const POINTS_MAX: i64 = 11_000;

impl Span {
    /// The last `length_ms` in about `points` points, none nearer to the next than `step_min_ms`. The points stand on
    /// multiples of the step, so that they do not flicker when the same picture is drawn again a moment later.
    pub fn last(length_ms: i64, points: i64, step_min_ms: i64, now_ms: i64) -> Self {
        let points = points.clamp(2, POINTS_MAX);
        let step_ms = (length_ms / points).max(step_min_ms).max(1);
        // Whole seconds where that changes little.
        let step_ms = if step_ms >= 1_000 { (step_ms + 999) / 1_000 * 1_000 } else { step_ms };
        let end_ms = now_ms.div_euclid(step_ms) * step_ms;
        let steps = (length_ms / step_ms).clamp(1, POINTS_MAX - 1);
        Self { start_ms: end_ms - steps * step_ms, end_ms, step_ms }
    }

    pub fn times(self) -> impl Iterator<Item = i64> {
        (0..=(self.end_ms - self.start_ms) / self.step_ms)
            .map(move |step| self.start_ms + step * self.step_ms)
    }

    /// A series on the grid of this span: nothing where the series has no point.
    pub fn on_grid(self, points: &[(i64, f64)]) -> Vec<Option<f64>> {
        let mut points = points.iter().peekable();
        self.times()
            .map(|at_ms| {
                while points.next_if(|(at, _)| *at < at_ms).is_some() {}
                points.next_if(|(at, _)| *at == at_ms).map(|(_, value)| *value)
            })
            .collect()
    }
}

/// What is known of one figure.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Reading {
    /// There is no such series, so nothing is known.
    NoSeries,
    /// The series is there and says NaN: most often nought divided by nought, which is no traffic.
    NaN,
    /// A number, zero and the infinities included.
    Value(f64),
}

impl Reading {
    pub fn of(value: Option<f64>) -> Self {
        match value {
            None => Reading::NoSeries,
            Some(value) if value.is_nan() => Reading::NaN,
            Some(value) => Reading::Value(value),
        }
    }

    pub fn value(self) -> Option<f64> {
        match self {
            Reading::Value(value) => Some(value),
            _ => None,
        }
    }

    /// One word for a script.
    pub fn state(self) -> &'static str {
        match self {
            Reading::NoSeries => "no_series",
            Reading::NaN => "nan",
            Reading::Value(0.0) => "zero",
            Reading::Value(value) if value.is_infinite() => "infinite",
            Reading::Value(_) => "value",
        }
    }

    /// The number, or null where there is no series.
    pub fn to_json(self) -> Value {
        match self {
            Reading::NoSeries => Value::Null,
            Reading::NaN => json!("NaN"),
            Reading::Value(value) => number(value),
        }
    }
}

/// A number for JSON; what JSON has no number for is a string, as in the answers of Prometheus.
pub fn number(value: f64) -> Value {
    match value {
        value if value.is_nan() => json!("NaN"),
        f64::INFINITY => json!("+Inf"),
        f64::NEG_INFINITY => json!("-Inf"),
        value if value.fract() == 0.0 && value.abs() < 9e15 => json!(value as i64),
        value => json!(value),
    }
}

/// Reads a number as Prometheus writes it.
pub fn parse_number(text: &str) -> Option<f64> {
    match text {
        "NaN" => Some(f64::NAN),
        "+Inf" | "Inf" => Some(f64::INFINITY),
        "-Inf" => Some(f64::NEG_INFINITY),
        text => text.parse().ok(),
    }
}

/// How far an alert is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum AlertState {
    Firing,
    /// Its condition holds, but not yet for as long as the rule asks.
    Pending,
}

/// An alert that fires or is about to.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Alert {
    pub name: String,
    pub state: AlertState,
    pub severity: String,
    /// What the rule says about it, for a person.
    pub summary: String,
    pub since_ms: Option<i64>,
    #[serde(serialize_with = "labels_json")]
    pub labels: Labels,
    #[serde(serialize_with = "value_json")]
    pub value: Option<f64>,
    pub runbook: Option<String>,
}

fn labels_json<S: serde::Serializer>(labels: &Labels, serializer: S) -> Result<S::Ok, S::Error> {
    labels.to_json().serialize(serializer)
}

fn value_json<S: serde::Serializer>(value: &Option<f64>, serializer: S) -> Result<S::Ok, S::Error> {
    value.map(number).serialize(serializer)
}

/// All alerts, or why there are none.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Alerts {
    pub active: Vec<Alert>,
    /// How many rules were looked at.
    pub rules: usize,
    /// What limits this answer, such as rules that this source cannot evaluate.
    pub remarks: Vec<String>,
}

impl Alerts {
    pub fn firing(&self) -> impl Iterator<Item = &Alert> {
        self.active.iter().filter(|alert| alert.state == AlertState::Firing)
    }
}

/// Whether a target could be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Health {
    Down,
    /// Not asked yet.
    Unknown,
    Up,
}

/// A process that metrics come from.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Target {
    pub job: String,
    pub instance: String,
    pub health: Health,
    pub last_error: String,
    pub last_sample_ms: Option<i64>,
    pub duration_s: Option<f64>,
    pub address: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_written_as_a_query_would_write_them() {
        let labels = Labels::new([("__name__", "up"), ("job", "rtc"), ("a", "x\"y"), ("gone", "")]);
        assert_eq!(labels.to_string(), "up{a=\"x\\\"y\", job=\"rtc\"}");
        assert_eq!(labels.nameless().keep(|_| false).to_string(), "{}");
        assert_eq!((labels.get("job"), labels.get("gone")), ("rtc", ""));
    }

    #[test]
    fn a_span_stands_on_multiples_of_its_step_and_keeps_the_servers_limit() {
        let span = Span::last(3_600_000, 60, 15_000, 1_234_567);
        assert_eq!((span.step_ms, span.end_ms % span.step_ms, span.end_ms), (60_000, 0, 1_200_000));
        let later = Span::last(3_600_000, 60, 15_000, 1_234_567 + 1_000);
        assert_eq!(span, later);
        let year = Span::last(365 * 86_400_000, 1_000_000, 1_000, 1_700_000_000_000);
        assert!(year.times().count() <= 11_000, "{}", year.times().count());
        assert_eq!(Span::last(60_000, 600, 15_000, 0).step_ms, 15_000);
    }

    #[test]
    fn what_is_missing_on_the_grid_stays_missing() {
        let span = Span { start_ms: 0, end_ms: 40, step_ms: 10 };
        let grid = span.on_grid(&[(0, 1.0), (20, f64::NAN), (25, 9.0), (40, 0.0)]);
        assert_eq!(grid.len(), 5);
        assert_eq!((grid[0], grid[1], grid[3], grid[4]), (Some(1.0), None, None, Some(0.0)));
        assert!(grid[2].unwrap().is_nan());
    }

    #[test]
    fn the_four_states_and_infinity_are_told_apart() {
        let states = [None, Some(f64::NAN), Some(0.0), Some(1.5), Some(f64::INFINITY)]
            .map(|value| (Reading::of(value).state(), Reading::of(value).to_json()));
        assert_eq!(
            states,
            [
                ("no_series", Value::Null),
                ("nan", json!("NaN")),
                ("zero", json!(0)),
                ("value", json!(1.5)),
                ("infinite", json!("+Inf")),
            ]
        );
    }
}
