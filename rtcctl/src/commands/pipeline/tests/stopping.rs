//! Builds that are left, stopped, and waited for too long.

use jenkins::testing::{Script, Standin, World};
use serde_json::json;

use super::{code, posts, question, scripted, with};
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
    for (keys, is_stopped) in [("stop\n", true), ("\n", false), ("", false)] {
        // Where questions are not told, the keyboard is for this one alone.
        let (standin, typed) = with(|world| {
            asking(world);
            world.lacks_stages = true;
        })
        .await;
        let words = ["pipeline", "run", "shop"];
        let came = typed.run_asking(&words, keys, interrupt(&standin, "progressiveText")).await;
        assert_eq!(came.exit, 130, "{}", came.stderr);
        assert!(came.stderr.contains("Stop it, or leave it running?"), "{}", came.stderr);
        assert_eq!(posts(&standin).len() == 2, is_stopped, "{:?}", posts(&standin));
    }
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
    code(&typed.run(&run).await, 7, "CNF001");
    assert!(posts(&standin).is_empty());
    let left =
        typed.run_until(&[&run[..], &["--yes"]].concat(), interrupt(&standin, "pendingInputActions")).await;
    assert_eq!(left.exit, 130, "{}", left.stderr);
    let stop = ["pipeline", "stop", "shop", "--env", "prod", "--yes", "-o", "json"];
    assert_eq!(typed.run(&stop).await.exit, 7);
    let came = typed.run(&[&stop[..], &["--confirm", "prod"]].concat()).await;
    assert_eq!(came.exit, 0, "{}", came.stderr);
}
