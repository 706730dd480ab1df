//! Strategies with a second version beside the first, whose process is killed at each of its requests, and another one that
//! takes the run up, or takes it back.

use std::time::Duration;

use manifests::description::{Entry, Mesh};
use manifests::{Release, examples};
use rollout::canary::{Approval, By, Step};
use rollout::lifecycle::{Failure, State};
use serde_json::json;

use super::eye::{BadFrom, Eye, Looking, Shown, tracked};
use super::ground::{Ground, Moment, Mortal, NAMESPACE, Scaled, image, plan};
use crate::gate::Gate;
use crate::manifest::Manifest;
use crate::run::{Book, End, Migration, Plan, Strategy, Word};

const OTHER: &str = examples::OTHER_IMAGE;
/// So many pods the autoscaler wants.
pub const PODS: usize = 4;

/// What is killed, when its gate is breached, and what whoever takes it up says.
pub struct Ways {
    pub plan: fn() -> Plan,
    pub bad_from: u64,
    pub word: Word,
}

/// From one death to the next: each request takes its turn where `DEATHS_EVERY=1` asks for all of them.
#[expect(clippy::disallowed_methods, reason = "a test's own knob, not configuration")]
fn stride() -> usize {
    std::env::var("DEATHS_EVERY").ok().and_then(|text| text.parse().ok()).unwrap_or(6)
}

/// Nothing is ever bad.
pub const NEVER: u64 = 101;

/// Kills before and after requests, until there are no more requests to die at. Gives how many there are.
pub async fn everywhere(
    ways: Ways,
    prepare: impl AsyncFn(&Ground) -> Looking,
    mut judge: impl FnMut(&Ground, &Eye, End, &str),
) -> usize {
    let (stride, mut requests) = (stride(), 0);
    for (moment, first) in [(Moment::Before, 1), (Moment::After, 1 + stride / 2)] {
        for at in (first..).step_by(stride) {
            let ground = Ground::new();
            let looking = prepare(&ground).await;
            let eye = &looking.eye;
            let gauge = BadFrom::new(eye, ways.bad_from);
            let mortal = Mortal::new(ground.api.cluster(), at, moment);
            let mut book = ground.begin((ways.plan)());
            let id = book.id();
            let shown = Shown { port: &mortal, eye };
            let end = tokio::select! {
                end = ground.drive(&mut book, &shown, Some(&gauge), Word::GoOn) => Some(end.unwrap()),
                () = mortal.died.notified() => None,
            };
            drop(book);
            let place = format!("killed {moment:?} request {at}");
            if let Some(end) = end {
                judge(&ground, eye, end, "not killed");
                break;
            }
            requests = requests.max(at);
            let mut book = Book::resume(&ground.journal(), &id, "another").unwrap();
            let shown = Shown { port: &ground.api.cluster(), eye };
            let end = ground.drive(&mut book, &shown, Some(&gauge), ways.word).await;
            let end = end.unwrap_or_else(|error| panic!("{place}: {error}"));
            judge(&ground, eye, end, &place);
        }
    }
    requests
}

pub fn gate(interval_s: u64) -> Gate {
    let check = "[[check]]\nname = \"errors\"\nexpr = \"x{pod=~\\\"$pods\\\"}\"\nmax = 1\n";
    Gate::read(&format!("interval_s = {interval_s}\n{check}")).unwrap()
}

/// Everything of version 2 at once.
pub fn switch(version: u8) -> Plan {
    Plan {
        strategy: Strategy::BlueGreen {
            targets: vec!["web".to_owned()],
            hold: Duration::from_secs(10),
            approval: Approval::Analysis,
        },
        bake: Duration::from_secs(20),
        gate: Some(gate(5)),
        ..plan(version, tracked(version, Scaled::ByAutoscaler))
    }
}

/// The same in a hurry: so that it can be killed often.
pub fn hurried() -> Plan {
    Plan {
        strategy: Strategy::BlueGreen {
            targets: vec!["web".to_owned()],
            hold: Duration::from_secs(2),
            approval: Approval::Analysis,
        },
        bake: Duration::from_secs(3),
        gate: Some(gate(1)),
        ..switch(2)
    }
}

/// Version 1 runs in as many pods as its autoscaler wants, and somebody looks.
pub async fn scaled(ground: &Ground) -> Looking {
    let first = plan(1, tracked(1, Scaled::ByAutoscaler));
    assert_eq!(ground.roll(first).await.exit(), 0);
    ground.grow(NAMESPACE, "web", PODS as u32).await;
    Looking::at(ground, NAMESPACE, "web")
}

