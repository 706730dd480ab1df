//! What is kept, and what is not.

use serde_json::json;

use super::*;
use crate::objects::TEXT_MAX;
use crate::world::{Change, EVENTS_OF_ONE};

fn pod(name: &str, owner: &str, owner_uid: &str, version: &str) -> Json {
    json!({
        "kind": "Pod",
        "metadata": {
            "name": name, "namespace": "shop", "uid": format!("uid-{name}"), "resourceVersion": version,
            "ownerReferences": [{"kind": "ReplicaSet", "name": owner, "uid": owner_uid, "controller": true}],
        },
        "status": {"phase": "Running"},
    })
}

fn set(name: &str, deployment: &str) -> Json {
    json!({
        "kind": "ReplicaSet",
        "metadata": {
            "name": name, "namespace": "shop", "uid": format!("uid-{name}"), "resourceVersion": "1",
            "ownerReferences": [{"kind": "Deployment", "name": deployment, "uid": "uid-d", "controller": true}],
        },
    })
}

fn event(about: &str, number: u32, message: &str) -> Json {
    json!({
        "kind": "Event",
        "metadata": {"name": format!("e{number}"), "namespace": "shop", "uid": format!("e{number}"), "resourceVersion": "1"},
        "involvedObject": {"kind": "Pod", "name": about, "namespace": "shop", "uid": format!("uid-{about}")},
        "reason": "BackOff", "message": message, "type": "Warning", "count": 1,
        "lastTimestamp": at(i64::from(number)).to_string(),
    })
}

fn take(world: &mut World, change: Change, document: Json) -> Heard {
    world.take(change, object(document), at(0)).unwrap()
}

#[test]
fn what_belongs_to_nobody_here_is_not_kept() {
    let mut world = World::new([target()]);
    assert_eq!(take(&mut world, Change::Put, set("web-1", "web")), Heard::Foreign);
    assert_eq!(take(&mut world, Change::Put, pod("web-1-x", "web-1", "uid-web-1", "1")), Heard::Foreign);
    assert_eq!(take(&mut world, Change::Put, event("web-1-x", 1, "no")), Heard::Foreign);
    let mut elsewhere = pod("orders-1-x", "orders-1", "uid-orders-1", "1");
    elsewhere["metadata"]["namespace"] = "other".into();
    assert_eq!(take(&mut world, Change::Put, elsewhere), Heard::Foreign);
    assert_eq!(world.objects().count(), 0);
}

#[test]
fn pods_of_a_neighbour_whose_name_begins_alike_go_when_it_is_known() {
    let mut world = World::new([target()]);
    let stranger = || pod("orders-admin-1-x", "orders-admin-1", "uid-orders-admin-1", "1");
    assert_eq!(take(&mut world, Change::Put, stranger()), Heard::Changed);
    assert_eq!(take(&mut world, Change::Put, set("orders-admin-1", "orders-admin")), Heard::Foreign);
    assert_eq!(world.objects().count(), 0);
    assert_ne!(
        take(&mut world, Change::Put, pod("orders-admin-1-y", "orders-admin-1", "uid-orders-admin-1", "1")),
        Heard::Changed
    );
    assert_eq!(world.objects().count(), 0);
}

#[test]
fn a_pod_may_come_before_its_replica_set() {
    let mut world = World::new([target()]);
    take(&mut world, Change::Put, pod("orders-1-x", "orders-1", "uid-orders-1", "1"));
    take(&mut world, Change::Put, set("orders-1", "orders"));
    assert_eq!(world.pods_of(&"uid-orders-1".into()).len(), 1);
    assert_eq!(world.replica_sets_of(&"uid-d".into()).len(), 1);
}

#[test]
fn a_deleted_object_does_not_come_back() {
    let mut world = World::new([target()]);
    let document = pod("orders-1-x", "orders-1", "uid-orders-1", "1");
    take(&mut world, Change::Put, document.clone());
    assert_eq!(take(&mut world, Change::Deleted, document.clone()), Heard::Changed);
    assert_eq!(take(&mut world, Change::Put, document), Heard::Repeated);
    assert_eq!(take(&mut world, Change::Put, event("orders-1-x", 1, "late")), Heard::Repeated);
    assert_eq!(world.objects().count(), 0);
}

