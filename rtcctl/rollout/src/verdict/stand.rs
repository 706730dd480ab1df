//! Where a workload stands, by the rules of its kind.
//!
//! Invariant: the first open rule is told; without one the workload is done as far as its own counts go.

use super::{Applied, written_at};
use crate::code::Code;
use crate::failure::{Cause, Finality, Reference};
use crate::objects::{
    Condition, DaemonSet, Deployment, Job, Object, Pod, ReplicaSet, StatefulSet, Status, Strategy, Template,
};
use crate::world::World;

/// What the counts say.
#[derive(Default)]
pub struct Stand<'a> {
    pub desired: u32,
    pub updated: u32,
    pub ready: u32,
    pub available: u32,
    pub old_left: u32,
    pub min_ready_seconds: u32,
    /// The first rule that is not kept.
    pub open: Option<String>,
    /// What the workload itself says about its end.
    pub ending: Option<Cause>,
    /// Pods of the new template.
    pub pods: Vec<&'a Pod>,
    pub old_pods: Vec<&'a Pod>,
    /// Who makes them.
    pub owners: Vec<&'a Object>,
}

pub fn of<'a>(applied: &Applied, object: &'a Object, world: &'a World) -> Stand<'a> {
    let mut stand = match object {
        Object::Deployment(deployment) => of_deployment(applied, object, deployment, world),
        Object::StatefulSet(set) => of_stateful_set(object, set, world),
        Object::DaemonSet(set) => of_daemon_set(object, set, world),
        Object::Job(job) => of_job(object, job, world),
        _ => Stand { open: Some("nothing that is rolled out".to_owned()), ..Stand::default() },
    };
    let meta = object.meta();
    let is_before = meta.generation < applied.generation;
    let is_unseen = object.observed_generation().is_some_and(|observed| observed < meta.generation);
    if is_before || is_unseen {
        // The counts are about the wish before this one.
        stand.updated = 0;
        stand.ending = None;
        stand.open = Some(if is_before {
            "the API shows the state before the change".to_owned()
        } else {
            "the controller has not seen the change yet".to_owned()
        });
        // So are the pods, except where they are told by the template itself.
        if is_before || !matches!(object, Object::Deployment(_)) {
            let pods = std::mem::take(&mut stand.pods);
            stand.old_pods.extend(pods);
            stand.old_left = count(&stand.old_pods);
            stand.owners.clear();
        }
    }
    stand
}

/// The form of its pods.
pub fn template(object: &Object) -> Option<&Template> {
    match object {
        Object::Deployment(deployment) => Some(&deployment.spec.template),
        Object::StatefulSet(set) => Some(&set.spec.template),
        Object::DaemonSet(set) => Some(&set.spec.template),
        Object::Job(job) => Some(&job.spec.template),
        _ => None,
    }
}

/// The condition by which a Deployment's controller gave up.
pub fn deadline_exceeded(conditions: &[Condition]) -> Option<&Condition> {
    Condition::find(conditions, "Progressing").filter(|progressing| {
        progressing.status == Status::False && progressing.reason == "ProgressDeadlineExceeded"
    })
}

fn cause(code: Code, finality: Finality, why: String, about: &Object) -> Option<Cause> {
    Some(Cause { code, finality, why, about: vec![Reference::to(about)] })
}

fn count(pods: &[&Pod]) -> u32 {
    u32::try_from(pods.len()).unwrap_or(u32::MAX)
}

