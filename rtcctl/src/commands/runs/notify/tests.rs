//! Notices of runs, as they are typed, to receivers that a test makes up.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::http::{StatusCode, Uri};
use journal::{Entry, Journal, Start};
use serde_json::{Value, json};

use crate::commands::testing::{Came, Typed};

/// What came in, by the path that it came to.
type Mail = Arc<Mutex<Vec<(String, Value)>>>;

/// A receiver that answers `/gone` with 404 and everything else as Slack does.
async fn receiver() -> (String, Mail) {
    let mail = Mail::default();
    let kept = mail.clone();
    let app = Router::new().fallback(move |uri: Uri, body: Bytes| {
        let kept = kept.clone();
        async move {
            let body = serde_json::from_slice(&body).unwrap();
            kept.lock().unwrap().push((uri.path().to_owned(), body));
            match uri.path() {
                "/gone" => (StatusCode::NOT_FOUND, "no_service"),
                _ => (StatusCode::OK, "ok"),
            }
        }
    });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    (url, mail)
}

/// A desk with a receiver of releases, one of failures in prod, and one that is gone.
async fn desk() -> (Typed, Mail) {
    let (url, mail) = receiver().await;
    let mut typed = Typed::alone();
    typed.write(
        "rtc.toml",
        br#"
[defaults]
journal = "runs"
[environments.dev]
kind = "remote"
[notices.releases]
kind = "slack"
url = "env:HOOK"
[notices.failures]
kind = "webhook"
url = "env:AUDIT"
key = "env:AUDIT_KEY"
on = ["failed", "rolled_back"]
[notices.prod]
kind = "slack"
url = "env:MISSING"
environments = ["prod"]
"#,
    );
    typed.set("HOOK", &format!("{url}/releases"));
    typed.set("AUDIT", &format!("{url}/failures"));
    typed.set("AUDIT_KEY", "hunter2");
    typed.set("GONE", &format!("{url}/gone"));
    (typed, mail)
}

/// A run of `ship` in dev that came to `exit`.
fn ship(typed: &Typed, exit: u8) -> String {
    let journal = Journal::new(typed.path("runs"), Arc::new(kernel::SystemClock));
    let start = Start {
        command: "ship".to_owned(),
        environment: "dev".to_owned(),
        by: "ann@desk".to_owned(),
        ..Start::default()
    };
    let mut run = journal.begin(start, 1).unwrap();
    let begun = |step: &str| Entry::Begun { step: step.to_owned(), inputs: String::new() };
    run.append(begun("infra")).unwrap();
    let outputs = json!({"create": 2, "change": 0});
    run.append(Entry::Finished { step: "infra".to_owned(), outputs, took_ms: 1 }).unwrap();
    run.append(begun("push")).unwrap();
    let outputs = json!({"digest": "sha256:aaaa", "layers": [{"digest": "none"}], "bytes": 12});
    run.append(Entry::Finished { step: "push".to_owned(), outputs, took_ms: 1 }).unwrap();
    run.append(begun("deploy")).unwrap();
    let manifest = json!({"items": [{"image": "host/sidecar@sha256:cccc"}], "digest": "sha256:cccc"});
    for (kind, data) in [
        ("recorded", json!({"previous": {"image": "host/rtc-dev/rtcd@sha256:bbbb", "manifest": manifest}})),
        ("plan", json!({"manifest": manifest, "image": "host/sidecar@sha256:cccc"})),
    ] {
        run.append(Entry::Noted { kind: kind.to_owned(), data }).unwrap();
    }
    if exit != 0 {
        let (code, message) = ("ROL004".to_owned(), "password=hunter2 was wrong".to_owned());
        run.append(Entry::Failed { step: "deploy".to_owned(), code, message }).unwrap();
    }
    run.append(Entry::Ended { exit, summary: "over".to_owned() }).unwrap();
    run.id()
}

