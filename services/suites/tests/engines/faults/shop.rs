//! A shop on engines of its own, in one process or in several that are replicas of each other.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use kernel::id::SplitMix;
use serde_json::{Value, json};
use suites::platform::{Platform, binaries};
use tempfile::TempDir;
use tokio::time::Instant;

use crate::faults::crowd::{Records, ids};
use crate::support::{CONVERGES_WITHIN, Engine, Engines};

/// What a shopper waits for an answer at most.
const PATIENCE: Duration = Duration::from_secs(6);
const STOCK: i64 = 100_000;
const COMPLAINTS_MAX: usize = 25;
const FUNDS: i64 = 1_000_000_000_000;

pub struct Product {
    pub id: String,
    pub sku: String,
}

pub struct Shop {
    pub engines: Engines,
    pub directory: TempDir,
    pub replicas: Vec<Platform>,
    pub products: Vec<Product>,
    pub shopper: String,
    admin: String,
    /// The shopper's orders of before.
    before: usize,
}

/// What was said, with the time to wait that it named.
pub struct Said {
    pub status: u16,
    pub body: Value,
    pub retry_after: Option<String>,
}

impl Said {
    pub fn told(&self) -> String {
        format!("{} {}", self.status, self.body["code"].as_str().unwrap_or(""))
    }
}

/// Somebody who asks one of the replicas.
#[derive(Clone)]
pub struct Asker {
    client: reqwest::Client,
    base: String,
    token: String,
}

impl Asker {
    pub fn new(base: &str, token: &str) -> Self {
        let client = reqwest::Client::builder().timeout(PATIENCE).build().expect("a client");
        Self { client, base: base.to_owned(), token: token.to_owned() }
    }

    pub async fn get(&self, path: &str) -> Result<Said, String> {
        self.send(self.client.get(format!("{}{path}", self.base))).await
    }

    /// For what takes long by itself, as a whole topic does, partition after partition.
    pub async fn get_patiently(&self, path: &str) -> Result<Said, String> {
        self.send(self.client.get(format!("{}{path}", self.base)).timeout(CONVERGES_WITHIN)).await
    }

