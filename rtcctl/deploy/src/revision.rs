//! What was deployed, kept in the cluster: a ConfigMap a revision.
//!
//! Invariants: a revision's manifest is written once and never changed, only its status and when its run was heard of;
//! numbers grow; a run has one revision, however often it is taken up again; what could be gone back to is kept.

use std::fmt;
use std::time::Duration;

use kernel::Timestamp;
use kubernetes::write::{Delete, Effect};
use kubernetes::{Error, Gvk, Result};
use manifests::render::ENVIRONMENT;
use rollout::objects::Uid;
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};

use crate::manifest::Manifest;
use crate::port::Port;
use crate::run;

/// Not the label of what is deployed: a prune passes it by.
const KEEPER: (&str, &str) = ("app.kubernetes.io/managed-by", "rtcctl-history");
const NUMBER: &str = "rtc.io/revision";
const STATUS: &str = "rtc.io/revision-status";
const RUN: &str = "rtc.io/run";
/// Milliseconds since 1970, or [`WAITS`].
const HEARD: &str = "rtc.io/revision-heard";
const WAITS: &str = "waits";
/// Milliseconds since 1970, while it waits.
const SINCE: &str = "rtc.io/revision-waits-since";
/// Revisions that stay.
const KEPT: usize = 12;
/// A run that nobody has heard of for longer is taken for dead.
const UNDER_WAY: Duration = Duration::from_secs(30 * 60);
/// Tries for a free number when others deploy at the same time.
const TRIES: u32 = 5;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    /// Its run is under way, or died.
    Pending,
    Deployed,
    /// It was, until another one came.
    Superseded,
    /// It failed, and the one before came back.
    RolledBack,
    /// It failed and stayed as it was.
    Failed,
}

impl Status {
    pub fn name(self) -> &'static str {
        match self {
            Status::Pending => "pending",
            Status::Deployed => "deployed",
            Status::Superseded => "superseded",
            Status::RolledBack => "rolled-back",
            Status::Failed => "failed",
        }
    }

    fn named(name: &str) -> Option<Self> {
        [Status::Pending, Status::Deployed, Status::Superseded, Status::RolledBack, Status::Failed]
            .into_iter()
            .find(|status| status.name() == name)
    }
}

/// What is known of a revision without its manifest.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Head {
    pub number: u64,
    pub status: Status,
    pub run: String,
    pub by: String,
    pub command: String,
    pub image: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    pub at: Timestamp,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Revision {
    #[serde(flatten)]
    pub head: Head,
    pub manifest: Manifest,
    /// What it was rendered from, as JSON: a canary is made of it.
    #[serde(default, skip_serializing_if = "Json::is_null")]
    pub description: Json,
    /// Kept beside it, for it changes.
    #[serde(skip)]
    pub heard: Heard,
}

/// What a run said of itself last.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Heard {
    /// Nothing since it began.
    #[default]
    Never,
    /// Somebody works on it.
    At(Timestamp),
    /// It stands still until somebody says how it goes on, however long that takes.
    Waits {
        /// Not told by programs before this one.
        since: Option<Timestamp>,
    },
}

impl Heard {
    /// As labels; those that go are null.
    fn told(self) -> Json {
        let ms = |at: Timestamp| at.as_millis().to_string();
        let (heard, since) = match self {
            Heard::Never => (String::new(), None),
            Heard::At(at) => (ms(at), None),
            Heard::Waits { since } => (WAITS.to_owned(), since.map(ms)),
        };
        json!({ HEARD: heard, SINCE: since })
    }

    fn read(labels: &Json) -> Self {
        let at = |label: &str| labels[label].as_str()?.parse().ok().map(Timestamp::from_millis);
        match labels[HEARD] == WAITS {
            true => Heard::Waits { since: at(SINCE) },
            false => at(HEARD).map_or(Heard::Never, Heard::At),
        }
    }
}

/// The run of somebody else that may still go on.
#[derive(Debug, Clone, PartialEq)]
pub struct Other {
    pub head: Head,
    pub heard: Heard,
}

impl fmt::Display for Other {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Head { command, by, at, run, .. } = &self.head;
        write!(f, "{command} of {by} ")?;
        match self.heard {
            Heard::Waits { since: Some(since) } => write!(f, "waits for a word since {since}")?,
            Heard::Waits { since: None } => f.write_str("waits for a word")?,
            Heard::At(heard) => write!(f, "seems to be under way since {at}, and was heard of at {heard}")?,
            Heard::Never => write!(f, "seems to be under way since {at}")?,
        }
        write!(f, ": {run}")
    }
}

/// Where the revisions of an environment are.
#[derive(Clone, Copy)]
pub struct History<'a> {
    pub port: &'a dyn Port,
    pub namespace: &'a str,
    pub environment: &'a str,
}

/// What becomes of a run whose end nobody has heard of.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Others {
    /// Nothing is begun beside it.
    #[default]
    Respected,
    /// It is known to be dead, or not to matter.
    TakenOver,
}

/// The newest revision where it is of another run that may still go on.
pub fn under_way(all: &[Revision], run: &str, now: Timestamp) -> Option<Other> {
    let newest = all.first()?;
    let head = &newest.head;
    let may_live = match newest.heard {
        Heard::Waits { .. } => true,
        Heard::At(at) => now < at.max(head.at).plus(UNDER_WAY),
        Heard::Never => now < head.at.plus(UNDER_WAY),
    };
    let is_other = head.status == Status::Pending && head.run != run && may_live;
    is_other.then(|| Other { head: head.clone(), heard: newest.heard })
}

