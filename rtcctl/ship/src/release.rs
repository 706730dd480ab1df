//! A release as it stands: folded from what the journal says, and what comes next.
//!
//! Invariants: every pair of state and fact is done, already done or refused; a digest that is not the one before it is
//! never taken; a failure that may pass is no fact, so that the next process begins where this one was.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::failure::{After, Failure, after};
use crate::given::{Answered, Digest, Given, Noticed, Outputs};
use crate::request::{IfUnknown, OnFailure, Request};
use crate::step::{How, Step};

/// The code of a digest that is not the one before it.
pub const OTHER_DIGEST: &str = "SHP004";
/// The code of pods that run another one, or of none.
pub const OTHER_RUNS: &str = "SHP010";
/// The codes of a rollout that lost requests, and of one of which nobody knows it.
pub const LOST: &str = "DEP030";
pub const UNKNOWN: &str = "DEP031";
/// The codes of a question that nobody answered with a yes.
pub const NOT_AGREED: [&str; 2] = ["CNF001", "INF016"];

/// What became of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mark {
    Begun,
    Finished,
    Failed,
    Skipped,
}

/// What is written down.
#[derive(Debug, Clone, PartialEq)]
pub enum Fact {
    /// `inputs` are the digests that it works on.
    Begun {
        step: Step,
        inputs: String,
    },
    Finished {
        given: Given,
    },
    /// It does not pass.
    Failed {
        failure: Failure,
    },
    Skipped {
        step: Step,
        reason: String,
    },
    /// How things stood is too old to be judged by: the budget is looked at once more.
    LookAgain,
}

/// What became of a fact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    Done,
    AlreadyDone,
    Refused(&'static str),
}

/// What is to be done now.
#[derive(Debug, Clone, PartialEq)]
pub enum Next {
    Do { step: Step, how: How },
    Skip { step: Step, reason: String },
    End(Box<End>),
}

/// How it ended.
#[derive(Debug, Clone, PartialEq)]
pub enum End {
    Released,
    /// It failed, and stands as it is.
    Failed(Failure),
    /// It failed, and what ran before is back.
    RolledBack {
        why: Failure,
    },
    RollbackFailed {
        why: Failure,
        problem: Failure,
    },
    /// The run is open; another process goes on with it.
    Stopped {
        why: Failure,
        noticed: Option<Noticed>,
    },
}

impl End {
    pub fn exit(&self) -> u8 {
        match self {
            End::Released => 0,
            // Every pod runs it, and requests were lost on the way.
            End::Failed(failure) if failure.code == LOST => failure.exit,
            End::Failed(failure) if failure.step == Step::Prove => 23,
            End::Failed(failure) => failure.exit,
            End::RolledBack { .. } => 24,
            End::RollbackFailed { .. } => 25,
            End::Stopped { why, .. } => why.exit,
        }
    }

    pub fn failure(&self) -> Option<&Failure> {
        match self {
            End::Released => None,
            End::Failed(why)
            | End::RolledBack { why }
            | End::RollbackFailed { why, .. }
            | End::Stopped { why, .. } => Some(why),
        }
    }
}

/// A release as the journal knows it.
#[derive(Debug, Clone, PartialEq)]
pub struct Release {
    pub request: Request,
    marks: BTreeMap<Step, Mark>,
    pub outputs: Outputs,
    failure: Option<Failure>,
    /// Of the way back.
    problem: Option<Failure>,
}

impl Release {
    pub fn new(request: Request) -> Self {
        Self { request, marks: BTreeMap::new(), outputs: Outputs::default(), failure: None, problem: None }
    }

    /// From what was written down, in its order.
    ///
    /// # Errors
    /// Somebody wrote what cannot have been: the first fact that is refused, by its place and why.
    pub fn fold(
        request: Request,
        facts: impl IntoIterator<Item = Fact>,
    ) -> Result<Self, (usize, &'static str)> {
        let mut release = Self::new(request);
        for (place, fact) in facts.into_iter().enumerate() {
            if let Outcome::Refused(reason) = release.take(fact) {
                return Err((place, reason));
            }
        }
        Ok(release)
    }

    pub fn mark(&self, step: Step) -> Option<Mark> {
        self.marks.get(&step).copied()
    }

    pub fn failure(&self) -> Option<&Failure> {
        self.failure.as_ref()
    }

    fn is_over(&self, step: Step) -> bool {
        matches!(self.mark(step), Some(Mark::Finished | Mark::Skipped | Mark::Failed))
    }

