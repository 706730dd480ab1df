//! What to save before a rollback destroys it, as requests, and what of it must not be saved.
//!
//! Invariants: failing pods come first, so that a limit cuts what matters least; every request has a file name of its
//! own; nothing is saved before [`masked`] has seen it.

mod mask;

use std::collections::BTreeSet;
use std::time::Duration;

use kernel::Timestamp;
use serde::{Deserialize, Serialize};

use crate::failure::{self, Allowance, Reference};
use crate::objects::{Kind, Object, Pod, Uid};
use crate::verdict::{Applied, Verdict, current_set};
use crate::world::{Target, World};

pub use mask::{MASK, masked};
/// Of a log, or of what somebody wrote.
pub use masking::masked as masked_text;

/// Pods of which logs and documents are saved.
const PODS_MAX: usize = 12;
/// Lines of a log.
const LOG_LINES: u32 = 500;
/// How much earlier than the rollout a metric is asked for.
const BEFORE: Duration = Duration::from_secs(900);

/// Which of a container's lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Life {
    Present,
    /// The one before the last restart.
    Previous,
}

/// Something to ask for and to save.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "request", rename_all = "snake_case")]
pub enum Request {
    /// The whole document of an object.
    Document {
        kind: Kind,
        namespace: String,
        name: String,
    },
    /// All events about an object.
    Events {
        about: Uid,
        namespace: String,
        name: String,
    },
    Log {
        namespace: String,
        pod: String,
        container: String,
        life: Life,
        lines: u32,
    },
    /// A range, from before the rollout until now.
    Metric {
        name: String,
        query: String,
        from: Timestamp,
        until: Timestamp,
    },
}

impl Request {
    /// Where it is saved, below the run's folder.
    pub fn file(&self) -> String {
        match self {
            Request::Document { kind, name, .. } => format!("{}-{name}.json", kind.name().to_lowercase()),
            Request::Events { name, .. } => format!("events-{name}.json"),
            Request::Log { pod, container, life, .. } => {
                let life = if *life == Life::Previous { "-previous" } else { "" };
                format!("log-{pod}-{container}{life}.txt")
            }
            Request::Metric { name, .. } => format!("metric-{name}.json"),
        }
    }
}

/// A metric that is part of the evidence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Metric {
    /// Unique, and fit for a file name.
    pub name: String,
    pub query: String,
}

/// Everything to collect about workloads and their verdicts.
pub fn wanted(
    world: &World,
    judged: &[(Applied, Verdict)],
    metrics: &[Metric],
    now: Timestamp,
) -> Vec<Request> {
    let mut requests = Requests::default();
    for (applied, verdict) in judged {
        let Some(object) = world.workload(&applied.target) else { continue };
        requests.document(&Reference::to(object));
        let (new, old) = pods(world, &applied.target);
        let mut ranked: Vec<(usize, &Pod)> = new
            .into_iter()
            .map(|pod| {
                let is_accused = verdict
                    .cause()
                    .is_some_and(|cause| cause.about.iter().any(|about| about.uid == pod.metadata.uid));
                let is_bad = !failure::of_pod(world, pod, &Allowance::default(), now).is_empty();
                (
                    if is_accused {
                        0
                    } else if is_bad {
                        1
                    } else {
                        2
                    },
                    pod,
                )
            })
            .collect();
        ranked.sort_by_key(|(rank, pod)| (*rank, &pod.metadata.name));
        // One that is well, to compare with, is enough.
        let failing = ranked.iter().filter(|(rank, _)| *rank < 2).take(PODS_MAX);
        let well = ranked.iter().filter(|(rank, _)| *rank == 2).take(1);
        for (rank, pod) in failing.chain(well) {
            requests.pod(world, pod, *rank < 2);
        }
        if let Some(pod) = old.first() {
            requests.pod(world, pod, false);
        }
        for set in world.replica_sets_of(&object.meta().uid) {
            if set.spec.replicas.unwrap_or(1) > 0
                && let Some(object) = world.object(&set.metadata.uid)
            {
                requests.document(&Reference::to(object));
            }
        }
        if let Some(scaler) = world.scaler_of(&applied.target) {
            requests.add(Request::Document {
                kind: Kind::HorizontalPodAutoscaler,
                namespace: scaler.metadata.namespace.clone(),
                name: scaler.metadata.name.clone(),
            });
        }
    }
    let from = judged.iter().map(|(applied, _)| applied.at).min().unwrap_or(now).minus(BEFORE);
    for metric in metrics {
        requests.add(Request::Metric {
            name: metric.name.clone(),
            query: metric.query.clone(),
            from,
            until: now,
        });
    }
    requests.list
}

/// The pods of the new template, and the old ones.
fn pods<'a>(world: &'a World, target: &Target) -> (Vec<&'a Pod>, Vec<&'a Pod>) {
    let Some(object) = world.workload(target) else { return Default::default() };
    let Object::Deployment(deployment) = object else {
        return (world.pods_of(&object.meta().uid), Vec::new());
    };
    let sets = world.replica_sets_of(&deployment.metadata.uid);
    let current = current_set(deployment, &sets).map(|set| &set.metadata.uid);
    let (mut new, mut old) = (Vec::new(), Vec::new());
    for set in &sets {
        let pods = world.pods_of(&set.metadata.uid);
        if Some(&set.metadata.uid) == current { new.extend(pods) } else { old.extend(pods) }
    }
    (new, old)
}

#[derive(Default)]
struct Requests {
    list: Vec<Request>,
    files: BTreeSet<String>,
}

impl Requests {
    fn add(&mut self, request: Request) {
        if self.files.insert(request.file()) {
            self.list.push(request);
        }
    }

    fn document(&mut self, to: &Reference) {
        self.add(Request::Document { kind: to.kind, namespace: to.namespace.clone(), name: to.name.clone() });
        self.add(Request::Events {
            about: to.uid.clone(),
            namespace: to.namespace.clone(),
            name: to.name.clone(),
        });
    }

    fn pod(&mut self, world: &World, pod: &Pod, is_failing: bool) {
        self.document(&Reference::to_pod(pod, None));
        let namespace = &pod.metadata.namespace;
        for status in pod.status.init_containers.iter().chain(&pod.status.containers) {
            let mut log = |life: Life| {
                self.add(Request::Log {
                    namespace: namespace.clone(),
                    pod: pod.metadata.name.clone(),
                    container: status.name.clone(),
                    life,
                    lines: LOG_LINES,
                });
            };
            if status.restarts > 0 {
                log(Life::Previous);
            }
            if status.state.running.is_some() || status.state.terminated.is_some() {
                log(Life::Present);
            }
        }
        if is_failing && let Some(node) = world.node(&pod.spec.node) {
            self.add(Request::Document {
                kind: Kind::Node,
                namespace: String::new(),
                name: node.metadata.name.clone(),
            });
        }
    }
}
