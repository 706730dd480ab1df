//! What is said without a terminal, and what machines are told.

use std::sync::Arc;

use kernel::{ManualClock, Timestamp};

use super::*;
use crate::io::Captured;

struct Bench {
    reporter: Reporter,
    stderr: Captured,
    events: Captured,
}

fn bench(mode: ProgressMode, verbosity: Verbosity) -> Bench {
    let (stderr, events) = (Captured::default(), Captured::default());
    let clock = Arc::new(ManualClock::at(Timestamp::from_millis(1_700_000_000_000)));
    let settings = Settings {
        mode,
        verbosity,
        colour: false,
        live_terminal: false,
        events: Some(EventSink::stdout(Sink::new(events.clone()))),
    };
    let reporter = Reporter::new(settings, Sink::new(stderr.clone()), clock);
    Bench { reporter, stderr, events }
}

#[tokio::test(start_paused = true)]
async fn without_a_terminal_each_change_of_state_is_one_line() {
    let bench = bench(ProgressMode::Auto, Verbosity::Normal);
    let task = bench.reporter.task("build", "building rtcd");
    task.show("compiling serde");
    task.position(3, 9);
    task.state("linking");
    task.done("built rtcd");
    assert_eq!(
        bench.stderr.text(),
        "2023-11-14T22:13:20.000Z build: building rtcd\n\
         2023-11-14T22:13:20.000Z build: linking\n\
         2023-11-14T22:13:20.000Z build: built rtcd\n"
    );
}

#[tokio::test(start_paused = true)]
async fn a_long_silence_is_broken_every_thirty_seconds_with_what_is_going_on() {
    let bench = bench(ProgressMode::Plain, Verbosity::Normal);
    let task = bench.reporter.task("build", "building rtcd");
    task.show("compiling serde");
    task.position(3, 9);
    tokio::time::sleep(Duration::from_secs(65)).await;
    let beats: Vec<String> =
        bench.stderr.text().lines().filter(|line| line.contains("still")).map(str::to_owned).collect();
    assert_eq!(
        beats,
        [
            "2023-11-14T22:13:20.000Z build: still compiling serde 3/9, 30 s",
            "2023-11-14T22:13:20.000Z build: still compiling serde 3/9, 60 s"
        ]
    );
    task.done("");
    tokio::time::sleep(Duration::from_secs(65)).await;
    assert_eq!(bench.stderr.text().matches("still").count(), 2, "nothing is said when nothing is under way");
}

#[tokio::test(start_paused = true)]
async fn quiet_silences_the_talk_and_not_the_events() {
    let bench = bench(ProgressMode::Auto, Verbosity::Quiet);
    bench.reporter.say("hello");
    bench.reporter.task("seed", "seeding").done("seeded");
    assert_eq!(bench.stderr.text(), "");
    assert_eq!(bench.events.text().lines().count(), 3);
}

#[tokio::test(start_paused = true)]
async fn events_are_one_json_object_a_line_with_a_schema_and_a_kind() {
    let bench = bench(ProgressMode::None, Verbosity::Normal);
    let task = bench.reporter.task("seed", "seeding");
    task.position(1, 2);
    tokio::time::advance(Duration::from_millis(1500)).await;
    task.fail("no");
    drop(bench.reporter.task("other", "starting"));
    let events: Vec<Value> =
        bench.events.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let kinds: Vec<&str> = events.iter().map(|event| event["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["task_started", "task_progress", "task_failed", "task_started", "task_abandoned"]);
    assert!(events.iter().all(|event| event["schema"] == "rtcctl/event/v1" && event["at"].is_string()));
    assert_eq!(events[2]["elapsed_ms"], 1500);
    assert_eq!(bench.stderr.text(), "");
}
