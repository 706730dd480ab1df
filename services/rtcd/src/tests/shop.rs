//! The whole shop on real files, with everything running: what many callers at once must never see.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use axum::Router;
use host::Config;
use serde_json::{Value, json};
use testkit::{Answer, Call};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::serve::{Options, Running, start};

/// A running shop in a directory of its own.
pub(super) struct Shop {
    pub(super) running: Running,
    directory: tempfile::TempDir,
    operator: String,
}

pub(super) struct Shopper {
    pub(super) token: String,
}

impl Shop {
    pub(super) async fn open() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let overrides = [
            ("data", json!(directory.path())),
            ("server.api_bind", json!("127.0.0.1:0")),
            ("server.admin_bind", json!("127.0.0.1:0")),
        ];
        let config = Config::load(None, &overrides).unwrap();
        let running = start(Options { config, selection: crate::Selection::everything(), listener: None })
            .await
            .unwrap();
        let operator = std::fs::read_to_string(directory.path().join("secrets/admin_token")).unwrap();
        Self { running, directory, operator }
    }

    pub(super) fn api(&self, method: &str, path: &str) -> Call {
        call(&self.running.router, method, path)
    }

    pub(super) fn operator(&self, method: &str, path: &str) -> Call {
        call(&self.running.admin_router, method, path).token(&self.operator)
    }

    async fn sign_in(&self, email: &str, password: &str) -> Answer {
        self.api("POST", "/api/v1/sessions")
            .json(&json!({ "email": email, "password": password }))
            .send()
            .await
    }

    async fn admin(&self) -> String {
        let password = std::fs::read_to_string(self.directory.path().join("secrets/admin_password")).unwrap();
        let session = self.sign_in("admin@rtc.local", password.trim()).await;
        assert!(session.status < 300, "{}", session.text());
        session.json["access_token"].as_str().unwrap().to_owned()
    }

    /// Puts a product on sale and waits until orders know of it.
    pub(super) async fn product(&self, sku: &str, price: i64, pieces: i64) -> Value {
        let admin = self.admin().await;
        let body = json!({
            "sku": sku, "name": sku, "description": "", "category": "test", "attributes": {},
            "price": { "amount": price, "currency": "KRW" }, "status": "active",
        });
        let product = self.api("POST", "/api/v1/products").token(&admin).json(&body).send().await.expect(201);
        let stock = json!({ "delta": pieces, "reason": "received" });
        let path = format!("/api/v1/stock/{sku}/adjustments");
        self.api("POST", &path).token(&admin).key("open").json(&stock).send().await.expect(201);
        self.quiet().await;
        product
    }

    pub(super) async fn shoppers(&self, count: usize, won: i64) -> Vec<Shopper> {
        let made = self.operator("POST", "/admin/shoppers").json(&json!({ "count": count })).send().await;
        let made = made.expect(200);
        let made = made["data"].as_array().unwrap();
        let ids: Vec<&Value> = made.iter().map(|shopper| &shopper["user_id"]).collect();
        let body = json!({ "user_ids": ids, "amount": { "amount": won, "currency": "KRW" } });
        let funded = self.operator("POST", "/admin/shoppers/fund").json(&body).send().await.expect(200);
        assert_eq!(funded["funded"], count);
        made.iter()
            .map(|shopper| Shopper { token: shopper["access_token"].as_str().unwrap().to_owned() })
            .collect()
    }

    /// Waits until nothing is under way: no outbox row, no lag, no open order.
    pub(super) async fn quiet(&self) {
        for _ in 0..600 {
            let status = self.operator("GET", "/admin/status").send().await.expect(200);
            let services = status["services"].as_array().unwrap();
            let waiting: i64 = services.iter().map(|service| service["outbox_depth"].as_i64().unwrap()).sum();
            let lag = self.operator("GET", "/admin/lag").send().await.expect(200);
            let behind: i64 =
                lag["data"].as_array().unwrap().iter().map(|one| one["lag"].as_i64().unwrap()).sum();
            let states = &status["orders"]["by_state"];
            let open = ["placed", "reserving", "reserved", "paying", "paid", "compensating"];
            let open = open.iter().any(|state| states[*state].as_i64().unwrap_or(0) != 0);
            if waiting == 0 && behind == 0 && !open {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("the shop does not come to rest");
    }

    async fn invariants_hold(&self) {
        let verdicts = self.operator("GET", "/admin/invariants").send().await.expect(200);
        let verdicts = verdicts["data"].as_array().unwrap();
        let ids: BTreeSet<&str> = verdicts.iter().filter_map(|verdict| verdict["id"].as_str()).collect();
        for id in ["I1", "I2", "I3", "I4", "I5", "I6", "I7", "I11", "I12", "I13"] {
            assert!(ids.contains(id), "{id} is not checked");
        }
        for verdict in verdicts {
            assert_eq!(verdict["holds"], true, "{verdict}");
        }
    }

    pub(super) async fn close(self) -> tempfile::TempDir {
        self.running.stop().await;
        self.directory
    }
}

fn call(router: &Router, method: &str, path: &str) -> Call {
    Call::new(router.clone(), method.parse().unwrap(), path)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_copies_of_one_order_are_one_order_and_two_hundred_equal_answers() {
    let shop = Shop::open().await;
    let product = shop.product("ONE", 1_000, 500).await;
    let shopper = &shop.shoppers(1, 1_000_000).await[0];
    let body = json!({ "lines": [{ "product_id": product["id"], "quantity": 1 }] });
    let mut copies = tokio::task::JoinSet::new();
    for _ in 0..200 {
        copies.spawn(shop.api("POST", "/api/v1/orders").token(&shopper.token).key("one").json(&body).send());
    }
    let answers = copies.join_all().await;
    let replayed = answers.iter().filter(|answer| answer.header("idempotent-replayed").is_some()).count();
    assert_eq!(replayed, 199);
    let bodies: BTreeSet<String> = answers.into_iter().map(|answer| answer.expect(202).to_string()).collect();
    assert_eq!(bodies.len(), 1);
    shop.quiet().await;
    let list = shop.api("GET", "/api/v1/orders").token(&shopper.token).send().await.expect(200);
    assert_eq!(list["data"].as_array().unwrap().len(), 1);
    assert_eq!(list["data"][0]["state"], "confirmed");
    shop.invariants_hold().await;
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_hundred_buyers_of_a_hundred_pieces_make_exactly_a_hundred_confirmed_orders() {
    let shop = Shop::open().await;
    let product = shop.product("HOT", 1_000, 100).await;
    let buyers = shop.shoppers(500, 5_000).await;
    let (mut waiting, mut placed) = (buyers, Vec::new());
    while !waiting.is_empty() {
        let mut orders = tokio::task::JoinSet::new();
        for buyer in waiting.drain(..) {
            let body = json!({ "lines": [{ "product_id": product["id"], "quantity": 1 }] });
            let path = "/api/v1/orders?wait=terminal";
            let order = shop.api("POST", path).token(&buyer.token).key("buy").json(&body).send();
            orders.spawn(async move { (order.await, buyer) });
        }
        // Who is refused at a full door comes again.
        let (refused, ended): (Vec<_>, Vec<_>) =
            orders.join_all().await.into_iter().partition(|(answer, _)| answer.status == 503);
        waiting.extend(refused.into_iter().map(|(_, buyer)| buyer));
        placed.extend(ended);
    }
    // On a busy machine somebody is told how far it is before it has ended.
    shop.quiet().await;
    let mut ended = BTreeMap::new();
    for (answer, buyer) in &placed {
        let path = format!("/api/v1/orders/{}", answer.json["id"].as_str().expect("an order"));
        let order = shop.api("GET", &path).token(&buyer.token).send().await.expect(200);
        *ended.entry(order["state"].to_string()).or_insert(0) += 1;
    }
    assert_eq!(ended, BTreeMap::from([("\"confirmed\"".to_owned(), 100), ("\"rejected\"".to_owned(), 400)]));
    let stock = shop.api("GET", "/api/v1/stock/HOT").send().await.expect(200);
    assert_eq!((&stock["on_hand"], &stock["reserved"]), (&json!(0), &json!(0)));
    shop.invariants_hold().await;
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_secret_is_in_no_file_but_the_mailbox_and_the_secrets() {
    let shop = Shop::open().await;
    let (email, password, pin) = ("canary.kim@example.kr", "canary-password-9f3a7c", "483920");
    let sign_up =
        json!({ "email": email, "password": password, "name": "Canary Kim-Name", "phone": "010-7777-3141" });
    shop.api("POST", "/api/v1/users").json(&sign_up).send().await.expect(201);
    let session = shop.sign_in(email, password).await;
    let (access, refresh) = (&session.json["access_token"], &session.json["refresh_token"]);
    let (access, refresh) = (access.as_str().unwrap(), refresh.as_str().unwrap());
    let account = json!({ "currency": "KRW", "pin": pin });
    shop.api("POST", "/api/v1/accounts").token(access).key("a").json(&account).send().await.expect(201);
    let code = json!({ "email": email });
    let asked = shop.api("POST", "/api/v1/users/verification").json(&code).send().await;
    assert!(asked.status < 300, "{}", asked.text());
    shop.quiet().await;
    let (access, refresh) = (access.to_owned(), refresh.to_owned());
    let directory = shop.close().await;
    let signature = access.rsplit('.').next().unwrap();
    let canaries = [email, password, pin, "Canary Kim-Name", "010-7777-3141", &refresh, signature];
    let mut looked_at = 0;
    for entry in std::fs::read_dir(directory.path()).unwrap().flatten().filter(|entry| entry.path().is_file())
    {
        let bytes = std::fs::read(entry.path()).unwrap();
        looked_at += 1;
        for canary in canaries {
            let found = bytes.windows(canary.len()).any(|window| window == canary.as_bytes());
            // Six digits turn up by chance in a file of random-looking text; as a text of its own they do not.
            let quoted = format!("\"{pin}\"");
            let by_chance =
                canary == pin && !bytes.windows(quoted.len()).any(|window| window == quoted.as_bytes());
            assert!(!found || by_chance, "{canary} is in {}", entry.path().display());
        }
    }
    assert!(looked_at >= 7, "only {looked_at} files were looked at");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_directory_has_one_rtcd_at_a_time() {
    let shop = Shop::open().await;
    let overrides = [
        ("data", json!(shop.directory.path())),
        ("server.api_bind", json!("127.0.0.1:0")),
        ("server.admin_bind", json!("127.0.0.1:0")),
    ];
    let config = Config::load(None, &overrides).unwrap();
    let second = start(Options { config, selection: crate::Selection::everything(), listener: None }).await;
    let error = second.map(drop).unwrap_err();
    assert_eq!((error.code(), error.exit_code()), ("RTD004", 8));
    assert!(shop.directory.path().join("run.json").is_file());
    let directory = shop.close().await;
    assert!(!directory.path().join("run.json").exists());
}

/// Reads until what came contains `wanted`.
async fn read_until(socket: &mut TcpStream, wanted: &str) {
    let mut text = String::new();
    while !text.contains(wanted) {
        let mut bytes = [0; 4_096];
        let count = socket.read(&mut bytes).await.unwrap();
        assert!(count > 0, "the connection ended at {text:?}");
        text.push_str(&String::from_utf8_lossy(&bytes[..count]));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn open_streams_end_with_the_process_and_do_not_hold_it_up() {
    let shop = Shop::open().await;
    let token = shop.admin().await;
    let mut followed = TcpStream::connect(shop.running.admin).await.unwrap();
    let path = "/admin/topics/rtc.orders/messages?from=latest&follow=true";
    let request =
        format!("GET {path} HTTP/1.1\r\nhost: rtc\r\nauthorization: Bearer {}\r\n\r\n", shop.operator);
    followed.write_all(request.as_bytes()).await.unwrap();
    read_until(&mut followed, "200 OK").await;

    let mut taken = TcpStream::connect(shop.running.api).await.unwrap();
    let line = "{}\n";
    let request = format!(
        "POST /api/v1/transactions:stream?source=till HTTP/1.1\r\nhost: rtc\r\nauthorization: Bearer {token}\r\n\
         content-type: application/x-ndjson\r\ntransfer-encoding: chunked\r\n\r\n{:x}\r\n{line}\r\n",
        line.len()
    );
    taken.write_all(request.as_bytes()).await.unwrap();
    read_until(&mut taken, "\"result\":\"rejected\"").await;

    let began = Instant::now();
    shop.close().await;
    assert!(began.elapsed() < Duration::from_secs(5), "it took {:?}", began.elapsed());
    for mut socket in [followed, taken] {
        let mut rest = Vec::new();
        socket.read_to_end(&mut rest).await.unwrap();
        assert!(rest.ends_with(b"0\r\n\r\n"), "{:?}", String::from_utf8_lossy(&rest));
    }
}
