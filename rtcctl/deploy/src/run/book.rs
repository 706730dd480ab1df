//! The journal of a rollout: written before and after each step, read when a run is taken up again.
//!
//! Invariants: what [`Book`] holds in memory is what its file says; a state is left only after the trigger that leaves it
//! is on disk; why something failed is masked before it is written.

use std::collections::BTreeMap;
use std::path::PathBuf;

use journal::{Entry, Journal, Run, Start};
use kernel::Timestamp;
use kubernetes::Place;
use rollout::canary::Canary;
use rollout::evidence::masked_text;
use rollout::failure::Cause;
use rollout::lifecycle::{Lifecycle, OnFailure, Outcome, Step, Trigger};
use rollout::verdict::Applied;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value as Json;

use super::{Error, Plan, Result};
use crate::manifest::Id;
use crate::revision::Revision;

/// What was there before.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Recorded {
    /// What ran; none before the first rollout.
    pub previous: Option<Revision>,
    /// Objects of the new version that were not there.
    pub added: Vec<Id>,
}

/// A run that this process works on.
#[derive(Debug)]
pub struct Book {
    run: Run,
    plan: Plan,
    lifecycle: Lifecycle,
    began: BTreeMap<String, Timestamp>,
    applied: BTreeMap<String, Vec<Applied>>,
    recorded: Option<Recorded>,
    canary: Option<Canary>,
    causes: Vec<Cause>,
    /// What the gate said last.
    said: Option<String>,
    /// The cluster that it was begun on.
    place: Option<Place>,
    /// Whether it was taken up by a process after its first.
    is_continued: bool,
}

/// Kinds of notes.
const PLAN: &str = "plan";
const TRIGGER: &str = "trigger";
const RECORDED: &str = "recorded";
const APPLIED: &str = "applied";
const CANARY: &str = "canary";
const CAUSE: &str = "cause";
const GATE: &str = "gate";
const PLACE: &str = "place";
const ON_FAILURE: &str = "on_failure";

#[derive(Serialize, Deserialize)]
struct AppliedNote {
    during: String,
    list: Vec<Applied>,
}

/// The name of a step in the journal.
pub fn name(step: Step) -> &'static str {
    match step {
        Step::Record => "record",
        Step::Migrate => "migrate",
        Step::Apply => "apply",
        Step::Watch => "watch",
        Step::Bake => "bake",
        Step::Gate => "gate",
        Step::End => "end",
        Step::Collect => "collect",
        Step::RollBack => "roll-back",
    }
}

impl Book {
    /// Begins a run.
    pub fn begin(journal: &Journal, start: Start, chance: u64, plan: Plan) -> Result<Self> {
        let run = journal.begin(start, chance)?;
        let mut book = Self::open(run, plan);
        let plan = book.plan.clone();
        book.note(PLAN, &plan)?;
        Ok(book)
    }

    /// Takes up a run whose process is gone.
    pub fn resume(journal: &Journal, wanted: &str, by: &str) -> Result<Self> {
        let mut book = Self::find(journal, wanted)?;
        book.resumed(by)?;
        Ok(book)
    }

    /// Says who goes on with it.
    pub fn resumed(&mut self, by: &str) -> Result<()> {
        Ok(self.run.append(Entry::Resumed { by: by.to_owned() })?)
    }

    /// A run whose process is gone, as it stands. Nothing is written yet.
    pub fn find(journal: &Journal, wanted: &str) -> Result<Self> {
        let (run, record) = journal.resume(wanted)?;
        let id = run.id();
        let unusable = |reason: &str| Error::Unusable { run: id.clone(), reason: reason.to_owned() };
        let plan = record.entries.iter().find_map(|stamped| match &stamped.entry {
            Entry::Noted { kind, data } if kind == PLAN => Some(data),
            _ => None,
        });
        let plan = plan.ok_or_else(|| unusable("it is no rollout, or died before its plan"))?;
        let plan: Plan = read(plan).map_err(|error| unusable(&error))?;
        let mut book = Self::open(run, plan);
        book.is_continued = true;
        for stamped in &record.entries {
            match &stamped.entry {
                // How long a step has lasted counts from the first time.
                Entry::Begun { step, .. } => {
                    book.began.entry(step.clone()).or_insert(stamped.at);
                }
                Entry::Noted { kind, data } => book.fold(kind, data).map_err(|error| unusable(&error))?,
                _ => {}
            }
        }
        Ok(book)
    }

    fn open(run: Run, plan: Plan) -> Self {
        let lifecycle = Lifecycle::new(plan.on_failure);
        Self {
            run,
            plan,
            lifecycle,
            began: BTreeMap::new(),
            applied: BTreeMap::new(),
            recorded: None,
            canary: None,
            causes: Vec::new(),
            said: None,
            place: None,
            is_continued: false,
        }
    }

    fn fold(&mut self, kind: &str, data: &Json) -> Result<(), String> {
        match kind {
            TRIGGER => {
                let trigger: Trigger = read(data)?;
                if let Outcome::Refused(why) = self.lifecycle.take(trigger) {
                    return Err(format!("{trigger:?}: {why}"));
                }
            }
            RECORDED => self.recorded = Some(read(data)?),
            APPLIED => {
                let note: AppliedNote = read(data)?;
                self.applied.insert(note.during, note.list);
            }
            CANARY => self.canary = Some(read(data)?),
            CAUSE => self.causes.push(read(data)?),
            GATE => self.said = data.as_str().map(str::to_owned),
            PLACE => self.place = Some(read(data)?),
            ON_FAILURE => self.lifecycle.on_failure = read(data)?,
            // Of somebody else.
            _ => {}
        }
        Ok(())
    }

