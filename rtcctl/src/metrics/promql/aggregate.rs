//! Aggregations over the elements of an instant vector, by groups of labels.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use super::Refusal;
use super::evaluate::{Element, Moment};
use super::expr::{Aggregate, Aggregation, Grouping};
use super::quantile;
use super::windows::compensated_sum;
use crate::metrics::model::{Labels, NAME};

fn group_of(labels: &Labels, grouping: &Grouping) -> Labels {
    match grouping {
        Grouping::By(names) => labels.keep(|name| names.iter().any(|by| by == name)),
        Grouping::Without(names) => labels.keep(|name| name != NAME && !names.iter().any(|by| by == name)),
    }
}

pub(super) fn evaluate(aggregate: &Aggregate, moment: &Moment<'_>) -> Result<Vec<Element>, Refusal> {
    let parameter = match &aggregate.parameter {
        Some(parameter) => moment.scalar(parameter)?,
        None => f64::NAN,
    };
    let mut groups: BTreeMap<Labels, Vec<Element>> = BTreeMap::new();
    for element in moment.vector(&aggregate.of)? {
        groups.entry(group_of(&element.labels, &aggregate.grouping)).or_default().push(element);
    }
    let mut elements = Vec::with_capacity(groups.len());
    for (labels, group) in groups {
        match aggregate.aggregation {
            Aggregation::Top => elements.extend(extremes(group, parameter, Ordering::Greater)?),
            Aggregation::Bottom => elements.extend(extremes(group, parameter, Ordering::Less)?),
            other => elements.push(Element::new(labels, one(other, parameter, &group))),
        }
    }
    Ok(elements)
}

fn one(aggregation: Aggregation, parameter: f64, group: &[Element]) -> f64 {
    let values = || group.iter().map(|element| element.value);
    // NaN loses against every number.
    let extreme = |wanted: Ordering| {
        let better = |value: f64, than: f64| value.partial_cmp(&than) == Some(wanted) || than.is_nan();
        values().reduce(|best, value| if better(value, best) { value } else { best }).unwrap_or(f64::NAN)
    };
    match aggregation {
        Aggregation::Sum => compensated_sum(values()),
        Aggregation::Average => compensated_sum(values()) / group.len() as f64,
        Aggregation::Min => extreme(Ordering::Less),
        Aggregation::Max => extreme(Ordering::Greater),
        Aggregation::Count => group.len() as f64,
        Aggregation::Group => 1.0,
        Aggregation::Quantile => quantile::of_values(parameter, &mut values().collect::<Vec<_>>()),
        Aggregation::Top | Aggregation::Bottom => f64::NAN,
    }
}

/// The elements themselves, the most extreme first; NaN comes last.
fn extremes(mut group: Vec<Element>, count: f64, wanted: Ordering) -> Result<Vec<Element>, Refusal> {
    if !count.is_finite() {
        return Err(Refusal::Execution(format!("the number of elements is {count}")));
    }
    group.sort_by(|left, right| match (left.value.is_nan(), right.value.is_nan()) {
        (true, true) => Ordering::Equal,
        (true, false) => Ordering::Greater,
        (false, true) => Ordering::Less,
        (false, false) if wanted == Ordering::Greater => right.value.total_cmp(&left.value),
        (false, false) => left.value.total_cmp(&right.value),
    });
    group.truncate(count.max(0.0) as usize);
    Ok(group)
}
