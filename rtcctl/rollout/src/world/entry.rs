//! One object as it is kept, and what is remembered of those that are gone.

use std::collections::{BTreeSet, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};

use kernel::Timestamp;

use super::Heard;
use crate::objects::{ContainerStatus, Object, Uid};

/// Versions of one object that are remembered, so that a repetition is known as one.
const SEEN: usize = 16;
/// Objects that are remembered as gone.
const BURIED: usize = 8192;

#[derive(Debug, Clone)]
pub struct Entry {
    pub object: Object,
    /// When it last got on: not every change is progress.
    pub moved_at: Timestamp,
    standing: u64,
    seen: VecDeque<u64>,
}

impl Entry {
    pub fn new(object: Object, now: Timestamp) -> Self {
        let seen = VecDeque::from([hashed(&object.meta().resource_version)]);
        Self { standing: standing(&object), object, moved_at: now, seen }
    }

    pub fn update(&mut self, object: Object, now: Timestamp) -> Heard {
        let version = hashed(&object.meta().resource_version);
        if self.seen.contains(&version) || self.is_older(&object) {
            return Heard::Repeated;
        }
        self.seen.push_back(version);
        if self.seen.len() > SEEN {
            self.seen.pop_front();
        }
        let standing = standing(&object);
        if standing != self.standing {
            self.standing = standing;
            self.moved_at = now;
        }
        self.object = object;
        Heard::Changed
    }

    /// Generations only grow, those that were asked for and those that a controller has seen.
    fn is_older(&self, object: &Object) -> bool {
        object.meta().generation < self.object.meta().generation
            || object.observed_generation() < self.object.observed_generation()
    }
}

fn hashed(value: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

/// The same as long as nothing got on. A container that goes round between running and failing does not get on.
fn standing(object: &Object) -> u64 {
    match object {
        Object::Deployment(deployment) => {
            let status = &deployment.status;
            hashed(&(
                deployment.metadata.generation,
                status.observed_generation,
                [status.replicas, status.updated_replicas, status.ready_replicas, status.available_replicas],
            ))
        }
        Object::ReplicaSet(set) => hashed(&(
            set.spec.replicas,
            [set.status.replicas, set.status.ready_replicas, set.status.available_replicas],
        )),
        Object::StatefulSet(set) => {
            let status = &set.status;
            hashed(&(
                (set.metadata.generation, status.observed_generation),
                [status.replicas, status.updated_replicas, status.ready_replicas, status.available_replicas],
                (&status.current_revision, &status.update_revision),
            ))
        }
        Object::DaemonSet(set) => {
            let status = &set.status;
            hashed(&(
                (set.metadata.generation, status.observed_generation),
                [status.desired_number_scheduled, status.updated_number_scheduled],
                [status.number_ready, status.number_available],
            ))
        }
        Object::Job(job) => {
            let status = &job.status;
            hashed(&([status.active, status.ready, status.succeeded, status.failed], status.conditions.len()))
        }
        Object::Pod(pod) => {
            let containers: Vec<_> =
                pod.status.init_containers.iter().chain(&pod.status.containers).map(container).collect();
            let is_scheduled = pod.condition("PodScheduled").is_some_and(|condition| condition.is_true());
            hashed(&(
                &pod.status.phase,
                &pod.spec.node,
                is_scheduled,
                pod.is_ready(),
                pod.metadata.is_deleting(),
                containers,
            ))
        }
        Object::Scaler(_) | Object::Budget(_) | Object::Node(_) | Object::Event(_) => 0,
    }
}

fn container(status: &ContainerStatus) -> (&str, bool, Option<bool>, &str) {
    let stage = match &status.state {
        _ if status.restarts > 0 => "restarted",
        state if state.running.is_some() => "running",
        state if state.terminated.is_some() => "terminated",
        _ => match status.waiting_for() {
            "ErrImagePull" | "ImagePullBackOff" => "pulling in vain",
            reason => reason,
        },
    };
    let started = if status.restarts > 0 { None } else { status.started };
    (&status.name, status.ready, started, stage)
}

/// The uids of what is gone, the last of them.
#[derive(Debug, Clone, Default)]
pub struct Buried {
    order: VecDeque<u64>,
    all: BTreeSet<u64>,
}

impl Buried {
    pub fn add(&mut self, uid: &Uid) {
        let uid = hashed(uid);
        if !self.all.insert(uid) {
            return;
        }
        self.order.push_back(uid);
        if self.order.len() > BURIED
            && let Some(oldest) = self.order.pop_front()
        {
            self.all.remove(&oldest);
        }
    }

    pub fn holds(&self, uid: &Uid) -> bool {
        self.all.contains(&hashed(uid))
    }
}
