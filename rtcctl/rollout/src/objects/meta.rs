//! What every object has: its name, its uid, who owns it, and its conditions.

use std::collections::BTreeMap;
use std::fmt;

use kernel::Timestamp;
use serde::{Deserialize, Deserializer, Serialize};

use super::{bounded, lenient_time, or_default};

/// Names one object for all time: a new object of the same name has another.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Uid(pub String);

impl Uid {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Display for Uid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<&str> for Uid {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Meta {
    pub name: String,
    #[serde(deserialize_with = "or_default")]
    pub namespace: String,
    pub uid: Uid,
    /// Opaque: the same text is the same state, and no more can be said of two of them.
    #[serde(deserialize_with = "or_default")]
    pub resource_version: String,
    /// Counts changes of the wish, not of the state.
    #[serde(deserialize_with = "or_default")]
    pub generation: i64,
    #[serde(rename = "creationTimestamp", deserialize_with = "lenient_time")]
    pub created_at: Option<Timestamp>,
    /// When it is to be gone; a grace period lies before it.
    #[serde(rename = "deletionTimestamp", deserialize_with = "lenient_time")]
    pub deleting_at: Option<Timestamp>,
    #[serde(deserialize_with = "or_default")]
    pub labels: BTreeMap<String, String>,
    #[serde(deserialize_with = "known_annotations")]
    pub annotations: BTreeMap<String, String>,
    #[serde(rename = "ownerReferences", deserialize_with = "or_default")]
    pub owners: Vec<Owner>,
}

impl Meta {
    /// Who controls it; at most one owner does.
    pub fn controller(&self) -> Option<&Owner> {
        self.owners.iter().find(|owner| owner.controller).or_else(|| self.owners.first())
    }

    pub fn is_deleting(&self) -> bool {
        self.deleting_at.is_some()
    }

    /// The number that the controller gave to a template.
    pub fn revision(&self) -> Option<u64> {
        self.annotations.get(REVISION)?.parse().ok()
    }
}

const REVISION: &str = "deployment.kubernetes.io/revision";
pub(super) const TEMPLATE_GENERATION: &str = "deprecated.daemonset.template.generation";

/// The few annotations that are read; others hold whole manifests.
fn known_annotations<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<BTreeMap<String, String>, D::Error> {
    let mut all = Option::<BTreeMap<String, String>>::deserialize(deserializer)?.unwrap_or_default();
    all.retain(|name, _| name == REVISION || name == TEMPLATE_GENERATION);
    Ok(all)
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default)]
pub struct Owner {
    pub kind: String,
    pub name: String,
    pub uid: Uid,
    #[serde(deserialize_with = "or_default")]
    pub controller: bool,
}

/// Of a condition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
pub enum Status {
    True,
    False,
    #[default]
    #[serde(other)]
    Unknown,
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Condition {
    #[serde(rename = "type")]
    pub kind: String,
    pub status: Status,
    #[serde(deserialize_with = "or_default")]
    pub reason: String,
    #[serde(deserialize_with = "bounded")]
    pub message: String,
    #[serde(rename = "lastTransitionTime", deserialize_with = "lenient_time")]
    pub changed_at: Option<Timestamp>,
    /// Only Deployments say it.
    #[serde(rename = "lastUpdateTime", deserialize_with = "lenient_time")]
    pub updated_at: Option<Timestamp>,
}

impl Condition {
    pub fn find<'a>(conditions: &'a [Condition], kind: &str) -> Option<&'a Condition> {
        conditions.iter().find(|condition| condition.kind == kind)
    }

    pub fn is_true(&self) -> bool {
        self.status == Status::True
    }
}
