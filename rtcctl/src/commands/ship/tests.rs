//! Requests, the journal of a release, and a release of as much as needs no engine.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use codes::Error;
use journal::{Entry, Start};
use kernel::SystemClock;
use serde_json::json;
use ship::{
    Answered, BudgetSeen, Deployed, Digest, Fact, Failure, Given, IfUnknown, Lasting, Next, Outcome, Pinned,
    Release, Request, Step,
};

use super::{driver, history, rollout};
use crate::commands::deploy::prove::Proved;
use crate::commands::deploy::steps::Seen;
use crate::commands::testing::Typed;
use crate::load::{Figures, Verdict};
use crate::signals::Signal;

/// A program of Linux is there wherever tests run: a small one, which is packed in no time, or else this one.
fn place() -> Typed {
    let typed = Typed::alone();
    std::fs::create_dir_all(typed.path("bin")).unwrap();
    std::fs::copy("/bin/true", typed.path("bin/rtcd"))
        .or_else(|_| std::fs::copy(std::env::current_exe().unwrap(), typed.path("bin/rtcd")))
        .unwrap();
    typed.write(
        "rtc.toml",
        b"[defaults]\njournal = \"runs\"\n[environments.dev]\nkind = \"remote\"\nregistry = \"127.0.0.1:1\"\n\
          prometheus_url = \"http://127.0.0.1:1\"\n[images.rtcd]\nbinaries = [\"bin/rtcd\"]\n",
    );
    typed
}

fn journal(typed: &Typed) -> journal::Journal {
    journal::Journal::new(typed.path("runs"), std::sync::Arc::new(SystemClock))
}

const DEV: [&str; 5] = ["ship", "--env", "dev", "-o", "json"];

fn ship<'a>(words: &[&'a str]) -> Vec<&'a str> {
    [&DEV as &[&str], words].concat()
}

#[tokio::test]
async fn what_makes_no_release_is_refused_before_anything_is_begun() {
    let typed = place();
    for (words, code) in [
        (&["--skip", "build"] as &[&str], "SHP001"),
        (&["--skip", "rollback"], "SHP001"),
        (&["--resume", "last"], "SHP002"),
    ] {
        let came = typed.run(&ship(words)).await;
        assert_eq!(came.error()["code"], code, "{words:?}: {}", came.stderr);
    }
    assert_eq!(typed.run(&ship(&["--skip", "bild"])).await.exit, 2);
    assert!(journal(&typed).ids().unwrap().is_empty());
}

#[tokio::test]
async fn a_remote_that_does_not_answer_leaves_the_run_open_and_says_how_to_go_on() {
    let typed = place();
    let came = typed.run(&ship(&["--yes"])).await;
    let document = came.json();
    assert_eq!((came.exit, &document["status"]), (9, &json!("stopped")), "{document}");
    assert_eq!(document["data"]["resumable"], true);
    let run = document["data"]["run"].as_str().unwrap().to_owned();
    let record = journal(&typed).read(&run).unwrap();
    assert_eq!(record.state, journal::State::Interrupted);
    // It is looked at without being gone on with, and gone on with.
    let standing = typed.run(&ship(&["--resume", "last", "--dry-run"])).await.json();
    assert_eq!((&standing["data"]["next"], &standing["data"]["outcome"]), (&json!("budget"), &json!("open")));
    let again = typed.run(&ship(&["--resume", &run, "--yes"])).await;
    assert_eq!((again.exit, again.json()["data"]["run"].as_str()), (9, Some(run.as_str())));
    let other = typed.run(&["ship", "--env", "local", "--resume", &run, "-o", "json"]).await;
    assert_eq!(other.error()["code"], "SHP002");
}

#[tokio::test]
async fn what_is_only_built_is_built_the_same_and_ends() {
    let typed = place();
    let words = ship(&["--skip", "budget,push,deploy,prove,gate,notice", "--yes"]);
    let first = typed.run(&words).await;
    let document = first.json();
    assert_eq!((first.exit, &document["status"]), (0, &json!("ok")), "{document}");
    let second = typed.run(&words).await.json();
    assert_eq!(document["data"]["image"]["digest"], second["data"]["image"]["digest"]);
    assert!(document["data"]["image"]["digest"].as_str().unwrap().starts_with("sha256:"));
    let run = document["data"]["run"].as_str().unwrap();
    let over = typed.run(&ship(&["--resume", run])).await;
    assert_eq!((over.exit, &over.error()["code"]), (8, &json!("SHP002")));
    let shown = typed.run(&["runs", "show", run]).await.stdout;
    assert!(
        shown.contains("rtcd sha256:") && shown.contains("left out") | shown.contains("skipped"),
        "{shown}"
    );
}

