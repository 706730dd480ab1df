//! Pods without a node, and pods whose node is lost, full or being emptied.

use std::time::Duration;

use kernel::Timestamp;

use super::{Case, Cause, told};
use crate::code::Code;
use crate::objects::{Event, Pod, Status};
use crate::world::World;

/// It has no node.
pub fn unscheduled(case: &Case<'_>) -> Option<Cause> {
    let scheduled = case.pod.condition("PodScheduled")?;
    if scheduled.status != Status::False {
        return None;
    }
    let name = &case.pod.metadata.name;
    if scheduled.reason == "SchedulingGated" {
        let why = format!("pod {name} is held back: {}", told(&scheduled.message));
        return Some(case.cause(Code::Gated, why, None));
    }
    if let Some(coming) = node_coming(case.world, case.pod, case.allowance.node_coming_s, case.now) {
        let why = format!("pod {name} waits for a node: {}", told(&coming.message));
        return Some(case.cause(Code::NodeComing, why, None));
    }
    let why = format!("pod {name} has no node: {}", told(&scheduled.message));
    Some(case.cause(by_words(&scheduled.message), why, None))
}

/// Words of the scheduler, in the order in which they decide: what a new node of the same kind would not change first.
const WORDS: [(&str, Code); 20] = [
    ("volume node affinity conflict", Code::VolumeUnbound),
    ("unbound immediate persistentvolumeclaim", Code::VolumeUnbound),
    ("persistentvolumeclaim", Code::VolumeUnbound),
    ("exceed max volume count", Code::VolumeUnbound),
    ("didn't find available persistent volumes", Code::VolumeUnbound),
    ("insufficient ", Code::NoRoom),
    ("too many pods", Code::NoRoom),
    ("didn't have free ports", Code::NoRoom),
    ("no nodes available", Code::NoRoom),
    ("topology spread constraints", Code::NoMatch),
    ("node affinity", Code::NoMatch),
    ("node selector", Code::NoMatch),
    ("pod affinity", Code::NoMatch),
    ("pod anti-affinity", Code::NoMatch),
    ("anti-affinity rules", Code::NoMatch),
    ("didn't match", Code::NoMatch),
    ("untolerated taint", Code::Tainted),
    ("that the pod didn't tolerate", Code::Tainted),
    ("were unschedulable", Code::Tainted),
    ("taint", Code::Tainted),
];

fn by_words(message: &str) -> Code {
    // What follows is about pods that could be pushed out, in similar words.
    let text = message.split("preemption:").next().unwrap_or_default().to_lowercase();
    WORDS.into_iter().find(|(words, _)| text.contains(words)).map_or(Code::NoRoom, |(_, code)| code)
}

/// The event by which a scaler said that it adds a node for the pod, unless it took that back or too long ago.
pub fn node_coming<'a>(world: &'a World, pod: &Pod, patience_s: u32, now: Timestamp) -> Option<&'a Event> {
    let newest = world.events_about(&pod.metadata.uid).into_iter().find(|event| {
        matches!(
            event.reason.as_str(),
            "TriggeredScaleUp" | "Nominated" | "NotTriggerScaleUp" | "FailedScaleUp"
        ) || (event.reason == "FailedScheduling" && event.reporter() == "karpenter")
    })?;
    let is_promise = matches!(newest.reason.as_str(), "TriggeredScaleUp" | "Nominated");
    let patience = Duration::from_secs(u64::from(patience_s));
    let is_fresh = newest.last_at().is_none_or(|at| now.since(at) <= patience);
    (is_promise && is_fresh).then_some(newest)
}

/// It was taken from its node, or its node is not there any more.
pub fn lost(case: &Case<'_>) -> Option<Cause> {
    let (pod, status) = (case.pod, &case.pod.status);
    let name = &pod.metadata.name;
    let told_as = |code: Code, what: &str, message: &str| {
        let on = if pod.spec.node.is_empty() { String::new() } else { format!(" (node {})", pod.spec.node) };
        let said = if message.is_empty() { String::new() } else { format!(": {}", told(message)) };
        Some(case.cause(code, format!("pod {name} {what}{on}{said}"), None))
    };
    if let Some(target) = pod.condition("DisruptionTarget").filter(|condition| condition.is_true()) {
        let (code, what) = match target.reason.as_str() {
            "PreemptionByScheduler" => (Code::Preempted, "had to give way"),
            "DeletionByTaintManager" | "DeletionByPodGC" => (Code::NodeLost, "lost its node"),
            _ => (Code::Evicted, "was evicted"),
        };
        return told_as(code, what, &target.message);
    }
    if status.phase == "Failed" {
        return match status.reason.as_str() {
            "Evicted" => told_as(Code::Evicted, "was evicted", &status.message),
            "Preempting" | "Preempted" => told_as(Code::Preempted, "had to give way", &status.message),
            "NodeLost" | "NodeShutdown" | "Terminated" | "Shutdown" => {
                told_as(Code::NodeLost, "lost its node", &status.message)
            }
            "" => None,
            reason => told_as(Code::NodeRefused, &format!("was refused ({reason})"), &status.message),
        };
    }
    if status.reason == "NodeLost" {
        return told_as(Code::NodeLost, "lost its node", &status.message);
    }
    let node = case.world.node(&pod.spec.node)?;
    if !node.is_lost() {
        return None;
    }
    let ready = node.ready()?;
    told_as(Code::NodeLost, "is on a node that is not ready", &format!("{}: {}", ready.reason, ready.message))
}

/// It stands on a node that is being emptied, and a budget that can never be met keeps it there.
pub fn budget_deadlock(case: &Case<'_>) -> Option<Cause> {
    let node = case.world.node(&case.pod.spec.node)?;
    if !node.is_draining() {
        return None;
    }
    let budget = case.world.budgets_of(case.pod).find(|budget| budget.blocks() && budget.never_allows())?;
    let why = format!(
        "pod {} cannot leave node {}: disruption budget {} wants {} of {} pods healthy",
        case.pod.metadata.name,
        node.metadata.name,
        budget.metadata.name,
        budget.status.desired_healthy,
        budget.status.expected_pods,
    );
    Some(case.cause(Code::BudgetDeadlock, why, None))
}
