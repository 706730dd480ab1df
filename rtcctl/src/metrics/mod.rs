//! Live metrics: where they come from, what is made of them, how they are drawn.
//!
//! - [`Source`]: a Prometheus server, or the short history that a running platform keeps itself; one interface.
//! - [`promql`]: the language over that history, evaluated here.
//! - [`overview`], [`slo`], [`verdict`]: what is asked and what it means, without any drawing.
//! - [`draw`], [`units`], [`watch`]: how it looks.
//!
//! Invariant: the same expressions are asked of either source, so that a figure means the same with and without a
//! Prometheus server.

pub mod draw;
pub mod local;
pub mod model;
pub mod overview;
pub mod prometheus;
pub mod promql;
mod rules;
pub mod slo;
mod source;
#[cfg(test)]
pub(crate) mod testing;
pub mod units;
pub mod verdict;
pub mod watch;

pub use local::Local;
pub use prometheus::Prometheus;
pub use source::Source;

use std::collections::BTreeSet;
use std::time::Duration;

/// Expressions that count the samples of which `expr` is made, within `time`.
pub fn counters(expr: &str, time: Duration) -> codes::Result<BTreeSet<String>> {
    promql::counters(expr, time).map_err(|refusal| local::told(refusal, expr))
}
