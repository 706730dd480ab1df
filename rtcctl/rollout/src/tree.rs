//! The workloads as rows for a screen: Deployment, ReplicaSet, pod, container, each with its state and reason.
//!
//! Invariants: what fails comes first among its siblings, then what waits, what comes up, what is well, what leaves; by
//! name within; the same world gives the same rows. A row says in words what its mark says.

use std::collections::BTreeMap;
use std::time::Duration;

use kernel::Timestamp;
use serde::Serialize;

use crate::failure::{self, Allowance, Finality};
use crate::objects::{
    Container, ContainerStatus, DaemonSet, Deployment, Job, Kind, Object, Pod, StatefulSet, Uid,
};
use crate::verdict::current_set;
use crate::world::{Target, World};

/// How a row is, the worst first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Mark {
    Failing,
    Waiting,
    ComingUp,
    Well,
    Leaving,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Row {
    pub depth: u8,
    /// `Deployment` … `Pod`, or `container`.
    pub kind: &'static str,
    pub name: String,
    pub mark: Mark,
    /// One word or two, as `kubectl get pods` says it, or counts.
    pub state: String,
    /// Why, with its code; empty where there is nothing to say.
    pub reason: String,
    pub ready: Option<(u32, u32)>,
    pub restarts: u32,
    pub age: Option<Duration>,
}

/// The workloads in the order of their names, failing ones first, each with all below it.
pub fn rows(world: &World, allowance: &Allowance, now: Timestamp) -> Vec<Row> {
    let pods = world.pods_by_owner();
    let context = Context { world, allowance, now, pods };
    let mut trees: Vec<Tree> = world.targets().iter().filter_map(|target| context.workload(target)).collect();
    trees.sort_by(order);
    let mut rows = Vec::new();
    for tree in trees {
        flatten(tree, 0, &mut rows);
    }
    rows
}

struct Tree {
    row: Row,
    below: Vec<Tree>,
}

fn order(one: &Tree, other: &Tree) -> std::cmp::Ordering {
    (one.row.mark, &one.row.name).cmp(&(other.row.mark, &other.row.name))
}

fn flatten(tree: Tree, depth: u8, rows: &mut Vec<Row>) {
    rows.push(Row { depth, ..tree.row });
    for below in tree.below {
        flatten(below, depth.saturating_add(1), rows);
    }
}

struct Context<'a> {
    world: &'a World,
    allowance: &'a Allowance,
    now: Timestamp,
    pods: BTreeMap<&'a Uid, Vec<&'a Pod>>,
}

/// The worst of what is below, of which what leaves says nothing.
fn worst(below: &[Tree]) -> Option<Mark> {
    below.iter().map(|tree| tree.row.mark).filter(|mark| *mark != Mark::Leaving).min()
}

