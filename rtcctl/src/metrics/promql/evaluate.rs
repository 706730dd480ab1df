//! An expression at an instant, and over a span of time.
//!
//! Invariant: a span is the same expression at each of its instants; nothing is carried from one to the next.

use std::collections::{BTreeMap, BTreeSet};

use super::expr::{Expr, Query};
use super::functions::{self, Naming};
use super::history::{History, Recorded};
use super::windows::Window;
use super::{Refusal, aggregate, binary};
use crate::metrics::model::{Data, Labels, Sample, Series, Span};

/// How long a value stands for its series after it was sampled.
pub const LOOKBACK_MS: i64 = 5 * 60 * 1000;

/// One element of an instant vector.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Element {
    pub labels: Labels,
    pub value: f64,
    /// When it was sampled, for what comes straight from a selector.
    pub sampled_ms: Option<i64>,
}

impl Element {
    pub fn new(labels: Labels, value: f64) -> Self {
        Self { labels, value, sampled_ms: None }
    }
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    Scalar(f64),
    Vector(Vec<Element>),
    Text(String),
}

/// The value of an expression at an instant. A bare range selector answers with the values themselves.
pub fn evaluate_instant(query: &Query, history: &History, at_ms: i64) -> Result<Data, Refusal> {
    let chosen = choose(query, history);
    let moment = Moment { query, chosen: &chosen, at_ms };
    if let Expr::Select(place) = query.root
        && let Some(range_ms) = query.selectors[place].range_ms
    {
        let end_ms = at_ms - query.selectors[place].offset_ms;
        let mut all = Vec::new();
        for recorded in &chosen[place] {
            let mut points = Vec::new();
            recorded.within(end_ms - range_ms, end_ms, &mut points);
            if !points.is_empty() {
                all.push(Series { labels: recorded.labels.clone(), points });
            }
        }
        return Ok(Data::Matrix(all));
    }
    Ok(match moment.value(&query.root)? {
        Value::Scalar(value) => Data::Scalar(at_ms, value),
        Value::Text(text) => Data::Text(text),
        Value::Vector(elements) => Data::Vector(
            elements
                .into_iter()
                .map(|element| Sample { labels: element.labels, at_ms, value: element.value })
                .collect(),
        ),
    })
}

/// The values of an expression at each instant of a span, by series.
pub fn evaluate_range(query: &Query, history: &History, span: Span) -> Result<Data, Refusal> {
    if let Expr::Select(place) = query.root
        && query.selectors[place].range_ms.is_some()
    {
        return Err(Refusal::Execution(
            "a range of a range: over a span the expression must be a scalar or an instant vector".to_owned(),
        ));
    }
    let chosen = choose(query, history);
    let mut series: BTreeMap<Labels, Vec<(i64, f64)>> = BTreeMap::new();
    for at_ms in span.times() {
        match (Moment { query, chosen: &chosen, at_ms }).value(&query.root)? {
            Value::Scalar(value) => series.entry(Labels::default()).or_default().push((at_ms, value)),
            Value::Text(_) => {
                return Err(Refusal::Execution("a text has no values over time".to_owned()));
            }
            Value::Vector(elements) => {
                for element in elements {
                    series.entry(element.labels).or_default().push((at_ms, element.value));
                }
            }
        }
    }
    Ok(Data::Matrix(series.into_iter().map(|(labels, points)| Series { labels, points }).collect()))
}

fn choose<'a>(query: &Query, history: &'a History) -> Vec<Vec<&'a Recorded>> {
    query
        .selectors
        .iter()
        .map(|selector| history.select(selector.name.as_deref(), &selector.matchers))
        .collect()
}

/// An expression, its series, and the instant at which it is evaluated.
pub(super) struct Moment<'a> {
    pub query: &'a Query,
    chosen: &'a [Vec<&'a Recorded>],
    pub at_ms: i64,
}

