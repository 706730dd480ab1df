//! Rollouts from an apply to a verdict, through lists and watches. They need nodes: here those of the test's server.

use std::time::Duration;

use rollout::objects::Kind;
use rollout::verdict::{Applied, Rules, Verdict, judge};
use rollout::world::{Target, World};

use super::deployment;
use crate::testing::Api;
use crate::testing::behaviour::Behaviour;
use crate::watch::Feed;
use crate::write::Apply;

/// A rollout that is followed.
struct Played {
    api: Api,
    applied: Applied,
    world: World,
    feed: Feed,
}

const OLD: &str =
    "example.com/rtc/web@sha256:1111111111111111111111111111111111111111111111111111111111111111";
const NEW: &str =
    "example.com/rtc/web@sha256:2222222222222222222222222222222222222222222222222222222222222222";

/// The old image runs; the new one is applied.
async fn played(prepare: impl Fn(&Api)) -> Played {
    let api = Api::new();
    api.node("n1", 50, 4, 8);
    api.node("n2", 50, 4, 8);
    let cluster = api.cluster();
    cluster.apply(&deployment("default", "web", OLD, 3), &Apply::default()).await.unwrap();
    assert!(api.settle(60) < 60);
    prepare(&api);
    let answer = cluster.apply(&deployment("default", "web", NEW, 3), &Apply::default()).await.unwrap();
    let applied = Applied::answered(&answer.object, Vec::new(), api.now()).unwrap();
    let target = Target::new(Kind::Deployment, "default", "web");
    let feed = cluster.watch(std::slice::from_ref(&target));
    Played { world: World::new([target]), feed, applied, api }
}

impl Played {
    /// Hears what there is, in virtual time: when nothing comes for a moment, nothing more is there.
    async fn hear(&mut self) {
        while let Ok(Some(news)) = tokio::time::timeout(Duration::from_millis(10), self.feed.next()).await {
            news.tell(&mut self.world, self.api.now());
        }
    }

    fn verdict(&self) -> Verdict {
        judge(&self.applied, &Rules::default(), &self.world, self.api.now())
    }

    /// Turns until there is a verdict that ends it, or a cause; gives the seconds it took.
    async fn until(&mut self, is_so: impl Fn(&Verdict) -> bool) -> (Verdict, u32) {
        self.hear().await;
        for second in 0..600 {
            let verdict = self.verdict();
            if is_so(&verdict) {
                return (verdict, second);
            }
            self.api.advance(Duration::from_secs(1));
            self.hear().await;
        }
        panic!("no such verdict: {:#?}", self.verdict());
    }

    /// A failure has to be known within this many seconds after the API shows it.
    async fn fails_with(&mut self, code: &str) -> Verdict {
        let (verdict, _) = self.until(Verdict::is_settled).await;
        assert!(verdict.is_failed(), "{verdict:#?}");
        assert_eq!(verdict.code().map(|code| code.id()), Some(code), "{verdict:#?}");
        verdict
    }
}

#[tokio::test(start_paused = true)]
async fn a_rollout_is_done_when_all_of_it_is_new_and_available() {
    let mut played = played(|_| {}).await;
    let (verdict, seconds) = played.until(Verdict::is_settled).await;
    assert!(verdict.is_done(), "{verdict:#?}");
    assert!(seconds > 3, "it takes its steps: {seconds}");
    let images: Vec<String> = played
        .api
        .objects("Pod", "default")
        .iter()
        .map(|pod| pod["spec"]["containers"][0]["image"].as_str().unwrap_or_default().to_owned())
        .collect();
    assert_eq!(images, [NEW; 3]);
}

