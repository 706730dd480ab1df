//! Everything at once from one colour to the other: proved before it is sent anything, kept until it has stood, back in one
//! write.

use std::time::Duration;

use kubernetes::testing::behaviour::Behaviour;
use rollout::canary::analysis::Measurement::{Bad, Good, Unknown};
use rollout::canary::{Approval, Pause};
use rollout::lifecycle::{Failure, State};
use serde_json::{Value as Json, json};

use super::eye::{Looking, Shown, tracked};
use super::ground::{
    Ground, Moment, Mortal, NAMESPACE, Scaled, Told, anywhere, deployment, image, plan, seconds,
};
use super::killed_beside::{NEVER, gate, in_mesh, is_plain, scaled, switch};
use crate::manifest::Manifest;
use crate::revision::Others;
use crate::run::{Book, End, Plan, Strategy, Word};

/// Requests that change something and are kept, as method and path.
pub fn changes(ground: &Ground, from: usize) -> Vec<(String, String, Json)> {
    let asked = ground.api.asked();
    asked
        .iter()
        .skip(from)
        .filter(|one| one.method != "GET" && !one.path.contains("dryRun"))
        .map(|one| {
            let path = one.path.split('?').next().unwrap().to_owned();
            (one.method.clone(), path, serde_json::from_str(&one.body).unwrap_or_default())
        })
        .collect()
}

pub fn web_image(ground: &Ground) -> Json {
    ground.deployment("web")["spec"]["template"]["spec"]["containers"][0]["image"].clone()
}

