//! The rows for a screen.

use std::time::Duration;

use serde_json::json;

use super::*;
use crate::failure::Allowance;
use crate::tree::{Mark, Row, rows, state_of};

fn drawn(rows: &[Row]) -> Vec<String> {
    rows.iter()
        .map(|row| {
            let ready = row.ready.map_or_else(String::new, |(ready, wanted)| format!(" {ready}/{wanted}"));
            format!(
                "{}{} {} [{:?}] {}{ready}",
                "  ".repeat(row.depth.into()),
                row.kind,
                row.name,
                row.mark,
                row.state
            )
        })
        .collect()
}

#[test]
fn a_rollout_is_a_tree_from_the_deployment_to_its_containers() {
    let (played, now) = after("a crash again");
    let rows = rows(&played.world, &Allowance::default(), now);
    assert_eq!(
        drawn(&rows)[..4],
        [
            "Deployment orders [Failing] 1 updated, 3 available 3/3",
            "  ReplicaSet orders-7d9c5b8f6d [Failing] new, revision 8 0/1",
            "    Pod orders-7d9c5b8f6d-b001x [Failing] CrashLoopBackOff 0/1",
            "      container orders [Failing] CrashLoopBackOff",
        ]
    );
    assert_eq!(drawn(&rows)[4], "  ReplicaSet orders-6b8f9c7d55 [Well] old, revision 7 3/3");
    assert!(rows[2].reason.starts_with("ROL010 container orders of pod"), "{}", rows[2].reason);
    assert_eq!((rows[2].restarts, rows[0].restarts), (1, 1));
    assert_eq!(rows[2].age, Some(Duration::from_secs(8)));
}

#[test]
fn what_fails_comes_first_and_what_leaves_comes_last() {
    let (mut played, now) = after("a digest that is missing");
    let rolling = lines(include_str!("data/rolling.ndjson"));
    let is_about = |line: &Line, name: &str| {
        line.line.as_ref().is_some_and(|line| line["object"]["metadata"]["name"] == name)
    };
    // Another new pod is well, and an old one is leaving.
    let well = rolling.iter().rfind(|line| is_about(line, "orders-7d9c5b8f6d-c002x")).unwrap();
    let leaving = rolling.iter().find(|line| is_about(line, "orders-6b8f9c7d55-b001x")).unwrap();
    played.hear(well);
    played.hear(leaving);
    let rows = rows(&played.world, &Allowance::default(), now);
    let pods: Vec<(&str, Mark)> =
        rows.iter().filter(|row| row.kind == "Pod").map(|row| (row.name.as_str(), row.mark)).collect();
    assert_eq!(pods[0], ("orders-7d9c5b8f6d-b001x", Mark::Failing));
    assert_eq!(pods[1], ("orders-7d9c5b8f6d-c002x", Mark::Well));
    assert_eq!(*pods.last().unwrap(), ("orders-6b8f9c7d55-b001x", Mark::Leaving));
}

#[test]
fn a_refusal_to_make_pods_stands_at_the_replica_set() {
    let (played, now) = after("pod security");
    let rows = rows(&played.world, &Allowance::default(), now);
    assert_eq!((rows[0].mark, rows[1].mark), (Mark::Failing, Mark::Failing));
    assert!(rows[1].reason.starts_with("ROL033"), "{}", rows[1].reason);
}

#[test]
fn a_pod_that_waits_for_a_node_waits_and_does_not_fail() {
    let (played, now) = after("a node is coming, by Karpenter");
    let rows = rows(&played.world, &Allowance::default(), now);
    let pod = rows.iter().find(|row| row.kind == "Pod").unwrap();
    assert_eq!((pod.mark, pod.state.as_str()), (Mark::Waiting, "Pending"));
    assert!(pod.reason.contains("nodeclaim/default-zjrnm"));
}

#[test]
fn what_is_done_is_well_all_the_way_down() {
    let played = play(include_str!("data/complete_already.ndjson"));
    let rows = rows(&played.world, &Allowance::default(), at(1));
    assert_eq!(rows.len(), 1 + 1 + 3 * 2, "an empty old ReplicaSet is not shown");
    assert!(rows.iter().all(|row| row.mark == Mark::Well), "{:#?}", drawn(&rows));
}

