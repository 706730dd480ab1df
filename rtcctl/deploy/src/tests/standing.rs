//! What stands already and changes while it is judged: it grows, finds no room, has pods that are not up, or is sent everything
//! while the names that stay go back.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use kubernetes::testing::behaviour::Behaviour;
use rollout::canary::Pause;
use rollout::canary::analysis::Measurement::{Bad, Good};
use rollout::lifecycle::{Failure, State};
use rollout::verdict::Rules;
use serde_json::json;

use super::eye::{Shown, tracked};
use super::ground::{Ground, NAMESPACE, Rolled, Scaled, image, leave_no_room, plan};
use super::killed_beside::{PODS, is_plain_in, scaled, switch};
use super::switching::changes;
use crate::gate::{Check, Gauge, Seen, View};
use crate::manifest::{Item, Manifest, Wave};
use crate::run::{Action, End, Plan, Word};

/// Good until it is told otherwise; counts how often it was asked while green had grown.
#[derive(Default)]
struct Grown {
    has_grown: AtomicBool,
    is_bad: AtomicBool,
    asked: AtomicUsize,
}

#[async_trait]
impl Gauge for Grown {
    async fn measure(&self, _check: &Check, _view: &View) -> Seen {
        if self.has_grown.load(Ordering::SeqCst) {
            self.asked.fetch_add(1, Ordering::SeqCst);
        }
        let measurement = if self.is_bad.load(Ordering::SeqCst) { Bad } else { Good };
        Seen { measurement, is_silent: false, says: format!("{measurement:?}") }
    }
}

fn minutes(minutes: u64) -> Duration {
    Duration::from_secs(minutes * 60)
}

/// A switch with the time to grow in.
fn long() -> Plan {
    Plan { bake: minutes(20), ..switch(2) }
}

