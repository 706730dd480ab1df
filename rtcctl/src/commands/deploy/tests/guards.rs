//! What is refused before anything is changed: another cluster, another run, another environment, options that say nothing.

use kubernetes::testing::Api;
use kubernetes::testing::behaviour::Behaviour;
use serde_json::json;

use super::cluster::{NEXT, Place, until};
use super::files::IMAGE;
use crate::commands::testing::{Came, Typed};
use crate::signals::Signal;

#[track_caller]
fn refused(came: &Came, exit: u8, code: &str) -> String {
    assert_eq!((came.exit, came.error()["code"].as_str()), (exit, Some(code)), "{}", came.stderr);
    came.error().to_string()
}

#[tokio::test]
async fn a_kubeconfig_alone_does_not_say_which_cluster_is_meant() {
    let api = Api::new();
    api.namespace("rtc");
    let address = api.serve().await.unwrap();
    let mut typed = Typed::alone();
    let file = typed.path("kubeconfig").display().to_string();
    Api::write_kubeconfig(&typed.path("kubeconfig"), address, "t").unwrap();
    typed.set("HOME", &typed.path(".").display().to_string());
    typed.set("KUBECONFIG", &file);
    let status = ["deploy", "status", "-o", "json"];
    let asked = |rest: &'static [&'static str]| [&status[..], rest].concat();
    // Neither a file that is everybody's nor one of this command.
    assert!(refused(&typed.run(&status).await, 3, "KUB001").contains("names no cluster"));
    typed.set("RTCCTL_KUBECONFIG", &file);
    assert!(refused(&typed.run(&status).await, 3, "KUB001").contains("not which cluster"));
    assert!(api.asked().is_empty());
    // One by flag, where nothing else is said, or with a context.
    refused(&typed.run(&asked(&["--kubeconfig", "kubeconfig"])).await, 5, "KUB014");
    refused(&typed.run(&asked(&["--context", "test"])).await, 5, "KUB014");
    let before = api.asked().len();
    assert!(before > 0);
    typed.write("rtc.toml", b"[environments.dev]\nkind = \"remote\"\ncluster = \"rtc-dev\"\n");
    let came = typed.run(&asked(&["--env", "dev", "--kubeconfig", "kubeconfig"])).await;
    assert!(refused(&came, 3, "KUB001").contains("--context NAME"));
    assert_eq!(api.asked().len(), before);
}

#[tokio::test]
async fn who_is_asked_is_told_which_cluster_it_is() {
    let place = Place::new().await;
    let words = ["--env", "dev", "--no-input", "deploy", "apply", "--outputs", "dev.json", "--image", IMAGE];
    let came = place.typed.run(&words).await;
    assert_eq!(came.exit, 7);
    assert!(came.stderr.contains(", on 127.0.0.1:"), "{}", came.stderr);
}

/// A rollout that somebody stopped while its migration ran.
async fn stopped(place: &Place) {
    assert_eq!(place.rollout(IMAGE, &[]).await.exit, 0);
    place.api.behave(NEXT, Behaviour::NeverReady);
    let api = place.api.clone();
    let applied = async {
        until("its job is there", async || api.objects("Job", "rtc").len() > 1).await;
        Signal::Interrupt
    };
    let words = ["--env", "dev", "--yes", "deploy", "--context", "test", "rollout", "--outputs", "dev.json"];
    let rest = ["--image", NEXT, "--no-activity", "1h", "-o", "json"];
    let came = place.typed.run_until(&[&words[..], &rest[..]].concat(), applied).await;
    assert_eq!(came.exit, 130, "{}", came.stderr);
    let hints = came.error()["hints"].to_string();
    assert!(hints.contains("deploy --context test rollout --resume"), "{hints}");
    place.api.behave(NEXT, Behaviour::well());
}

#[tokio::test]
async fn a_dry_run_of_a_resumed_run_changes_nothing_of_it() {
    let place = Place::new().await;
    stopped(&place).await;
    let asked = place.api.asked().len();
    let came = place.dev(&["rollout", "--resume", "last", "--abort", "--dry-run", "-o", "json"]).await;
    assert_eq!(came.exit, 0, "{}", came.stderr);
    assert_eq!(came.json()["data"]["state"]["state"], "recorded");
    assert_eq!(place.api.asked().len(), asked);
    // It is asked before it is taken back.
    let words = ["--env", "dev", "--no-input", "deploy", "rollout", "--resume", "last", "--abort"];
    assert_eq!(place.typed.run(&words).await.exit, 7);
    for flags in [["--bake", "1s"], ["--strategy", "rolling"], ["--weights", "5"], ["--outputs", "dev.json"]]
    {
        let came = place.dev(&[&["rollout", "--resume", "last"][..], &flags[..]].concat()).await;
        assert_eq!(came.exit, 2, "{flags:?}: {}", came.stderr);
    }
    refused(&place.dev(&["rollout", "--resume", "last", "--timeout", "1h", "-o", "json"]).await, 2, "DEP016");
    let came = place.dev(&["rollout", "--resume", "last", "--abort", "-o", "json"]).await;
    assert!(came.error()["message"].as_str().unwrap().contains("nothing was taken back"), "{}", came.stderr);
}

