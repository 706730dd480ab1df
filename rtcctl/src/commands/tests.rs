//! The commands that read a running platform, against a made-up one.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::{Path, Query};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde_json::{Value, json};

use super::testing::Typed;

const TOKEN: &str = "s3cret";

fn guarded(headers: &HeaderMap, answer: impl FnOnce() -> Response) -> Response {
    match headers.get("authorization").and_then(|value| value.to_str().ok()) {
        Some("Bearer s3cret") => answer(),
        _ => {
            let problem = json!({
                "type": "https://rtc.dev/problems/unauthenticated", "title": "Unauthenticated", "status": 401,
                "code": "token_invalid", "detail": "the token is not good", "request_id": "req-7",
            });
            (StatusCode::UNAUTHORIZED, problem.to_string()).into_response()
        }
    }
}

fn status_document() -> Value {
    json!({
        "version": "0.1.0", "pid": 4711, "profile": "embedded", "started_at": "2026-01-01T00:00:00Z",
        "uptime_s": 3720, "api_url": "http://127.0.0.1:8080",
        "services": [
            {"name": "orders", "state": "ready", "outbox_depth": 3, "dead_letters": 0, "database_bytes": 4_200_000},
            {"name": "payments", "state": "draining", "outbox_depth": 0, "dead_letters": 2, "database_bytes": 0},
        ],
        "orders": {"by_state": {"confirmed": 12, "rejected": 3}},
        "resident_bytes": 123_456_789,
        "configuration": {"file": "/etc/rtcd.toml", "applied": 1, "waiting": ["bus"], "fault": "log: this is no section"},
    })
}

fn invariants(violated: bool) -> Value {
    json!({"data": [
        {"id": "I1", "title": "no oversell", "holds": true, "checked": 28, "violations": []},
        {"id": "I5", "title": "money is conserved", "holds": !violated, "checked": 40,
         "violations": if violated { vec!["KRW: debits exceed credits by 100"] } else { vec![] }},
    ]})
}

fn message(offset: u64, kind: &str, key: &str) -> String {
    let envelope = json!({
        "id": format!("evt_{offset}"), "type": kind, "source": "orders", "subject": key, "sequence": offset,
        "time": "2026-01-01T00:00:00.000Z", "data": {"n": offset},
    });
    format!("{}\n", json!({"topic": "orders", "partition": 0, "offset": offset, "envelope": envelope}))
}

/// What the replay was asked.
type Asked = Arc<Mutex<Vec<Value>>>;

fn platform(violated: bool, remaining: u64) -> (Asked, Router) {
    let asked = Asked::default();
    let seen = asked.clone();
    let json = |value: Value| value.to_string().into_response();
    let app = Router::new()
        .route(
            "/admin/status",
            get(move |headers: HeaderMap| async move { guarded(&headers, || json(status_document())) }),
        )
        .route(
            "/admin/invariants",
            get(move |headers: HeaderMap| async move { guarded(&headers, || json(invariants(violated))) }),
        )
        .route(
            "/admin/topics",
            get(move |headers: HeaderMap| async move {
                let topics = json!({"data": [
                    {"name": "rtc.orders", "partitions": 4, "messages": 120, "first_at": null, "last_at": null},
                    {"name": "rtc.payments", "partitions": 4, "messages": 0, "first_at": null, "last_at": null},
                ]});
                guarded(&headers, || json(topics))
            }),
        )
        .route(
            "/admin/topics/{topic}/messages",
            get(
                move |headers: HeaderMap, Path(topic): Path<String>, Query(query): Query<Vec<(String, String)>>| async move {
                    if topic != "rtc.orders" {
                        return (StatusCode::NOT_FOUND, "{}").into_response();
                    }
                    let mut lines = vec![
                        message(1, "rtc.orders.order_placed.v1", "ord_1"),
                        message(2, "rtc.orders.order_confirmed.v1", "ord_1"),
                        message(3, "rtc.orders.order_placed.v1", "ord_2"),
                    ];
                    if let Some((_, limit)) = query.iter().find(|(name, _)| name == "limit") {
                        lines.truncate(limit.parse().unwrap());
                    }
                    guarded(&headers, || lines.concat().into_response())
                },
            ),
        )
        .route(
            "/admin/lag",
            get(move |headers: HeaderMap| async move {
                let lag = json!({"data": [
                    {"group": "payments", "topic": "rtc.orders", "partition": 0, "committed": 7, "end": 9, "lag": 2},
                    {"group": "analytics", "topic": "rtc.orders", "partition": 0, "committed": 9, "end": 9, "lag": 0},
                ]});
                guarded(&headers, || json(lag))
            }),
        )
        .route(
            "/admin/dead-letters",
            get(move |headers: HeaderMap| async move {
                let letters = json!({"data": [{
                    "id": 5, "service": "payments", "consumer": "payments.holds", "topic": "rtc.orders", "partition": 0,
                    "offset": 8, "key": "ord_9", "event_id": "evt_8", "event_type": "rtc.orders.order_placed.v1",
                    "error": "amount is negative", "attempts": 5, "parked_at": "2026-01-01T00:00:00.000Z", "state": "dead",
                }]});
                guarded(&headers, || json(letters))
            }),
        )
        .route(
            "/admin/dead-letters/replay",
            post(move |headers: HeaderMap, body: String| async move {
                seen.lock().unwrap().push(serde_json::from_str(&body).unwrap());
                guarded(&headers, || json(json!({"replayed": 1, "remaining": remaining})))
            }),
        );
    (asked, app)
}

