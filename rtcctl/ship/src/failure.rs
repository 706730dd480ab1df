//! What a failure means: whether the run may go on later, whether the release is taken back, which exit code it has.
//!
//! Invariants: the exit code says what state things are in; what may pass by itself, or by an operator's hand, leaves
//! the run open.

use serde::{Deserialize, Serialize};

use crate::release::NOT_AGREED;
use crate::request::OnFailure;
use crate::step::Step;

/// Whether the same run may go on after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Lasting {
    /// The run stays open; `--resume` goes on with this step.
    Passing,
    /// The run is over. Another one begins at the beginning, and finds what is there.
    Lasting,
}

/// Why a step was not finished.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    pub step: Step,
    /// What the step alone would have ended with.
    pub exit: u8,
    /// The stable code of the error.
    pub code: String,
    pub message: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub causes: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hints: Vec<String>,
    /// Files that were kept.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub evidence: Vec<String>,
    pub lasting: Lasting,
}

/// What is done after a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum After {
    /// The run is over, and stands as it is.
    End,
    /// The run stays open.
    Stop,
    /// Evidence, then the way back.
    TakeBack,
}

/// Every exit code that a release may have: the table that the documentation prints.
pub const EXITS: [(u8, Lasting, &str); 17] = [
    (1, Lasting::Lasting, "a defect, or a failure that no other code describes"),
    (2, Lasting::Lasting, "the command line was wrong"),
    (3, Lasting::Lasting, "configuration or a prerequisite is wrong or missing"),
    (4, Lasting::Passing, "a credential is missing or has expired; sign in and resume"),
    (5, Lasting::Lasting, "something that was named does not exist"),
    (6, Lasting::Passing, "not done in time; what becomes of it is not known"),
    (7, Lasting::Lasting, "refused: by the budget, by the guard of the plan, or not confirmed"),
    (8, Lasting::Passing, "somebody holds a lock, or changed what was looked at"),
    (9, Lasting::Passing, "a remote does not answer"),
    (20, Lasting::Lasting, "terraform failed; what it had changed stays changed"),
    (21, Lasting::Lasting, "the build failed; nothing runs that is new"),
    (22, Lasting::Lasting, "the push failed; nothing runs that is new"),
    (23, Lasting::Lasting, "the rollout failed and was not rolled back"),
    (24, Lasting::Lasting, "the release failed, and what ran before is back"),
    (25, Lasting::Lasting, "the release failed, and so did the way back: look at once"),
    (30, Lasting::Lasting, "the new version runs, and a measure is breached"),
    (31, Lasting::Passing, "it cannot be said: no data, or too few samples"),
];

impl Failure {
    /// With what the exit code says about whether it passes.
    pub fn new(step: Step, exit: u8, code: impl Into<String>, message: impl Into<String>) -> Self {
        let lasting = match exit {
            130 | 143 => Lasting::Passing,
            _ => EXITS
                .iter()
                .find(|(known, ..)| *known == exit)
                .map_or(Lasting::Lasting, |(_, lasting, _)| *lasting),
        };
        Self {
            step,
            exit,
            code: code.into(),
            message: message.into(),
            causes: Vec::new(),
            hints: Vec::new(),
            evidence: Vec::new(),
            lasting,
        }
    }

    /// It does not pass, whatever its exit code says of others.
    #[must_use]
    pub fn lasting(mut self) -> Self {
        self.lasting = Lasting::Lasting;
        self
    }

    /// Whether a person asked to stop.
    pub fn is_wish(&self) -> bool {
        matches!(self.exit, 130 | 143)
    }

    /// Whether it is only that nobody said yes.
    pub fn is_no(&self) -> bool {
        NOT_AGREED.contains(&self.code.as_str())
    }
}

/// What is done after a failure of a step of the way forward.
pub fn after(failure: &Failure, on_failure: OnFailure) -> After {
    match (failure.lasting, failure.step, on_failure) {
        (Lasting::Passing, ..) => After::Stop,
        // A rollout takes itself back, or says that it did not.
        (Lasting::Lasting, Step::Prove | Step::Gate, OnFailure::RollBack) => After::TakeBack,
        (Lasting::Lasting, ..) => After::End,
    }
}