    fn todo(&self, step: Step) -> Next {
        match self.request.skips(step) {
            Some(reason) => Next::Skip { step, reason: reason.to_owned() },
            None => Next::Do { step, how: self.how(step) },
        }
    }

    fn how(&self, step: Step) -> How {
        match self.mark(step) {
            Some(Mark::Begun) => How::Again,
            _ => How::First,
        }
    }

    /// The steps that are still ahead, in their order, and the end.
    fn way(&self) -> (&'static [Step], End) {
        const BACK: &[Step] = &[Step::Collect, Step::RollBack, Step::Notice];
        const TOLD: &[Step] = &[Step::Notice];
        let Some(why) = self.failure.clone() else { return (Step::WAY, End::Released) };
        match (after(&why, self.request.on_failure), self.problem.clone()) {
            (After::TakeBack, None) => (BACK, End::RolledBack { why }),
            (After::TakeBack, Some(problem)) => (BACK, End::RollbackFailed { why, problem }),
            (After::End | After::Stop, _) => (TOLD, End::Failed(why)),
        }
    }

    /// What is to be done now.
    pub fn next(&self) -> Next {
        let (way, end) = self.way();
        match way.iter().find(|step| !self.is_over(**step)) {
            Some(step) => self.todo(*step),
            None => Next::End(Box::new(end)),
        }
    }

    /// What it has come to, or will when everybody was told.
    pub fn end(&self) -> End {
        self.way().1
    }

    /// The digest of the image, as soon as it is known.
    pub fn image(&self) -> Option<&Digest> {
        let built = self.outputs.build.as_ref().map(|built| &built.digest);
        let given = self.request.pinned.as_ref().map(|pinned| &pinned.digest);
        built.or(given)
    }

    /// The reference that is deployed, as soon as the registry has it.
    pub fn reference(&self) -> Option<&str> {
        let pushed = self.outputs.push.as_ref().map(|pushed| pushed.reference.as_str());
        let given = self.request.pinned.as_ref().map(|pinned| pinned.reference.as_str());
        pushed.or(given)
    }

    /// What decides what a step does, in digests.
    pub fn inputs(&self, step: Step) -> String {
        let image = || self.image().map(Digest::to_string).unwrap_or_default();
        match step {
            Step::Apply => self.outputs.plan.as_ref().map(|plan| plan.digest.to_string()).unwrap_or_default(),
            Step::Push | Step::Deploy => image(),
            Step::Prove | Step::Gate | Step::Collect | Step::RollBack => {
                let manifest = self.outputs.deploy.as_ref().map(|deployed| deployed.manifest.as_str());
                format!("{} {}", image(), manifest.unwrap_or_default()).trim_end().to_owned()
            }
            Step::Budget | Step::Plan | Step::Build | Step::Notice => String::new(),
        }
    }

    /// Asserts that what a step gives belongs to what it was given: one digest from the build to the pods.
    ///
    /// # Errors
    /// It is another one; the failure says which two.
    pub fn hand_over(&self, given: &Given) -> Result<(), Box<Failure>> {
        let planned = self.outputs.plan.as_ref().map(|plan| &plan.digest);
        let same = |what: &str, is: &Digest, wanted: Option<&Digest>, exit: u8| match wanted {
            Some(wanted) if wanted == is => Ok(()),
            Some(wanted) => Err(other(given.step(), exit, format!("{what} {is}, and it was given {wanted}"))),
            None => Err(other(given.step(), exit, format!("{what} {is}, and it was given none"))),
        };
        match given {
            Given::Apply(applied) => {
                let judged = applied.rest_of.as_ref().unwrap_or(&applied.plan);
                same("the plan that was applied is", judged, planned, 8)
            }
            Given::Push(pushed) => {
                same("the registry has", &pushed.digest, self.image(), 22)?;
                match pushed.reference.ends_with(&format!("@{}", pushed.digest)) {
                    true => Ok(()),
                    false => {
                        let message = format!("{} does not name {}", pushed.reference, pushed.digest);
                        Err(other(Step::Push, 22, message))
                    }
                }
            }
            Given::Deploy(deployed) => same("the manifest pins", &deployed.image, self.image(), 23),
            Given::Prove(proved) => match proved.running.as_slice() {
                [] => Err(other(Step::Prove, 23, "no pod runs it".to_owned())),
                running => {
                    running.iter().try_for_each(|one| same("a pod runs", one, self.image(), 23))?;
                    self.under_load()
                }
            },
            _ => Ok(()),
        }
    }

