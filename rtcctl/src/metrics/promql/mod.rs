//! PromQL over a history that is held in memory: a stated subset, evaluated as a Prometheus server evaluates it.
//!
//! - Selectors with all four matchers and `offset`; range selectors; staleness after five minutes or at a gap.
//! - The functions of [`functions::Function`], the aggregations of [`expr::Aggregation`], all binary operators with
//!   `bool`, `on`, `ignoring`, `group_left`, `group_right`.
//! - Not: subqueries, `@`, native histograms, label_replace and everything else. That is refused by name
//!   ([`Refusal::Unsupported`]), never approximated.
//!
//! Ranges are open on the left, as since Prometheus 3.

mod aggregate;
mod binary;
mod counters;
mod evaluate;
pub mod expr;
pub mod functions;
mod history;
mod quantile;
mod windows;

pub use counters::counters;
pub use evaluate::{evaluate_instant, evaluate_range};
pub use expr::{Query, parse};
pub use history::{History, Recorded};

/// Why an expression has no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// It is not PromQL.
    Syntax(String),
    /// It is PromQL that only a Prometheus server evaluates; the text names what.
    Unsupported(String),
    /// It was evaluated up to a contradiction in the data, such as two series for one.
    Execution(String),
}

#[cfg(test)]
mod tests;
