//! A second version beside the first, promoted, taken back, standing still, and taken up by another process.

use std::time::Duration;

use kubernetes::testing::behaviour::Behaviour;
use manifests::{Release, examples};
use rollout::canary::analysis::Measurement::{self, Bad, Good, Unknown};
use rollout::canary::{Approval, By, Pause, Step};
use rollout::lifecycle::{Failure, State};
use serde_json::Value as Json;

use super::ground::{Ground, Moment, Mortal, Rolled, Told, plan};
use super::killed_beside::{meshed, weighted};
use crate::gate::Gate;
use crate::manifest::Manifest;
use crate::run::{Book, End, Migration, Plan, Strategy, Word, pods_beside, pods_of_share};

const OTHER: &str = examples::OTHER_IMAGE;

/// The small environment, with an image.
pub fn whole(image: Option<&str>) -> Plan {
    let mut description = examples::dev().unwrap();
    if let Some(image) = image {
        description.image = image.to_owned();
    }
    let json = serde_json::to_value(&description).unwrap();
    let image = description.image.clone();
    let (namespace, environment) = (description.namespace.clone(), description.environment.clone());
    let manifest = Manifest::of(&Release::of(description).unwrap());
    // Settings and secrets come from elsewhere; here nothing fetches them.
    let migration = Migration::Skip;
    Plan { image, namespace, environment, description: json, migration, ..plan(1, manifest) }
}

pub fn beside(approval: Approval) -> Plan {
    let step = |weight| Step { weight, hold: Duration::from_secs(30), approval };
    let gate = "interval_s = 5\n[[check]]\nname = \"errors\"\nexpr = \"x{pod=~\\\"$pods\\\"}\"\nmax = 1\n";
    Plan {
        strategy: Strategy::Canary {
            targets: vec!["gateway".to_owned()],
            by: By::Replicas { total: 1 },
            steps: vec![step(20), step(50)],
            pods: std::collections::BTreeMap::new(),
        },
        gate: Some(Gate::read(gate).unwrap()),
        ..whole(Some(OTHER))
    }
}

pub async fn stable() -> Ground {
    let ground = Ground::new();
    let rolled = ground.roll(whole(None)).await;
    assert_eq!(rolled.exit(), 0, "{:?}", rolled.book.causes());
    ground
}

pub fn image_of(ground: &Ground, name: &str) -> Option<Json> {
    let found = ground.api.object("Deployment", "rtc", name)?;
    Some(found["spec"]["template"]["spec"]["containers"][0]["image"].clone())
}

async fn go(ground: &Ground, plan: Plan, looks: &[Measurement]) -> Rolled {
    ground.gated(plan, &Told::new(looks)).await
}

#[tokio::test(start_paused = true)]
async fn a_canary_that_is_good_takes_over_and_leaves_nothing_beside() {
    let ground = stable().await;
    let rolled = go(&ground, beside(Approval::Analysis), &[Good]).await;
    assert_eq!(rolled.exit(), 0, "{:?} {:?}", rolled.book.causes(), rolled.book.said());
    assert_eq!(image_of(&ground, "gateway"), Some(OTHER.into()));
    assert_eq!(image_of(&ground, "shop"), Some(OTHER.into()));
    assert_eq!(image_of(&ground, "gateway-canary"), None);
    assert_eq!(rolled.book.canary().unwrap().state, rollout::canary::State::Promoted);
}

#[tokio::test(start_paused = true)]
async fn a_canary_that_is_bad_goes_and_the_stable_version_was_never_touched() {
    let ground = stable().await;
    let before = ground.api.object("Deployment", "rtc", "gateway").unwrap();
    let rolled = go(&ground, beside(Approval::Analysis), &[Good, Good, Bad]).await;
    let End::Over { state: State::RolledBack { why: Failure::Gate }, exit: 24 } = rolled.end else {
        panic!("{:?}", rolled.end)
    };
    assert_eq!(image_of(&ground, "gateway-canary"), None);
    let after = ground.api.object("Deployment", "rtc", "gateway").unwrap();
    assert_eq!(after["metadata"]["generation"], before["metadata"]["generation"]);
}

#[tokio::test(start_paused = true)]
async fn a_canary_whose_pods_fail_goes_with_their_code() {
    let ground = stable().await;
    ground.api.behave(OTHER, Behaviour::ImageMissing);
    let rolled = go(&ground, beside(Approval::Analysis), &[Good]).await;
    assert_eq!((rolled.exit(), rolled.code()), (24, "ROL001"));
    assert_eq!(image_of(&ground, "gateway-canary"), None);
}