impl Context<'_> {
    fn workload(&self, target: &Target) -> Option<Tree> {
        let object = self.world.workload(target)?;
        match object {
            Object::Deployment(deployment) => Some(self.deployment(object, deployment)),
            Object::StatefulSet(set) => Some(self.stateful_set(object, set)),
            Object::DaemonSet(set) => Some(self.daemon_set(object, set)),
            Object::Job(job) => Some(self.job(object, job)),
            _ => None,
        }
    }

    fn age(&self, at: Option<Timestamp>) -> Option<Duration> {
        at.map(|at| self.now.since(at))
    }

    fn row(
        &self,
        object: &Object,
        state: String,
        ready: (u32, u32),
        below: Vec<Tree>,
        if_empty: Mark,
    ) -> Tree {
        let refusal = failure::of_owner(self.world, object);
        let mark = match &refusal {
            Some(cause) if cause.finality == Finality::Final => Mark::Failing,
            Some(_) => Mark::Waiting.min(worst(&below).unwrap_or(Mark::Waiting)),
            None if object.meta().is_deleting() => Mark::Leaving,
            None => worst(&below).unwrap_or(if_empty).min(if_empty),
        };
        let row = Row {
            depth: 0,
            kind: object.kind().name(),
            name: object.meta().name.clone(),
            mark,
            state,
            reason: refusal.map_or_else(String::new, |cause| format!("{} {}", cause.code, cause.why)),
            ready: Some(ready),
            restarts: below.iter().map(|tree| tree.row.restarts).sum(),
            age: self.age(object.meta().created_at),
        };
        Tree { row, below }
    }

    fn children(&self, owner: &Uid) -> Vec<Tree> {
        let pods = self.pods.get(owner).map_or(&[][..], Vec::as_slice);
        let mut trees: Vec<Tree> = pods.iter().map(|pod| self.pod(pod)).collect();
        trees.sort_by(order);
        trees
    }

    fn deployment(&self, object: &Object, deployment: &Deployment) -> Tree {
        let status = &deployment.status;
        let desired = deployment.spec.replicas.unwrap_or(1);
        let sets = self.world.replica_sets_of(&deployment.metadata.uid);
        let current = current_set(deployment, &sets).map(|set| set.metadata.uid.clone());
        let (mut new, mut old) = (Vec::new(), Vec::new());
        for set in sets {
            let is_current = current.as_ref() == Some(&set.metadata.uid);
            let below = self.children(&set.metadata.uid);
            let wanted = set.spec.replicas.unwrap_or(1);
            if !is_current && wanted == 0 && below.is_empty() {
                continue;
            }
            let Some(object) = self.world.object(&set.metadata.uid) else { continue };
            let role = if is_current { "new" } else { "old" };
            let state = format!(
                "{role}{}",
                set.metadata.revision().map_or_else(String::new, |number| format!(", revision {number}"))
            );
            let if_empty = if set.status.ready_replicas >= wanted { Mark::Well } else { Mark::ComingUp };
            let mut tree = self.row(object, state, (set.status.ready_replicas, wanted), below, if_empty);
            if is_current {
                new.push(tree);
            } else {
                if wanted == 0 {
                    tree.row.mark = Mark::Leaving;
                }
                old.push(tree);
            }
        }
        old.sort_by(order);
        new.extend(old);
        let has_seen = status.observed_generation >= deployment.metadata.generation;
        let is_whole = has_seen && status.updated_replicas >= desired && status.available_replicas >= desired;
        let state = if deployment.spec.paused {
            "paused".to_owned()
        } else if !has_seen {
            "not seen yet".to_owned()
        } else {
            format!("{} updated, {} available", status.updated_replicas, status.available_replicas)
        };
        let if_empty = if is_whole { Mark::Well } else { Mark::ComingUp };
        self.row(object, state, (status.ready_replicas, desired), new, if_empty)
    }

    fn stateful_set(&self, object: &Object, set: &StatefulSet) -> Tree {
        let desired = set.spec.replicas.unwrap_or(1);
        let below = self.children(&set.metadata.uid);
        let is_whole = set.status.updated_replicas >= desired && set.status.available_replicas >= desired;
        let state =
            format!("{} updated, {} available", set.status.updated_replicas, set.status.available_replicas);
        let if_empty = if is_whole { Mark::Well } else { Mark::ComingUp };
        self.row(object, state, (set.status.ready_replicas, desired), below, if_empty)
    }

    fn daemon_set(&self, object: &Object, set: &DaemonSet) -> Tree {
        let status = &set.status;
        let desired = status.desired_number_scheduled;
        let below = self.children(&set.metadata.uid);
        let is_whole = status.updated_number_scheduled >= desired && status.number_available >= desired;
        let state =
            format!("{} updated, {} available", status.updated_number_scheduled, status.number_available);
        let if_empty = if is_whole { Mark::Well } else { Mark::ComingUp };
        self.row(object, state, (status.number_ready, desired), below, if_empty)
    }

    fn job(&self, object: &Object, job: &Job) -> Tree {
        let wanted = job.spec.completions.unwrap_or(1);
        let below = self.children(&job.metadata.uid);
        let is_true =
            |kind: &str| job.status.conditions.iter().any(|known| known.kind == kind && known.is_true());
        let (state, mark) = if is_true("Complete") {
            ("complete", Mark::Well)
        } else if is_true("Failed") {
            ("failed", Mark::Failing)
        } else {
            ("running", Mark::ComingUp)
        };
        let mut tree = self.row(object, state.to_owned(), (job.status.succeeded, wanted), below, mark);
        // An attempt that failed before is no matter once another has succeeded.
        if mark == Mark::Well {
            tree.row.mark = Mark::Well;
        }
        tree
    }

    fn pod(&self, pod: &Pod) -> Tree {
        let causes = failure::of_pod(self.world, pod, self.allowance, self.now);
        let first = causes.first();
        let mark = match first {
            _ if pod.metadata.is_deleting() => Mark::Leaving,
            Some(cause) if cause.finality == Finality::Final || is_trouble(pod) => Mark::Failing,
            Some(_) => Mark::Waiting,
            None if pod.status.phase == "Succeeded" || pod.is_ready() => Mark::Well,
            None if pod.status.phase == "Failed" => Mark::Failing,
            None => Mark::ComingUp,
        };
        let status = &pod.status;
        let counted: Vec<&ContainerStatus> = status
            .containers
            .iter()
            .chain(status.init_containers.iter().filter(|status| pod.is_sidecar(&status.name)))
            .collect();
        let ready = counted.iter().filter(|status| status.ready).count();
        let wanted = pod.spec.containers.len()
            + pod.spec.init_containers.iter().filter(|one| one.is_sidecar()).count();
        let row = Row {
            depth: 0,
            kind: Kind::Pod.name(),
            name: pod.metadata.name.clone(),
            mark,
            state: state_of(pod),
            reason: first.map_or_else(String::new, |cause| format!("{} {}", cause.code, cause.why)),
            ready: Some((ready.try_into().unwrap_or(u32::MAX), wanted.try_into().unwrap_or(u32::MAX))),
            restarts: counted.iter().map(|status| status.restarts).sum(),
            age: self.age(pod.metadata.created_at),
        };
        let accused = |name: &str| {
            causes
                .iter()
                .any(|cause| cause.about.iter().any(|about| about.container.as_deref() == Some(name)))
        };
        let mut below: Vec<Tree> = status
            .init_containers
            .iter()
            .filter(|status| !is_finished(status))
            .chain(&status.containers)
            .map(|status| self.container(status, accused(&status.name), mark))
            .collect();
        below.sort_by(order);
        Tree { row, below }
    }

    fn container(&self, status: &ContainerStatus, is_accused: bool, of_pod: Mark) -> Tree {
        let (state, since, message) = if let Some(running) = &status.state.running {
            let state = if status.ready { "running" } else { "running, not ready" };
            (state.to_owned(), running.started_at, "")
        } else if let Some(end) = &status.state.terminated {
            (ended(end.exit_code, &end.reason), end.finished_at, end.message.as_str())
        } else {
            let waiting = status.state.waiting.as_ref();
            let reason = waiting.map_or("waiting", |waiting| waiting.reason.as_str());
            (reason.to_owned(), None, waiting.map_or("", |waiting| waiting.message.as_str()))
        };
        let mark = match of_pod {
            Mark::Leaving => Mark::Leaving,
            _ if is_accused => of_pod,
            _ if status.ready => Mark::Well,
            _ => Mark::ComingUp,
        };
        let reason = match (is_accused, &status.last.terminated) {
            (true, Some(end)) if message.is_empty() => {
                format!("before: {}", ended(end.exit_code, &end.reason))
            }
            (true, _) => message.lines().next().unwrap_or_default().to_owned(),
            (false, _) => String::new(),
        };
        let row = Row {
            depth: 0,
            kind: "container",
            name: status.name.clone(),
            mark,
            state,
            reason,
            ready: None,
            restarts: status.restarts,
            age: self.age(since.filter(|at| *at > Timestamp::EPOCH)),
        };
        Tree { row, below: Vec::new() }
    }
}

