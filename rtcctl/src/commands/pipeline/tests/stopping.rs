//! Builds that are left, stopped, and waited for too long.

use jenkins::testing::{Script, Standin, World};
use serde_json::json;

use super::{code, posts, question, scripted, with};
use crate::commands::testing::Key;
use crate::signals::Signal;

/// Stands still until it is answered or stopped.
fn asking(world: &mut World) {
    scripted(Script { inputs: vec![question("go", &json!([]))], ..Script::default() })(world);
}

async fn interrupt(standin: &Standin, at: &str) -> Signal {
    standin.asked(at).await;
    Signal::Interrupt
}

#[tokio::test]
async fn where_nobody_can_be_asked_an_interrupted_build_is_left_and_told_how_to_come_back() {
    for (signal, exit) in [(Signal::Interrupt, 130), (Signal::Terminate, 143)] {
        let (standin, typed) = with(asking).await;
        let asked = standin.asked("pendingInputActions");
        let came = typed
            .run_until(&["pipeline", "run", "shop", "-o", "json"], async {
                asked.await;
                signal
            })
            .await;
        let error = came.error();
        assert_eq!(came.exit, exit, "{}", came.stderr);
        assert!(error["message"].as_str().unwrap().contains("build 1 of shop goes on"), "{error}");
        let hint = format!("rtcctl pipeline run --follow {}/job/shop/1/", standin.url);
        assert_eq!(error["hints"][0], hint.as_str());
        assert_eq!(posts(&standin), ["POST /job/shop/buildWithParameters"]);
    }
}

#[tokio::test]
async fn whoever_wants_it_stopped_has_it_stopped_in_the_queue_and_as_a_build() {
    for (at, wanted) in
        [("pendingInputActions", "POST /job/shop/1/stop"), ("GET /queue/item/18/", "POST /queue/cancelItem")]
    {
        let (standin, typed) = with(asking).await;
        let words = ["pipeline", "run", "shop", "--on-interrupt", "stop", "-o", "json"];
        let came = typed.run_until(&words, interrupt(&standin, at)).await;
        assert_eq!(came.exit, 130, "{}", came.stderr);
        assert!(posts(&standin).iter().any(|request| request == wanted), "{:?}", posts(&standin));
        let message = came.error()["message"].as_str().unwrap().to_owned();
        let is_told = message.contains("ended as ABORTED") || message.contains("taken out of the queue");
        assert!(is_told, "{message}");
    }
}

#[tokio::test]
async fn whoever_can_be_asked_is_asked() {
    for (typed_in, is_stopped) in [("stop\n", true), ("\n", false), ("", false)] {
        // Where questions are not told, the keyboard is for this one alone.
        let (standin, typed) = with(|world| {
            asking(world);
            world.lacks_stages = true;
        })
        .await;
        let words = ["pipeline", "run", "shop"];
        let keys = [Key::Answer { prompt: "[stop/DETACH]", typed: typed_in }];
        let came = typed.run_asking(&words, &keys, interrupt(&standin, "progressiveText")).await;
        assert_eq!(came.exit, 130, "{}", came.stderr);
        assert!(came.stderr.contains("Stop it, or leave it running?"), "{}", came.stderr);
        assert_eq!(posts(&standin).len() == 2, is_stopped, "{:?}", posts(&standin));
    }
}

#[tokio::test]
async fn what_was_typed_before_ctrl_c_stops_nothing() {
    let (standin, typed) = with(asking).await;
    let keys = [
        Key::Answer { prompt: "Deploy?", typed: "what?\n" },
        Key::Ahead { prompt: "abort or later?", typed: "approve\nstop\n" },
        Key::Answer { prompt: "[stop/DETACH]", typed: "\n" },
    ];
    let signal = interrupt(&standin, "POST /job/shop/1/input");
    let came = typed.run_asking(&["pipeline", "run", "shop", "--no-log"], &keys, signal).await;
    assert!(!posts(&standin).iter().any(|request| request.ends_with("/stop")), "{}", came.stderr);
    assert_eq!(came.exit, 130, "{}", came.stderr);
}

