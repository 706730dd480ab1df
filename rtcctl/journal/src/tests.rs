//! Runs that end, that are cut off, that two want at once, and that are looked for.

use std::io::Write as _;
use std::time::Duration;

use kernel::{ManualClock, Timestamp};
use serde_json::json;
use tempfile::TempDir;

use super::*;

struct Desk {
    folder: TempDir,
    clock: Arc<ManualClock>,
}

impl Desk {
    fn new() -> Self {
        // 2026-11-21 09:58:12 UTC
        let clock = Arc::new(ManualClock::at(Timestamp::from_millis(1_795_255_092_000)));
        Self { folder: TempDir::new().unwrap(), clock }
    }

    fn journal(&self) -> Journal {
        Journal::new(self.folder.path().join("runs"), self.clock.clone())
    }

    fn begin(&self) -> Run {
        let start = Start {
            command: "infra apply".to_owned(),
            environment: "dev".to_owned(),
            by: "kim@laptop".to_owned(),
            ..Start::default()
        };
        self.journal().begin(start, 0x3f2a).unwrap()
    }
}

fn begun(step: &str, inputs: &str) -> Entry {
    Entry::Begun { step: step.to_owned(), inputs: inputs.to_owned() }
}

fn finished(step: &str) -> Entry {
    Entry::Finished { step: step.to_owned(), outputs: json!({"digest": "sha256:1"}), took_ms: 5 }
}

fn ended(exit: u8) -> Entry {
    Entry::Ended { exit, summary: "done".to_owned() }
}

#[test]
fn a_run_reads_back_as_it_was_written() {
    let desk = Desk::new();
    let mut run = desk.begin();
    assert_eq!(run.id(), "20261121-095812-000-infra-apply-dev-3f2a");
    assert_eq!(desk.journal().read("last").unwrap().state, State::UnderWay);
    let entries = [
        begun("plan", "a"),
        Entry::Child { step: "plan".to_owned(), child: Child { pid: 7, born: 9 } },
        finished("plan"),
        Entry::Skipped { step: "build".to_owned(), reason: "nothing changed".to_owned() },
        begun("apply", "b"),
        Entry::Failed { step: "apply".to_owned(), code: "INF001".to_owned(), message: "no".to_owned() },
        Entry::Noted { kind: "x".to_owned(), data: json!([1]) },
        ended(20),
    ];
    for entry in entries.clone() {
        desk.clock.advance(Duration::from_secs(1));
        run.append(entry).unwrap();
    }
    let record = desk.journal().read("last").unwrap();
    let read: Vec<Entry> = record.entries.iter().map(|stamped| stamped.entry.clone()).collect();
    assert_eq!(read, entries);
    assert_eq!(record.header.by, "kim@laptop");
    assert_eq!(record.state, State::Ended { exit: 20 });
    let steps = record.steps();
    let names: Vec<&str> = steps.iter().map(|step| step.name.as_str()).collect();
    assert_eq!(names, ["plan", "build", "apply"]);
    assert_eq!(steps[0].child, Some(Child { pid: 7, born: 9 }));
    assert_eq!(record.finished("plan", "a"), Some(json!({"digest": "sha256:1"})));
    assert_eq!(record.finished("plan", "other"), None);
    assert_eq!(record.finished("apply", "b"), None);
}

#[test]
fn a_run_that_was_cut_off_at_any_byte_is_resumed() {
    let desk = Desk::new();
    let mut run = desk.begin();
    for entry in [begun("plan", "a"), finished("plan"), begun("apply", "b")] {
        run.append(entry).unwrap();
    }
    let path = run.folder().join("steps.ndjson");
    drop(run);
    let text = fs::read(&path).unwrap();
    for cut in 0..=text.len() {
        fs::write(&path, &text[..cut]).unwrap();
        let whole = text[..cut].iter().filter(|byte| **byte == b'\n').count();
        // A last line that lacks its end alone is whole, but was not promised to anybody.
        let before = desk.journal().read("last").unwrap();
        assert!(before.entries.len() == whole || text.get(cut) == Some(&b'\n'), "cut at {cut}");
        assert_eq!(before.state, State::Interrupted);
        let (mut run, _) = desk.journal().resume("last").unwrap();
        run.append(Entry::Resumed { by: "lee@ci".to_owned() }).unwrap();
        drop(run);
        assert_eq!(desk.journal().read("last").unwrap().entries.len(), whole + 1, "cut at {cut}");
    }
}

