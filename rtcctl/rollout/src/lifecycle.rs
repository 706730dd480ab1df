//! A whole rollout as steps of a journal: what is finished, what comes next, and what to do when it is found half-way.
//!
//! Invariants:
//! - Every pair of state and trigger is done, already done or refused.
//! - A step may be begun again after any interruption: [`Resume`] says how, and no step that changes something is
//!   repeated without looking first or being the same the second time.
//! - Nothing is rolled back before its evidence was asked for, nor to anything but the recorded manifest.
//! - The exit code follows from the end alone.

use serde::{Deserialize, Serialize};

use crate::code::Code;

/// How far a rollout is: the last step that is finished.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum State {
    Planned,
    /// The previous manifest is in the journal.
    Recorded,
    /// The migration is through, or there is none.
    Migrated,
    Applied,
    /// All pods are there, with one digest.
    Watched,
    /// It has stood for the baking time.
    Baked,
    /// The metrics agree.
    Gated,
    Done,
    /// It failed; the evidence is being collected.
    Collecting {
        why: Failure,
    },
    /// The recorded manifest is being applied and watched.
    RollingBack {
        why: Failure,
    },
    RolledBack {
        why: Failure,
    },
    RollbackFailed {
        why: Failure,
    },
    /// It failed and stays as it is.
    Left {
        why: Failure,
    },
}

/// Where it failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "failure", rename_all = "snake_case")]
pub enum Failure {
    /// Before anything ran with the new version.
    Migration { code: Code },
    /// While it was watched.
    Rollout { code: Code },
    /// It was not done in time; what becomes of it is not known.
    OutOfTime,
    /// The gate saw a threshold or an objective breached.
    Gate,
    /// The gate could not say.
    Inconclusive,
    /// Somebody asked for it.
    Asked,
}

/// What happens to a rollout.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "trigger", rename_all = "snake_case")]
pub enum Trigger {
    Recorded,
    Migrated,
    Applied,
    Watched,
    Baked,
    Gated,
    Ended,
    Failed {
        why: Failure,
    },
    /// The evidence is saved, or as much of it as could be had.
    Collected,
    /// The recorded manifest is back, and its pods are.
    Restored,
    RestoreFailed,
}

/// What to do after a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnFailure {
    RollBack,
    Leave,
}

/// What became of a trigger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    Done(State),
    AlreadyDone,
    Refused(&'static str),
}

/// A step on the way, and what it means to find it begun and not finished.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    Record,
    Migrate,
    Apply,
    Watch,
    Bake,
    Gate,
    End,
    Collect,
    RollBack,
}

/// How a step is taken up that was begun by somebody who is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Resume {
    /// It only reads: do it again.
    ReadAgain,
    /// Look for the job of that name: follow it while it runs, take its end, and make it only if there is none.
    LookForJob,
    /// Apply again: server-side apply of the same manifest by the same manager changes nothing the second time.
    ApplyAgain,
    /// Go on watching what was applied, by its uid and generation from the journal; nothing is applied.
    WatchAgain,
    /// Only what is left of the time since it was begun.
    WaitTheRest,
    /// Measure again, from the time at which the step was begun.
    MeasureAgain,
}

/// Every step with how it is resumed and why that is safe: the table that the documentation prints.
pub const STEPS: [(Step, Resume, &str); 9] = [
    (
        Step::Record,
        Resume::ApplyAgain,
        "leads home from what another run has left, and deletes it by its uid; then reads; what is kept is kept",
    ),
    (
        Step::Migrate,
        Resume::LookForJob,
        "a migration runs once; its job has a name of its own for each version",
    ),
    (Step::Apply, Resume::ApplyAgain, "the same fields from the same manager: the generation stays"),
    (Step::Watch, Resume::WatchAgain, "reads; the verdict depends on the cluster alone"),
    (Step::Bake, Resume::WaitTheRest, "waits; the pods are watched meanwhile"),
    (Step::Gate, Resume::MeasureAgain, "reads metrics"),
    (
        Step::End,
        Resume::ApplyAgain,
        "leads to the same names, and deletes what it finds by its uid; what is gone is gone",
    ),
    (Step::Collect, Resume::ReadAgain, "reads; what is there already is kept"),
    (Step::RollBack, Resume::ApplyAgain, "applies the recorded manifest, the same each time, and watches it"),
];

impl Step {
    pub fn resume(self) -> Resume {
        STEPS.iter().find(|(step, ..)| *step == self).map_or(Resume::ReadAgain, |(_, resume, _)| *resume)
    }

    /// Whether the cluster may be different after it.
    pub fn changes_something(self) -> bool {
        matches!(self, Step::Record | Step::Migrate | Step::Apply | Step::End | Step::RollBack)
    }
}

impl State {
    /// What is to be done next; at an end, nothing.
    pub fn next(self) -> Option<Step> {
        match self {
            State::Planned => Some(Step::Record),
            State::Recorded => Some(Step::Migrate),
            State::Migrated => Some(Step::Apply),
            State::Applied => Some(Step::Watch),
            State::Watched => Some(Step::Bake),
            State::Baked => Some(Step::Gate),
            State::Gated => Some(Step::End),
            State::Collecting { .. } => Some(Step::Collect),
            State::RollingBack { .. } => Some(Step::RollBack),
            State::Done | State::RolledBack { .. } | State::RollbackFailed { .. } | State::Left { .. } => {
                None
            }
        }
    }

