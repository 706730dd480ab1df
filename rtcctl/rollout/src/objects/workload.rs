//! What is rolled out: Deployments and their ReplicaSets, StatefulSets, DaemonSets, Jobs.

use std::hash::{DefaultHasher, Hash, Hasher};

use serde::{Deserialize, Deserializer};
use serde_json::Value as Json;

use super::meta::TEMPLATE_GENERATION;
use super::{Condition, Container, Meta, or_default};

/// The form of a pod that a workload makes.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Template {
    pub containers: Vec<Container>,
    pub init_containers: Vec<Container>,
    /// The same for templates that say the same; the label that the controller adds to it does not count.
    pub fingerprint: u64,
}

impl<'de> Deserialize<'de> for Template {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Some(document) = Option::<Json>::deserialize(deserializer)? else { return Ok(Self::default()) };
        let list = |name: &str| -> Result<Vec<Container>, D::Error> {
            match &document["spec"][name] {
                Json::Null => Ok(Vec::new()),
                list => Vec::deserialize(list).map_err(serde::de::Error::custom),
            }
        };
        let mut hasher = DefaultHasher::new();
        say(&document["spec"], &mut hasher);
        say(&document["metadata"]["labels"], &mut hasher);
        say(&document["metadata"]["annotations"], &mut hasher);
        Ok(Self {
            containers: list("containers")?,
            init_containers: list("initContainers")?,
            fingerprint: hasher.finish(),
        })
    }
}

/// Whatever the order of the keys; what is null or empty might as well be absent.
fn say(value: &Json, hasher: &mut DefaultHasher) {
    match value {
        Json::Object(map) => {
            let mut entries: Vec<_> = map
                .iter()
                .filter(|(key, value)| key.as_str() != "pod-template-hash" && !is_nothing(value))
                .collect();
            entries.sort_by_key(|(key, _)| key.as_str());
            for (key, value) in entries {
                key.hash(hasher);
                say(value, hasher);
            }
            "}".hash(hasher);
        }
        Json::Array(items) => {
            for item in items {
                say(item, hasher);
            }
            "]".hash(hasher);
        }
        Json::String(text) => text.hash(hasher),
        other => other.to_string().hash(hasher),
    }
}

fn is_nothing(value: &Json) -> bool {
    match value {
        Json::Null => true,
        Json::Object(map) => map.is_empty(),
        Json::Array(items) => items.is_empty(),
        _ => false,
    }
}

#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(default)]
pub struct Deployment {
    pub metadata: Meta,
    pub spec: DeploymentSpec,
    pub status: DeploymentStatus,
}

#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DeploymentSpec {
    /// Absent is 1.
    pub replicas: Option<u32>,
    #[serde(deserialize_with = "or_default")]
    pub paused: bool,
    #[serde(deserialize_with = "or_default")]
    pub min_ready_seconds: u32,
    pub progress_deadline_seconds: Option<u32>,
    pub template: Template,
}

#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DeploymentStatus {
    #[serde(deserialize_with = "or_default")]
    pub observed_generation: i64,
    #[serde(deserialize_with = "or_default")]
    pub replicas: u32,
    #[serde(deserialize_with = "or_default")]
    pub updated_replicas: u32,
    #[serde(deserialize_with = "or_default")]
    pub ready_replicas: u32,
    #[serde(deserialize_with = "or_default")]
    pub available_replicas: u32,
    #[serde(deserialize_with = "or_default")]
    pub conditions: Vec<Condition>,
}

#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(default)]
pub struct ReplicaSet {
    pub metadata: Meta,
    pub spec: ReplicaSetSpec,
    pub status: DeploymentStatus,
}

#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(default)]
pub struct ReplicaSetSpec {
    pub replicas: Option<u32>,
    pub template: Template,
}

/// How a StatefulSet or a DaemonSet takes a new template up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Strategy {
    #[default]
    Rolling,
    /// Only when somebody deletes the old pod.
    OnDelete,
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct UpdateStrategy {
    #[serde(rename = "type", deserialize_with = "or_default")]
    kind: String,
    #[serde(deserialize_with = "or_default")]
    rolling_update: RollingUpdate,
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default)]
struct RollingUpdate {
    #[serde(deserialize_with = "or_default")]
    partition: u32,
}

impl UpdateStrategy {
    pub fn strategy(&self) -> Strategy {
        if self.kind == "OnDelete" { Strategy::OnDelete } else { Strategy::Rolling }
    }

    /// Pods of a lower ordinal keep the old template.
    pub fn partition(&self) -> u32 {
        self.rolling_update.partition
    }
}

#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(default)]
pub struct StatefulSet {
    pub metadata: Meta,
    pub spec: StatefulSetSpec,
    pub status: StatefulSetStatus,
}

#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct StatefulSetSpec {
    pub replicas: Option<u32>,
    pub template: Template,
    #[serde(deserialize_with = "or_default")]
    pub update_strategy: UpdateStrategy,
}

#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct StatefulSetStatus {
    #[serde(deserialize_with = "or_default")]
    pub observed_generation: i64,
    #[serde(deserialize_with = "or_default")]
    pub replicas: u32,
    #[serde(deserialize_with = "or_default")]
    pub ready_replicas: u32,
    #[serde(deserialize_with = "or_default")]
    pub updated_replicas: u32,
    #[serde(deserialize_with = "or_default")]
    pub available_replicas: u32,
    #[serde(deserialize_with = "or_default")]
    pub current_revision: String,
    #[serde(deserialize_with = "or_default")]
    pub update_revision: String,
}

#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(default)]
pub struct DaemonSet {
    pub metadata: Meta,
    pub spec: DaemonSetSpec,
    pub status: DaemonSetStatus,
}

impl DaemonSet {
    /// What its controller writes on the pods of the present template, as `pod-template-generation`.
    pub fn template_generation(&self) -> Option<&str> {
        self.metadata.annotations.get(TEMPLATE_GENERATION).map(String::as_str)
    }
}

#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DaemonSetSpec {
    pub template: Template,
    #[serde(deserialize_with = "or_default")]
    pub update_strategy: UpdateStrategy,
}

#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DaemonSetStatus {
    #[serde(deserialize_with = "or_default")]
    pub observed_generation: i64,
    #[serde(deserialize_with = "or_default")]
    pub desired_number_scheduled: u32,
    #[serde(deserialize_with = "or_default")]
    pub current_number_scheduled: u32,
    #[serde(deserialize_with = "or_default")]
    pub updated_number_scheduled: u32,
    #[serde(deserialize_with = "or_default")]
    pub number_ready: u32,
    #[serde(deserialize_with = "or_default")]
    pub number_available: u32,
}

#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(default)]
pub struct Job {
    pub metadata: Meta,
    pub spec: JobSpec,
    pub status: JobStatus,
}

#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct JobSpec {
    pub completions: Option<u32>,
    pub backoff_limit: Option<u32>,
    #[serde(deserialize_with = "or_default")]
    pub suspend: bool,
    pub template: Template,
}

#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(default)]
pub struct JobStatus {
    #[serde(deserialize_with = "or_default")]
    pub active: u32,
    #[serde(deserialize_with = "or_default")]
    pub ready: u32,
    #[serde(deserialize_with = "or_default")]
    pub succeeded: u32,
    #[serde(deserialize_with = "or_default")]
    pub failed: u32,
    #[serde(deserialize_with = "or_default")]
    pub conditions: Vec<Condition>,
}