#[tokio::test(start_paused = true)]
async fn a_canary_waits_for_a_word_and_another_process_takes_it_up() {
    let ground = stable().await;
    let Rolled { book, end } = go(&ground, beside(Approval::Operator), &[Good]).await;
    assert_eq!(end, End::Paused { step: 0, why: Pause::Approval });
    assert!(image_of(&ground, "gateway-canary").is_some());
    let id = book.id();
    drop(book);
    let mut book = Book::resume(&ground.journal(), &id, "another").unwrap();
    let told = Told::new(&[Good]);
    let end = ground.drive(&mut book, &ground.api.cluster(), Some(&told), Word::Approve).await.unwrap();
    assert_eq!(end, End::Paused { step: 1, why: Pause::Approval });
    let end = ground.drive(&mut book, &ground.api.cluster(), Some(&told), Word::Promote).await.unwrap();
    assert_eq!(end, End::Over { state: State::Done, exit: 0 });
    assert_eq!(image_of(&ground, "gateway-canary"), None);
}

#[tokio::test(start_paused = true)]
async fn a_canary_that_nobody_can_judge_stands_still_until_it_is_taken_back() {
    let ground = stable().await;
    let Rolled { mut book, end } = go(&ground, beside(Approval::Analysis), &[Unknown]).await;
    assert_eq!(end, End::Paused { step: 0, why: Pause::Inconclusive });
    let told = Told::new(&[Unknown]);
    let end = ground.drive(&mut book, &ground.api.cluster(), Some(&told), Word::Abort).await.unwrap();
    assert_eq!(end, End::Over { state: State::RolledBack { why: Failure::Asked }, exit: 24 });
    assert_eq!(image_of(&ground, "gateway-canary"), None);
}