#[test]
fn a_version_that_was_seen_changes_nothing() {
    let mut world = World::new([target()]);
    let version = |number: &str, phase: &str| {
        let mut document = pod("orders-1-x", "orders-1", "uid-orders-1", number);
        document["status"]["phase"] = phase.into();
        document
    };
    take(&mut world, Change::Put, version("9", "Pending"));
    take(&mut world, Change::Put, version("10", "Running"));
    // After a reconnection the stream begins again a little earlier.
    assert_eq!(take(&mut world, Change::Put, version("9", "Pending")), Heard::Repeated);
    assert_eq!(world.pods_of(&"uid-orders-1".into())[0].status.phase, "Running");
}

#[test]
fn an_older_generation_changes_nothing() {
    let mut world = World::new([target()]);
    let deployment = |version: &str, generation: i64, observed: i64| {
        json!({
            "kind": "Deployment",
            "metadata": {"name": "orders", "namespace": "shop", "uid": "uid-d", "resourceVersion": version, "generation": generation},
            "status": {"observedGeneration": observed},
        })
    };
    take(&mut world, Change::Put, deployment("a", 4, 4));
    assert_eq!(take(&mut world, Change::Put, deployment("b", 3, 4)), Heard::Repeated);
    assert_eq!(take(&mut world, Change::Put, deployment("c", 4, 3)), Heard::Repeated);
    assert_eq!(take(&mut world, Change::Put, deployment("d", 5, 4)), Heard::Changed);
}

#[test]
fn what_a_new_list_does_not_have_is_gone() {
    let mut world = World::new([target()]);
    for name in ["orders-1-x", "orders-1-y"] {
        take(&mut world, Change::Put, pod(name, "orders-1", "uid-orders-1", "1"));
    }
    take(&mut world, Change::Put, set("orders-1", "orders"));
    let errors = world.listed(Kind::Pod, &[pod("orders-1-y", "orders-1", "uid-orders-1", "2")], at(1));
    assert!(errors.is_empty());
    let names: Vec<&str> =
        world.pods_of(&"uid-orders-1".into()).iter().map(|pod| pod.metadata.name.as_str()).collect();
    assert_eq!(names, ["orders-1-y"]);
    assert_eq!(world.replica_sets_of(&"uid-d".into()).len(), 1, "another kind was not listed");
}

#[test]
fn an_item_that_cannot_be_read_is_left_out_and_reported() {
    let mut world = World::new([target()]);
    let broken = json!({"metadata": {"name": "orders-1-z", "uid": "z"}, "spec": {"containers": "none"}});
    let good = pod("orders-1-y", "orders-1", "uid-orders-1", "2");
    let errors = world.listed(Kind::Pod, &[broken, good], at(1));
    assert_eq!(errors.len(), 1);
    assert_eq!(errors[0].to_string(), "a Pod that does not have the form of one");
    assert_eq!(world.objects().count(), 1);
}

#[test]
fn the_end_of_a_watch_says_what_it_is() {
    let mut world = World::new([target()]);
    let status = |code: u32| json!({"type": "ERROR", "object": {"kind": "Status", "code": code}});
    assert_eq!(world.line(Kind::Pod, &status(410), at(0)).unwrap(), Heard::Expired);
    assert_eq!(world.line(Kind::Pod, &status(401), at(0)).unwrap(), Heard::Refused(401));
    assert_eq!(world.broken_since(&target()), Some(at(0)));
    let bookmark =
        json!({"type": "BOOKMARK", "object": {"kind": "Pod", "metadata": {"resourceVersion": "7"}}});
    assert_eq!(world.line(Kind::Pod, &bookmark, at(1)).unwrap(), Heard::Bookmark);
    assert_eq!(world.broken_since(&target()), None);
}