fn gvk() -> Gvk {
    Gvk::named("v1", "ConfigMap")
}

impl History<'_> {
    fn labels(&self) -> String {
        format!("{}={},{ENVIRONMENT}={}", KEEPER.0, KEEPER.1, self.environment)
    }

    /// Every revision, the newest first. One that cannot be read is passed by.
    pub async fn all(&self) -> Result<Vec<Revision>> {
        let items = self.port.list(&gvk(), self.namespace, &self.labels()).await?;
        let mut revisions: Vec<Revision> = items.iter().filter_map(read).collect();
        revisions.sort_by_key(|revision| std::cmp::Reverse(revision.head.number));
        Ok(revisions)
    }

    /// What runs: the newest that came through.
    pub async fn current(&self) -> Result<Option<Revision>> {
        Ok(self.all().await?.into_iter().find(|revision| revision.head.status == Status::Deployed))
    }

    /// The revision of a run; made if there is none, unless the run of somebody else seems to be under way.
    pub async fn begin(&self, mut revision: Revision, others: Others) -> run::Result<Head> {
        let mut tries = TRIES;
        loop {
            let all = self.all().await?;
            if let Some(ours) = all.iter().find(|known| known.head.run == revision.head.run) {
                return Ok(ours.head.clone());
            }
            if others == Others::Respected
                && let Some(other) = under_way(&all, &revision.head.run, revision.head.at)
            {
                return Err(run::Error::UnderWay(Box::new(other)));
            }
            revision.head.number = all.first().map_or(1, |newest| newest.head.number + 1);
            match self.port.create(&self.document(&revision)).await {
                Ok(_) => return Ok(revision.head),
                Err(Error::Exists { .. }) if tries > 0 => tries -= 1,
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// A revision that came after the run's own, or, where it has none, after the one that it has found.
    pub async fn newer(&self, run: &str, found: u64) -> Result<Option<Head>> {
        let all = self.all().await?;
        let newer = match all.iter().find(|one| one.head.run == run) {
            Some(ours) => all.first().filter(|newest| newest.head.number > ours.head.number),
            // It has made none yet, or makes none.
            None => {
                let deployed = all.iter().find(|one| one.head.status == Status::Deployed);
                deployed.filter(|deployed| deployed.head.number > found)
            }
        };
        Ok(newer.map(|newer| newer.head.clone()))
    }

    /// Says that a run whose end is not known yet goes on, or what it waits for.
    pub async fn hear(&self, run: &str, heard: Heard) -> Result<()> {
        let all = self.all().await?;
        let is_ours = |one: &&Revision| one.head.run == run && one.head.status == Status::Pending;
        let Some(ours) = all.iter().find(is_ours) else { return Ok(()) };
        self.port.label(&gvk(), self.namespace, &name(ours.head.number), &heard.told()).await.map(drop)
    }

    /// Says what became of a run's revision. What was deployed before is superseded by one that came through.
    pub async fn ended(&self, run: &str, status: Status) -> Result<()> {
        let all = self.all().await?;
        let Some(ours) = all.iter().find(|revision| revision.head.run == run) else { return Ok(()) };
        if ours.head.status != status {
            self.mark(ours.head.number, status).await?;
        }
        if status == Status::Deployed {
            let others = all.iter().filter(|other| other.head.number != ours.head.number);
            for older in others.filter(|other| other.head.status == Status::Deployed) {
                self.mark(older.head.number, Status::Superseded).await?;
            }
        }
        self.forget(&all).await
    }

    async fn mark(&self, number: u64, status: Status) -> Result<()> {
        let labels = json!({ STATUS: status.name() });
        self.port.label(&gvk(), self.namespace, &name(number), &labels).await.map(drop)
    }

    async fn forget(&self, all: &[Revision]) -> Result<()> {
        let old = all.iter().skip(KEPT).filter(|revision| revision.head.status != Status::Deployed);
        for revision in old {
            let how = Delete { uid: None::<Uid>, effect: Effect::Real, ..Delete::default() };
            self.port.delete(&gvk(), self.namespace, &name(revision.head.number), &how).await?;
        }
        Ok(())
    }

    fn document(&self, revision: &Revision) -> Json {
        let head = &revision.head;
        let text = serde_json::to_string(revision).unwrap_or_default();
        json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {
                "name": name(head.number),
                "namespace": self.namespace,
                "labels": {
                    KEEPER.0: KEEPER.1,
                    ENVIRONMENT: self.environment,
                    NUMBER: head.number.to_string(),
                    STATUS: head.status.name(),
                    RUN: label(&head.run),
                },
            },
            "data": { "revision": text },
        })
    }
}

fn name(number: u64) -> String {
    format!("rtc-revision-{number}")
}

/// The end of a run's name, where it is longer than a label may be.
fn label(run: &str) -> &str {
    const MOST: usize = 63;
    let from = run.len().saturating_sub(MOST);
    run.get(from..).unwrap_or_default().trim_start_matches('-')
}

fn read(object: &Json) -> Option<Revision> {
    let mut revision: Revision = serde_json::from_str(object["data"]["revision"].as_str()?).ok()?;
    // The labels alone are changed afterwards.
    let labels = &object["metadata"]["labels"];
    revision.head.status = Status::named(labels[STATUS].as_str()?)?;
    revision.heard = Heard::read(labels);
    Some(revision)
}