/// A failure that shows, even if it may still pass: the screen does not wait for the allowance.
fn is_trouble(pod: &Pod) -> bool {
    pod.status.phase == "Failed"
        || pod.status.init_containers.iter().chain(&pod.status.containers).any(|status| {
            matches!(status.waiting_for(), "CrashLoopBackOff" | "ImagePullBackOff" | "ErrImagePull")
        })
}

fn is_finished(status: &ContainerStatus) -> bool {
    status.state.terminated.as_ref().is_some_and(|end| end.exit_code == 0)
}

fn ended(exit_code: i32, reason: &str) -> String {
    match reason {
        "" | "Error" => format!("exit code {exit_code}"),
        "Completed" => "completed".to_owned(),
        reason => format!("{reason}, exit code {exit_code}"),
    }
}

/// In a word, by the rules that operators know from `kubectl get pods`: what holds an init container up comes before
/// what holds the others up; init containers that go on running count as done once they are started.
pub fn state_of(pod: &Pod) -> String {
    let status = &pod.status;
    if pod.metadata.is_deleting() {
        return if status.reason == "NodeLost" { "Unknown" } else { "Terminating" }.to_owned();
    }
    let mut state = if status.reason.is_empty() { status.phase.as_str() } else { &status.reason }.to_owned();
    if pod.condition("PodScheduled").is_some_and(|condition| condition.reason == "SchedulingGated") {
        state = "SchedulingGated".to_owned();
    }
    let total = pod.spec.init_containers.len();
    for (index, init) in status.init_containers.iter().enumerate() {
        let is_sidecar =
            pod.spec.init_containers.iter().any(|one: &Container| one.name == init.name && one.is_sidecar());
        if is_finished(init) || (is_sidecar && init.started == Some(true)) {
            continue;
        }
        if let Some(end) = &init.state.terminated {
            return match (end.reason.as_str(), end.signal) {
                ("", 0) => format!("Init:ExitCode:{}", end.exit_code),
                ("", signal) => format!("Init:Signal:{signal}"),
                (reason, _) => format!("Init:{reason}"),
            };
        }
        return match init.waiting_for() {
            "" | "PodInitializing" => format!("Init:{index}/{total}"),
            reason => format!("Init:{reason}"),
        };
    }
    let mut runs = false;
    for container in status.containers.iter().rev() {
        if !container.waiting_for().is_empty() {
            state = container.waiting_for().to_owned();
        } else if let Some(end) = &container.state.terminated {
            state = match (end.reason.as_str(), end.signal) {
                ("", 0) => format!("ExitCode:{}", end.exit_code),
                ("", signal) => format!("Signal:{signal}"),
                (reason, _) => reason.to_owned(),
            };
        } else if container.ready && container.state.running.is_some() {
            runs = true;
        }
    }
    // One has ended well while another goes on.
    if state == "Completed" && runs {
        return if pod.is_ready() { "Running" } else { "NotReady" }.to_owned();
    }
    state
}
