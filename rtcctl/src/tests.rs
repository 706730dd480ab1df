//! The whole tool in-process: what a shell would see.

use std::collections::BTreeMap;
use std::io::Write;

use serde_json::Value;

use super::*;
use crate::commands::testing::Typed;
use crate::io::{Captured, Sink};
use crate::signals::{Signal, Trigger};

/// A run with an environment, a stdout and a finger on Ctrl-C of its own.
struct Seat {
    io: Io,
    stderr: Captured,
    interrupts: Interrupts,
    trigger: Trigger,
}

fn seat(variables: &[(&str, &str)], stdout: Sink) -> Seat {
    let stderr = Captured::default();
    let (trigger, interrupts) = Interrupts::new();
    let io = Io {
        stdin: Box::new(std::io::empty()),
        stdout,
        stderr: Sink::new(stderr.clone()),
        stdin_is_terminal: false,
        stdout_is_terminal: false,
        stderr_is_terminal: true,
        width: Some(80),
        variables: variables
            .iter()
            .map(|(name, value)| ((*name).into(), (*value).into()))
            .collect::<BTreeMap<_, _>>(),
        current_dir: std::env::temp_dir(),
        executable: None,
    };
    Seat { io, stderr, interrupts, trigger }
}

async fn sit(seat: Seat, words: &[&str]) -> u8 {
    let words = std::iter::once("rtcctl").chain(words.iter().copied()).map(Into::into);
    Box::pin(run(words, seat.io, seat.interrupts, Arc::new(SystemClock))).await.code()
}

#[tokio::test]
async fn the_help_names_every_command() {
    let came = Typed::alone().run(&["--help"]).await;
    assert_eq!(came.exit, 0);
    insta::assert_snapshot!(came.stdout);
}

#[tokio::test]
async fn the_help_of_up_names_its_flags() {
    insta::assert_snapshot!(Typed::alone().run(&["up", "-h"]).await.stdout);
}

#[tokio::test]
async fn without_a_command_the_help_goes_to_stderr_and_it_is_a_usage_error() {
    let came = Typed::alone().run(&[]).await;
    assert_eq!((came.exit, came.stdout.as_str()), (2, ""));
    assert!(came.stderr.contains("Usage: rtcctl"));
}

#[tokio::test]
async fn a_mistyped_command_is_told_the_nearest_one() {
    let came = Typed::alone().run(&["staus"]).await;
    assert_eq!(came.exit, 2);
    assert!(came.stderr.contains("'status'"), "{}", came.stderr);
}

#[tokio::test]
async fn under_json_a_usage_error_is_one_object_on_stderr() {
    for words in [
        &["staus", "-o", "json"][..],
        &["-ojson", "up", "--prot", "1"],
        &["--output=json", "up", "--port", "x"],
    ] {
        let came = Typed::alone().run(words).await;
        let error = came.error();
        assert_eq!((came.exit, came.stdout.as_str(), error["code"].as_str()), (2, "", Some("USE001")));
        let keys: Vec<&String> = error.as_object().unwrap().keys().collect();
        assert_eq!(keys, ["code", "message", "causes", "hints"]);
        assert!(!error["message"].as_str().unwrap().contains('\n'));
    }
}

#[tokio::test]
async fn every_answer_has_the_same_four_fields() {
    for (words, schema) in [
        (&["version"][..], "rtcctl/version/v1"),
        (&["explain"], "rtcctl/explain/v1"),
        (&["explain", "exit-codes"], "rtcctl/explain/exit-codes/v1"),
        (&["config", "show"], "rtcctl/config/show/v1"),
        (&["config", "validate"], "rtcctl/config/validate/v1"),
        (&["config", "schema"], "rtcctl/config/schema/v1"),
        (&["completions", "bash"], "rtcctl/completions/v1"),
        (&["doctor"], "rtcctl/doctor/v1"),
        (&["down"], "rtcctl/down/v1"),
    ] {
        let came = Typed::alone().run(&[words, &["-o", "json"]].concat()).await;
        let document = came.json();
        let keys: Vec<&String> = document.as_object().unwrap().keys().collect();
        assert_eq!(keys, ["schema", "status", "findings", "data"], "{words:?}");
        assert_eq!(document["schema"], schema);
    }
}

#[tokio::test]
async fn a_platform_that_does_not_run_is_a_clear_error_with_a_hint() {
    let typed = Typed::alone();
    for words in [&["status"][..], &["events", "topics"], &["events", "dlq", "list"], &["open"]] {
        let came = typed.run(&[words, &["-o", "json"]].concat()).await;
        let error = came.error();
        assert_eq!((came.exit, error["code"].as_str()), (9, Some("NET001")), "{words:?}");
        assert!(error["hints"][0].as_str().unwrap().contains("rtcctl up"));
    }
    let came = typed.run(&["status"]).await;
    assert!(came.stderr.starts_with("error[NET001]: the platform is not running on "), "{}", came.stderr);
    assert_eq!(came.stdout, "");
}

