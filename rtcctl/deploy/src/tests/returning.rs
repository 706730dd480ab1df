//! The way back of a switch from wherever it is, what one that died has left for the next run, and what is refused before
//! there is anything to go back from.

use std::time::Duration;

use kubernetes::testing::Api;
use kubernetes::testing::behaviour::Behaviour;
use manifests::render::TRACK;
use rollout::canary::Pause;
use rollout::canary::analysis::Measurement::{Good, Unknown};
use rollout::lifecycle::{Failure, State};
use serde_json::{Value as Json, json};

use super::eye::{Eye, Looking, Shown, tracked};
use super::ground::{Ground, Moment, Mortal, NAMESPACE, Scaled, Told, image, leave_no_room, plan};
use super::killed_beside::{
    NEVER, PODS, Ways, everywhere, gate, hurried, is_plain, is_plain_in, scaled, switch,
};
use super::switching::{changes, web_image};
use crate::manifest::{Item, Manifest, Wave};
use crate::revision::Others;
use crate::run::{Action, Book, End, Plan, Strategy, Word};

/// So many pods green grows to.
const GROWN: usize = 8;
const MOMENT: Duration = Duration::from_millis(100);

/// Calls are led to green, and this happens at once.
async fn once_led(ground: &Ground, then: impl FnOnce(&Api) + Send + 'static) -> Looking {
    let looking = scaled(ground).await;
    let api = ground.api.clone();
    tokio::spawn(async move {
        let scales = || api.object("HorizontalPodAutoscaler", NAMESPACE, "web").unwrap();
        while scales()["spec"]["scaleTargetRef"]["name"] != "web-green" {
            tokio::time::sleep(MOMENT).await;
        }
        then(&api);
    });
    looking
}

/// The autoscaler of green wants more of it.
async fn growing(ground: &Ground) -> Looking {
    once_led(ground, |api| api.autoscale(NAMESPACE, "web-green", GROWN as u32)).await
}

/// The same, and there is no room.
async fn crowded(ground: &Ground) -> Looking {
    let crowd = |api: &Api| {
        leave_no_room(api);
        api.autoscale(NAMESPACE, "web-green", GROWN as u32);
    };
    once_led(ground, crowd).await
}

#[tokio::test(start_paused = true)]
async fn who_is_led_back_to_is_asked_for_as_many_pods_before_it_is_led_to() {
    let ground = Ground::new();
    let looking = growing(&ground).await;
    let mut book = ground.begin(switch(2));
    let (end, since) = ground.shown(&mut book, &looking.eye, 100).await;
    assert_eq!(end, End::Over { state: State::RolledBack { why: Failure::Gate }, exit: 24 });
    let after = changes(&ground, since.unwrap());
    let (_, path, body) = &after[0];
    assert!(path.ends_with("/deployments/web"), "{path}");
    assert_eq!(body["spec"], json!({ "replicas": GROWN }));
    let (_, path, body) = &after[1];
    assert!(path.ends_with("/services/web"), "{path}");
    assert_eq!(body["spec"]["selector"][TRACK], "stable");
    is_plain_in(&ground, &looking.eye, GROWN, "back");
}

#[tokio::test(start_paused = true)]
async fn a_green_that_has_grown_is_led_back_from_to_as_many_wherever_it_is_killed() {
    let requests = everywhere(
        Ways { plan: hurried, bad_from: 100, word: Word::GoOn },
        growing,
        |ground, eye, end, place| {
            let End::Over { state: State::RolledBack { why: Failure::Gate }, exit: 24 } = end else {
                panic!("{place}: {end:?}")
            };
            is_plain_in(ground, eye, GROWN, place);
            let web = ground.deployment("web");
            assert_eq!(web["status"]["availableReplicas"], GROWN, "{place}");
            assert_eq!(web_image(ground), image(1), "{place}");
        },
    )
    .await;
    assert!(requests >= 40, "{requests}");
}

