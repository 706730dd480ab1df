//! The error budgets before a release, and after one where nothing else is measured.
//!
//! Invariant: an objective without a value is named, wherever others pass.

use codes::{Error, Result};
use ship::{Budget, BudgetVerdict, Left, judge_budgets};

use crate::context::Context;
use crate::metrics::Source;
use crate::metrics::model::Reading;
use crate::metrics::slo::{Standing, objectives, standings};
use crate::output::{Finding, Severity};

/// How the objectives stand.
pub async fn look_at_budgets(context: &Context) -> Result<Vec<Standing>> {
    let objectives = objectives(&context.config)?;
    let source = Source::of(context)?;
    let now_ms = context.clock.now().as_millis();
    source.refresh(now_ms).await?;
    standings(&source, &objectives, now_ms).await
}

pub fn budgets(standings: &[Standing]) -> Vec<Budget> {
    let left = |reading: Reading| match reading {
        Reading::Value(share) => Left::Value { share },
        Reading::NaN => Left::NoTraffic,
        Reading::NoSeries => Left::NoData,
    };
    standings
        .iter()
        .map(|standing| Budget {
            objective: standing.objective.name.clone(),
            left: left(standing.budget_left),
            period: standing.period.clone(),
        })
        .collect()
}

/// What the budgets have against a release.
pub fn refusal(budgets: &[Budget], min: f64) -> Option<Error> {
    match judge_budgets(budgets, min) {
        BudgetVerdict::Enough => None,
        BudgetVerdict::Spent(names) => {
            let mut error = Error::new(
                &codes::SHP003,
                format!("less than {} of a budget is left: {}", human_share(min), names.join(", ")),
            );
            for budget in budgets.iter().filter(|budget| names.contains(&budget.objective)) {
                if let Left::Value { share } = budget.left {
                    let left = human_share(share);
                    error =
                        error.with_cause(format!("{}: {left} left of {}", budget.objective, budget.period));
                }
            }
            Some(error.with_hint(codes::SHP003.action))
        }
        BudgetVerdict::NoData => {
            Some(Error::new(&codes::SHP005, "no objective has a value").with_hint(codes::SHP005.action))
        }
    }
}

/// Those of which nobody knows how they stand; where none is known, that refuses.
pub fn unjudged(unknown: &[String]) -> Option<Finding> {
    (!unknown.is_empty()).then(|| {
        let message = format!("not known, and not judged: {}", unknown.join(", "));
        Finding::new(&codes::SHP023, Severity::Warning, message).with_hint(codes::SHP023.action)
    })
}

fn human_share(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}
