//! Commands against a cluster, played or named: what they change, what they say, what they end with.

use std::panic::{AssertUnwindSafe, resume_unwind};
use std::sync::atomic::{AtomicU32, Ordering};

use futures_util::FutureExt;
use kubernetes::testing::behaviour::Behaviour;
use kubernetes::testing::site::{Real, Site, named};
use kubernetes::write::{Apply, Force};
use serde_json::{Value, json};

use super::cluster::{NEXT, Place, defined, until};
use super::files::{IMAGE, project};
use crate::commands::testing::{Came, Typed};

/// The project's own environments on a cluster in which a second passes every few milliseconds, or on the one that
/// `RTC_TEST_KUBECONFIG` names, in a namespace of its own. Kinds are the whole cluster's: there it is one test after the other.
struct There {
    site: Site,
    namespace: String,
    typed: Typed,
    /// Where it is played.
    _played: Option<Place>,
}

/// Runs a scenario there, and leaves nothing behind.
async fn there(scenario: impl AsyncFnOnce(&There)) {
    let place = There::new().await;
    let ended = AssertUnwindSafe(scenario(&place)).catch_unwind().await;
    place.site.clone().leave().await;
    if let Err(panic) = ended {
        resume_unwind(panic);
    }
}

impl There {
    async fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let Some(named) = named() else {
            let mut place = Place::new().await;
            let typed = std::mem::replace(&mut place.typed, Typed::alone());
            let site = Site::Played(place.api.clone());
            return Self { site, namespace: "rtc".to_owned(), typed, _played: Some(place) };
        };
        let own = format!("rtc-rtcctl-{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::SeqCst));
        let mut typed = project();
        typed.set("RTCCTL_JOURNAL", &typed.path("runs").display().to_string());
        typed.set("RTCCTL_KUBECONFIG", &named.kubeconfig.display().to_string());
        typed.set("RTCCTL_CONTEXT", named.context.as_deref().expect("RTC_TEST_CONTEXT names the context"));
        typed.set("RTCCTL_NAMESPACE", &own);
        let site = Site::Real(Real::enter(named, &own).await.unwrap());
        for resource in defined() {
            site.define(resource).await;
        }
        Self { site, namespace: own, typed, _played: None }
    }

    async fn dev(&self, words: &[&str]) -> Came {
        let all = ["--env", "dev", "--yes", "deploy"].into_iter().chain(words.iter().copied());
        self.typed.run(&all.collect::<Vec<_>>()).await
    }

    async fn rollout(&self, image: &str, more: &[&str]) -> Came {
        let words = ["rollout", "--outputs", "dev.json", "--image", image];
        self.dev(&words.into_iter().chain(more.iter().copied()).collect::<Vec<_>>()).await
    }

    async fn object(&self, kind: &str, name: &str) -> Option<Value> {
        self.site.object(kind, &self.namespace, name).await
    }

    async fn objects(&self, kind: &str) -> Vec<Value> {
        self.site.objects(kind, &self.namespace).await
    }

    async fn image(&self) -> String {
        let gateway = self.object("Deployment", "gateway").await.unwrap();
        gateway["spec"]["template"]["spec"]["containers"][0]["image"].as_str().unwrap_or_default().to_owned()
    }
}