#[tokio::test]
async fn what_nobody_agrees_to_is_not_sent_and_not_open() {
    let typed = place();
    let came = typed.run(&ship(&["--skip", "budget,deploy,prove,gate", "--no-input"])).await;
    let document = came.json();
    assert_eq!((came.exit, &document["status"]), (7, &json!("refused")), "{document}");
    assert_eq!(document["data"]["failure"]["code"], "CNF001");
    assert_eq!(document["data"]["resumable"], false);
}

/// A desk with somebody who is told, a protected environment, and metrics that never answer.
async fn desk() -> (Typed, Arc<Mutex<Vec<Bytes>>>, tokio::net::TcpListener) {
    let mail = Arc::<Mutex<Vec<Bytes>>>::default();
    let kept = mail.clone();
    let app = Router::new().fallback(move |body: Bytes| {
        kept.lock().unwrap().push(body);
        std::future::ready("ok")
    });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let hook = format!("http://{}/hook", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut typed = place();
    typed.set("HOOK", &hook);
    let text = std::fs::read_to_string(typed.path("rtc.toml")).unwrap();
    let metrics = silent.local_addr().unwrap();
    let text = format!(
        "{text}[environments.prod]\nkind = \"remote\"\nregistry = \"127.0.0.1:1\"\nprotected = \"yes\"\n\
         prometheus_url = \"http://{metrics}\"\n[notices.all]\nkind = \"slack\"\nurl = \"env:HOOK\"\n"
    );
    typed.write("rtc.toml", text.as_bytes());
    (typed, mail, silent)
}

#[tokio::test]
async fn that_it_was_not_done_in_time_is_told_although_no_time_is_left() {
    let (typed, mail, _silent) = desk().await;
    let came = typed.run(&["ship", "--env", "prod", "--timeout", "2s", "--no-input", "-o", "json"]).await;
    let document = came.json();
    assert_eq!(document["status"], "stopped", "{document}");
    assert_eq!(document["data"]["notice"]["told"], json!(["all"]), "{document}");
    assert_eq!(mail.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn whoever_is_stopped_says_where_it_goes_on_and_so_does_the_journal() {
    for (signal, exit) in [(Signal::Interrupt, 130), (Signal::Terminate, 143)] {
        let (typed, mail, silent) = desk().await;
        let mut held = None;
        let asked = async {
            held = Some(silent.accept().await.unwrap());
            signal
        };
        let words = ["ship", "--env", "prod", "--no-input", "-o", "json"];
        let came = typed.run_until(&words, asked).await;
        let document = came.json();
        assert_eq!((came.exit, &document["status"]), (exit, &json!("stopped")), "{document}");
        let data = &document["data"];
        assert_eq!((&data["failure"]["step"], &data["resumable"]), (&json!("budget"), &json!(true)));
        let run = data["run"].as_str().unwrap();
        let open =
            document["findings"].as_array().unwrap().iter().find(|one| one["code"] == "SHP022").unwrap();
        assert_eq!(open["hints"], json!([format!("rtcctl ship --env prod --resume {run}")]));
        assert!(mail.lock().unwrap().is_empty(), "who stops it knows");
        let record = journal(&typed).read(run).unwrap();
        assert_eq!(record.state, journal::State::Interrupted);
        let is_noted = |entry: &Entry| matches!(entry, Entry::Noted { kind, data } if kind == history::STOPPED && data["exit"] == exit);
        assert!(record.entries.iter().any(|stamped| is_noted(&stamped.entry)), "{:?}", record.entries);
        let standing =
            typed.run(&["ship", "--env", "prod", "--resume", run, "--dry-run", "-o", "json"]).await.json();
        assert_eq!(standing["data"]["next"], "budget");
    }
}

#[tokio::test]
async fn what_the_end_of_a_release_needs_is_asked_for_before_its_beginning() {
    let typed = place();
    let text = std::fs::read_to_string(typed.path("rtc.toml")).unwrap();
    let bare: String = text
        .lines()
        .filter(|line| !line.contains("prometheus_url"))
        .map(|line| format!("{line}\n"))
        .collect();
    typed.write("rtc.toml", bare.as_bytes());
    for words in [
        &["--yes"] as &[&str],
        &["--plan-only"],
        &["--skip", "budget", "--yes"],
        &["--skip", "gate", "--yes"],
        &["--prove", "--skip", "budget,gate", "--yes"],
    ] {
        let came = typed.run(&ship(words)).await;
        assert_eq!((came.exit, &came.error()["code"]), (3, &json!("CFG009")), "{words:?}: {}", came.stderr);
        let key = if words.contains(&"--prove") { "api_url" } else { "prometheus_url" };
        assert!(came.error()["hints"][0].as_str().unwrap().starts_with(key), "{}", came.stderr);
    }
    assert!(journal(&typed).ids().unwrap().is_empty());
    assert!(!typed.path("dist").exists(), "nothing was built");
}

#[tokio::test]
async fn a_protected_environment_whose_name_nobody_typed_is_no_news() {
    let (typed, mail, _silent) = desk().await;
    let words = ["ship", "--env", "prod", "--skip", "budget,deploy,prove,gate", "--yes", "-o", "json"];
    let document = typed.run(&words).await.json();
    assert_eq!(document["data"]["failure"]["code"], "INF016", "{document}");
    assert!(mail.lock().unwrap().is_empty());
}

/// A release to prod in the journal, whose gate has failed; what follows is evidence and the way back.
fn failed_at_its_gate(typed: &Typed) -> String {
    let letter = |letter: &str| -> Digest { format!("sha256:{}", letter.repeat(64)).parse().unwrap() };
    let pinned = Pinned { reference: format!("127.0.0.1:1/rtcd@{}", letter("a")), digest: letter("a") };
    let skip = [Step::Plan, Step::Apply, Step::Prove].into();
    let request = Request::new("prod", "rtcd", Some(pinned), &skip).unwrap();
    let inputs = [("request".to_owned(), serde_json::to_string(&request).unwrap())];
    let start = Start {
        command: "ship".to_owned(),
        environment: "prod".to_owned(),
        inputs: inputs.into(),
        ..Start::default()
    };
    let mut run = journal(typed).begin(start, 7).unwrap();
    let mut release = Release::new(request);
    let deployed = || Deployed {
        image: letter("a"),
        manifest: letter("b"),
        revision: Some("2".to_owned()),
        previous: Some("1".to_owned()),
        availability: None,
        load: None,
        done_at_ms: 0,
        run: None,
        details: json!({"namespace": "rtc"}),
    };
    loop {
        let facts = match release.next() {
            Next::Skip { step, reason } => vec![Fact::Skipped { step, reason }],
            Next::Do { step, .. } => {
                let over = match step {
                    Step::Budget => Fact::Finished { given: Given::Budget(BudgetSeen::default()) },
                    Step::Deploy => Fact::Finished { given: Given::Deploy(deployed()) },
                    Step::Gate => {
                        Fact::Failed { failure: Failure::new(Step::Gate, 30, "SHP007", "it is slow") }
                    }
                    _ => return run.id(),
                };
                vec![Fact::Begun { step, inputs: String::new() }, over]
            }
            Next::End(end) => panic!("{end:?}"),
        };
        for fact in facts {
            for entry in history::entries(&fact, Duration::ZERO) {
                run.append(entry).unwrap();
            }
            assert_eq!(release.take(fact), Outcome::Done);
        }
    }
}

#[tokio::test]
async fn whoever_resumes_a_run_is_asked_before_anything_is_taken_back() {
    let (typed, mail, _silent) = desk().await;
    let run = failed_at_its_gate(&typed);
    let words = ["ship", "--env", "prod", "--resume", &run, "--yes", "-o", "json"];
    let begun = |step: Step| {
        let record = journal(&typed).read(&run).unwrap();
        record.steps().iter().any(|known| known.name == step.name())
    };
    for told in [1, 2] {
        let came = typed.run(&words).await;
        let document = came.json();
        assert_eq!((came.exit, &document["data"]["failure"]["code"]), (7, &json!("INF016")), "{document}");
        assert_eq!((&document["status"], &document["data"]["resumable"]), (&json!("stopped"), &json!(true)));
        assert!(begun(Step::Collect) && begun(Step::RollBack));
        assert_eq!(mail.lock().unwrap().len(), told, "others are told that it waits");
    }
    // Whoever agrees has it taken back; that there is no cluster here is another thing, and told as such.
    let agreed = typed.run(&[&words as &[&str], &["--confirm", "prod"]].concat()).await;
    let document = agreed.json();
    assert_eq!((agreed.exit, &document["status"]), (25, &json!("rollback_failed")), "{document}");
    assert_eq!(document["data"]["failure"]["code"], "SHP007");
    assert_ne!(document["data"]["problem"]["code"], "INF016");
}

#[tokio::test]
async fn a_release_is_not_gone_on_with_over_a_later_one_that_is_deployed() {
    let typed = place();
    let open = typed.run(&ship(&["--yes"])).await.json();
    let open = open["data"]["run"].as_str().unwrap();
    let later = |environment: &str, is_deployed: bool| {
        let start =
            Start { command: "ship".to_owned(), environment: environment.to_owned(), ..Start::default() };
        let mut run = journal(&typed).begin(start, 7).unwrap();
        let step = || "deploy".to_owned();
        run.append(Entry::Begun { step: step(), inputs: String::new() }).unwrap();
        if is_deployed {
            run.append(Entry::Finished { step: step(), outputs: json!({}), took_ms: 1 }).unwrap();
        }
        run.append(Entry::Ended { exit: 0, summary: String::new() }).unwrap();
        run.id()
    };
    later("dev", false);
    later("prod", true);
    assert_eq!(typed.run(&ship(&["--resume", open, "--yes"])).await.exit, 9);
    let newer = later("dev", true);
    let refused = typed.run(&ship(&["--resume", open, "--yes"])).await;
    assert_eq!((refused.exit, &refused.error()["code"]), (8, &json!("SHP002")), "{}", refused.stderr);
    assert!(refused.stderr.contains(&newer), "{}", refused.stderr);
}

#[tokio::test]
async fn load_that_cannot_be_driven_or_judged_is_refused_before_anything_is_begun() {
    let typed = place();
    for (words, code) in [
        (&["--prove=https://shop.example.com"] as &[&str], "LOD004"),
        (&["--prove=http://127.0.0.1:1", "--skip", "prove"], "SHP001"),
        (&["--prove=http://127.0.0.1:1", "--skip", "deploy,prove,gate"], "SHP001"),
    ] {
        let came = typed.run(&ship(words)).await;
        assert_eq!(came.error()["code"], code, "{words:?}: {}", came.stderr);
    }
    for words in [
        &["--prove-rate", "5"] as &[&str],
        &["--unproved"],
        &["--resume", "last", "--prove"],
        &["--resume", ""],
    ] {
        assert_eq!(typed.run(&ship(words)).await.exit, 2, "{words:?}");
    }
    assert!(journal(&typed).ids().unwrap().is_empty());
}

#[tokio::test]
async fn the_load_that_was_asked_for_is_in_the_journal_and_so_is_who_goes_on_without_its_answer() {
    let typed = place();
    let words = ship(&["--yes", "--prove=http://127.0.0.1:1", "--prove-rate", "5"]);
    let stopped = typed.run(&words).await.json();
    let run = stopped["data"]["run"].as_str().unwrap();
    let asked = || {
        let record = journal(&typed).read(run).unwrap();
        history::release(&record).unwrap().request.prove.unwrap()
    };
    assert_eq!(
        (asked().address.as_deref(), asked().rate, asked().if_unknown),
        (Some("http://127.0.0.1:1"), 5.0, IfUnknown::Stop)
    );
    assert_eq!(typed.run(&ship(&["--resume", run, "--yes"])).await.exit, 9);
    assert_eq!(asked().if_unknown, IfUnknown::Stop);
    assert_eq!(typed.run(&ship(&["--resume", run, "--unproved", "--yes"])).await.exit, 9);
    assert_eq!(asked().if_unknown, IfUnknown::GoOn);
}

#[test]
fn somebody_elses_rollout_leaves_a_release_open_and_a_newer_revision_ends_it() {
    for (code, lasting) in [(&codes::DEP028, Lasting::Passing), (&codes::DEP017, Lasting::Lasting)] {
        let failure = driver::failure(Step::Deploy, &Error::new(code, "refused"));
        assert_eq!((failure.exit, failure.lasting), (8, lasting), "{}", code.id);
    }
}

fn proved(requests: u64, unavailable: u64, verdict: Verdict) -> Proved {
    let figures = Figures {
        requests,
        answered: requests - unavailable,
        unavailable,
        refused: 0,
        availability_percent: (requests > 0)
            .then(|| (requests - unavailable) as f64 / requests as f64 * 100.0),
        errors: [("reset".to_owned(), unavailable)].into(),
        latency: None,
        generator_lag_p99_ms: None,
        connection_wait_p99_ms: None,
        sent_for_s: 1.0,
        achieved_per_s: None,
    };
    Proved { figures, verdict, document: json!({"rate_per_s": 50.0}) }
}

#[test]
fn load_proves_what_it_saw_all_of_and_what_it_saw_lost_is_lost() {
    let kept = || proved(1_000, 0, Verdict::Kept);
    let lost = || proved(1_000, 4, Verdict::Breached(vec!["availability".to_owned()]));
    let none = || proved(0, 0, Verdict::Inconclusive("no request was sent".to_owned()));
    let few = || proved(3, 0, Verdict::Inconclusive("too few".to_owned()));
    for (seen, proved, answered, share) in [
        (Seen::All, Some(kept()), Answered::All, Some(1.0)),
        (Seen::Rest, Some(kept()), Answered::Unknown, Some(1.0)),
        (Seen::All, Some(lost()), Answered::NotAll, Some(0.996)),
        (Seen::Rest, Some(lost()), Answered::NotAll, Some(0.996)),
        (Seen::All, Some(few()), Answered::Unknown, Some(1.0)),
        (Seen::All, Some(none()), Answered::Unknown, None),
        (Seen::Nothing, None, Answered::Unknown, None),
    ] {
        let (measured, load) = rollout::shown(seen, proved.as_ref());
        assert_eq!((load.answered, measured), (answered, share), "{}", load.sentence);
        assert!(!load.sentence.is_empty());
    }
    let (_, load) = rollout::shown(Seen::All, Some(&lost()));
    assert!(load.sentence.contains("4 were not: reset 4"), "{}", load.sentence);
}

#[tokio::test]
async fn a_survey_says_whether_a_release_would_be_proved_under_load() {
    // Without a program there is no image to ask a registry about, which would be asked for long.
    let typed = place();
    std::fs::remove_file(typed.path("bin/rtcd")).unwrap();
    let without = typed.run(&["ship", "--env", "dev", "--plan-only"]).await;
    assert!(without.stdout.contains("not proved under load"), "{}", without.stdout);
    let with =
        typed.run(&ship(&["--plan-only", "--prove=http://127.0.0.1:1", "--prove-rate", "5"])).await.json();
    assert_eq!(with["data"]["load"]["rate_per_s"], 5.0, "{with}");
}

#[tokio::test]
async fn a_survey_tells_each_part_that_it_cannot_see() {
    let typed = place();
    let came = typed.run(&ship(&["--plan-only"])).await;
    let document = came.json();
    assert_eq!(document["data"]["plan_only"], true);
    assert!(document["findings"].as_array().unwrap().len() >= 2, "{document}");
    assert!(document["data"]["image"]["digest"].as_str().unwrap().starts_with("sha256:"), "{document}");
    assert!(journal(&typed).ids().unwrap().is_empty());
}

#[tokio::test]
async fn a_journal_that_says_what_cannot_be_is_not_gone_on_with() {
    let typed = place();
    let stopped = typed.run(&ship(&["--yes"])).await.json();
    let run = stopped["data"]["run"].as_str().unwrap();
    let steps = typed.path("runs").join(run).join("steps.ndjson");
    let mut text = std::fs::read_to_string(&steps).unwrap();
    text.push_str(
        "{\"at\":\"2026-01-01T00:00:00.000Z\",\"entry\":\"begun\",\"step\":\"deploy\",\"inputs\":\"\"}\n",
    );
    std::fs::write(&steps, text).unwrap();
    let came = typed.run(&ship(&["--resume", run])).await;
    assert_eq!(came.error()["code"], "SHP009", "{}", came.stderr);
}

#[tokio::test]
async fn whoever_stops_a_survey_stops_the_terraform_that_plans_for_it() {
    use std::os::unix::fs::PermissionsExt as _;
    let typed = place();
    let script = "#!/bin/sh\ncase \"$1\" in init) mkdir -p .terraform;; plan) trap 'touch ../ended; exit 1' INT; touch ../begun; \
                  while [ -e ../rtc.toml ]; do sleep 0.05; done;; esac\n";
    typed.write("terraform", script.as_bytes());
    std::fs::set_permissions(typed.path("terraform"), std::fs::Permissions::from_mode(0o755)).unwrap();
    std::fs::create_dir(typed.path("infra")).unwrap();
    let text = std::fs::read_to_string(typed.path("rtc.toml")).unwrap();
    let named = "kind = \"remote\"\nterraform = \"infra\"\nterraform_binary = \"./terraform\"\n";
    typed.write("rtc.toml", text.replace("kind = \"remote\"\n", named).as_bytes());
    let begun = typed.path("begun");
    let signal = async {
        while !begun.exists() {
            tokio::task::yield_now().await;
        }
        Signal::Terminate
    };
    let words = ship(&["--plan-only", "--skip", "budget,push,deploy,prove,gate,notice"]);
    let came = typed.run_until(&words, signal).await;
    assert_eq!((came.exit, &came.error()["code"]), (143, &json!("SIG002")), "{}{}", came.stdout, came.stderr);
    assert!(typed.path("ended").exists(), "terraform heard of it, and was waited for");
}
