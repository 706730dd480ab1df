//! A second version beside the first: weights one after another, judged at each, promoted or taken back.
//!
//! A canary grows by weights of its own choice, through a mesh or by numbers of pods. Blue-green is the same machine
//! with other steps: nothing at first, then everything at once.
//!
//! Invariants:
//! - Every pair of state and trigger is done, already done or refused; nothing is dropped silently.
//! - A state says what has to be true in the cluster ([`State::action`]), and making it true twice is the same as once:
//!   whoever finds a state in the journal does its action and goes on.
//! - No way leads to more weight without a passed analysis, except by the operator's word.
//! - An end is an end.

pub mod analysis;
pub mod split;

use std::time::Duration;

use kernel::Timestamp;
use serde::{Deserialize, Serialize};

use analysis::Verdict;

/// One step of a canary.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// Percent of the traffic for the new version, 1 to 100, growing; of a switch 0 and 100.
    pub weight: u8,
    /// How long it stays so at least.
    pub hold: Duration,
    /// Whether somebody has to say that it goes on.
    pub approval: Approval,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Approval {
    /// The analysis is enough.
    Analysis,
    /// It waits for an operator after a passed analysis.
    Operator,
}

/// By what the weight is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum By {
    /// The mesh or the gateway splits the traffic; exact.
    Mesh,
    /// The numbers of pods split it; as near as whole pods allow.
    Replicas { total: u32 },
    /// What leads traffic leads it to one version or to the other.
    Switch,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    pub by: By,
    pub steps: Vec<Step>,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    #[error("a canary without a step")]
    NoStep,
    #[error("step {step} has weight {weight}, which is not above {before} and at most 100")]
    Weight { step: usize, weight: u8, before: u8 },
    #[error("a canary by replicas of no replica")]
    NoReplica,
    #[error("step {step} has weight {weight}, and a switch is at 0 or at 100")]
    Half { step: usize, weight: u8 },
}

impl Plan {
    pub fn new(by: By, steps: Vec<Step>) -> Result<Self, PlanError> {
        if steps.is_empty() {
            return Err(PlanError::NoStep);
        }
        if by == (By::Replicas { total: 0 }) {
            return Err(PlanError::NoReplica);
        }
        let mut before = None;
        for (index, step) in steps.iter().enumerate() {
            // A switch may stand at nothing first; whatever else is begun begins with something.
            let is_more = match (by, before) {
                (By::Switch, None) => true,
                (_, before) => step.weight > before.unwrap_or(0),
            };
            if !is_more || step.weight > 100 {
                let before = before.unwrap_or(0);
                return Err(PlanError::Weight { step: index, weight: step.weight, before });
            }
            if by == By::Switch && !matches!(step.weight, 0 | 100) {
                return Err(PlanError::Half { step: index, weight: step.weight });
            }
            before = Some(step.weight);
        }
        Ok(Self { by, steps })
    }
}

/// Why a canary stands still.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pause {
    /// An operator asked for it.
    Asked,
    /// The step wants an operator's approval.
    Approval,
    /// The analysis cannot say; a person has to.
    Inconclusive,
}

/// Why a canary was taken back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    Asked,
    /// The analysis failed.
    Failed,
    /// The analysis could not be made too often.
    Error,
    /// The canary's own pods failed.
    Pods,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum State {
    Planned,
    /// The weight of the step is being set.
    Shifting {
        step: usize,
    },
    /// It is set; the analysis runs.
    Holding {
        step: usize,
        since: Timestamp,
    },
    /// It is set, and nothing more happens until somebody says so.
    Paused {
        step: usize,
        why: Pause,
    },
    /// The new version takes everything over.
    Promoting,
    Promoted,
    /// The old version takes everything back.
    Aborting {
        why: Reason,
    },
    Aborted {
        why: Reason,
    },
}

