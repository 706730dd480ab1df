//! Status, diagnosis and logs, over HTTP against a cluster that is played.

use std::net::SocketAddr;

use kubernetes::testing::behaviour::Behaviour;
use kubernetes::testing::{Api, What};
use kubernetes::write::Apply;
use serde_json::{Value, json};

use crate::commands::testing::Typed;

/// A cluster with two nodes and the namespace `rtc`, and a folder whose kubeconfig leads there.
async fn cluster() -> (Api, Typed, SocketAddr) {
    let api = Api::new();
    api.node("n1", 50, 4, 8);
    api.node("n2", 50, 4, 8);
    api.namespace("rtc");
    let address = api.serve().await.unwrap();
    let mut typed = Typed::alone();
    Api::write_kubeconfig(&typed.path("kubeconfig"), address, "tester").unwrap();
    let path = typed.path("kubeconfig").display().to_string();
    typed.set("RTCCTL_KUBECONFIG", &path);
    typed.set("RTCCTL_CONTEXT", "test");
    (api, typed, address)
}

async fn deploy(api: &Api, name: &str, image: &str, replicas: u32, level: &str) {
    let object = json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": { "name": name, "namespace": "rtc", "labels": { "app.kubernetes.io/part-of": "rtc" } },
        "spec": {
            "replicas": replicas,
            "selector": { "matchLabels": { "app": name } },
            "strategy": { "rollingUpdate": { "maxSurge": 1, "maxUnavailable": 0 } },
            "template": {
                "metadata": { "labels": { "app": name } },
                "spec": { "containers": [{
                    "name": name, "image": image,
                    "resources": { "requests": { "cpu": "250m", "memory": "128Mi" } },
                    "env": [
                        { "name": "LOG", "value": level },
                        { "name": "DB_PASSWORD", "value": format!("hunter-{level}") },
                    ],
                }]},
            },
        },
    });
    api.cluster().apply(&object, &Apply::default()).await.unwrap();
}