async fn typed() -> Typed {
    let typed = Typed::against(platform(false, 0).1).await;
    typed.secret("admin_token", TOKEN);
    typed
}

#[tokio::test]
async fn status_shows_the_services_the_orders_and_what_is_wrong() {
    let typed = typed().await;
    let came = typed.run(&["status"]).await;
    assert_eq!(came.exit, 0, "{}", came.stderr);
    let stdout = came.stdout.replace(&admin_url(&came.stdout), "http://ADMIN");
    insta::assert_snapshot!(format!("{stdout}---\n{}", came.stderr));
    let document = typed.run(&["status", "-o", "json"]).await.json();
    assert_eq!(document["status"], "degraded");
    assert_eq!(document["data"]["platform"], status_document());
    assert_eq!(typed.run(&["status", "-o", "name"]).await.stdout, "orders\npayments\n");
}

fn admin_url(stdout: &str) -> String {
    let line = stdout.lines().find(|line| line.starts_with("admin port")).unwrap();
    line.split_whitespace().last().unwrap().to_owned()
}

#[tokio::test]
async fn invariants_that_hold_end_well() {
    let came = typed().await.run(&["status", "--invariants", "-o", "json"]).await;
    assert_eq!(came.exit, 0);
    assert_eq!(came.json()["data"]["invariants"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn a_violated_invariant_ends_with_thirty_and_names_the_violation() {
    let typed = Typed::against(platform(true, 0).1).await;
    typed.secret("admin_token", TOKEN);
    let came = typed.run(&["status", "--invariants"]).await;
    assert_eq!(came.exit, 30);
    assert!(came.stdout.contains("I5         NO"), "{}", came.stdout);
    assert!(came.stderr.contains("KRW: debits exceed credits by 100"), "{}", came.stderr);
    let document = typed.run(&["status", "--invariants", "-o", "json"]).await.json();
    assert_eq!(
        (&document["status"], &document["findings"][4]["code"]),
        (&json!("breached"), &json!("STA001"))
    );
}

#[tokio::test]
async fn no_invariants_at_all_is_inconclusive() {
    let app = Router::new()
        .route("/admin/status", get(|| async { status_document().to_string() }))
        .route("/admin/invariants", get(|| async { json!({"data": []}).to_string() }));
    assert_eq!(Typed::against(app).await.run(&["status", "--invariants"]).await.exit, 31);
}

#[tokio::test]
async fn a_wrong_token_is_denied_and_the_request_id_is_told() {
    let typed = Typed::against(platform(false, 0).1).await;
    typed.secret("admin_token", "wrong");
    let came = typed.run(&["status", "-o", "json"]).await;
    let error = came.error();
    assert_eq!((came.exit, error["code"].as_str()), (4, Some("API002")));
    assert!(error["hints"][0].as_str().unwrap().contains("req-7"));
    assert!(!came.stderr.contains("wrong"));
}

#[tokio::test]
async fn topics_and_lag_are_tables() {
    let typed = typed().await;
    insta::assert_snapshot!(typed.run(&["events", "topics"]).await.stdout);
    insta::assert_snapshot!(typed.run(&["events", "lag"]).await.stdout);
    assert_eq!(typed.run(&["events", "lag", "--all", "-o", "name"]).await.stdout, "payments\nanalytics\n");
    assert_eq!(typed.run(&["events", "lag", "--group", "nobody"]).await.exit, 5);
}

#[tokio::test]
async fn tail_shows_events_and_filters_by_type_and_key() {
    let typed = typed().await;
    let came = typed.run(&["events", "tail", "rtc.orders"]).await;
    assert_eq!((came.exit, came.stdout.lines().count()), (0, 3), "{}", came.stderr);
    let came = typed.run(&["events", "tail", "rtc.orders", "--type", "order_placed", "-o", "name"]).await;
    assert_eq!(came.stdout, "evt_1\nevt_3\n");
    let came = typed.run(&["events", "tail", "rtc.orders", "--key", "ord_1", "-n", "1", "-o", "json"]).await;
    let messages = came.json()["data"]["messages"].clone();
    assert_eq!(messages.as_array().unwrap().len(), 1);
    assert_eq!(messages[0]["envelope"]["data"], json!({"n": 1}));
    assert_eq!(typed.run(&["events", "tail", "rtc.orders", "-n", "2"]).await.stdout.lines().count(), 2);
}

#[tokio::test]
async fn following_writes_each_message_at_once_as_it_came() {
    let came =
        typed().await.run(&["events", "tail", "rtc.orders", "--follow", "-n", "2", "-o", "json"]).await;
    assert_eq!(came.exit, 0);
    let offsets: Vec<Value> = came
        .stdout
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["offset"].clone())
        .collect();
    assert_eq!(offsets, [1, 2]);
}

#[tokio::test]
async fn a_stream_that_ends_while_it_is_followed_is_told() {
    let came = typed().await.run(&["events", "tail", "rtc.orders", "--follow"]).await;
    assert_eq!((came.exit, came.stdout.lines().count()), (9, 3));
    assert!(came.stderr.contains("EVT002"), "{}", came.stderr);
}

#[tokio::test]
async fn an_unknown_topic_is_told_the_nearest_one() {
    let came = typed().await.run(&["events", "tail", "rtc.ordres"]).await;
    assert_eq!(came.exit, 5);
    assert!(came.stderr.contains("did you mean rtc.orders?"), "{}", came.stderr);
    let came = typed().await.run(&["events", "tail", "payments"]).await;
    assert!(came.stderr.contains("did you mean rtc.payments?"), "{}", came.stderr);
}

#[tokio::test]
async fn dead_letters_are_listed_with_their_error() {
    let typed = typed().await;
    let came = typed.run(&["events", "dlq", "list", "-o", "json"]).await;
    assert_eq!(came.json()["data"][0]["error"], "amount is negative");
    assert_eq!(typed.run(&["events", "dlq", "list", "-o", "name"]).await.stdout, "5\n");
    assert!(typed.run(&["events", "dlq", "list"]).await.stdout.contains("amount is negative"));
}

#[tokio::test]
async fn a_replay_of_everything_needs_a_yes_and_one_by_id_does_not() {
    let (asked, app) = platform(false, 0);
    let typed = Typed::against(app).await;
    typed.secret("admin_token", TOKEN);
    let came = typed.run(&["events", "dlq", "replay"]).await;
    assert_eq!(came.exit, 7);
    assert!(came.stderr.contains("CNF001"), "{}", came.stderr);
    assert!(asked.lock().unwrap().is_empty());
    let came = typed.run(&["events", "dlq", "replay", "--dry-run", "-o", "json"]).await;
    assert_eq!(came.json()["data"]["would_replay"][0]["id"], 5);
    assert!(asked.lock().unwrap().is_empty());
    assert_eq!(typed.run(&["events", "dlq", "replay", "5"]).await.exit, 2, "an id alone names nothing");
    assert_eq!(typed.run(&["events", "dlq", "replay", "--yes", "--service", "payments"]).await.exit, 0);
    assert_eq!(typed.run(&["events", "dlq", "replay", "5", "--service", "payments"]).await.exit, 0);
    assert_eq!(
        *asked.lock().unwrap(),
        [json!({"service": "payments"}), json!({"service": "payments", "ids": [5]})]
    );
}

#[tokio::test]
async fn what_is_left_after_a_replay_of_everything_is_a_partial_failure() {
    let typed = Typed::against(platform(false, 2).1).await;
    typed.secret("admin_token", TOKEN);
    let came = typed.run(&["events", "dlq", "replay", "--yes", "-o", "json"]).await;
    assert_eq!((came.exit, came.json()["findings"][0]["code"].as_str()), (40, Some("EVT003")));
}

fn model(stage: &str, passed: u64, trouble: Option<&str>) -> Value {
    json!({
        "service": "orders", "consumer": "orders.products", "topics": ["rtc.catalog"], "stage": stage,
        "requested_at": null, "passed": passed, "places": 200, "can_be_abandoned": true, "trouble": trouble,
    })
}

/// A platform with one read model, whose stages come one after the other; what it was asked for is kept.
fn rebuilding(stages: Vec<Value>) -> (Arc<Mutex<Vec<String>>>, Router) {
    let asked: Arc<Mutex<Vec<String>>> = Arc::default();
    let (begun, called_back) = (asked.clone(), asked.clone());
    let stages = Arc::new(Mutex::new(stages));
    let show = move || {
        let stages = stages.clone();
        async move {
            let mut stages = stages.lock().unwrap();
            let now = if stages.len() > 1 { stages.remove(0) } else { stages[0].clone() };
            json!({ "data": [now] }).to_string()
        }
    };
    let begin = move |Path(group): Path<String>| async move {
        begun.lock().unwrap().push(format!("rebuild {group}"));
        (StatusCode::ACCEPTED, json!({ "data": model("requested", 0, None) }).to_string())
    };
    let abandon = move |Path(group): Path<String>| async move {
        called_back.lock().unwrap().push(format!("abort {group}"));
        json!({ "data": model("live", 0, Some("abandoned")) }).to_string()
    };
    let app = Router::new()
        .route("/admin/consumers", get(show))
        .route("/admin/consumers/{group}/rebuild", post(begin).delete(abandon));
    (asked, app)
}

#[tokio::test]
async fn read_models_are_listed_with_how_far_their_rebuilds_are() {
    let typed = Typed::against(rebuilding(vec![model("reading", 80, Some("abandoned"))]).1).await;
    let came = typed.run(&["events", "consumers"]).await;
    assert!(came.stdout.contains("reading, 40 %") && came.stdout.contains("abandoned"), "{}", came.stdout);
    assert_eq!(typed.run(&["events", "consumers", "-o", "name"]).await.stdout, "orders.products\n");
    let document = typed.run(&["events", "consumers", "-o", "json"]).await.json();
    assert_eq!(document["data"][0]["stage"], "reading");
}

#[tokio::test]
async fn a_rebuild_is_asked_for_waited_for_and_called_back() {
    let stages = vec![model("live", 0, None), model("reading", 80, None), model("live", 0, None)];
    let (asked, app) = rebuilding(stages);
    let typed = Typed::against(app).await;
    let came = typed.run(&["events", "rebuild", "orders.products", "--wait", "--yes"]).await;
    assert_eq!(came.exit, 0, "{}", came.stderr);
    assert!(came.stdout.contains("orders.products is rebuilt"), "{}", came.stdout);
    assert!(came.stderr.contains("reading, 40 %"), "{}", came.stderr);
    let came = typed.run(&["events", "rebuild", "orders.products"]).await;
    assert_eq!(came.exit, 7, "nobody confirmed it");
    let came = typed.run(&["events", "rebuild", "orders.products", "--dry-run", "-o", "json"]).await;
    assert_eq!(came.json()["data"]["would_rebuild"]["consumer"], "orders.products");
    assert_eq!(typed.run(&["events", "rebuild", "orders.products", "--abort"]).await.exit, 0);
    assert_eq!(typed.run(&["events", "rebuild", "orders.products", "--abort", "--wait"]).await.exit, 2);
    assert_eq!(*asked.lock().unwrap(), ["rebuild orders.products", "abort orders.products"]);
    let came = typed.run(&["events", "rebuild", "orders.product", "--yes"]).await;
    assert_eq!(came.exit, 5);
    assert!(came.stderr.contains("did you mean orders.products?"), "{}", came.stderr);
}

#[tokio::test]
async fn one_that_is_under_way_is_waited_for_and_one_that_is_not_whole_is_a_partial_failure() {
    let cut = Some("rtc.catalog/0 has lost 0 to 9 while it was read");
    let (asked, app) = rebuilding(vec![model("clearing", 0, None), model("live", 0, cut)]);
    let typed = Typed::against(app).await;
    let came = typed.run(&["events", "rebuild", "orders.products", "--wait", "-o", "json"]).await;
    assert_eq!((came.exit, came.json()["findings"][0]["code"].as_str()), (40, Some("EVT004")));
    assert!(asked.lock().unwrap().is_empty(), "it was not asked for again");
    let (_, app) = rebuilding(vec![model("reading", 80, None)]);
    let words = ["events", "rebuild", "orders.products", "--wait", "--timeout", "1s"];
    let came = Typed::against(app).await.run(&words).await;
    assert_eq!(came.exit, 6, "{}", came.stderr);
}

#[tokio::test]
async fn a_dead_letter_is_shown_whole_and_given_up_only_by_a_yes() {
    let asked: Arc<Mutex<Vec<Value>>> = Arc::default();
    let seen = asked.clone();
    let letter = json!({
        "id": 5, "service": "payments", "consumer": "payments.holds", "topic": "rtc.orders", "partition": 0, "offset": 8,
        "key": "ord_9", "event_id": "evt_8", "event_type": "rtc.orders.order_placed.v1", "error": "no \u{1b}[2J amount",
        "attempts": 5, "state": "dead", "payload": "{\"data\":{\"amount\":-1}}",
    });
    let show = move |Path((service, id)): Path<(String, u64)>| async move {
        if (service.as_str(), id) != ("payments", 5) {
            return (StatusCode::NOT_FOUND, "{}".to_owned());
        }
        (StatusCode::OK, json!({ "data": letter }).to_string())
    };
    let discard = move |body: String| async move {
        seen.lock().unwrap().push(serde_json::from_str(&body).unwrap());
        json!({ "dropped": 1, "remaining": 3 }).to_string()
    };
    let app = Router::new()
        .route("/admin/dead-letters/{service}/{id}", get(show))
        .route("/admin/dead-letters/drop", post(discard));
    let typed = Typed::against(app).await;
    let came = typed.run(&["events", "dlq", "show", "5", "--service", "payments"]).await;
    assert!(came.stdout.contains("\"amount\": -1") && !came.stdout.contains('\u{1b}'), "{}", came.stdout);
    assert_eq!(typed.run(&["events", "dlq", "show", "6", "--service", "payments"]).await.exit, 5);
    assert_eq!(typed.run(&["events", "dlq", "drop", "5"]).await.exit, 2, "an id alone names nothing");
    assert_eq!(typed.run(&["events", "dlq", "drop", "5", "--service", "payments"]).await.exit, 7);
    let came =
        typed.run(&["events", "dlq", "drop", "5", "--service", "payments", "--dry-run", "-o", "json"]).await;
    assert_eq!(came.json()["data"]["would_drop"][0]["id"], 5);
    assert!(asked.lock().unwrap().is_empty());
    let came = typed.run(&["events", "dlq", "drop", "5", "--service", "payments", "--yes"]).await;
    assert_eq!((came.exit, came.stdout.as_str()), (0, "1 given up, 3 left\n"));
    assert_eq!(*asked.lock().unwrap(), [json!({ "service": "payments", "ids": [5] })]);
}

#[tokio::test]
async fn open_prints_the_address_where_there_is_no_terminal() {
    let came = typed().await.run(&["open", "products"]).await;
    assert_eq!(came.exit, 0);
    assert!(came.stdout.starts_with("http://127.0.0.1:") && came.stdout.ends_with("/api/v1/products\n"));
}
