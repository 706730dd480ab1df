//! What is wrong with a rollout, told while it goes on: to programs with its code, to people on a line.

use std::path::{Path, PathBuf};

use kubernetes::testing::What;
use kubernetes::testing::behaviour::Behaviour;
use serde_json::{Value, json};

use super::cluster::{NEXT, Place, until};
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
        place.migrated(NEXT).await;
        place.api.behave(NEXT, Behaviour::NeverReady);
        let is_told = async || std::fs::read_to_string(&file).unwrap_or_default().contains("ROL015");
        until("ROL015 is told", is_told).await;
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

/// Everything that lies in a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

#[tokio::test]
async fn a_secret_in_the_last_words_is_told_nowhere() {
    const SECRET: &str = "hunter2-and-more";
    let place = Place::new().await;
    assert_eq!(place.rollout(IMAGE, &[]).await.exit, 0);
    let turning_bad = async {
        place.migrated(NEXT).await;
        let log = vec![format!("cannot sign in: password={SECRET}"), "giving up".to_owned()];
        place.api.behave(NEXT, Behaviour::Crash { exit_code: 3, log });
        std::future::pending::<()>().await;
    };
    let file = place.typed.path("events.ndjson");
    let shown = file.display().to_string();
    let words = ["--auto-rollback", "--evidence", "kept", "--events", &shown, "-o", "json"];
    let came = tokio::select! {
        came = place.rollout(NEXT, &words) => came,
        () = turning_bad => unreachable!(),
    };
    assert_eq!(came.exit, 24, "{}", came.stderr);
    let message = came.error()["message"].to_string();
    assert!(message.contains("ROL010") && message.contains("password=***"), "{message}");
    assert!(!came.stderr.contains(SECRET) && !came.stdout.contains(SECRET), "{}", came.stderr);
    let failed = events(&file).into_iter().find(|event| event["kind"] == "task_failed").unwrap();
    assert!(failed.to_string().contains("giving up"), "{failed}");
    let mut kept = files(&place.typed.path("runs"));
    kept.extend(files(&place.typed.path("kept")));
    kept.push(file);
    assert!(kept.len() > 3, "{kept:?}");
    for path in kept {
        let text = std::fs::read(&path).unwrap();
        assert!(!String::from_utf8_lossy(&text).contains(SECRET), "{}", path.display());
    }
}

#[tokio::test]
async fn a_secret_in_an_answer_of_the_api_is_told_nowhere() {
    const SECRET: &str = "hunter2-and-more";
    let place = Place::new().await;
    assert_eq!(place.rollout(IMAGE, &[]).await.exit, 0);
    place.api.deny("Deployment", "gateway", &format!("who has password={SECRET} is not let in"));
    let refused = place.rollout(NEXT, &["-o", "json"]).await;
    assert_eq!((refused.exit, &refused.error()["code"]), (7, &json!("DEP011")), "{}", refused.stderr);
    let differs = place.dev(&["diff", "--outputs", "dev.json", "--image", NEXT, "-o", "json"]).await;
    assert_eq!(differs.exit, 0, "{}", differs.stderr);
    place.api.fault("GET", "/configmaps", What::Status(403, format!("no, password={SECRET}")), 99);
    let denied = place.dev(&["history", "-o", "json"]).await;
    assert_eq!((denied.exit, &denied.error()["code"]), (4, &json!("KUB003")), "{}", denied.stderr);
    place.api.fault("GET", "/nodes", What::Status(403, format!("no, password={SECRET}")), 99);
    let partial = place.dev(&["status", "-o", "json"]).await;
    assert_eq!(partial.exit, 0, "{}", partial.stderr);
    for came in [refused, differs, denied, partial] {
        let said = came.stdout + &came.stderr;
        assert!(said.contains("password=***") && !said.contains(SECRET), "{said}");
    }
}