fn mark(rows: &Value, name: &str) -> String {
    let found = rows.as_array().unwrap().iter().find(|row| row["name"] == name);
    found.unwrap_or_else(|| panic!("no {name} in {rows:#}"))["mark"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn the_status_says_what_is_well_and_what_is_not() {
    let (api, typed, _) = cluster().await;
    api.behave("orders", Behaviour::ImageMissing);
    deploy(&api, "users", "example.com/users:1", 2, "info").await;
    deploy(&api, "orders", "example.com/orders:1", 2, "info").await;
    api.settle(20);
    let came = typed.run(&["deploy", "status", "-o", "json"]).await;
    assert_eq!(came.exit, 0, "{}", came.stderr);
    let document = came.json();
    assert_eq!(
        (document["status"].as_str(), document["schema"].as_str()),
        (Some("failing"), Some("rtcctl/deploy/status/v1"))
    );
    let rows = &document["data"]["rows"];
    assert_eq!((mark(rows, "users").as_str(), mark(rows, "orders").as_str()), ("well", "failing"));
    // What fails comes first.
    assert_eq!(rows[0]["name"], "orders");

    let came = typed.run(&["deploy", "status", "--exit-code"]).await;
    assert_eq!(came.exit, 23, "{}", came.stderr);
    assert!(came.stdout.contains("✗ orders") && came.stdout.contains("ROL001"), "{}", came.stdout);
    assert!(came.stdout.lines().all(|line| line.chars().count() <= 80), "{}", came.stdout);
    let came = typed.run(&["deploy", "status", "users", "--exit-code"]).await;
    assert_eq!((came.exit, came.stdout.contains("orders")), (0, false), "{}", came.stdout);
}

#[tokio::test]
async fn a_workload_that_is_not_there_is_said_with_one_that_is() {
    let (api, typed, _) = cluster().await;
    deploy(&api, "orders", "example.com/orders:1", 1, "info").await;
    let came = typed.run(&["deploy", "status", "order", "-o", "json"]).await;
    let error = came.error();
    assert_eq!((came.exit, error["code"].as_str()), (5, Some("KUB014")));
    assert!(error["hints"].to_string().contains("did you mean orders?"), "{error}");
    let came = typed.run(&["deploy", "status", "-n", "nowhere", "-o", "json"]).await;
    assert_eq!((came.exit, came.error()["code"].as_str()), (5, Some("KUB014")));
}

#[tokio::test]
async fn the_way_to_the_cluster_is_explained_where_it_fails() {
    let (api, mut typed, _) = cluster().await;
    api.accept(&["another"]);
    let came = typed.run(&["deploy", "status", "-o", "json"]).await;
    assert_eq!((came.exit, came.error()["code"].as_str()), (4, Some("KUB002")));
    assert!(!came.stderr.contains("tester"), "{}", came.stderr);
    api.accept(&[]);
    api.forbid("list", "deployments");
    let came = typed.run(&["deploy", "status", "-o", "json"]).await;
    assert_eq!((came.exit, came.error()["code"].as_str()), (4, Some("KUB003")));
    assert!(came.stderr.contains("list deployments.apps"), "{}", came.stderr);
    api.fault("GET", "", What::Page(200, "<html>Sign in</html>".to_owned()), 99);
    let came = typed.run(&["deploy", "status", "-o", "json"]).await;
    assert_eq!((came.exit, came.error()["code"].as_str()), (3, Some("KUB012")));
    let came = typed.run(&["deploy", "status", "--context", "none", "-o", "json"]).await;
    assert_eq!((came.exit, came.error()["code"].as_str()), (3, Some("KUB001")));
    typed.set("RTCCTL_KUBECONFIG", "/nowhere/kubeconfig");
    let came = typed.run(&["deploy", "status", "-o", "json"]).await;
    assert_eq!((came.exit, came.error()["code"].as_str()), (3, Some("KUB001")));
}

#[tokio::test]
async fn what_may_not_be_looked_at_is_said_and_hides_nothing() {
    let (api, typed, _) = cluster().await;
    deploy(&api, "orders", "example.com/orders:1", 1, "info").await;
    api.settle(20);
    api.forbid("list", "nodes");
    let came = typed.run(&["deploy", "status", "-o", "json"]).await;
    let document = came.json();
    assert_eq!((came.exit, document["findings"][0]["code"].as_str()), (0, Some("KUB015")));
    assert_eq!(mark(&document["data"]["rows"], "orders"), "well");
}

#[tokio::test]
async fn watching_says_a_line_for_every_change_until_it_is_stopped() {
    let (api, typed, _) = cluster().await;
    deploy(&api, "orders", "example.com/orders:1", 1, "info").await;
    api.settle(20);
    let change = api.clone();
    let began = std::cell::Cell::new(false);
    let came = typed
        .run_until_said(&["deploy", "status", "--watch"], |said| {
            if said.contains("well deployment/orders 1/1") && !began.replace(true) {
                change.autoscale("rtc", "orders", 2);
                change.settle(20);
            }
            said.contains("well deployment/orders 2/2")
        })
        .await;
    assert_eq!(came.exit, 130, "{}", came.stderr);
}

#[tokio::test]
async fn an_image_that_cannot_be_pulled_is_asked_for_at_the_registry() {
    let registry = oci::testing::Server::start(oci::testing::Rules {
        repositories: vec!["rtc/orders".to_owned()],
        ..Default::default()
    })
    .await;
    let (api, typed, _) = cluster().await;
    api.behave("orders", Behaviour::ImageMissing);
    deploy(&api, "orders", &format!("{}/rtc/orders:9", registry.host()), 3, "info").await;
    api.settle(10);
    let came = typed.run(&["deploy", "diagnose", "-o", "json"]).await;
    assert_eq!(came.exit, 0, "{}", came.stderr);
    let troubles = came.json()["data"]["troubles"].clone();
    assert_eq!((troubles.as_array().unwrap().len(), troubles[0]["code"].as_str()), (1, Some("ROL001")));
    assert_eq!(troubles[0]["about"].as_array().unwrap().len(), 3);
    assert!(troubles[0]["seen"].to_string().contains("rtc/orders, and no 9 in it"), "{troubles:#}");
    let came = typed.run(&["deploy", "diagnose", "--exit-code"]).await;
    assert_eq!(came.exit, 23);
    assert!(came.stdout.contains("and no 9 in it"), "{}", came.stdout);
}

#[tokio::test]
async fn a_crash_is_told_with_its_last_words_and_what_changed() {
    let (api, typed, _) = cluster().await;
    let log = vec!["connecting".to_owned(), "panicked: password=hunter2 refused".to_owned()];
    api.behave("orders:2", Behaviour::Crash { exit_code: 101, log });
    deploy(&api, "orders", "example.com/orders:1", 1, "info").await;
    api.settle(20);
    deploy(&api, "orders", "example.com/orders:2", 1, "debug").await;
    (0..9).for_each(|_| api.turn());
    let came = typed.run(&["deploy", "diagnose"]).await;
    for part in [
        "ROL010",
        "exit code 101",
        "| connecting",
        "since revision 1, which runs, revision 2 changed",
        "image: example.com/orders:1 → example.com/orders:2",
        "env[LOG].value: info → debug",
        "1 values that are not shown",
    ] {
        assert!(came.stdout.contains(part), "{part} in {}", came.stdout);
    }
    assert!(!came.stdout.contains("hunter"), "{}", came.stdout);
}

#[tokio::test]
async fn a_pod_without_a_place_is_told_with_what_the_nodes_have() {
    let (api, typed, _) = cluster().await;
    api.behave("orders", Behaviour::Unschedulable { node_coming: false });
    deploy(&api, "orders", "example.com/orders:1", 1, "info").await;
    api.settle(5);
    let came = typed.run(&["deploy", "diagnose"]).await;
    assert!(came.stdout.contains("ROL020"), "{}", came.stdout);
    assert!(came.stdout.contains("the pod asks for 250m CPU and 134 MB of memory"), "{}", came.stdout);
    assert!(came.stdout.contains("node n1 has 4000m CPU"), "{}", came.stdout);
}

#[tokio::test]
async fn a_missing_configuration_is_told_with_one_of_nearly_that_name() {
    let (api, typed, _) = cluster().await;
    api.given(&json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "orders-settings", "namespace": "rtc" },
    }));
    api.behave("orders", Behaviour::ConfigMissing { name: "orders-setting".to_owned() });
    deploy(&api, "orders", "example.com/orders:1", 1, "info").await;
    api.settle(5);
    let came = typed.run(&["deploy", "diagnose"]).await;
    assert!(came.stdout.contains("but it has orders-settings"), "{}", came.stdout);
}

