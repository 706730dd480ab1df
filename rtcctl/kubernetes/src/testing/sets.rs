//! What makes pods: ReplicaSets, StatefulSets, DaemonSets, Jobs.

use std::sync::Arc;
use std::time::Duration;

use kernel::Timestamp;
use serde_json::{Value as Json, json};

use super::controllers::{Update, condition, delete, hash, is_leaving, number, owner, text};
use super::pods::{is_ended, is_ready};
use super::store::{Keep, Store, generation, is_owned_by};

fn pods_of(store: &Store, set: &Json) -> Vec<Arc<Json>> {
    let uid = text(set, "uid");
    store.all("Pod").into_iter().filter(|pod| is_owned_by(pod, uid)).collect()
}

/// Makes a pod of a template; what refuses it is told as an event and given.
fn create(store: &mut Store, set: &Json, name: Option<String>, hash: Option<(&str, &str)>) -> Option<String> {
    let resource = store.of_kind("Pod")?;
    let template = &set["spec"]["template"];
    let mut metadata = json!({
        "labels": template["metadata"]["labels"], "annotations": template["metadata"]["annotations"],
        "ownerReferences": owner(set),
    });
    if let Some((label, hash)) = hash {
        metadata["labels"][label] = hash.into();
    }
    match name {
        Some(name) => metadata["name"] = name.into(),
        None => metadata["generateName"] = format!("{}-", text(set, "name")).into(),
    }
    let pod = json!({ "metadata": metadata, "spec": template["spec"] });
    let namespace = text(set, "namespace");
    match store.create(&resource, namespace, pod, "kube-controller-manager", Keep::Yes) {
        Ok(_) => None,
        Err(refusal) => {
            let message = format!("Error creating: {}", refusal.message);
            let kind = set["kind"].as_str().unwrap_or_default();
            let reporter = format!("{}-controller", kind.to_lowercase());
            store.event(set, "Warning", "FailedCreate", &message, &reporter, "");
            Some(refusal.message)
        }
    }
}

/// Ready for as long as it has to be before it counts.
fn is_available(pod: &Json, set: &Json, now: Timestamp) -> bool {
    let least = Duration::from_secs(number(&set["spec"]["minReadySeconds"], 0));
    let ready =
        pod["status"]["conditions"].as_array().and_then(|all| all.iter().find(|one| one["type"] == "Ready"));
    let since = ready.and_then(|ready| ready["lastTransitionTime"].as_str()?.parse::<Timestamp>().ok());
    is_ready(pod) && since.is_some_and(|since| now.since(since) >= least)
}

pub fn replica_sets(store: &mut Store) {
    for set in store.all("ReplicaSet") {
        if is_leaving(&set) {
            continue;
        }
        let mut active: Vec<Arc<Json>> =
            pods_of(store, &set).into_iter().filter(|pod| !is_leaving(pod) && !is_ended(pod)).collect();
        let wanted = number(&set["spec"]["replicas"], 1) as usize;
        let mut refused = None;
        if active.len() < wanted {
            for _ in active.len()..wanted {
                refused = create(store, &set, None, None);
                if refused.is_some() {
                    break;
                }
            }
        } else {
            // Those that run least go first, the youngest of them.
            active.sort_by_key(|pod| (is_ready(pod), std::cmp::Reverse(text(pod, "uid").to_owned())));
            active.truncate(active.len() - wanted);
            active.iter().for_each(|pod| delete(store, pod));
        }
        let own: Vec<Arc<Json>> =
            pods_of(store, &set).into_iter().filter(|pod| !is_leaving(pod) && !is_ended(pod)).collect();
        let ready = own.iter().filter(|pod| is_ready(pod)).count();
        let now = store.now;
        let available = own.iter().filter(|pod| is_available(pod, &set, now)).count();
        let (time, generation) = (store.time(), generation(&set));
        store.change("ReplicaSet", text(&set, "namespace"), text(&set, "name"), |set| {
            let status = &mut set["status"];
            status["replicas"] = own.len().into();
            status["fullyLabeledReplicas"] = own.len().into();
            status["readyReplicas"] = ready.into();
            status["availableReplicas"] = available.into();
            status["observedGeneration"] = generation.into();
            match &refused {
                Some(message) => {
                    let reason = "FailedCreate";
                    condition(status, "ReplicaFailure", "True", reason, message, &time, Update::OnChange);
                }
                None => {
                    if let Some(status) = status.as_object_mut() {
                        status.shift_remove("conditions");
                    }
                }
            }
        });
    }
}

const REVISION: &str = "controller-revision-hash";

fn label<'a>(pod: &'a Json, name: &str) -> &'a str {
    pod["metadata"]["labels"][name].as_str().unwrap_or_default()
}

