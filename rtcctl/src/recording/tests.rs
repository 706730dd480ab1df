//! How a run stands in the journal after it was dropped, or failed.

use std::sync::Arc;

use journal::{Journal, State};
use kernel::SystemClock;

use super::*;
use crate::signals::Trigger;

struct Ground {
    _folder: tempfile::TempDir,
    journal: Journal,
    trigger: Trigger,
    interrupts: Interrupts,
}

impl Ground {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let journal = Journal::new(folder.path().join("runs"), Arc::new(SystemClock));
        let (trigger, interrupts) = Interrupts::new();
        Self { _folder: folder, journal, trigger, interrupts }
    }

    /// A run in the midst of a step.
    fn run(&self) -> Recording {
        let start = Start {
            command: "image push".to_owned(),
            environment: "dev".to_owned(),
            inputs: BTreeMap::new(),
            by: "kim".to_owned(),
            version: "0".to_owned(),
        };
        let run = self.journal.begin(start, 0).unwrap();
        let interrupts = self.interrupts.clone();
        let mut recording = Recording { run, step: None, has_child: false, interrupts, is_ended: false };
        recording.step("push", "").unwrap();
        recording
    }

    fn state(&self) -> State {
        self.journal.read("last").unwrap().state
    }

    fn summary(&self) -> Option<String> {
        let entries = self.journal.read("last").unwrap().entries;
        entries.into_iter().find_map(|stamped| match stamped.entry {
            Entry::Ended { summary, .. } => Some(summary),
            _ => None,
        })
    }
}

#[tokio::test]
async fn a_run_that_is_dropped_ends_as_its_command_does() {
    for (signal, exit, summary) in [
        (None, 6, "given up: push was not finished"),
        (Some(Signal::Interrupt), 130, "stopped: push was not finished"),
        (Some(Signal::Terminate), 143, "terminated: push was not finished"),
    ] {
        let ground = Ground::new();
        let recording = ground.run();
        if let Some(signal) = signal {
            ground.trigger.fire(signal);
        }
        drop(recording);
        assert_eq!((ground.state(), ground.summary().as_deref()), (State::Ended { exit }, Some(summary)));
    }
}

#[tokio::test]
async fn what_a_program_still_works_on_is_left_open_by_a_failure_and_ended_once_the_program_has() {
    let failure = || Error::new(&codes::JRN001, "the disk is full");
    let ground = Ground::new();
    let mut recording = ground.run();
    recording.child_began();
    let error = recording.failed(failure());
    assert!(error.hints().iter().any(|hint| hint.starts_with("rtcctl runs show ")));
    assert_eq!((ground.state(), ground.summary()), (State::Interrupted, None));
    let noted = ground.journal.read("last").unwrap().entries.into_iter().any(|stamped| {
        matches!(stamped.entry, Entry::Noted { kind, data } if kind == LEFT && data["message"] == "the disk is full")
    });
    assert!(noted, "why nobody watched it to its end is kept");

    let ground = Ground::new();
    let mut recording = ground.run();
    recording.child(1, 1).unwrap();
    recording.child_ended();
    let error = recording.failed(failure());
    assert_eq!(ground.state(), State::Ended { exit: error.exit().code() });
}