    /// Asks until there is an answer that says more than that the shop is busy.
    pub async fn get_at_last(&self, path: &str) -> Said {
        let begun = Instant::now();
        loop {
            match self.get(path).await {
                Ok(said) if said.status < 500 => return said,
                said => {
                    assert!(begun.elapsed() < CONVERGES_WITHIN, "{path}: {:?}", said.map(|said| said.told()))
                }
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// `key` is the idempotency key.
    pub async fn post(&self, path: &str, key: Option<&str>, body: &Value) -> Result<Said, String> {
        let request = self.client.post(format!("{}{path}", self.base)).json(body);
        self.send(match key {
            Some(key) => request.header("idempotency-key", key),
            None => request,
        })
        .await
    }

    async fn send(&self, request: reqwest::RequestBuilder) -> Result<Said, String> {
        let request = if self.token.is_empty() { request } else { request.bearer_auth(&self.token) };
        let told =
            |error: reqwest::Error| if error.is_timeout() { "no answer" } else { "cut off" }.to_owned();
        let answer = request.send().await.map_err(told)?;
        let status = answer.status().as_u16();
        let retry_after = answer.headers().get("retry-after").and_then(|value| value.to_str().ok());
        let retry_after = retry_after.map(str::to_owned);
        let text = answer.text().await.map_err(told)?;
        let body = serde_json::from_str(&text).unwrap_or(Value::String(text));
        Ok(Said { status, body, retry_after })
    }
}

/// What a replica needs of another's directory to be one of them: the configuration and the secrets.
fn enroll(from: &Path, to: &Path) {
    std::fs::create_dir_all(to.join("secrets")).expect("a data directory");
    for folder in [to.to_owned(), to.join("secrets")] {
        use std::os::unix::fs::PermissionsExt;
        std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o700)).expect("permissions");
    }
    std::fs::copy(from.join("rtcd.toml"), to.join("rtcd.toml")).expect("the configuration");
    for secret in std::fs::read_dir(from.join("secrets")).expect("the secrets").flatten() {
        std::fs::copy(secret.path(), to.join("secrets").join(secret.file_name())).expect("a secret");
    }
}

/// A seeded shop on these engines, not running; its data directory is `data` in what is handed back. It is closed once
/// its consumers have settled: what was sown is where it belongs.
pub async fn seeded(engines: &Engines) -> TempDir {
    let directory = engines.directory("");
    let data = directory.path().join("data");
    let rtcd = binaries().join("rtcd");
    let rtcd = rtcd.to_str().expect("a path in UTF-8");
    engines.rtcctl(&data, &["up", "--detach", "--port", "0", "--rtcd", rtcd]).await.expect(0);
    let run = std::fs::read_to_string(data.join("run.json")).expect("where it is");
    let run: Value = serde_json::from_str(&run).expect("where it is");
    let token = std::fs::read_to_string(data.join("secrets/admin_token")).expect("the operator's token");
    let operator = Asker::new(run["admin_url"].as_str().expect("an address"), token.trim());
    let begun = Instant::now();
    loop {
        let lag = operator.get("/admin/lag").await.map(|said| said.body).unwrap_or_default();
        let products: Vec<&Value> = lag["data"]
            .as_array()
            .map(|groups| groups.iter().filter(|group| group["group"] == "orders.products").collect())
            .unwrap_or_default();
        if !products.is_empty() && products.iter().all(|group| group["lag"] == 0) {
            break;
        }
        assert!(begun.elapsed() < CONVERGES_WITHIN, "consumers that do not settle: {lag}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    engines.rtcctl(&data, &["down"]).await.expect(0);
    directory
}

impl Shop {
    /// Seeded, with stock and money enough, and open at every replica.
    pub async fn open(engines: &[Engine], replicas: usize) -> Self {
        let engines = Engines::start(engines).await;
        let directory = seeded(&engines).await;
        let mut shop = Self {
            engines,
            directory,
            replicas: Vec::new(),
            products: Vec::new(),
            shopper: String::new(),
            admin: String::new(),
            before: 0,
        };
        for n in 0..replicas {
            if n > 0 {
                shop.enroll(n);
            }
            let replica = shop.start(n).await;
            shop.replicas.push(replica);
        }
        shop.shopper = shop.sign_in("demo@rtc.local", "demo shopper 2026").await;
        let password = std::fs::read_to_string(shop.data(0).join("secrets/admin_password"));
        shop.admin = shop.sign_in("admin@rtc.local", password.expect("a password").trim()).await;
        let products = shop.asker(0).get("/api/v1/products?limit=3").await.expect("products").body;
        for product in products["data"].as_array().expect("products") {
            let text = |name: &str| product[name].as_str().expect("a text").to_owned();
            shop.products.push(Product { id: text("id"), sku: text("sku") });
        }
        for product in &shop.products {
            shop.receive(&product.sku, STOCK).await;
        }
        shop.fund().await;
        shop.is_open_for_orders().await;
        shop.before = shop.orders().await.len();
        shop
    }

    /// Processes that have just started first hear of the products, and join their groups: an order comes to its end.
    async fn is_open_for_orders(&self) {
        let begun = Instant::now();
        let lines: Vec<Value> =
            self.products.iter().map(|product| json!({ "product_id": product.id, "quantity": 1 })).collect();
        let order = json!({ "lines": lines });
        loop {
            let mut told = Vec::new();
            for asker in self.askers() {
                let said = asker.post("/api/v1/orders", Some("opening"), &order).await;
                told.push(said.map(|said| (said.status, said.body["errors"].clone())));
            }
            let orders = self.orders().await;
            let is_over = |order: &Value| {
                matches!(order["state"].as_str(), Some("confirmed" | "rejected" | "cancelled"))
            };
            if !orders.is_empty() && orders.iter().all(is_over) {
                return;
            }
            assert!(begun.elapsed() < CONVERGES_WITHIN, "the shop does not open: {told:?} {orders:?}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    pub fn data(&self, replica: usize) -> PathBuf {
        let name = if replica == 0 { "data".to_owned() } else { format!("data{replica}") };
        self.directory.path().join(name)
    }

    /// A data directory for one more replica.
    pub fn enroll(&self, replica: usize) {
        enroll(&self.data(0), &self.data(replica));
    }

    /// A replica that runs, on ports of its own.
    pub async fn start(&self, replica: usize) -> Platform {
        let data = self.data(replica);
        Platform::spawn(self.engines.rtcd(&data, &[]), &data).await
    }

    pub fn url(&self, replica: usize, which: &str) -> String {
        self.replicas[replica].run[which].as_str().expect("an address").to_owned()
    }

    async fn sign_in(&self, email: &str, password: &str) -> String {
        let body = json!({ "email": email, "password": password });
        let asker = Asker::new(&self.url(0, "api_url"), "");
        let session = asker.post("/api/v1/sessions", None, &body).await.expect("an answer");
        assert_eq!(session.status, 201, "{}", session.body);
        session.body["access_token"].as_str().expect("a token").to_owned()
    }

    /// The shopper at one of the replicas.
    pub fn asker(&self, replica: usize) -> Asker {
        Asker::new(&self.url(replica, "api_url"), &self.shopper)
    }

    pub fn askers(&self) -> Vec<Asker> {
        (0..self.replicas.len()).map(|replica| self.asker(replica)).collect()
    }

    /// The operator at one of the replicas.
    pub fn operator(&self, replica: usize) -> Asker {
        Asker::new(&self.url(replica, "admin_url"), &self.replicas[replica].operator_token())
    }

    pub fn admin(&self) -> Asker {
        Asker::new(&self.url(0, "api_url"), &self.admin)
    }

    /// Changes what is on hand.
    pub async fn receive(&self, sku: &str, delta: i64) {
        static NEXT: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
        let key = format!("receive-{}", NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed));
        let body = json!({ "delta": delta, "reason": "received" });
        let said = self.admin().post(&format!("/api/v1/stock/{sku}/adjustments"), Some(&key), &body).await;
        let said = said.expect("an answer");
        assert_eq!(said.status, 201, "{}", said.body);
    }

    pub async fn stock(&self, sku: &str) -> Value {
        self.admin().get(&format!("/api/v1/stock/{sku}")).await.expect("an answer").body
    }

    async fn fund(&self) {
        let me = self.asker(0).get("/api/v1/users/me").await.expect("an answer").body;
        let body = json!({ "user_ids": [me["id"]], "amount": { "amount": FUNDS, "currency": "KRW" } });
        let said = self.operator(0).post("/admin/shoppers/fund", None, &body).await.expect("an answer");
        assert_eq!(said.status, 200, "{me} {}", said.body);
    }

    /// All orders of the shopper.
    pub async fn orders(&self) -> Vec<Value> {
        let asker = self.asker(0);
        let (mut orders, mut cursor) = (Vec::new(), String::new());
        loop {
            let page = asker.get_at_last(&format!("/api/v1/orders?limit=100{cursor}")).await;
            assert_eq!(page.status, 200, "{}", page.body);
            orders.extend(page.body["data"].as_array().expect("orders").iter().cloned());
            match page.body["next_cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return orders,
            }
        }
    }

    /// Everything that was accepted, and nothing else, has ended within the minute; every invariant holds at every
    /// replica. Answers how long it took, and how many orders there are of each state.
    pub async fn converges(&self, records: &Records) -> (Duration, BTreeMap<String, u64>) {
        let ended = self.all_end(records).await;
        self.relays_are_done().await;
        for replica in &self.replicas {
            replica.invariants_hold().await;
        }
        ended
    }

    /// As `converges`, without the invariants: they need the books of all services.
    pub async fn all_end(&self, records: &Records) -> (Duration, BTreeMap<String, u64>) {
        let begun = Instant::now();
        loop {
            let orders = self.orders().await;
            let listed = ids(&orders);
            let lost: Vec<_> = records.accepted.keys().filter(|id| !listed.contains(*id)).collect();
            assert!(lost.is_empty(), "accepted and not there: {lost:?}");
            assert_eq!(orders.len(), self.before + records.accepted.len(), "orders that nobody was told of");
            let mut states: BTreeMap<String, u64> = BTreeMap::new();
            for order in &orders {
                *states.entry(order["state"].as_str().unwrap_or("").to_owned()).or_default() += 1;
            }
            let ended = |state: &String| matches!(&**state, "confirmed" | "rejected" | "cancelled");
            if states.keys().all(ended) {
                return (begun.elapsed(), states);
            }
            assert!(begun.elapsed() < CONVERGES_WITHIN, "orders that do not end: {states:?}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Nothing waits to be published.
    async fn relays_are_done(&self) {
        let begun = Instant::now();
        loop {
            let status = self.operator(0).get_at_last("/admin/status").await.body;
            let services = status["services"].as_array().expect("services");
            if services.iter().all(|service| service["outbox_depth"] == 0) {
                return;
            }
            assert!(begun.elapsed() < CONVERGES_WITHIN, "messages that are not published: {status}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    pub async fn stop(mut self) {
        for replica in std::mem::take(&mut self.replicas) {
            assert_eq!(replica.stop().await, 0);
        }
    }
}

/// What the processes complained of, where a test failed.
impl Drop for Shop {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            return;
        }
        for replica in 0..4 {
            let log = std::fs::read_to_string(self.data(replica).with_extension("log")).unwrap_or_default();
            let complaints: Vec<&str> =
                log.lines().filter(|line| line.contains("WARN") || line.contains("ERROR")).collect();
            for line in &complaints[complaints.len().saturating_sub(COMPLAINTS_MAX)..] {
                eprintln!("replica {replica}: {line}");
            }
        }
    }
}

/// From `least` to twice that.
pub fn a_while(random: &mut SplitMix, least_ms: u64) -> Duration {
    Duration::from_millis(least_ms + random.below(least_ms))
}

/// Runs statements as the database server's administrator, in one connection.
pub async fn administer(server: &str, sql: &[String]) {
    let (server, sql) = (server.to_owned(), sql.to_vec());
    let administered = tokio::task::spawn_blocking(move || {
        let mut conn = mysql::Conn::new(server.as_str()).expect("a connection");
        for one in &sql {
            mysql::prelude::Queryable::query_drop(&mut conn, one).expect("a statement");
        }
    });
    administered.await.expect("the administrator");
}

/// The first column of what a query finds.
pub async fn ask<T: mysql::prelude::FromRow + Send + 'static>(server: &str, sql: &str) -> Vec<T> {
    let (server, sql) = (server.to_owned(), sql.to_owned());
    let asked = tokio::task::spawn_blocking(move || {
        let mut conn = mysql::Conn::new(server.as_str()).expect("a connection");
        mysql::prelude::Queryable::query(&mut conn, sql).expect("an answer")
    });
    asked.await.expect("the administrator")
}