#[tokio::test]
async fn two_do_not_roll_out_at_once_and_neither_goes_on_over_the_other() {
    let place = Place::new().await;
    stopped(&place).await;
    let other = NEXT.replace("sha256:0000", "sha256:cccc");
    let came = place.rollout(&other, &["-o", "json"]).await;
    let told = refused(&came, 8, "DEP028");
    assert!(told.contains("--take-over") && told.contains("it was begun at "), "{}", came.stderr);
    assert!(told.contains("seems to be under way since ") && told.contains("--abort"), "{}", came.stderr);
    assert_eq!(place.image(), IMAGE);
    let runs = place.typed.run(&["runs", "list", "-o", "json"]).await.json();
    let first = runs["data"][1]["run"].as_str().unwrap().to_owned();
    assert_eq!(place.rollout(&other, &["--take-over"]).await.exit, 0);
    let came = place.dev(&["rollout", "--resume", &first, "-o", "json"]).await;
    assert!(refused(&came, 8, "DEP017").contains("is newer"), "{}", came.stderr);
    assert_eq!(place.image(), other);
}

#[tokio::test]
async fn a_restart_is_of_its_own_environment_and_of_what_lasts() {
    let place = Place::new().await;
    assert_eq!(place.rollout(IMAGE, &[]).await.exit, 0);
    let jobs = place.api.objects("Job", "rtc");
    let job = format!("job/{}", jobs[0]["metadata"]["name"].as_str().unwrap());
    refused(&place.dev(&["restart", &job, "-o", "json"]).await, 5, "KUB014");
    place.api.given(&json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": { "name": "theirs", "namespace": "rtc", "labels": {
            "app.kubernetes.io/part-of": "rtc", "rtc.io/environment": "prod",
        } },
        "spec": { "replicas": 0, "selector": { "matchLabels": { "a": "b" } }, "template": {
            "metadata": { "labels": { "a": "b" } }, "spec": { "containers": [{ "name": "c", "image": "i" }] },
        } },
    }));
    refused(&place.dev(&["restart", "theirs", "-o", "json"]).await, 5, "KUB014");
    let dry = place.dev(&["restart", "--dry-run", "-o", "name"]).await;
    assert!(
        dry.exit == 0 && !dry.stdout.contains("theirs") && dry.stdout.contains("gateway"),
        "{}",
        dry.stdout
    );
    // Nothing said is the platform of this machine.
    let came = place.typed.run(&["-y", "deploy", "restart", "gateway", "-o", "json"]).await;
    assert!(refused(&came, 3, "KUB001").contains("embedded"));
}

#[tokio::test]
async fn options_of_a_canary_are_not_taken_for_a_rolling_one() {
    let place = Place::new().await;
    for flags in [&["--weights", "5"][..], &["--hold", "1m"], &["--targets", "gateway"], &["--ask-each"]] {
        let came = place.rollout(IMAGE, &[flags, &["-o", "json"]].concat()).await;
        refused(&came, 2, "DEP016");
    }
    assert!(place.api.asked().is_empty());
}

#[tokio::test]
async fn who_may_not_apply_is_denied() {
    let place = Place::new().await;
    assert_eq!(place.rollout(IMAGE, &[]).await.exit, 0);
    place.api.forbid("patch", "deployments");
    refused(&place.rollout(NEXT, &["-o", "json"]).await, 4, "DEP011");
    assert_eq!(place.image(), IMAGE);
}

#[tokio::test]
async fn a_namespace_that_is_said_is_everywhere_the_same() {
    let place = Place::new().await;
    let came = place.dev(&["rollout", "-n", "elsewhere", "--outputs", "dev.json", "--image", IMAGE]).await;
    assert_eq!(came.exit, 0, "{}", came.stderr);
    assert!(place.api.objects("Deployment", "rtc").is_empty());
    assert!(!place.api.objects("Deployment", "elsewhere").is_empty());
    let history = place.dev(&["history", "-n", "elsewhere", "-o", "name"]).await;
    assert_eq!(history.stdout, "1\n");
    let rendered = place.dev(&["render", "-n", "there", "--outputs", "dev.json", "--image", IMAGE]).await;
    assert!(rendered.stdout.contains("namespace: there") && !rendered.stdout.contains("namespace: rtc\n"));
}

#[tokio::test]
async fn looking_before_a_rollout_has_the_commands_deadline() {
    let place = Place::new().await;
    place.api.fault("PATCH", "dryRun", kubernetes::testing::What::Silence, 999);
    let came = place.rollout(IMAGE, &["--timeout", "1s", "-o", "json"]).await;
    refused(&came, 6, "KUB017");
}
