//! What each step gives to those after it, as it is kept in the journal.
//!
//! Invariant: a digest is sixty-four lower-case hexadecimal digits after `sha256:`, or it is none.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use crate::budget::Budget;
use crate::request::Budgeting;
use crate::standing::Stood;
use crate::step::Step;

/// The digest of an image, of a plan or of a manifest.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest(String);

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no digest: sha256: and sixty-four hexadecimal digits")]
pub struct NoDigest(String);

impl Digest {
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// `sha256:0123456789ab`
    pub fn short(&self) -> &str {
        self.0.get(.."sha256:".len() + 12).unwrap_or(&self.0)
    }
}

impl FromStr for Digest {
    type Err = NoDigest;

    fn from_str(text: &str) -> Result<Self, NoDigest> {
        let is_digit = |letter: u8| letter.is_ascii_digit() || (b'a'..=b'f').contains(&letter);
        match text.strip_prefix("sha256:") {
            Some(digits) if digits.len() == 64 && digits.bytes().all(is_digit) => Ok(Self(text.to_owned())),
            _ => Err(NoDigest(text.to_owned())),
        }
    }
}

impl TryFrom<String> for Digest {
    type Error = NoDigest;

    fn try_from(text: String) -> Result<Self, NoDigest> {
        text.parse()
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> Self {
        digest.0
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct BudgetSeen {
    pub budgets: Vec<Budget>,
    /// The share that had to be left of each.
    pub min: f64,
    #[serde(default)]
    pub judged: Budgeting,
    /// What the gate will measure, as it stood before anything was changed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stood: Vec<Stood>,
}

/// One resource of a plan.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PlannedChange {
    pub address: String,
    /// `create`, `update`, `replace`, `delete` …
    pub action: String,
    /// Whether what is there goes.
    pub destroys: bool,
    /// Why, where Terraform says it: `replace_because_tainted` …
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Planned {
    /// Of all that the plan would change, attribute by attribute.
    pub digest: Digest,
    pub changes: Vec<PlannedChange>,
    /// Outputs that would change.
    pub outputs: usize,
    /// In words.
    pub sentence: String,
}

impl Planned {
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty() && self.outputs == 0
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Applied {
    /// Of the plan that was carried out.
    pub plan: Digest,
    /// Of the judged plan, where what was carried out is the rest of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rest_of: Option<Digest>,
    pub sentence: String,
    /// The run of the journal that has its timings; none where nothing was to be done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Built {
    /// The name in `rtc.toml`.
    pub image: String,
    pub digest: Digest,
    pub tags: Vec<String>,
    /// Where it lies.
    pub layout: String,
    pub bytes: u64,
    /// The commit that it names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Pushed {
    /// `repository@sha256:…`
    pub reference: String,
    pub digest: Digest,
    pub bytes_sent: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<String>,
}

/// Whether requests were lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answered {
    All,
    NotAll,
    /// Too few were sent, or not during all of it.
    Unknown,
}

/// What load came to that was driven through the entry point during a rollout.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Load {
    pub answered: Answered,
    /// In words.
    pub sentence: String,
    /// Where it was driven, how much of it, and the figures.
    #[serde(default, skip_serializing_if = "Json::is_null")]
    pub details: Json,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Deployed {
    /// The digest that its manifest pins.
    pub image: Digest,
    /// Of the manifest as it was applied.
    pub manifest: Digest,
    /// The revisions, new and before, as the cluster counts them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<String>,
    /// The share of requests that were answered well meanwhile, where load was driven.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub availability: Option<f64>,
    /// What became of that load.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub load: Option<Load>,
    /// When it was done, in milliseconds since 1970: baking counts from there.
    pub done_at_ms: i64,
    /// The run of the journal that the rollout is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<String>,
    /// What else it says of itself.
    #[serde(default, skip_serializing_if = "Json::is_null")]
    pub details: Json,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Proved {
    /// What the pods run, each digest once.
    pub running: Vec<Digest>,
    pub pods: u32,
    /// Where load has shown it of the whole rollout.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub availability: Option<f64>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Gated {
    /// A verdict for each measure, as `metrics check` tells it.
    pub verdicts: Vec<Json>,
    pub sentence: String,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Collected {
    pub files: Vec<String>,
    /// What could not be had.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub missing: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RolledBack {
    /// What runs again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<Digest>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Noticed {
    /// Who was told, by the names of `rtc.toml`.
    pub told: Vec<String>,
    /// Who could not be, and why.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<String>,
}

/// What a step that is finished has given.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "of", content = "given", rename_all = "snake_case")]
pub enum Given {
    Budget(BudgetSeen),
    Plan(Planned),
    Apply(Applied),
    Build(Built),
    Push(Pushed),
    Deploy(Deployed),
    Prove(Proved),
    Gate(Gated),
    Collect(Collected),
    RollBack(RolledBack),
    Notice(Noticed),
}

impl Given {
    pub fn step(&self) -> Step {
        match self {
            Given::Budget(_) => Step::Budget,
            Given::Plan(_) => Step::Plan,
            Given::Apply(_) => Step::Apply,
            Given::Build(_) => Step::Build,
            Given::Push(_) => Step::Push,
            Given::Deploy(_) => Step::Deploy,
            Given::Prove(_) => Step::Prove,
            Given::Gate(_) => Step::Gate,
            Given::Collect(_) => Step::Collect,
            Given::RollBack(_) => Step::RollBack,
            Given::Notice(_) => Step::Notice,
        }
    }

    /// One line about it for a person.
    pub fn sentence(&self) -> String {
        match self {
            Given::Budget(seen) => match seen.judged {
                Budgeting::Judged => crate::budget::sentence(&seen.budgets),
                Budgeting::Seen => format!("not judged: {}", crate::budget::sentence(&seen.budgets)),
            },
            Given::Plan(planned) => planned.sentence.clone(),
            Given::Apply(applied) => applied.sentence.clone(),
            Given::Build(built) => format!("{} {}", built.image, built.digest.short()),
            Given::Push(pushed) if pushed.bytes_sent == 0 => format!("{} was there", pushed.digest.short()),
            Given::Push(pushed) => format!("{} sent", pushed.digest.short()),
            Given::Deploy(deployed) => {
                let revision = deployed.revision.as_deref();
                let revision = revision.map_or_else(String::new, |revision| format!(", revision {revision}"));
                format!("{}{revision}{}", deployed.image.short(), available(deployed.availability))
            }
            Given::Prove(proved) => {
                let digests: Vec<&str> = proved.running.iter().map(Digest::short).collect();
                let under_load = match proved.availability {
                    None => ", not proved under load".to_owned(),
                    shown => available(shown),
                };
                format!("{} pods run {}{under_load}", proved.pods, digests.join(", "))
            }
            Given::Gate(gated) => gated.sentence.clone(),
            Given::Collect(collected) => format!("{} files kept", collected.files.len()),
            Given::RollBack(back) => match (&back.revision, &back.image) {
                (Some(revision), _) => format!("revision {revision} is back"),
                (None, Some(image)) => format!("{} is back", image.short()),
                (None, None) => "what ran before is back".to_owned(),
            },
            Given::Notice(noticed) => match noticed.told.as_slice() {
                [] => "nobody was told".to_owned(),
                told => format!("told {}", told.join(", ")),
            },
        }
    }
}

/// Rounded down: one request that was lost is never the whole.
fn available(availability: Option<f64>) -> String {
    availability.map_or_else(String::new, |share| {
        format!(", {:.3} % available", (share * 100_000.0).floor() / 1_000.0)
    })
}

/// What all steps have given so far.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Outputs {
    pub budget: Option<BudgetSeen>,
    pub plan: Option<Planned>,
    pub apply: Option<Applied>,
    pub build: Option<Built>,
    pub push: Option<Pushed>,
    pub deploy: Option<Deployed>,
    pub prove: Option<Proved>,
    pub gate: Option<Gated>,
    pub collect: Option<Collected>,
    pub roll_back: Option<RolledBack>,
    pub notice: Option<Noticed>,
}

impl Outputs {
    pub fn keep(&mut self, given: Given) {
        match given {
            Given::Budget(one) => self.budget = Some(one),
            Given::Plan(one) => self.plan = Some(one),
            Given::Apply(one) => self.apply = Some(one),
            Given::Build(one) => self.build = Some(one),
            Given::Push(one) => self.push = Some(one),
            Given::Deploy(one) => self.deploy = Some(one),
            Given::Prove(one) => self.prove = Some(one),
            Given::Gate(one) => self.gate = Some(one),
            Given::Collect(one) => self.collect = Some(one),
            Given::RollBack(one) => self.roll_back = Some(one),
            Given::Notice(one) => self.notice = Some(one),
        }
    }
}