    pub fn is_end(self) -> bool {
        self.next().is_none()
    }

    fn rank(self) -> Option<u8> {
        match self {
            State::Planned => Some(0),
            State::Recorded => Some(1),
            State::Migrated => Some(2),
            State::Applied => Some(3),
            State::Watched => Some(4),
            State::Baked => Some(5),
            State::Gated => Some(6),
            State::Done => Some(7),
            _ => None,
        }
    }

    /// The exit code that an end has.
    pub fn exit(self) -> Option<u8> {
        let end = match self {
            State::Done => End::Done,
            State::RolledBack { .. } => End::RolledBack,
            State::RollbackFailed { .. } => End::RollbackFailed,
            State::Left { why: Failure::OutOfTime } => End::OutOfTime,
            State::Left { why: Failure::Gate } => End::Breached,
            State::Left { why: Failure::Inconclusive } => End::Inconclusive,
            State::Left { .. } => End::Left,
            _ => return None,
        };
        EXITS.iter().find(|(known, ..)| *known == end).map(|(_, exit, _)| *exit)
    }
}

/// The ends that differ for whoever called.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum End {
    Done,
    OutOfTime,
    Left,
    RolledBack,
    RollbackFailed,
    Breached,
    Inconclusive,
}

/// Every end with its exit code: the table that the documentation prints.
pub const EXITS: [(End, u8, &str); 7] = [
    (End::Done, 0, "every pod runs the new version, and the gate agrees"),
    (End::OutOfTime, 6, "the deadline passed; it was left under way, and what becomes of it is not known"),
    (End::Left, 23, "it failed and was not rolled back"),
    (End::RolledBack, 24, "it failed, for whatever reason, and the version before is back"),
    (End::RollbackFailed, 25, "it failed, and so did the way back: look at once"),
    (End::Breached, 30, "every pod runs, the gate saw a threshold breached, and nothing was rolled back"),
    (End::Inconclusive, 31, "every pod runs, the gate could not say, and nothing was rolled back"),
];

/// A rollout as it is kept in the journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lifecycle {
    pub state: State,
    pub on_failure: OnFailure,
}

impl Lifecycle {
    pub fn new(on_failure: OnFailure) -> Self {
        Self { state: State::Planned, on_failure }
    }

    pub fn take(&mut self, trigger: Trigger) -> Outcome {
        let outcome = next(self.state, trigger, self.on_failure);
        if let Outcome::Done(state) = outcome {
            self.state = state;
        }
        outcome
    }
}

/// The whole table.
pub fn next(state: State, trigger: Trigger, on_failure: OnFailure) -> Outcome {
    use Outcome::{AlreadyDone, Done, Refused};
    const OVER: &str = "it is over";
    let forward = |to: State| match (state.rank(), to.rank()) {
        (Some(from), Some(rank)) if rank == from + 1 => Done(to),
        (Some(from), Some(rank)) if rank <= from => AlreadyDone,
        (Some(_), _) => Refused("a step before it is not finished"),
        (None, _) => Refused("it has failed"),
    };
    match trigger {
        Trigger::Recorded => forward(State::Recorded),
        Trigger::Migrated => forward(State::Migrated),
        Trigger::Applied => forward(State::Applied),
        Trigger::Watched => forward(State::Watched),
        Trigger::Baked => forward(State::Baked),
        Trigger::Gated => forward(State::Gated),
        Trigger::Ended => forward(State::Done),
        Trigger::Failed { why } => match state {
            State::Done => Refused(OVER),
            // Nothing of the new version runs: there is nothing to take back, a migration cannot be undone.
            State::Planned | State::Recorded => Done(State::Left { why }),
            State::Collecting { .. } | State::RollingBack { .. } => AlreadyDone,
            State::RolledBack { .. } | State::RollbackFailed { .. } | State::Left { .. } => AlreadyDone,
            _ => Done(State::Collecting { why }),
        },
        Trigger::Collected => match (state, on_failure) {
            (State::Collecting { why }, OnFailure::RollBack) => Done(State::RollingBack { why }),
            (State::Collecting { why }, OnFailure::Leave) => Done(State::Left { why }),
            (
                State::RollingBack { .. }
                | State::RolledBack { .. }
                | State::RollbackFailed { .. }
                | State::Left { .. },
                _,
            ) => AlreadyDone,
            _ => Refused("nothing has failed"),
        },
        Trigger::Restored => match state {
            State::RollingBack { why } => Done(State::RolledBack { why }),
            State::RolledBack { .. } => AlreadyDone,
            State::RollbackFailed { .. } | State::Left { .. } | State::Done => Refused(OVER),
            _ => Refused("it is not being rolled back"),
        },
        Trigger::RestoreFailed => match state {
            State::RollingBack { why } => Done(State::RollbackFailed { why }),
            State::RollbackFailed { .. } => AlreadyDone,
            State::RolledBack { .. } | State::Left { .. } | State::Done => Refused(OVER),
            _ => Refused("it is not being rolled back"),
        },
    }
}

/// What a failed verdict means for the rollout.
pub fn failure_of(code: Code, during: Step) -> Failure {
    match (code, during) {
        (Code::OutOfTime, _) => Failure::OutOfTime,
        (code, Step::Migrate) => Failure::Migration { code },
        (code, _) => Failure::Rollout { code },
    }
}
