//! The functions that are evaluated here, by name.

use super::Refusal;
use super::evaluate::{Element, Moment, Value, deduplicated};
use super::expr::{Expr, Selector};
use super::quantile;
use super::windows::{self, Window};
use crate::metrics::model::{Labels, NAME};

/// What a range vector's series comes to at an instant; nothing where it has too few values.
type OverRange = fn(&Window<'_>) -> Option<f64>;
/// A number from a number.
type OfNumber = fn(f64) -> f64;

/// A function of PromQL.
#[derive(Debug, Clone, Copy)]
pub enum Function {
    /// Of each series of a range vector.
    Range(OverRange, Naming),
    /// `quantile_over_time(q, range)`
    QuantileOverTime,
    /// Of each value of an instant vector.
    Number(OfNumber),
    Round,
    Clamp,
    ClampMin,
    ClampMax,
    Time,
    Timestamp,
    Vector,
    Scalar,
    Absent,
    AbsentOverTime,
    Sort(Direction),
    HistogramQuantile,
}

/// Whether the metric's name survives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Naming {
    Dropped,
    Kept,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    Ascending,
    Descending,
}

impl Function {
    pub(super) fn of(name: &str) -> Option<Self> {
        use Function::{Number, Range};
        use Naming::{Dropped, Kept};
        Some(match name {
            "rate" => Range(windows::rate, Dropped),
            "increase" => Range(windows::increase, Dropped),
            "delta" => Range(windows::delta, Dropped),
            "irate" => Range(windows::irate, Dropped),
            "idelta" => Range(windows::idelta, Dropped),
            "resets" => Range(windows::resets, Dropped),
            "changes" => Range(windows::changes, Dropped),
            "avg_over_time" => Range(windows::avg, Dropped),
            "min_over_time" => Range(windows::min, Dropped),
            "max_over_time" => Range(windows::max, Dropped),
            "sum_over_time" => Range(windows::sum, Dropped),
            "count_over_time" => Range(windows::count, Dropped),
            "stddev_over_time" => Range(windows::stddev, Dropped),
            "stdvar_over_time" => Range(windows::stdvar, Dropped),
            "present_over_time" => Range(|_| Some(1.0), Dropped),
            "last_over_time" => Range(windows::last, Kept),
            "quantile_over_time" => Function::QuantileOverTime,
            "abs" => Number(f64::abs),
            "ceil" => Number(f64::ceil),
            "floor" => Number(f64::floor),
            "exp" => Number(f64::exp),
            "ln" => Number(f64::ln),
            "log2" => Number(f64::log2),
            "log10" => Number(f64::log10),
            "sqrt" => Number(f64::sqrt),
            "sgn" => Number(sign),
            "round" => Function::Round,
            "clamp" => Function::Clamp,
            "clamp_min" => Function::ClampMin,
            "clamp_max" => Function::ClampMax,
            "time" => Function::Time,
            "timestamp" => Function::Timestamp,
            "vector" => Function::Vector,
            "scalar" => Function::Scalar,
            "absent" => Function::Absent,
            "absent_over_time" => Function::AbsentOverTime,
            "sort" => Function::Sort(Direction::Ascending),
            "sort_desc" => Function::Sort(Direction::Descending),
            "histogram_quantile" => Function::HistogramQuantile,
            _ => return None,
        })
    }
}

/// Zero and NaN have no sign.
fn sign(value: f64) -> f64 {
    match value {
        value if value > 0.0 => 1.0,
        value if value < 0.0 => -1.0,
        value => value,
    }
}

/// `math.Min` and `math.Max` of the server: NaN wins over everything.
fn lesser(left: f64, right: f64) -> f64 {
    if left.is_nan() || right.is_nan() { f64::NAN } else { left.min(right) }
}

fn greater(left: f64, right: f64) -> f64 {
    if left.is_nan() || right.is_nan() { f64::NAN } else { left.max(right) }
}

