//! Quantiles: of a handful of values, and of histograms with fixed buckets.

use std::collections::BTreeMap;

use super::Refusal;
use super::evaluate::{Element, deduplicated};
use crate::metrics::model::{Labels, NAME, parse_number};

/// The quantile of values by linear interpolation between the two nearest ranks; NaN counts as the smallest.
pub(super) fn of_values(quantile: f64, values: &mut [f64]) -> f64 {
    if values.is_empty() || quantile.is_nan() {
        return f64::NAN;
    }
    if quantile < 0.0 {
        return f64::NEG_INFINITY;
    }
    if quantile > 1.0 {
        return f64::INFINITY;
    }
    values.sort_by(|left, right| match (left.is_nan(), right.is_nan()) {
        (true, true) => std::cmp::Ordering::Equal,
        (true, false) => std::cmp::Ordering::Less,
        (false, true) => std::cmp::Ordering::Greater,
        (false, false) => left.total_cmp(right),
    });
    let rank = quantile * (values.len() - 1) as f64;
    let lower = (rank.floor() as usize).min(values.len() - 1);
    let upper = (lower + 1).min(values.len() - 1);
    let weight = rank - rank.floor();
    values[lower] * (1.0 - weight) + values[upper] * weight
}

/// `histogram_quantile`: elements are buckets, told apart by `le`; what remains of the labels is the histogram.
pub(super) fn of_histograms(quantile: f64, elements: Vec<Element>) -> Result<Vec<Element>, Refusal> {
    let mut histograms: BTreeMap<Labels, Vec<(f64, f64)>> = BTreeMap::new();
    for element in elements {
        // What has no bound, or one that is no number, is no bucket.
        let Some(bound) = parse_number(element.labels.get("le")) else { continue };
        let labels = element.labels.keep(|name| name != NAME && name != "le");
        histograms.entry(labels).or_default().push((bound, element.value));
    }
    let of = |(labels, buckets)| Element::new(labels, of_buckets(quantile, buckets));
    deduplicated(histograms.into_iter().map(of).collect())
}

/// Buckets are `(upper bound, count up to it)`.
fn of_buckets(quantile: f64, mut buckets: Vec<(f64, f64)>) -> f64 {
    if quantile.is_nan() {
        return f64::NAN;
    }
    if quantile < 0.0 {
        return f64::NEG_INFINITY;
    }
    if quantile > 1.0 {
        return f64::INFINITY;
    }
    buckets.sort_by(|left, right| left.0.total_cmp(&right.0));
    if buckets.last().is_none_or(|(bound, _)| *bound != f64::INFINITY) {
        return f64::NAN;
    }
    // Buckets of the same bound, written differently ("1" and "1.0"), are one.
    buckets.dedup_by(|later, earlier| {
        let same = later.0 == earlier.0;
        if same {
            earlier.1 += later.1;
        }
        same
    });
    // Counts that fall are rounding or a scrape in between.
    let mut most = f64::NEG_INFINITY;
    for (_, count) in &mut buckets {
        most = most.max(*count);
        *count = most;
    }
    if buckets.len() < 2 {
        return f64::NAN;
    }
    let observations = buckets[buckets.len() - 1].1;
    if observations == 0.0 || observations.is_nan() {
        return f64::NAN;
    }
    let rank = quantile * observations;
    let place = buckets[..buckets.len() - 1].partition_point(|(_, count)| *count < rank);
    if place == buckets.len() - 1 {
        return buckets[buckets.len() - 2].0;
    }
    let (end, mut count) = buckets[place];
    if place == 0 && end <= 0.0 {
        return end;
    }
    let (mut start, mut rank) = (0.0, rank);
    if place > 0 {
        let (before, below) = buckets[place - 1];
        start = before;
        count -= below;
        rank -= below;
    }
    start + (end - start) * (rank / count)
}