#[tokio::test]
async fn a_build_that_is_not_over_in_time_goes_on_and_that_is_said() {
    let (_standin, typed) = with(asking).await;
    let came = typed.run(&["pipeline", "run", "shop", "--timeout", "200ms", "-o", "json"]).await;
    let error = code(&came, 6, "PIP014");
    assert!(error["message"].as_str().unwrap().contains("goes on"), "{error}");
    assert!(error["hints"].to_string().contains("--follow"), "{error}");
}

#[tokio::test]
async fn a_build_is_stopped_and_what_waits_is_taken_out() {
    let (standin, typed) = with(asking).await;
    let nothing = typed.run(&["pipeline", "stop", "shop", "--yes"]).await;
    assert_eq!((nothing.exit, nothing.stdout.as_str()), (0, "nothing of shop runs or waits\n"));
    typed.run(&["pipeline", "run", "shop", "--no-wait"]).await;
    let waiting = typed.run(&["pipeline", "stop", "shop", "--yes", "-o", "json"]).await.json();
    assert_eq!(waiting["data"]["item"], 18);
    let left =
        typed.run_until(&["pipeline", "run", "shop"], interrupt(&standin, "pendingInputActions")).await;
    assert_eq!(left.exit, 130);
    code(&typed.run(&["pipeline", "stop", "shop", "-o", "json"]).await, 7, "CNF001");
    let said = typed.run(&["pipeline", "stop", "shop", "--dry-run"]).await.stdout;
    assert_eq!(said, "build 1 of shop would be stopped\n");
    let came = typed.run(&["pipeline", "stop", "shop", "--yes", "-o", "json"]).await;
    assert_eq!((came.exit, &came.json()["data"]["result"]), (0, &json!("ABORTED")), "{}", came.stderr);
}

#[tokio::test]
async fn in_a_protected_environment_a_yes_is_not_enough() {
    let (standin, typed) = with(asking).await;
    let run = ["pipeline", "run", "shop", "--env", "prod", "-o", "json"];
    for words in [&[] as &[&str], &["--yes"], &["--yes", "--confirm", "local"]] {
        code(&typed.run(&[&run[..], words].concat()).await, 7, "INF016");
    }
    assert!(posts(&standin).is_empty());
    let confirmed = [&run[..], &["--confirm", "prod"]].concat();
    let left = typed.run_until(&confirmed, interrupt(&standin, "pendingInputActions")).await;
    assert_eq!(left.exit, 130, "{}", left.stderr);
    for verb in [&["input", "shop", "approve"] as &[&str], &["stop", "shop"]] {
        let words = [&["pipeline"], verb, &["--env", "prod", "--yes", "-o", "json"]].concat();
        code(&typed.run(&words).await, 7, "INF016");
        let came = typed.run(&[&words[..], &["--confirm", "prod"]].concat()).await;
        assert_eq!(came.exit, 0, "{}", came.stderr);
    }
}

#[tokio::test]
async fn a_pipeline_that_says_whose_it_is_is_protected_wherever_it_is_typed() {
    let (standin, typed) = with(|world| {
        asking(world);
        world.folder("team");
        world.pipeline("team/feature%2Fcart", Vec::new(), Script::default());
    })
    .await;
    let said = "\n[pipelines.all]\njob = \"team\"\nenvironment = \"prod\"\n";
    let toml = super::TOML.replace("job = \"shop\"", "job = \"shop\"\nenvironment = \"prod\"");
    typed.write("rtc.toml", format!("{toml}{said}").as_bytes());
    let run = ["pipeline", "run", "--yes", "--no-wait", "--env", "local", "-o", "json"];
    // Also by its full name, and a branch of it.
    for name in [&["shop"] as &[&str], &["/shop/"], &["team", "--branch", "feature/cart"]] {
        let words = [&run[..], name].concat();
        code(&typed.run(&words).await, 7, "INF016");
        assert!(posts(&standin).is_empty());
    }
    let came = typed.run(&[&run[..], &["shop", "--confirm", "prod"]].concat()).await;
    assert_eq!(came.exit, 0, "{}", came.stderr);

    typed.write("rtc.toml", toml.replace("environment = \"prod\"", "environment = \"prd\"").as_bytes());
    let error = code(&typed.run(&[&run[..], &["shop"]].concat()).await, 3, "CFG005");
    assert_eq!(error["hints"][0], "did you mean prod?");
}
