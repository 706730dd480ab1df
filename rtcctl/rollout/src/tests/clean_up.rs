//! What is saved before a rollback, and what is masked in it.

use std::collections::BTreeSet;

use serde_json::json;

use super::*;
use crate::evidence::{Life, MASK, Metric, Request, masked, masked_text, wanted};

fn collected(name: &str) -> Vec<Request> {
    let (played, now) = after(name);
    let verdict = played.verdict(now);
    let metric = Metric { name: "errors".to_owned(), query: "sum(rate(http_errors_total[5m]))".to_owned() };
    wanted(&played.world, &[(played.applied.clone(), verdict)], &[metric], now)
}

#[test]
fn the_previous_log_of_what_crashed_is_asked_for() {
    let requests = collected("a crash again");
    let logs: Vec<String> = requests
        .iter()
        .filter_map(|request| match request {
            Request::Log { pod, container, life: Life::Previous, .. } => Some(format!("{pod}/{container}")),
            _ => None,
        })
        .collect();
    assert_eq!(logs, ["orders-7d9c5b8f6d-b001x/orders"]);
}

#[test]
fn everything_that_a_rollback_destroys_is_asked_for_the_failing_pod_first() {
    let requests = collected("a crash again");
    let files: Vec<String> = requests.iter().map(Request::file).collect();
    for file in [
        "deployment-orders.json",
        "events-orders.json",
        "pod-orders-7d9c5b8f6d-b001x.json",
        "events-orders-7d9c5b8f6d-b001x.json",
        "log-orders-7d9c5b8f6d-b001x-orders-previous.txt",
        "replicaset-orders-7d9c5b8f6d.json",
        "replicaset-orders-6b8f9c7d55.json",
        "node-ip-10-0-1-17.ap-northeast-2.compute.internal.json",
        "metric-errors.json",
    ] {
        assert!(files.iter().any(|known| known == file), "{file} not in {files:#?}");
    }
    assert_eq!(files[2], "pod-orders-7d9c5b8f6d-b001x.json");
    assert_eq!(files.iter().collect::<BTreeSet<_>>().len(), files.len(), "two requests with one file");
}

#[test]
fn metrics_are_asked_for_from_before_the_rollout() {
    let requests = collected("a crash again");
    let Some(Request::Metric { from, until, .. }) = requests.last() else {
        unreachable!("a metric at the end")
    };
    assert_eq!((*from, *until), (at(-900), at(9)));
}

#[test]
fn values_with_the_names_of_secrets_are_masked() {
    let mut document = json!({
        "kind": "Pod",
        "metadata": {
            "managedFields": [{"manager": "x"}],
            "annotations": {
                "kubectl.kubernetes.io/last-applied-configuration": "{\"env\":[{\"name\":\"DB_PASSWORD\",\"value\":\"hunter2\"}]}",
                "example.com/api-token": "abc", "note": "kept",
            },
        },
        "spec": {
            "containers": [{
                "name": "orders",
                "env": [
                    {"name": "DB_PASSWORD", "value": "hunter2"},
                    {"name": "DATABASE_DSN", "value": "x"},
                    {"name": "DB_URL", "value": "mysql://orders:hunter2@db:3306/orders"},
                    {"name": "LOG", "value": "info"},
                    {"name": "JWT_SIGNING_KEY", "valueFrom": {"secretKeyRef": {"name": "orders", "key": "jwt"}}},
                ],
                "args": ["serve", "--admin-token", "abc", "--api-key=def", "--port=8080", "--token-file", "--verbose"],
            }],
            "volumes": [{"name": "token", "secret": {"secretName": "orders-tls"}}],
        },
        "status": {"containerStatuses": [{"lastState": {"terminated": {"message": "cannot connect: password=hunter2 refused"}}}]},
    });
    masked(&mut document);
    let text = document.to_string();
    for secret in ["hunter2", "\"abc\"", "def", "managedFields", "last-applied"] {
        assert!(!text.contains(secret), "{secret} in {text}");
    }
    let container = &document["spec"]["containers"][0];
    assert_eq!(container["env"][3]["value"], "info");
    assert_eq!(container["env"][2]["value"], "mysql://orders:***@db:3306/orders");
    assert_eq!(container["env"][4]["valueFrom"]["secretKeyRef"]["key"], "jwt", "a reference is no secret");
    assert_eq!(
        container["args"],
        json!(["serve", "--admin-token", MASK, "--api-key=***", "--port=8080", "--token-file", "--verbose"])
    );
    assert_eq!(document["spec"]["volumes"][0]["secret"]["secretName"], "orders-tls");
    assert_eq!(document["metadata"]["annotations"]["note"], "kept");
    let once = document.clone();
    masked(&mut document);
    assert_eq!(document, once);
}

#[test]
fn a_list_of_secrets_keeps_its_names_and_loses_its_contents() {
    let mut list = json!({"kind": "List", "items": [{"kind": "Secret", "metadata": {"name": "tls"}, "data": {"tls.key": "c2VjcmV0"}, "stringData": {"a": "b"}}]});
    masked(&mut list);
    assert_eq!(
        list["items"][0],
        json!({"kind": "Secret", "metadata": {"name": "tls"}, "data": {"tls.key": MASK}, "stringData": {"a": MASK}})
    );
}

#[test]
fn secrets_in_logs_are_masked_and_the_rest_stays_as_it_was() {
    for (text, expected) in [
        ("listening on :8080\n", "listening on :8080\n"),
        ("POST /login password=hunter2 user=kim\n", "POST /login password=*** user=kim\n"),
        ("Authorization: Bearer abc.def.ghi\nnext", "Authorization: Bearer ***\nnext"),
        ("db postgres://rtc:pw@db/x  ok", "db postgres://rtc:***@db/x  ok"),
        ("token: abc\nother: kept", "token: ***\nother: kept"),
        ("secret=", "secret="),
    ] {
        assert_eq!(masked_text(text), expected);
        assert_eq!(masked_text(expected), expected, "again");
    }
}