#[tokio::test]
async fn a_release_is_compared_rolled_out_listed_and_taken_back() {
    there(async |place| {
        let changes = place.dev(&["diff", "--outputs", "dev.json", "--image", IMAGE, "--exit-code"]).await;
        assert_eq!(changes.exit, 10, "{}", changes.stderr);
        let dry = place.rollout(IMAGE, &["--dry-run"]).await;
        assert_eq!(dry.exit, 0, "{}", dry.stderr);
        assert!(place.objects("Deployment").await.is_empty());

        let came = place.rollout(IMAGE, &["-o", "json"]).await;
        assert_eq!(came.exit, 0, "{}", came.stderr);
        let document = came.json();
        assert_eq!(
            (&document["schema"], &document["data"]["state"]["state"]),
            (&json!("rtcctl/deploy/rollout/v1"), &json!("done"))
        );
        assert_eq!(place.image().await, IMAGE);
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
        assert_eq!(place.image().await, IMAGE);
        let missing = place.dev(&["rollback", "--to", "99", "-o", "json"]).await;
        assert_eq!((missing.exit, &missing.error()["code"]), (5, &json!("DEP013")));
        let restarted = place.dev(&["restart", "gateway"]).await;
        assert_eq!(restarted.exit, 0, "{}", restarted.stderr);
        let runs = place.typed.run(&["runs", "list", "-o", "json"]).await.json();
        let commands: Vec<&str> =
            runs["data"].as_array().unwrap().iter().map(|run| run["command"].as_str().unwrap()).collect();
        assert_eq!(commands, ["deploy restart", "deploy rollback", "deploy rollout", "deploy rollout"]);
    })
    .await;
}

#[tokio::test]
async fn a_rollout_that_fails_says_why_keeps_evidence_and_comes_back() {
    there(async |place| {
        assert_eq!(place.rollout(IMAGE, &[]).await.exit, 0);
        place.site.behave(NEXT, Behaviour::ImageMissing);
        // The migration's job is of the same image, and fails first.
        let came = place.rollout(NEXT, &["--auto-rollback", "--evidence", "kept", "-o", "json"]).await;
        assert_eq!((came.exit, &came.error()["code"]), (23, &json!("DEP020")), "{}", came.stderr);
        assert_eq!(place.image().await, IMAGE);

        let other = NEXT.replace("sha256:0000", "sha256:cccc");
        // Its migration comes through, and its pods do not.
        let turning_bad = async {
            let is_done = async || {
                let jobs = place.objects("Job").await;
                jobs.iter().any(|job| job.to_string().contains(&other) && job["status"]["succeeded"] == 1)
            };
            until("its migration is through", is_done).await;
            place
                .site
                .behave(&other, Behaviour::Crash { exit_code: 3, log: vec!["no such table".to_owned()] });
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
        assert_eq!(place.image().await, IMAGE);
        assert!(place.typed.path("kept").join("failure.json").is_file());
    })
    .await;
}

#[tokio::test]
async fn whoever_owns_a_field_is_named_and_nothing_is_changed() {
    there(async |place| {
        assert_eq!(place.rollout(IMAGE, &[]).await.exit, 0);
        let edit = json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": "gateway", "namespace": place.namespace },
            "spec": { "replicas": 6 },
        });
        let how = Apply { manager: "a-person".to_owned(), force: Force::Take, ..Apply::default() };
        place.site.cluster().apply(&edit, &how).await.unwrap();
        let came = place.rollout(NEXT, &["-o", "json"]).await;
        assert_eq!((came.exit, &came.error()["code"]), (8, &json!("DEP010")));
        assert!(
            came.error()["causes"].to_string().contains(".spec.replicas is owned by a-person"),
            "{}",
            came.stderr
        );
        assert_eq!(place.image().await, IMAGE);
        assert_eq!(place.rollout(NEXT, &["--force-conflicts"]).await.exit, 0);
        assert_eq!(place.image().await, NEXT);
    })
    .await;
}

#[tokio::test]
async fn a_protected_environment_wants_its_name_typed() {
    there(async |place| {
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
        assert!(place.objects("Deployment").await.is_empty());
        let unasked = place
            .typed
            .run(&[
                "--env",
                "dev",
                "--no-input",
                "deploy",
                "rollout",
                "--outputs",
                "dev.json",
                "--image",
                IMAGE,
            ])
            .await;
        assert_eq!(unasked.exit, 7);
    })
    .await;
}

