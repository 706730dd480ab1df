//! The command as it is typed, against a small shop.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Value, json};

use crate::commands::testing::Typed;
use crate::load::JournalLine;
use crate::signals::Signal;

/// What the shop has and how it misbehaves.
#[derive(Default)]
struct Shop {
    products: usize,
    orders: BTreeMap<String, String>,
    funded: std::collections::BTreeSet<String>,
    restocked: usize,
    sales: usize,
    seen: u64,
    /// Every so many-th order is answered 503 although it is taken.
    sheds_every: u64,
    /// Orders are forgotten as soon as they are accepted.
    forgets: bool,
    ordered: Arc<tokio::sync::Notify>,
}

type Shared = Arc<Mutex<Shop>>;

async fn shoppers(headers: HeaderMap, Json(body): Json<Value>) -> Json<Value> {
    assert_eq!(headers["authorization"], "Bearer the admin token");
    let count = body["count"].as_u64().unwrap();
    let first = body["first"].as_u64().unwrap_or(1);
    let made: Vec<Value> = (first..first + count)
        .map(|number| json!({ "user_id": format!("usr_{number}"), "access_token": format!("shopper-{number}") }))
        .collect();
    Json(json!({ "data": made }))
}

async fn fund(State(shop): State<Shared>, Json(body): Json<Value>) -> Json<Value> {
    assert_eq!(body["amount"]["currency"], "KRW");
    let count = body["user_ids"].as_array().unwrap().len();
    let mut shop = shop.lock().unwrap();
    shop.funded.extend(body["user_ids"].as_array().unwrap().iter().map(|id| id.as_str().unwrap().to_owned()));
    Json(json!({ "funded": count }))
}

async fn products(State(shop): State<Shared>, Query(query): Query<BTreeMap<String, String>>) -> Json<Value> {
    let from: usize = query.get("cursor").map_or(0, |cursor| cursor.parse().unwrap());
    let all = shop.lock().unwrap().products;
    // Pages of three, whatever was asked for: the end is where the cursor ends.
    let page: Vec<Value> = (from..all.min(from + 3))
        .map(|number| {
            json!({
                "id": format!("prd_{number}"), "sku": format!("S-{number}"), "name": "x",
                "status": if number == 1 { "archived" } else { "active" },
                "price": { "amount": 1_000, "currency": "KRW" },
            })
        })
        .collect();
    let next = (from + 3 < all).then(|| (from + 3).to_string());
    Json(json!({ "data": page, "next_cursor": next }))
}

