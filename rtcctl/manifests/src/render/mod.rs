//! A release as objects, in the order in which they have to be there.
//!
//! Invariants: every object carries the labels by which what is no longer described is found and pruned; where something
//! else counts replicas, nothing here says how many; names are the targets'.

mod access;
mod draft;
mod entry;
mod gateway;
mod logs;
mod mesh;
mod migration;
mod monitoring;
mod network;
mod pod;
mod scaling;
mod secrets;
mod settings;
mod storage;
mod workload;

use serde_json::Value;

use crate::Release;

/// The port of the API, by its name in every pod and Service.
pub const API: (&str, u16) = ("http-api", 8080);
/// The operator's port: probes and metrics.
pub const ADMIN: (&str, u16) = ("http-admin", 9080);
/// Selects everything that this renders: what has it and is not rendered any more may be pruned.
pub const OWNER: (&str, &str) = ("app.kubernetes.io/managed-by", "rtcctl");
/// The environment that an object belongs to.
pub const ENVIRONMENT: &str = "rtc.io/environment";
/// The beginning of the image's digest.
pub const RELEASE: &str = "rtc.io/release";
/// Seconds that a process takes at most from SIGTERM to its end.
pub const DRAIN: &str = "rtc.io/drain-seconds";
/// A hash of the settings that are not seen while a process runs.
pub const SETTINGS: &str = "rtc.io/settings";
/// `stable` or `canary`.
pub const TRACK: &str = "rtc.io/track";
/// Marks the second Service of a target: others lead to the same pods.
pub const HEADLESS: &str = "rtc.io/headless";

/// What has to be there before what. All of one wave may be applied together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Wave {
    /// What others live in.
    Ground,
    /// Settings, secrets, files, rights, who may reach whom.
    Surroundings,
    /// The job has to have succeeded before the next wave begins.
    Migration,
    /// What serves, and what finds it.
    Workloads,
    /// What lets traffic in and what watches.
    Entry,
}

/// One object.
#[derive(Debug, Clone, PartialEq)]
pub struct Object {
    pub wave: Wave,
    pub body: Value,
}

impl Object {
    pub fn kind(&self) -> &str {
        self.body["kind"].as_str().unwrap_or_default()
    }

    pub fn api_version(&self) -> &str {
        self.body["apiVersion"].as_str().unwrap_or_default()
    }

    pub fn name(&self) -> &str {
        self.body["metadata"]["name"].as_str().unwrap_or_default()
    }

    /// `None`: it belongs to the whole cluster.
    pub fn namespace(&self) -> Option<&str> {
        self.body["metadata"]["namespace"].as_str()
    }
}

/// Everything that a release consists of.
pub fn render(release: &Release) -> Vec<Object> {
    let mut objects = access::objects(release);
    objects.extend(settings::objects(release));
    objects.extend(secrets::objects(release));
    objects.extend(storage::objects(release));
    objects.extend(network::objects(release));
    objects.extend(migration::objects(release));
    for (name, target) in &release.description.targets {
        objects.extend(workload::objects(release, name, target));
        objects.extend(scaling::objects(release, name, target));
    }
    objects.extend(entry::objects(release));
    objects.extend(monitoring::objects(release));
    objects.extend(mesh::objects(release));
    objects.extend(logs::objects(release));
    objects.sort_by_cached_key(|object| {
        let key = |text: &str| text.to_owned();
        (
            object.wave,
            rank(object.kind()),
            key(object.kind()),
            object.namespace().map(key),
            key(object.name()),
        )
    });
    objects
}

/// Within a wave: what others name comes first.
fn rank(kind: &str) -> usize {
    const ORDER: [&str; 12] = [
        "Namespace",
        "StorageClass",
        "PersistentVolume",
        "PersistentVolumeClaim",
        "ServiceAccount",
        "ClusterRole",
        "ClusterRoleBinding",
        "ConfigMap",
        "ExternalSecret",
        "NetworkPolicy",
        "Service",
        "Deployment",
    ];
    ORDER.iter().position(|known| *known == kind).unwrap_or(ORDER.len())
}

/// Whether a running rtcd takes a change of that setting over.
pub fn is_seen_at_once(key: &str) -> bool {
    settings::AT_ONCE.iter().any(|pattern| match pattern.strip_suffix('*') {
        Some(prefix) => key.starts_with(prefix),
        None => key == *pattern,
    })
}