#[test]
fn a_long_watch_of_many_pods_stays_small() {
    let mut world = World::new([target()]);
    take(&mut world, Change::Put, set("orders-1", "orders"));
    for number in 0..20_000_u32 {
        let name = format!("orders-1-{number}");
        take(&mut world, Change::Put, pod(&name, "orders-1", "uid-orders-1", "1"));
        take(&mut world, Change::Put, event(&name, number, "Back-off restarting failed container"));
        if let Some(old) = number.checked_sub(500) {
            take(
                &mut world,
                Change::Deleted,
                pod(&format!("orders-1-{old}"), "orders-1", "uid-orders-1", "1"),
            );
        }
    }
    assert_eq!(world.objects().count(), 501);
    assert!(world.events_about(&"uid-orders-1-19999".into()).len() == 1);
    assert!(world.events_about(&"uid-orders-1-1".into()).is_empty());
}

#[test]
fn only_the_newest_events_about_one_object_are_kept() {
    let mut world = World::new([target()]);
    take(&mut world, Change::Put, pod("orders-1-x", "orders-1", "uid-orders-1", "1"));
    for number in (0..100).rev() {
        take(&mut world, Change::Put, event("orders-1-x", number, "again"));
    }
    let kept = world.events_about(&"uid-orders-1-x".into());
    assert_eq!(kept.len(), EVENTS_OF_ONE);
    assert_eq!((kept[0].last_at(), kept.last().unwrap().last_at()), (Some(at(99)), Some(at(84))));
}

#[test]
fn a_long_message_is_cut() {
    let mut world = World::new([target()]);
    take(&mut world, Change::Put, pod("orders-1-x", "orders-1", "uid-orders-1", "1"));
    take(&mut world, Change::Put, event("orders-1-x", 1, &"가".repeat(TEXT_MAX)));
    let kept = world.events_about(&"uid-orders-1-x".into());
    assert!(kept[0].message.len() <= TEXT_MAX + '…'.len_utf8());
}

#[test]
fn an_event_of_the_newer_form_is_read_as_well() {
    let newer = json!({
        "kind": "Event", "apiVersion": "events.k8s.io/v1",
        "metadata": {"name": "e", "namespace": "shop", "uid": "e", "resourceVersion": "1", "creationTimestamp": "2026-11-21T09:30:00Z"},
        "regarding": {"kind": "Pod", "name": "orders-1-x", "namespace": "shop", "uid": "uid-orders-1-x", "fieldPath": "spec.containers{web}"},
        "note": "Readiness probe failed", "reason": "Unhealthy", "type": "Warning", "reportingController": "kubelet",
        "eventTime": "2026-11-21T09:30:01.123456Z", "series": {"count": 7, "lastObservedTime": "2026-11-21T09:31:00.654321Z"},
    });
    let Object::Event(event) = object(newer) else { unreachable!("an event") };
    assert_eq!((event.count(), event.container(), event.reporter()), (7, Some("web"), "kubelet"));
    assert_eq!(event.message, "Readiness probe failed");
    assert_eq!(event.last_at(), Some("2026-11-21T09:31:00.654Z".parse().unwrap()));
}

#[test]
fn the_order_of_keys_and_the_hash_label_do_not_make_another_template() {
    let template = |text: &str| -> crate::objects::Template { serde_json::from_str(text).unwrap() };
    let one = template(
        r#"{"metadata":{"labels":{"app":"a"}},"spec":{"containers":[{"name":"a","image":"x","env":[]}]}}"#,
    );
    let same = template(
        r#"{"spec":{"containers":[{"image":"x","name":"a"}]},"metadata":{"creationTimestamp":null,"labels":{"pod-template-hash":"7","app":"a"}}}"#,
    );
    let other =
        template(r#"{"metadata":{"labels":{"app":"a"}},"spec":{"containers":[{"name":"a","image":"y"}]}}"#);
    assert_eq!(one.fingerprint, same.fingerprint);
    assert_ne!(one.fingerprint, other.fingerprint);
}