async fn place(State(shop): State<Shared>, headers: HeaderMap, Json(body): Json<Value>) -> Response {
    assert!(headers["authorization"].to_str().unwrap().starts_with("Bearer shopper-"));
    for line in body["lines"].as_array().unwrap() {
        assert_ne!(line["product_id"], "prd_1", "an archived product is not ordered");
    }
    let key = headers["idempotency-key"].to_str().unwrap().to_owned();
    let mut shop = shop.lock().unwrap();
    let next = format!("ord_{}", shop.orders.len());
    let is_new = !shop.orders.contains_key(&key);
    let id = shop.orders.entry(key).or_insert(next).clone();
    shop.seen += u64::from(is_new);
    shop.ordered.notify_one();
    if is_new && shop.sheds_every > 0 && shop.seen.is_multiple_of(shop.sheds_every) {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    (StatusCode::ACCEPTED, Json(json!({ "id": id, "state": "placed" }))).into_response()
}

async fn look(State(shop): State<Shared>, Path(id): Path<String>) -> Response {
    let shop = shop.lock().unwrap();
    if shop.forgets || !shop.orders.values().any(|known| *known == id) {
        return StatusCode::NOT_FOUND.into_response();
    }
    Json(json!({
        "id": id, "state": "confirmed", "version": 7,
        "history": [
            { "sequence": 1, "state": "placed", "at": "2026-01-01T00:00:00.000Z" },
            { "sequence": 2, "state": "confirmed", "at": "2026-01-01T00:00:00.030Z" },
        ],
    }))
    .into_response()
}

async fn take_sales(State(shop): State<Shared>, headers: HeaderMap, Json(body): Json<Value>) -> Json<Value> {
    assert_eq!(headers["authorization"], "Bearer the operator's");
    let count = body["transactions"].as_array().unwrap().len();
    shop.lock().unwrap().sales += count;
    Json(json!({ "accepted": count, "duplicates": 0, "rejected": [] }))
}

async fn restock(State(shop): State<Shared>, headers: HeaderMap) -> StatusCode {
    assert!(headers.contains_key("idempotency-key"));
    shop.lock().unwrap().restocked += 1;
    StatusCode::CREATED
}

async fn shop(shop: Shop) -> (Shared, Typed) {
    let shared: Shared = Arc::new(Mutex::new(shop));
    let app = Router::new()
        .route("/admin/shoppers", post(shoppers))
        .route("/admin/shoppers/fund", post(fund))
        .route("/api/v1/sessions", post(async || Json(json!({ "access_token": "the operator's" }))))
        .route("/api/v1/products", get(products))
        .route("/api/v1/products/{id}", get(async || "{}"))
        .route("/api/v1/stock/{sku}/adjustments", post(restock))
        .route("/api/v1/orders", post(place))
        .route("/api/v1/orders/{id}", get(look))
        .route("/api/v1/transactions", post(take_sales))
        .with_state(shared.clone());
    let typed = Typed::against(app).await;
    typed.secret("admin_token", "the admin token");
    typed.secret("admin_password", "let me in");
    (shared, typed)
}

fn with_products() -> Shop {
    Shop { products: 8, ..Shop::default() }
}

const SHORT: [&str; 5] = ["load", "--duration", "500ms", "-o", "json"];

fn words<'a>(more: &[&'a str]) -> Vec<&'a str> {
    SHORT.iter().copied().chain(more.iter().copied()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shop_under_load_is_reported_and_its_journal_is_what_the_shop_has() {
    let (shared, typed) = shop(with_products()).await;
    let more = [
        "--rate",
        "400",
        "--shoppers",
        "600",
        "--journal",
        "orders.ndjson",
        "--min-availability",
        "99",
        "--restock",
        "5",
    ];
    let came = typed.run(&words(&more)).await;
    assert_eq!(came.exit, 0, "{}", came.stderr);
    let document = came.json();
    let data = &document["data"];
    assert_eq!((data["requests"].as_u64(), data["answered"].as_u64()), (Some(200), Some(200)));
    assert_eq!((&data["availability_percent"], data["verdict"].as_str()), (&100.0.into(), Some("kept")));
    let latency = &data["latency"];
    assert!(
        latency["p50_ms"].as_f64().unwrap() > 0.0 && latency["max_ms"].as_f64() >= latency["p99_ms"].as_f64()
    );
    let shop = shared.lock().unwrap();
    let accepted = data["orders"]["accepted"].as_u64().unwrap();
    assert_eq!((accepted, shop.funded.len(), shop.restocked), (shop.orders.len() as u64, 600, 7));
    assert!((100..180).contains(&accepted), "seven of ten are orders: {accepted}");
    assert_eq!(data["orders"]["by_state"], json!({ "confirmed": accepted }));
    assert_eq!(data["orders"]["settling"]["p50_ms"].as_f64().map(f64::round), Some(30.0));
    let journal = std::fs::read_to_string(typed.path("orders.ndjson")).unwrap();
    let journal: BTreeMap<String, String> = journal
        .lines()
        .map(|line| serde_json::from_str::<JournalLine>(line).unwrap())
        .inspect(|line| assert_eq!(line.status, "confirmed"))
        .map(|line| (line.key, line.id))
        .collect();
    assert_eq!(journal, shop.orders);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn orders_behind_a_503_are_recovered_and_the_availability_is_breached() {
    let (shared, typed) = shop(Shop { sheds_every: 10, ..with_products() }).await;
    let came = typed.run(&words(&["--rate", "200", "--orders-only", "--min-availability", "99.9"])).await;
    assert_eq!(came.exit, 30, "{}", came.stderr);
    let document = came.json();
    assert_eq!(
        (document["status"].as_str(), document["findings"][0]["code"].as_str()),
        (Some("breached"), Some("LOD001"))
    );
    let data = &document["data"];
    assert_eq!((&data["errors"], &data["availability_percent"]), (&json!({ "http_503": 10 }), &90.0.into()));
    assert_eq!((&data["orders"]["accepted"], &data["orders"]["recovered"]), (&100.into(), &10.into()));
    assert_eq!((&data["orders"]["unknown"], shared.lock().unwrap().orders.len()), (&0.into(), 100));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn too_few_answers_are_inconclusive() {
    let (_, typed) = shop(with_products()).await;
    let came = typed.run(&words(&["--rate", "20", "--scenario", "browse", "--max-p99", "10s"])).await;
    assert_eq!(came.exit, 31, "{}", came.stderr);
    assert_eq!(came.json()["status"], "inconclusive");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_percentile_above_its_bound_is_a_breach_a_person_can_read() {
    let (_, typed) = shop(with_products()).await;
    let words = ["load", "--duration", "500ms", "--rate", "400", "--scenario", "browse", "--max-p99", "0s"];
    let came = typed.run(&words).await;
    assert_eq!(came.exit, 30, "{}", came.stderr);
    assert!(came.stdout.contains("Availability") && came.stdout.contains("100.000 %"), "{}", came.stdout);
    assert!(came.stderr.contains("LOD001"), "{}", came.stderr);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_order_that_the_platform_forgot_is_a_loss_and_ends_with_a_breach() {
    let (_, typed) = shop(Shop { forgets: true, ..with_products() }).await;
    let came = typed.run(&words(&["--rate", "20", "--orders-only", "--settle-timeout", "100ms"])).await;
    assert_eq!(came.exit, 30, "{}", came.stderr);
    let document = came.json();
    assert_eq!(document["findings"][0]["code"], "LOD007");
    assert_eq!(document["data"]["orders"]["by_state"], json!({ "missing": 10 }));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sales_are_sent_in_batches_by_the_operator() {
    let (shared, typed) = shop(Shop::default()).await;
    let came = typed.run(&words(&["--rate", "40", "--scenario", "ingest", "--batch", "50"])).await;
    assert_eq!(came.exit, 0, "{}", came.stderr);
    let ingest = &came.json()["data"]["ingest"];
    assert_eq!((&ingest["accepted"], shared.lock().unwrap().sales), (&1_000.into(), 1_000));
}

#[tokio::test]
async fn an_empty_catalogue_is_said_before_anything_is_sent() {
    let (_, typed) = shop(Shop::default()).await;
    let came = typed.run(&words(&["--rate", "10"])).await;
    assert_eq!((came.exit, came.error()["code"].as_str()), (5, Some("LOD003")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_interrupted_load_answers_with_what_it_has_measured() {
    let (shared, typed) = shop(with_products()).await;
    let ordered = shared.lock().unwrap().ordered.clone();
    let signal = async {
        ordered.notified().await;
        Signal::Interrupt
    };
    let words = ["load", "--duration", "10m", "--rate", "200", "-o", "json", "--orders-only"];
    let came = typed.run_until(&words, signal).await;
    assert_eq!(came.exit, 130, "{}", came.stderr);
    let document = came.json();
    assert_eq!(
        (document["status"].as_str(), &document["data"]["stopped_early"]),
        (Some("interrupted"), &true.into())
    );
    let accepted = document["data"]["orders"]["accepted"].as_u64().unwrap();
    assert!((1..2_000).contains(&accepted));
    assert_eq!(accepted, shared.lock().unwrap().orders.len() as u64);
}

#[tokio::test]
async fn a_dry_run_says_how_much_it_would_send() {
    let came = Typed::alone().run(&["load", "--rate", "2000", "--duration", "1m", "--dry-run"]).await;
    assert_eq!(came.exit, 0);
    assert!(came.stdout.contains("120,000 requests of scenario shop"), "{}", came.stdout);
}

#[tokio::test]
async fn nonsense_on_the_command_line_is_refused() {
    for bad in [["--rate", "0"], ["--rate", "NaN"], ["--min-availability", "101"], ["--scenario", "space"]] {
        assert_eq!(Typed::alone().run(&["load", bad[0], bad[1]]).await.exit, 2, "{bad:?}");
    }
}
