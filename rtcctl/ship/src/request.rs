//! What was asked for: an environment, an image or none, what is left out.
//!
//! Invariant: every step that is done has what it needs from a step that is done, or from the request.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::given::Digest;
use crate::step::{STEPS, Step};

/// What to do when a release turns out to be wrong after its rollout.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnFailure {
    #[default]
    RollBack,
    Leave,
}

/// An image that is there already.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pinned {
    /// `repository@sha256:…`
    pub reference: String,
    pub digest: Digest,
}

/// What follows where nobody knows whether requests were lost.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IfUnknown {
    /// The run stays open.
    #[default]
    Stop,
    /// Somebody has said that it is to go on.
    GoOn,
}

/// What becomes of the error budgets that are looked at.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Budgeting {
    /// One that is spent refuses the release.
    #[default]
    Judged,
    /// They are what the gate compares with, and refuse nothing.
    Seen,
}

/// Load that is driven through the entry point during the rollout.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Proving {
    /// The entry point, where it is not the environment's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// Requests a second.
    pub rate: f64,
    #[serde(default)]
    pub if_unknown: IfUnknown,
}

/// What a release was begun with. It is kept in the journal, and a resumed run has the same.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Request {
    pub environment: String,
    /// The image of `rtc.toml` that is built and deployed.
    pub image: String,
    /// In place of a build and a push.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pinned: Option<Pinned>,
    /// What is left out, and why.
    #[serde(default)]
    pub skip: BTreeMap<Step, String>,
    #[serde(default)]
    pub budget: Budgeting,
    #[serde(default)]
    pub on_failure: OnFailure,
    /// Resources that keep data and may be destroyed all the same.
    #[serde(default)]
    pub allow_destroy: Vec<String>,
    /// Without it, nobody is asked whether the rollout was noticed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prove: Option<Proving>,
}

/// Why a request makes no release.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("{} cannot be skipped", .0.name())]
    Always(Step),
    #[error("{} needs {}, which is skipped", step.name(), needs.name())]
    Needs { step: Step, needs: Step },
    #[error("everything is skipped")]
    Nothing,
    #[error("load is driven during deploy and judged by prove, and {} is skipped", .0.name())]
    Load(Step),
}

const ASKED: &str = "asked for";
const SEEN: &str = "asked for; the gate compares with it";
const GIVEN: &str = "the image is given";

impl Request {
    /// Puts a request together, or says what is missing in it.
    ///
    /// # Errors
    /// A step that is done would lack what it needs.
    pub fn new(
        environment: impl Into<String>,
        image: impl Into<String>,
        pinned: Option<Pinned>,
        skipped: &BTreeSet<Step>,
    ) -> Result<Self, Refusal> {
        let mut skip = BTreeMap::new();
        // The gate has to know how things stood.
        let budget = match (skipped.contains(&Step::Budget), skipped.contains(&Step::Gate)) {
            (true, false) => Budgeting::Seen,
            _ => Budgeting::Judged,
        };
        for step in skipped.iter().filter(|step| **step != Step::Budget || budget == Budgeting::Judged) {
            if !step.row().may_be_skipped {
                return Err(Refusal::Always(*step));
            }
            skip.insert(*step, ASKED.to_owned());
        }
        if pinned.is_some() {
            for step in [Step::Build, Step::Push] {
                skip.insert(step, GIVEN.to_owned());
            }
        }
        let has = |step: &Step| !skip.contains_key(step);
        for row in STEPS.iter().filter(|row| has(&row.step)) {
            for needs in row.needs {
                let is_given = pinned.is_some() && *needs == Step::Push;
                if !is_given && !has(needs) {
                    return Err(Refusal::Needs { step: row.step, needs: *needs });
                }
            }
        }
        if !Step::FORWARD.iter().any(has) {
            return Err(Refusal::Nothing);
        }
        Ok(Self {
            environment: environment.into(),
            image: image.into(),
            pinned,
            skip,
            budget,
            on_failure: OnFailure::default(),
            allow_destroy: Vec::new(),
            prove: None,
        })
    }

    /// The same, under load.
    ///
    /// # Errors
    /// There would be nothing during which to drive it, or nobody to judge it.
    pub fn proving(mut self, prove: Proving) -> Result<Self, Refusal> {
        if let Some(step) = [Step::Deploy, Step::Prove].into_iter().find(|step| self.skips(*step).is_some()) {
            return Err(Refusal::Load(step));
        }
        self.prove = Some(prove);
        Ok(self)
    }

    /// Whether a step is left out, and why.
    pub fn skips(&self, step: Step) -> Option<&str> {
        self.skip.get(&step).map(String::as_str)
    }

    /// Everything that is left out, for who believes that it was done: also a judgement whose figures are looked at.
    pub fn left_out(&self) -> Vec<(Step, &str)> {
        let seen = (self.budget == Budgeting::Seen).then_some((Step::Budget, SEEN));
        seen.into_iter().chain(self.skip.iter().map(|(step, reason)| (*step, reason.as_str()))).collect()
    }
}
