//! What other runs have done to an environment, as the journal has it.
//!
//! Invariants: a run that changed nothing in the cluster is not held against another; the rollout that a release consists
//! of is that release; a release that its own gate let through has left nothing behind that would hide a worse one.

use std::collections::BTreeSet;

use codes::Result;
use journal::{Record, StepState};
use kernel::Timestamp;
use ship::Step;

use super::history::{COMMAND, ROLLOUT, runs_of};
use crate::commands::runs::told;
use crate::context::Context;

/// The commands that bring a version into the cluster, or another one back.
const VERSIONS: [&str; 2] = ["deploy rollout", "deploy rollback"];
const TAKEN_BACK: u8 = 24;

/// Whether it has, or may have, changed what runs.
fn has_reached(record: &Record) -> bool {
    // Refused, not agreed to, signed out, or somebody else's fields: before anything was applied. What ran out of time (6)
    // was left under way.
    let is_refused = matches!(record.end(), Some(2..=5 | 7 | 8));
    if record.header.command != COMMAND {
        // One that died before its first step has changed nothing: it may be this release's own, not noted yet.
        let is_begun = record.end().is_some() || !record.steps().is_empty();
        return record.header.command.starts_with("deploy ") && is_begun && !is_refused;
    }
    let is_begun = runs_of(&record.entries).iter().any(|(kind, _)| kind == ROLLOUT);
    let deploy = record.steps().into_iter().find(|step| step.name == Step::Deploy.name());
    match deploy.map(|step| step.state) {
        Some(StepState::Finished { .. }) => true,
        Some(StepState::Begun | StepState::Failed { .. }) => is_begun && !is_refused,
        Some(StepState::Skipped { .. }) | None => false,
    }
}

/// Whether what it brought may run now. A rollout that failed took itself back; what a gate took back was there for a while.
fn may_run(record: &Record) -> bool {
    let is_finished = |step: &journal::Step| {
        step.name == Step::Deploy.name() && matches!(step.state, StepState::Finished { .. })
    };
    match record.header.command.as_str() {
        COMMAND => {
            has_reached(record)
                && (record.end() != Some(TAKEN_BACK) || record.steps().iter().any(is_finished))
        }
        command => VERSIONS.contains(&command) && has_reached(record) && record.end() != Some(TAKEN_BACK),
    }
}

fn parts(record: &Record) -> impl Iterator<Item = String> {
    runs_of(&record.entries).into_iter().map(|(_, run)| run)
}

/// A run of this environment that was begun after `id` and has brought another version: what is older is not brought over it.
pub fn later(id: &str, context: &Context) -> Result<Option<String>> {
    let journal = context.journal();
    let mut own: BTreeSet<String> = parts(&journal.read(id).map_err(told)?).collect();
    let mut found = Vec::new();
    for later in journal.ids().map_err(told)?.into_iter().take_while(|later| later.as_str() > id) {
        let record = journal.read(&later).map_err(told)?;
        own.extend(parts(&record));
        if record.header.environment == context.config.env() && may_run(&record) {
            found.push(later);
        }
    }
    // The release is named, and not the rollout that it consists of.
    Ok(found.into_iter().find(|run| !own.contains(run)))
}

/// When somebody last ended who has changed what runs in this environment, but for releases that their gate let through. What
/// is measured over a time from before that has it in it.
pub fn last_changed(own: Option<&str>, context: &Context) -> Result<Option<Timestamp>> {
    let journal = context.journal();
    // A run that nobody can read is told by whoever asks for it.
    let records = journal.ids().map_err(told)?.into_iter().filter_map(|id| journal.read(&id).ok());
    Ok(changed(records, own, context.config.env()))
}

fn changed(records: impl Iterator<Item = Record>, own: Option<&str>, environment: &str) -> Option<Timestamp> {
    let is_judged = |record: &Record| {
        let is_gate = |step: &journal::Step| {
            step.name == Step::Gate.name() && matches!(step.state, StepState::Finished { .. })
        };
        record.header.command == COMMAND && record.end() == Some(0) && record.steps().iter().any(is_gate)
    };
    let mut let_through: BTreeSet<String> = BTreeSet::new();
    let mut changed = Vec::new();
    for record in records {
        if record.header.environment != environment || own == Some(record.header.run.as_str()) {
            continue;
        }
        if is_judged(&record) {
            let_through.extend(parts(&record));
        } else if has_reached(&record) {
            let at = record.entries.last().map_or(record.header.started_at, |stamped| stamped.at);
            changed.push((record.header.run, at));
        }
    }
    changed.into_iter().filter(|(id, _)| !let_through.contains(id)).map(|(_, at)| at).max()
}

#[cfg(test)]
mod tests;
