//! The samples of a short past, by series.
//!
//! Invariant: a series that was recorded and then is absent at a time at which its process was sampled is stale from
//! that time on, as after a scrape that no longer has it.

use std::collections::BTreeMap;

use promql_parser::label::{MatchOp, Matcher};

use crate::metrics::model::{Labels, NAME};

/// One recorded series. `None` is the mark that it ended there.
#[derive(Debug, Clone, PartialEq)]
pub struct Recorded {
    pub labels: Labels,
    points: Vec<(i64, Option<f64>)>,
}

impl Recorded {
    /// The newest value at or before an instant that is not older than `lookback_ms`, and when it was sampled.
    pub(super) fn at(&self, at_ms: i64, lookback_ms: i64) -> Option<(i64, f64)> {
        let end = self.points.partition_point(|(at, _)| *at <= at_ms);
        let (at, value) = *self.points[..end].last()?;
        Some((at, value?)).filter(|(at, _)| *at > at_ms - lookback_ms)
    }

    /// The values after `start_ms` up to and with `end_ms`.
    pub(super) fn within(&self, start_ms: i64, end_ms: i64, into: &mut Vec<(i64, f64)>) {
        into.clear();
        let start = self.points.partition_point(|(at, _)| *at <= start_ms);
        let end = self.points.partition_point(|(at, _)| *at <= end_ms);
        into.extend(self.points[start.min(end)..end].iter().filter_map(|(at, value)| Some((*at, (*value)?))));
    }
}

/// Every series that is remembered.
#[derive(Debug, Clone, Default)]
pub struct History {
    series: Vec<Recorded>,
    places: BTreeMap<Labels, usize>,
}

impl History {
    /// Adds values in the order of time. What is not newer than the newest value of the series is known already.
    pub fn record(&mut self, labels: Labels, points: impl IntoIterator<Item = (i64, Option<f64>)>) {
        let place = match self.places.get(&labels) {
            Some(place) => *place,
            None => {
                self.places.insert(labels.clone(), self.series.len());
                self.series.push(Recorded { labels, points: Vec::new() });
                self.series.len() - 1
            }
        };
        let known = &mut self.series[place].points;
        for (at, value) in points {
            let last = known.last();
            // Before its first value a series is not stale: it is not there.
            let says_nothing = value.is_none() && last.is_none_or(|(_, before)| before.is_none());
            if !says_nothing && last.is_none_or(|(newest, _)| *newest < at) {
                known.push((at, value));
            }
        }
    }

    /// Forgets what is older, and series of which nothing is left.
    pub fn forget_before(&mut self, at_ms: i64) {
        for recorded in &mut self.series {
            let gone = recorded.points.partition_point(|(at, _)| *at < at_ms);
            recorded.points.drain(..gone);
        }
        self.series.retain(|recorded| !recorded.points.is_empty());
        self.places =
            self.series.iter().enumerate().map(|(place, series)| (series.labels.clone(), place)).collect();
    }

    pub fn is_empty(&self) -> bool {
        self.series.is_empty()
    }

    pub fn len(&self) -> usize {
        self.series.len()
    }

    /// The times of the earliest and the newest value that was sampled: a name with a colon is of what was computed.
    pub fn reach(&self) -> Option<(i64, i64)> {
        let sampled = || self.series.iter().filter(|series| !series.labels.get(NAME).contains(':'));
        let first = sampled().filter_map(|series| series.points.first()).map(|(at, _)| *at).min()?;
        let last = sampled().filter_map(|series| series.points.last()).map(|(at, _)| *at).max()?;
        Some((first, last))
    }

    /// The series that all matchers accept, in the order of their labels: among equals the first one wins.
    pub(super) fn select(&self, name: Option<&str>, matchers: &[Matcher]) -> Vec<&Recorded> {
        let mut found: Vec<&Recorded> = self
            .series
            .iter()
            .filter(|series| name.is_none_or(|name| series.labels.get(NAME) == name))
            .filter(|series| {
                matchers.iter().all(|matcher| accepts(matcher, series.labels.get(&matcher.name)))
            })
            .collect();
        found.sort_by(|left, right| left.labels.cmp(&right.labels));
        found
    }
}

/// A label that is absent is one with an empty value.
fn accepts(matcher: &Matcher, value: &str) -> bool {
    match &matcher.op {
        MatchOp::Equal => matcher.value == value,
        MatchOp::NotEqual => matcher.value != value,
        MatchOp::Re(_) | MatchOp::NotRe(_) => matcher.is_match(value),
    }
}