fn of_deployment<'a>(
    applied: &Applied,
    object: &'a Object,
    deployment: &'a Deployment,
    world: &'a World,
) -> Stand<'a> {
    let status = &deployment.status;
    let desired = deployment.spec.replicas.unwrap_or(1);
    let sets = world.replica_sets_of(&deployment.metadata.uid);
    let current = current_set(deployment, &sets);
    let (mut pods, mut old_pods) = (Vec::new(), Vec::new());
    for set in &sets {
        let of_set = world.pods_of(&set.metadata.uid);
        if current.is_some_and(|current| current.metadata.uid == set.metadata.uid) {
            pods = of_set;
        } else {
            old_pods.extend(of_set.into_iter().filter(|pod| !pod.is_over()));
        }
    }
    let gave_up = deadline_exceeded(&status.conditions)
        .filter(|known| Some(written_at(known)) != applied.old_deadline_at);
    let open = if gave_up.is_some() {
        Some("its own deadline has passed".to_owned())
    } else if status.updated_replicas < desired {
        Some(format!("{} of {desired} replicas are updated", status.updated_replicas))
    } else if status.replicas > status.updated_replicas {
        Some(format!("{} old replicas are still there", status.replicas - status.updated_replicas))
    } else if status.available_replicas < status.updated_replicas {
        Some(format!(
            "{} of {} updated replicas are available",
            status.available_replicas, status.updated_replicas
        ))
    } else {
        None
    };
    let ending = match gave_up {
        Some(condition) => cause(Code::DeadlineExceeded, Finality::Final, condition.message.clone(), object),
        None if deployment.spec.paused => {
            cause(Code::Paused, Finality::Retryable, format!("{} is paused", applied.target), object)
        }
        None => None,
    };
    Stand {
        desired,
        updated: status.updated_replicas,
        ready: status.ready_replicas,
        available: status.available_replicas,
        old_left: count(&old_pods),
        min_ready_seconds: if status.ready_replicas > status.available_replicas {
            deployment.spec.min_ready_seconds
        } else {
            0
        },
        open,
        ending,
        pods,
        old_pods,
        owners: current.and_then(|set| world.object(&set.metadata.uid)).into_iter().collect(),
    }
}

/// The ReplicaSet of the present template: the same text, or, where defaults have changed since it was made, the same
/// number once the controller has given it.
pub fn current_set<'a>(deployment: &Deployment, sets: &[&'a ReplicaSet]) -> Option<&'a ReplicaSet> {
    let same = sets
        .iter()
        .filter(|set| set.spec.template.fingerprint == deployment.spec.template.fingerprint)
        .min_by_key(|set| (set.metadata.created_at, &set.metadata.name));
    let has_seen = deployment.status.observed_generation >= deployment.metadata.generation;
    let numbered = || {
        let revision = deployment.metadata.revision().filter(|_| has_seen)?;
        sets.iter().find(|set| set.metadata.revision() == Some(revision))
    };
    same.or_else(numbered).copied()
}

fn of_stateful_set<'a>(object: &'a Object, set: &'a StatefulSet, world: &'a World) -> Stand<'a> {
    let status = &set.status;
    let desired = set.spec.replicas.unwrap_or(1);
    let (pods, old_pods): (Vec<_>, Vec<_>) = world.pods_of(&set.metadata.uid).into_iter().partition(|pod| {
        pod.metadata.labels.get("controller-revision-hash") == Some(&status.update_revision)
    });
    let strategy = &set.spec.update_strategy;
    // Those below the partition keep the old template, and are not waited for.
    let to_update = desired.saturating_sub(strategy.partition());
    let is_on_delete = strategy.strategy() == Strategy::OnDelete;
    let open = if status.updated_replicas < to_update {
        Some(format!("{} of {to_update} replicas are updated", status.updated_replicas))
    } else if status.replicas > desired {
        Some(format!("{} replicas are too many", status.replicas - desired))
    } else if status.ready_replicas < desired {
        Some(format!("{} of {desired} replicas are ready", status.ready_replicas))
    } else if status.available_replicas < desired {
        Some(format!("{} of {desired} replicas are available", status.available_replicas))
    } else if strategy.partition() == 0 && !is_on_delete && status.update_revision != status.current_revision
    {
        Some("the controller has not made the new revision the current one yet".to_owned())
    } else {
        None
    };
    let ending = match (status.updated_replicas < to_update, is_on_delete) {
        (true, true) => stay(&old_pods, &set.metadata.name, object),
        (true, false) => stuck(&old_pods),
        (false, _) => None,
    };
    let new = count(&pods).min(status.updated_replicas);
    Stand {
        desired,
        updated: if strategy.partition() > 0 { new.min(to_update) } else { status.updated_replicas },
        ready: status.ready_replicas,
        available: status.available_replicas,
        old_left: count(&old_pods),
        min_ready_seconds: 0,
        open,
        ending,
        pods,
        old_pods,
        owners: vec![object],
    }
}