impl Moment<'_> {
    pub fn value(&self, expr: &Expr) -> Result<Value, Refusal> {
        match expr {
            Expr::Number(value) => Ok(Value::Scalar(*value)),
            Expr::Text(text) => Ok(Value::Text(text.clone())),
            Expr::Select(place) => Ok(Value::Vector(self.select(*place)?)),
            Expr::Negate(inner) => Ok(match self.value(inner)? {
                Value::Scalar(value) => Value::Scalar(-value),
                Value::Vector(elements) => Value::Vector(deduplicated(
                    elements
                        .into_iter()
                        .map(|element| Element::new(element.labels.nameless(), -element.value))
                        .collect(),
                )?),
                Value::Text(_) => return Err(Refusal::Execution("a text cannot be negated".to_owned())),
            }),
            Expr::Binary(binary) => binary::evaluate(binary, self),
            Expr::Aggregate(aggregate) => Ok(Value::Vector(aggregate::evaluate(aggregate, self)?)),
            Expr::Call(function, args) => functions::call(*function, args, self),
        }
    }

    pub fn vector(&self, expr: &Expr) -> Result<Vec<Element>, Refusal> {
        match self.value(expr)? {
            Value::Vector(elements) => Ok(elements),
            _ => Err(Refusal::Execution("an instant vector is expected".to_owned())),
        }
    }

    pub fn scalar(&self, expr: &Expr) -> Result<f64, Refusal> {
        match self.value(expr)? {
            Value::Scalar(value) => Ok(value),
            _ => Err(Refusal::Execution("a scalar is expected".to_owned())),
        }
    }

    fn select(&self, place: usize) -> Result<Vec<Element>, Refusal> {
        let selector = &self.query.selectors[place];
        if selector.range_ms.is_some() {
            return Err(Refusal::Execution("a range vector cannot stand here".to_owned()));
        }
        let at_ms = self.at_ms - selector.offset_ms;
        let found = self.chosen[place].iter().filter_map(|recorded| {
            let (sampled_ms, value) = recorded.at(at_ms, LOOKBACK_MS)?;
            Some(Element { labels: recorded.labels.clone(), value, sampled_ms: Some(sampled_ms) })
        });
        Ok(found.collect())
    }

    /// Applies a function to each series of a range selector.
    pub fn over_range(
        &self,
        expr: &Expr,
        naming: Naming,
        over: impl Fn(&Window<'_>) -> Option<f64>,
    ) -> Result<Value, Refusal> {
        let range = match expr {
            Expr::Select(place) => self.query.selectors[*place].range_ms.map(|range_ms| (*place, range_ms)),
            _ => None,
        };
        let Some((place, range_ms)) = range else {
            return Err(Refusal::Execution("a range vector is expected".to_owned()));
        };
        let end_ms = self.at_ms - self.query.selectors[place].offset_ms;
        let start_ms = end_ms - range_ms;
        let mut points = Vec::new();
        let mut elements = Vec::new();
        for recorded in &self.chosen[place] {
            recorded.within(start_ms, end_ms, &mut points);
            if points.is_empty() {
                continue;
            }
            if let Some(value) = over(&Window { points: &points, start_ms, end_ms }) {
                let labels = match naming {
                    Naming::Dropped => recorded.labels.nameless(),
                    Naming::Kept => recorded.labels.clone(),
                };
                elements.push(Element::new(labels, value));
            }
        }
        Ok(Value::Vector(deduplicated(elements)?))
    }
}

/// Refuses two elements of the same labels: after a name was dropped, nobody could tell them apart.
pub(super) fn deduplicated(elements: Vec<Element>) -> Result<Vec<Element>, Refusal> {
    let mut seen = BTreeSet::new();
    match elements.iter().find(|element| !seen.insert(&element.labels)) {
        None => Ok(elements),
        Some(twice) => Err(Refusal::Execution(format!(
            "vector cannot contain metrics with the same labelset: {}",
            twice.labels
        ))),
    }
}
