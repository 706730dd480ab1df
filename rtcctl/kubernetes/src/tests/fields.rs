//! Owners of fields, at the server of the tests: what the suite asks of every server is not repeated here.

use serde_json::json;

use crate::testing::fields::{Managed, Outcome, apply, fields, managers, read, updated, written};

const TIME: &str = "2026-11-21T09:30:00Z";

fn applied(live: &serde_json::Value, document: &serde_json::Value, manager: &str) -> serde_json::Value {
    match apply(live, document, manager, false, TIME, |_| {}) {
        Outcome::Merged(object) => object,
        Outcome::Conflicts(conflicts) => panic!("{conflicts:?}"),
    }
}

fn blank() -> serde_json::Value {
    json!({ "apiVersion": "v1", "kind": "Service", "metadata": { "name": "web" } })
}

#[test]
fn a_set_of_fields_is_read_as_it_was_written() {
    let object = json!({
        "metadata": { "labels": { "a": "1" }, "finalizers": ["x/y"] },
        "spec": {
            "selector": { "app": "web" }, "ports": [{ "port": 80, "name": "http" }], "empty": {},
            "template": { "spec": { "containers": [{ "name": "web", "args": ["a"], "env": [{ "name": "A" }] }] } },
        },
    });
    let set = fields(&object);
    assert_eq!(read(&written(&set)), set);
    let text = written(&set).to_string();
    for part in [
        r#""k:{\"port\":80,\"protocol\":\"TCP\"}":{"#,
        r#""k:{\"name\":\"web\"}":{"#,
        r#""f:args":{}"#,
        r#""v:\"x/y\"":{}"#,
        r#""f:selector":{}"#,
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
}

#[test]
fn an_item_goes_with_the_last_who_wants_it() {
    let two = json!({ "metadata": { "name": "web" }, "spec": { "ports": [{ "port": 80 }, { "port": 81 }] } });
    let one = json!({ "metadata": { "name": "web" }, "spec": { "ports": [{ "port": 80 }] } });
    let object = applied(&blank(), &two, "rtcctl");
    let object = applied(&object, &two, "other");
    let object = applied(&object, &one, "rtcctl");
    assert_eq!(object["spec"]["ports"].as_array().unwrap().len(), 2);
    let object = applied(&object, &one, "other");
    assert_eq!(object["spec"]["ports"], json!([{ "port": 80 }]));
}

#[test]
fn the_same_value_is_shared_and_no_conflict() {
    let document = json!({ "metadata": { "name": "web" }, "spec": { "type": "ClusterIP" } });
    let object = applied(&applied(&blank(), &document, "rtcctl"), &document, "other");
    let owners: Vec<Managed> = managers(&object);
    assert_eq!(owners.iter().map(|one| one.manager.as_str()).collect::<Vec<_>>(), ["other", "rtcctl"]);
    assert_eq!(owners[0].set, owners[1].set);
}

#[test]
fn an_update_takes_what_it_changes_and_what_it_removes_is_nobodys() {
    let document =
        json!({ "metadata": { "name": "web" }, "spec": { "type": "ClusterIP", "clusterIP": "None" } });
    let object = applied(&blank(), &document, "rtcctl");
    let mut edited = object.clone();
    edited["spec"]["type"] = "NodePort".into();
    edited["spec"].as_object_mut().unwrap().remove("clusterIP");
    updated(&object, &mut edited, "kubectl-edit", "", TIME);
    let owners = managers(&edited);
    assert_eq!(owners.len(), 1, "{owners:?}");
    assert_eq!((owners[0].manager.as_str(), owners[0].operation.as_str()), ("kubectl-edit", "Update"));
    let Outcome::Conflicts(conflicts) = apply(&edited, &document, "rtcctl", false, TIME, |_| {}) else {
        panic!("taken unasked");
    };
    assert_eq!(conflicts, [(".spec.type".to_owned(), "kubectl-edit".to_owned())]);
}

#[test]
fn lists_without_keys_are_one_field() {
    let document =
        |hosts: serde_json::Value| json!({ "metadata": { "name": "web" }, "spec": { "rules": hosts } });
    let object = applied(&blank(), &document(json!([{ "host": "a" }, { "host": "b" }])), "rtcctl");
    let object = applied(&object, &document(json!([{ "host": "b" }])), "rtcctl");
    assert_eq!(object["spec"]["rules"], json!([{ "host": "b" }]));
}