#[tokio::test]
async fn nothing_wrong_is_said_so() {
    let (api, typed, _) = cluster().await;
    deploy(&api, "orders", "example.com/orders:1", 1, "info").await;
    api.settle(20);
    let came = typed.run(&["deploy", "diagnose", "--exit-code"]).await;
    assert_eq!(
        (came.exit, came.stdout.contains("nothing is wrong with 1 workloads")),
        (0, true),
        "{}",
        came.stdout
    );
}

#[tokio::test]
async fn the_logs_of_what_fails_come_first() {
    let (api, typed, _) = cluster().await;
    let log = vec!["one".to_owned(), "two \u{1b}[2J".to_owned()];
    api.behave("orders", Behaviour::Crash { exit_code: 1, log });
    deploy(&api, "accounts", "example.com/accounts:1", 1, "info").await;
    deploy(&api, "orders", "example.com/orders:1", 1, "info").await;
    (0..9).for_each(|_| api.turn());
    let came = typed.run(&["deploy", "logs"]).await;
    assert_eq!(came.exit, 0, "{}", came.stderr);
    let lines: Vec<&str> = came.stdout.lines().collect();
    assert!(lines[0].starts_with("✗ orders-") && lines[0].ends_with("/orders one"), "{lines:?}");
    assert_eq!(lines[1].rsplit_once("/orders ").unwrap().1, "two ");
    assert!(lines[2].starts_with("accounts-") && lines[2].ends_with("accounts is starting"), "{lines:?}");

    let came = typed.run(&["deploy", "logs", "--previous", "--tail", "1", "-o", "json"]).await;
    let line: Value = serde_json::from_str(came.stdout.lines().next().unwrap()).unwrap();
    assert_eq!((line["failing"].as_bool(), line["container"].as_str()), (Some(true), Some("orders")));
    assert_eq!(came.stdout.lines().count(), 1);
    let came = typed.run(&["deploy", "logs", "accounts", "--previous", "-o", "json"]).await;
    assert_eq!((came.exit, came.error()["code"].as_str()), (5, Some("KUB016")));
}

#[tokio::test]
async fn logs_are_followed_over_pods_that_come() {
    let (api, typed, _) = cluster().await;
    deploy(&api, "orders", "example.com/orders:1", 1, "info").await;
    api.settle(20);
    let say = api.clone();
    let step = std::cell::Cell::new(0);
    let came = typed
        .run_until_said(&["deploy", "logs", "-f"], |said| {
            if said.contains("orders is starting") && step.get() == 0 {
                say.autoscale("rtc", "orders", 2);
                say.settle(20);
                step.set(1);
            }
            if said.matches("orders is starting").count() == 2 && step.get() == 1 {
                for pod in say.objects("Pod", "rtc") {
                    let name = pod["metadata"]["name"].as_str().unwrap();
                    say.say("rtc", name, "orders", &format!("hello from {name}"));
                }
                step.set(2);
            }
            said.matches("hello from").count() == 2
        })
        .await;
    assert_eq!(came.exit, 130, "{}", came.stderr);
}