#[test]
fn a_pod_is_told_in_the_words_of_kubectl() {
    let pod = |spec: Json, status: Json| {
        let document =
            json!({"kind": "Pod", "metadata": {"name": "p", "uid": "p"}, "spec": spec, "status": status});
        let Object::Pod(pod) = object(document) else { unreachable!("a pod") };
        state_of(&pod)
    };
    let waiting = |reason: &str| json!({"name": "a", "state": {"waiting": {"reason": reason}}});
    let ended = |reason: &str, code: i32, signal: i32| json!({"name": "a", "state": {"terminated": {"reason": reason, "exitCode": code, "signal": signal}}});
    let running = |name: &str, ready: bool| json!({"name": name, "ready": ready, "started": true, "state": {"running": {}}});
    let inits = json!({"initContainers": [{"name": "a"}, {"name": "b"}]});
    let sidecar = json!({"initContainers": [{"name": "a", "restartPolicy": "Always"}, {"name": "b"}]});
    let ready = json!([{"type": "Ready", "status": "True"}]);
    for (spec, status, expected) in [
        (json!({}), json!({"phase": "Pending"}), "Pending"),
        (json!({}), json!({"phase": "Failed", "reason": "Evicted"}), "Evicted"),
        (
            json!({}),
            json!({"phase": "Pending", "containerStatuses": [waiting("ImagePullBackOff")]}),
            "ImagePullBackOff",
        ),
        (json!({}), json!({"phase": "Running", "containerStatuses": [running("a", true)]}), "Running"),
        (json!({}), json!({"phase": "Failed", "containerStatuses": [ended("", 3, 0)]}), "ExitCode:3"),
        (json!({}), json!({"phase": "Failed", "containerStatuses": [ended("", 0, 9)]}), "Signal:9"),
        (
            json!({}),
            json!({"phase": "Succeeded", "containerStatuses": [ended("Completed", 0, 0)]}),
            "Completed",
        ),
        (
            json!({}),
            json!({"phase": "Running", "conditions": ready, "containerStatuses": [ended("Completed", 0, 0), running("b", true)]}),
            "Running",
        ),
        (
            json!({}),
            json!({"phase": "Running", "containerStatuses": [ended("Completed", 0, 0), running("b", true)]}),
            "NotReady",
        ),
        (
            inits.clone(),
            json!({"phase": "Pending", "initContainerStatuses": [running("a", false)]}),
            "Init:0/2",
        ),
        (
            inits.clone(),
            json!({"phase": "Pending", "initContainerStatuses": [ended("Completed", 0, 0), {"name": "b", "state": {"waiting": {"reason": "PodInitializing"}}}]}),
            "Init:1/2",
        ),
        (
            inits.clone(),
            json!({"phase": "Pending", "initContainerStatuses": [waiting("CrashLoopBackOff")]}),
            "Init:CrashLoopBackOff",
        ),
        (
            inits.clone(),
            json!({"phase": "Pending", "initContainerStatuses": [ended("Error", 1, 0)]}),
            "Init:Error",
        ),
        (
            inits.clone(),
            json!({"phase": "Pending", "initContainerStatuses": [ended("", 7, 0)]}),
            "Init:ExitCode:7",
        ),
        (inits, json!({"phase": "Pending", "initContainerStatuses": [ended("", 1, 6)]}), "Init:Signal:6"),
        // A sidecar that is started holds nobody up.
        (
            sidecar,
            json!({"phase": "Pending", "initContainerStatuses": [running("a", true), {"name": "b", "state": {"running": {}}}]}),
            "Init:1/2",
        ),
        (
            json!({}),
            json!({"phase": "Pending", "conditions": [{"type": "PodScheduled", "status": "False", "reason": "SchedulingGated"}]}),
            "SchedulingGated",
        ),
    ] {
        assert_eq!(pod(spec, status.clone()), expected, "{status}");
    }
}

/// A Deployment of 500 pods, each fifth of them in trouble.
fn large() -> World {
    let mut played = base();
    let (crash, _) = after("a crash again");
    let bad = crash.world.pods_of(&"bbbbbbbb-0000-4000-8000-000000000001".into())[0].clone();
    let (well, _) = (play(include_str!("data/complete_already.ndjson")), ());
    let good = well.world.pods_of(&"bbbbbbbb-0000-4000-8000-000000000001".into())[0].clone();
    for number in 0..500_u32 {
        let mut pod = if number % 5 == 0 { bad.clone() } else { good.clone() };
        pod.metadata.name = format!("orders-7d9c5b8f6d-{number:05}");
        pod.metadata.uid = format!("many-{number}").as_str().into();
        played.world.take(crate::world::Change::Put, Object::Pod(Box::new(pod)), at(9)).unwrap();
    }
    played.world
}

#[test]
fn five_hundred_pods_are_laid_out_and_judged_in_no_time() {
    let world = large();
    let played = base();
    // The least of several, so that a busy machine does not decide; without optimisation ten times the wanted 5 ms.
    let least = |work: &dyn Fn()| {
        (0..10)
            .map(|_| {
                #[expect(clippy::disallowed_methods, reason = "how long it takes is what is measured")]
                let begun = std::time::Instant::now();
                work();
                begun.elapsed()
            })
            .min()
            .unwrap()
    };
    let laid_out =
        least(&|| assert_eq!(rows(&world, &Allowance::default(), at(10)).len(), 1 + 2 + 500 * 2 + 3 * 2));
    let judged = least(&|| assert!(judge(&played.applied, &played.rules, &world, at(10)).is_failed()));
    println!("500 pods: laid out in {laid_out:?}, judged in {judged:?}");
    assert!(laid_out < Duration::from_millis(50), "{laid_out:?}");
    assert!(judged < Duration::from_millis(50), "{judged:?}");
}

#[test]
fn the_same_world_gives_the_same_rows() {
    let world = large();
    assert_eq!(
        rows(&world, &Allowance::default(), at(10)),
        rows(&world.clone(), &Allowance::default(), at(10))
    );
}
