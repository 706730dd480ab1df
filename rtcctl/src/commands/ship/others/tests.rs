//! Which runs of others stand in the way of a release, and which are in what it measures.

use std::sync::Arc;
use std::time::Duration;

use journal::{Entry, Journal, Start};
use kernel::{Clock, ManualClock, SystemClock, Timestamp};
use serde_json::{Value, json};
use ship::{BudgetSeen, Budgeting, Given, Pinned, Request};

use super::*;
use crate::commands::testing::Typed;

/// How far a run came in the cluster.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Far {
    /// Its step was begun, and no rollout.
    Asked,
    RolledOut,
    Failed,
    Deployed,
    /// And its gate let it through.
    Judged,
}

fn begun(journal: &Journal, command: &str, environment: &str, chance: u64) -> journal::Run {
    let start =
        Start { command: command.to_owned(), environment: environment.to_owned(), ..Start::default() };
    journal.begin(start, chance).unwrap()
}

fn finish(run: &mut journal::Run, step: Step) {
    let step = step.name().to_owned();
    run.append(Entry::Begun { step: step.clone(), inputs: String::new() }).unwrap();
    run.append(Entry::Finished { step, outputs: json!({}), took_ms: 1 }).unwrap();
}

/// A release, with the run of its rollout.
fn release(journal: &Journal, far: Far, exit: Option<u8>) -> (String, Option<String>) {
    let mut run = begun(journal, COMMAND, "dev", 7);
    let step = || Step::Deploy.name().to_owned();
    run.append(Entry::Begun { step: step(), inputs: String::new() }).unwrap();
    let mut child = None;
    if far != Far::Asked {
        let mut rollout = begun(journal, "deploy rollout", "dev", 8);
        run.append(Entry::Noted { kind: ROLLOUT.to_owned(), data: json!(rollout.id()) }).unwrap();
        rollout.append(Entry::Ended { exit: 0, summary: String::new() }).unwrap();
        child = Some(rollout.id());
    }
    if far == Far::Failed {
        run.append(Entry::Failed { step: step(), code: "DEP021".to_owned(), message: String::new() })
            .unwrap();
    }
    if matches!(far, Far::Deployed | Far::Judged) {
        run.append(Entry::Finished { step: step(), outputs: json!({}), took_ms: 1 }).unwrap();
    }
    if far == Far::Judged {
        finish(&mut run, Step::Gate);
    }
    if let Some(exit) = exit {
        run.append(Entry::Ended { exit, summary: String::new() }).unwrap();
    }
    (run.id(), child)
}

#[test]
fn what_is_measured_has_in_it_whoever_changed_what_runs_and_was_not_let_through() {
    for (name, far, exit, is_in_it) in [
        ("taken back by its gate", Far::Deployed, Some(24), true),
        ("left as it is", Far::Deployed, Some(30), true),
        ("open at its gate", Far::Deployed, None, true),
        ("released without a gate", Far::Deployed, Some(0), true),
        ("let through", Far::Judged, Some(0), false),
        ("never came up", Far::Failed, Some(23), true),
        ("killed in its rollout", Far::RolledOut, None, true),
        ("refused before its rollout", Far::Asked, Some(7), false),
        ("refused by the guard of its rollout", Far::Failed, Some(7), false),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let clock = Arc::new(ManualClock::at(Timestamp::from_millis(1_790_000_000_000)));
        let journal = Journal::new(folder.path().to_owned(), clock.clone());
        let (run, child) = release(&journal, far, exit);
        let read = || journal.ids().unwrap().into_iter().map(|id| journal.read(&id).unwrap());
        // The rollout that a release consists of is over as well, and says as much; here it is about the release.
        let alone = || read().filter(|record| Some(&record.header.run) != child.as_ref());
        assert_eq!(changed(alone(), None, "dev").is_some(), is_in_it, "{name}");
        assert_eq!(
            (changed(alone(), Some(&run), "dev"), changed(read(), None, "prod")),
            (None, None),
            "{name}"
        );
        if far == Far::Judged {
            assert_eq!(changed(read(), None, "dev"), None, "its rollout is the release");
        }
        clock.advance(Duration::from_secs(60));
        begun(&journal, "deploy rollout", "dev", 9)
            .append(Entry::Ended { exit: 7, summary: String::new() })
            .unwrap();
        assert_eq!(changed(alone(), None, "dev").is_some(), is_in_it, "{name}: a refusal changes nothing");
        begun(&journal, "deploy rollback", "dev", 10)
            .append(Entry::Ended { exit: 0, summary: String::new() })
            .unwrap();
        assert_eq!(changed(alone(), None, "dev"), Some(clock.now()), "{name}: by hand");
        clock.advance(Duration::from_secs(60));
        begun(&journal, "deploy rollout", "dev", 11)
            .append(Entry::Ended { exit: 6, summary: String::new() })
            .unwrap();
        assert_eq!(changed(alone(), None, "dev"), Some(clock.now()), "{name}: out of time, and under way");
    }
}