#[test]
fn a_step_that_was_begun_again_stands_as_it_stood_last() {
    let desk = Desk::new();
    let mut run = desk.begin();
    for entry in [begun("apply", "a"), begun("verify", "v"), finished("apply"), begun("apply", "b")] {
        run.append(entry).unwrap();
    }
    let record = desk.journal().read("last").unwrap();
    assert_eq!(record.finished("apply", "a"), None);
    assert_eq!(record.steps()[0].state, StepState::Begun);
    assert_eq!(record.steps()[0].inputs.as_deref(), Some("b"));
}

#[test]
fn two_do_not_work_on_one_run_and_none_on_one_that_has_ended() {
    let desk = Desk::new();
    let mut run = desk.begin();
    assert!(matches!(desk.journal().resume("last"), Err(Error::Busy(_))));
    run.append(ended(0)).unwrap();
    drop(run);
    assert!(matches!(desk.journal().resume("last"), Err(Error::Ended(_))));
}

#[test]
fn a_broken_line_in_the_middle_is_said_and_not_passed_by() {
    let desk = Desk::new();
    let mut run = desk.begin();
    run.append(begun("plan", "a")).unwrap();
    let mut file = fs::OpenOptions::new().append(true).open(run.folder().join("steps.ndjson")).unwrap();
    file.write_all(b"{\"at\":\n").unwrap();
    run.append(finished("plan")).unwrap();
    assert!(matches!(desk.journal().read("last"), Err(Error::Unreadable { line: 2, .. })));
}

#[test]
fn a_run_is_found_by_what_it_begins_or_ends_with() {
    let desk = Desk::new();
    let first = desk.begin().id();
    desk.clock.advance(Duration::from_secs(3600));
    let start = Start { command: "ship".to_owned(), environment: "prod".to_owned(), ..Start::default() };
    let second = desk.journal().begin(start, 1).unwrap().id();
    let journal = desk.journal();
    assert_eq!(journal.ids().unwrap(), [second.clone(), first.clone()]);
    for (wanted, found) in [("last", &second), ("3f2a", &first), ("20261121-1058", &second), (&first, &first)]
    {
        assert_eq!(&journal.find(wanted).unwrap(), found);
    }
    assert!(matches!(journal.find("20261121"), Err(Error::Ambiguous { .. })));
    for wanted in ["", "nothing", "../etc"] {
        assert!(matches!(journal.find(wanted), Err(Error::NotFound(_))), "{wanted}");
    }
}

#[test]
fn a_journal_that_nobody_wrote_is_empty() {
    let desk = Desk::new();
    assert_eq!(desk.journal().ids().unwrap(), Vec::<String>::new());
    assert!(matches!(desk.journal().find("last"), Err(Error::NotFound(_))));
}

#[test]
fn evidence_stays_in_its_folder() {
    let desk = Desk::new();
    let run = desk.begin();
    for name in ["", "..", "../x", "a/b", ".hidden", "a b"] {
        assert!(matches!(run.evidence(name), Err(Error::Name(_))), "{name}");
    }
    fs::write(run.evidence("plan.json").unwrap(), "{}").unwrap();
    let kept = desk.journal().read("last").unwrap().evidence().unwrap();
    assert_eq!(kept, [run.folder().join("evidence/plan.json")]);
}

#[test]
fn what_is_written_is_for_its_owner_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let desk = Desk::new();
    let run = desk.begin();
    for entry in fs::read_dir(run.folder()).unwrap() {
        assert_eq!(entry.unwrap().metadata().unwrap().permissions().mode() & 0o077, 0);
    }
    assert_eq!(fs::metadata(run.folder()).unwrap().permissions().mode() & 0o077, 0);
}

#[test]
fn runs_of_the_same_second_are_in_the_order_in_which_they_began() {
    let start = |command: &str| Start { command: command.to_owned(), ..Start::default() };
    let at = |ms| start("infra apply").id(Timestamp::from_millis(ms), if ms == 1_000 { 0xffff } else { 0 });
    assert!(at(1_000) < at(1_001) && at(1_999) < at(2_000));
}