#[tokio::test]
async fn down_without_a_platform_is_no_failure() {
    let came = Typed::alone().run(&["down"]).await;
    assert_eq!(came.exit, 0);
    assert!(came.stdout.starts_with("not running on "), "{}", came.stdout);
}

#[tokio::test]
async fn down_never_signals_a_process_that_is_not_rtcd() {
    let typed = Typed::alone();
    std::fs::create_dir_all(typed.path("data")).unwrap();
    let run = serde_json::json!({
        "pid": std::process::id(), "api_url": "http://127.0.0.1:1", "admin_url": "http://127.0.0.1:1",
        "started_at": "2026-01-01T00:00:00Z", "version": "0.1.0",
    });
    typed.write("data/run.json", run.to_string().as_bytes());
    let came = typed.run(&["down"]).await;
    assert_eq!(came.exit, 8);
    assert!(came.stderr.contains("error[RUN011]"), "{}", came.stderr);
}

#[tokio::test]
async fn explain_says_cause_and_action_and_knows_its_limits() {
    let typed = Typed::alone();
    insta::assert_snapshot!(typed.run(&["explain", "cfg003"]).await.stdout);
    let came = typed.run(&["explain", "CFG0003"]).await;
    assert_eq!(came.exit, 5);
    assert!(came.stderr.contains("did you mean CFG003?"), "{}", came.stderr);
}

#[tokio::test]
async fn config_show_says_where_each_value_came_from() {
    let typed = Typed::alone();
    typed.write("rtc.toml", b"[environments.local]\nport = 9000\n");
    let came = typed.run(&["config", "show", "--timeout", "5s", "-o", "json"]).await;
    let document = came.json();
    let setting = |key: &str| {
        let settings = document["data"]["settings"].as_array().unwrap();
        let found = settings.iter().find(|setting| setting["key"] == key).unwrap();
        (found["value"].clone(), found["origin"].as_str().unwrap().to_owned())
    };
    assert_eq!(setting("timeout"), (Value::from("5000ms"), "--timeout".to_owned()));
    assert_eq!(setting("port").0, "9000");
    assert!(setting("port").1.ends_with("rtc.toml:2"));
    assert_eq!(setting("host"), (Value::from("127.0.0.1"), "default".to_owned()));
}

#[tokio::test]
async fn settings_that_are_needed_are_asked_for_together() {
    let typed = Typed::alone();
    typed.write("rtc.toml", b"[environments.dev]\nkind = \"remote\"\napi_url = \"https://shop.example\"\n");
    let asked = |needs: &'static str| ["config", "validate", "--env", "dev", "-o", "json", "--needs", needs];
    assert_eq!(typed.run(&asked("api_url")).await.exit, 0);
    let came = typed.run(&asked("api_url,prometheus_url,admin_url")).await;
    assert_eq!((came.exit, came.error()["code"].as_str()), (3, Some("CFG009")));
    assert_eq!(came.error()["message"], "the environment dev has no prometheus_url and no admin_url");
    let hint = came.error()["hints"][0].as_str().unwrap().to_owned();
    assert!(hint.contains("[environments.dev]") && hint.contains("RTCCTL_PROMETHEUS_URL"), "{hint}");
    let mistyped = typed.run(&asked("prometeus_url")).await;
    assert_eq!(mistyped.exit, 2);
    assert!(mistyped.stderr.contains("did you mean prometheus_url?"), "{}", mistyped.stderr);
}

#[tokio::test]
async fn a_broken_configuration_stops_every_command_with_its_own_exit_code() {
    let typed = Typed::alone();
    typed.write("rtc.toml", b"[environments.local]\nprot = 9000\n");
    let came = typed.run(&["config", "validate"]).await;
    assert_eq!(came.exit, 3);
    assert!(came.stderr.contains("did you mean port?"), "{}", came.stderr);
    let came = typed.run(&["status", "--env", "nowhere", "-o", "json"]).await;
    assert_eq!((came.exit, came.error()["code"].as_str()), (3, Some("CFG003")));
}

#[tokio::test]
async fn up_outside_a_workspace_says_what_is_missing_and_dry_run_starts_nothing() {
    let typed = Typed::alone();
    let came = typed.run(&["up"]).await;
    assert_eq!(came.exit, 3);
    assert!(came.stderr.contains("error[RUN001]"), "{}", came.stderr);
    typed.write("rtcd", b"");
    let came = typed.run(&["up", "--rtcd", "rtcd", "--port", "9100", "--dry-run", "-o", "json"]).await;
    let would = &came.json()["data"]["would"];
    assert_eq!(
        (came.exit, &would["api"], &would["admin"]),
        (0, &Value::from("127.0.0.1:9100"), &Value::from("127.0.0.1:10100"))
    );
    assert!(!typed.path("data").exists());
}

#[tokio::test]
async fn an_rtcd_that_refuses_to_start_is_quoted() {
    let typed = Typed::alone();
    typed.write(
        "rtcd",
        b"#!/bin/sh\necho 'error[HST003]: no such service: ordres' >&2\necho 'hint: orders' >&2\nexit 3\n",
    );
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(typed.path("rtcd"), mode).unwrap();
    let came = typed.run(&["up", "--rtcd", "rtcd", "--detach", "--port", "0", "-o", "json"]).await;
    let error = came.error();
    assert_eq!((came.exit, error["code"].as_str()), (3, Some("RUN004")), "{}", came.stderr);
    assert_eq!(error["causes"][0], "error[HST003]: no such service: ordres");
    assert_eq!(error["hints"][0], "orders");
}

