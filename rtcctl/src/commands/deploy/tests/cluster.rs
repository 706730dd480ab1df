//! Commands against a cluster that is played: what they change, what they say, what they end with.

use std::time::Duration;

use kubernetes::testing::Api;
use kubernetes::testing::behaviour::Behaviour;
use kubernetes::write::{Apply, Force};
use kubernetes::{Gvk, Resource, Scope};
use serde_json::json;

use super::files::{IMAGE, project};
use crate::commands::testing::{Came, Typed};

pub const NEXT: &str = "111122223333.dkr.ecr.ap-northeast-2.amazonaws.com/rtc-dev/rtcd@sha256:00000000000000000000000000000000000000000000000000000000000000b2";

/// The project's own environments on a cluster in which a second passes every few milliseconds.
pub struct Place {
    pub api: Api,
    pub typed: Typed,
    turning: tokio::task::JoinHandle<()>,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.turning.abort();
    }
}

impl Place {
    pub async fn new() -> Self {
        let api = Api::new();
        for node in ["a", "b", "c"] {
            api.node(node, 100, 64, 256);
        }
        for (group, version, kind, plural) in [
            ("external-secrets.io", "v1", "ExternalSecret", "externalsecrets"),
            ("elbv2.k8s.aws", "v1beta1", "TargetGroupBinding", "targetgroupbindings"),
            ("monitoring.coreos.com", "v1", "ServiceMonitor", "servicemonitors"),
            ("monitoring.coreos.com", "v1", "PodMonitor", "podmonitors"),
            ("monitoring.coreos.com", "v1", "PrometheusRule", "prometheusrules"),
        ] {
            let gvk = Gvk::new(group, version, kind);
            api.define(Resource { gvk, plural: plural.to_owned(), scope: Scope::Namespaced });
        }
        let address = api.serve().await.unwrap();
        let mut typed = project();
        Api::write_kubeconfig(&typed.path("kubeconfig"), address, "t").unwrap();
        typed.set("RTCCTL_KUBECONFIG", &typed.path("kubeconfig").display().to_string());
        typed.set("RTCCTL_CONTEXT", "test");
        typed.set("RTCCTL_JOURNAL", &typed.path("runs").display().to_string());
        let turned = api.clone();
        let turning = tokio::spawn(async move {
            loop {
                tokio::time::sleep(Duration::from_millis(5)).await;
                turned.advance(Duration::from_secs(1));
            }
        });
        Self { api, typed, turning }
    }

    pub async fn dev(&self, words: &[&str]) -> Came {
        let all = ["--env", "dev", "--yes", "deploy"].into_iter().chain(words.iter().copied());
        self.typed.run(&all.collect::<Vec<_>>()).await
    }

    pub async fn rollout(&self, image: &str, more: &[&str]) -> Came {
        let words = ["rollout", "--outputs", "dev.json", "--image", image];
        self.dev(&words.into_iter().chain(more.iter().copied()).collect::<Vec<_>>()).await
    }

    pub fn image(&self) -> String {
        let gateway = self.api.object("Deployment", "rtc", "gateway").unwrap();
        gateway["spec"]["template"]["spec"]["containers"][0]["image"].as_str().unwrap_or_default().to_owned()
    }
}

