//! `restart` and `status` against a made-up platform of several processes.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde_json::{Value, json};

use crate::commands::testing::Typed;
use crate::signals::Signal;

fn process(service: &str, replica: u32, state: &str) -> Value {
    let pid = if state == "down" { Value::Null } else { json!(1_000 + replica) };
    json!({
        "service": service, "replica": replica, "pid": pid, "state": state, "restarts": 1,
        "api_url": format!("http://127.0.0.1:910{replica}"), "admin_url": format!("http://127.0.0.1:920{replica}"),
        "resident_bytes": 40_000_000, "log": format!("data/split/{service}-{replica}/rtcd.log"),
    })
}

fn status(processes: &[Value]) -> Value {
    let mut status = json!({
        "version": "0.1.0", "pid": 4711, "profile": "embedded", "uptime_s": 60, "api_url": "http://127.0.0.1:8080",
        "services": [
            {"name": "orders", "state": "degraded", "outbox_depth": 0, "dead_letters": 0, "database_bytes": 0},
        ],
        "orders": {"by_state": {}}, "resident_bytes": 0,
    });
    if !processes.is_empty() {
        status["processes"] = json!(processes);
    }
    status
}

/// What was asked for, and what happens at each restart.
struct Split {
    asked: Mutex<Vec<Value>>,
    at_restart: Box<dyn Fn(usize) -> Response + Send + Sync>,
}

fn well(_: usize) -> Response {
    let restarted = json!({"service": "orders", "replica": 1, "old_pid": 5, "pid": 6, "took_ms": 1_200});
    json!({"data": [restarted]}).to_string().into_response()
}

fn platform(
    processes: &[Value],
    at_restart: impl Fn(usize) -> Response + Send + Sync + 'static,
) -> (Arc<Split>, Router) {
    let split = Arc::new(Split { asked: Mutex::default(), at_restart: Box::new(at_restart) });
    let (status, seen) = (status(processes).to_string(), split.clone());
    let app = Router::new().route("/admin/status", get(move || async move { status })).route(
        "/admin/split/restart",
        post(move |body: String| async move {
            let count = {
                let mut asked = seen.asked.lock().unwrap();
                asked.push(serde_json::from_str(&body).unwrap());
                asked.len()
            };
            (seen.at_restart)(count)
        }),
    );
    (split, app)
}

fn six() -> Vec<Value> {
    ["orders", "users", "gateway"]
        .iter()
        .flat_map(|service| [process(service, 1, "ready"), process(service, 2, "ready")])
        .collect()
}

#[tokio::test]
async fn every_process_is_restarted_in_turn_the_entrance_last() {
    let (split, app) = platform(&six(), well);
    let came = Typed::against(app).await.run(&["restart"]).await;
    assert_eq!(came.exit, 0, "{}", came.stderr);
    let names = |value: &Value| format!("{}-{}", value["service"].as_str().unwrap(), value["replica"]);
    let asked: Vec<String> = split.asked.lock().unwrap().iter().map(names).collect();
    assert_eq!(asked, ["orders-1", "orders-2", "users-1", "users-2", "gateway-1", "gateway-2"]);
    assert!(came.stdout.contains("orders         1            5        6"), "{}", came.stdout);
}

#[tokio::test]
async fn a_service_or_a_replica_can_be_named() {
    let (split, app) = platform(&six(), well);
    let typed = Typed::against(app).await;
    let came = typed.run(&["restart", "users", "--replica", "2", "-o", "json"]).await;
    assert_eq!(came.json()["data"]["restarted"][0]["pid"], 6);
    assert_eq!(*split.asked.lock().unwrap(), [json!({"service": "users", "replica": 2})]);
    let came = typed.run(&["restart", "gateway", "--dry-run", "-o", "name"]).await;
    assert_eq!((came.exit, came.stdout.as_str()), (0, "gateway-1\ngateway-2\n"));
    for words in [&["restart", "shipping"][..], &["restart", "users", "--replica", "3"]] {
        let came = typed.run(words).await;
        assert_eq!(came.exit, 5, "{}", came.stderr);
        assert!(came.stderr.contains("RUN017"), "{}", came.stderr);
    }
    assert_eq!(split.asked.lock().unwrap().len(), 1, "nothing else was touched");
}

#[tokio::test]
async fn a_platform_in_one_process_is_not_restarted() {
    let (split, app) = platform(&[], well);
    let came = Typed::against(app).await.run(&["restart"]).await;
    assert_eq!(came.exit, 8);
    assert!(came.stderr.contains("RUN016") && came.stderr.contains("rtcctl up --split"), "{}", came.stderr);
    assert!(split.asked.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_process_that_does_not_come_back_ends_the_restart_there() {
    let (split, app) = platform(&six(), |count| {
        if count < 2 {
            return well(count);
        }
        let problem =
            json!({"status": 503, "code": "not_ready_again", "detail": "orders-2 is not ready again"});
        (StatusCode::SERVICE_UNAVAILABLE, problem.to_string()).into_response()
    });
    let came = Typed::against(app).await.run(&["restart"]).await;
    assert_eq!(came.exit, 9, "{}", came.stderr);
    assert!(came.stderr.contains("orders-2 is not ready again"), "{}", came.stderr);
    assert_eq!(split.asked.lock().unwrap().len(), 2);
}

#[tokio::test]
async fn ctrl_c_ends_it_between_two_processes_and_names_the_rest() {
    let (asked, mut first) = tokio::sync::mpsc::unbounded_channel();
    let (split, app) = platform(&six(), move |count| {
        let _ = asked.send(());
        well(count)
    });
    let signal = async {
        first.recv().await;
        Signal::Interrupt
    };
    let came = Typed::against(app).await.run_until(&["restart"], signal).await;
    assert_eq!(came.exit, 130, "{}", came.stderr);
    let done = split.asked.lock().unwrap().len();
    assert!((1..6).contains(&done), "{done}");
    assert!(came.stderr.contains("not restarted: ") && came.stderr.contains("gateway-2"), "{}", came.stderr);
}

#[tokio::test]
async fn status_has_a_row_a_process_and_says_which_is_not_well() {
    let processes =
        [process("orders", 1, "ready"), process("orders", 2, "down"), process("gateway", 1, "ready")];
    let (_, app) = platform(&processes, well);
    let typed = Typed::against(app).await;
    let came = typed.run(&["status"]).await;
    let from = came.stdout.find("SERVICE").unwrap();
    insta::assert_snapshot!(format!("{}---\n{}", &came.stdout[from..], came.stderr));
    let document = typed.run(&["status", "-o", "json"]).await.json();
    assert_eq!(document["status"], "degraded");
    assert_eq!(document["findings"][0]["code"], "STA002");
}
