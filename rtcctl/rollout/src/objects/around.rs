//! What stands around a workload: events, nodes, autoscalers, disruption budgets.

use kernel::Timestamp;
use serde::Deserialize;

use super::{Condition, Meta, Uid, bounded, lenient_time, or_default};

/// Of `v1` or of `events.k8s.io/v1`: the same under other names.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Event {
    pub metadata: Meta,
    #[serde(alias = "regarding", deserialize_with = "or_default")]
    pub involved_object: Involved,
    #[serde(rename = "type", deserialize_with = "or_default")]
    pub severity: String,
    #[serde(deserialize_with = "or_default")]
    pub reason: String,
    #[serde(alias = "note", deserialize_with = "bounded")]
    pub message: String,
    #[serde(alias = "deprecatedCount", deserialize_with = "or_default")]
    count: u32,
    #[serde(alias = "deprecatedFirstTimestamp", deserialize_with = "lenient_time")]
    first_timestamp: Option<Timestamp>,
    #[serde(alias = "deprecatedLastTimestamp", deserialize_with = "lenient_time")]
    last_timestamp: Option<Timestamp>,
    #[serde(deserialize_with = "lenient_time")]
    event_time: Option<Timestamp>,
    #[serde(deserialize_with = "or_default")]
    series: Series,
    #[serde(alias = "deprecatedSource", deserialize_with = "or_default")]
    source: Source,
    #[serde(rename = "reportingComponent", alias = "reportingController", deserialize_with = "or_default")]
    reporter: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Involved {
    #[serde(deserialize_with = "or_default")]
    pub kind: String,
    #[serde(deserialize_with = "or_default")]
    pub name: String,
    #[serde(deserialize_with = "or_default")]
    pub namespace: String,
    #[serde(deserialize_with = "or_default")]
    pub uid: Uid,
    /// `spec.containers{web}`
    #[serde(deserialize_with = "or_default")]
    pub field_path: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Series {
    #[serde(deserialize_with = "or_default")]
    count: u32,
    #[serde(deserialize_with = "lenient_time")]
    last_observed_time: Option<Timestamp>,
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default)]
struct Source {
    #[serde(deserialize_with = "or_default")]
    component: String,
}

impl Event {
    /// When it was last seen.
    pub fn last_at(&self) -> Option<Timestamp> {
        [self.series.last_observed_time, self.last_timestamp, self.event_time, self.first_timestamp]
            .into_iter()
            .flatten()
            .max()
            .or(self.metadata.created_at)
    }

    /// How often it was seen.
    pub fn count(&self) -> u32 {
        self.count.max(self.series.count).max(1)
    }

    /// Who says it: `kubelet`, `karpenter` …
    pub fn reporter(&self) -> &str {
        if self.source.component.is_empty() { &self.reporter } else { &self.source.component }
    }

    /// The container that it is about.
    pub fn container(&self) -> Option<&str> {
        self.involved_object.field_path.split_once('{')?.1.strip_suffix('}')
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default)]
pub struct Node {
    pub metadata: Meta,
    pub spec: NodeSpec,
    pub status: NodeStatus,
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default)]
pub struct NodeSpec {
    /// Cordoned: nothing new comes there.
    #[serde(deserialize_with = "or_default")]
    pub unschedulable: bool,
    #[serde(deserialize_with = "or_default")]
    pub taints: Vec<Taint>,
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default)]
pub struct Taint {
    pub key: String,
    #[serde(deserialize_with = "or_default")]
    pub effect: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default)]
pub struct NodeStatus {
    #[serde(deserialize_with = "or_default")]
    pub conditions: Vec<Condition>,
}

impl Node {
    pub fn ready(&self) -> Option<&Condition> {
        Condition::find(&self.status.conditions, "Ready")
    }

    /// Known to be ready no more. A node that says nothing yet is not lost.
    pub fn is_lost(&self) -> bool {
        self.ready().is_some_and(|ready| !ready.is_true())
    }

    /// Being emptied.
    pub fn is_draining(&self) -> bool {
        self.spec.unschedulable || self.spec.taints.iter().any(|taint| taint.key.contains("/disrupt"))
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default)]
pub struct Scaler {
    pub metadata: Meta,
    pub spec: ScalerSpec,
    pub status: ScalerStatus,
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ScalerSpec {
    pub scale_target_ref: Involved,
    pub min_replicas: Option<u32>,
    #[serde(deserialize_with = "or_default")]
    pub max_replicas: u32,
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ScalerStatus {
    #[serde(deserialize_with = "or_default")]
    pub current_replicas: u32,
    #[serde(deserialize_with = "or_default")]
    pub desired_replicas: u32,
    #[serde(deserialize_with = "or_default")]
    pub conditions: Vec<Condition>,
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default)]
pub struct Budget {
    pub metadata: Meta,
    pub spec: BudgetSpec,
    pub status: BudgetStatus,
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default)]
pub struct BudgetSpec {
    #[serde(deserialize_with = "or_default")]
    pub selector: Selector,
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Selector {
    #[serde(deserialize_with = "or_default")]
    pub match_labels: std::collections::BTreeMap<String, String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct BudgetStatus {
    #[serde(deserialize_with = "or_default")]
    pub disruptions_allowed: u32,
    #[serde(deserialize_with = "or_default")]
    pub current_healthy: u32,
    #[serde(deserialize_with = "or_default")]
    pub desired_healthy: u32,
    #[serde(deserialize_with = "or_default")]
    pub expected_pods: u32,
}

impl Budget {
    /// Whether it is about a pod with these labels.
    pub fn selects(&self, labels: &std::collections::BTreeMap<String, String>) -> bool {
        let wanted = &self.spec.selector.match_labels;
        !wanted.is_empty() && wanted.iter().all(|(name, value)| labels.get(name) == Some(value))
    }

    /// It lets no pod go, however healthy they all are.
    pub fn never_allows(&self) -> bool {
        self.status.expected_pods > 0 && self.status.desired_healthy >= self.status.expected_pods
    }

    pub fn blocks(&self) -> bool {
        self.status.expected_pods > 0 && self.status.disruptions_allowed == 0
    }
}