#[tokio::test(start_paused = true)]
async fn a_canary_whose_process_is_killed_goes_on() {
    // Before, while and after its weights are set; every request would take minutes.
    for at in [1, 40, 77, 85, 120, 135, 150, 170, 200] {
        let ground = stable().await;
        let told = Told::new(&[Good]);
        let mortal = Mortal::new(ground.api.cluster(), at, Moment::After);
        let mut book = ground.begin(beside(Approval::Analysis));
        let id = book.id();
        tokio::select! {
            end = ground.drive(&mut book, &mortal, Some(&told), Word::GoOn) => {
                assert_eq!(end.unwrap(), End::Over { state: State::Done, exit: 0 });
            }
            () = mortal.died.notified() => {
                drop(book);
                let mut book = Book::resume(&ground.journal(), &id, "another").unwrap();
                let end = ground.drive(&mut book, &ground.api.cluster(), Some(&told), Word::GoOn).await;
                assert_eq!(end.unwrap(), End::Over { state: State::Done, exit: 0 }, "{at}");
            }
        }
        assert_eq!(image_of(&ground, "gateway"), Some(OTHER.into()), "{at}");
        assert_eq!(image_of(&ground, "gateway-canary"), None, "{at}");
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_stands_beside_nothing() {
    let ground = Ground::new();
    let mut book = ground.begin(beside(Approval::Analysis));
    let refused = ground.drive(&mut book, &ground.api.cluster(), None, Word::GoOn).await.unwrap_err();
    assert!(matches!(refused, crate::run::Error::NothingStable), "{refused}");
    assert!(ground.api.objects("Deployment", "rtc").is_empty());
}

#[test]
fn pods_beside_make_the_share_as_near_as_whole_ones_can() {
    for (stable, weight, beside) in
        [(1, 50, 1), (3, 25, 1), (9, 10, 1), (10, 50, 10), (20, 20, 5), (1, 10, 1)]
    {
        assert_eq!(pods_beside(stable, weight), beside, "{stable} {weight}");
    }
}

#[test]
fn pods_of_a_share_that_routes_make_are_that_share_of_those_that_live() {
    for (live, weight, pods) in [(8, 10, 1), (8, 50, 4), (8, 99, 8), (8, 100, 8), (3, 50, 2), (0, 50, 1)] {
        assert_eq!(pods_of_share(live, weight), pods, "{live} {weight}");
    }
}

/// Says that all is well, and keeps when it was asked.
struct Asked(std::sync::Mutex<Vec<kernel::Timestamp>>);

#[async_trait::async_trait]
impl crate::gate::Gauge for Asked {
    async fn measure(&self, _check: &crate::gate::Check, view: &crate::gate::View) -> crate::gate::Seen {
        self.0.lock().unwrap().push(view.now);
        crate::gate::Seen { measurement: Good, is_silent: false, says: String::new() }
    }
}

#[tokio::test(start_paused = true)]
async fn a_canary_whose_time_is_over_is_measured_at_the_gates_own_pace() {
    let ground = stable().await;
    let mut plan = beside(Approval::Analysis);
    let gate = "interval_s = 5\n[[check]]\nname = \"errors\"\nexpr = \"x\"\nmax = 1\ncount = 4\n";
    plan.gate = Some(Gate::read(gate).unwrap());
    if let Strategy::Canary { steps, .. } = &mut plan.strategy {
        steps.truncate(1);
        steps[0].hold = Duration::from_secs(3);
    }
    let asked = Asked(std::sync::Mutex::default());
    assert_eq!(ground.gated(plan, &asked).await.exit(), 0);
    let times = asked.0.into_inner().unwrap();
    // Four of the canary; what is asked after it is of the whole.
    assert!(times.len() >= 4, "{times:?}");
    for pair in times[..4].windows(2) {
        assert!(pair[1].since(pair[0]) >= Duration::from_secs(5), "{times:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn each_target_has_a_canary_of_its_own_size() {
    let ground = stable().await;
    let mut plan = beside(Approval::Operator);
    if let Strategy::Canary { targets, pods, steps, .. } = &mut plan.strategy {
        targets.push("shop".to_owned());
        *pods = [("gateway".to_owned(), 4), ("shop".to_owned(), 1)].into();
        steps.remove(0);
    }
    let rolled = go(&ground, plan, &[Good]).await;
    assert_eq!(rolled.end, End::Paused { step: 0, why: Pause::Approval });
    let replicas =
        |name: &str| ground.api.object("Deployment", "rtc", name).unwrap()["spec"]["replicas"].clone();
    assert_eq!((replicas("gateway-canary"), replicas("shop-canary")), (4.into(), 1.into()));
}

/// Which track the Service of a target asks for.
pub fn track(ground: &Ground, service: &str) -> Json {
    ground.api.object("Service", "rtc", service).unwrap()["spec"]["selector"]["rtc.io/track"].clone()
}

#[tokio::test(start_paused = true)]
async fn a_canary_by_replicas_is_asked_nothing_any_more_before_it_goes() {
    let ground = stable().await;
    let from = ground.api.asked().len();
    let rolled = go(&ground, beside(Approval::Analysis), &[Good, Good, Bad]).await;
    assert_eq!(rolled.exit(), 24, "{:?}", rolled.book.causes());
    let asked = ground.api.asked();
    let back = asked.iter().skip(from).position(|one| {
        let body: Json = serde_json::from_str(&one.body).unwrap_or_default();
        one.method == "PATCH"
            && one.path.contains("/services/gateway?")
            && body["spec"]["selector"]["rtc.io/track"] == "stable"
    });
    let gone = asked
        .iter()
        .skip(from)
        .position(|one| one.method == "DELETE" && one.path.contains("/deployments/gateway-canary"));
    assert!(back.is_some() && back < gone, "{back:?} {gone:?}");
    assert_eq!(track(&ground, "gateway"), Json::Null, "everything is as it was");
}

#[tokio::test(start_paused = true)]
async fn what_is_rendered_otherwise_now_is_not_touched_by_a_canary() {
    let ground = Ground::new();
    // An earlier version of this program rendered something else.
    let mut first = whole(None);
    if let crate::run::Action::Apply { manifest } = &mut first.action {
        let gateway = manifest
            .items
            .iter_mut()
            .find(|item| item.body["kind"] == "Deployment" && item.body["metadata"]["name"] == "gateway");
        gateway.unwrap().body["spec"]["template"]["metadata"]["annotations"]["before"] = "yes".into();
    }
    assert_eq!(ground.roll(first).await.exit(), 0);
    let rolled = go(&ground, beside(Approval::Operator), &[Good]).await;
    assert_eq!(rolled.end, End::Paused { step: 0, why: Pause::Approval });
    let gateway = ground.api.object("Deployment", "rtc", "gateway").unwrap();
    assert_eq!(gateway["metadata"]["generation"], 1);
}

#[tokio::test(start_paused = true)]
async fn a_canary_of_a_mesh_has_its_share_of_the_pods_that_live() {
    let ground = Ground::new();
    let _looking = meshed(&ground).await;
    ground.grow("rtc", "shop", 8).await;
    let mut plan = weighted();
    if let Strategy::Canary { steps, .. } = &mut plan.strategy {
        steps.remove(0);
        steps[0].approval = Approval::Operator;
    }
    let rolled = go(&ground, plan, &[Good]).await;
    assert_eq!(rolled.end, End::Paused { step: 0, why: Pause::Approval });
    let canary = ground.api.object("Deployment", "rtc", "shop-canary").unwrap();
    assert_eq!(canary["spec"]["replicas"], 4);
}

#[tokio::test(start_paused = true)]
async fn a_canary_of_a_mesh_keeps_its_pods_where_those_that_live_become_fewer() {
    let ground = Ground::new();
    let _looking = meshed(&ground).await;
    ground.grow("rtc", "shop", 8).await;
    let mut plan = weighted();
    if let Strategy::Canary { steps, .. } = &mut plan.strategy {
        for step in steps {
            step.weight += 10;
            step.approval = Approval::Operator;
        }
    }
    let told = Told::new(&[Good]);
    let replicas =
        || ground.api.object("Deployment", "rtc", "shop-canary").unwrap()["spec"]["replicas"].clone();
    let Rolled { mut book, end } = ground.gated(plan, &told).await;
    assert_eq!((end, replicas()), (End::Paused { step: 0, why: Pause::Approval }, 3.into()));
    // It is asked less, and its autoscaler sees that.
    ground.grow("rtc", "shop", 2).await;
    let end = ground.drive(&mut book, &ground.api.cluster(), Some(&told), Word::Approve).await.unwrap();
    assert_eq!((end, replicas()), (End::Paused { step: 1, why: Pause::Approval }, 3.into()));
}