#[tokio::test]
async fn a_release_is_compared_rolled_out_listed_and_taken_back() {
    let place = Place::new().await;
    let changes = place.dev(&["diff", "--outputs", "dev.json", "--image", IMAGE, "--exit-code"]).await;
    assert_eq!(changes.exit, 10, "{}", changes.stderr);
    let dry = place.rollout(IMAGE, &["--dry-run"]).await;
    assert_eq!(dry.exit, 0, "{}", dry.stderr);
    assert!(place.api.objects("Deployment", "rtc").is_empty());

    let came = place.rollout(IMAGE, &["-o", "json"]).await;
    assert_eq!(came.exit, 0, "{}", came.stderr);
    let document = came.json();
    assert_eq!(
        (&document["schema"], &document["data"]["state"]["state"]),
        (&json!("rtcctl/deploy/rollout/v1"), &json!("done"))
    );
    assert_eq!(place.image(), IMAGE);
    let same = place.dev(&["diff", "--outputs", "dev.json", "--image", IMAGE, "--exit-code"]).await;
    assert_eq!(same.exit, 0, "{}", same.stdout);

    assert_eq!(place.rollout(NEXT, &[]).await.exit, 0);
    let history = place.dev(&["history", "-o", "json"]).await.json();
    let status: Vec<&str> = history["data"]["revisions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["status"].as_str().unwrap())
        .collect();
    assert_eq!(status, ["deployed", "superseded"]);
    let back = place.dev(&["rollback"]).await;
    assert_eq!(back.exit, 0, "{}", back.stderr);
    assert_eq!(place.image(), IMAGE);
    let missing = place.dev(&["rollback", "--to", "99", "-o", "json"]).await;
    assert_eq!((missing.exit, &missing.error()["code"]), (5, &json!("DEP013")));
    let restarted = place.dev(&["restart", "gateway"]).await;
    assert_eq!(restarted.exit, 0, "{}", restarted.stderr);
    let runs = place.typed.run(&["runs", "list", "-o", "json"]).await.json();
    let commands: Vec<&str> =
        runs["data"].as_array().unwrap().iter().map(|run| run["command"].as_str().unwrap()).collect();
    assert_eq!(commands, ["deploy restart", "deploy rollback", "deploy rollout", "deploy rollout"]);
}

#[tokio::test]
async fn a_rollout_that_fails_says_why_keeps_evidence_and_comes_back() {
    let place = Place::new().await;
    assert_eq!(place.rollout(IMAGE, &[]).await.exit, 0);
    place.api.behave(NEXT, Behaviour::ImageMissing);
    // The migration's job is of the same image, and fails first.
    let came = place.rollout(NEXT, &["--auto-rollback", "--evidence", "kept", "-o", "json"]).await;
    assert_eq!((came.exit, &came.error()["code"]), (23, &json!("DEP020")), "{}", came.stderr);
    assert_eq!(place.image(), IMAGE);

    let other = NEXT.replace("sha256:0000", "sha256:cccc");
    // Its migration comes through, and its pods do not.
    let turning_bad = async {
        let is_done = || {
            let jobs = place.api.objects("Job", "rtc");
            jobs.iter().any(|job| job.to_string().contains(&other) && job["status"]["succeeded"] == 1)
        };
        while !is_done() {
            tokio::task::yield_now().await;
        }
        place.api.behave(&other, Behaviour::Crash { exit_code: 3, log: vec!["no such table".to_owned()] });
        std::future::pending::<()>().await;
    };
    let came = tokio::select! {
        came = place.rollout(&other, &["--auto-rollback", "--evidence", "kept", "-o", "json"]) => came,
        () = turning_bad => unreachable!(),
    };
    assert_eq!(came.exit, 24, "{}", came.stderr);
    let error = came.error();
    assert_eq!(error["code"], "DEP021");
    assert!(error["message"].as_str().unwrap().starts_with("ROL010"), "{error}");
    assert!(error["causes"].to_string().contains("revision 1 runs again"), "{error}");
    assert_eq!(place.image(), IMAGE);
    assert!(place.typed.path("kept").join("failure.json").is_file());
}

#[tokio::test]
async fn whoever_owns_a_field_is_named_and_nothing_is_changed() {
    let place = Place::new().await;
    assert_eq!(place.rollout(IMAGE, &[]).await.exit, 0);
    let edit = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": "gateway", "namespace": "rtc" },
        "spec": { "replicas": 6 },
    });
    let how = Apply { manager: "a-person".to_owned(), force: Force::Take, ..Apply::default() };
    place.api.cluster().apply(&edit, &how).await.unwrap();
    let came = place.rollout(NEXT, &["-o", "json"]).await;
    assert_eq!((came.exit, &came.error()["code"]), (8, &json!("DEP010")));
    assert!(
        came.error()["causes"].to_string().contains(".spec.replicas is owned by a-person"),
        "{}",
        came.stderr
    );
    assert_eq!(place.image(), IMAGE);
    assert_eq!(place.rollout(NEXT, &["--force-conflicts"]).await.exit, 0);
    assert_eq!(place.image(), NEXT);
}

