//! Pods and what is known of their containers.

use kernel::Timestamp;
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::{Condition, Meta, bounded, lenient_time, or_default};

#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(default)]
pub struct Pod {
    pub metadata: Meta,
    pub spec: PodSpec,
    pub status: PodStatus,
}

#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PodSpec {
    #[serde(rename = "nodeName", deserialize_with = "or_default")]
    pub node: String,
    #[serde(deserialize_with = "or_default")]
    pub containers: Vec<Container>,
    #[serde(deserialize_with = "or_default")]
    pub init_containers: Vec<Container>,
    #[serde(deserialize_with = "or_default")]
    pub readiness_gates: Vec<Gate>,
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Gate {
    pub condition_type: String,
}

#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Container {
    pub name: String,
    #[serde(deserialize_with = "or_default")]
    pub image: String,
    /// Of an init container: `Always` makes it run beside the others.
    #[serde(deserialize_with = "or_default")]
    pub restart_policy: String,
    readiness_probe: Option<IgnoredAny>,
    startup_probe: Option<IgnoredAny>,
    liveness_probe: Option<IgnoredAny>,
}

impl Container {
    pub fn has_readiness_probe(&self) -> bool {
        self.readiness_probe.is_some()
    }

    pub fn has_startup_probe(&self) -> bool {
        self.startup_probe.is_some()
    }

    pub fn has_liveness_probe(&self) -> bool {
        self.liveness_probe.is_some()
    }

    /// An init container that goes on running.
    pub fn is_sidecar(&self) -> bool {
        self.restart_policy == "Always"
    }
}

#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PodStatus {
    #[serde(deserialize_with = "or_default")]
    pub phase: String,
    #[serde(deserialize_with = "or_default")]
    pub reason: String,
    #[serde(deserialize_with = "bounded")]
    pub message: String,
    #[serde(deserialize_with = "or_default")]
    pub conditions: Vec<Condition>,
    #[serde(rename = "containerStatuses", deserialize_with = "or_default")]
    pub containers: Vec<ContainerStatus>,
    #[serde(rename = "initContainerStatuses", deserialize_with = "or_default")]
    pub init_containers: Vec<ContainerStatus>,
    #[serde(rename = "startTime", deserialize_with = "lenient_time")]
    pub started_at: Option<Timestamp>,
}

#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ContainerStatus {
    pub name: String,
    #[serde(deserialize_with = "or_default")]
    pub image: String,
    /// `repository@sha256:…`, or the digest alone; empty until it is there.
    #[serde(rename = "imageID", deserialize_with = "or_default")]
    pub image_id: String,
    #[serde(deserialize_with = "or_default")]
    pub ready: bool,
    pub started: Option<bool>,
    #[serde(rename = "restartCount", deserialize_with = "or_default")]
    pub restarts: u32,
    #[serde(deserialize_with = "or_default")]
    pub state: ContainerState,
    #[serde(rename = "lastState", deserialize_with = "or_default")]
    pub last: ContainerState,
}

impl ContainerStatus {
    /// `sha256:…` of the image that it runs.
    pub fn digest(&self) -> Option<&str> {
        let at = self.image_id.rfind("sha256:")?;
        Some(&self.image_id[at..])
    }

    pub fn waiting_for(&self) -> &str {
        self.state.waiting.as_ref().map_or("", |waiting| waiting.reason.as_str())
    }

    /// The end that it last came to: the present state, or the one before it.
    pub fn ended(&self) -> Option<&Terminated> {
        self.state.terminated.as_ref().or(self.last.terminated.as_ref())
    }
}

#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(default)]
pub struct ContainerState {
    pub waiting: Option<Waiting>,
    pub running: Option<Running>,
    pub terminated: Option<Terminated>,
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default)]
pub struct Waiting {
    #[serde(deserialize_with = "or_default")]
    pub reason: String,
    #[serde(deserialize_with = "bounded")]
    pub message: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default)]
pub struct Running {
    #[serde(rename = "startedAt", deserialize_with = "lenient_time")]
    pub started_at: Option<Timestamp>,
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Terminated {
    pub exit_code: i32,
    #[serde(deserialize_with = "or_default")]
    pub signal: i32,
    #[serde(deserialize_with = "or_default")]
    pub reason: String,
    #[serde(deserialize_with = "bounded")]
    pub message: String,
    #[serde(deserialize_with = "lenient_time")]
    pub started_at: Option<Timestamp>,
    #[serde(deserialize_with = "lenient_time")]
    pub finished_at: Option<Timestamp>,
}

impl Pod {
    pub fn condition(&self, kind: &str) -> Option<&Condition> {
        Condition::find(&self.status.conditions, kind)
    }

    pub fn is_ready(&self) -> bool {
        self.condition("Ready").is_some_and(Condition::is_true)
    }

    /// It came to an end and will not run again.
    pub fn is_over(&self) -> bool {
        matches!(self.status.phase.as_str(), "Failed" | "Succeeded")
    }

    /// Neither over nor on its way out.
    pub fn is_alive(&self) -> bool {
        !self.is_over() && !self.metadata.is_deleting()
    }

    /// Whether the init container of this name runs beside the others.
    pub fn is_sidecar(&self, name: &str) -> bool {
        self.spec.init_containers.iter().any(|container| container.name == name && container.is_sidecar())
    }

    pub fn container(&self, name: &str) -> Option<&Container> {
        self.spec.containers.iter().chain(&self.spec.init_containers).find(|container| container.name == name)
    }
}
