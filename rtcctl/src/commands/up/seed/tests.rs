//! Seeding against a made-up shop that keeps what it is told.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde_json::Value;

use super::*;
use crate::io::{Captured, Sink};
use crate::progress::{ProgressMode, Settings, Verbosity};

/// A shop whose inventory learns of a product only when it is asked for it the second time.
#[derive(Default)]
struct Shop {
    products: Vec<String>,
    stock: BTreeMap<String, i64>,
    asked_once: BTreeSet<String>,
    keys: BTreeSet<String>,
    accounts: Vec<Value>,
}

type Shared = Arc<Mutex<Shop>>;

fn problem(status: StatusCode, code: &str) -> Response {
    (status, json!({"code": code, "detail": "no"}).to_string()).into_response()
}

fn key(headers: &HeaderMap) -> String {
    assert_eq!(headers["authorization"], "Bearer admin-token");
    headers["idempotency-key"].to_str().unwrap().to_owned()
}

async fn create(State(shop): State<Shared>, headers: HeaderMap, body: String) -> Response {
    let sku = serde_json::from_str::<Value>(&body).unwrap()["sku"].as_str().unwrap().to_owned();
    let mut shop = shop.lock().unwrap();
    if shop.products.contains(&sku) {
        return problem(StatusCode::CONFLICT, "sku_taken");
    }
    shop.keys.insert(key(&headers));
    shop.products.push(sku);
    (StatusCode::CREATED, "{}").into_response()
}

async fn adjust(
    State(shop): State<Shared>,
    Path(sku): Path<String>,
    headers: HeaderMap,
    body: String,
) -> Response {
    let delta = serde_json::from_str::<Value>(&body).unwrap()["delta"].as_i64().unwrap();
    let mut shop = shop.lock().unwrap();
    if shop.asked_once.insert(sku.clone()) {
        return problem(StatusCode::NOT_FOUND, "stock_not_found");
    }
    if shop.keys.insert(key(&headers)) {
        *shop.stock.entry(sku).or_default() += delta;
    }
    (StatusCode::CREATED, "{}").into_response()
}

async fn list(State(shop): State<Shared>, Query(query): Query<BTreeMap<String, String>>) -> String {
    let from: usize = query.get("cursor").map_or(0, |cursor| cursor.parse().unwrap());
    let shop = shop.lock().unwrap();
    let page: Vec<Value> = shop.products.iter().skip(from).take(10).map(|sku| json!({"sku": sku})).collect();
    let next = (from + 10 < shop.products.len()).then(|| (from + 10).to_string());
    json!({"data": page, "next_cursor": next}).to_string()
}

async fn stock_of(State(shop): State<Shared>, Path(sku): Path<String>) -> Response {
    match shop.lock().unwrap().stock.get(&sku) {
        Some(on_hand) => json!({"on_hand": on_hand}).to_string().into_response(),
        None => problem(StatusCode::NOT_FOUND, "stock_not_found"),
    }
}

async fn sign_in(body: String) -> Response {
    let body: Value = serde_json::from_str(&body).unwrap();
    let (email, password) = DEMO_SHOPPER;
    if body == json!({"email": email, "password": password}) {
        return json!({"access_token": "demo-token", "user": {"id": "usr_demo"}}).to_string().into_response();
    }
    if body != json!({"email": ADMIN, "password": "admin-password"}) {
        return problem(StatusCode::UNAUTHORIZED, "credentials_wrong");
    }
    json!({"access_token": "admin-token"}).to_string().into_response()
}

async fn accounts(State(shop): State<Shared>, headers: HeaderMap) -> String {
    assert_eq!(headers["authorization"], "Bearer demo-token");
    json!({"data": shop.lock().unwrap().accounts}).to_string()
}

async fn fund(State(shop): State<Shared>, headers: HeaderMap, body: String) -> &'static str {
    assert_eq!(headers["authorization"], "Bearer operator-token");
    shop.lock().unwrap().accounts.push(serde_json::from_str(&body).unwrap());
    "{}"
}

struct Bench {
    shop: Shared,
    platform: Platform,
    folder: tempfile::TempDir,
}

impl Bench {
    async fn new() -> Self {
        let shop = Shared::default();
        let app = Router::new()
            .route("/api/v1/sessions", post(self::sign_in))
            .route("/api/v1/products", get(list).post(create))
            .route("/api/v1/stock/{sku}", get(stock_of))
            .route("/api/v1/stock/{sku}/adjustments", post(adjust))
            .route("/api/v1/accounts", get(accounts))
            .route("/admin/shoppers/fund", post(fund))
            .with_state(shop.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        let endpoint = |name, token| Endpoint::new(name, &url, token, Duration::from_secs(20)).unwrap();
        let operator = Some(Secret::new("operator-token"));
        let platform = Platform {
            api: endpoint("the API", None),
            admin: endpoint("the admin port", operator),
            run: None,
        };
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("secrets")).unwrap();
        std::fs::write(folder.path().join("secrets/admin_password"), "admin-password\n").unwrap();
        Self { shop, platform, folder }
    }

    async fn seed(&self) -> Result<Seeded> {
        let settings = Settings {
            mode: ProgressMode::None,
            verbosity: Verbosity::Quiet,
            colour: false,
            live_terminal: false,
            events: None,
        };
        let stderr = Sink::new(Captured::default());
        let progress = Reporter::new(settings, stderr, Arc::new(kernel::SystemClock));
        seed(&progress, &self.platform, &DataDir::new(self.folder.path().to_owned())).await
    }
}

#[tokio::test]
async fn seeding_twice_is_seeding_once() {
    let bench = Bench::new().await;
    let first = bench.seed().await.unwrap();
    assert_eq!((first.created, first.stocked), (GOODS.len(), GOODS.len()));
    let second = bench.seed().await.unwrap();
    assert_eq!((second.products, second.created, second.stocked), (GOODS.len(), 0, 0));
    let shop = bench.shop.lock().unwrap();
    assert_eq!(shop.products.len(), GOODS.len());
    assert!(shop.stock.values().all(|on_hand| *on_hand == STOCK_EACH));
    assert_eq!((first.funded, second.funded, shop.accounts.len()), (true, false, 1));
    assert_eq!(shop.accounts[0]["user_ids"], json!(["usr_demo"]));
}

#[tokio::test]
async fn seeding_goes_on_where_it_was_interrupted() {
    let bench = Bench::new().await;
    {
        let mut shop = bench.shop.lock().unwrap();
        shop.products = GOODS.iter().take(15).map(|good| good.sku.to_owned()).collect();
        shop.stock.insert(GOODS[0].sku.to_owned(), 3);
    }
    let seeded = bench.seed().await.unwrap();
    assert_eq!((seeded.created, seeded.stocked), (GOODS.len() - 15, GOODS.len() - 1));
    assert_eq!(bench.shop.lock().unwrap().stock[GOODS[0].sku], 3, "what sells is left alone");
}

#[tokio::test]
async fn a_wrong_password_is_denied_and_names_the_step() {
    let bench = Bench::new().await;
    std::fs::write(bench.folder.path().join("secrets/admin_password"), "canary").unwrap();
    let error = bench.seed().await.unwrap_err();
    assert_eq!((error.code().id, error.exit().code()), ("RUN010", 4));
    assert!(error.causes()[0].contains("credentials_wrong"), "{error:?}");
    assert!(!format!("{error:?}").contains("canary"));
}
