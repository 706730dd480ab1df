//! Why a pod is not what it should be, from its state and the events about it.
//!
//! Invariants: reasons are matched before texts, and only texts that explain the present state count, so an event of
//! a trouble that has passed accuses nobody; what is not recognised is said in the API's own words; no words of others are in a
//! cause that were not masked.

mod crash;
mod creation;
mod place;
mod pull;
mod storage;

use kernel::Timestamp;
use masking::masked;
use serde::{Deserialize, Serialize};

use crate::code::{Code, Ending};
use crate::objects::{ContainerStatus, Event, Kind, Object, Pod, Uid};
use crate::world::World;

pub use creation::of_owner;
pub use place::node_coming;

/// Characters of a message that are told.
const TOLD_MAX: usize = 400;

/// Something that a cause is about, for whoever wants to look.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Reference {
    pub kind: Kind,
    pub namespace: String,
    pub name: String,
    pub uid: Uid,
    pub container: Option<String>,
}

impl Reference {
    pub fn to(object: &Object) -> Self {
        let meta = object.meta();
        Self {
            kind: object.kind(),
            namespace: meta.namespace.clone(),
            name: meta.name.clone(),
            uid: meta.uid.clone(),
            container: None,
        }
    }

    pub fn to_pod(pod: &Pod, container: Option<&str>) -> Self {
        Self {
            kind: Kind::Pod,
            namespace: pod.metadata.namespace.clone(),
            name: pod.metadata.name.clone(),
            uid: pod.metadata.uid.clone(),
            container: container.map(str::to_owned),
        }
    }
}

/// Whether a failure ends the rollout.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Finality {
    /// It does not pass, or came too often.
    Final,
    /// It may pass by itself.
    Retryable,
}

/// One recognised failure.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cause {
    pub code: Code,
    pub finality: Finality,
    pub why: String,
    pub about: Vec<Reference>,
}

/// How often what may pass may come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Allowance {
    /// Ends of one container before it is too many.
    pub failures: u32,
    /// How long a node may take to come after somebody said that it would.
    pub node_coming_s: u32,
}

impl Default for Allowance {
    fn default() -> Self {
        Self { failures: 1, node_coming_s: 600 }
    }
}

impl Cause {
    fn new(code: Code, why: String, about: Reference) -> Self {
        let finality = match code.ending() {
            Ending::AtOnce => Finality::Final,
            Ending::Counted | Ending::Passing => Finality::Retryable,
        };
        Self { code, finality, why, about: vec![about] }
    }

    fn retryable(mut self) -> Self {
        self.finality = Finality::Retryable;
        self
    }

    fn counted(mut self, failures: u32, allowance: &Allowance) -> Self {
        if self.code.ending() == Ending::Counted && failures > allowance.failures {
            self.finality = Finality::Final;
        }
        self
    }

    pub fn is_final(&self) -> bool {
        self.finality == Finality::Final
    }
}

/// What is looked at to explain one pod.
struct Case<'a> {
    world: &'a World,
    pod: &'a Pod,
    events: Vec<&'a Event>,
    allowance: &'a Allowance,
    now: Timestamp,
}

impl<'a> Case<'a> {
    fn cause(&self, code: Code, why: String, container: Option<&str>) -> Cause {
        Cause::new(code, why, Reference::to_pod(self.pod, container))
    }

    /// The newest event for one of the reasons, about the container or about no container in particular.
    fn event(&self, reasons: &[&str], container: Option<&str>) -> Option<&'a Event> {
        self.events.iter().copied().find(|event| {
            reasons.contains(&event.reason.as_str())
                && (container.is_none() || event.container().is_none() || event.container() == container)
        })
    }
}