#[tokio::test]
async fn a_protected_environment_wants_its_name_typed() {
    let place = Place::new().await;
    let words = [
        "--env",
        "prod",
        "--yes",
        "deploy",
        "apply",
        "--outputs",
        "prod.json",
        "--image",
        IMAGE,
        "-o",
        "json",
    ];
    let came = place.typed.run(&words).await;
    assert_eq!(came.exit, 7, "{}", came.stderr);
    assert!(place.api.objects("Deployment", "rtc").is_empty());
    let unasked = place
        .typed
        .run(&["--env", "dev", "--no-input", "deploy", "rollout", "--outputs", "dev.json", "--image", IMAGE])
        .await;
    assert_eq!(unasked.exit, 7);
}

#[tokio::test]
async fn what_is_left_over_is_told_and_goes_when_that_is_asked_for() {
    let place = Place::new().await;
    let apply = ["apply", "--outputs", "dev.json", "--image", IMAGE];
    assert_eq!(place.dev(&apply).await.exit, 0);
    let old = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": { "name": "old", "namespace": "rtc", "labels": {
            "app.kubernetes.io/managed-by": "rtcctl", "rtc.io/environment": "dev",
        } }, "spec": { "selector": { "a": "b" }, "ports": [{ "port": 80 }] },
    });
    place.api.cluster().apply(&old, &Apply::default()).await.unwrap();
    let told = place.dev(&apply).await;
    assert!(
        told.exit == 0 && told.stderr.contains("DEP012") && told.stderr.contains("Service/rtc/old"),
        "{}",
        told.stderr
    );
    assert!(place.api.object("Service", "rtc", "old").is_some());
    let pruned = place.dev(&[&apply[..], &["--prune"]].concat()).await;
    assert_eq!(pruned.exit, 0, "{}", pruned.stderr);
    assert!(place.api.object("Service", "rtc", "old").is_none());
    assert!(place.api.object("Service", "rtc", "gateway").is_some());
}

#[tokio::test]
async fn a_run_is_taken_up_by_its_name() {
    let place = Place::new().await;
    assert_eq!(place.rollout(IMAGE, &[]).await.exit, 0);
    // It is asked to stop while it waits for a migration that never ends.
    place.api.behave(NEXT, Behaviour::NeverReady);
    let words = [
        "--env",
        "dev",
        "--yes",
        "deploy",
        "rollout",
        "--outputs",
        "dev.json",
        "--image",
        NEXT,
        "--no-activity",
        "1h",
        "-o",
        "json",
    ];
    let api = place.api.clone();
    let applied = async {
        while api.objects("Job", "rtc").len() < 2 {
            tokio::task::yield_now().await;
        }
        crate::signals::Signal::Interrupt
    };
    let stopped = place.typed.run_until(&words, applied).await;
    assert_eq!(stopped.exit, 130, "{}", stopped.stderr);
    assert!(stopped.error()["hints"].to_string().contains("--resume"), "{}", stopped.stderr);
    place.api.behave(NEXT, Behaviour::well());
    let came = place.dev(&["rollout", "--resume", "last", "-o", "json"]).await;
    assert_eq!(came.exit, 0, "{}", came.stderr);
    assert_eq!(place.image(), NEXT);
    let ended = place.dev(&["rollout", "--resume", "last", "-o", "json"]).await;
    assert_eq!((ended.exit, &ended.error()["code"]), (8, &json!("DEP017")));
}
