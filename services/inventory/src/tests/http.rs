//! The routes, over the whole service in memory.

use std::time::Duration;

use contracts::inventory::{ReserveStock, StockAdjusted, StockLine, StockLow};
use contracts::{OrderId, Role, topics};
use kernel::Clock;
use serde_json::{Value, json};
use testkit::House;

async fn house() -> House {
    House::build(&[], async |context| Ok::<_, host::StartError>(vec![crate::service(context).await?])).await
}

fn seller(house: &House) -> String {
    house.token(House::user(1), Role::Seller)
}

async fn adjust(house: &House, sku: &str, key: &str, delta: i64) -> testkit::Answer {
    let path = format!("/api/v1/stock/{sku}/adjustments");
    let body = json!({ "delta": delta, "reason": "received" });
    house.post(&path).token(&seller(house)).key(key).json(&body).send().await
}

async fn reserve(house: &House, sku: &str, quantity: i64) -> OrderId {
    let order_id: OrderId = house.context.ids.next();
    let lines = vec![StockLine { sku: sku.to_owned(), quantity }];
    let expires_at = house.clock.now().plus(Duration::from_secs(600));
    let command = ReserveStock { order_id, lines, expires_at };
    house.publish(topics::INVENTORY_COMMANDS, "orders", &order_id.to_string(), &command).await;
    house.settle().await;
    order_id
}

#[tokio::test]
async fn an_adjustment_creates_the_item_and_says_so_once() {
    let house = house().await;
    let first = adjust(&house, "TEA-1", "k1", 8).await;
    assert_eq!(first.header("location"), Some("/api/v1/stock/TEA-1"));
    assert_eq!(first.header("etag"), Some("\"1\""));
    let first = first.expect(201);
    let stock = json!({
        "sku": "TEA-1", "on_hand": 8, "reserved": 0, "available": 8, "low_stock_threshold": 5,
        "mode": "reserve_on_order", "version": 1, "as_of": "2026-03-01T12:00:00.000Z",
    });
    assert_eq!(first, stock);
    let again = adjust(&house, "TEA-1", "k1", 8).await;
    assert_eq!(again.header("idempotent-replayed"), Some("true"));
    assert_eq!(again.expect(201), first);
    adjust(&house, "TEA-1", "k1", 9).await.expect_problem(422, "idempotency_key_reused");
    house.settle().await;
    let said = house.published::<StockAdjusted>(topics::INVENTORY);
    assert_eq!(said.len(), 1);
    assert_eq!((said[0].delta, said[0].on_hand, said[0].reason.as_str()), (8, 8, "received"));
    assert_eq!(house.get("/api/v1/stock/TEA-1").send().await.expect(200), stock);
}

#[tokio::test]
async fn stock_is_public_with_an_etag_and_changes_need_a_seller() {
    let house = house().await;
    adjust(&house, "TEA", "k1", 8).await.expect(201);
    let seen = house.get("/api/v1/stock/TEA").send().await;
    let tag = seen.header("etag").unwrap().to_owned();
    let again = house.get("/api/v1/stock/TEA").header("if-none-match", &tag).send().await;
    assert_eq!((again.status, again.bytes.len()), (304, 0));
    reserve(&house, "TEA", 1).await;
    let changed = house.get("/api/v1/stock/TEA").header("if-none-match", &tag).send().await.expect(200);
    assert_eq!((&changed["reserved"], &changed["available"]), (&json!(1), &json!(7)));
    house.get("/api/v1/stock/NONE").send().await.expect_problem(404, "stock_not_found");
    let customer = house.token(House::user(2), Role::Customer);
    let body = json!({ "delta": 1, "reason": "x" });
    let path = "/api/v1/stock/TEA/adjustments";
    house.post(path).key("k").json(&body).send().await.expect(401);
    house.post(path).key("k").token(&customer).json(&body).send().await.expect(403);
    for path in ["/api/v1/stock", "/api/v1/stock/TEA/movements"] {
        house.get(path).send().await.expect(401);
        house.get(path).token(&customer).send().await.expect(403);
    }
    let settings = json!({ "low_stock_threshold": 1, "mode": "none" });
    house
        .call("PUT", "/api/v1/stock/TEA")
        .token(&customer)
        .if_match(1)
        .json(&settings)
        .send()
        .await
        .expect(403);
    house.settle().await;
}

#[tokio::test]
async fn reserved_stock_cannot_be_adjusted_away() {
    let house = house().await;
    adjust(&house, "TEA", "k1", 5).await.expect(201);
    reserve(&house, "TEA", 3).await;
    adjust(&house, "TEA", "k2", -3).await.expect_problem(409, "stock_reserved");
    let left = adjust(&house, "TEA", "k3", -2).await.expect(201);
    assert_eq!((&left["on_hand"], &left["reserved"]), (&json!(3), &json!(3)));
    adjust(&house, "NEW", "k4", -1).await.expect_problem(404, "stock_not_found");
    house.settle().await;
    super::assert_sound(&house.service("inventory").db).await;
}

