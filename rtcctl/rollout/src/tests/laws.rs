//! What holds for every world and every order.

use std::collections::{BTreeMap, VecDeque};

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::failure::Allowance;
use crate::tree;

/// What decides about the end of a Deployment.
#[derive(Debug, Clone)]
struct Facts {
    generation: i64,
    observed: i64,
    desired: u32,
    replicas: u32,
    updated: u32,
    available: u32,
    paused: bool,
    gave_up: bool,
    pods: Vec<PodFacts>,
    is_broken: bool,
}

#[derive(Debug, Clone, Copy)]
struct PodFacts {
    is_new: bool,
    has_digest: bool,
    is_right: bool,
    is_leaving: bool,
}

fn facts() -> impl Strategy<Value = Facts> {
    // Mostly right, so that both sides of the law are met.
    let often = |right: u32| prop_oneof![6 => Just(right), 1 => 0_u32..5];
    let pod = (
        prop::bool::weighted(0.9),
        prop::bool::weighted(0.95),
        prop::bool::weighted(0.97),
        prop::bool::weighted(0.1),
    )
        .prop_map(|(is_new, has_digest, is_right, is_leaving)| PodFacts {
            is_new,
            has_digest,
            is_right,
            is_leaving,
        });
    (
        (prop_oneof![5 => Just(8_i64), 1 => 7_i64..10], prop_oneof![6 => Just(9_i64), 1 => 6_i64..9]),
        (often(3), often(3), often(3), often(3)),
        (prop::bool::weighted(0.1), prop::bool::weighted(0.1), prop::bool::weighted(0.1)),
        prop::collection::vec(pod, 2..6),
    )
        .prop_map(|((generation, observed), (desired, replicas, updated, available), flags, pods)| {
            Facts {
                generation,
                observed: observed.min(generation),
                desired,
                replicas,
                updated,
                available,
                paused: flags.0,
                gave_up: flags.1,
                is_broken: flags.2,
                pods,
            }
        })
}

const RIGHT: &str = "sha256:aaaa";

fn world(facts: &Facts) -> (World, Applied) {
    let template = json!({"metadata": {"labels": {"app": "orders"}}, "spec": {"containers": [{"name": "orders", "image": format!("r/orders@{RIGHT}")}]}});
    let older = json!({"metadata": {"labels": {"app": "orders"}}, "spec": {"containers": [{"name": "orders", "image": "r/orders@sha256:0000"}]}});
    let mut conditions =
        vec![json!({"type": "Progressing", "status": "True", "reason": "NewReplicaSetAvailable"})];
    if facts.gave_up {
        conditions = vec![
            json!({"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded", "lastUpdateTime": "2026-11-21T09:35:00Z"}),
        ];
    }
    let deployment = |generation: i64| {
        json!({
            "kind": "Deployment",
            "metadata": {"name": "orders", "namespace": "shop", "uid": "d", "generation": generation, "resourceVersion": generation.to_string()},
            "spec": {"replicas": facts.desired, "paused": facts.paused, "template": template},
            "status": {
                "observedGeneration": facts.observed, "replicas": facts.replicas, "updatedReplicas": facts.updated,
                "readyReplicas": facts.available, "availableReplicas": facts.available, "conditions": conditions,
            },
        })
    };
    let mut answer = deployment(8);
    answer["status"] = json!({"observedGeneration": 7});
    let wanted = vec![Wanted { container: "orders".to_owned(), digests: vec![RIGHT.to_owned()] }];
    let applied = Applied::answered(&answer, wanted, at(0)).unwrap();
    let set = |name: &str, template: &Json| {
        json!({
            "kind": "ReplicaSet",
            "metadata": {"name": name, "namespace": "shop", "uid": name, "ownerReferences": [{"kind": "Deployment", "name": "orders", "uid": "d", "controller": true}]},
            "spec": {"replicas": 0, "template": template},
        })
    };
    let pods: Vec<Json> = facts
        .pods
        .iter()
        .enumerate()
        .map(|(number, pod)| {
            let set = if pod.is_new { "orders-new" } else { "orders-old" };
            let digest = if pod.is_right { RIGHT } else { "sha256:bbbb" };
            let mut document = json!({
                "kind": "Pod",
                "metadata": {"name": format!("{set}-{number}"), "namespace": "shop", "uid": format!("p{number}"), "ownerReferences": [{"kind": "ReplicaSet", "name": set, "uid": set, "controller": true}]},
                "spec": {"containers": [{"name": "orders"}]},
                "status": {"phase": "Running", "containerStatuses": [{"name": "orders", "ready": true, "imageID": if pod.has_digest { format!("r/orders@{digest}") } else { String::new() }, "state": {"running": {}}}]},
            });
            if pod.is_leaving {
                document["metadata"]["deletionTimestamp"] = "2026-11-21T09:31:00Z".into();
            }
            document
        })
        .collect();
    let mut world = World::new([target()]);
    assert!(
        world
            .listed(Kind::ReplicaSet, &[set("orders-new", &template), set("orders-old", &older)], at(0))
            .is_empty()
    );
    assert!(world.listed(Kind::Pod, &pods, at(0)).is_empty());
    assert!(world.listed(Kind::Deployment, &[deployment(facts.generation)], at(0)).is_empty());
    if facts.is_broken {
        world.disconnected(Kind::ReplicaSet, at(1));
    }
    (world, applied)
}