/// Nothing is left of the other colour, and everything is as a manifest says.
#[track_caller]
pub fn is_plain(ground: &Ground, eye: &Eye, place: &str) {
    is_plain_in(ground, eye, PODS, place);
    assert_eq!(eye.seen.lock().unwrap().fewest, Some(PODS), "{place}");
}

/// The same of so many pods in the end.
#[track_caller]
pub fn is_plain_in(ground: &Ground, eye: &Eye, pods: usize, place: &str) {
    for kind in ["Deployment", "Service"] {
        assert!(ground.api.object(kind, NAMESPACE, "web-green").is_none(), "{place}: {kind}");
    }
    let service = ground.api.object("Service", NAMESPACE, "web").unwrap();
    assert_eq!(service["spec"]["selector"], json!({ "app": "web" }), "{place}");
    let scaler = ground.api.object("HorizontalPodAutoscaler", NAMESPACE, "web").unwrap();
    assert_eq!(scaler["spec"]["scaleTargetRef"]["name"], "web", "{place}");
    let web = ground.deployment("web");
    assert_eq!(web["spec"]["replicas"], pods, "{place}");
    let seen = eye.seen.lock().unwrap();
    assert_eq!(seen.two_tracks, Vec::<String>::new(), "{place}");
    assert_eq!(seen.nobody, Vec::<String>::new(), "{place}");
    assert!(seen.fewest >= Some(PODS), "{place}: {:?}", seen.led);
}

#[tokio::test(start_paused = true)]
async fn a_switch_killed_anywhere_goes_on_and_leads_to_each_colour_once() {
    let requests = everywhere(
        Ways { plan: hurried, bad_from: NEVER, word: Word::GoOn },
        scaled,
        |ground, eye, end, place| {
            assert_eq!(end, End::Over { state: State::Done, exit: 0 }, "{place}");
            is_plain(ground, eye, place);
            let web = ground.deployment("web");
            assert_eq!(web["spec"]["template"]["spec"]["containers"][0]["image"], image(2), "{place}");
            assert_eq!(web["metadata"]["generation"], 3, "{place}: scaled, and changed once");
            assert_eq!(web["status"]["availableReplicas"], PODS, "{place}");
            assert_eq!(eye.way(), ["*", "stable", "green", "stable", "*"], "{place}");
            assert_eq!(eye.seen.lock().unwrap().two_images, Vec::<String>::new(), "{place}");
            let wanted = [(1, "superseded".to_owned()), (2, "deployed".to_owned())];
            assert_eq!(ground.revisions(), wanted, "{place}");
        },
    )
    .await;
    assert!(requests >= 40, "{requests}");
}

#[tokio::test(start_paused = true)]
async fn a_switch_that_turns_out_bad_comes_back_wherever_it_is_killed() {
    let requests = everywhere(
        Ways { plan: hurried, bad_from: 100, word: Word::GoOn },
        scaled,
        |ground, eye, end, place| {
            let End::Over { state: State::RolledBack { why: Failure::Gate }, exit: 24 } = end else {
                panic!("{place}: {end:?}")
            };
            is_plain(ground, eye, place);
            let web = ground.deployment("web");
            assert_eq!(web["spec"]["template"]["spec"]["containers"][0]["image"], image(1), "{place}");
            assert_eq!(web["metadata"]["generation"], 2, "{place}: it was never touched");
            assert_eq!(eye.way(), ["*", "stable", "green", "stable", "*"], "{place}");
            assert_eq!(eye.seen.lock().unwrap().two_images, Vec::<String>::new(), "{place}");
            let wanted = [(1, "deployed".to_owned()), (2, "rolled-back".to_owned())];
            assert_eq!(ground.revisions(), wanted, "{place}");
        },
    )
    .await;
    assert!(requests >= 40, "{requests}");
}

