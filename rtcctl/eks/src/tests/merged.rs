//! An entry among others in a kubeconfig.

use proptest::prelude::*;
use serde_json::{Value, json};

use crate::Endpoint;
use crate::kubeconfig::{EXEC_API, Entry, Refused, Selection, has_context};
use crate::testing::ca_pem;

fn endpoint() -> Endpoint {
    Endpoint {
        name: "rtc-dev".to_owned(),
        arn: "arn:aws:eks:ap-northeast-2:123456789012:cluster/rtc-dev".to_owned(),
        region: "ap-northeast-2".to_owned(),
        url: "https://example.eks.amazonaws.com".to_owned(),
        ca_pem: ca_pem().to_owned(),
        version: "1.33".to_owned(),
        status: "ACTIVE".to_owned(),
    }
}

fn entry(endpoint: &Endpoint) -> Entry<'_> {
    Entry { endpoint, context: "rtc-dev", command: "rtcctl", profile: None, selection: Selection::Kept }
}

/// What somebody works with already, with what a kubeconfig may have beside the ordinary.
fn others() -> Value {
    json!({
        "kind": "Config",
        "apiVersion": "v1",
        "preferences": {"colors": true},
        "clusters": [{"name": "home", "cluster": {"server": "https://10.0.0.1:6443", "insecure-skip-tls-verify": true}}],
        "users": [
            {"name": "me", "user": {"client-certificate-data": "YQ==", "client-key-data": "Yg=="}},
            {"name": "cloud", "user": {"exec": {"apiVersion": "client.authentication.k8s.io/v1beta1", "command": "aws", "args": ["eks"]}}},
        ],
        "contexts": [{"name": "home", "context": {"cluster": "home", "user": "me", "namespace": "x", "extensions": [{"name": "e"}]}}],
        "current-context": "home",
        "extensions": [{"name": "minikube", "extension": {"version": "1"}}],
    })
}

#[test]
fn an_entry_runs_this_program_for_a_token() {
    let endpoint = endpoint();
    let alone = Entry { profile: Some("dev"), ..entry(&endpoint) }.alone();
    let exec = &alone["users"][0]["user"]["exec"];
    assert_eq!(
        (exec["apiVersion"].as_str(), exec["interactiveMode"].as_str(), exec["provideClusterInfo"].as_bool()),
        (Some(EXEC_API), Some("Never"), Some(false))
    );
    assert_eq!(
        exec["args"],
        json!([
            "cluster",
            "token",
            "--cluster",
            "rtc-dev",
            "--region",
            "ap-northeast-2",
            "--aws-profile",
            "dev"
        ])
    );
    assert_eq!(alone["contexts"][0]["context"]["user"], alone["users"][0]["name"]);
    assert_eq!(alone["current-context"], "rtc-dev");
    assert_eq!(
        Entry { profile: Some("dev"), ..entry(&endpoint) }.merged(None).unwrap().value["users"],
        alone["users"]
    );
}

#[test]
fn what_others_have_stays_as_it_is() {
    let endpoint = endpoint();
    let merged = entry(&endpoint).merged(Some(others())).unwrap();
    let (before, after) = (others(), merged.value);
    for list in ["clusters", "users", "contexts"] {
        let (before, after) = (before[list].as_array().unwrap(), after[list].as_array().unwrap());
        assert_eq!(&after[..before.len()], before.as_slice(), "{list}");
        assert_eq!(after.len(), before.len() + 1, "{list}");
    }
    for key in ["preferences", "extensions", "current-context"] {
        assert_eq!(before[key], after[key], "{key}");
    }
    assert_eq!(merged.changes.len(), 3);
    assert!(
        has_context(&after, "rtc-dev") && has_context(&after, "home") && !has_context(&before, "rtc-dev")
    );
}

#[test]
fn the_same_entry_again_changes_nothing() {
    let endpoint = endpoint();
    let once = entry(&endpoint).merged(Some(others())).unwrap().value;
    let twice = entry(&endpoint).merged(Some(once.clone())).unwrap();
    assert_eq!((twice.value, twice.changes), (once, Vec::<String>::new()));
}