/// What happened. The step in it is the one that it is about, so that what comes late is known as late.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "trigger", rename_all = "snake_case")]
pub enum Trigger {
    Begin,
    /// The cluster has the weight of the step, and the canary's pods are ready.
    Shifted {
        step: usize,
    },
    /// The analysis of the step says.
    Judged {
        step: usize,
        verdict: Verdict,
    },
    /// The canary's pods failed.
    PodsFailed,
    /// The operator: stand still.
    Pause,
    /// The operator: go on.
    Resume,
    /// The operator: all of it, now.
    Promote,
    /// The operator: take it back.
    Abort,
    /// The cluster has nothing but the new version.
    TookOver,
    /// The cluster has nothing but the old version.
    TookBack,
}

/// What has to be made true in the cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "action", rename_all = "snake_case")]
pub enum Action {
    /// Nothing, but perhaps watching.
    Nothing,
    /// This weight, in percent, by whatever the plan says.
    SetWeight { weight: u8 },
    /// Measure, and report verdicts until one is final, but not before the hold is over.
    Analyse { step: usize, until: Timestamp },
    /// The stable workload gets the new version; then the canary goes.
    Replace,
    /// All weight to the stable workload; then the canary goes.
    TakeBack,
}

/// What became of a trigger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    Done(State),
    /// It had happened before.
    AlreadyDone,
    Refused(&'static str),
}

/// A canary as it is kept in the journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Canary {
    pub plan: Plan,
    pub state: State,
}

impl Canary {
    pub fn new(plan: Plan) -> Self {
        Self { plan, state: State::Planned }
    }

    /// Takes a trigger in; the state changes only when it is done.
    pub fn take(&mut self, trigger: Trigger, now: Timestamp) -> Outcome {
        let outcome = next(&self.plan, self.state, trigger, now);
        if let Outcome::Done(state) = outcome {
            self.state = state;
        }
        outcome
    }

    pub fn action(&self) -> Action {
        let weight = |step: usize| self.plan.steps.get(step).map_or(0, |step| step.weight);
        match self.state {
            State::Planned | State::Promoted | State::Aborted { .. } => Action::Nothing,
            State::Shifting { step } | State::Paused { step, .. } => {
                Action::SetWeight { weight: weight(step) }
            }
            State::Holding { step, since } => {
                let hold = self.plan.steps.get(step).map_or(Duration::ZERO, |step| step.hold);
                Action::Analyse { step, until: since.plus(hold) }
            }
            State::Promoting => Action::Replace,
            State::Aborting { .. } => Action::TakeBack,
        }
    }
}

impl State {
    pub fn is_end(self) -> bool {
        matches!(self, State::Promoted | State::Aborted { .. })
    }

    fn step(self) -> Option<usize> {
        match self {
            State::Shifting { step } | State::Holding { step, .. } | State::Paused { step, .. } => Some(step),
            _ => None,
        }
    }
}