/// One pod after the other, from the highest number down; a broken one holds the others up.
pub fn stateful_sets(store: &mut Store) {
    for set in store.all("StatefulSet") {
        if is_leaving(&set) {
            continue;
        }
        let name = text(&set, "name").to_owned();
        let revision = format!("{name}-{}", hash(&set["spec"]["template"]));
        let wanted = number(&set["spec"]["replicas"], 1) as usize;
        let pods = pods_of(store, &set);
        let find = |at: usize| pods.iter().find(|pod| text(pod, "name") == format!("{name}-{at}"));
        let missing = (0..wanted).find(|at| find(*at).is_none());
        let all_ready = pods.iter().all(|pod| is_ready(pod) && !is_leaving(pod));
        let is_parallel = set["spec"]["podManagementPolicy"] == "Parallel";
        let surplus =
            pods.iter().rfind(|pod| (0..wanted).all(|at| text(pod, "name") != format!("{name}-{at}")));
        if let Some(at) = missing.filter(|_| all_ready || is_parallel) {
            create(store, &set, Some(format!("{name}-{at}")), Some((REVISION, &revision)));
        } else if let Some(pod) = surplus.filter(|pod| !is_leaving(pod)) {
            delete(store, pod);
        } else if all_ready && set["spec"]["updateStrategy"]["type"] != "OnDelete" {
            let partition = number(&set["spec"]["updateStrategy"]["rollingUpdate"]["partition"], 0) as usize;
            let old = (partition..wanted).rev().filter_map(find).find(|pod| label(pod, REVISION) != revision);
            if let Some(pod) = old {
                delete(store, pod);
            }
        }
        let own = pods_of(store, &set);
        let now = store.now;
        let count = |of: &dyn Fn(&Json) -> bool| own.iter().filter(|pod| of(pod)).count();
        let updated = count(&|pod| label(pod, REVISION) == revision);
        let ready = count(&|pod| is_ready(pod));
        let available = count(&|pod| is_available(pod, &set, now));
        let generation = generation(&set);
        store.change("StatefulSet", text(&set, "namespace"), &name, |set| {
            let status = &mut set["status"];
            let before = status["currentRevision"].as_str().unwrap_or(&revision).to_owned();
            let current = if updated >= wanted { revision.clone() } else { before };
            status["replicas"] = own.len().into();
            status["readyReplicas"] = ready.into();
            status["availableReplicas"] = available.into();
            status["updatedReplicas"] = updated.into();
            status["currentReplicas"] = (own.len() - updated).into();
            status["currentRevision"] = current.into();
            status["updateRevision"] = revision.as_str().into();
            status["observedGeneration"] = generation.into();
        });
    }
}

/// A pod on every node; one at a time is replaced.
pub fn daemon_sets(store: &mut Store) {
    for set in store.all("DaemonSet") {
        if is_leaving(&set) {
            continue;
        }
        let revision = hash(&set["spec"]["template"]);
        let nodes: Vec<String> = store.all("Node").iter().map(|node| text(node, "name").to_owned()).collect();
        let pods = pods_of(store, &set);
        let on = |node: &str| {
            pods.iter().find(|pod| pod["spec"]["nodeName"] == node || label(pod, "node") == node)
        };
        for node in nodes.iter().filter(|node| on(node).is_none()) {
            let mut placed = (*set).clone();
            placed["spec"]["template"]["spec"]["nodeName"] = node.as_str().into();
            create(store, &placed, None, Some((REVISION, &revision)));
        }
        let old = pods.iter().find(|pod| label(pod, REVISION) != revision && !is_leaving(pod));
        let all_ready = pods.iter().all(|pod| is_ready(pod) && !is_leaving(pod));
        if let Some(pod) = old.filter(|_| all_ready) {
            delete(store, pod);
        }
        let own = pods_of(store, &set);
        let now = store.now;
        let updated = own.iter().filter(|pod| label(pod, REVISION) == revision).count();
        let ready = own.iter().filter(|pod| is_ready(pod)).count();
        let available = own.iter().filter(|pod| is_available(pod, &set, now)).count();
        let generation = generation(&set);
        store.change("DaemonSet", text(&set, "namespace"), text(&set, "name"), |set| {
            set["status"] = json!({
                "desiredNumberScheduled": nodes.len(), "currentNumberScheduled": own.len(),
                "updatedNumberScheduled": updated, "numberReady": ready, "numberAvailable": available,
                "numberMisscheduled": 0, "observedGeneration": generation,
            });
        });
    }
}

/// Pods until as many have ended well as are wanted, or too many have not.
pub fn jobs(store: &mut Store) {
    for job in store.all("Job") {
        let is_over = job["status"]["conditions"].as_array().is_some_and(|all| !all.is_empty());
        if is_leaving(&job) || is_over {
            continue;
        }
        let pods = pods_of(store, &job);
        let ended = |phase: &str| pods.iter().filter(|pod| pod["status"]["phase"] == phase).count() as u64;
        let (succeeded, failed) = (ended("Succeeded"), ended("Failed"));
        let active = pods.iter().filter(|pod| !is_ended(pod) && !is_leaving(pod)).count() as u64;
        let wanted = number(&job["spec"]["completions"], 1);
        let limit = number(&job["spec"]["backoffLimit"], 6);
        let (time, now) = (store.time(), store.now);
        let started = job["status"]["startTime"].as_str().and_then(|text| text.parse::<Timestamp>().ok());
        let deadline = job["spec"]["activeDeadlineSeconds"].as_u64().map(Duration::from_secs);
        let is_late =
            deadline.is_some_and(|deadline| started.is_some_and(|started| now.since(started) >= deadline));
        let end = if succeeded >= wanted {
            Some(("Complete", "CompletionsReached", "Reached expected number of succeeded pods"))
        } else if failed > limit {
            Some(("Failed", "BackoffLimitExceeded", "Job has reached the specified backoff limit"))
        } else if is_late {
            Some(("Failed", "DeadlineExceeded", "Job was active longer than specified deadline"))
        } else {
            None
        };
        if end.is_none() && active == 0 {
            create(store, &job, None, Some(("job-name", text(&job, "name"))));
        }
        store.change("Job", text(&job, "namespace"), text(&job, "name"), |job| {
            let status = &mut job["status"];
            if status["startTime"].is_null() {
                status["startTime"] = time.as_str().into();
            }
            status["succeeded"] = succeeded.into();
            status["failed"] = failed.into();
            status["active"] = if end.is_some() { 0 } else { active.max(1) }.into();
            if let Some((kind, reason, message)) = end {
                condition(status, kind, "True", reason, message, &time, Update::OnChange);
                if kind == "Complete" {
                    status["completionTime"] = time.as_str().into();
                }
            }
        });
    }
}
