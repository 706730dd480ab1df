//! A run that changes something, written into the journal while it goes on.
//!
//! Invariant: a run that was begun is ended, whatever came of its steps, also when it is dropped where it stands, with the
//! exit code of its command; only a process that dies leaves one open, and one that is dropped or fails while a program that
//! outlives us works on it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use codes::{Error, Result, exit};
use journal::{Child, Entry, Run, Start};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::commands::runs::told;
use crate::context::Context;
use crate::signals::{Interrupts, Signal};

/// What became of us while a program worked on alone.
const LEFT: &str = "left";

pub struct Recording {
    run: Run,
    step: Option<(String, Instant)>,
    /// A program works on it that goes on without us.
    has_child: bool,
    interrupts: Interrupts,
    is_ended: bool,
}

impl Drop for Recording {
    /// Somebody stopped it, or nobody waits for it any longer.
    fn drop(&mut self) {
        if !self.is_ended && !self.has_child {
            let (exit, word) = match self.interrupts.seen() {
                Some(Signal::Interrupt) => (exit::INTERRUPTED, "stopped"),
                Some(Signal::Terminate) => (exit::TERMINATED, "terminated"),
                None => (exit::TIMED_OUT, "given up"),
            };
            let step =
                self.step.take().map_or_else(String::new, |(step, _)| format!(": {step} was not finished"));
            let _ = self.append(Entry::Ended { exit: exit.code(), summary: format!("{word}{step}") });
        }
    }
}

impl Recording {
    /// Begins a run. `inputs` are what it works on.
    pub fn begin(
        context: &Context,
        command: &str,
        inputs: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self> {
        let start = Start {
            command: command.to_owned(),
            environment: context.config.env().to_owned(),
            inputs: inputs.into_iter().collect::<BTreeMap<_, _>>(),
            by: context.config.operator(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        };
        let chance = context.clock.now().as_millis().unsigned_abs() ^ u64::from(std::process::id());
        let run = context.journal().begin(start, chance).map_err(told)?;
        context.progress.detail(format!("journal: {}", run.folder().display()));
        Ok(Self {
            run,
            step: None,
            has_child: false,
            interrupts: context.interrupts.clone(),
            is_ended: false,
        })
    }

    pub fn id(&self) -> String {
        self.run.id()
    }

    /// Where everything of the run is kept.
    pub fn folder(&self) -> &Path {
        self.run.folder()
    }

    /// The step that was begun is done by a program that outlives us, from now on and until [`Self::child_ended`].
    pub fn child_began(&mut self) {
        self.has_child = true;
    }

    /// By these a later process finds that program again.
    pub fn child(&mut self, pid: u32, born: u64) -> Result<()> {
        self.child_began();
        let step = self.step.as_ref().map(|(step, _)| step.clone()).unwrap_or_default();
        self.append(Entry::Child { step, child: Child { pid, born } })
    }

    /// That program has ended.
    pub fn child_ended(&mut self) {
        self.has_child = false;
    }

    /// Begins a step; `inputs` is what would make it another one.
    pub fn step(&mut self, name: &str, inputs: impl Into<String>) -> Result<()> {
        self.step = Some((name.to_owned(), Instant::now()));
        self.append(Entry::Begun { step: name.to_owned(), inputs: inputs.into() })
    }

    /// The step that was begun is done.
    pub fn finished(&mut self, outputs: Value) -> Result<Duration> {
        let Some((step, began)) = self.step.take() else { return Ok(Duration::ZERO) };
        let took = began.elapsed();
        let took_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        self.append(Entry::Finished { step, outputs, took_ms })?;
        Ok(took)
    }

    /// Something worth keeping.
    pub fn note(&mut self, kind: &str, data: Value) -> Result<()> {
        self.append(Entry::Noted { kind: kind.to_owned(), data })
    }

    /// Where a file of evidence is kept.
    pub fn evidence(&self, name: &str) -> Result<PathBuf> {
        self.run.evidence(name).map_err(told)
    }

    /// The run is over, and well.
    pub fn ended(mut self, summary: impl Into<String>) -> Result<String> {
        self.is_ended = true;
        self.append(Entry::Ended { exit: 0, summary: summary.into() })?;
        Ok(self.run.id())
    }

    /// The run is over with an error, which is given back with a hint at the journal. Where a program works on without us it
    /// is not over: whoever comes next tells what came of it.
    pub fn failed(mut self, error: Error) -> Error {
        self.is_ended = true;
        let message = error.message().to_owned();
        if self.has_child {
            let why = json!({"code": error.code().id, "message": message});
            let noted = self.append(Entry::Noted { kind: LEFT.to_owned(), data: why });
            return self.told(match noted {
                Ok(()) => error,
                Err(unwritten) => error.with_cause(unwritten.message().to_owned()),
            });
        }
        let step = self.step.take().map(|(step, _)| step);
        let failed = step.map(|step| Entry::Failed {
            step,
            code: error.code().id.to_owned(),
            message: message.clone(),
        });
        let ended = Entry::Ended { exit: error.exit().code(), summary: message };
        for entry in failed.into_iter().chain([ended]) {
            // The first error is the one to tell.
            if let Err(unwritten) = self.append(entry) {
                return error.with_cause(unwritten.message().to_owned());
            }
        }
        self.told(error)
    }

    fn told(&self, error: Error) -> Error {
        let id = self.run.id();
        error.with_hint(format!("rtcctl runs show {id}"))
    }

    fn append(&mut self, entry: Entry) -> Result<()> {
        self.run.append(entry).map_err(told)
    }
}

#[cfg(test)]
mod tests;
