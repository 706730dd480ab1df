//! The command as it is typed, against a platform that takes sales the way the real one does.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use serde_json::Value;

use kernel::Timestamp;

use super::grouped;
use crate::commands::testing::Typed;
use crate::ingest::{Ingest, NotTaken, SalesApi};
use crate::local::{DataDir, RunFile};
use crate::signals::Signal;

/// What the platform has and how it misbehaves next.
#[derive(Default)]
struct Platform {
    known: HashSet<String>,
    mishaps: Vec<StatusCode>,
    asked: Arc<tokio::sync::Notify>,
    sign_ins: u32,
    requests: u32,
}

type Shared = Arc<Mutex<Platform>>;

async fn sessions(State(platform): State<Shared>, Json(body): Json<Value>) -> Response {
    if body != serde_json::json!({ "email": "admin@rtc.local", "password": "let me in" }) {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    let mut platform = platform.lock().unwrap();
    platform.sign_ins += 1;
    Json(serde_json::json!({ "access_token": format!("token-{}", platform.sign_ins) })).into_response()
}

async fn transactions(
    State(platform): State<Shared>,
    Query(query): Query<std::collections::HashMap<String, String>>,
    headers: HeaderMap,
    Json(body): Json<Value>,
) -> Response {
    let mut platform = platform.lock().unwrap();
    platform.requests += 1;
    platform.asked.notify_one();
    match platform.mishaps.pop() {
        None => {}
        Some(StatusCode::SERVICE_UNAVAILABLE) => {
            return (StatusCode::SERVICE_UNAVAILABLE, [("retry-after", "0")]).into_response();
        }
        Some(status) => return status.into_response(),
    }
    assert_eq!(headers["authorization"], format!("Bearer token-{}", platform.sign_ins));
    let (mut accepted, mut duplicates, mut rejected) = (0, 0, Vec::new());
    for (index, item) in body["transactions"].as_array().unwrap().iter().enumerate() {
        assert!(item["amount"].is_i64() && item["currency"].is_string() && item["occurred_at"].is_string());
        if item["sku"] == "REFUSED" {
            rejected.push(
                serde_json::json!({ "index": index, "code": "sku_forbidden", "detail": "not this one" }),
            );
            continue;
        }
        let id = format!("{} {}", query["source"], item["external_id"].as_str().unwrap());
        match platform.known.insert(id) {
            true => accepted += 1,
            false => duplicates += 1,
        }
    }
    Json(serde_json::json!({ "accepted": accepted, "duplicates": duplicates, "rejected": rejected }))
        .into_response()
}

async fn platform(mishaps: &[StatusCode]) -> (Shared, Typed) {
    let shared: Shared = Arc::new(Mutex::new(Platform { mishaps: mishaps.to_vec(), ..Platform::default() }));
    let app = Router::new()
        .route("/api/v1/sessions", post(sessions))
        .route("/api/v1/transactions", post(transactions))
        .layer(axum::extract::DefaultBodyLimit::disable())
        .with_state(shared.clone());
    let typed = Typed::against(app).await;
    typed.secret("admin_password", "let me in\n");
    (shared, typed)
}

fn fixture() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("sales/src/fixtures/two-days.csv")
}

#[tokio::test]
async fn a_second_replay_changes_nothing_and_says_so() {
    let (shared, typed) = platform(&[]).await;
    let fixture = fixture();
    let first = typed.run(&["replay", fixture.to_str().unwrap(), "-o", "json", "--batch", "2"]).await;
    assert_eq!(first.exit, 40, "{}", first.stderr);
    let document = first.json();
    assert_eq!(
        (document["schema"].as_str(), document["status"].as_str()),
        (Some("rtcctl/replay/v1"), Some("partial"))
    );
    let data = &document["data"];
    for (name, count) in [
        ("lines", 6),
        ("invoices", 4),
        ("cancellations", 1),
        ("stock_codes", 5),
        ("accepted", 6),
        ("duplicates", 0),
        ("rejected", 0),
        ("malformed", 1),
    ] {
        assert_eq!(data[name], count, "{name}");
    }
    assert_eq!(data["totals"], serde_json::json!([{ "amount": 3_819, "currency": "GBP" }]));
    assert_eq!(data["refused"][0]["line"], 7);
    assert_eq!(data["refused"][0]["code"], "RPL024");
    assert!(data["refused"][0]["file"].as_str().unwrap().ends_with("two-days.csv"));
    // Another batch size, another spelling of the path: the ids are the same.
    let again = fixture.parent().unwrap().join("../fixtures/two-days.csv");
    let second = typed.run(&["replay", again.to_str().unwrap(), "-o", "json"]).await.json();
    assert_eq!((&second["data"]["accepted"], &second["data"]["duplicates"]), (&0.into(), &6.into()));
    assert_eq!(shared.lock().unwrap().known.len(), 6);
}

