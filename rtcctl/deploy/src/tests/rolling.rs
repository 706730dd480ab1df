//! Rollouts to their ends: good ones, those that fail, and what comes back.

use std::time::Duration;

use kernel::Clock;
use kubernetes::testing::Control;
use kubernetes::testing::behaviour::Behaviour;
use rollout::canary::analysis::Measurement;
use rollout::lifecycle::{Failure, OnFailure, State};
use serde_json::json;

use super::ground::{Ground, NAMESPACE, Scaled, Told, deployment, image, manifest, plan, seconds};
use crate::gate::Gate;
use crate::run::{Action, End, Migration, Plan};

const THREE: Scaled = Scaled::Fixed(3);

#[tokio::test(start_paused = true)]
async fn a_rollout_is_done_when_every_pod_runs_the_digest() {
    let ground = Ground::new();
    let rolled = ground.roll(plan(1, manifest(1, THREE))).await;
    assert_eq!(rolled.end, End::Over { state: State::Done, exit: 0 }, "{:?}", rolled.book.causes());
    let status = &ground.deployment("web")["status"];
    assert_eq!((&status["availableReplicas"], &status["updatedReplicas"]), (&json!(3), &json!(3)));
    assert_eq!(ground.revisions(), [(1, "deployed".to_owned())]);
    let rolled = ground.roll(plan(2, manifest(2, THREE))).await;
    assert_eq!(rolled.exit(), 0, "{:?}", rolled.book.causes());
    assert_eq!(ground.revisions(), [(1, "superseded".to_owned()), (2, "deployed".to_owned())]);
    let pods = ground.api.objects("Pod", NAMESPACE);
    let web = pods.iter().filter(|pod| pod["metadata"]["labels"]["app"] == "web");
    assert!(
        web.clone().count() == 3 && web.clone().all(|pod| pod["spec"]["containers"][0]["image"] == image(2))
    );
}

