//! The steps of a release: what each needs, what it gives, and how it is taken up by another process.

use serde::{Deserialize, Serialize};

/// A step. The first eight are the way forward; the rest follow a failure or the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// Looks at what is left of the error budgets.
    Budget,
    /// Plans the infrastructure, and judges the plan.
    Plan,
    /// Carries that plan out.
    Apply,
    Build,
    Push,
    /// Brings the digest into the cluster, and watches until its pods are there.
    Deploy,
    /// Asserts that what runs is what was built, and that load, where it was driven, lost no request.
    Prove,
    /// Judges metrics after the release.
    Gate,
    /// Keeps what shows why it failed.
    Collect,
    /// Brings back what ran before.
    RollBack,
    /// Tells people and programs.
    Notice,
}

/// Whether a step is done for the first time, as far as anybody knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum How {
    First,
    /// Somebody who is gone has begun it; whether anything of it happened is not known.
    Again,
}

/// How a step is taken up that was begun by somebody who is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Resume {
    /// It only reads: read again.
    ReadAgain,
    /// Plan again, and carry out what is left of the judged plan; anything else is refused.
    CarryOutTheRest,
    /// The same input gives the same effect.
    SameAgain,
    /// Ask for what is there already, and send what is not.
    SendWhatIsMissing,
    /// Go on with the rollout's own run, which knows how far it was.
    TakeUpItsRun,
    /// Only what is left of the baking time, then measure.
    MeasureAgain,
    /// The recorded manifest by the same manager changes nothing the second time.
    ApplyAgain,
    /// Tell again: the run's id says that it is the same.
    TellAgain,
}

/// A row of the table of steps.
#[derive(Debug, Clone, Copy)]
pub struct Row {
    pub step: Step,
    /// Each of these must have been done, or what it gives be given.
    pub needs: &'static [Step],
    pub needs_words: &'static str,
    pub gives: &'static str,
    pub resume: Resume,
    pub why: &'static str,
    pub may_be_skipped: bool,
}

const fn row(step: Step, needs: &'static [Step], resume: Resume) -> Row {
    Row { step, needs, needs_words: "", gives: "", resume, why: "", may_be_skipped: true }
}

impl Row {
    const fn says(mut self, needs: &'static str, gives: &'static str, why: &'static str) -> Self {
        self.needs_words = needs;
        self.gives = gives;
        self.why = why;
        self
    }

    const fn always(mut self) -> Self {
        self.may_be_skipped = false;
        self
    }
}

/// Every step: the table that the documentation prints.
pub const STEPS: [Row; 11] = [
    row(Step::Budget, &[], Resume::ReadAgain).says(
        "nothing",
        "budgets and what is left, how each measure of the gate stands",
        "it reads",
    ),
    row(Step::Plan, &[], Resume::ReadAgain).says(
        "nothing",
        "the digest of the plan and its changes, judged",
        "it reads; the file of the plan dies with its process",
    ),
    row(Step::Apply, &[Step::Plan], Resume::CarryOutTheRest).says(
        "the judged plan",
        "the counts, and the plan's digest again",
        "what is done is not planned again; what was not judged is not carried out",
    ),
    row(Step::Build, &[], Resume::SameAgain).says(
        "nothing",
        "the image's digest",
        "the same program gives the same digest; layers that were packed are kept",
    ),
    row(Step::Push, &[Step::Build], Resume::SendWhatIsMissing).says(
        "the image's digest",
        "a reference by that digest",
        "what the registry has is not sent; the same digest under an immutable tag is success",
    ),
    row(Step::Deploy, &[Step::Push], Resume::TakeUpItsRun).says(
        "the reference by digest",
        "the digest of the applied manifest, its revision, the one before",
        "server-side apply of the same fields by the same manager leaves the generation as it is",
    ),
    row(Step::Prove, &[Step::Deploy], Resume::ReadAgain).says(
        "the rollout",
        "the digests that the pods run",
        "it reads",
    ),
    row(Step::Gate, &[Step::Deploy], Resume::MeasureAgain).says(
        "the rollout, when it was done, how measures stood before",
        "a verdict for each measure",
        "it waits and reads",
    ),
    row(Step::Collect, &[], Resume::ReadAgain)
        .says("a failure after the rollout", "files of evidence", "it reads; what is kept already stays")
        .always(),
    row(Step::RollBack, &[], Resume::ApplyAgain)
        .says("the recorded manifest", "the revision that is back", "it is the same manifest each time")
        .always(),
    row(Step::Notice, &[], Resume::TellAgain).says(
        "an end",
        "who was told",
        "whoever is told twice sees the same id of a run; nobody is left out",
    ),
];

impl Step {
    /// The way of a release that goes well.
    pub const WAY: &'static [Step] = &[
        Step::Budget,
        Step::Plan,
        Step::Apply,
        Step::Build,
        Step::Push,
        Step::Deploy,
        Step::Prove,
        Step::Gate,
        Step::Notice,
    ];

    /// The same without the notice.
    pub const FORWARD: &'static [Step] = match Self::WAY.split_last() {
        Some((_, forward)) => forward,
        None => &[],
    };

    pub const ALL: [Step; 11] = [
        Step::Budget,
        Step::Plan,
        Step::Apply,
        Step::Build,
        Step::Push,
        Step::Deploy,
        Step::Prove,
        Step::Gate,
        Step::Collect,
        Step::RollBack,
        Step::Notice,
    ];

    pub const fn name(self) -> &'static str {
        match self {
            Step::Budget => "budget",
            Step::Plan => "plan",
            Step::Apply => "apply",
            Step::Build => "build",
            Step::Push => "push",
            Step::Deploy => "deploy",
            Step::Prove => "prove",
            Step::Gate => "gate",
            Step::Collect => "collect",
            Step::RollBack => "rollback",
            Step::Notice => "notice",
        }
    }

    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|step| step.name() == name)
    }

    pub fn row(self) -> &'static Row {
        let place = Self::ALL.iter().position(|step| *step == self).unwrap_or_default();
        &STEPS[place]
    }

    /// Whether something outside this machine may be different after it.
    pub fn changes_something(self) -> bool {
        matches!(self, Step::Apply | Step::Push | Step::Deploy | Step::RollBack)
    }
}