#[tokio::test]
async fn events_go_to_a_file_and_the_answer_stays_on_stdout() {
    let typed = Typed::alone();
    let came = typed.run(&["version", "--events", "events.ndjson"]).await;
    assert!(came.stdout.starts_with("rtcctl "));
    let events = std::fs::read_to_string(typed.path("events.ndjson")).unwrap();
    let event: Value = serde_json::from_str(events.lines().last().unwrap()).unwrap();
    assert_eq!(
        (event["kind"].as_str(), &event["document"]["schema"]),
        (Some("result"), &Value::from("rtcctl/version/v1"))
    );
}

#[tokio::test]
async fn events_on_stdout_make_it_one_stream_of_json_lines() {
    let came = Typed::alone().run(&["version", "--events", "-"]).await;
    assert!(came.stdout.lines().all(|line| serde_json::from_str::<Value>(line).is_ok()), "{}", came.stdout);
}

#[tokio::test]
async fn an_events_file_that_cannot_be_written_is_an_error() {
    let came = Typed::alone().run(&["version", "--events", "no/such/folder/x"]).await;
    assert_eq!(came.exit, 1);
    assert!(came.stderr.contains("error[OUT001]"), "{}", came.stderr);
}

struct Gone;

impl Write for Gone {
    fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
        Err(std::io::ErrorKind::BrokenPipe.into())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

struct Full;

impl Write for Full {
    fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
        Err(std::io::ErrorKind::StorageFull.into())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn a_reader_that_goes_away_ends_it_quietly() {
    for words in [&["explain"][..], &["--help"], &["completions", "zsh"]] {
        let seat = seat(&[], Sink::new(Gone));
        let stderr = seat.stderr.clone();
        assert_eq!((sit(seat, words).await, stderr.text().as_str()), (0, ""), "{words:?}");
    }
}

#[tokio::test]
async fn a_full_disk_behind_stdout_is_an_error() {
    let seat = seat(&[], Sink::new(Full));
    let stderr = seat.stderr.clone();
    assert_eq!(sit(seat, &["explain"]).await, 1);
    assert!(stderr.text().contains("OUT001"));
}

#[tokio::test]
async fn colours_obey_no_color_and_a_dumb_terminal_and_the_flag() {
    for (variables, words, coloured) in [
        (&[][..], &["status"][..], true),
        (&[("NO_COLOR", "1")], &["status"], false),
        (&[("TERM", "dumb")], &["status"], false),
        (&[("NO_COLOR", "1")], &["status", "--color", "always"], true),
        (&[], &["status", "--color", "never"], false),
    ] {
        let seat = seat(variables, Sink::new(Captured::default()));
        let stderr = seat.stderr.clone();
        assert_eq!(sit(seat, words).await, 9);
        assert_eq!(stderr.text().contains('\x1b'), coloured, "{variables:?} {words:?}");
    }
}

#[tokio::test]
async fn ctrl_c_ends_a_command_that_only_reads_and_says_so() {
    let hangs = axum::Router::new().fallback(std::future::pending::<String>);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, hangs).await.unwrap() });
    let variables = [("RTCCTL_API_URL", url.as_str()), ("RTCCTL_ADMIN_URL", url.as_str()), ("NO_COLOR", "1")];
    for (signal, code, word) in [(Signal::Interrupt, 130, "SIG001"), (Signal::Terminate, 143, "SIG002")] {
        let seat = seat(&variables, Sink::new(Captured::default()));
        let stderr = seat.stderr.clone();
        seat.trigger.fire(signal);
        assert_eq!(sit(seat, &["status"]).await, code);
        assert!(stderr.text().starts_with(&format!("error[{word}]")), "{}", stderr.text());
    }
}

#[tokio::test]
async fn a_question_is_answered_at_the_terminal_and_only_yes_means_yes() {
    for (answer, code) in [("y\n", 9), ("YES\n", 9), ("n\n", 7), ("\n", 7), ("", 7)] {
        let mut seat = seat(&[("NO_COLOR", "1")], Sink::new(Captured::default()));
        seat.io.stdin = Box::new(answer.as_bytes());
        seat.io.stdin_is_terminal = true;
        let stderr = seat.stderr.clone();
        // Whoever says yes learns that nothing runs; whoever does not is refused before that.
        assert_eq!(sit(seat, &["events", "dlq", "replay"]).await, code, "{answer:?}");
        assert!(
            stderr.text().starts_with("This will give every dead letter back to its consumer. Go on? [y/N] ")
        );
    }
    let mut seat = seat(&[], Sink::new(Captured::default()));
    seat.io.stdin_is_terminal = true;
    assert_eq!(sit(seat, &["events", "dlq", "replay", "--no-input"]).await, 7);
}
