//! Plans of every kind of change, as Terraform 1.11 writes them.

use serde_json::json;

use super::*;
use crate::attributes::Value;

fn resource(address: &str, kind: &str, change: Json) -> Json {
    json!({"address": address, "mode": "managed", "type": kind, "name": "x", "change": change})
}

fn parse(changes: Json) -> Plan {
    let document = json!({
        "format_version": "1.2", "terraform_version": "1.11.4",
        "resource_changes": changes, "applyable": true, "complete": true, "errored": false,
    });
    Plan::parse(document.to_string().as_bytes()).unwrap()
}

#[test]
fn every_list_of_words_is_one_action() {
    let cases: [(&[&str], Option<Action>); 11] = [
        (&["no-op"], Some(Action::Nothing)),
        (&["read"], Some(Action::Read)),
        (&["create"], Some(Action::Create)),
        (&["update"], Some(Action::Update)),
        (&["delete"], Some(Action::Delete)),
        (&["forget"], Some(Action::Forget)),
        (&["delete", "create"], Some(Action::Replace(Order::DestroyFirst))),
        (&["create", "delete"], Some(Action::Replace(Order::CreateFirst))),
        (&["create", "forget"], Some(Action::Create)),
        (&[], None),
        (&["transmogrify"], None),
    ];
    for (words, action) in cases {
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        assert_eq!(Action::from_words(&words), action, "{words:?}");
    }
}

#[test]
fn a_replacement_counts_once_and_names_what_forces_it() {
    let plan = parse(json!([resource(
        "module.rds.aws_db_instance.primary",
        "aws_db_instance",
        json!({
            "actions": ["delete", "create"],
            "before": {"identifier": "rtc", "storage_encrypted": false},
            "after": {"identifier": "rtc", "storage_encrypted": true},
            "after_unknown": {"id": true},
            "replace_paths": [["storage_encrypted"], ["blocks", 0, "size"]],
        }),
    )]));
    assert_eq!(plan.counts(), Counts { replace: 1, ..Counts::default() });
    assert_eq!(plan.changes[0].forced_by, ["storage_encrypted", "blocks[0].size"]);
    assert!(plan.changes[0].action.destroys());
}

#[test]
fn what_does_nothing_is_no_change() {
    let plan = parse(json!([
        resource("a.x", "a", json!({"actions": ["no-op"], "before": {"p": 1}, "after": {"p": 1}})),
        resource("data.a.x", "a", json!({"actions": ["read"], "before": null, "after": {}})),
    ]));
    assert!(plan.is_empty());
    assert!(plan.counts().is_empty());
}

