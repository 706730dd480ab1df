//! The service over HTTP and events, with stock and bank played by the test.

mod crowds;
mod deadlines;
mod read_model;

use std::time::Duration;

use contracts::catalog::{ProductArchived, ProductCreated, ProductSnapshot, ProductStatus, ProductUpdated};
use contracts::inventory::*;
use contracts::orders::*;
use contracts::payments::*;
use contracts::{OrderId, ProductId, Role, topics};
use kernel::{Currency, Money};
use serde_json::{Value, json};
use testkit::{Faults, House};

const PRICE: i64 = 9_000;

fn product(n: u128, version: i64, won: i64) -> ProductSnapshot {
    ProductSnapshot {
        product_id: ProductId::from(House::user(n).uuid()),
        sku: format!("SKU-{n}"),
        name: "녹차".to_owned(),
        category: "tea".to_owned(),
        price: Money::new(won, Currency::KRW),
        status: ProductStatus::Active,
        version,
    }
}

async fn house() -> House {
    house_with(1, Faults::default()).await
}

async fn house_with(seed: u64, faults: Faults) -> House {
    house_of(seed, faults, &[]).await
}

async fn house_of(seed: u64, faults: Faults, sections: &[(&str, Value)]) -> House {
    let house = House::build_with(seed, faults, sections, async |context| {
        Ok::<_, host::StartError>(vec![crate::service(context).await?])
    })
    .await;
    let snapshot = product(1, 1, PRICE);
    let subject = snapshot.product_id.to_string();
    house.publish(topics::CATALOG, "catalog", &subject, &ProductCreated { product: snapshot }).await;
    house.settle().await;
    house
}

fn body(quantity: i64) -> Value {
    json!({ "lines": [{ "product_id": product(1, 1, PRICE).product_id, "quantity": quantity }] })
}

async fn place(house: &House, key: &str) -> (OrderId, Value) {
    let token = house.token(House::user(7), Role::Customer);
    let answer = house.post("/api/v1/orders").token(&token).key(key).json(&body(2)).send().await.expect(202);
    (serde_json::from_value(answer["id"].clone()).unwrap(), answer)
}

async fn state_of(house: &House, id: OrderId) -> String {
    let token = house.token(House::user(7), Role::Customer);
    let order = house.get(&format!("/api/v1/orders/{id}")).token(&token).send().await.expect(200);
    let history: Vec<_> =
        order["history"].as_array().unwrap().iter().map(|entry| entry["state"].clone()).collect();
    assert_eq!(history.last(), Some(&order["state"]));
    let reason = order["reason"].as_str().map(|reason| format!("({reason})")).unwrap_or_default();
    format!("{}{reason}", order["state"].as_str().unwrap())
}

async fn stock<E: kernel::envelope::Event>(house: &House, id: OrderId, event: E) {
    house.publish(topics::INVENTORY, "inventory", &id.to_string(), &event).await;
    house.settle().await;
}

async fn bank<E: kernel::envelope::Event>(house: &House, id: OrderId, event: E) {
    house.publish(topics::PAYMENTS, "payments", &id.to_string(), &event).await;
    house.settle().await;
}

fn reserved(order_id: OrderId) -> StockReserved {
    StockReserved { order_id, expires_at: testkit::NOON, levels: Vec::new() }
}

fn held(order_id: OrderId) -> PaymentHeld {
    let amount = Money::new(2 * PRICE, Currency::KRW);
    PaymentHeld { order_id, payment_id: House::user(9).uuid().into(), amount }
}

fn captured(order_id: OrderId) -> PaymentCaptured {
    let amount = Money::new(2 * PRICE, Currency::KRW);
    PaymentCaptured { order_id, payment_id: House::user(9).uuid().into(), amount }
}

async fn confirm(house: &House, id: OrderId) {
    stock(house, id, reserved(id)).await;
    bank(house, id, held(id)).await;
    stock(house, id, StockCommitted { order_id: id, levels: Vec::new() }).await;
    bank(house, id, captured(id)).await;
}

