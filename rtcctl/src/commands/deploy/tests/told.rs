//! What is wrong with a rollout, told while it goes on: to programs with its code, to people on a line.

use std::path::Path;

use kubernetes::testing::behaviour::Behaviour;
use serde_json::{Value, json};

use super::cluster::{NEXT, Place};
use super::files::IMAGE;
use crate::signals::Signal;

fn events(file: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(file).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test]
async fn what_ends_a_rollout_is_told_with_its_code_once_and_before_the_end() {
    let place = Place::new().await;
    assert_eq!(place.rollout(IMAGE, &[]).await.exit, 0);
    place.api.deny("Pod", "gateway-", "nobody owns it");
    let file = place.typed.path("events.ndjson");
    let came = place.rollout(NEXT, &["--events", &file.display().to_string()]).await;
    let (events, stderr) = (events(&file), came.stderr);
    assert_eq!(came.exit, 23, "{stderr}");
    let at = |is: &dyn Fn(&Value) -> bool| events.iter().position(is);
    let trouble = at(&|event| event["kind"] == "trouble").unwrap_or_else(|| panic!("{events:#?}"));
    let event = &events[trouble];
    assert_eq!((&event["code"], &event["final"]), (&json!("ROL032"), &json!(true)), "{event}");
    assert!(event["why"].as_str().unwrap().contains("nobody owns it"), "{event}");
    assert!(event["about"].as_str().unwrap().starts_with("ReplicaSet/gateway-"), "{event}");
    assert!(trouble < at(&|event| event["kind"] == "task_failed").unwrap());
    assert_eq!(events.iter().filter(|event| event["kind"] == "trouble").count(), 1);
    assert!(stderr.contains("ROL032"), "{stderr}");
}

#[tokio::test]
async fn what_may_pass_is_told_while_it_is_waited_for() {
    let place = Place::new().await;
    assert_eq!(place.rollout(IMAGE, &[]).await.exit, 0);
    let file = place.typed.path("events.ndjson");
    let shown = file.display().to_string();
    let words = ["--env", "dev", "--yes", "--events", &shown, "deploy", "rollout", "--outputs", "dev.json"];
    let words = [&words[..], &["--image", NEXT, "--no-activity", "1h"]].concat();
    let until_told = async {
        // The migration is of the same image: it comes through, and then the pods do not.
        let is_migrated = || {
            let jobs = place.api.objects("Job", "rtc");
            jobs.iter().any(|job| job.to_string().contains(NEXT) && job["status"]["succeeded"] == 1)
        };
        while !is_migrated() {
            tokio::task::yield_now().await;
        }
        place.api.behave(NEXT, Behaviour::NeverReady);
        while !std::fs::read_to_string(&file).unwrap_or_default().contains("ROL015") {
            tokio::task::yield_now().await;
        }
        Signal::Interrupt
    };
    let came = place.typed.run_until(&words, until_told).await;
    assert_eq!(came.exit, 130, "{}", came.stderr);
    let events = events(&file);
    let told = events.iter().find(|event| event["kind"] == "trouble" && event["code"] == "ROL015");
    let told = told.unwrap_or_else(|| panic!("{events:#?}"));
    assert_eq!(told["final"], false);
    let line = came.stderr.lines().find(|line| line.contains("ROL015")).unwrap();
    assert!(line.contains("statuscode: 503"), "{line}");
}
