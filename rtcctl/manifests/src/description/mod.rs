//! What is to run, as data: read from TOML or JSON, nothing decided yet.
//!
//! Invariant: an unknown key is an error that names it.

mod around;
mod check;
mod engine;
mod image;
mod quantity;
mod release;
pub mod schema;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use around::{Canary, Certificate, Entry, Files, Logs, Mesh, Monitoring, Provisioning, Scheme};
pub use check::Fault;
pub use engine::Address;
pub use image::Image;
pub use quantity::{Cpu, Memory};
pub use release::Release;

/// A table of settings of rtcd, by dotted or nested keys.
pub type Settings = toml::Table;

/// A release in an environment. [`Release::of`] says whether it can be meant.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Description {
    /// Name of the environment: `dev`, `prod`.
    pub environment: String,
    pub namespace: String,
    /// `repository@sha256:…`. A tag moves, so none is taken.
    pub image: String,
    /// What people call the release.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// On every object, beside those of the house.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    pub engines: Engines,
    #[serde(default)]
    pub networks: Networks,
    /// Settings of rtcd in every target.
    #[serde(default)]
    pub settings: Settings,
    pub secrets: Secrets,
    #[serde(default)]
    pub identity: Identity,
    #[serde(default)]
    pub drain: Drain,
    pub targets: BTreeMap<String, Target>,
    #[serde(default)]
    pub migration: Migration,
    #[serde(default)]
    pub entry: Entry,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mesh: Option<Mesh>,
    /// A second version of some targets beside the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub canary: Option<Canary>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub files: Option<Files>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub monitoring: Option<Monitoring>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub logs: Option<Logs>,
}

/// Where things are kept, as rtcd's settings of the same names say it. What is absent is embedded.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Engines {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub database: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bus: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub objects: Option<String>,
}

/// Address ranges (CIDR) that the network policies speak of.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Networks {
    /// Where databases, brokers and caches are.
    #[serde(default)]
    pub engines: Vec<String>,
    /// Where the load balancer comes from.
    #[serde(default)]
    pub load_balancer: Vec<String>,
    /// Resolvers outside the cluster's own, such as a cache on the node.
    #[serde(default)]
    pub resolvers: Vec<String>,
    /// Ways out that every target has: a collector of traces.
    #[serde(default)]
    pub egress: Vec<Egress>,
}

/// Where secrets are; never what they are.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Secrets {
    /// The External Secrets operator fetches them.
    External {
        /// Name of the (cluster's) secret store.
        store: String,
        #[serde(default)]
        store_kind: StoreKind,
        #[serde(default = "refresh_default")]
        refresh_s: u32,
        /// By the names that rtcd has for them; `database-SERVICE`, `bus` and `cache` are passwords of engines.
        values: BTreeMap<String, SecretAt>,
    },
    /// Secrets that exist in the namespace.
    Existing {
        /// `{target}` in it is the target's name.
        name: String,
        /// The keys that they have, by the same names.
        keys: Vec<String>,
    },
}

fn refresh_default() -> u32 {
    3600
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum StoreKind {
    #[default]
    ClusterSecretStore,
    SecretStore,
}

/// A place in the store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SecretAt {
    /// Name or ARN.
    pub key: String,
    /// A field of a secret that is a JSON object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub property: Option<String>,
}

/// How pods come to be somebody in AWS.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Identity {
    #[serde(default)]
    pub kind: IdentityKind,
    /// ARNs by service account.
    #[serde(default)]
    pub roles: BTreeMap<String, String>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum IdentityKind {
    /// Associations that Terraform makes. An annotation would make the SDKs ask for a web identity that such a role refuses.
    #[default]
    PodIdentity,
    /// The annotation on the service account.
    Irsa,
}

/// How a process goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Drain {
    /// Seconds from the decision to end a pod until the process is told: endpoints vanish from the nodes meanwhile.
    #[serde(default = "pause_default")]
    pub pause_s: u32,
    /// `server.drain_notice_ms`: not ready, connections asked to close, new ones taken still.
    #[serde(default = "notice_default")]
    pub notice_s: u32,
    /// `server.drain_timeout_ms`: for requests under way, then as long again for pumps.
    #[serde(default = "timeout_default")]
    pub timeout_s: u32,
}

