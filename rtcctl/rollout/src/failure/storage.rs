//! Pods that have a node and cannot be put together there: configuration, volumes, network.

use super::{Case, Cause, told, told_container};
use crate::code::Code;
use crate::objects::ContainerStatus;

/// What passes when the node's kubelet has caught up.
const PASSING: [&str; 3] = ["failed to sync", "timed out waiting", "not registered"];

/// A container whose configuration is not there.
pub fn configuration(case: &Case<'_>, status: &ContainerStatus, message: &str) -> Cause {
    let why = format!("{} cannot be made: {}", told_container(case.pod, &status.name), told(message));
    if PASSING.iter().any(|words| message.contains(words)) {
        return case.cause(Code::ConfigMissing, why, Some(&status.name)).retryable();
    }
    let code = if names_configuration(message) { Code::ConfigMissing } else { Code::StartRefused };
    case.cause(code, why, Some(&status.name))
}

/// `configmap "web" not found`, `secret "web" not found`, `couldn't find key URL in ConfigMap shop/web`,
/// `references non-existent secret key: url`
fn names_configuration(message: &str) -> bool {
    let text = message.to_lowercase();
    let names = text.contains("configmap") || text.contains("secret") || text.contains("config key");
    names
        && (text.contains("not found") || text.contains("couldn't find key") || text.contains("non-existent"))
}

/// It has a node and no containers yet, and the events say why.
pub fn not_created(case: &Case<'_>) -> Option<Cause> {
    let status = &case.pod.status;
    let is_creating = case.pod.condition("PodScheduled").is_none_or(|condition| condition.is_true())
        && !case.pod.spec.node.is_empty()
        && status
            .init_containers
            .iter()
            .chain(&status.containers)
            .any(|container| matches!(container.waiting_for(), "ContainerCreating" | "PodInitializing"))
        && status
            .init_containers
            .iter()
            .chain(&status.containers)
            .all(|container| container.state.running.is_none());
    if !is_creating {
        return None;
    }
    let event = case
        .event(&["FailedMount", "FailedAttachVolume", "FailedMapVolume", "FailedCreatePodSandBox"], None)?;
    let why = format!("pod {} cannot be put together: {}", case.pod.metadata.name, told(&event.message));
    if event.reason == "FailedCreatePodSandBox" {
        return Some(case.cause(Code::NoSandbox, why, None));
    }
    if names_configuration(&event.message) && !PASSING.iter().any(|words| event.message.contains(words)) {
        return Some(case.cause(Code::ConfigMissing, why, None));
    }
    Some(case.cause(Code::VolumeFailed, why, None))
}