/// Waits until calls are led to a colour, but not for ever.
async fn until_led_to(ground: &Ground, colour: &str) {
    for _ in 0..120 {
        let service = ground.api.object("Service", NAMESPACE, "web").unwrap();
        if service["spec"]["selector"]["rtc.io/track"] == colour {
            return;
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    panic!("nothing was led to {colour}");
}

/// Once green is sent everything there is no room for more pods, and its autoscaler wants more.
async fn grow_without_room(ground: &Ground) {
    until_led_to(ground, "green").await;
    leave_no_room(&ground.api);
    ground.grow(NAMESPACE, "web-green", 9).await;
    let green = ground.deployment("web-green");
    assert!(green["status"]["availableReplicas"].as_u64() < Some(9), "{}", green["status"]);
}

#[tokio::test(start_paused = true)]
async fn growth_without_room_neither_ends_a_healthy_green_nor_stops_its_measuring() {
    let ground = Ground::new();
    let looking = scaled(&ground).await;
    let gauge = Grown::default();
    let growing = async {
        grow_without_room(&ground).await;
        gauge.has_grown.store(true, Ordering::SeqCst);
    };
    let (rolled, ()) = tokio::join!(ground.gated(long(), &gauge), growing);
    let Rolled { mut book, end } = rolled;
    assert_eq!(end, End::Paused { step: 1, why: Pause::Inconclusive }, "{:?}", book.causes());
    assert!(gauge.asked.load(Ordering::SeqCst) >= 200, "{:?}", gauge.asked);
    assert_eq!(looking.eye.leads(), [("green".to_owned(), 100)]);
    // What takes over would find no room either, until somebody makes it.
    ground.api.remove("ResourceQuota", NAMESPACE, "full");
    let cluster = ground.api.cluster();
    let end = ground.drive(&mut book, &cluster, Some(&gauge), Word::Promote).await.unwrap();
    assert_eq!(end, End::Over { state: State::Done, exit: 0 }, "{:?}", book.causes());
    assert_eq!(ground.deployment("web")["status"]["availableReplicas"], 9);
}

#[tokio::test(start_paused = true)]
async fn a_green_that_grew_without_room_is_taken_back_and_leaves_its_room_to_who_was_there() {
    let ground = Ground::new();
    let looking = scaled(&ground).await;
    let gauge = Grown::default();
    let (rolled, ()) = tokio::join!(ground.gated(long(), &gauge), grow_without_room(&ground));
    let Rolled { mut book, end } = rolled;
    assert_eq!(end, End::Paused { step: 1, why: Pause::Inconclusive }, "{:?}", book.causes());
    let shown = Shown { port: &ground.api.cluster(), eye: &looking.eye };
    let end = ground.drive(&mut book, &shown, Some(&gauge), Word::Abort).await.unwrap();
    let wanted = End::Over { state: State::RolledBack { why: Failure::Asked }, exit: 24 };
    assert_eq!(end, wanted, "{:?}", book.causes());
    is_plain_in(&ground, &looking.eye, 9, "taken back");
    assert_eq!(looking.eye.way(), ["*", "stable", "green", "stable", "*"]);
    assert_eq!(ground.revisions(), [(1, "deployed".to_owned()), (2, "rolled-back".to_owned())]);
    tokio::time::sleep(minutes(2)).await;
    let pods = ground.deployment("web")["status"]["availableReplicas"].as_u64();
    assert!(pods > Some(PODS as u64), "{pods:?}");
}

#[tokio::test(start_paused = true)]
async fn a_breach_is_seen_while_a_pod_is_not_up() {
    let ground = Ground::new();
    let _looking = scaled(&ground).await;
    let gauge = Grown::default();
    let growing = async {
        grow_without_room(&ground).await;
        gauge.is_bad.store(true, Ordering::SeqCst);
        until_led_to(&ground, "stable").await;
        ground.api.remove("ResourceQuota", NAMESPACE, "full");
    };
    let (rolled, ()) = tokio::join!(ground.gated(long(), &gauge), growing);
    let wanted = End::Over { state: State::RolledBack { why: Failure::Gate }, exit: 24 };
    assert_eq!(rolled.end, wanted, "{:?}", rolled.book.causes());
}

#[tokio::test(start_paused = true)]
async fn the_deadline_of_a_rollout_does_not_end_what_stood_and_grows() {
    let ground = Ground::new();
    let first = plan(1, tracked(1, Scaled::ByAutoscaler));
    assert_eq!(ground.roll(first).await.exit(), 0);
    let rules = Rules { deadline: Some(minutes(10)), ..Rules::default() };
    let second = Plan {
        rules,
        bake: minutes(30),
        migration: crate::run::Migration::Skip,
        ..plan(2, tracked(2, Scaled::ByAutoscaler))
    };
    let growing = async {
        tokio::time::sleep(minutes(15)).await;
        ground.api.autoscale(NAMESPACE, "web", 3);
    };
    let (rolled, ()) = tokio::join!(ground.roll(second), growing);
    assert_eq!(rolled.exit(), 0, "{:?}", rolled.book.causes());
    assert_eq!(ground.deployment("web")["status"]["availableReplicas"], 3);
}

/// A release with a policy, and with a workload that has no second colour.
fn with_policy(version: u8, rest: u8) -> Manifest {
    let mut manifest = tracked(version, Scaled::ByAutoscaler);
    let of = |kind: &str| manifest.items.iter().find(|item| item.body["kind"] == kind).unwrap().clone();
    let (mut other, mut policy) = (of("Deployment"), of("ConfigMap"));
    other.body["metadata"]["name"] = "rest".into();
    other.body["spec"]["selector"]["matchLabels"] = json!({ "app": "rest" });
    other.body["spec"]["template"]["metadata"]["labels"] = json!({ "app": "rest" });
    other.body["spec"]["template"]["spec"]["containers"][0]["image"] = image(rest).into();
    other.body["spec"]["replicas"] = 1.into();
    policy.body["apiVersion"] = "networking.k8s.io/v1".into();
    policy.body["kind"] = "NetworkPolicy".into();
    policy.body.as_object_mut().unwrap().shift_remove("data");
    let ports = json!([{ "port": 1000 + u32::from(version), "protocol": "TCP" }]);
    policy.body["spec"] =
        json!({ "podSelector": {}, "policyTypes": ["Egress"], "egress": [{ "ports": ports }] });
    let more = (version == 2).then(|| {
        let mut more = of("ConfigMap");
        more.body["metadata"]["name"] = "more".into();
        more
    });
    manifest.items.extend([Item { wave: Wave::Surroundings, ..policy }, other]);
    manifest.items.extend(more);
    manifest
}

#[tokio::test(start_paused = true)]
async fn what_green_needs_stays_until_it_is_sent_nothing() {
    let ground = Ground::new();
    assert_eq!(ground.roll(plan(1, with_policy(1, 1))).await.exit(), 0);
    // Green is well; something else fails while the names that stay take over.
    ground.api.behave(&image(3), Behaviour::ImageMissing);
    let from = ground.api.asked().len();
    let second = Plan { action: Action::Apply { manifest: with_policy(2, 3) }, gate: None, ..switch(2) };
    let rolled = ground.roll(second).await;
    assert_eq!((rolled.exit(), rolled.code()), (24, "ROL001"), "{:?}", rolled.book.causes());
    let asked = changes(&ground, from);
    let last = |of: &dyn Fn(&str, &str, &serde_json::Value) -> bool| {
        asked.iter().rposition(|(method, path, body)| of(method, path, body)).unwrap()
    };
    let home = last(&|_, path, body| {
        path.ends_with("/services/web") && body["spec"]["selector"]["rtc.io/track"] == "stable"
    });
    let back = last(&|_, path, body| {
        path.ends_with("/deployments/web")
            && body["spec"]["template"]["spec"]["containers"][0]["image"] == image(1)
    });
    let policy = last(&|_, path, body| {
        path.ends_with("/networkpolicies/web") && body["spec"]["egress"][0]["ports"][0]["port"] == 1001
    });
    let gone = last(&|method, path, _| method == "DELETE" && path.ends_with("/configmaps/more"));
    assert!(back < home && home < policy && home < gone, "{back} {home} {policy} {gone}");
    let policies = asked.iter().filter(|(_, path, _)| path.ends_with("/networkpolicies/web"));
    assert_eq!(policies.count(), 2, "there and back once");
    assert!(ground.api.object("ConfigMap", NAMESPACE, "more").is_none());
}