#[tokio::test(start_paused = true)]
async fn a_green_that_grew_without_room_is_led_back_from_and_goes_wherever_it_is_killed() {
    let requests = everywhere(
        Ways { plan: hurried, bad_from: 100, word: Word::GoOn },
        crowded,
        |ground, eye, end, place| {
            // Whoever takes it up before it is measured asks for all of it, and it does not come.
            let End::Over { state: State::RolledBack { .. }, exit: 24 } = end else {
                panic!("{place}: {end:?}")
            };
            is_plain_in(ground, eye, GROWN, place);
            assert_eq!(web_image(ground), image(1), "{place}");
        },
    )
    .await;
    assert!(requests >= 40, "{requests}");
}

/// Pods of what stays that run an image and are ready.
fn ready(api: &Api, image: &str) -> usize {
    let is_ready = |pod: &Json| {
        let conditions = pod["status"]["conditions"].as_array();
        pod["metadata"]["labels"][TRACK] == "stable"
            && pod["spec"]["containers"][0]["image"] == image
            && pod["metadata"]["deletionTimestamp"].is_null()
            && conditions.into_iter().flatten().any(|one| one["type"] == "Ready" && one["status"] == "True")
    };
    api.objects("Pod", NAMESPACE).iter().filter(|pod| is_ready(pod)).count()
}

/// What is stable gets two pods of the new version and then none, until it is to have the old one again.
async fn refusing(ground: &Ground) -> Looking {
    let looking = scaled(ground).await;
    let api = ground.api.clone();
    tokio::spawn(async move {
        while ready(&api, &image(2)) < 2 {
            tokio::time::sleep(MOMENT).await;
        }
        api.deny("Pod", "web-", "not these");
        let is_old = || {
            let web = api.object("Deployment", NAMESPACE, "web").unwrap();
            web["spec"]["template"]["spec"]["containers"][0]["image"] == image(1)
        };
        while !is_old() {
            tokio::time::sleep(MOMENT).await;
        }
        api.deny_nothing();
    });
    looking
}

#[tokio::test(start_paused = true)]
async fn a_takeover_that_fails_is_led_back_to_whole_pods_wherever_it_is_killed() {
    let requests = everywhere(
        Ways { plan: hurried, bad_from: NEVER, word: Word::GoOn },
        refusing,
        |ground, eye, end, place| {
            let End::Over { state: State::RolledBack { why: Failure::Rollout { .. } }, exit: 24 } = end
            else {
                panic!("{place}: {end:?}")
            };
            is_plain(ground, eye, place);
            assert_eq!(web_image(ground), image(1), "{place}");
            assert_eq!(eye.way(), ["*", "stable", "green", "stable", "*"], "{place}");
            assert_eq!(eye.seen.lock().unwrap().two_images, Vec::<String>::new(), "{place}");
        },
    )
    .await;
    assert!(requests >= 60, "{requests}");
}