#[tokio::test(start_paused = true)]
async fn at_no_time_there_are_fewer_available_than_wanted() {
    let mut played = played(|_| {}).await;
    loop {
        let ready = played
            .api
            .objects("Pod", "default")
            .iter()
            .filter(|pod| {
                let all = pod["status"]["conditions"].as_array().unwrap();
                pod["metadata"]["deletionTimestamp"].is_null()
                    && all.iter().any(|one| one["type"] == "Ready" && one["status"] == "True")
            })
            .count();
        assert!(ready >= 3, "{ready}");
        if played.verdict().is_done() {
            break;
        }
        played.api.advance(Duration::from_secs(1));
        played.hear().await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_image_that_is_missing_ends_it_and_the_old_pods_stay() {
    let mut played = played(|api| api.behave("2222", Behaviour::ImageMissing)).await;
    played.fails_with("ROL001").await;
    let old = played.api.objects("Pod", "default");
    assert_eq!(old.iter().filter(|pod| pod["spec"]["containers"][0]["image"] == OLD).count(), 3);
}

#[tokio::test(start_paused = true)]
async fn each_failure_has_its_code() {
    let crash = Behaviour::Crash { exit_code: 1, log: vec!["panicked at config.rs".to_owned()] };
    for (behaviour, code) in [
        (Behaviour::PlatformMissing, "ROL002"),
        (Behaviour::PullDenied, "ROL003"),
        (crash, "ROL010"),
        (Behaviour::OutOfMemory, "ROL011"),
        (Behaviour::ConfigMissing { name: "web-settings".to_owned() }, "ROL012"),
        (Behaviour::WrongFormat, "ROL013"),
        (Behaviour::NeverReady, "ROL015"),
        (Behaviour::Unschedulable { node_coming: false }, "ROL020"),
    ] {
        let mut played = played(|api| api.behave("2222", behaviour.clone())).await;
        played.fails_with(code).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_failure_that_does_not_pass_is_known_within_five_seconds_of_the_api_showing_it() {
    let mut played = played(|api| api.behave("2222", Behaviour::ImageMissing)).await;
    played.hear().await;
    let shows = |api: &Api| {
        api.objects("Pod", "default")
            .iter()
            .any(|pod| pod["status"]["containerStatuses"][0]["state"]["waiting"]["reason"] == "ErrImagePull")
    };
    while !shows(&played.api) {
        played.api.advance(Duration::from_secs(1));
    }
    let shown_at = tokio::time::Instant::now();
    while !played.verdict().is_failed() {
        let news = played.feed.next().await.unwrap();
        news.tell(&mut played.world, played.api.now());
    }
    assert!(shown_at.elapsed() < Duration::from_secs(5));
}

#[tokio::test(start_paused = true)]
async fn a_node_that_is_coming_is_waited_for() {
    let mut played = played(|api| api.behave("2222", Behaviour::Unschedulable { node_coming: true })).await;
    let (verdict, _) = played.until(|verdict| verdict.code().is_some()).await;
    assert_eq!(verdict.code().map(|code| code.id()), Some("ROL024"), "{verdict:#?}");
    played.api.behave("2222", Behaviour::well());
    let (verdict, _) = played.until(Verdict::is_settled).await;
    assert!(verdict.is_done(), "{verdict:#?}");
}

#[tokio::test(start_paused = true)]
async fn pods_that_are_not_let_in_are_told_with_their_reason() {
    let mut refused = played(|api| api.deny("Pod", "web", "images must be signed")).await;
    let verdict = refused.fails_with("ROL032").await;
    assert!(verdict.cause().unwrap().why.contains("images must be signed"), "{verdict:#?}");

    let mut full = played(|api| {
        api.given(&serde_json::json!({
            "apiVersion": "v1", "kind": "ResourceQuota", "metadata": { "name": "few", "namespace": "default" },
            "spec": { "hard": { "pods": "3" } },
        }));
    })
    .await;
    let (verdict, _) = full.until(|verdict| verdict.code().is_some()).await;
    assert_eq!(verdict.code().map(|code| code.id()), Some("ROL030"), "{verdict:#?}");
}

#[tokio::test(start_paused = true)]
async fn an_autoscaler_in_the_middle_moves_the_goal() {
    let mut played = played(|_| {}).await;
    played.api.advance(Duration::from_secs(1));
    played.api.autoscale("default", "web", 6);
    let (verdict, _) = played.until(Verdict::is_settled).await;
    assert!(verdict.is_done(), "{verdict:#?}");
    assert_eq!(verdict.progress().desired, 6);
}

#[tokio::test(start_paused = true)]
async fn a_node_that_is_lost_delays_it_and_no_more() {
    let mut played = played(|_| {}).await;
    played.api.advance(Duration::from_secs(2));
    played.api.lose_node("n2");
    let (verdict, _) = played.until(|verdict| verdict.is_settled() || verdict.code().is_some()).await;
    assert!(!verdict.is_failed(), "{verdict:#?}");
    played.api.remove("Node", "", "n2");
    for pod in played.api.objects("Pod", "default") {
        if pod["spec"]["nodeName"] == "n2" {
            played.api.remove("Pod", "default", pod["metadata"]["name"].as_str().unwrap());
        }
    }
    let (verdict, _) = played.until(Verdict::is_settled).await;
    assert!(verdict.is_done(), "{verdict:#?}");
}

#[tokio::test(start_paused = true)]
async fn a_workload_that_is_deleted_is_not_waited_for() {
    let mut played = played(|_| {}).await;
    played.hear().await;
    played.api.remove("Deployment", "default", "web");
    played.fails_with("ROL063").await;
}

#[tokio::test(start_paused = true)]
async fn going_back_to_the_old_template_is_a_rollout_too() {
    let mut played = played(|api| api.behave("2222", Behaviour::ImageMissing)).await;
    played.fails_with("ROL001").await;
    let back =
        played.api.cluster().apply(&deployment("default", "web", OLD, 3), &Apply::default()).await.unwrap();
    played.applied = Applied::answered(&back.object, Vec::new(), played.api.now()).unwrap();
    let (verdict, _) = played.until(Verdict::is_settled).await;
    assert!(verdict.is_done(), "{verdict:#?}");
    let revision = played.api.object("Deployment", "default", "web").unwrap()["metadata"]["annotations"]
        ["deployment.kubernetes.io/revision"]
        .clone();
    assert_eq!(revision, "3");
}
