//! What the admin port answers, as far as this tool reads it. Unknown fields are ignored and missing ones are empty, so
//! that neighbouring versions understand each other.

use std::collections::BTreeMap;

use kernel::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A list as both ports answer it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Page<T> {
    pub data: Vec<T>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<String>,
}

/// `GET /admin/status`
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Status {
    pub version: String,
    pub pid: i32,
    pub profile: String,
    pub started_at: Option<Timestamp>,
    pub uptime_s: f64,
    pub api_url: String,
    pub services: Vec<ServiceStatus>,
    pub orders: Orders,
    pub resident_bytes: u64,
    pub configuration: Configuration,
    /// Empty where the platform is one process.
    pub processes: Vec<ProcessStatus>,
}

/// What has become of the configuration file since the start.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Configuration {
    pub file: Option<String>,
    /// Settings that have other values at the next start.
    pub waiting: Vec<String>,
    /// What is wrong with the file as it is now.
    pub fault: Option<String>,
}

/// One process of a platform that is split.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ProcessStatus {
    pub service: String,
    pub replica: u32,
    pub pid: Option<i32>,
    /// `ready`, `starting`, `draining`, `down` or `stopped`.
    pub state: String,
    pub api_url: String,
    pub admin_url: String,
    pub restarts: u32,
    pub resident_bytes: u64,
    pub log: String,
}

impl ProcessStatus {
    /// `orders-2`
    pub fn name(&self) -> String {
        format!("{}-{}", self.service, self.replica)
    }

    /// `127.0.0.1:9101`
    pub fn address(&self) -> &str {
        self.api_url.trim_start_matches("http://")
    }
}

/// One row of the answer of `POST /admin/split/restart`
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Restarted {
    pub service: String,
    pub replica: u32,
    pub old_pid: Option<i32>,
    pub pid: Option<i32>,
    pub took_ms: u64,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ServiceStatus {
    pub name: String,
    /// `ready`, `starting` or `draining`.
    pub state: String,
    pub outbox_depth: u64,
    pub dead_letters: u64,
    pub database_bytes: u64,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Orders {
    pub by_state: BTreeMap<String, u64>,
}

impl Status {
    pub fn is_ready(&self) -> bool {
        self.services.iter().all(|service| service.state == "ready")
    }

    pub fn orders_total(&self) -> u64 {
        self.orders.by_state.values().sum()
    }

    pub fn outbox_depth(&self) -> u64 {
        self.services.iter().map(|service| service.outbox_depth).sum()
    }

    pub fn dead_letters(&self) -> u64 {
        self.services.iter().map(|service| service.dead_letters).sum()
    }
}

/// One row of `GET /admin/invariants`
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Invariant {
    pub id: String,
    pub title: String,
    /// Nothing where it could not be checked.
    pub holds: Option<bool>,
    pub checked: u64,
    pub violations: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// One row of `GET /admin/topics`
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Topic {
    pub name: String,
    pub partitions: u32,
    pub messages: u64,
    pub first_at: Option<Timestamp>,
    pub last_at: Option<Timestamp>,
}

/// One line of `GET /admin/topics/{topic}/messages`
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Message {
    #[serde(default)]
    pub topic: String,
    #[serde(default)]
    pub partition: u32,
    #[serde(default)]
    pub offset: u64,
    #[serde(default)]
    pub envelope: EventEnvelope,
    /// What was published, where it is no envelope.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unreadable: Option<String>,
}

/// The CloudEvents attributes that are shown; the rest goes along.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct EventEnvelope {
    #[serde(default)]
    pub id: String,
    #[serde(default, rename = "type")]
    pub kind: String,
    #[serde(default)]
    pub subject: String,
    #[serde(default)]
    pub time: String,
    #[serde(default)]
    pub data: Value,
    #[serde(flatten)]
    pub rest: serde_json::Map<String, Value>,
}

/// One row of `GET /admin/lag`
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Lag {
    pub group: String,
    pub topic: String,
    pub partition: u32,
    pub committed: i64,
    pub end: i64,
    pub lag: i64,
}

/// One row of `GET /admin/dead-letters`
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct DeadLetter {
    pub id: Value,
    pub service: String,
    pub consumer: String,
    pub topic: String,
    pub partition: u32,
    pub offset: i64,
    pub key: String,
    pub event_id: String,
    pub event_type: String,
    pub error: String,
    pub attempts: u32,
    pub parked_at: Option<Timestamp>,
    /// `dead`, or `waiting` behind a dead one of the same key.
    pub state: String,
    /// What was published; only where one was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub payload: Option<String>,
}

impl DeadLetter {
    /// The id as text, whether the platform numbers or names its dead letters.
    pub fn id_text(&self) -> String {
        match &self.id {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        }
    }
}

/// The answer of `POST /admin/dead-letters/replay`
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Replayed {
    pub replayed: u64,
    pub remaining: u64,
}

/// The answer of `POST /admin/dead-letters/drop`
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Dropped {
    pub dropped: u64,
    pub remaining: u64,
}

/// One document.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct One<T> {
    pub data: T,
}

/// One row of `GET /admin/consumers`: a read model
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ReadModel {
    pub service: String,
    pub consumer: String,
    pub topics: Vec<String>,
    /// `live` where no rebuild is under way.
    pub stage: String,
    pub requested_at: Option<Timestamp>,
    pub passed: u64,
    pub places: u64,
    pub can_be_abandoned: bool,
    /// Why the last rebuild came to nothing, or is not whole.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trouble: Option<String>,
}

impl ReadModel {
    pub fn is_live(&self) -> bool {
        self.stage == "live"
    }

    /// `reading, 40 %`
    pub fn progress(&self) -> String {
        match (self.passed * 100).checked_div(self.places) {
            Some(percent) if self.stage == "reading" => format!("{}, {percent} %", self.stage),
            _ => self.stage.clone(),
        }
    }
}