/// Everything that is wrong with a pod, the most telling first. A pod that is on its way up has nothing wrong.
pub fn of_pod(world: &World, pod: &Pod, allowance: &Allowance, now: Timestamp) -> Vec<Cause> {
    let events = world.events_about(&pod.metadata.uid);
    let case = Case { world, pod, events, allowance, now };
    if let Some(cause) = place::lost(&case) {
        return vec![cause];
    }
    if pod.metadata.is_deleting() {
        return Vec::new();
    }
    if let Some(cause) = place::unscheduled(&case) {
        return vec![cause];
    }
    if pod.status.phase == "Succeeded" {
        return Vec::new();
    }
    let mut causes = containers(&case);
    if causes.is_empty()
        && let Some(cause) = storage::not_created(&case)
    {
        causes.push(cause);
    }
    if causes.is_empty()
        && let Some(cause) = gate(&case)
    {
        causes.push(cause);
    }
    if let Some(cause) = place::budget_deadlock(&case) {
        causes.push(cause);
    }
    causes.sort_by_key(|cause| cause.finality);
    causes
}

fn containers(case: &Case<'_>) -> Vec<Cause> {
    let status = &case.pod.status;
    let init = status.init_containers.iter().filter_map(|container| {
        let role =
            if case.pod.is_sidecar(&container.name) { crash::Role::Lasting } else { crash::Role::Beforehand };
        of_container(case, container, role)
    });
    let role = match case.pod.metadata.controller() {
        Some(owner) if owner.kind == "Job" => crash::Role::Once,
        _ => crash::Role::Lasting,
    };
    let own = status.containers.iter().filter_map(|container| of_container(case, container, role));
    init.chain(own).collect()
}

fn of_container(case: &Case<'_>, status: &ContainerStatus, role: crash::Role) -> Option<Cause> {
    let message = status.state.waiting.as_ref().map_or("", |waiting| waiting.message.as_str());
    let name = Some(status.name.as_str());
    let cause = match status.waiting_for() {
        "" | "ContainerCreating" | "PodInitializing" => None,
        "CreateContainerConfigError" => Some(storage::configuration(case, status, message)),
        "CreateContainerError" | "RunContainerError" | "PostStartHookError" => {
            Some(crash::not_started(case, status, message))
        }
        "CrashLoopBackOff" => crash::ended(case, status, role),
        reason if pull::is_about(reason) => Some(pull::judge(case, status, reason, message)),
        reason => {
            let why =
                format!("{} waits: {reason}: {}", told_container(case.pod, &status.name), told(message));
            Some(case.cause(Code::StartRefused, why, name).retryable())
        }
    };
    cause.or_else(|| crash::ended(case, status, role)).or_else(|| crash::probed(case, status))
}

/// Something outside that has to agree before the pod is ready: the load balancer's target group.
fn gate(case: &Case<'_>) -> Option<Cause> {
    let are_ready = case.pod.condition("ContainersReady").is_some_and(|condition| condition.is_true());
    if !are_ready {
        return None;
    }
    let closed = case.pod.spec.readiness_gates.iter().find(|gate| {
        !case.pod.condition(&gate.condition_type).is_some_and(|condition| condition.is_true())
    })?;
    let said = case
        .pod
        .condition(&closed.condition_type)
        .map_or_else(String::new, |condition| format!(": {} {}", condition.reason, told(&condition.message)));
    let why =
        format!("pod {} waits for {}{}", case.pod.metadata.name, closed.condition_type, said.trim_end());
    Some(case.cause(Code::GateClosed, why, None))
}

fn told_container(pod: &Pod, container: &str) -> String {
    let kind = if pod.spec.init_containers.iter().any(|init| init.name == container) {
        "init container"
    } else {
        "container"
    };
    format!("{kind} {container} of pod {}", pod.metadata.name)
}

/// One line of bounded length, masked before it is cut: half a secret has no name any more. Runtimes say why at the end, so the
/// middle goes.
fn told(message: &str) -> String {
    let message = masked(message);
    let line = message.split_whitespace().collect::<Vec<_>>().join(" ");
    let length = line.chars().count();
    if length <= TOLD_MAX {
        return line;
    }
    let head: String = line.chars().take(TOLD_MAX / 3).collect();
    let tail: String = line.chars().skip(length - TOLD_MAX * 2 / 3).collect();
    format!("{head} … {tail}")
}
