//! Pods that are not even made: quotas, admission, Pod Security.

use super::{Cause, Reference, told};
use crate::code::Code;
use crate::objects::{Condition, Object};
use crate::world::World;

/// Why the controller of this object cannot make pods: its condition says so, or its newest event about making any.
pub fn of_owner(world: &World, owner: &Object) -> Option<Cause> {
    let message = match owner {
        Object::ReplicaSet(set) => {
            let failing =
                Condition::find(&set.status.conditions, "ReplicaFailure").filter(|known| known.is_true());
            match failing {
                Some(condition) if condition.reason == "FailedCreate" => condition.message.as_str(),
                // Its controller has spoken after the last event.
                None if set.status.replicas >= set.spec.replicas.unwrap_or(1) => return None,
                _ => by_event(world, owner)?,
            }
        }
        _ => by_event(world, owner)?,
    };
    let meta = owner.meta();
    let why = format!("{} {} cannot make pods: {}", owner.kind().name(), meta.name, told(message));
    let (code, is_passing) = by_words(message);
    let cause = Cause::new(code, why, Reference::to(owner));
    Some(if is_passing { cause.retryable() } else { cause })
}

fn by_event<'a>(world: &'a World, owner: &Object) -> Option<&'a str> {
    let newest = world
        .events_about(&owner.meta().uid)
        .into_iter()
        .find(|event| matches!(event.reason.as_str(), "FailedCreate" | "SuccessfulCreate"))?;
    (newest.reason == "FailedCreate").then_some(newest.message.as_str())
}

/// The code, and whether it may pass although the code usually does not.
fn by_words(message: &str) -> (Code, bool) {
    let text = message.to_lowercase();
    let has = |words: &str| text.contains(words);
    if has("exceeded quota") {
        (Code::QuotaExceeded, true)
    } else if has("failed quota") {
        (Code::QuotaDemands, false)
    } else if has("violates podsecurity") || has("security context constraint") {
        (Code::PodSecurity, false)
    } else if has("failed calling webhook") || has("failed to call webhook") {
        (Code::WebhookAway, true)
    } else if has("denied the request") || has("denied request") || has("admission webhook") {
        (Code::Refused, false)
    } else if has("serviceaccount") && has("not found") {
        (Code::NotCreated, true)
    } else if has("is forbidden") || has("is invalid") {
        (Code::Refused, false)
    } else {
        (Code::NotCreated, true)
    }
}
