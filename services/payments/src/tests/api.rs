//! The routes: who may do what, refusals as HTTP errors, and PINs that leave no trace.

use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use contracts::{Role, UserId};
use db::params;
use serde_json::{Value, json};
use testkit::House;

use super::*;

/// No other text of the tests holds these digits.
const PIN: &str = "826193745016";

async fn open(house: &House, user: UserId, minor: i64) -> String {
    let token = house.token(user, Role::Customer);
    let body = json!({ "currency": "KRW", "pin": PIN });
    let account =
        house.post("/api/v1/accounts").token(&token).key("open").json(&body).send().await.expect(201);
    let number = account["number"].as_str().unwrap().to_owned();
    if minor > 0 {
        let path = format!("/api/v1/accounts/{number}/deposits");
        let body = json!({ "amount": krw(minor) });
        house.post(&path).token(&token).key("deposit").json(&body).send().await.expect(201);
    }
    number
}

async fn place(
    house: &House,
    user: UserId,
    number: &str,
    key: &str,
    minor: i64,
    pin: &str,
) -> testkit::Answer {
    let body = json!({ "key": key, "amount": krw(minor), "pin": pin });
    let token = house.token(user, Role::Customer);
    house.post(&format!("/api/v1/accounts/{number}/holds")).token(&token).json(&body).send().await
}

#[tokio::test]
async fn an_account_is_opened_once_for_a_key_and_numbered_in_sequence() {
    let house = house(&[]).await;
    let number = open(&house, House::user(1), 500).await;
    assert_eq!(number, "1002-200-0000001");
    assert_eq!(open(&house, House::user(1), 500).await, number);
    assert_eq!(open(&house, House::user(2), 0).await, "1002-200-0000002");
    assert_eq!(balances(&house, House::user(1)).await, [500, 0]);
    let token = house.token(House::user(1), Role::Customer);
    let other = json!({ "currency": "KRW", "pin": "4711" });
    let answer = house.post("/api/v1/accounts").token(&token).key("open").json(&other).send().await;
    answer.expect_problem(422, "idempotency_key_reused");
    let answer = house.post("/api/v1/accounts").token(&token).json(&other).send().await;
    answer.expect_problem(400, "idempotency_key_required");
    let bad = json!({ "currency": "KRW", "pin": "12" });
    house.post("/api/v1/accounts").token(&token).key("x").json(&bad).send().await.expect(422);
    let stray = json!({ "currency": "XTS", "pin": "482915" });
    let answer = house.post("/api/v1/accounts").token(&token).key("x").json(&stray).send().await;
    assert_eq!(answer.expect_problem(422, "validation_failed")["errors"][0]["code"], "currency_unknown");
}

#[tokio::test]
async fn what_belongs_to_another_is_not_found() {
    let house = house(&[]).await;
    let number = open(&house, House::user(1), 500).await;
    let (other, admin) =
        (house.token(House::user(2), Role::Customer), house.token(House::user(3), Role::Admin));
    for path in [format!("/api/v1/accounts/{number}"), format!("/api/v1/accounts/{number}/entries")] {
        house.get(&path).token(&other).send().await.expect_problem(404, "account_not_found");
        house.get(&path).token(&admin).send().await.expect(200);
    }
    place(&house, House::user(2), &number, "k", 5, PIN).await.expect_problem(404, "account_not_found");
    hold(&house, order(1), House::user(1), 100).await;
    house.settle().await;
    let path = format!("/api/v1/payments/{}", order(1));
    house.get(&path).token(&other).send().await.expect_problem(404, "payment_not_found");
    let owner = house.token(House::user(1), Role::Customer);
    assert_eq!(house.get(&path).token(&owner).send().await.expect(200)["state"], "held");
    assert_eq!(house.get(&path).token(&admin).send().await.expect(200)["state"], "held");
}

#[tokio::test]
async fn a_hold_at_the_counter_lives_its_life_and_refusals_are_http_errors() {
    let house = house(&[]).await;
    let user = House::user(1);
    let number = open(&house, user, 1_000).await;
    place(&house, user, &number, "big", 1_001, PIN).await.expect_problem(402, "insufficient_funds");
    let hold = place(&house, user, &number, "bid", 600, PIN).await.expect(201);
    assert_eq!((&hold["key"], &hold["state"]), (&json!("bid"), &json!("pending")));
    let again = place(&house, user, &number, "bid", 600, PIN).await;
    assert_eq!(again.header("idempotent-replayed"), Some("true"));
    assert_eq!(again.expect(201)["id"], hold["id"]);
    let id = hold["id"].as_str().unwrap();
    let (customer, admin) = (house.token(user, Role::Customer), house.token(House::user(9), Role::Admin));
    let act = async |action: &str, key: &str, body: Value| {
        let path = format!("/api/v1/holds/{id}/{action}");
        house.post(&path).token(&admin).key(key).json(&body).send().await
    };
    let path = format!("/api/v1/holds/{id}/capture");
    house.post(&path).token(&customer).key("c").json(&json!({})).send().await.expect(403);
    let part = json!({ "amount": krw(400) });
    assert_eq!(act("capture", "c", part.clone()).await.expect(200)["captured"]["amount"], 400);
    let replay = act("capture", "c", part).await;
    assert_eq!(replay.header("idempotent-replayed"), Some("true"));
    act("capture", "c2", json!({})).await.expect_problem(409, "hold_captured");
    act("release", "r", json!({})).await.expect_problem(409, "hold_captured");
    act("refund", "f1", json!({ "amount": krw(401) })).await.expect_problem(422, "amount_too_large");
    assert_eq!(act("refund", "f2", json!({})).await.expect(200)["refunded"]["amount"], 400);
    assert_eq!(balances(&house, user).await, [1_000, 0]);
    let page = house
        .get(&format!("/api/v1/accounts/{number}/entries?limit=2"))
        .token(&customer)
        .send()
        .await
        .expect(200);
    assert_eq!(page["data"][0]["action"], "refund");
    let cursor = page["next_cursor"].as_str().unwrap();
    let path = format!("/api/v1/accounts/{number}/entries?limit=2&cursor={cursor}");
    let rest = house.get(&path).token(&customer).send().await.expect(200);
    assert_eq!((&rest["data"][1]["action"], &rest["next_cursor"]), (&json!("deposit"), &Value::Null));
    assert_sound(&house).await;
}