#[tokio::test(start_paused = true)]
async fn whoever_is_sent_everything_has_as_many_pods_as_who_was_and_its_autoscaler_goes_along() {
    let ground = Ground::new();
    let looking = scaled(&ground).await;
    // It grows while green stands and is sent nothing, and again when it is sent everything.
    let (api, eye) = (ground.api.clone(), looking.eye.clone());
    let growing = tokio::spawn(async move {
        let stands = |name: &str| {
            api.object("Deployment", NAMESPACE, name)
                .is_some_and(|one| one["status"]["availableReplicas"] == 4)
        };
        let scales = |name: &str| {
            let scaler = api.object("HorizontalPodAutoscaler", NAMESPACE, "web").unwrap();
            scaler["spec"]["scaleTargetRef"]["name"] == name
        };
        while !stands("web-green") {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        api.autoscale(NAMESPACE, "web", 6);
        while !scales("web-green") {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        assert_eq!(eye.leads(), [("green".to_owned(), 100)], "whoever is sent nothing is not scaled");
        api.autoscale(NAMESPACE, "web-green", 8);
    });
    let mut book = ground.begin(switch(2));
    let began = ground.api.now();
    let (end, _) = ground.shown(&mut book, &looking.eye, NEVER).await;
    assert_eq!(end, End::Over { state: State::Done, exit: 0 }, "{:?}", book.causes());
    growing.await.unwrap();
    assert!(seconds(&ground, began) >= 30, "it has to stand, before and after");
    let seen = looking.eye.seen.lock().unwrap();
    let way: Vec<&str> = seen.led.iter().map(|(led, _)| led.as_str()).collect();
    assert_eq!(way, ["*", "stable", "green", "stable", "*"]);
    assert!(seen.led[2].1 >= 6 && seen.led[3].1 >= 8, "{:?}", seen.led);
    assert_eq!((seen.fewest, seen.two_tracks.len(), seen.two_images.len()), (Some(4), 0, 0), "{seen:?}");
    let web = ground.deployment("web");
    assert_eq!((&web["spec"]["replicas"], web_image(&ground)), (&json!(8), json!(image(2))));
    let scaler = ground.api.object("HorizontalPodAutoscaler", NAMESPACE, "web").unwrap();
    assert_eq!(scaler["spec"]["scaleTargetRef"]["name"], "web");
    assert!(ground.api.object("Deployment", NAMESPACE, "web-green").is_none());
    // A number that an autoscaler decides was told by nobody else's manifest.
    let manifests = changes(&ground, 0)
        .into_iter()
        .filter(|(_, path, body)| path.ends_with("/deployments/web") && !body["spec"]["template"].is_null());
    for (_, path, body) in manifests {
        assert!(body["spec"]["replicas"].is_null(), "{path}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_green_that_does_not_stand_is_never_led_to_and_goes_with_its_evidence_kept() {
    for behaviour in [
        Behaviour::ImageMissing,
        Behaviour::NeverReady,
        Behaviour::Crash { exit_code: 3, log: vec!["no such table".to_owned()] },
    ] {
        let ground = Ground::new();
        let looking = scaled(&ground).await;
        let generation = ground.deployment("web")["metadata"]["generation"].clone();
        let from = ground.api.asked().len();
        let mut plan = switch(2);
        if let crate::run::Action::Apply { manifest } = &mut plan.action {
            manifest.items.retain(|item| item.body["kind"] != "Job");
        }
        ground.api.behave(&image(2), behaviour.clone());
        let mut book = ground.begin(plan);
        let (end, _) = ground.shown(&mut book, &looking.eye, NEVER).await;
        let End::Over { state: State::RolledBack { why: Failure::Rollout { .. } }, exit: 24 } = end else {
            panic!("{behaviour:?}: {end:?}")
        };
        let code = book.causes()[0].code.id();
        assert!(code.starts_with("ROL"), "{behaviour:?}: {code}");
        assert_eq!(looking.eye.way(), ["*", "stable", "*"], "{behaviour:?}");
        is_plain(&ground, &looking.eye, code);
        assert_eq!(ground.deployment("web")["metadata"]["generation"], generation, "{behaviour:?}");
        let led = changes(&ground, from);
        let led = led.iter().filter(|(_, path, _)| path.ends_with("/services/web"));
        assert!(led.into_iter().all(|(.., body)| body["spec"]["selector"]["rtc.io/track"] != "green"));
        let evidence = book.folder().join("evidence");
        let files: Vec<String> = std::fs::read_dir(evidence)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        assert!(files.iter().any(|file| file.contains("web-green")), "{behaviour:?}: {files:?}");
        assert_eq!(ground.revisions(), [(1, "deployed".to_owned()), (2, "rolled-back".to_owned())]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_breach_after_the_switch_is_answered_with_one_write_before_anything_else() {
    let ground = Ground::new();
    let looking = scaled(&ground).await;
    let mut book = ground.begin(switch(2));
    let (end, since) = ground.shown(&mut book, &looking.eye, 100).await;
    assert_eq!(end, End::Over { state: State::RolledBack { why: Failure::Gate }, exit: 24 });
    let since = since.unwrap();
    let after = changes(&ground, since);
    let (method, path, body) = &after[0];
    assert!(method == "PATCH" && path.ends_with("/services/web"), "{method} {path}");
    assert_eq!(body["spec"]["selector"], json!({ "app": "web", "rtc.io/track": "stable" }));
    // Evidence comes after it, and green goes last.
    let asked = ground.api.asked();
    let place =
        |of: &dyn Fn(&str, &str) -> bool| asked.iter().skip(since).position(|one| of(&one.method, &one.path));
    let back = place(&|method, path| method == "PATCH" && path.contains("/services/web?")).unwrap();
    let kept = place(&|_, path| path.contains("/events?")).unwrap();
    let gone = place(&|method, path| method == "DELETE" && path.contains("/deployments/web-green")).unwrap();
    assert!(back < kept && kept < gone, "{back} {kept} {gone}");
    is_plain(&ground, &looking.eye, "back");
    assert_eq!(web_image(&ground), image(1));
}

#[tokio::test(start_paused = true)]
async fn before_it_is_sent_anything_silence_says_nothing_and_a_breach_ends_it() {
    for (looks, end) in [
        (&[Bad][..], End::Over { state: State::RolledBack { why: Failure::Gate }, exit: 24 }),
        // What is silent still when it is sent everything is for somebody to decide.
        (&[Unknown][..], End::Paused { step: 1, why: Pause::Inconclusive }),
    ] {
        let ground = Ground::new();
        let looking = scaled(&ground).await;
        let rolled = ground.gated(switch(2), &Told::new(looks)).await;
        assert_eq!(rolled.end, end, "{looks:?}");
        let is_led = looking.eye.way().contains(&"green".to_owned());
        assert_eq!(is_led, looks != [Bad], "{looks:?}");
        if let End::Paused { .. } = end {
            // The old colour stands by until it is said.
            assert_eq!(ground.deployment("web")["status"]["availableReplicas"], 4);
            let mut book = rolled.book;
            let told = Told::new(&[Unknown]);
            let end = ground.drive(&mut book, &ground.api.cluster(), Some(&told), Word::Approve).await;
            assert_eq!(end.unwrap(), End::Over { state: State::Done, exit: 0 });
            is_plain(&ground, &looking.eye, "approved");
            assert_eq!(web_image(&ground), image(2));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn it_waits_for_a_word_before_the_switch_and_may_be_tried_meanwhile() {
    let ground = Ground::new();
    let looking = scaled(&ground).await;
    let mut plan = switch(2);
    if let Strategy::BlueGreen { approval, .. } = &mut plan.strategy {
        *approval = Approval::Operator;
    }
    let rolled = ground.gated(plan, &Told::new(&[Good])).await;
    assert_eq!(rolled.end, End::Paused { step: 0, why: Pause::Approval });
    assert_eq!(looking.eye.leads(), [("stable".to_owned(), 100)]);
    let preview = ground.api.object("Service", NAMESPACE, "web-green").unwrap();
    assert_eq!(preview["spec"]["selector"], json!({ "app": "web", "rtc.io/track": "green" }));
    let mut book = rolled.book;
    let told = Told::new(&[Good]);
    let end = ground.drive(&mut book, &ground.api.cluster(), Some(&told), Word::Approve).await.unwrap();
    assert_eq!(end, End::Over { state: State::Done, exit: 0 });
    is_plain(&ground, &looking.eye, "approved");
}

#[tokio::test(start_paused = true)]
async fn all_of_it_now_waits_until_green_stands() {
    let ground = Ground::new();
    let looking = scaled(&ground).await;
    // The process dies when green has just been asked for.
    let mortal = Mortal::new(ground.api.cluster(), 40, Moment::After);
    let mut book = ground.begin(switch(2));
    let id = book.id();
    tokio::select! {
        end = ground.drive(&mut book, &mortal, None, Word::GoOn) => panic!("{end:?}"),
        () = mortal.died.notified() => drop(book),
    }
    let mut book = Book::resume(&ground.journal(), &id, "another").unwrap();
    let shown = Shown { port: &ground.api.cluster(), eye: &looking.eye };
    let end = ground.drive(&mut book, &shown, None, Word::Promote).await.unwrap();
    assert_eq!(end, End::Over { state: State::Done, exit: 0 });
    is_plain(&ground, &looking.eye, "promoted");
    assert_eq!(looking.eye.way(), ["*", "stable", "green", "stable", "*"]);
}

#[tokio::test(start_paused = true)]
async fn a_number_of_its_own_is_kept_and_told_by_the_manifest() {
    let ground = Ground::new();
    let roll = |version, pods| Plan {
        action: crate::run::Action::Apply { manifest: tracked(version, Scaled::Fixed(pods)) },
        gate: None,
        ..switch(version)
    };
    assert_eq!(ground.roll(Plan { strategy: Strategy::Rolling, ..roll(1, 3) }).await.exit(), 0);
    tokio::time::sleep(Duration::from_secs(10)).await;
    let looking = Looking::at(&ground, NAMESPACE, "web");
    assert_eq!(ground.roll(roll(2, 5)).await.exit(), 0);
    assert_eq!(ground.deployment("web")["spec"]["replicas"], 5);
    assert_eq!(looking.eye.seen.lock().unwrap().fewest, Some(3));
    assert_eq!(ground.roll(roll(3, 2)).await.exit(), 0);
    assert_eq!(ground.deployment("web")["spec"]["replicas"], 2);
    assert_eq!(looking.eye.seen.lock().unwrap().two_tracks, Vec::<String>::new());
    let managers = ground.deployment("web")["metadata"]["managedFields"].to_string();
    assert!(!managers.contains("rtcctl-replicas"), "{managers}");
}

#[tokio::test(start_paused = true)]
async fn in_a_mesh_its_route_is_what_is_written() {
    let ground = Ground::new();
    assert_eq!(ground.roll(in_mesh(None)).await.exit(), 0);
    tokio::time::sleep(Duration::from_secs(5)).await;
    let looking = Looking::at(&ground, "rtc", "shop");
    let before = ground.api.object("DestinationRule", "rtc", "shop").unwrap()["spec"].clone();
    let plan = Plan {
        strategy: Strategy::BlueGreen {
            targets: vec!["shop".to_owned()],
            hold: Duration::from_secs(10),
            approval: Approval::Analysis,
        },
        bake: Duration::from_secs(10),
        ..in_mesh(Some(manifests::examples::OTHER_IMAGE))
    };
    let mut book = ground.begin(plan);
    let shown = Shown { port: &ground.api.cluster(), eye: &looking.eye };
    let end = ground.drive(&mut book, &shown, None, Word::GoOn).await.unwrap();
    assert_eq!(end, End::Over { state: State::Done, exit: 0 }, "{:?}", book.causes());
    assert_eq!(looking.eye.way(), ["stable", "green", "stable"]);
    let seen = looking.eye.seen.lock().unwrap();
    assert_eq!((seen.fewest, seen.two_tracks.len(), seen.nobody.len()), (Some(2), 0, 0), "{seen:?}");
    assert_eq!(ground.api.object("DestinationRule", "rtc", "shop").unwrap()["spec"], before);
    assert!(ground.api.object("Deployment", "rtc", "shop-green").is_none());
    let selectors = changes(&ground, 0).into_iter().filter(|(_, path, _)| path.ends_with("/services/shop"));
    for (.., body) in selectors {
        assert!(body["spec"]["selector"]["rtc.io/track"].is_null(), "the Service finds both: {body}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_dead_run_left_beside_goes_with_the_next_one() {
    let ground = Ground::new();
    let looking = scaled(&ground).await;
    let unsure = ground.gated(switch(2), &Told::new(&[Unknown])).await;
    assert_eq!(unsure.end, End::Paused { step: 1, why: Pause::Inconclusive });
    drop(unsure.book);
    let next = plan(3, tracked(3, Scaled::ByAutoscaler));
    let rolled = ground.roll(Plan { others: Others::TakenOver, ..next }).await;
    assert_eq!(rolled.exit(), 0, "{:?}", rolled.book.causes());
    for kind in ["Deployment", "Service"] {
        assert!(ground.api.object(kind, NAMESPACE, "web-green").is_none(), "{kind}");
    }
    let scaler = ground.api.object("HorizontalPodAutoscaler", NAMESPACE, "web").unwrap();
    assert_eq!(scaler["spec"]["scaleTargetRef"]["name"], "web");
    assert_eq!(looking.eye.leads(), [("*".to_owned(), 100)]);
    assert_eq!(web_image(&ground), image(3));
}

#[tokio::test(start_paused = true)]
async fn nothing_is_switched_where_pods_have_no_track() {
    let ground = Ground::new();
    let bare = |version| super::ground::manifest(version, Scaled::Fixed(1));
    assert_eq!(ground.roll(plan(1, bare(1))).await.exit(), 0);
    let mut whole: Manifest = bare(2);
    deployment(&mut whole)["metadata"]["annotations"] = json!({ "a": "b" });
    let strategy = switch(2).strategy;
    let mut book = ground.begin(Plan { strategy, ..plan(2, whole) });
    let refused = ground.drive(&mut book, &ground.api.cluster(), None, Word::GoOn).await.unwrap_err();
    assert!(matches!(refused, crate::run::Error::Beside(_)), "{refused}");
    assert_eq!(web_image(&ground), image(1));
}

/// There, and back from where it was bad, on the cluster that is named too.
#[test]
fn a_switch_is_the_same_on_every_cluster() {
    anywhere(async |ground| {
        let roll = |version| Plan {
            strategy: Strategy::BlueGreen {
                targets: vec!["web".to_owned()],
                hold: Duration::from_secs(1),
                approval: Approval::Analysis,
            },
            bake: Duration::from_secs(2),
            gate: Some(gate(1)),
            ..plan(version, tracked(version, Scaled::Fixed(2)))
        };
        let first = Plan { strategy: Strategy::Rolling, bake: Duration::ZERO, gate: None, ..roll(1) };
        assert_eq!(ground.roll(first).await.exit(), 0);
        for (version, looks, exit, runs) in [(2, &[Good][..], 0, 2), (3, &[Good, Bad][..], 24, 2)] {
            let rolled = ground.gated(roll(version), &Told::new(looks)).await;
            assert_eq!(rolled.exit(), exit, "{version} {:?}", rolled.book.causes());
            let web = ground.web().await;
            assert_eq!(web["spec"]["template"]["spec"]["containers"][0]["image"], image(runs), "{version}");
            assert_eq!(web["status"]["availableReplicas"], 2, "{version}");
            let service = ground.object("Service", "web").await.unwrap();
            assert_eq!(service["spec"]["selector"], json!({ "app": "web" }), "{version}");
            for kind in ["Deployment", "Service"] {
                assert!(ground.object(kind, "web-green").await.is_none(), "{version} {kind}");
            }
        }
        let states: Vec<String> = ground.history().await.into_iter().map(|(_, state)| state).collect();
        assert_eq!(states, ["superseded", "deployed", "rolled-back"]);
    });
}