#[tokio::test]
async fn an_order_goes_from_placed_to_confirmed_and_nobody_hears_of_it_too_early() {
    let house = house().await;
    let (id, answer) = place(&house, "k").await;
    assert_eq!((answer["state"].as_str(), answer["version"].as_i64()), (Some("placed"), Some(1)));
    assert_eq!(answer["total"], json!({ "amount": 18_000, "currency": "KRW" }));
    house.settle().await;
    assert_eq!(state_of(&house, id).await, "reserving");
    let reserve = &house.published::<ReserveStock>(topics::INVENTORY_COMMANDS)[0];
    assert_eq!(reserve.lines, [StockLine { sku: "SKU-1".to_owned(), quantity: 2 }]);
    stock(&house, id, reserved(id)).await;
    assert_eq!(state_of(&house, id).await, "paying");
    assert_eq!(house.published::<HoldPayment>(topics::PAYMENTS_COMMANDS)[0].amount.minor, 18_000);
    bank(&house, id, held(id)).await;
    assert_eq!(state_of(&house, id).await, "paid");
    assert!(house.published::<OrderPlaced>(topics::ORDERS).is_empty());
    stock(&house, id, StockCommitted { order_id: id, levels: Vec::new() }).await;
    assert_eq!(house.published::<OrderPlaced>(topics::ORDERS).len(), 1);
    bank(&house, id, captured(id)).await;
    assert_eq!(state_of(&house, id).await, "confirmed");
    assert_eq!(house.published::<OrderConfirmed>(topics::ORDERS).len(), 1);

    let seller = house.token(House::user(3), Role::Seller);
    house.post(&format!("/api/v1/orders/{id}/fulfil")).token(&seller).send().await.expect(200);
    house.settle().await;
    assert_eq!(state_of(&house, id).await, "fulfilled");
    let token = house.token(House::user(7), Role::Customer);
    let cancel = house.post(&format!("/api/v1/orders/{id}/cancel")).token(&token).send().await;
    cancel.expect_problem(409, "order_not_cancellable");
}

#[tokio::test]
async fn without_stock_or_money_an_order_is_rejected_after_its_compensations() {
    let house = house().await;
    let (id, _) = place(&house, "a").await;
    let shortages = vec![Shortage { sku: "SKU-1".to_owned(), requested: 2, available: 1 }];
    stock(&house, id, StockRefused { order_id: id, shortages }).await;
    assert_eq!(state_of(&house, id).await, "rejected(out_of_stock)");

    let (id, _) = place(&house, "b").await;
    stock(&house, id, reserved(id)).await;
    bank(&house, id, PaymentDeclined { order_id: id, code: "insufficient_funds".to_owned() }).await;
    assert_eq!(state_of(&house, id).await, "compensating");
    assert_eq!(house.published::<ReleaseStock>(topics::INVENTORY_COMMANDS).len(), 1);
    stock(&house, id, StockReleased { order_id: id, levels: Vec::new() }).await;
    assert_eq!(state_of(&house, id).await, "rejected(payment_declined)");
    assert_eq!(house.published::<OrderRejected>(topics::ORDERS).len(), 2);
}

#[tokio::test]
async fn a_cancelled_order_is_refunded_and_its_stock_returned_before_it_says_so() {
    let house = house().await;
    let (id, _) = place(&house, "k").await;
    confirm(&house, id).await;
    let token = house.token(House::user(7), Role::Customer);
    let cancel = || house.post(&format!("/api/v1/orders/{id}/cancel")).token(&token);
    assert_eq!(cancel().send().await.expect(202)["state"], "compensating");
    assert_eq!(cancel().send().await.expect(202)["state"], "compensating");
    house.settle().await;
    assert_eq!(house.published::<RefundPayment>(topics::PAYMENTS_COMMANDS).len(), 1);
    stock(&house, id, StockReturned { order_id: id, levels: Vec::new() }).await;
    assert_eq!(state_of(&house, id).await, "compensating");
    bank(&house, id, PaymentRefunded { order_id: id, amount: Money::new(2 * PRICE, Currency::KRW) }).await;
    assert_eq!(state_of(&house, id).await, "cancelled(by_customer)");
    assert!(house.published::<OrderCancelled>(topics::ORDERS)[0].was_confirmed);
}