#[tokio::test(start_paused = true)]
async fn what_fails_is_taken_back_with_the_fields_that_were_removed() {
    let ground = Ground::new();
    let mut first = manifest(1, THREE);
    deployment(&mut first)["spec"]["template"]["spec"]["containers"][0]["env"] =
        json!([{ "name": "VERSION", "value": "1" }, { "name": "KEPT", "value": "yes" }]);
    deployment(&mut first)["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] = json!(60);
    assert_eq!(ground.roll(plan(1, first)).await.exit(), 0);
    let before = ground.deployment("web")["spec"].clone();

    ground.api.behave(&image(2), Behaviour::Crash { exit_code: 3, log: vec!["no such table".to_owned()] });
    let mut second = manifest(2, THREE);
    // The job is to come through.
    second.items.retain(|item| item.body["kind"] != "Job");
    let mut added = second.items[1].clone();
    added.body["metadata"]["name"] = "more".into();
    second.items.push(added);
    let rolled = ground.roll(plan(2, second)).await;
    assert_eq!((rolled.exit(), rolled.code()), (24, "ROL010"), "{:?}", rolled.book.causes());
    assert!(rolled.book.causes()[0].why.contains("no such table"), "{:?}", rolled.book.causes());
    let after = ground.deployment("web")["spec"].clone();
    assert_eq!(after, before);
    assert_eq!(ground.deployment("web")["status"]["availableReplicas"], 3);
    assert!(ground.api.object("ConfigMap", NAMESPACE, "more").is_none(), "what it brought is gone");
    assert_eq!(ground.revisions(), [(1, "deployed".to_owned()), (2, "rolled-back".to_owned())]);

    let record = ground.journal().read(&rolled.book.id()).unwrap();
    let steps: Vec<String> = record.steps().iter().map(|step| step.name.clone()).collect();
    assert_eq!(steps, ["record", "migrate", "apply", "watch", "collect", "roll-back"]);
    let evidence: Vec<String> = record
        .evidence()
        .unwrap()
        .iter()
        .map(|path| path.file_name().unwrap().to_string_lossy().into_owned())
        .collect();
    let has = |begin: &str| evidence.iter().any(|name| name.starts_with(begin));
    assert!(
        has("failure.json") && has("deployment-web") && has("log-web-") && has("events-"),
        "{evidence:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn the_autoscalers_count_survives_every_apply() {
    let ground = Ground::new();
    let replicas = || ground.deployment("web")["spec"]["replicas"].clone();
    assert_eq!(ground.roll(plan(1, manifest(1, Scaled::Fixed(4)))).await.exit(), 0);
    // The number was ours; it stays when it becomes the autoscaler's.
    assert_eq!(ground.roll(plan(2, manifest(2, Scaled::ByAutoscaler))).await.exit(), 0);
    assert_eq!(replicas(), 4);
    ground.api.autoscale(NAMESPACE, "web", 7);
    assert_eq!(ground.roll(plan(3, manifest(3, Scaled::ByAutoscaler))).await.exit(), 0);
    assert_eq!(replicas(), 7);
    assert_eq!(ground.deployment("web")["status"]["availableReplicas"], 7);
    ground.api.autoscale(NAMESPACE, "web", 5);
    ground.api.behave(&image(4), Behaviour::ImageMissing);
    let mut bad = manifest(4, Scaled::ByAutoscaler);
    bad.items.retain(|item| item.body["kind"] != "Job");
    assert_eq!(ground.roll(plan(4, bad)).await.exit(), 24);
    assert_eq!(replicas(), 5);
}

#[tokio::test(start_paused = true)]
async fn each_failure_has_its_code_its_exit_code_and_its_time() {
    // The code, and within how many seconds at most.
    let table = [
        (Behaviour::ImageMissing, "ROL001", 15),
        (Behaviour::PlatformMissing, "ROL002", 15),
        (Behaviour::PullDenied, "ROL003", 15),
        (Behaviour::Crash { exit_code: 1, log: vec!["oh".to_owned()] }, "ROL010", 60),
        (Behaviour::OutOfMemory, "ROL011", 60),
        (Behaviour::ConfigMissing { name: "x".to_owned() }, "ROL012", 15),
        (Behaviour::WrongFormat, "ROL013", 60),
        (Behaviour::NeverReady, "ROL015", 120),
        (Behaviour::Unschedulable { node_coming: false }, "ROL020", 120),
    ];
    for (behaviour, code, most_s) in table {
        let ground = Ground::new();
        ground.roll(plan(1, manifest(1, THREE))).await;
        ground.api.behave(&image(2), behaviour.clone());
        let mut second = manifest(2, THREE);
        second.items.retain(|item| item.body["kind"] != "Job");
        let began = ground.api.clock().now();
        let mut plan = Plan { on_failure: OnFailure::Leave, ..plan(2, second) };
        plan.rules.no_activity = Duration::from_secs(90);
        let rolled = ground.roll(plan).await;
        assert_eq!((rolled.exit(), rolled.code()), (23, code), "{behaviour:?} {:?}", rolled.book.causes());
        let took = seconds(&ground, began);
        assert!(took <= most_s, "{behaviour:?} took {took} s");
        // What served goes on serving.
        assert!(ground.deployment("web")["status"]["availableReplicas"].as_u64() >= Some(3));
    }
}

#[tokio::test(start_paused = true)]
async fn a_deadline_leaves_what_is_under_way_and_says_that_it_does_not_know() {
    let ground = Ground::new();
    ground.api.behave(&image(1), Behaviour::NeverReady);
    let mut first = manifest(1, THREE);
    first.items.retain(|item| item.body["kind"] != "Job");
    let mut plan = Plan { on_failure: OnFailure::Leave, ..plan(1, first) };
    plan.rules.deadline = Some(Duration::from_secs(20));
    let began = ground.api.clock().now();
    let rolled = ground.roll(plan).await;
    assert_eq!((rolled.exit(), rolled.code()), (6, "ROL062"));
    assert!((20..24).contains(&seconds(&ground, began)));
}

#[tokio::test(start_paused = true)]
async fn what_breaks_off_in_the_middle_is_followed_on() {
    for control in [Control::Cut, Control::CutInLine, Control::Gone, Control::End] {
        let ground = Ground::new();
        let api = ground.api.clone();
        let breaking = tokio::spawn(async move {
            loop {
                tokio::time::sleep(Duration::from_millis(1700)).await;
                if control == Control::Gone {
                    api.compact();
                }
                api.control(control);
            }
        });
        let rolled = ground.roll(plan(1, manifest(1, THREE))).await;
        breaking.abort();
        assert_eq!(rolled.exit(), 0, "{control:?} {:?}", rolled.book.causes());
    }
}

#[tokio::test(start_paused = true)]
async fn a_migration_that_fails_changes_no_workload_and_may_be_run_again() {
    let ground = Ground::new();
    ground.roll(plan(1, manifest(1, THREE))).await;
    ground.api.behave(&image(2), Behaviour::Crash { exit_code: 1, log: vec!["locked".to_owned()] });
    let rolled = ground.roll(plan(2, manifest(2, THREE))).await;
    let End::Over { state: State::Left { why: Failure::Migration { .. } }, exit: 23 } = rolled.end else {
        panic!("{:?}", rolled.end)
    };
    assert_eq!(ground.deployment("web")["spec"]["template"]["spec"]["containers"][0]["image"], image(1));
    let uid = |ground: &Ground| {
        ground.api.object("Job", NAMESPACE, "migrate-2").unwrap()["metadata"]["uid"].clone()
    };
    let first = uid(&ground);
    // Mended: the same version once more.
    let ground_two = {
        let mut again = manifest(2, THREE);
        for item in again.items.iter_mut().filter(|item| item.body["kind"] == "Job") {
            item.body["spec"]["template"]["spec"]["containers"][0]["image"] = image(9).into();
        }
        deployment(&mut again)["spec"]["template"]["spec"]["containers"][0]["image"] = image(9).into();
        ground.roll(plan(9, again)).await
    };
    assert_eq!(ground_two.exit(), 0, "{:?}", ground_two.book.causes());
    assert_ne!(uid(&ground), first);
}

fn gate() -> Gate {
    Gate::read("interval_s = 5\n[[check]]\nname = \"errors\"\nexpr = \"x\"\nmax = 0.01\ncount = 3\n").unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_gate_passes_breaches_or_says_that_it_does_not_know() {
    use Measurement::{Bad, Good, Unknown};
    let table: [(&[Measurement], OnFailure, u8); 5] = [
        (&[Good], OnFailure::Leave, 0),
        (&[Good, Bad], OnFailure::Leave, 30),
        (&[Good, Bad], OnFailure::RollBack, 24),
        (&[Unknown], OnFailure::Leave, 31),
        (&[Unknown], OnFailure::RollBack, 24),
    ];
    for (looks, on_failure, exit) in table {
        let ground = Ground::new();
        ground.roll(plan(1, manifest(1, THREE))).await;
        let plan = Plan {
            gate: Some(gate()),
            bake: Duration::from_secs(30),
            on_failure,
            ..plan(2, manifest(2, THREE))
        };
        let began = ground.api.clock().now();
        let rolled = ground.gated(plan, &Told::new(looks)).await;
        assert_eq!(rolled.exit(), exit, "{looks:?} {:?}", rolled.book.causes());
        assert!(seconds(&ground, began) >= 30, "it has to stand first");
        let runs = if exit == 24 { 1 } else { 2 };
        assert_eq!(
            ground.deployment("web")["spec"]["template"]["spec"]["containers"][0]["image"],
            image(runs)
        );
    }
}

#[tokio::test(start_paused = true)]
async fn pods_are_made_anew_and_the_next_apply_leaves_them() {
    let ground = Ground::new();
    ground.roll(plan(1, manifest(1, THREE))).await;
    let names = |ground: &Ground| -> Vec<String> {
        let pods = ground.api.objects("Pod", NAMESPACE);
        let web = pods.iter().filter(|pod| pod["metadata"]["labels"]["app"] == "web");
        web.map(|pod| pod["metadata"]["name"].to_string()).collect()
    };
    let before = names(&ground);
    let target = manifest(1, THREE).targets();
    let at = ground.api.clock().now();
    let restart = Plan {
        command: "restart".to_owned(),
        action: Action::Restart { targets: target, at },
        on_failure: OnFailure::Leave,
        migration: Migration::Skip,
        ..plan(1, manifest(1, THREE))
    };
    assert_eq!(ground.roll(restart).await.exit(), 0);
    let after = names(&ground);
    assert!(after.len() == 3 && after.iter().all(|name| !before.contains(name)), "{before:?} {after:?}");
    assert_eq!(ground.roll(plan(1, manifest(1, THREE))).await.exit(), 0);
    assert_eq!(names(&ground), after);
    assert_eq!(ground.revisions().len(), 2, "a restart is no revision");
}
