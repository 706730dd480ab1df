//! What is left of a plan that was judged, by a plan that was made after it was begun.
//!
//! Invariants: nothing is carried out that was not judged; what the judged plan keeps is not destroyed by what is left of
//! it; of a plan of which nothing was begun nothing is left but that very plan.

use std::collections::BTreeMap;

use crate::given::{Planned, PlannedChange};
use crate::step::How;

/// What Terraform says of a resource that could be created in half.
const TAINTED: &str = "replace_because_tainted";

/// What the later plan is to the judged one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rest {
    /// All of it is done.
    Nothing,
    /// The same plan, or a part of it.
    Part,
    /// These were not judged.
    Other(Vec<String>),
    /// Nobody has begun the judged plan, and this is another one.
    Another,
}

/// Compares two plans of the same configuration.
///
/// A plan that was begun leaves less to do, with one exception: what could be created in half is replaced by the next
/// plan. It has never been used, so that its replacement loses nothing; what was created in whole is never replaced.
pub fn what_is_left(judged: &Planned, now: &Planned, how: How) -> Rest {
    if now.digest == judged.digest {
        return if judged.is_empty() { Rest::Nothing } else { Rest::Part };
    }
    if how == How::First {
        return Rest::Another;
    }
    if now.is_empty() {
        return Rest::Nothing;
    }
    let known: BTreeMap<&str, (&str, bool)> = judged
        .changes
        .iter()
        .map(|change| (change.address.as_str(), (change.action.as_str(), change.destroys)))
        .collect();
    let was_judged = |change: &PlannedChange| match known.get(change.address.as_str()) {
        Some((judged, _)) if *judged == change.action => true,
        // Half of a creation, or the second half of a replacement.
        Some(("create", _)) => change.action == "replace" && change.reason.as_deref() == Some(TAINTED),
        Some(("replace", true)) => change.action == "create" || change.action == "delete",
        Some(_) | None => false,
    };
    let other: Vec<String> = now
        .changes
        .iter()
        .filter(|change| !was_judged(change))
        .map(|change| change.address.clone())
        .collect();
    if other.is_empty() { Rest::Part } else { Rest::Other(other) }
}
