//! The objects of a release as they are kept in journals and in the cluster's history.
//!
//! Invariant: the order of waves is kept; the same objects have the same fingerprint.

use std::fmt;

use kubernetes::Gvk;
use manifests::Release;
use rollout::objects::Kind;
use rollout::verdict::Wanted;
use rollout::world::Target;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

/// Names one object.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Id {
    pub api_version: String,
    pub kind: String,
    /// Empty: of the whole cluster.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub namespace: String,
    pub name: String,
}

impl Id {
    pub fn of(body: &Json) -> Self {
        let text = |value: &Json| value.as_str().unwrap_or_default().to_owned();
        Self {
            api_version: text(&body["apiVersion"]),
            kind: text(&body["kind"]),
            namespace: text(&body["metadata"]["namespace"]),
            name: text(&body["metadata"]["name"]),
        }
    }

    pub fn gvk(&self) -> Gvk {
        Gvk::named(&self.api_version, &self.kind)
    }

    /// The same object in another version of its API.
    pub fn is_same(&self, other: &Id) -> bool {
        let group = |id: &Id| id.api_version.split_once('/').map(|(group, _)| group.to_owned());
        (group(self), &self.kind, &self.namespace, &self.name)
            == (group(other), &other.kind, &other.namespace, &other.name)
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.namespace.as_str() {
            "" => write!(f, "{}/{}", self.kind, self.name),
            namespace => write!(f, "{}/{namespace}/{}", self.kind, self.name),
        }
    }
}

/// What has to be there before what.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Wave {
    Ground,
    Surroundings,
    Migration,
    Workloads,
    Entry,
}

impl From<manifests::Wave> for Wave {
    fn from(wave: manifests::Wave) -> Self {
        match wave {
            manifests::Wave::Ground => Wave::Ground,
            manifests::Wave::Surroundings => Wave::Surroundings,
            manifests::Wave::Migration => Wave::Migration,
            manifests::Wave::Workloads => Wave::Workloads,
            manifests::Wave::Entry => Wave::Entry,
        }
    }
}

impl Wave {
    pub fn name(self) -> &'static str {
        match self {
            Wave::Ground => "ground",
            Wave::Surroundings => "surroundings",
            Wave::Migration => "migration",
            Wave::Workloads => "workloads",
            Wave::Entry => "entry",
        }
    }
}

/// One object and when it comes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Item {
    pub wave: Wave,
    pub body: Json,
}

impl Item {
    pub fn id(&self) -> Id {
        Id::of(&self.body)
    }

    /// The workload that it is, if pods come of it that stay.
    pub fn target(&self) -> Option<Target> {
        let id = self.id();
        let kind = Kind::named(&id.kind)?;
        let lasts = matches!(kind, Kind::Deployment | Kind::StatefulSet | Kind::DaemonSet);
        lasts.then(|| Target::new(kind, &id.namespace, &id.name))
    }
}

/// Every object of a release.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    pub items: Vec<Item>,
}

impl Manifest {
    pub fn of(release: &Release) -> Self {
        let objects = manifests::render(release).into_iter();
        Self { items: objects.map(|object| Item { wave: object.wave.into(), body: object.body }).collect() }
    }

    pub fn ids(&self) -> impl Iterator<Item = Id> + '_ {
        self.items.iter().map(Item::id)
    }

    pub fn has(&self, id: &Id) -> bool {
        self.ids().any(|known| known.is_same(id))
    }

    pub fn wave(&self, wave: Wave) -> impl Iterator<Item = &Item> {
        self.items.iter().filter(move |item| item.wave == wave)
    }

    pub fn targets(&self) -> Vec<Target> {
        self.items.iter().filter_map(Item::target).collect()
    }

    pub fn find(&self, id: &Id) -> Option<&Item> {
        self.items.iter().find(|item| item.id().is_same(id))
    }

    /// The same for the same objects.
    pub fn fingerprint(&self) -> String {
        let text = serde_json::to_string(self).unwrap_or_default();
        let step = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        format!("{:016x}", text.bytes().fold(0xcbf2_9ce4_8422_2325, step))
    }
}

/// The images that a workload asks for by digest, to be compared with what its pods run.
pub fn wanted(body: &Json) -> Vec<Wanted> {
    let containers = body["spec"]["template"]["spec"]["containers"].as_array();
    let digest = |container: &Json| {
        let image = container["image"].as_str()?;
        let (_, digest) = image.split_once('@')?;
        Some(Wanted { container: container["name"].as_str()?.to_owned(), digests: vec![digest.to_owned()] })
    };
    containers.into_iter().flatten().filter_map(digest).collect()
}