/// Old pods that somebody has to delete before the set goes on.
fn stay(old_pods: &[&Pod], name: &str, object: &Object) -> Option<Cause> {
    let why = format!("{} old pods of {name} stay", old_pods.len());
    cause(Code::OnDelete, Finality::Retryable, why, object)
}

/// An old pod that will not become ready, and that the set waits for before it goes on.
fn stuck(old_pods: &[&Pod]) -> Option<Cause> {
    let is_broken = |pod: &Pod| {
        pod.status.containers.iter().chain(&pod.status.init_containers).any(|status| {
            matches!(
                status.waiting_for(),
                "CrashLoopBackOff" | "ImagePullBackOff" | "ErrImagePull" | "CreateContainerConfigError"
            )
        })
    };
    let pod = old_pods.iter().find(|pod| pod.is_alive() && is_broken(pod))?;
    let why = format!("pod {} of an older revision is broken and holds the set up", pod.metadata.name);
    Some(Cause {
        code: Code::StuckPod,
        finality: Finality::Retryable,
        why,
        about: vec![Reference::to_pod(pod, None)],
    })
}

fn of_daemon_set<'a>(object: &'a Object, set: &'a DaemonSet, world: &'a World) -> Stand<'a> {
    let status = &set.status;
    let desired = status.desired_number_scheduled;
    let generation = set.template_generation();
    let (pods, old_pods): (Vec<_>, Vec<_>) =
        world.pods_of(&set.metadata.uid).into_iter().partition(|pod| match generation {
            Some(generation) => {
                pod.metadata.labels.get("pod-template-generation").is_some_and(|label| label == generation)
            }
            None => true,
        });
    let open = if status.updated_number_scheduled < desired {
        Some(format!("{} of {desired} pods are updated", status.updated_number_scheduled))
    } else if status.number_available < desired {
        Some(format!("{} of {desired} pods are available", status.number_available))
    } else {
        None
    };
    let is_on_delete = set.spec.update_strategy.strategy() == Strategy::OnDelete;
    let ending = match is_on_delete && status.updated_number_scheduled < desired {
        true => stay(&old_pods, &set.metadata.name, object),
        false => None,
    };
    Stand {
        desired,
        updated: status.updated_number_scheduled,
        ready: status.number_ready,
        available: status.number_available,
        old_left: count(&old_pods),
        min_ready_seconds: 0,
        open,
        ending,
        pods,
        old_pods,
        owners: vec![object],
    }
}

fn of_job<'a>(object: &'a Object, job: &'a Job, world: &'a World) -> Stand<'a> {
    let status = &job.status;
    let desired = job.spec.completions.unwrap_or(1);
    let pods = world.pods_of(&job.metadata.uid);
    let condition = |kind: &str| Condition::find(&status.conditions, kind).filter(|known| known.is_true());
    let ending = if let Some(failed) = condition("Failed").or_else(|| condition("FailureTarget")) {
        let why = format!("job {} failed: {} {}", job.metadata.name, failed.reason, failed.message);
        cause(Code::JobFailed, Finality::Final, why, object)
    } else if job.spec.suspend {
        cause(Code::Paused, Finality::Retryable, format!("job {} is suspended", job.metadata.name), object)
    } else {
        None
    };
    let open = match condition("Complete") {
        Some(_) if ending.is_none() => None,
        _ => Some(format!("{} of {desired} completions", status.succeeded)),
    };
    Stand {
        desired,
        // Pods that are over may have been removed; the job's own word is enough.
        updated: 0,
        ready: status.ready,
        available: status.succeeded,
        open,
        ending,
        pods,
        owners: vec![object],
        ..Stand::default()
    }
}