/// A folder with a release that stopped after it had looked at the budgets.
fn stopped_after_its_look(clock: Arc<dyn Clock>) -> (Typed, String) {
    let typed = Typed::alone();
    typed.write(
        "rtc.toml",
        b"[defaults]\njournal = \"runs\"\n[environments.dev]\nkind = \"remote\"\nregistry = \"127.0.0.1:1\"\n\
          prometheus_url = \"http://127.0.0.1:1\"\n[images.rtcd]\nbinaries = [\"bin/rtcd\"]\n",
    );
    let journal = Journal::new(typed.path("runs"), clock);
    let digest: ship::Digest = format!("sha256:{}", "a".repeat(64)).parse().unwrap();
    let pinned = Pinned { reference: format!("127.0.0.1:1/rtcd@{digest}"), digest };
    let skip = [Step::Plan, Step::Apply].into();
    let request = Request::new("dev", "rtcd", Some(pinned), &skip).unwrap();
    let start = Start {
        command: COMMAND.to_owned(),
        environment: "dev".to_owned(),
        inputs: [("request".to_owned(), serde_json::to_string(&request).unwrap())].into(),
        ..Start::default()
    };
    let mut run = journal.begin(start, 7).unwrap();
    let step = Step::Budget.name().to_owned();
    run.append(Entry::Begun { step: step.clone(), inputs: String::new() }).unwrap();
    let seen = Given::Budget(BudgetSeen { judged: Budgeting::Judged, ..BudgetSeen::default() });
    run.append(Entry::Finished { step, outputs: json!(seen), took_ms: 1 }).unwrap();
    (typed, run.id())
}

#[tokio::test]
async fn how_things_stood_is_looked_at_again_by_whoever_resumes_a_release_later() {
    let now = SystemClock.now();
    for (minutes, is_again) in [(14, false), (16, true)] {
        let then = now.minus(Duration::from_secs(minutes * 60));
        let (typed, run) = stopped_after_its_look(Arc::new(ManualClock::at(then)));
        let words = ["ship", "--env", "dev", "--resume", &run, "--yes", "-o", "json"];
        let failure = typed.run(&words).await.json()["data"]["failure"]["step"].clone();
        assert_eq!(failure == "budget", is_again, "{minutes}: {failure}");
        let journal = Journal::new(typed.path("runs"), Arc::new(SystemClock));
        let is_note =
            |stamped: &&journal::Stamped| matches!(&stamped.entry, Entry::Noted { data: Value::Null, .. });
        let notes = journal.read(&run).unwrap().entries.iter().filter(is_note).count();
        assert_eq!(notes, usize::from(is_again));
        // Once is enough: it is not finished, and so it is done again by itself.
        if is_again {
            assert_eq!(typed.run(&words).await.json()["data"]["failure"]["step"], "budget");
            assert_eq!(journal.read(&run).unwrap().entries.iter().filter(is_note).count(), 1);
        }
    }
}

#[tokio::test]
async fn a_release_is_not_gone_on_with_over_a_version_that_somebody_brought_after_it() {
    let hour = Duration::from_secs(3_600);
    for (name, bring, is_refused) in [
        (
            "it stays, though it failed",
            (|journal| release(journal, Far::Failed, Some(23)).0) as fn(&Journal) -> String,
            true,
        ),
        ("it is under way", |journal| release(journal, Far::RolledOut, None).0, true),
        (
            "it ran out of time, and is under way",
            |journal| {
                let mut run = begun(journal, "deploy rollout", "dev", 9);
                run.append(Entry::Ended { exit: 6, summary: String::new() }).unwrap();
                run.id()
            },
            true,
        ),
        (
            "it was refused",
            |journal| {
                let mut run = begun(journal, "deploy rollout", "dev", 9);
                run.append(Entry::Ended { exit: 8, summary: String::new() }).unwrap();
                run.id()
            },
            false,
        ),
        (
            "it took itself back",
            |journal| {
                let mut run = begun(journal, "deploy rollout", "dev", 9);
                run.append(Entry::Ended { exit: 24, summary: String::new() }).unwrap();
                run.id()
            },
            false,
        ),
        (
            "by hand",
            |journal| {
                let mut run = begun(journal, "deploy rollout", "dev", 9);
                run.append(Entry::Ended { exit: 0, summary: String::new() }).unwrap();
                run.id()
            },
            true,
        ),
        (
            "in another environment",
            |journal| {
                let mut run = begun(journal, "deploy rollout", "prod", 9);
                run.append(Entry::Ended { exit: 0, summary: String::new() }).unwrap();
                run.id()
            },
            false,
        ),
        ("dead before its first step", |journal| begun(journal, "deploy rollout", "dev", 9).id(), false),
        (
            "nothing but a restart",
            |journal| {
                let mut run = begun(journal, "deploy restart", "dev", 9);
                run.append(Entry::Ended { exit: 0, summary: String::new() }).unwrap();
                run.id()
            },
            false,
        ),
    ] {
        let (typed, run) = stopped_after_its_look(Arc::new(ManualClock::at(SystemClock.now().minus(hour))));
        let other = bring(&Journal::new(typed.path("runs"), Arc::new(SystemClock)));
        let came = typed.run(&["ship", "--env", "dev", "--resume", &run, "--yes", "-o", "json"]).await;
        assert_eq!(came.exit == 8, is_refused, "{name}: {}", came.stderr);
        if is_refused {
            assert_eq!(came.error()["code"], "SHP002");
            assert!(came.stderr.contains(&other), "{name}: {}", came.stderr);
        }
    }
}