#[test]
fn a_move_is_counted_though_it_does_nothing() {
    let mut moved = resource("a.new", "a", json!({"actions": ["no-op"], "before": {}, "after": {}}));
    moved["previous_address"] = json!("a.old");
    let plan = parse(json!([moved]));
    assert_eq!(plan.counts(), Counts { r#move: 1, ..Counts::default() });
    assert!(!plan.is_empty());
}

#[test]
fn an_import_is_counted_beside_what_it_changes() {
    let plan = parse(json!([resource(
        "a.x",
        "a",
        json!({"actions": ["update"], "before": {"p": 1}, "after": {"p": 2}, "importing": {"id": "i-1"}}),
    )]));
    assert_eq!(plan.counts(), Counts { update: 1, import: 1, ..Counts::default() });
}

#[test]
fn drift_is_told_apart_from_changes() {
    let document = json!({
        "format_version": "1.2",
        "resource_drift": [resource("a.x", "a", json!({"actions": ["update"], "before": {"p": 1}, "after": {"p": 2}}))],
    });
    let plan = Plan::parse(document.to_string().as_bytes()).unwrap();
    assert!(plan.is_empty());
    assert_eq!(plan.counts().drift, 1);
    assert_eq!(plan.drift[0].differences[0].after, Value::Known(json!(2)));
    assert!(!plan.is_applicable);
}

#[test]
fn a_leftover_of_an_interrupted_replacement_is_named_as_one() {
    let mut deposed = resource("a.x", "a", json!({"actions": ["delete"], "before": {}, "after": null}));
    deposed["deposed"] = json!("0123abcd");
    assert_eq!(parse(json!([deposed])).changes[0].address, "a.x (deposed 0123abcd)");
}

#[test]
fn outputs_alone_are_a_change() {
    let document = json!({
        "format_version": "1.2",
        "output_changes": {
            "rtc": {"actions": ["create"], "before": null, "after": {"password": "secret"}},
            "same": {"actions": ["no-op"]},
        },
    });
    let plan = Plan::parse(document.to_string().as_bytes()).unwrap();
    assert_eq!(plan.outputs, [OutputChange { name: "rtc".to_owned(), action: Action::Create }]);
    assert!(!plan.is_empty() && plan.is_applicable);
    assert!(!format!("{plan:?}").contains("secret"));
}

#[test]
fn what_is_not_understood_is_refused_whole() {
    let unknown = json!({
        "format_version": "1.9",
        "resource_changes": [resource("a.x", "a", json!({"actions": ["ponder"]}))],
    });
    for (text, words) in [
        (unknown.to_string(), "the plan does [\"ponder\"] to a.x, which is not understood"),
        (
            json!({"format_version": "2.0"}).to_string(),
            "the plan has format \"2.0\", and formats 1.x are understood",
        ),
        (
            json!({"format_version": "1.2", "errored": true}).to_string(),
            "terraform says that the plan failed half-way",
        ),
    ] {
        assert_eq!(Plan::parse(text.as_bytes()).unwrap_err().to_string(), words);
    }
    for text in ["", "Error: no plan", "{}", "[]"] {
        assert!(matches!(Plan::parse(text.as_bytes()), Err(Unreadable::Shape(_))), "{text}");
    }
}

#[test]
fn drift_that_a_plan_does_not_rest_on_is_forgotten() {
    let drifted = |address: &str, attribute: &str| {
        let change = json!({"actions": ["update"], "before": {attribute: "a"}, "after": {attribute: "b"}});
        resource(address, "aws_thing", change)
    };
    let document = json!({
        "format_version": "1.2",
        "resource_drift": [
            drifted("module.m[\"k.x\"].aws_thing.used[0]", "name"),
            drifted("module.m[\"k.x\"].aws_thing.used[1]", "policy"),
            drifted("aws_thing.other", "name"),
            drifted("aws_thing.whole", "size"),
        ],
        "relevant_attributes": [
            {"resource": "module.m.aws_thing.used", "attribute": ["name"]},
            {"resource": "aws_thing.whole", "attribute": []},
        ],
    });
    let mut plan = Plan::parse(document.to_string().as_bytes()).unwrap();
    assert_eq!(plan.drift.len(), 4);
    plan.forget_idle_drift();
    let left: Vec<&str> = plan.drift.iter().map(|change| change.address.as_str()).collect();
    assert_eq!(left, ["module.m[\"k.x\"].aws_thing.used[0]", "aws_thing.whole"]);
}

#[test]
fn what_is_only_written_in_another_way_has_not_drifted() {
    let change = json!({"actions": ["update"], "before": {"tags": null}, "after": {"tags": {}}});
    let document =
        json!({"format_version": "1.2", "resource_drift": [resource("aws_vpc.a", "aws_vpc", change)]});
    assert_eq!(Plan::parse(document.to_string().as_bytes()).unwrap().drift, []);
}

#[test]
fn what_changes_by_itself_has_not_drifted() {
    let at = |time: &str, class: &str| json!({"latest_restorable_time": time, "instance_class": class});
    let drifted = |before: Json, after: Json| {
        let change = json!({"actions": ["update"], "before": before, "after": after});
        let document = json!({"format_version": "1.2",
            "resource_drift": [resource("aws_db_instance.a", "aws_db_instance", change)]});
        Plan::parse(document.to_string().as_bytes()).unwrap().drift
    };
    assert_eq!(drifted(at("11:29", "small"), at("11:30", "small")), []);
    let found = drifted(at("11:29", "small"), at("11:30", "large"));
    assert_eq!((found[0].differences.len(), found[0].differences[0].path.as_str()), (1, "instance_class"));
}