#[tokio::test(start_paused = true)]
async fn a_takeover_that_finds_no_room_either_way_leaves_every_call_with_green() {
    let ground = Ground::new();
    let looking = scaled(&ground).await;
    let growing = async {
        while ready(&ground.api, &image(2)) == 0 {
            tokio::time::sleep(MOMENT).await;
        }
        leave_no_room(&ground.api);
        ground.api.autoscale(NAMESPACE, "web-green", GROWN as u32);
    };
    let told = Told::new(&[Good]);
    let (rolled, ()) = tokio::join!(ground.gated(hurried(), &told), growing);
    assert_eq!((rolled.exit(), rolled.code()), (25, "ROL030"), "{:?}", rolled.book.causes());
    assert_eq!(looking.eye.way(), ["*", "stable", "green"]);
    let green = ground.deployment("web-green")["status"]["availableReplicas"].as_u64();
    assert!(green >= Some(PODS as u64), "{green:?}");
    assert_eq!(looking.eye.seen.lock().unwrap().two_images, Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn all_of_it_now_is_never_behind_a_name_that_finds_both_wherever_the_run_was_killed() {
    for at in 1..=60 {
        let ground = Ground::new();
        let looking = scaled(&ground).await;
        let mortal = Mortal::new(ground.api.cluster(), at, Moment::Before);
        let mut book = ground.begin(Plan { gate: None, ..hurried() });
        let id = book.id();
        let shown = Shown { port: &mortal, eye: &looking.eye };
        tokio::select! {
            end = ground.drive(&mut book, &shown, None, Word::GoOn) => panic!("{at}: {end:?}"),
            () = mortal.died.notified() => drop(book),
        }
        let mut book = Book::resume(&ground.journal(), &id, "another").unwrap();
        let shown = Shown { port: &ground.api.cluster(), eye: &looking.eye };
        let end = ground.drive(&mut book, &shown, None, Word::Promote).await.unwrap();
        assert_eq!(end, End::Over { state: State::Done, exit: 0 }, "{at}");
        is_plain(&ground, &looking.eye, &format!("request {at}"));
    }
}

/// A run leads everything to green, green grows, and nobody ends the run.
async fn left(ground: &Ground) -> Looking {
    let _ = scaled(ground).await;
    let unsure = ground.gated(hurried(), &Told::new(&[Unknown])).await;
    assert_eq!(unsure.end, End::Paused { step: 1, why: Pause::Inconclusive });
    ground.api.autoscale(NAMESPACE, "web-green", GROWN as u32);
    tokio::time::sleep(Duration::from_secs(10)).await;
    Looking::at(ground, NAMESPACE, "web")
}

fn is_whole(ground: &Ground, eye: &Eye, end: End, place: &str) {
    assert_eq!(end, End::Over { state: State::Done, exit: 0 }, "{place}");
    is_plain_in(ground, eye, GROWN, place);
    assert_eq!(eye.seen.lock().unwrap().fewest, Some(GROWN), "{place}");
    assert_eq!(web_image(ground), image(3), "{place}");
    assert_eq!(ground.deployment("web")["status"]["availableReplicas"], GROWN, "{place}");
}

#[tokio::test(start_paused = true)]
async fn a_rollout_leads_home_from_a_green_that_was_left_before_it_changes_anything() {
    let next = || Plan { others: Others::TakenOver, ..plan(3, tracked(3, Scaled::ByAutoscaler)) };
    let requests = everywhere(
        Ways { plan: next, bad_from: NEVER, word: Word::GoOn },
        left,
        |ground, eye, end, place| {
            is_whole(ground, eye, end, place);
            assert_eq!(eye.way(), ["green", "stable", "*"], "{place}");
        },
    )
    .await;
    assert!(requests >= 30, "{requests}");
}

#[tokio::test(start_paused = true)]
async fn a_switch_leads_home_from_a_green_that_was_left_before_it_makes_its_own() {
    let next = || Plan {
        others: Others::TakenOver,
        action: Action::Apply { manifest: tracked(3, Scaled::ByAutoscaler) },
        image: image(3),
        ..hurried()
    };
    let requests = everywhere(
        Ways { plan: next, bad_from: NEVER, word: Word::GoOn },
        left,
        |ground, eye, end, place| {
            is_whole(ground, eye, end, place);
            assert_eq!(eye.way(), ["green", "stable", "green", "stable", "*"], "{place}");
            assert_eq!(eye.seen.lock().unwrap().two_images, Vec::<String>::new(), "{place}");
        },
    )
    .await;
    assert!(requests >= 60, "{requests}");
}

#[tokio::test(start_paused = true)]
async fn what_was_half_given_another_version_is_what_is_deployed_before_it_is_led_to() {
    let ground = Ground::new();
    let looking = scaled(&ground).await;
    let mut book = ground.begin(switch(2));
    let told = Told::new(&[Good]);
    let half = async {
        while ready(&ground.api, &image(2)) < 2 {
            tokio::time::sleep(MOMENT).await;
        }
    };
    let cluster = ground.api.cluster();
    tokio::select! {
        end = ground.drive(&mut book, &cluster, Some(&told), Word::GoOn) => panic!("{end:?}"),
        () = half => {}
    }
    drop(book);
    let next = Plan { others: Others::TakenOver, ..switch(3) };
    let rolled = ground.gated(next, &Told::new(&[Good])).await;
    assert_eq!(rolled.exit(), 0, "{:?}", rolled.book.causes());
    is_plain(&ground, &looking.eye, "taken over");
    assert_eq!(looking.eye.seen.lock().unwrap().two_images, Vec::<String>::new());
    assert_eq!(web_image(&ground), image(3));
}

/// The release with a target that there has not been.
fn with_api(version: u8) -> Manifest {
    let mut manifest = tracked(version, Scaled::ByAutoscaler);
    let kinds = ["Deployment", "Service"];
    let new: Vec<Item> = manifest
        .items
        .iter()
        .filter(|item| item.body["kind"].as_str().is_some_and(|kind| kinds.contains(&kind)))
        .map(|item| {
            let text =
                item.body.to_string().replace("\"web\"", "\"api\"").replace(&image(version), &image(9));
            Item { wave: Wave::Workloads, body: serde_json::from_str(&text).unwrap() }
        })
        .collect();
    manifest.items.extend(new);
    manifest
}

#[tokio::test(start_paused = true)]
async fn whoever_is_new_stands_before_green_is_sent_anything_and_goes_where_that_fails() {
    for (behaviour, is_led) in [(Behaviour::well(), true), (Behaviour::ImageMissing, false)] {
        let ground = Ground::new();
        let looking = scaled(&ground).await;
        ground.api.behave(&image(9), behaviour);
        let mut book = ground.begin(Plan {
            action: Action::Apply { manifest: with_api(2) },
            gate: Some(gate(1)),
            ..hurried()
        });
        let api = ground.api.clone();
        let first = tokio::spawn(async move {
            let eye = Eye::new(api.clone(), NAMESPACE, "web");
            while eye.leads() != [("green".to_owned(), 100)] {
                tokio::time::sleep(MOMENT).await;
            }
            api.object("Deployment", NAMESPACE, "api").map(|new| new["status"]["availableReplicas"].clone())
        });
        let (end, _) = ground.shown(&mut book, &looking.eye, NEVER).await;
        is_plain(&ground, &looking.eye, "new");
        assert_eq!(looking.eye.way().contains(&"green".to_owned()), is_led);
        assert_eq!(ground.api.object("Deployment", NAMESPACE, "api").is_some(), is_led);
        match is_led {
            true => {
                assert_eq!(end, End::Over { state: State::Done, exit: 0 }, "{:?}", book.causes());
                assert_eq!(first.await.unwrap(), Some(json!(1)));
            }
            false => {
                first.abort();
                assert!(matches!(end, End::Over { exit: 24, .. }), "{end:?}");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_release_whose_autoscaler_goes_is_not_switched_and_nothing_is_changed() {
    let ground = Ground::new();
    let looking = scaled(&ground).await;
    let from = ground.api.asked().len();
    let manifest = tracked(2, Scaled::Fixed(3));
    let mut book = ground.begin(Plan { action: Action::Apply { manifest }, ..switch(2) });
    let refused = ground.drive(&mut book, &ground.api.cluster(), None, Word::GoOn).await.unwrap_err();
    assert!(refused.to_string().contains("HorizontalPodAutoscaler/shop/web"), "{refused}");
    assert_eq!(changes(&ground, from), []);
    assert_eq!(looking.eye.way(), ["*"]);
    let strategy = Strategy::Rolling;
    let manifest = tracked(2, Scaled::Fixed(PODS as u32));
    let plan = Plan { strategy, action: Action::Apply { manifest }, gate: None, ..switch(2) };
    assert_eq!(ground.roll(plan).await.exit(), 0);
}