fn pause_default() -> u32 {
    5
}

fn notice_default() -> u32 {
    20
}

fn timeout_default() -> u32 {
    20
}

impl Default for Drain {
    fn default() -> Self {
        Self { pause_s: pause_default(), notice_s: notice_default(), timeout_s: timeout_default() }
    }
}

impl Drain {
    /// The longest that a process takes from SIGTERM to its end.
    pub fn process_s(&self) -> u32 {
        self.notice_s + 2 * self.timeout_s
    }

    /// What a pod is given in all, with a margin for what is sent last: traces.
    pub fn grace_s(&self) -> u32 {
        self.pause_s + self.process_s() + 10
    }
}

/// A Deployment: some services in one kind of process.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Target {
    /// What `rtcd serve --only` is told; the target's own name where it is empty.
    #[serde(default)]
    pub services: Vec<String>,
    /// Either this or `scaling`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replicas: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scaling: Option<Scaling>,
    pub resources: Resources,
    #[serde(default)]
    pub needs: Needs,
    /// Settings of rtcd in this target, over those of all.
    #[serde(default)]
    pub settings: Settings,
    #[serde(default)]
    pub discovery: Discovery,
}

/// How callers find the pods.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Discovery {
    /// One address; the node picks a pod for each connection.
    #[default]
    Cluster,
    /// Beside it a name that stands for all pods' addresses.
    Headless,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scaling {
    pub min: u32,
    pub max: u32,
    /// Percentage of what is requested.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_percent: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_percent: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lag: Option<Lag>,
    /// How long fewer replicas must have been enough before any goes.
    #[serde(default = "stable_default")]
    pub scale_down_after_s: u32,
}

fn stable_default() -> u32 {
    300
}

impl Default for Scaling {
    fn default() -> Self {
        let scale_down_after_s = stable_default();
        Self { min: 1, max: 2, cpu_percent: None, memory_percent: None, lag: None, scale_down_after_s }
    }
}

/// Messages that wait, as a metric that an adapter gives to the cluster.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lag {
    #[serde(default = "lag_metric")]
    pub metric: String,
    /// Labels of the series: the consumer group.
    #[serde(default)]
    pub selector: BTreeMap<String, String>,
    /// Messages that one replica may have before it.
    pub per_replica: u32,
}

fn lag_metric() -> String {
    "rtc_consumer_lag".to_owned()
}

/// What a container is promised and what it may have.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Resources {
    pub cpu: String,
    /// Promised and the most: what is promised to somebody else is not taken.
    pub memory: String,
    /// None, so that a burst is not throttled while the node is idle.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_limit: Option<String>,
}

/// What a target has to reach and to know.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Needs {
    #[serde(default)]
    pub database: bool,
    #[serde(default)]
    pub bus: bool,
    #[serde(default)]
    pub cache: bool,
    #[serde(default)]
    pub objects: bool,
    /// Services that it calls. Whoever does not run `users` needs it: it has the keys of tokens.
    #[serde(default)]
    pub upstreams: Vec<String>,
    /// Secrets beside those that every process has and the passwords of its engines.
    #[serde(default)]
    pub secrets: Vec<String>,
    #[serde(default)]
    pub egress: Vec<Egress>,
    /// Where the shared files are seen, if they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub files: Option<String>,
}

/// A way out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Egress {
    pub cidr: String,
    pub port: u16,
    /// What for.
    pub why: String,
}

/// The job that brings the schemas up to date before anything new runs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Migration {
    #[serde(default = "migration_resources")]
    pub resources: Resources,
    #[serde(default = "migration_deadline")]
    pub deadline_s: u32,
}

fn migration_resources() -> Resources {
    Resources { cpu: "250m".to_owned(), memory: "256Mi".to_owned(), cpu_limit: None }
}

fn migration_deadline() -> u32 {
    600
}

impl Default for Migration {
    fn default() -> Self {
        Self { resources: migration_resources(), deadline_s: migration_deadline() }
    }
}
