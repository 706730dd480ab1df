//! Whether the error budgets allow a release at all.
//!
//! Invariant: what is not known is not taken for good: without a single value the answer is that it cannot be said, and
//! beside those that have one the others are named.

use serde::{Deserialize, Serialize};

/// What is left of one budget.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case")]
pub enum Left {
    /// As a share; below zero where more than all is gone.
    Value { share: f64 },
    /// Nothing happened that could be good or bad.
    NoTraffic,
    /// Nothing is recorded by which it is measured.
    NoData,
}

/// One objective's budget.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Budget {
    pub objective: String,
    pub left: Left,
    /// Over which time it is counted.
    pub period: String,
}

#[derive(Debug, Clone, PartialEq)]
pub enum BudgetVerdict {
    Enough,
    /// These have less than the least.
    Spent(Vec<String>),
    /// No objective has a value.
    NoData,
}

/// Judges all budgets against the share that has to be left of each.
pub fn judge_budgets(budgets: &[Budget], min: f64) -> BudgetVerdict {
    let mut is_known = false;
    let mut spent = Vec::new();
    for budget in budgets {
        if let Left::Value { share } = budget.left
            && !share.is_nan()
        {
            is_known = true;
            if share < min {
                spent.push(budget.objective.clone());
            }
        }
    }
    match (is_known, spent.is_empty()) {
        (_, false) => BudgetVerdict::Spent(spent),
        (true, true) => BudgetVerdict::Enough,
        (false, true) => BudgetVerdict::NoData,
    }
}

/// Those that nobody has judged, with what is missing: `checkout (no traffic)`.
pub fn unknown(budgets: &[Budget]) -> Vec<String> {
    let why = |left: Left| match left {
        Left::Value { share } if share.is_nan() => Some("no value"),
        Left::Value { .. } => None,
        Left::NoTraffic => Some("no traffic"),
        Left::NoData => Some("no data"),
    };
    let named = |budget: &Budget| why(budget.left).map(|why| format!("{} ({why})", budget.objective));
    budgets.iter().filter_map(named).collect()
}

/// `availability 83 % left, search 90 % left; not known: checkout (no traffic)`, the poorest first.
pub(crate) fn sentence(budgets: &[Budget]) -> String {
    let mut known: Vec<(&str, f64)> = budgets
        .iter()
        .filter_map(|budget| match budget.left {
            Left::Value { share } if !share.is_nan() => Some((budget.objective.as_str(), share)),
            Left::Value { .. } | Left::NoTraffic | Left::NoData => None,
        })
        .collect();
    known.sort_by(|a, b| a.1.total_cmp(&b.1));
    let said: Vec<String> =
        known.iter().take(3).map(|(name, share)| format!("{name} {:.0} % left", share * 100.0)).collect();
    if said.is_empty() {
        return "no budget is known".to_owned();
    }
    match unknown(budgets).as_slice() {
        [] => said.join(", "),
        names => format!("{}; not known: {}", said.join(", "), names.join(", ")),
    }
}
