//! What was decided before the first step: enough for another process to go on.

use std::collections::BTreeMap;
use std::time::Duration;

use kernel::Timestamp;
use rollout::canary::{Approval, By, Step};
use rollout::evidence::Metric;
use rollout::lifecycle::OnFailure;
use rollout::verdict::Rules;
use rollout::world::Target;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use crate::gate::Gate;
use crate::manifest::{Id, Manifest};
use crate::revision::Others;

/// What is done to the cluster.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "action", rename_all = "snake_case")]
pub enum Action {
    /// It becomes this.
    Apply { manifest: Manifest },
    /// The pods are made anew from the same templates.
    Restart { targets: Vec<Target>, at: Timestamp },
}

/// How the new version takes over.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "strategy", rename_all = "snake_case")]
pub enum Strategy {
    /// Pod by pod.
    Rolling,
    /// Beside the old one first, judged at each weight.
    Canary {
        targets: Vec<String>,
        by: By,
        steps: Vec<Step>,
        /// So many pods each of the targets has; those that are not named have as many as `by` says.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        pods: BTreeMap<String, u32>,
    },
    /// Whole beside the old one, then everything at once; the old one is kept for as long as it has to stand.
    BlueGreen {
        targets: Vec<String>,
        /// How long it stands before it is sent anything.
        hold: Duration,
        /// Whether somebody has to say that it is sent everything.
        approval: Approval,
    },
}

impl Strategy {
    /// The steps of a second version beside the first, if there is one; `bake` is how long the whole has to stand.
    pub fn steps(&self, bake: Duration) -> Option<(By, Vec<Step>)> {
        match self {
            Strategy::Rolling => None,
            Strategy::Canary { by, steps, .. } => Some((*by, steps.clone())),
            Strategy::BlueGreen { hold, approval, .. } => {
                let nothing = Step { weight: 0, hold: *hold, approval: *approval };
                let everything = Step { weight: 100, hold: bake, approval: Approval::Analysis };
                Some((By::Switch, vec![nothing, everything]))
            }
        }
    }

    /// The targets that have a second version.
    pub fn targets(&self) -> &[String] {
        match self {
            Strategy::Rolling => &[],
            Strategy::Canary { targets, .. } | Strategy::BlueGreen { targets, .. } => targets,
        }
    }
}

/// An object that goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Removal {
    #[serde(flatten)]
    pub id: Id,
    /// The one that was looked at; where it is not known, whatever is ours of that name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<String>,
}

impl From<Id> for Removal {
    fn from(id: Id) -> Self {
        Self { id, uid: None }
    }
}

/// Whether the schemas are brought up to date first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Migration {
    Run,
    /// Going back: schemas only go forward.
    Skip,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// `rollout`, `rollback`, `restart`.
    pub command: String,
    pub environment: String,
    pub namespace: String,
    /// `user@host`.
    pub by: String,
    pub image: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    #[serde(flatten)]
    pub action: Action,
    /// What the manifest was rendered from.
    #[serde(default, skip_serializing_if = "Json::is_null")]
    pub description: Json,
    pub strategy: Strategy,
    pub migration: Migration,
    pub rules: Rules,
    /// How long it has to stand before it is judged.
    pub bake: Duration,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gate: Option<Gate>,
    pub on_failure: OnFailure,
    /// Objects that go when everything else stands.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub removes: Vec<Removal>,
    /// Whether fields of others are taken.
    pub takes_fields: bool,
    /// Whether a run that seems to be under way is respected.
    #[serde(default)]
    pub others: Others,
    /// What is asked for when evidence is collected.
    #[serde(default)]
    pub metrics: Vec<Metric>,
}

impl Plan {
    /// What is to be done, and nothing of what may be chosen: pod by pod without a migration, judged by the pods alone, left
    /// as it is where it fails.
    pub fn new(command: &str, environment: &str, namespace: &str, by: String, action: Action) -> Self {
        Self {
            command: command.to_owned(),
            environment: environment.to_owned(),
            namespace: namespace.to_owned(),
            by,
            image: String::new(),
            version: None,
            action,
            description: Json::Null,
            strategy: Strategy::Rolling,
            migration: Migration::Skip,
            rules: Rules::default(),
            bake: Duration::ZERO,
            gate: None,
            on_failure: OnFailure::Leave,
            removes: Vec::new(),
            takes_fields: false,
            others: Others::Respected,
            metrics: Vec::new(),
        }
    }
}