async fn notify(typed: &Typed, words: &[&str]) -> Came {
    typed.run(&[&["runs", "notify"], words].concat()).await
}

fn paths(mail: &Mail) -> Vec<String> {
    let mut paths: Vec<String> = mail.lock().unwrap().iter().map(|(path, _)| path.clone()).collect();
    paths.sort();
    paths
}

#[tokio::test]
async fn a_release_is_told_with_what_it_changed() {
    let (typed, mail) = desk().await;
    let run = ship(&typed, 0);
    let link = "build=https://ci.example/7/";
    let came = notify(&typed, &["--link", link, "--by", "bob", "-o", "json"]).await;
    assert_eq!(came.exit, 0, "{}", came.stderr);
    let data = &came.json()["data"];
    assert_eq!((&data["outcome"], &data["run"]), (&json!("released"), &json!(run)));
    let told: Vec<&Value> =
        data["deliveries"].as_array().unwrap().iter().map(|delivery| &delivery["result"]).collect();
    assert_eq!(told, ["delivered", "not_wanted"]);
    assert_eq!(paths(&mail), ["/releases"]);
    let text = mail.lock().unwrap()[0].1.to_string();
    for part in
        ["dev: ship released, by bob", "infra: create 2", "sha256:aaaa", "sha256:bbbb", "ci.example/7/"]
    {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(!text.contains("sha256:cccc"), "{text}");
}

#[tokio::test]
async fn a_release_that_was_rolled_back_says_why_and_no_secret() {
    let (typed, mail) = desk().await;
    ship(&typed, 24);
    // The pipeline knows less than the run.
    let came = notify(&typed, &["last", "--outcome", "failed", "--why", "stage deploy"]).await;
    assert_eq!(came.exit, 0, "{}", came.stderr);
    assert_eq!(paths(&mail), ["/failures", "/releases"]);
    for (path, body) in mail.lock().unwrap().iter() {
        let text = body.to_string();
        assert!(text.contains("ROL004: password=*** was wrong"), "{text}");
        assert!(!text.contains("hunter2"), "{text}");
        if path == "/failures" {
            assert_eq!((&body["outcome"], &body["digest"]), (&json!("rolled_back"), &json!("sha256:aaaa")));
        }
    }
}

#[tokio::test]
async fn a_pipeline_that_failed_after_a_good_run_has_failed() {
    let (typed, mail) = desk().await;
    ship(&typed, 0);
    let words = ["--outcome", "failed", "--why", "the gate is breached", "--to", "failures"];
    assert_eq!(notify(&typed, &words).await.exit, 0);
    let mail = mail.lock().unwrap();
    assert_eq!(
        (&mail[0].1["outcome"], &mail[0].1["why"]),
        (&json!("failed"), &json!("the gate is breached"))
    );
}

#[tokio::test]
async fn a_pipeline_that_changed_nothing_is_told_too_if_it_says_what_it_came_to() {
    let (typed, mail) = desk().await;
    let without = notify(&typed, &["-o", "json"]).await;
    assert_eq!((without.exit, &without.error()["code"]), (5, &json!("JRN002")));
    let came = notify(&typed, &["--env", "dev", "--outcome", "failed", "--why", "tests"]).await;
    assert_eq!(came.exit, 0, "{}", came.stderr);
    assert_eq!(paths(&mail), ["/failures", "/releases"]);
    assert!(mail.lock().unwrap()[0].1.to_string().contains("pipeline"));
}

#[tokio::test]
async fn the_commit_and_its_author_are_told_on_request() {
    let (typed, mail) = desk().await;
    let outside = notify(&typed, &["--env", "dev", "--outcome", "1", "--commit", "-o", "json"]).await;
    assert_eq!((outside.exit, &outside.error()["code"]), (3, &json!("NTC004")));
    for words in [
        &["init", "-q"] as &[&str],
        &[
            "-c",
            "user.name=Bob",
            "-c",
            "user.email=bob@x",
            "commit",
            "-q",
            "--allow-empty",
            "-m",
            "orders: x",
        ],
    ] {
        let git = std::process::Command::new("git").args(words).current_dir(typed.path("")).status();
        assert!(git.unwrap().success());
    }
    let came = notify(&typed, &["--env", "dev", "--outcome", "1", "--commit"]).await;
    assert_eq!(came.exit, 0, "{}", came.stderr);
    let text = mail.lock().unwrap()[0].1.to_string();
    assert!(text.contains(": orders: x") && text.contains("pipeline released, by Bob"), "{text}");
}

#[tokio::test]
async fn a_receiver_that_is_named_is_told_whatever_it_wants() {
    let (typed, mail) = desk().await;
    ship(&typed, 0);
    assert_eq!(notify(&typed, &["--to", "failures"]).await.exit, 0);
    assert_eq!(paths(&mail), ["/failures"]);
    let unknown = notify(&typed, &["--to", "failurs", "-o", "json"]).await;
    assert_eq!((unknown.exit, &unknown.error()["code"]), (3, &json!("NTC002")));
    assert_eq!(unknown.error()["hints"], json!(["did you mean failures?"]));
}

#[tokio::test]
async fn who_is_not_reached_is_told_of_without_the_address() {
    let (typed, mail) = desk().await;
    ship(&typed, 0);
    // Nothing is behind the reference.
    let came = notify(&typed, &["--to", "prod", "--to", "releases", "-o", "json"]).await;
    assert_eq!((came.exit, &came.error()["code"]), (40, &json!("NTC001")));
    assert_eq!(came.error()["causes"], json!(["prod: the variable MISSING is not set"]));
    assert_eq!(paths(&mail), ["/releases"]);
    let text = std::fs::read_to_string(typed.path("rtc.toml")).unwrap().replace("env:HOOK", "env:GONE");
    typed.write("rtc.toml", text.as_bytes());
    let came = notify(&typed, &["-o", "json"]).await;
    assert_eq!(came.exit, 40, "{}", came.stderr);
    assert_eq!(came.error()["causes"], json!(["releases: answered 404: no_service"]));
    assert!(!came.stderr.contains("/gone"), "{}", came.stderr);
}

#[tokio::test]
async fn a_dry_run_shows_what_would_be_sent_and_sends_nothing() {
    let (typed, mail) = desk().await;
    ship(&typed, 0);
    let came = notify(&typed, &["--dry-run", "-o", "json"]).await;
    let data = came.json()["data"].clone();
    assert_eq!(data[0]["body"]["blocks"][0]["type"], "header");
    assert_eq!(data[1]["body"]["schema"], "rtcctl/notice/v1");
    assert!(mail.lock().unwrap().is_empty());
}

#[tokio::test]
async fn nobody_to_tell_is_no_failure_and_is_said() {
    let typed = Typed::alone();
    typed.write("rtc.toml", b"[defaults]\njournal = \"runs\"\n");
    ship(&typed, 0);
    let came = notify(&typed, &["-o", "json"]).await;
    assert_eq!((came.exit, &came.json()["findings"][0]["code"]), (0, &json!("NTC003")));
}

#[tokio::test]
async fn a_link_that_is_none_is_a_mistake_of_the_command_line() {
    let typed = Typed::alone();
    for link in ["https://x/", "=https://x/", "build=javascript:x"] {
        assert_eq!(notify(&typed, &["--link", link]).await.exit, 2, "{link}");
    }
}

#[tokio::test]
async fn an_address_that_is_written_out_is_refused_without_being_repeated() {
    let typed = Typed::alone();
    let table = [
        ("kind = \"slack\"\nurl = \"https://hooks.slack.com/hunter2\"", "CFG007"),
        ("kind = \"webhook\"\nurl = \"env:A\"\nkey = \"hunter2\"", "CFG007"),
        ("kind = \"slack\"\nurl = \"env:A\"\nkey = \"env:B\"", "CFG004"),
        ("kind = \"slack\"\nurl = \"env:A\"\non = [\"done\"]", "CFG004"),
        ("kind = \"mail\"\nurl = \"env:A\"", "CFG004"),
        ("kind = \"slack\"\nurl = \"env:A\"\nchannel = \"x\"", "CFG003"),
    ];
    for (text, code) in table {
        typed.write("rtc.toml", format!("[notices.x]\n{text}\n").as_bytes());
        let came = notify(&typed, &["-o", "json"]).await;
        assert_eq!((came.exit, &came.error()["code"]), (3, &json!(code)), "{text}");
        assert!(!came.stderr.contains("hunter2"), "{}", came.stderr);
    }
}

/// A run of a command that came to `exit`, with a note of each of `parts`.
fn run_of(command: &str, at: u64, exit: u8, parts: &[&str], typed: &Typed) -> String {
    // Each a second after the one before: ids say when.
    let now = kernel::Timestamp::from_millis(1_795_000_000_000 + i64::try_from(at).unwrap() * 1_000);
    let journal = Journal::new(typed.path("runs"), Arc::new(kernel::ManualClock::at(now)));
    let start = Start { command: command.to_owned(), environment: "dev".to_owned(), ..Start::default() };
    let mut run = journal.begin(start, at).unwrap();
    for part in parts {
        run.append(Entry::Noted { kind: "rollout".to_owned(), data: json!(part) }).unwrap();
    }
    run.append(Entry::Ended { exit, summary: "over".to_owned() }).unwrap();
    run.id()
}

#[tokio::test]
async fn a_run_that_is_a_part_of_another_is_not_the_last_one() {
    let (typed, _mail) = desk().await;
    let begun = run_of("deploy rollout", 2, 24, &[], &typed);
    let ship = run_of("ship", 1, 24, &[&begun], &typed);
    let told = notify(&typed, &["-o", "json"]).await.json();
    assert_eq!(told["data"]["run"], json!(ship));
    assert_eq!(typed.run(&["runs", "show", "-o", "name"]).await.stdout.trim(), ship);
    // By its id and by its command a part is told of too.
    let told = notify(&typed, &[&begun, "-o", "json"]).await.json();
    assert_eq!(told["data"]["run"], json!(begun));
    // One that nobody began is the last one.
    let alone = run_of("deploy rollout", 3, 0, &[], &typed);
    assert_eq!(notify(&typed, &["-o", "json"]).await.json()["data"]["run"], json!(alone));
}

#[tokio::test]
async fn the_last_run_of_a_command_is_told_of() {
    let (typed, _mail) = desk().await;
    let apply = run_of("infra apply", 1, 0, &[], &typed);
    let ship = run_of("ship", 2, 0, &[], &typed);
    run_of("pipeline sync", 3, 0, &[], &typed);
    for (words, run) in [
        (&["--of", "ship"] as &[&str], &ship),
        (&["last", "--of", "infra apply"], &apply),
        (&["last", "--of", "infra apply", "--of", "ship"], &ship),
        (&[&ship, "--of", "ship"], &ship),
    ] {
        let told = notify(&typed, &[words, &["-o", "json"]].concat()).await.json();
        assert_eq!(told["data"]["run"], json!(run), "{words:?}");
    }
    for words in [&["last", "--of", "image"] as &[&str], &[&apply, "--of", "ship"]] {
        let came = notify(&typed, &[words, &["-o", "json"]].concat()).await;
        assert_eq!((came.exit, &came.error()["code"]), (5, &json!("JRN002")), "{}", came.stderr);
    }
    // What a pipeline came to that has none is told all the same.
    let told = notify(&typed, &["last", "--of", "image", "--outcome", "failed", "-o", "json"]).await.json();
    assert_eq!((&told["data"]["run"], &told["data"]["outcome"]), (&json!(null), &json!("failed")));
}
