//! A release in the words of those who wait for it.
//!
//! Invariant: it is made of digests, counts, names and messages: no secret is in it.

use serde::{Deserialize, Serialize};

use crate::failure::Failure;
use crate::release::{End, Release};
use crate::step::Step;

/// The one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Word {
    Released,
    /// Before anything was changed.
    Refused,
    Failed,
    RolledBack,
    RollbackFailed,
    Stopped,
}

impl Word {
    pub const fn name(self) -> &'static str {
        match self {
            Word::Released => "released",
            Word::Refused => "refused",
            Word::Failed => "failed",
            Word::RolledBack => "rolled back",
            Word::RollbackFailed => "rollback failed",
            Word::Stopped => "stopped",
        }
    }
}

/// What is told at an end.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Story {
    pub word: Word,
    pub exit: u8,
    pub environment: String,
    pub image: String,
    pub digest: Option<String>,
    pub reference: Option<String>,
    /// The commit.
    pub revision: Option<String>,
    /// What each step that was done has done, in its order.
    pub done: Vec<(Step, String)>,
    pub skipped: Vec<(Step, String)>,
    /// Why it did not go well.
    pub failure: Option<Failure>,
    /// Of the way back.
    pub problem: Option<Failure>,
    pub evidence: Vec<String>,
}

impl Story {
    pub fn of(release: &Release, end: &End) -> Self {
        let outputs = &release.outputs;
        let word = match end {
            End::Released => Word::Released,
            End::Stopped { .. } => Word::Stopped,
            End::RolledBack { .. } => Word::RolledBack,
            End::RollbackFailed { .. } => Word::RollbackFailed,
            // A rollout that took itself back.
            End::Failed(failure) if failure.exit == 24 => Word::RolledBack,
            End::Failed(failure) if failure.exit == 25 => Word::RollbackFailed,
            End::Failed(failure) if failure.exit == 7 => Word::Refused,
            End::Failed(_) => Word::Failed,
        };
        let given = [
            outputs.budget.clone().map(crate::Given::Budget),
            outputs.plan.clone().map(crate::Given::Plan),
            outputs.apply.clone().map(crate::Given::Apply),
            outputs.build.clone().map(crate::Given::Build),
            outputs.push.clone().map(crate::Given::Push),
            outputs.deploy.clone().map(crate::Given::Deploy),
            outputs.prove.clone().map(crate::Given::Prove),
            outputs.gate.clone().map(crate::Given::Gate),
            outputs.collect.clone().map(crate::Given::Collect),
            outputs.roll_back.clone().map(crate::Given::RollBack),
        ];
        let mut evidence = end.failure().map(|failure| failure.evidence.clone()).unwrap_or_default();
        evidence.extend(outputs.collect.iter().flat_map(|collected| collected.files.iter().cloned()));
        Self {
            word,
            exit: end.exit(),
            environment: release.request.environment.clone(),
            image: release.request.image.clone(),
            digest: release.image().map(ToString::to_string),
            reference: release.reference().map(str::to_owned),
            revision: outputs.build.as_ref().and_then(|built| built.revision.clone()),
            done: given.into_iter().flatten().map(|given| (given.step(), given.sentence())).collect(),
            skipped: release
                .request
                .left_out()
                .into_iter()
                .map(|(step, reason)| (step, reason.to_owned()))
                .collect(),
            failure: end.failure().cloned(),
            problem: match end {
                End::RollbackFailed { problem, .. } => Some(problem.clone()),
                _ => None,
            },
            evidence,
        }
    }
}