    /// Whether load has shown what it was to show. What was lost is lost, whoever goes on.
    fn under_load(&self) -> Result<(), Box<Failure>> {
        let Some(asked) = &self.request.prove else { return Ok(()) };
        let load = self.outputs.deploy.as_ref().and_then(|deployed| deployed.load.as_ref());
        let answered = load.map_or(Answered::Unknown, |load| load.answered);
        let sentence = load.map_or("no load was driven during the rollout", |load| load.sentence.as_str());
        match (answered, asked.if_unknown) {
            (Answered::All, _) | (Answered::Unknown, IfUnknown::GoOn) => Ok(()),
            (Answered::NotAll, _) => Err(Box::new(Failure::new(Step::Prove, 30, LOST, sentence))),
            (Answered::Unknown, IfUnknown::Stop) => {
                Err(Box::new(Failure::new(Step::Prove, 31, UNKNOWN, sentence)))
            }
        }
    }

    pub fn take(&mut self, fact: Fact) -> Outcome {
        match fact {
            Fact::Begun { step, .. } => self.begin(step),
            Fact::Finished { given } => self.finish(given),
            Fact::Failed { failure } => self.fail(failure),
            Fact::Skipped { step, reason } => match self.next() {
                Next::Skip { step: next, .. } if next == step => {
                    self.marks.insert(step, Mark::Skipped);
                    Outcome::Done
                }
                _ if self.mark(step) == Some(Mark::Skipped) => Outcome::AlreadyDone,
                _ if reason.is_empty() => Outcome::Refused("a step is skipped for a reason"),
                _ => Outcome::Refused("it is not this step's turn to be skipped"),
            },
            Fact::LookAgain if self.may_look_again() => {
                self.marks.remove(&Step::Budget);
                Outcome::Done
            }
            Fact::LookAgain => match self.mark(Step::Budget) {
                Some(Mark::Finished) => Outcome::Refused("nothing stands any more as it did before"),
                _ => Outcome::AlreadyDone,
            },
        }
    }

    /// Whether how things stand can still be seen as it is without this release.
    pub fn may_look_again(&self) -> bool {
        self.failure.is_none()
            && self.mark(Step::Budget) == Some(Mark::Finished)
            && self.mark(Step::Deploy).is_none()
    }

    fn begin(&mut self, step: Step) -> Outcome {
        match self.next() {
            Next::Do { step: next, .. } if next == step => {
                self.marks.insert(step, Mark::Begun);
                Outcome::Done
            }
            _ if self.is_over(step) => Outcome::AlreadyDone,
            Next::End(_) => Outcome::Refused("it is over"),
            _ => Outcome::Refused("another step comes first"),
        }
    }

    fn finish(&mut self, given: Given) -> Outcome {
        let step = given.step();
        match self.mark(step) {
            Some(Mark::Begun) if self.hand_over(&given).is_err() => {
                Outcome::Refused("its digest is another one than it was given")
            }
            Some(Mark::Begun) => {
                self.marks.insert(step, Mark::Finished);
                self.outputs.keep(given);
                Outcome::Done
            }
            Some(Mark::Finished) => Outcome::AlreadyDone,
            Some(Mark::Failed) => Outcome::Refused("it has failed"),
            Some(Mark::Skipped) => Outcome::Refused("it was skipped"),
            None => Outcome::Refused("it was not begun"),
        }
    }

    fn fail(&mut self, failure: Failure) -> Outcome {
        let step = failure.step;
        match (self.mark(step), step) {
            (Some(Mark::Failed), _) => Outcome::AlreadyDone,
            (Some(Mark::Begun), Step::Collect | Step::Notice) => {
                Outcome::Refused("what is missing of it is in what it gives")
            }
            (Some(Mark::Begun), _) if after(&failure, OnFailure::Leave) == After::Stop => {
                Outcome::Refused("it may pass, and is begun again")
            }
            (Some(Mark::Begun), Step::RollBack) => {
                self.marks.insert(step, Mark::Failed);
                self.problem = Some(failure);
                Outcome::Done
            }
            (Some(Mark::Begun), _) => {
                self.marks.insert(step, Mark::Failed);
                self.failure = Some(failure);
                Outcome::Done
            }
            (Some(Mark::Finished | Mark::Skipped), _) => Outcome::Refused("it is over"),
            (None, _) => Outcome::Refused("it was not begun"),
        }
    }
}

fn other(step: Step, exit: u8, message: String) -> Box<Failure> {
    let code = if step == Step::Prove { OTHER_RUNS } else { OTHER_DIGEST };
    Box::new(Failure::new(step, exit, code, message).lasting())
}