#[tokio::test]
async fn an_overloaded_platform_and_an_expired_token_are_got_over() {
    let (shared, typed) = platform(&[
        StatusCode::UNAUTHORIZED,
        StatusCode::SERVICE_UNAVAILABLE,
        StatusCode::SERVICE_UNAVAILABLE,
    ])
    .await;
    let answer = typed.run(&["replay", fixture().to_str().unwrap(), "-o", "json"]).await.json();
    assert_eq!((&answer["data"]["accepted"], &answer["data"]["retries"]), (&6.into(), &2.into()));
    assert_eq!(shared.lock().unwrap().sign_ins, 2);
}

#[tokio::test]
async fn bad_files_and_lines_are_named_and_the_good_ones_are_taken() {
    let (_, typed) = platform(&[]).await;
    let header = "InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country";
    let line = |invoice: &str, sku: &str| format!("{invoice},{sku},X,1,2010-12-01 08:26:00,1.00,,EIRE");
    let good = line("1", "A");
    let bad = b"\n1,A,CAF\xc9,1,2010-12-01 08:26:00,1.00,,EIRE\n";
    let latin = [header.as_bytes(), bad, good.as_bytes()];
    typed.write("latin1.csv", &latin.concat());
    typed.write("empty.csv", b"");
    typed.write("headless.csv", line("2", "B").as_bytes());
    typed
        .write("refused.csv", format!("{header}\n{}\n{}\n", line("3", "REFUSED"), line("3", "C")).as_bytes());
    typed.write("good.csv", format!("{header}\r\n{}\r\n", line("4", "D")).as_bytes());
    let answer = typed
        .run(&[
            "replay",
            "missing.csv",
            "latin1.csv",
            "empty.csv",
            "headless.csv",
            ".",
            "refused.csv",
            "good.csv",
            "./good.csv",
            "-o",
            "json",
        ])
        .await;
    assert_eq!(answer.exit, 40, "{}", answer.stderr);
    let document = answer.json();
    let refused: Vec<(&str, u64, &str)> = document["data"]["refused"]
        .as_array()
        .unwrap()
        .iter()
        .map(|line| {
            (line["file"].as_str().unwrap(), line["line"].as_u64().unwrap(), line["code"].as_str().unwrap())
        })
        .collect();
    assert_eq!(
        refused,
        [
            ("missing.csv", 0, "RPL001"),
            ("latin1.csv", 2, "RPL011"),
            ("empty.csv", 0, "RPL003"),
            ("headless.csv", 1, "RPL004"),
            (".", 0, "RPL001"),
            ("./good.csv", 0, "RPL002"),
            ("refused.csv", 2, "RPL031"),
        ]
    );
    let data = &document["data"];
    assert_eq!((&data["accepted"], &data["rejected"], &data["malformed"]), (&3.into(), &1.into(), &6.into()));
    assert_eq!(document["findings"].as_array().unwrap().len(), 7);
}

#[tokio::test]
async fn a_dry_run_counts_without_a_platform() {
    let typed = Typed::alone();
    let answer = typed.run(&["replay", fixture().to_str().unwrap(), "--dry-run"]).await;
    assert_eq!(answer.exit, 40, "{}", answer.stderr);
    assert!(
        answer.stdout.contains("38.19 GBP") && answer.stdout.contains("4 (1 cancellations)"),
        "{}",
        answer.stdout
    );
    assert!(answer.stderr.contains("two-days.csv:7"), "{}", answer.stderr);
}

#[tokio::test]
async fn a_replay_without_a_platform_says_how_to_start_one() {
    let answer = Typed::alone().run(&["replay", fixture().to_str().unwrap(), "-o", "json"]).await;
    assert_eq!(answer.exit, 9);
    assert_eq!(answer.error()["code"], "NET001");
}