/// The rules, said a second time and without the rest.
fn all_kept(facts: &Facts) -> bool {
    let new = || facts.pods.iter().filter(|pod| pod.is_new && !pod.is_leaving);
    facts.generation >= 8
        && facts.observed >= facts.generation
        && !facts.gave_up
        && facts.updated >= facts.desired
        && facts.replicas <= facts.updated
        && facts.available >= facts.updated
        && !facts.is_broken
        && new().all(|pod| pod.is_right || !pod.has_digest)
        && new().filter(|pod| pod.has_digest && pod.is_right).count()
            >= facts.desired.min(facts.updated) as usize
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn it_is_done_exactly_when_every_rule_is_kept(facts in facts()) {
        let (world, applied) = world(&facts);
        let verdict = judge(&applied, &Rules::default(), &world, at(2));
        prop_assert_eq!(verdict.is_done(), all_kept(&facts), "{:?}", verdict);
        prop_assert_eq!(verdict.is_done(), verdict.progress().open.is_empty() && !verdict.is_failed());
    }
}

const STREAMS: [&str; 6] = [
    include_str!("data/rolling.ndjson"),
    include_str!("data/scaled_meanwhile.ndjson"),
    include_str!("data/surge.ndjson"),
    include_str!("data/stateful.ndjson"),
    include_str!("data/daemon.ndjson"),
    include_str!("data/job.ndjson"),
];

/// What is said about one name of one kind, in its order. After a list, everything in it is as if it had been said.
fn by_name(lines: &[Line]) -> Vec<(Kind, VecDeque<Json>)> {
    let mut queues: BTreeMap<(Kind, String), VecDeque<Json>> = BTreeMap::new();
    for line in lines {
        let said = match (line.list, line.watch) {
            (Some(kind), _) => {
                line.items.iter().map(|item| (kind, json!({"type": "ADDED", "object": item}))).collect()
            }
            (_, Some(kind)) => vec![(kind, line.line.clone().unwrap())],
            _ => Vec::new(),
        };
        for (kind, line) in said {
            let name = line["object"]["metadata"]["name"].as_str().unwrap().to_owned();
            queues.entry((kind, name)).or_default().push_back(line);
        }
    }
    queues.into_iter().map(|((kind, _), lines)| (kind, lines)).collect()
}

fn empty(first: &Line) -> Played {
    let mut played = Played::begin(first);
    for kind in Kind::ALL {
        played.world.listed(kind, &[], at(0));
    }
    played
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn any_legal_order_with_repetitions_ends_the_same(stream in 0..STREAMS.len(), picks in prop::collection::vec((any::<prop::sample::Index>(), 0_usize..4), 200)) {
        let lines = lines(STREAMS[stream]);
        let end = lines.last().unwrap().at;
        let mut straight = empty(&lines[0]);
        for (kind, said) in by_name(&lines).iter().flat_map(|(kind, said)| said.iter().map(move |one| (kind, one))) {
            straight.world.line(*kind, said, end).unwrap();
        }
        let mut mixed = empty(&lines[0]);
        let mut queues = by_name(&lines);
        let mut told: Vec<Vec<Json>> = vec![Vec::new(); queues.len()];
        let mut picks = picks.into_iter().cycle();
        while queues.iter().any(|(_, queue)| !queue.is_empty()) {
            let (pick, repeats) = picks.next().unwrap();
            let open: Vec<usize> = (0..queues.len()).filter(|index| !queues[*index].1.is_empty()).collect();
            let index = *pick.get(&open);
            let (kind, queue) = &mut queues[index];
            let said = queue.pop_front().unwrap();
            mixed.world.line(*kind, &said, end).unwrap();
            told[index].push(said);
            // A reconnection says again what was said before, up to where it was.
            let from = told[index].len().saturating_sub(repeats);
            for again in &told[index][from..] {
                mixed.world.line(*kind, again, end).unwrap();
            }
        }
        prop_assert_eq!(snapshot(&mixed.world), snapshot(&straight.world));
        prop_assert_eq!(mixed.verdict(end), straight.verdict(end));
        prop_assert!(mixed.verdict(end).is_done(), "{:?}", mixed.verdict(end));
        prop_assert_eq!(
            tree::rows(&mixed.world, &Allowance::default(), end),
            tree::rows(&straight.world, &Allowance::default(), end)
        );
    }

    #[test]
    fn nothing_that_the_api_may_say_breaks_it(stream in 0..STREAMS.len(), cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..20)) {
        let mut lines = lines(STREAMS[stream]);
        let first = lines.remove(0);
        let mut played = Played::begin(&first);
        // Whatever is missing: it is not done by that, and the rest is understood.
        let mut left_out = Vec::new();
        for cut in cuts {
            if !lines.is_empty() {
                left_out.push(lines.remove(cut.index(lines.len())));
            }
        }
        let was_listed = |kind: Kind| lines.iter().any(|line| line.list == Some(kind));
        let all_listed = played.applied.target.kinds().iter().all(|kind| was_listed(*kind));
        for line in &lines {
            played.hear(line);
            let verdict = played.verdict(line.at);
            prop_assert!(!verdict.is_done() || all_listed);
            tree::rows(&played.world, &Allowance::default(), line.at);
        }
    }
}