/// Calls a function at a moment.
pub(super) fn call(function: Function, args: &[Expr], moment: &Moment<'_>) -> Result<Value, Refusal> {
    let vector = |index: usize| moment.vector(&args[index]);
    let scalar = |index: usize| moment.scalar(&args[index]);
    Ok(Value::Vector(match function {
        Function::Range(over, naming) => return moment.over_range(&args[0], naming, over),
        Function::QuantileOverTime => {
            let quantile = scalar(0)?;
            return moment.over_range(&args[1], Naming::Dropped, |window| {
                let mut values: Vec<f64> = window.points.iter().map(|(_, value)| *value).collect();
                Some(quantile::of_values(quantile, &mut values))
            });
        }
        Function::Number(of) => each(vector(0)?, of)?,
        Function::Round => {
            let to = if args.len() > 1 { scalar(1)? } else { 1.0 };
            let inverse = 1.0 / to;
            each(vector(0)?, |value| (value * inverse + 0.5).floor() / inverse)?
        }
        Function::Clamp => {
            let (from, to) = (scalar(1)?, scalar(2)?);
            let elements = vector(0)?;
            if to < from { Vec::new() } else { each(elements, |value| greater(from, lesser(to, value)))? }
        }
        Function::ClampMin => {
            let from = scalar(1)?;
            each(vector(0)?, |value| greater(from, value))?
        }
        Function::ClampMax => {
            let to = scalar(1)?;
            each(vector(0)?, |value| lesser(to, value))?
        }
        Function::Time => return Ok(Value::Scalar(moment.at_ms as f64 / 1000.0)),
        Function::Timestamp => {
            let elements = vector(0)?;
            let stamped = elements.into_iter().map(|element| Element {
                labels: element.labels.nameless(),
                value: element.sampled_ms.unwrap_or(moment.at_ms) as f64 / 1000.0,
                sampled_ms: None,
            });
            deduplicated(stamped.collect())?
        }
        Function::Vector => vec![Element::new(Labels::default(), scalar(0)?)],
        Function::Scalar => {
            let elements = vector(0)?;
            return Ok(Value::Scalar(match elements.as_slice() {
                [only] => only.value,
                _ => f64::NAN,
            }));
        }
        Function::Absent => match vector(0)?.is_empty() {
            true => vec![Element::new(absent_labels(&args[0], moment), 1.0)],
            false => Vec::new(),
        },
        Function::AbsentOverTime => {
            let Value::Vector(present) = moment.over_range(&args[0], Naming::Dropped, |_| Some(1.0))? else {
                return Err(Refusal::Execution("absent_over_time() needs a range".to_owned()));
            };
            match present.is_empty() {
                true => vec![Element::new(absent_labels(&args[0], moment), 1.0)],
                false => Vec::new(),
            }
        }
        Function::Sort(direction) => {
            let mut elements = vector(0)?;
            // NaN goes last in both directions.
            elements.sort_by(|left, right| match (left.value.is_nan(), right.value.is_nan()) {
                (true, true) => std::cmp::Ordering::Equal,
                (true, false) => std::cmp::Ordering::Greater,
                (false, true) => std::cmp::Ordering::Less,
                (false, false) => match direction {
                    Direction::Ascending => left.value.total_cmp(&right.value),
                    Direction::Descending => right.value.total_cmp(&left.value),
                },
            });
            elements
        }
        Function::HistogramQuantile => quantile::of_histograms(scalar(0)?, vector(1)?)?,
    }))
}

fn each(elements: Vec<Element>, of: impl Fn(f64) -> f64) -> Result<Vec<Element>, Refusal> {
    deduplicated(
        elements
            .into_iter()
            .map(|element| Element::new(element.labels.nameless(), of(element.value)))
            .collect(),
    )
}

/// The labels that the missing series would have, as far as its selector fixes them.
fn absent_labels(arg: &Expr, moment: &Moment<'_>) -> Labels {
    let Expr::Select(place) = arg else { return Labels::default() };
    let Selector { matchers, .. } = &moment.query.selectors[*place];
    let fixed = matchers.iter().filter(|matcher| {
        matches!(matcher.op, promql_parser::label::MatchOp::Equal)
            && matcher.name != NAME
            && matchers.iter().filter(|other| other.name == matcher.name).count() == 1
    });
    Labels::new(fixed.map(|matcher| (matcher.name.as_str(), matcher.value.as_str())))
}