#[tokio::test]
async fn an_orders_hold_cannot_be_taken_at_the_counter() {
    let house = house(&[]).await;
    let user = House::user(1);
    open(&house, user, 1_000).await;
    hold(&house, order(1), user, 100).await;
    house.settle().await;
    let sql = "SELECT id FROM bank_holds";
    let db = house.service("payments").db.clone();
    let id: String =
        db.read(|tx| tx.query_one(sql, params![], |row| row.get(0))).await.map_err(|e: db::Error| e).unwrap();
    let admin = house.token(House::user(9), Role::Admin);
    let path = format!("/api/v1/holds/{id}/release");
    let answer = house.post(&path).token(&admin).key("r").json(&json!({})).send().await;
    answer.expect_problem(409, "hold_conflict");
}

#[tokio::test]
async fn five_wrong_pins_lock_the_account_for_a_quarter_of_an_hour() {
    let house = house(&[]).await;
    let user = House::user(1);
    let number = open(&house, user, 1_000).await;
    for _ in 0..5 {
        place(&house, user, &number, "k", 5, "9999").await.expect_problem(403, "pin_wrong");
    }
    let locked = place(&house, user, &number, "k", 5, PIN).await;
    assert!(locked.header("retry-after").is_some());
    locked.expect_problem(429, "pin_locked");
    house.advance(Duration::from_secs(14 * 60 + 59)).await;
    place(&house, user, &number, "k", 5, PIN).await.expect_problem(429, "pin_locked");
    house.advance(Duration::from_secs(2)).await;
    place(&house, user, &number, "k", 5, PIN).await.expect(201);
}

#[tokio::test]
async fn funding_tops_up_to_the_amount_and_no_further() {
    let house = house(&[]).await;
    let users: Vec<UserId> = (1..=150).map(House::user).collect();
    fund(&house, &users, 700).await;
    fund(&house, &users, 700).await;
    fund(&house, &users[..1], 300).await;
    assert_eq!(balances(&house, users[0]).await, [700, 0]);
    assert_eq!(balances(&house, users[149]).await, [700, 0]);
    assert_eq!(account(&house, users[0]).await["has_pin"], false);
    assert_sound(&house).await;
}

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn a_pin_leaves_no_trace_in_tables_events_answers_or_logs() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::DEBUG)
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .finish();
    // For the whole process: the log of every test beside this one must be free of the PIN too.
    tracing::subscriber::set_global_default(subscriber).unwrap();
    let house = house(&[]).await;
    let user = House::user(1);
    let number = open(&house, user, 1_000).await;
    place(&house, user, &number, "k", 100, PIN).await.expect(201);
    let wrong = place(&house, user, &number, "k", 100, "000000000000").await;
    assert!(!wrong.text().contains(PIN));
    place(&house, user, &number, "too-much", 100_000, PIN).await.expect(402);
    hold(&house, order(1), user, 100).await;
    hold(&house, order(2), user, 100_000).await;
    house.settle().await;
    let rows = testkit::dump(&house.service("payments").db).await;
    assert!(rows.contains("$argon2id$") && rows.contains(&number), "the dump sees the account");
    let events: String =
        house.bus.log("rtc.payments").iter().map(|delivery| delivery.payload.to_string()).collect();
    assert!(events.contains("payment_held"));
    let logged = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert!(logged.contains("request refused"), "the log sees the refusals");
    for (place, text) in [("a table", rows), ("an event", events), ("the log", logged)] {
        assert!(!text.contains(PIN), "the PIN is in {place}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn accounts_that_are_opened_at_once_stay_within_the_limit() {
    let house = house(&[]).await;
    let (user, db) = (House::user(1), house.service("payments").db.clone());
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..32 {
        let db = db.clone();
        tasks.spawn(async move {
            let open = move |tx: &mut db::Tx<'_>| {
                crate::bank::accounts::open(tx, user, kernel::Currency::KRW, None, testkit::NOON).map(drop)
            };
            db.write(open).await.is_ok()
        });
    }
    assert_eq!(tasks.join_all().await.into_iter().filter(|opened| *opened).count(), 20);
    let count: Result<i64, db::Error> =
        db.read(|tx| tx.query_one("SELECT COUNT(*) FROM bank_accounts", params![], |row| row.get(0))).await;
    assert_eq!(count.unwrap(), 20);
}