/// The whole table.
pub fn next(plan: &Plan, state: State, trigger: Trigger, now: Timestamp) -> Outcome {
    use Outcome::{AlreadyDone, Done, Refused};
    const NOT_BEGUN: &str = "it has not begun";
    const OVER: &str = "it is over";
    const GOING_BACK: &str = "it is being taken back";
    const TAKING_OVER: &str = "the new version is taking over";
    const NOT_YET: &str = "that step has not come yet";
    match (state, trigger) {
        (State::Planned, Trigger::Begin) => Done(State::Shifting { step: 0 }),
        (_, Trigger::Begin) => AlreadyDone,
        // Nothing was changed yet, so there is nothing to take back.
        (State::Planned, Trigger::Abort) => Done(State::Aborted { why: Reason::Asked }),
        (State::Planned, _) => Refused(NOT_BEGUN),

        (State::Promoted, Trigger::TookOver | Trigger::Promote) => AlreadyDone,
        (State::Promoted, Trigger::Shifted { .. } | Trigger::Judged { .. }) => AlreadyDone,
        (State::Promoted, _) => Refused(OVER),
        (State::Aborted { .. }, Trigger::TookBack | Trigger::Abort | Trigger::PodsFailed) => AlreadyDone,
        (State::Aborted { .. }, Trigger::Shifted { .. } | Trigger::Judged { .. }) => AlreadyDone,
        (State::Aborted { .. }, _) => Refused(OVER),

        (State::Promoting, Trigger::TookOver) => Done(State::Promoted),
        (State::Promoting, Trigger::Promote | Trigger::Resume) => AlreadyDone,
        (State::Promoting, Trigger::Shifted { .. } | Trigger::Judged { .. }) => AlreadyDone,
        (State::Promoting, Trigger::Abort) => Done(State::Aborting { why: Reason::Asked }),
        (State::Promoting, Trigger::PodsFailed) => Done(State::Aborting { why: Reason::Pods }),
        (State::Promoting, Trigger::Pause | Trigger::TookBack) => Refused(TAKING_OVER),

        (State::Aborting { why }, Trigger::TookBack) => Done(State::Aborted { why }),
        (State::Aborting { .. }, Trigger::Abort | Trigger::PodsFailed) => AlreadyDone,
        (State::Aborting { .. }, Trigger::Shifted { .. } | Trigger::Judged { .. }) => AlreadyDone,
        (State::Aborting { .. }, Trigger::Pause | Trigger::Resume | Trigger::Promote | Trigger::TookOver) => {
            Refused(GOING_BACK)
        }

        // From here on a step is under way.
        (_, Trigger::Abort) => Done(State::Aborting { why: Reason::Asked }),
        (_, Trigger::PodsFailed) => Done(State::Aborting { why: Reason::Pods }),
        (_, Trigger::Promote) => Done(State::Promoting),
        (_, Trigger::TookOver | Trigger::TookBack) => Refused("a step is under way"),
        (_, Trigger::Shifted { step } | Trigger::Judged { step, .. }) if Some(step) < state.step() => {
            AlreadyDone
        }
        (_, Trigger::Shifted { step } | Trigger::Judged { step, .. }) if Some(step) > state.step() => {
            Refused(NOT_YET)
        }

        (State::Shifting { step }, Trigger::Shifted { .. }) => Done(State::Holding { step, since: now }),
        (State::Shifting { .. }, Trigger::Judged { .. }) => Refused("its weight is not set yet"),
        (State::Shifting { step }, Trigger::Pause) => Done(State::Paused { step, why: Pause::Asked }),
        (State::Shifting { .. }, Trigger::Resume) => AlreadyDone,

        (State::Holding { .. }, Trigger::Shifted { .. } | Trigger::Resume) => AlreadyDone,
        (State::Holding { step, .. }, Trigger::Pause) => Done(State::Paused { step, why: Pause::Asked }),
        (State::Holding { step, since }, Trigger::Judged { verdict, .. }) => match verdict {
            Verdict::Fail => Done(State::Aborting { why: Reason::Failed }),
            Verdict::Error => Done(State::Aborting { why: Reason::Error }),
            Verdict::Inconclusive => Done(State::Paused { step, why: Pause::Inconclusive }),
            Verdict::Running => AlreadyDone,
            Verdict::Pass => {
                let Some(current) = plan.steps.get(step) else { return Refused(NOT_YET) };
                if now < since.plus(current.hold) {
                    Refused("its time is not over yet")
                } else if current.approval == Approval::Operator {
                    Done(State::Paused { step, why: Pause::Approval })
                } else {
                    Done(after(plan, step))
                }
            }
        },

        (State::Paused { why: Pause::Asked, .. }, Trigger::Pause) => AlreadyDone,
        (State::Paused { .. }, Trigger::Pause) => AlreadyDone,
        (State::Paused { .. }, Trigger::Shifted { .. }) => AlreadyDone,
        // Whoever asked for the pause goes on where it was; who approves goes on to the next.
        (State::Paused { step, why: Pause::Asked }, Trigger::Resume) => Done(State::Shifting { step }),
        (State::Paused { step, .. }, Trigger::Resume) => Done(after(plan, step)),
        // A bad verdict that was under way when it was paused is not lost.
        (State::Paused { .. }, Trigger::Judged { verdict, .. }) => match verdict {
            Verdict::Fail => Done(State::Aborting { why: Reason::Failed }),
            Verdict::Error => Done(State::Aborting { why: Reason::Error }),
            Verdict::Inconclusive | Verdict::Running | Verdict::Pass => AlreadyDone,
        },
    }
}

fn after(plan: &Plan, step: usize) -> State {
    if step + 1 < plan.steps.len() { State::Shifting { step: step + 1 } } else { State::Promoting }
}