#[tokio::test]
async fn a_step_without_an_answer_is_tried_again_and_then_undone() {
    let house = house().await;
    let (id, _) = place(&house, "k").await;
    house.settle().await;
    for sent in [2, 3] {
        house.advance(Duration::from_secs(61)).await;
        assert_eq!(house.published::<ReserveStock>(topics::INVENTORY_COMMANDS).len(), sent);
    }
    house.advance(Duration::from_secs(61)).await;
    assert_eq!(state_of(&house, id).await, "compensating");
    stock(&house, id, StockReleased { order_id: id, levels: Vec::new() }).await;
    assert_eq!(state_of(&house, id).await, "cancelled(timeout)");
    // The answer that was given up comes late, and changes nothing.
    stock(&house, id, reserved(id)).await;
    assert_eq!(state_of(&house, id).await, "cancelled(timeout)");
}

#[tokio::test]
async fn the_same_request_is_one_order_and_another_one_under_its_key_is_refused() {
    let house = house().await;
    let token = house.token(House::user(7), Role::Customer);
    let (_, first) = place(&house, "k").await;
    let again = house.post("/api/v1/orders").token(&token).key("k").json(&body(2)).send().await;
    assert_eq!(again.header("idempotent-replayed"), Some("true"));
    assert_eq!(again.expect(202), first);
    let other = house.post("/api/v1/orders").token(&token).key("k").json(&body(3)).send().await;
    other.expect_problem(422, "idempotency_key_reused");
    // Another user's key is another key.
    let stranger = house.token(House::user(8), Role::Customer);
    let theirs =
        house.post("/api/v1/orders").token(&stranger).key("k").json(&body(2)).send().await.expect(202);
    assert_ne!(theirs["id"], first["id"]);
    house.settle().await;
    assert_eq!(house.published::<ReserveStock>(topics::INVENTORY_COMMANDS).len(), 2);
}

#[tokio::test]
async fn another_users_order_is_not_there() {
    let house = house().await;
    let (id, _) = place(&house, "k").await;
    house.settle().await;
    let stranger = house.token(House::user(8), Role::Customer);
    house
        .get(&format!("/api/v1/orders/{id}"))
        .token(&stranger)
        .send()
        .await
        .expect_problem(404, "order_not_found");
    let cancel = house.post(&format!("/api/v1/orders/{id}/cancel")).token(&stranger).send().await;
    cancel.expect_problem(404, "order_not_found");
    let list = house.get("/api/v1/orders").token(&stranger).send().await.expect(200);
    assert_eq!(list["data"], json!([]));
    let asked =
        house.get(&format!("/api/v1/orders?user_id={}", House::user(7))).token(&stranger).send().await;
    assert_eq!(asked.expect(200)["data"], json!([]));
    let admin = house.token(House::user(1), Role::Admin);
    house.get(&format!("/api/v1/orders/{id}")).token(&admin).send().await.expect(200);
}