#[tokio::test]
async fn what_is_left_over_is_told_and_goes_when_that_is_asked_for() {
    there(async |place| {
        let apply = ["apply", "--outputs", "dev.json", "--image", IMAGE];
        let came = place.dev(&apply).await;
        assert_eq!(came.exit, 0, "{}", came.stderr);
        let old = json!({
            "apiVersion": "v1", "kind": "Service", "metadata": { "name": "old", "namespace": place.namespace, "labels": {
                "app.kubernetes.io/managed-by": "rtcctl", "rtc.io/environment": "dev",
            } }, "spec": { "selector": { "a": "b" }, "ports": [{ "port": 80, "protocol": "TCP" }] },
        });
        place.site.cluster().apply(&old, &Apply::default()).await.unwrap();
        let told = place.dev(&apply).await;
        assert!(
            told.exit == 0 && told.stderr.contains("DEP012") && told.stderr.contains("/old"),
            "{}",
            told.stderr
        );
        assert!(place.object("Service", "old").await.is_some());
        let pruned = place.dev(&[&apply[..], &["--prune"]].concat()).await;
        assert_eq!(pruned.exit, 0, "{}", pruned.stderr);
        assert!(place.object("Service", "old").await.is_none());
        assert!(place.object("Service", "gateway").await.is_some());
    })
    .await;
}

#[tokio::test]
async fn a_run_is_taken_up_by_its_name() {
    there(async |place| {
        assert_eq!(place.rollout(IMAGE, &[]).await.exit, 0);
        // It is asked to stop while it waits for a migration that never ends.
        place.site.behave(NEXT, Behaviour::NeverReady);
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
        let applied = async {
            until("its job is there", async || place.objects("Job").await.len() > 1).await;
            crate::signals::Signal::Interrupt
        };
        let stopped = place.typed.run_until(&words, applied).await;
        assert_eq!(stopped.exit, 130, "{}", stopped.stderr);
        assert!(stopped.error()["hints"].to_string().contains("--resume"), "{}", stopped.stderr);
        place.site.behave(NEXT, Behaviour::well());
        let came = place.dev(&["rollout", "--resume", "last", "-o", "json"]).await;
        assert_eq!(came.exit, 0, "{}", came.stderr);
        assert_eq!(place.image().await, NEXT);
        let ended = place.dev(&["rollout", "--resume", "last", "-o", "json"]).await;
        assert_eq!((ended.exit, &ended.error()["code"]), (8, &json!("DEP017")));
    })
    .await;
}

#[tokio::test]
async fn what_is_well_and_what_is_not_is_told() {
    there(async |place| {
        assert_eq!(place.rollout(IMAGE, &[]).await.exit, 0);
        let well = place.dev(&["status", "--exit-code"]).await;
        assert_eq!(well.exit, 0, "{}{}", well.stdout, well.stderr);
        let well = place.dev(&["diagnose", "--exit-code"]).await;
        assert_eq!((well.exit, well.stdout.contains("nothing is wrong with")), (0, true), "{}", well.stdout);

        place.site.behave("example.com/late", Behaviour::ConfigMissing { name: "late-setting".to_owned() });
        let settings = json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": { "name": "late-settings", "namespace": place.namespace },
        });
        place.site.given(&settings).await;
        let late = json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": { "name": "late", "namespace": place.namespace, "labels": { "app.kubernetes.io/part-of": "rtc" } },
            "spec": {
                "selector": { "matchLabels": { "app": "late" } },
                "template": {
                    "metadata": { "labels": { "app": "late" } },
                    "spec": { "containers": [{
                        "name": "late", "image": "example.com/late:1",
                        "envFrom": [{ "configMapRef": { "name": "late-setting" } }],
                    }] },
                },
            },
        });
        place.site.cluster().apply(&late, &Apply::default()).await.unwrap();
        place.site.settle().await;
        let ill = place.dev(&["status", "--exit-code"]).await;
        assert_eq!(ill.exit, 23, "{}", ill.stderr);
        assert!(ill.stdout.contains("\u{2717} late") && ill.stdout.contains("ROL012"), "{}", ill.stdout);
        let why = place.dev(&["diagnose"]).await;
        assert!(why.stdout.contains("but it has late-settings"), "{}", why.stdout);
    })
    .await;
}