#[tokio::test]
async fn an_interrupted_replay_says_how_far_it_came() {
    // The platform is overloaded for ever; the replay waits and is told to stop.
    let (shared, typed) = platform(&[StatusCode::GATEWAY_TIMEOUT; 1_000]).await;
    let asked = shared.lock().unwrap().asked.clone();
    let signal = async {
        asked.notified().await;
        Signal::Terminate
    };
    let came = typed.run_until(&["replay", fixture().to_str().unwrap(), "-o", "json"], signal).await;
    assert_eq!(came.exit, 143);
    let error = came.error();
    assert_eq!(error["code"], "SIG002");
    assert!(error["message"].as_str().unwrap().contains("0 lines are accepted"), "{error}");
}

#[tokio::test]
async fn a_platform_that_came_back_on_another_port_is_found_again() {
    let (_, typed) = platform(&[]).await;
    let dead = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let base = format!("http://{}", dead.local_addr().unwrap()).parse().unwrap();
    drop(dead);
    let data = DataDir::new(typed.path("data"));
    let api = SalesApi::new(&base, data, true, "shop", Duration::from_secs(5)).unwrap();
    let run = RunFile {
        pid: 2,
        api_url: typed.api_url().to_owned(),
        admin_url: typed.api_url().to_owned(),
        started_at: Timestamp::EPOCH,
        version: "0.1.0".to_owned(),
    };
    typed.write("data/run.json", &serde_json::to_vec(&run).unwrap());
    assert!(matches!(api.send(&[]).await, Err(NotTaken::Later { .. })));
    assert_eq!(api.send(&[]).await.unwrap().accepted, 0);
}

#[tokio::test]
async fn a_caller_who_may_not_send_sales_is_told_at_once() {
    let (shared, typed) = platform(&[StatusCode::FORBIDDEN]).await;
    let answer = typed.run(&["replay", fixture().to_str().unwrap(), "-o", "json"]).await;
    assert_eq!((answer.exit, shared.lock().unwrap().requests), (4, 1));
    assert_eq!(answer.error()["code"], "API003");
}

#[tokio::test]
async fn six_days_of_a_real_shop_arrive_complete_and_once() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .map(|above| above.join("shared/data/online-retail"))
        .find(|folder| folder.is_dir());
    let Some(folder) = folder else {
        eprintln!("the data set is not here; the fixture covers the same paths");
        return;
    };
    let mut files: Vec<String> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path().to_str().unwrap().to_owned())
        .collect();
    files.sort();
    let mut words = vec!["replay"];
    words.extend(files.iter().map(String::as_str));
    let (shared, typed) = platform(&[]).await;
    let first = typed.run(&words).await;
    assert_eq!(first.exit, 0, "{}", first.stderr);
    for text in ["16,985", "757 (79 cancellations)", "2,334", "280,766.48 GBP"] {
        assert!(first.stdout.contains(text), "{text} in {}", first.stdout);
    }
    words.extend(["-o", "json"]);
    let second = typed.run(&words).await.json();
    assert_eq!((&second["data"]["accepted"], &second["data"]["duplicates"]), (&0.into(), &16_985.into()));
    assert_eq!(shared.lock().unwrap().known.len(), 16_985);
}

#[tokio::test(start_paused = true)]
async fn a_paced_replay_takes_as_long_as_the_shop_did_divided_by_the_speed() {
    use super::Pace;
    use tokio::time::{Instant, sleep_until};
    let began = Instant::now();
    let mut pace = Pace { speed: 60.0, first: None };
    let at = |minutes: i64| Timestamp::from_millis(1_000_000_000_000 + minutes * 60_000);
    for minutes in [0, 5, 5, 3, 10] {
        if let Some(due) = pace.due(at(minutes)) {
            sleep_until(due).await;
        }
    }
    let took = began.elapsed();
    assert!((Duration::from_secs(10)..Duration::from_millis(10_010)).contains(&took), "{took:?}");
    assert_eq!(Pace { speed: 0.0, first: None }.due(at(5)), None);
}

#[test]
fn numbers_are_grouped_by_thousands() {
    assert_eq!([0, 999, 1_000, 1_234_567].map(grouped), ["0", "999", "1,000", "1,234,567"]);
}