#[tokio::test]
async fn orders_that_cannot_be_are_refused() {
    let house = house().await;
    let token = house.token(House::user(7), Role::Customer);
    let send =
        async |body: Value| house.post("/api/v1/orders").token(&token).key("x").json(&body).send().await;
    let id = product(1, 1, PRICE).product_id;
    let unknown = ProductId::from(House::user(99).uuid());
    for body in [
        json!({ "lines": [] }),
        json!({ "lines": [{ "product_id": unknown, "quantity": 1 }] }),
        json!({ "lines": [{ "product_id": id, "quantity": 0 }] }),
        json!({ "lines": [{ "product_id": id, "quantity": 1.5 }] }),
        json!({ "lines": [{ "product_id": "ord_1", "quantity": 1 }] }),
        json!({ "lines": [{ "product_id": id, "quantity": 1 }], "delivery": { "recipient": "", "address": "x" } }),
        json!({ "lines": [{ "product_id": id, "quantity": 1 }], "delivery": { "recipient": "a\r\nb", "address": "x" } }),
        json!({ "lines": [[id, 1, null]] }),
        json!([[{ "product_id": id, "quantity": 1 }], null, null]),
    ] {
        send(body).await.expect_problem(422, "validation_failed");
    }
    let paid = json!({ "lines": [{ "product_id": id, "quantity": 1 }], "total": 1 });
    send(paid).await.expect_problem(400, "unknown_field");
    let seen = json!({ "lines": [{ "product_id": id, "quantity": 1, "unit_price": { "amount": 1, "currency": "KRW" } }] });
    send(seen).await.expect_problem(409, "price_changed");
    let unverified = house.token_with(House::user(7), Role::Customer, false);
    let refused = house.post("/api/v1/orders").token(&unverified).key("x").json(&body(1)).send().await;
    refused.expect_problem(403, "email_not_verified");
    house
        .post("/api/v1/orders")
        .token(&token)
        .json(&body(1))
        .send()
        .await
        .expect_problem(400, "idempotency_key_required");
}

#[tokio::test]
async fn prices_follow_the_catalogue_and_an_older_version_changes_nothing() {
    let house = house().await;
    let subject = product(1, 1, 0).product_id.to_string();
    let update = ProductUpdated { product: product(1, 3, 8_000) };
    house.publish(topics::CATALOG, "catalog", &subject, &update).await;
    let late = ProductUpdated { product: product(1, 2, 7_000) };
    house.publish(topics::CATALOG, "catalog", &subject, &late).await;
    house.settle().await;
    let (_, order) = place(&house, "k").await;
    assert_eq!(order["total"]["amount"], 16_000);
    let archived = ProductArchived {
        product: ProductSnapshot { status: ProductStatus::Archived, ..product(1, 4, 8_000) },
    };
    house.publish(topics::CATALOG, "catalog", &subject, &archived).await;
    house.settle().await;
    let token = house.token(House::user(7), Role::Customer);
    let refused = house.post("/api/v1/orders").token(&token).key("n").json(&body(1)).send().await;
    refused.expect_problem(422, "validation_failed");
}