#[test]
fn what_has_changed_is_changed_and_what_somebody_added_stays() {
    let old = endpoint();
    let mut file = entry(&old).merged(Some(others())).unwrap().value;
    file["clusters"][1]["cluster"]["proxy-url"] = "http://proxy:3128".into();
    file["contexts"][1]["context"]["namespace"] = "rtc".into();
    file["users"][2]["user"]["exec"]["env"] = json!([{"name": "AWS_CA_BUNDLE", "value": "/ca.pem"}]);
    let new = Endpoint { url: "https://other.eks.amazonaws.com".to_owned(), ..endpoint() };
    let wanted = Entry { profile: Some("dev"), selection: Selection::Taken, ..entry(&new) };
    let merged = wanted.merged(Some(file)).unwrap();
    assert_eq!(
        merged.changes,
        ["server of the cluster", "exec of the user", "current context rtc-dev (was home)"]
    );
    let file = merged.value;
    assert_eq!(file["clusters"][1]["cluster"]["proxy-url"], "http://proxy:3128");
    assert_eq!(file["contexts"][1]["context"]["namespace"], "rtc");
    assert_eq!(file["users"][2]["user"]["exec"]["env"][0]["name"], "AWS_CA_BUNDLE");
    assert_eq!(file["users"][2]["user"]["exec"]["args"].as_array().unwrap().len(), 8);
}

#[test]
fn a_context_of_somebody_else_is_not_taken_over() {
    let endpoint = endpoint();
    let wanted = Entry { context: "home", ..entry(&endpoint) };
    let refused = wanted.merged(Some(others())).unwrap_err();
    assert_eq!(
        refused,
        Refused::Taken { context: "home".to_owned(), cluster: "home".to_owned(), user: "me".to_owned() }
    );
}

#[test]
fn what_is_no_kubeconfig_is_left_alone() {
    let endpoint = endpoint();
    for file in [
        json!([]),
        json!("text"),
        json!({"kind": "Pod"}),
        json!({"clusters": "x"}),
        json!({"users": ["x"]}),
        json!({"contexts": {"name": "x"}}),
    ] {
        let refused = entry(&endpoint).merged(Some(file.clone())).unwrap_err();
        assert!(matches!(refused, Refused::NotOne(_)), "{file}: {refused}");
    }
    // What kubectl itself leaves behind is one.
    for file in [json!({}), json!({"clusters": null, "users": null, "contexts": null, "current-context": ""})]
    {
        let merged = entry(&endpoint).merged(Some(file)).unwrap();
        assert_eq!(merged.value["current-context"], "rtc-dev");
    }
}

fn named(body: &'static str) -> impl Strategy<Value = Value> {
    ("[a-z]{1,8}", "[a-z0-9:/.]{0,12}")
        .prop_map(move |(name, text)| json!({"name": name, body: {"server": text}}))
}

proptest! {
    #[test]
    fn nothing_is_ever_lost_or_moved(
        clusters in prop::collection::vec(named("cluster"), 0..5),
        users in prop::collection::vec(named("user"), 0..5),
        contexts in prop::collection::vec(named("context"), 0..5),
        current in "[a-z]{0,8}",
    ) {
        let before = json!({"clusters": clusters, "users": users, "contexts": contexts, "current-context": current, "x": 1});
        let endpoint = endpoint();
        let merged = entry(&endpoint).merged(Some(before.clone())).unwrap().value;
        for list in ["clusters", "users", "contexts"] {
            let (before, after) = (before[list].as_array().unwrap(), merged[list].as_array().unwrap());
            prop_assert_eq!(&after[..before.len()], before.as_slice());
        }
        prop_assert_eq!(&merged["x"], &before["x"]);
        let again = entry(&endpoint).merged(Some(merged.clone())).unwrap();
        prop_assert_eq!(again.value, merged);
        prop_assert!(again.changes.is_empty());
    }
}