    pub fn id(&self) -> String {
        self.run.id()
    }

    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    pub fn lifecycle(&self) -> Lifecycle {
        self.lifecycle
    }

    pub fn recorded(&self) -> Option<&Recorded> {
        self.recorded.as_ref()
    }

    pub fn canary(&self) -> Option<&Canary> {
        self.canary.as_ref()
    }

    /// What went wrong, the first first.
    pub fn causes(&self) -> &[Cause] {
        &self.causes
    }

    pub fn said(&self) -> Option<&str> {
        self.said.as_deref()
    }

    /// The cluster that it was begun on.
    pub fn place(&self) -> Option<&Place> {
        self.place.as_ref()
    }

    /// Whether it was begun by another process.
    pub(super) fn is_continued(&self) -> bool {
        self.is_continued
    }

    /// What was applied during a step.
    pub fn applied(&self, during: &str) -> Option<&[Applied]> {
        self.applied.get(during).map(Vec::as_slice)
    }

    /// When a step was begun for the first time.
    pub fn began(&self, step: Step) -> Option<Timestamp> {
        self.began.get(name(step)).copied()
    }

    /// Where a file of evidence is kept.
    pub fn evidence(&self, file: &str) -> Result<PathBuf> {
        Ok(self.run.evidence(file)?)
    }

    pub fn folder(&self) -> PathBuf {
        self.run.folder().to_owned()
    }

    pub(super) fn begin_step(&mut self, step: Step, now: Timestamp) -> Result<()> {
        let inputs = name(step).to_owned();
        self.run.append(Entry::Begun { step: inputs.clone(), inputs: self.plan.image.clone() })?;
        self.began.entry(inputs).or_insert(now);
        Ok(())
    }

    pub(super) fn finish_step(&mut self, step: Step, outputs: Json, took_ms: u64) -> Result<()> {
        Ok(self.run.append(Entry::Finished { step: name(step).to_owned(), outputs, took_ms })?)
    }

    pub(super) fn fail_step(&mut self, step: Step, code: &str, message: &str) -> Result<()> {
        let (code, message) = (code.to_owned(), message.to_owned());
        Ok(self.run.append(Entry::Failed { step: name(step).to_owned(), code, message })?)
    }

    /// Leaves a state. The trigger is on disk first.
    pub fn take(&mut self, trigger: Trigger) -> Result<Outcome> {
        let mut after = self.lifecycle;
        let outcome = after.take(trigger);
        if let Outcome::Done(_) = outcome {
            self.note(TRIGGER, &trigger)?;
            self.lifecycle = after;
        }
        Ok(outcome)
    }

    pub(super) fn set_place(&mut self, place: Place) -> Result<()> {
        self.note(PLACE, &place)?;
        self.place = Some(place);
        Ok(())
    }

    pub(super) fn set_recorded(&mut self, recorded: Recorded) -> Result<()> {
        self.note(RECORDED, &recorded)?;
        self.recorded = Some(recorded);
        Ok(())
    }

    pub(super) fn set_applied(&mut self, during: &str, list: Vec<Applied>) -> Result<()> {
        self.note(APPLIED, &AppliedNote { during: during.to_owned(), list: list.clone() })?;
        self.applied.insert(during.to_owned(), list);
        Ok(())
    }

    /// Keeps where a canary stands.
    pub fn set_canary(&mut self, canary: Canary) -> Result<()> {
        if self.canary.as_ref() != Some(&canary) {
            self.note(CANARY, &canary)?;
            self.canary = Some(canary);
        }
        Ok(())
    }

    pub(super) fn add_cause(&mut self, mut cause: Cause) -> Result<()> {
        cause.why = masked_text(&cause.why);
        self.note(CAUSE, &cause)?;
        self.causes.push(cause);
        Ok(())
    }

    pub(super) fn set_said(&mut self, said: String) -> Result<()> {
        self.note(GATE, &said)?;
        self.said = Some(said);
        Ok(())
    }

    pub(super) fn set_on_failure(&mut self, on_failure: OnFailure) -> Result<()> {
        self.note(ON_FAILURE, &on_failure)?;
        self.lifecycle.on_failure = on_failure;
        Ok(())
    }

    /// Something of the caller's, for whoever reads the journal.
    pub fn note(&mut self, kind: &str, data: &impl Serialize) -> Result<()> {
        let data = serde_json::to_value(data).unwrap_or_default();
        Ok(self.run.append(Entry::Noted { kind: kind.to_owned(), data })?)
    }

    /// Nothing follows.
    pub fn end(&mut self, exit: u8, summary: &str) -> Result<()> {
        Ok(self.run.append(Entry::Ended { exit, summary: summary.to_owned() })?)
    }
}

fn read<T: DeserializeOwned>(data: &Json) -> Result<T, String> {
    T::deserialize(data).map_err(|error| error.to_string())
}