#[tokio::test(start_paused = true)]
async fn a_switch_killed_anywhere_is_taken_back_from_there() {
    let mut ends = [0, 0, 0];
    let requests = everywhere(
        Ways { plan: || Plan { gate: None, ..hurried() }, bad_from: NEVER, word: Word::Abort },
        scaled,
        |ground, eye, end, place| {
            is_plain(ground, eye, place);
            let End::Over { state, .. } = end else { panic!("{place}: {end:?}") };
            let runs = match state {
                // It was killed when all was done.
                State::Done => 2,
                State::RolledBack { why: Failure::Asked } | State::Left { why: Failure::Asked } => 1,
                _ => panic!("{place}: {end:?}"),
            };
            ends[match state {
                State::Done => 0,
                State::RolledBack { .. } => 1,
                _ => 2,
            }] += 1;
            let web = ground.deployment("web");
            assert_eq!(web["spec"]["template"]["spec"]["containers"][0]["image"], image(runs), "{place}");
            assert_eq!(web["status"]["availableReplicas"], PODS, "{place}");
        },
    )
    .await;
    assert!(requests >= 40 && ends[1] > ends[0] && ends[2] > 0, "{requests} {ends:?}");
}

/// One target in a mesh, and nothing comes past it.
pub fn in_mesh(image: Option<&str>) -> Plan {
    let mut description = examples::dev().unwrap();
    description.environment = "test".to_owned();
    description.entry = Entry::None;
    description.mesh = Some(Mesh { revision: None, namespace: "istio-system".to_owned(), attempts: 1 });
    description.targets.retain(|name, _| name == "shop");
    let shop = description.targets.get_mut("shop").unwrap();
    shop.services.push("users".to_owned());
    shop.needs.upstreams.clear();
    shop.needs.secrets.push("admin_password".to_owned());
    if let Some(image) = image {
        description.image = image.to_owned();
    }
    let (json, image) = (serde_json::to_value(&description).unwrap(), description.image.clone());
    let namespace = description.namespace.clone();
    let manifest = Manifest::of(&Release::of(description).unwrap());
    // Secrets come from elsewhere; here nothing fetches them.
    let migration = Migration::Skip;
    Plan { image, namespace, description: json, migration, ..plan(1, manifest) }
}

/// A part of the calls for the second version, then more.
pub fn weighted() -> Plan {
    let step = |weight| Step { weight, hold: Duration::from_secs(2), approval: Approval::Analysis };
    Plan {
        strategy: Strategy::Canary {
            targets: vec!["shop".to_owned()],
            by: By::Mesh,
            steps: vec![step(20), step(50)],
            pods: std::collections::BTreeMap::new(),
        },
        gate: Some(gate(1)),
        ..in_mesh(Some(OTHER))
    }
}

pub async fn meshed(ground: &Ground) -> Looking {
    assert_eq!(ground.roll(in_mesh(None)).await.exit(), 0);
    tokio::time::sleep(Duration::from_secs(5)).await;
    Looking::at(ground, "rtc", "shop")
}

const WEIGHTS: [&str; 4] = ["stable", "stable 80, canary 20", "stable 50, canary 50", "stable"];

#[track_caller]
fn is_whole(ground: &Ground, eye: &Eye, generation: u64, place: &str) {
    assert!(ground.api.object("Deployment", "rtc", "shop-canary").is_none(), "{place}");
    let shop = ground.api.object("Deployment", "rtc", "shop").unwrap();
    assert_eq!(shop["metadata"]["generation"], generation, "{place}");
    assert_eq!(shop["status"]["availableReplicas"], 2, "{place}");
    assert_eq!(eye.way(), WEIGHTS, "{place}");
    assert_eq!(eye.seen.lock().unwrap().nobody, Vec::<String>::new(), "{place}");
}

#[tokio::test(start_paused = true)]
async fn weights_of_a_mesh_killed_anywhere_go_on_each_once_and_never_to_nobody() {
    let requests = everywhere(
        Ways { plan: weighted, bad_from: NEVER, word: Word::GoOn },
        meshed,
        |ground, eye, end, place| {
            assert_eq!(end, End::Over { state: State::Done, exit: 0 }, "{place}");
            is_whole(ground, eye, 2, place);
        },
    )
    .await;
    assert!(requests >= 40, "{requests}");
}

#[tokio::test(start_paused = true)]
async fn weights_of_a_mesh_that_turn_out_bad_come_back_wherever_they_are_killed() {
    let requests = everywhere(
        Ways { plan: weighted, bad_from: 50, word: Word::GoOn },
        meshed,
        |ground, eye, end, place| {
            let End::Over { state: State::RolledBack { why: Failure::Gate }, exit: 24 } = end else {
                panic!("{place}: {end:?}")
            };
            is_whole(ground, eye, 1, place);
        },
    )
    .await;
    assert!(requests >= 40, "{requests}");
}