#[tokio::test]
async fn pages_hold_each_order_once_while_others_are_placed() {
    let house = house().await;
    let token = house.token(House::user(7), Role::Customer);
    let mut placed = std::collections::BTreeSet::new();
    for n in 0..25 {
        placed.insert(place(&house, &format!("k{n}")).await.0.to_string());
    }
    let (mut seen, mut cursor, mut round) = (Vec::new(), String::new(), 0);
    loop {
        let page =
            house.get(&format!("/api/v1/orders?limit=10{cursor}")).token(&token).send().await.expect(200);
        seen.extend(
            page["data"].as_array().unwrap().iter().map(|order| order["id"].as_str().unwrap().to_owned()),
        );
        place(&house, &format!("later{round}")).await;
        round += 1;
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(seen.len(), 25);
    assert_eq!(seen.into_iter().collect::<std::collections::BTreeSet<_>>(), placed);
    let forged = house.get("/api/v1/orders?cursor=AAAA").token(&token).send().await;
    forged.expect_problem(422, "validation_failed");
    house.settle().await;
}

#[tokio::test]
async fn duplicates_and_lost_offsets_move_an_order_once() {
    for seed in 0..20 {
        let faults = Faults { duplicate: 40, delay: 30, lose_commit: 20, lose_answer: 20 };
        let house = house_with(seed, faults).await;
        let (id, _) = place(&house, "k").await;
        confirm(&house, id).await;
        assert_eq!(state_of(&house, id).await, "confirmed", "seed {seed}");
        assert_eq!(house.published::<OrderConfirmed>(topics::ORDERS).len(), 1);
        house.bus.calm();
        house.settle().await;
        let verdicts = crate::oracle::verdicts(&house.service("orders").db, testkit::NOON).await.unwrap();
        assert!(verdicts.iter().all(host::Verdict::holds), "{verdicts:?}");
    }
}

#[tokio::test]
async fn whoever_waits_hears_of_the_end() {
    let house = house().await;
    let token = house.token(House::user(7), Role::Customer);
    let waiting = house.post("/api/v1/orders?wait=terminal").token(&token).key("w").json(&body(2)).send();
    let answering = async {
        let id: OrderId = loop {
            house.settle().await;
            let list = house.get("/api/v1/orders").token(&token).send().await.expect(200);
            // On a server the request is still under way.
            if let Ok(id) = serde_json::from_value(list["data"][0]["id"].clone()) {
                break id;
            }
        };
        confirm(&house, id).await;
    };
    let (answer, ()) = tokio::join!(waiting, answering);
    assert_eq!(answer.expect(201)["state"], "confirmed");
    // The same request later gets the end at once, and says that it is a repetition.
    let again = house.post("/api/v1/orders?wait=terminal").token(&token).key("w").json(&body(2)).send().await;
    assert_eq!(again.header("idempotent-replayed"), Some("true"));
    assert_eq!(again.expect(201)["state"], "confirmed");
}

/// The price of each product that orders are priced by.
fn prices(house: &House) -> Vec<(String, i64, i64)> {
    let sql = "SELECT sku, price, version FROM products ORDER BY sku";
    let read =
        |tx: &mut db::Tx<'_>| tx.query(sql, db::params![], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)));
    house.service("orders").db.read_now(read).map_err(|error: db::Error| error).unwrap()
}

#[tokio::test]
async fn products_are_rebuilt_while_orders_are_placed_at_the_right_price() {
    for seed in 0..12 {
        let faults = Faults { duplicate: 20, delay: 30, lose_commit: 10, lose_answer: 10 };
        let house = house_with(seed, faults).await;
        let change = async |n: u128, version: i64| {
            let snapshot = product(n, version, PRICE + version - 1);
            let subject = snapshot.product_id.to_string();
            house.publish(topics::CATALOG, "catalog", &subject, &ProductUpdated { product: snapshot }).await;
        };
        for version in 2..20 {
            change(1, version).await;
            change(2, version).await;
        }
        house.settle().await;
        let db = house.service("orders").db.clone();
        db.write(|tx| -> Result<(), db::Error> {
            tx.execute("DELETE FROM products WHERE sku = 'SKU-2'", db::params![])?;
            // A version that the catalogue never had: only a rebuild gets rid of it.
            let sql = "INSERT INTO products SELECT 'x', 'SKU-9', name, category, price, currency, status, 99 FROM products";
            tx.execute(sql, db::params![]).map(drop)
        })
        .await
        .unwrap();
        messaging::rebuild(&db, &house.bus, "orders.products", house.context.clock.now()).await.unwrap();
        let (mut placed, mut newest) = (0, 19);
        loop {
            let stage = messaging::projections(&db).await.unwrap()[0].stage;
            let (_, order) = place(&house, &format!("during-{placed}")).await;
            if stage != messaging::Stage::Live {
                // The old products are in use until the new ones are whole, and each of those as it takes its place.
                let total = order["total"]["amount"].as_i64().unwrap();
                let is_in_place = matches!(stage, messaging::Stage::Swapping | messaging::Stage::Settling);
                let right = if is_in_place { PRICE + newest - 1 } else { PRICE + 18 };
                assert!([2 * right, 2 * (PRICE + 18)].contains(&total), "seed {seed}: {order}");
                if placed == 3 {
                    change(1, 20).await;
                    newest = 20;
                }
            }
            placed += 1;
            if stage == messaging::Stage::Live && placed > 4 {
                break;
            }
            house.step_any().await;
        }
        assert!(placed > 4);
        house.settle().await;
        let at = |n: u128, version: i64| (format!("SKU-{n}"), PRICE + version - 1, version);
        assert_eq!(prices(&house), [at(1, newest), at(2, 19)], "seed {seed}");
        house.leave_unsettled();
    }
}
