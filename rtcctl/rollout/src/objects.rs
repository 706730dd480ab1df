//! The objects of the Kubernetes API that a rollout is judged by, with the fields that matter to it and no others.
//!
//! Invariants: unknown fields are ignored, absent and null ones are empty; a `resourceVersion` is compared with
//! nothing but itself; texts are cut to [`TEXT_MAX`], so that an object has a bounded size.

mod around;
mod meta;
mod page;
mod pod;
mod workload;

use kernel::Timestamp;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value as Json;

pub use around::*;
pub use meta::{Condition, Meta, Owner, Status, Uid};
pub use page::Page;
pub use pod::*;
pub use workload::*;

/// Characters that are kept of a message. A termination message is at most 4096 bytes.
pub const TEXT_MAX: usize = 4096;

/// The kinds that are understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Kind {
    Deployment,
    StatefulSet,
    DaemonSet,
    Job,
    ReplicaSet,
    Pod,
    HorizontalPodAutoscaler,
    PodDisruptionBudget,
    Node,
    Event,
}

impl Kind {
    pub const ALL: [Kind; 10] = [
        Kind::Deployment,
        Kind::StatefulSet,
        Kind::DaemonSet,
        Kind::Job,
        Kind::ReplicaSet,
        Kind::Pod,
        Kind::HorizontalPodAutoscaler,
        Kind::PodDisruptionBudget,
        Kind::Node,
        Kind::Event,
    ];

    /// As `kind` in a document.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Deployment => "Deployment",
            Kind::StatefulSet => "StatefulSet",
            Kind::DaemonSet => "DaemonSet",
            Kind::Job => "Job",
            Kind::ReplicaSet => "ReplicaSet",
            Kind::Pod => "Pod",
            Kind::HorizontalPodAutoscaler => "HorizontalPodAutoscaler",
            Kind::PodDisruptionBudget => "PodDisruptionBudget",
            Kind::Node => "Node",
            Kind::Event => "Event",
        }
    }

    pub fn named(name: &str) -> Option<Kind> {
        Kind::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

/// An object could not be read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("an object of kind {0:?}, which is not followed")]
    UnknownKind(String),
    #[error("a {} that does not have the form of one", kind.name())]
    Malformed {
        kind: Kind,
        #[source]
        source: serde_json::Error,
    },
    #[error("a {} without a uid", .0.name())]
    Nameless(Kind),
}

/// One object.
#[derive(Debug, Clone, PartialEq)]
pub enum Object {
    Deployment(Deployment),
    StatefulSet(StatefulSet),
    DaemonSet(DaemonSet),
    Job(Job),
    ReplicaSet(ReplicaSet),
    Pod(Box<Pod>),
    Scaler(Scaler),
    Budget(Budget),
    Node(Node),
    Event(Event),
}

impl Object {
    /// Of a document that says its kind.
    pub fn parse(document: &Json) -> Result<Object, Error> {
        let name = document["kind"].as_str().unwrap_or_default();
        let kind = Kind::named(name).ok_or_else(|| Error::UnknownKind(name.to_owned()))?;
        Object::read(kind, document)
    }

    /// Of a document whose kind is known: the items of a list do not say it.
    pub fn read(kind: Kind, document: &Json) -> Result<Object, Error> {
        deserialized(kind, document)
    }

    pub fn kind(&self) -> Kind {
        match self {
            Object::Deployment(_) => Kind::Deployment,
            Object::StatefulSet(_) => Kind::StatefulSet,
            Object::DaemonSet(_) => Kind::DaemonSet,
            Object::Job(_) => Kind::Job,
            Object::ReplicaSet(_) => Kind::ReplicaSet,
            Object::Pod(_) => Kind::Pod,
            Object::Scaler(_) => Kind::HorizontalPodAutoscaler,
            Object::Budget(_) => Kind::PodDisruptionBudget,
            Object::Node(_) => Kind::Node,
            Object::Event(_) => Kind::Event,
        }
    }

    pub fn meta(&self) -> &Meta {
        match self {
            Object::Deployment(object) => &object.metadata,
            Object::StatefulSet(object) => &object.metadata,
            Object::DaemonSet(object) => &object.metadata,
            Object::Job(object) => &object.metadata,
            Object::ReplicaSet(object) => &object.metadata,
            Object::Pod(object) => &object.metadata,
            Object::Scaler(object) => &object.metadata,
            Object::Budget(object) => &object.metadata,
            Object::Node(object) => &object.metadata,
            Object::Event(object) => &object.metadata,
        }
    }

    /// The generation that its controller has seen, where it says so.
    pub fn observed_generation(&self) -> Option<i64> {
        match self {
            Object::Deployment(object) => Some(object.status.observed_generation),
            Object::StatefulSet(object) => Some(object.status.observed_generation),
            Object::DaemonSet(object) => Some(object.status.observed_generation),
            Object::ReplicaSet(object) => Some(object.status.observed_generation),
            _ => None,
        }
    }
}

/// From a tree or from text.
fn deserialized<'de, D>(kind: Kind, document: D) -> Result<Object, Error>
where
    D: Deserializer<'de, Error = serde_json::Error>,
{
    let object = match kind {
        Kind::Deployment => Deployment::deserialize(document).map(Object::Deployment),
        Kind::StatefulSet => StatefulSet::deserialize(document).map(Object::StatefulSet),
        Kind::DaemonSet => DaemonSet::deserialize(document).map(Object::DaemonSet),
        Kind::Job => Job::deserialize(document).map(Object::Job),
        Kind::ReplicaSet => ReplicaSet::deserialize(document).map(Object::ReplicaSet),
        Kind::Pod => Pod::deserialize(document).map(|pod| Object::Pod(Box::new(pod))),
        Kind::HorizontalPodAutoscaler => Scaler::deserialize(document).map(Object::Scaler),
        Kind::PodDisruptionBudget => Budget::deserialize(document).map(Object::Budget),
        Kind::Node => Node::deserialize(document).map(Object::Node),
        Kind::Event => Event::deserialize(document).map(Object::Event),
    };
    let object = object.map_err(|source| Error::Malformed { kind, source })?;
    if object.meta().uid.is_empty() {
        return Err(Error::Nameless(kind));
    }
    Ok(object)
}

/// Null as absent: some clients write it.
fn or_default<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(
    deserializer: D,
) -> Result<T, D::Error> {
    Ok(Option::<T>::deserialize(deserializer)?.unwrap_or_default())
}

/// A time, or nothing where it is none: no rule may fail for an odd time.
fn lenient_time<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Timestamp>, D::Error> {
    Ok(Option::<String>::deserialize(deserializer)?.and_then(|text| text.parse().ok()))
}

/// A text of bounded size.
fn bounded<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let mut text = Option::<String>::deserialize(deserializer)?.unwrap_or_default();
    if text.len() > TEXT_MAX {
        let end = (0..=TEXT_MAX).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        text.truncate(end);
        text.push('…');
        text.shrink_to_fit();
    }
    Ok(text)
}