#[tokio::test]
async fn a_reader_does_not_see_stock_held_by_an_expired_reservation() {
    let house = house().await;
    adjust(&house, "TEA", "k1", 5).await.expect(201);
    reserve(&house, "TEA", 3).await;
    house.clock.advance(Duration::from_secs(600));
    let seen = house.get("/api/v1/stock/TEA").send().await.expect(200);
    assert_eq!((&seen["reserved"], &seen["as_of"]), (&json!(0), &json!("2026-03-01T12:10:00.000Z")));
    house.settle().await;
    let metrics = house.context.encode_metrics();
    for line in ["rtc_reservations_expired_total 1", "rtc_reservations_total{answer=\"reserved\"} 1"] {
        assert!(metrics.lines().any(|found| found == line), "{line} is missing in {metrics}");
    }
}

#[tokio::test]
async fn a_bad_adjustment_is_refused_with_every_fault_named() {
    let house = house().await;
    let send = async |sku: &str, body: Value| {
        let path = format!("/api/v1/stock/{sku}/adjustments");
        house.post(&path).token(&seller(&house)).key("k").json(&body).send().await
    };
    let problem =
        send("a%20b", json!({ "delta": 0, "reason": " " })).await.expect_problem(422, "validation_failed");
    let pointers: Vec<&Value> =
        problem["errors"].as_array().unwrap().iter().map(|error| &error["pointer"]).collect();
    assert_eq!(pointers, ["/sku", "/delta", "/reason"]);
    send("TEA", json!({ "delta": 1_000_000_001, "reason": "x" })).await.expect(422);
    send("TEA", json!({ "delta": i64::MIN, "reason": "x" })).await.expect(422);
    send("TEA", json!({ "delta": 1.5, "reason": "x" })).await.expect(422);
    send("TEA", json!({ "delta": 1, "reason": "x", "on_hand": 9 }))
        .await
        .expect_problem(400, "unknown_field");
    let body = json!({ "delta": 1, "reason": "x" });
    let unkeyed = house.post("/api/v1/stock/TEA/adjustments").token(&seller(&house)).json(&body).send().await;
    unkeyed.expect_problem(400, "idempotency_key_required");
}

#[tokio::test]
async fn settings_change_only_over_the_version_that_was_read() {
    let house = house().await;
    adjust(&house, "TEA", "k1", 8).await.expect(201);
    let put = |body: Value| house.call("PUT", "/api/v1/stock/TEA").token(&seller(&house)).json(&body);
    let settings = json!({ "low_stock_threshold": 8, "mode": "track_only" });
    put(settings.clone()).send().await.expect(428);
    put(settings.clone()).if_match(7).send().await.expect_problem(412, "stale_version");
    let answer = put(settings.clone()).if_match(1).send().await;
    assert_eq!(answer.header("etag"), Some("\"2\""));
    let stock = answer.expect(200);
    assert_eq!((&stock["mode"], &stock["low_stock_threshold"]), (&json!("track_only"), &json!(8)));
    put(json!({ "low_stock_threshold": -1, "mode": "none" })).if_match(2).send().await.expect(422);
    put(json!({ "low_stock_threshold": 1, "mode": "reserve_on_cart" })).if_match(2).send().await.expect(422);
    let other = house.call("PUT", "/api/v1/stock/NONE").token(&seller(&house)).if_match(1).json(&settings);
    other.send().await.expect_problem(404, "stock_not_found");
    house.settle().await;
    // The new threshold found it low.
    assert_eq!(house.published::<StockLow>(topics::INVENTORY).len(), 1);
}

#[tokio::test]
async fn pages_give_every_item_and_every_movement_once() {
    let house = house().await;
    for n in 0..7 {
        adjust(&house, &format!("SKU-{n}"), &format!("k{n}"), 10).await.expect(201);
    }
    for n in 0..5 {
        adjust(&house, "SKU-3", &format!("m{n}"), -1).await.expect(201);
    }
    let walk = async |path: &str| {
        let mut rows = Vec::new();
        let mut cursor = String::new();
        loop {
            let page =
                house.get(&format!("{path}?limit=3{cursor}")).token(&seller(&house)).send().await.expect(200);
            rows.extend(page["data"].as_array().unwrap().clone());
            match page["next_cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return rows,
            }
        }
    };
    let skus: Vec<String> = (0..7).map(|n| format!("SKU-{n}")).collect();
    let found = walk("/api/v1/stock").await;
    assert_eq!(found.iter().map(|row| row["sku"].as_str().unwrap()).collect::<Vec<_>>(), skus);
    let moved = walk("/api/v1/stock/SKU-3/movements").await;
    let on_hand: Vec<i64> = moved.iter().map(|row| row["on_hand"].as_i64().unwrap()).collect();
    assert_eq!(on_hand, [5, 6, 7, 8, 9, 10]);
    assert_eq!(moved[0]["adjusted_by"], House::user(1).to_string());
    assert!(moved[0].get("order_id").is_none());
    house.get("/api/v1/stock?cursor=x").token(&seller(&house)).send().await.expect(422);
    house.settle().await;
}

#[tokio::test]
async fn the_configuration_is_checked_at_the_start() {
    for (key, value) in [("reservation_max_s", 3_601), ("line_quantity_max", 0), ("expiry_batch", 0)] {
        let config = json!({ key: value });
        let config: crate::Config = serde_json::from_value(config).unwrap();
        assert!(host::Section::check(&config).is_err(), "{key}");
    }
    assert!(serde_json::from_value::<crate::Config>(json!({ "unknown": 1 })).is_err());
}
