//! Of how many samples an expression is made: other expressions, which count them.

use std::collections::BTreeSet;
use std::time::Duration;

use promql_parser::parser::{self, Expr, VectorSelector};
use promql_parser::util::{ExprVisitor, walk_expr};

use super::Refusal;

#[derive(Default)]
struct Selectors(Vec<VectorSelector>);

impl ExprVisitor for Selectors {
    type Error = Refusal;

    fn pre_visit(&mut self, expr: &Expr) -> Result<bool, Refusal> {
        match expr {
            Expr::VectorSelector(selector) => self.0.push(selector.clone()),
            Expr::MatrixSelector(matrix) => self.0.push(matrix.vs.clone()),
            _ => {}
        }
        Ok(true)
    }
}

/// For each metric that an expression names: how many samples each of its series has in the time before. A selector
/// without a name is left out: series of several names cannot be told apart once they are counted.
pub fn counters(text: &str, time: Duration) -> Result<BTreeSet<String>, Refusal> {
    let parsed = parser::parse(text).map_err(|problem| Refusal::Syntax(problem.trim().to_owned()))?;
    let mut selectors = Selectors::default();
    walk_expr(&mut selectors, &parsed)?;
    let named = selectors.0.into_iter().filter(|selector| selector.name.is_some());
    Ok(named.map(|selector| counter(selector, time)).collect())
}

fn counter(mut selector: VectorSelector, time: Duration) -> String {
    let at = selector.at.take().map(|at| format!(" {at}")).unwrap_or_default();
    let offset = selector.offset.take().map(|offset| format!(" offset {offset}")).unwrap_or_default();
    format!("count_over_time({selector}[{}ms]{at}{offset})", time.as_millis().max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_metric_of_an_expression_is_counted_once_as_far_back_as_is_judged() {
        let of = |text: &str| {
            let counters = counters(text, Duration::from_secs(90)).unwrap();
            counters.into_iter().collect::<Vec<_>>()
        };
        assert_eq!(of("up"), ["count_over_time(up[90000ms])"]);
        assert_eq!(
            of("sum(rate(a{x=\"1\", y=~\"b|c\"}[5m])) / sum(rate(a{x=\"1\", y=~\"b|c\"}[1m])) or vector(0)"),
            ["count_over_time(a{x=\"1\",y=~\"b|c\"}[90000ms])"]
        );
        assert_eq!(
            of("a offset 5m - a"),
            ["count_over_time(a[90000ms] offset 5m)", "count_over_time(a[90000ms])",]
        );
        assert_eq!(of("{__name__=~\"a|b\"} + 1 + time()"), [] as [&str; 0]);
        assert_eq!(of("max_over_time(rate(a[1m])[5m:1m])"), ["count_over_time(a[90000ms])"]);
        for counter in of("a{x=\"}\\\"\"} offset 5m") {
            parser::parse(&counter).unwrap();
        }
        assert!(matches!(counters("sum(", Duration::from_secs(1)), Err(Refusal::Syntax(_))));
    }
}
