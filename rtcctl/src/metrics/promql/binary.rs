//! Binary operators between scalars and instant vectors, with the matching of Prometheus.

use std::collections::{BTreeMap, BTreeSet};

use super::Refusal;
use super::evaluate::{Element, Moment, Value, deduplicated};
use super::expr::{Binary, Cardinality, Comparison, Matching, Operator};
use crate::metrics::model::{Labels, NAME};

/// The result of the operator and, for a comparison, whether it holds.
fn apply(operator: Operator, left: f64, right: f64) -> (f64, bool) {
    let compared = |holds: bool| (left, holds);
    match operator {
        Operator::Add => (left + right, true),
        Operator::Subtract => (left - right, true),
        Operator::Multiply => (left * right, true),
        Operator::Divide => (left / right, true),
        Operator::Modulo => (left % right, true),
        Operator::Power => (left.powf(right), true),
        Operator::Equal => compared(left == right),
        Operator::NotEqual => compared(left != right),
        Operator::Less => compared(left < right),
        Operator::LessOrEqual => compared(left <= right),
        Operator::Greater => compared(left > right),
        Operator::GreaterOrEqual => compared(left >= right),
        Operator::And | Operator::Or | Operator::Unless => (left, true),
    }
}

fn truth(holds: bool) -> f64 {
    if holds { 1.0 } else { 0.0 }
}

pub(super) fn evaluate(binary: &Binary, moment: &Moment<'_>) -> Result<Value, Refusal> {
    let (left, right) = (moment.value(&binary.left)?, moment.value(&binary.right)?);
    match (left, right) {
        (Value::Scalar(left), Value::Scalar(right)) => {
            let (value, holds) = apply(binary.operator, left, right);
            Ok(Value::Scalar(if binary.operator.compares() { truth(holds) } else { value }))
        }
        (Value::Vector(elements), Value::Scalar(right)) => {
            each(binary, elements, |value| apply(binary.operator, value, right))
        }
        (Value::Scalar(left), Value::Vector(elements)) => each(binary, elements, |value| {
            let (result, holds) = apply(binary.operator, left, value);
            // A filter shows the vector's value, on whichever side it stands.
            (if binary.operator.compares() { value } else { result }, holds)
        }),
        (Value::Vector(left), Value::Vector(right)) => match binary.operator {
            Operator::And | Operator::Or | Operator::Unless => Ok(Value::Vector(sets(binary, left, right))),
            _ => Ok(Value::Vector(pairs(binary, left, right)?)),
        },
        _ => Err(Refusal::Execution("a text has no operators".to_owned())),
    }
}

/// A vector with a scalar.
fn each(binary: &Binary, elements: Vec<Element>, of: impl Fn(f64) -> (f64, bool)) -> Result<Value, Refusal> {
    let filters = binary.operator.compares() && binary.comparison == Comparison::Filters;
    let mut results = Vec::with_capacity(elements.len());
    for element in elements {
        let (value, holds) = of(element.value);
        if filters {
            if holds {
                results.push(Element::new(element.labels, value));
            }
            continue;
        }
        let value = if binary.operator.compares() { truth(holds) } else { value };
        results.push(Element::new(element.labels.nameless(), value));
    }
    Ok(Value::Vector(if filters { results } else { deduplicated(results)? }))
}

fn signature(labels: &Labels, matching: &Matching) -> Labels {
    match matching {
        Matching::On(names) => labels.keep(|name| names.iter().any(|on| on == name)),
        Matching::Ignoring(names) => labels.keep(|name| name != NAME && !names.iter().any(|on| on == name)),
    }
}

/// `and`, `or`, `unless`
fn sets(binary: &Binary, left: Vec<Element>, right: Vec<Element>) -> Vec<Element> {
    let signatures = |elements: &[Element]| -> BTreeSet<Labels> {
        elements.iter().map(|element| signature(&element.labels, &binary.matching)).collect()
    };
    let has = |known: &BTreeSet<Labels>, element: &Element| {
        known.contains(&signature(&element.labels, &binary.matching))
    };
    match binary.operator {
        Operator::Or => {
            let known = signatures(&left);
            left.into_iter().chain(right.into_iter().filter(|element| !has(&known, element))).collect()
        }
        Operator::Unless => {
            let known = signatures(&right);
            left.into_iter().filter(|element| !has(&known, element)).collect()
        }
        _ => {
            let known = signatures(&right);
            left.into_iter().filter(|element| has(&known, element)).collect()
        }
    }
}

/// A vector with a vector: each element of the many side with its partner on the one side.
fn pairs(binary: &Binary, left: Vec<Element>, right: Vec<Element>) -> Result<Vec<Element>, Refusal> {
    let (many, one, swapped) = match binary.cardinality {
        Cardinality::OneToMany(_) => (right, left, true),
        _ => (left, right, false),
    };
    let one_side = if swapped { "left" } else { "right" };
    let mut partners: BTreeMap<Labels, Element> = BTreeMap::new();
    for element in one {
        let group = signature(&element.labels, &binary.matching);
        if let Some(other) = partners.get(&group) {
            return Err(Refusal::Execution(format!(
                "found duplicate series for the match group {group} on the {one_side} hand-side of the operation: \
                 {} and {}; many-to-many matching not allowed: matching labels must be unique on one side",
                other.labels, element.labels
            )));
        }
        partners.insert(group, element);
    }
    let mut taken: BTreeSet<Labels> = BTreeSet::new();
    let mut results = Vec::new();
    for element in many {
        let group = signature(&element.labels, &binary.matching);
        let Some(partner) = partners.get(&group) else { continue };
        let (left, right) = match swapped {
            true => (partner.value, element.value),
            false => (element.value, partner.value),
        };
        let (value, holds) = apply(binary.operator, left, right);
        let value = match (binary.operator.compares(), binary.comparison) {
            (true, Comparison::Answers) => truth(holds),
            (true, Comparison::Filters) if !holds => continue,
            _ => value,
        };
        let labels = result_labels(binary, &element.labels, &partner.labels);
        // One to one, a group may be met once; many to one, the results must differ.
        let unique = match binary.cardinality {
            Cardinality::OneToOne => taken.insert(group),
            _ => taken.insert(labels.clone()),
        };
        if !unique {
            return Err(Refusal::Execution(match binary.cardinality {
                Cardinality::OneToOne => {
                    "multiple matches for labels: many-to-one matching must be explicit (group_left/group_right)"
                        .to_owned()
                }
                _ => "multiple matches for labels: grouping labels must ensure unique matches".to_owned(),
            }));
        }
        results.push(Element::new(labels, value));
    }
    Ok(results)
}

fn result_labels(binary: &Binary, many: &Labels, one: &Labels) -> Labels {
    let keeps_name = binary.operator.compares() && binary.comparison == Comparison::Filters;
    let labels = if keeps_name { many.clone() } else { many.nameless() };
    let taken = match &binary.cardinality {
        Cardinality::OneToOne => {
            return match &binary.matching {
                Matching::On(names) => labels.keep(|name| names.iter().any(|on| on == name)),
                Matching::Ignoring(names) => labels.keep(|name| !names.iter().any(|on| on == name)),
            };
        }
        Cardinality::ManyToOne(taken) | Cardinality::OneToMany(taken) => taken,
    };
    let mut labels = labels;
    for name in taken {
        labels.set(name, one.get(name));
    }
    labels
}
