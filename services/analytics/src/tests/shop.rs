//! What else the shop says: visits, payments, stock; and the windows and lists that are made of it.

use std::time::Duration;

use contracts::catalog::{ProductVisits, ProductsVisited};
use contracts::inventory::{StockAdjusted, StockCommitted, StockLevel};
use contracts::payments::{PaymentCaptured, PaymentDeclined, PaymentRefunded};
use contracts::{OrderId, PaymentId, ProductId, topics};
use kernel::{Clock, Currency, Money, Timestamp};
use serde_json::{Value, json};
use testkit::{House, NOON};

use super::orders::{cancel, confirm, id, line, order};
use super::{analyst, get, house, house_with};

fn krw(amount: i64) -> Money {
    Money::new(amount, Currency::KRW)
}

async fn pay(house: &House, n: u128, amount: i64) {
    let order_id = OrderId::from(id(n));
    let event = PaymentCaptured { order_id, payment_id: PaymentId::from(id(n)), amount: krw(amount) };
    house.publish(topics::PAYMENTS, "payments", &order_id.to_string(), &event).await;
}

async fn visit(house: &House, second: Timestamp, counts: &[(i64, i64)]) {
    let product_id = ProductId::from(id(7));
    let visits =
        counts.iter().map(|&(views, cart_additions)| ProductVisits { product_id, views, cart_additions });
    let event = ProductsVisited { second, visits: visits.collect() };
    house.publish(topics::CATALOG_VISITS, "catalog", "visits", &event).await;
}

#[tokio::test]
async fn the_funnel_goes_from_views_to_payments() {
    let house = house().await;
    visit(&house, NOON, &[(150, 30), (50, 10)]).await;
    visit(&house, NOON, &[(100, 0)]).await;
    for n in 0..4 {
        confirm(&house, &order(n, NOON, krw(10))).await;
    }
    for n in 0..3 {
        pay(&house, n, 10).await;
    }
    let order_id = OrderId::from(id(3));
    let declined = PaymentDeclined { order_id, code: "insufficient_funds".to_owned() };
    house.publish(topics::PAYMENTS, "payments", &order_id.to_string(), &declined).await;
    let order_id = OrderId::from(id(0));
    let refunded = PaymentRefunded { order_id, amount: krw(10) };
    house.publish(topics::PAYMENTS, "payments", &order_id.to_string(), &refunded).await;
    house.settle().await;
    let funnel = get(&house, "analytics/funnel?window=1m").await;
    assert_eq!(
        funnel["stages"],
        json!([
            { "stage": "view", "count": 300, "of_first_bp": 10_000 },
            { "stage": "cart", "count": 40, "of_previous_bp": 1_333, "of_first_bp": 1_333 },
            { "stage": "order", "count": 4, "of_previous_bp": 1_000, "of_first_bp": 133 },
            { "stage": "paid", "count": 3, "of_previous_bp": 7_500, "of_first_bp": 100 },
        ])
    );
    let current = &get(&house, "analytics/summary?window=1m").await["current"];
    assert_eq!((&current["views"], &current["conversion_bp"]), (&json!(300), &json!(100)));
    assert_eq!(current["paid"], json!([{ "amount": 30, "currency": "KRW" }]));
    assert_eq!(current["refunded"], json!([{ "amount": 10, "currency": "KRW" }]));
    assert_eq!(current["declined"], json!([{ "reason": "insufficient_funds", "count": 1 }]));
}

#[tokio::test]
async fn a_series_has_every_window_and_days_of_seoul() {
    let house = house().await;
    // Seoul's midnight is 15:00 in UTC.
    for (n, at) in ["2026-02-28T14:59:59.999Z", "2026-02-28T15:00:00.000Z"].into_iter().enumerate() {
        confirm(&house, &order(n as u128, at.parse().unwrap(), krw(100 + n as i64))).await;
    }
    house.settle().await;
    let days =
        get(&house, "analytics/series?window=1d&from=2026-02-27T00:00:00Z&to=2026-03-01T00:00:00Z").await;
    let data = days["data"].as_array().unwrap();
    let row = |point: &Value| (point["from"].clone(), point["revenue"].clone(), point["orders"].clone());
    let rows: Vec<_> = data.iter().map(row).collect();
    let money = |amount: i64| json!([{ "amount": amount, "currency": "KRW" }]);
    assert_eq!(
        rows,
        [
            (json!("2026-02-26T15:00:00.000Z"), json!([]), json!(0)),
            (json!("2026-02-27T15:00:00.000Z"), money(100), json!(1)),
            (json!("2026-02-28T15:00:00.000Z"), money(101), json!(1)),
        ]
    );
    assert_eq!(days["zone"], "Asia/Seoul");
    let months = get(&house, "analytics/monthly-total").await;
    let month = |month: &str, amount: i64| json!({ "month": month, "orders": 1, "revenue": { "amount": amount, "currency": "KRW" } });
    assert_eq!(months["data"], json!([month("2026-02", 100), month("2026-03", 101)]));
    let one = get(&house, "analytics/monthly-total?year=2026&limit=1").await;
    assert_eq!(one["data"], json!([month("2026-02", 100)]));
    let cursor = one["next_cursor"].as_str().unwrap();
    let rest = get(&house, &format!("analytics/monthly-total?year=2026&limit=1&cursor={cursor}")).await;
    assert_eq!(rest["data"], json!([month("2026-03", 101)]));
    assert_eq!(get(&house, "analytics/monthly-total?year=2025").await["data"], json!([]));

    let default = get(&house, "analytics/series").await;
    assert_eq!((&default["window"], default["data"].as_array().unwrap().len()), (&json!("1m"), 60));
    for bad in ["window=1s&from=2026-02-01T00:00:00Z", "from=2026-03-01T00:00:00Z&to=2026-02-01T00:00:00Z"] {
        let path = format!("/api/v1/analytics/series?{bad}");
        let answer = house.get(&path).token(&analyst(&house)).send().await;
        assert_eq!(answer.expect(422)["errors"][0]["pointer"], "/from");
    }
}

#[tokio::test]
async fn a_window_is_final_once_every_stream_is_past_it_and_silent_ones_too() {
    let house = house_with(json!({ "lateness_ms": 60_000, "idle_ms": 30_000 })).await;
    confirm(&house, &order(1, NOON, krw(5))).await;
    visit(&house, NOON.plus(Duration::from_secs(300)), &[(1, 0)]).await;
    house.settle().await;
    let path = "analytics/series?window=1m&from=2026-03-01T12:00:00Z&to=2026-03-01T12:05:00Z";
    let finals = |series: &Value| -> Vec<bool> {
        series["data"].as_array().unwrap().iter().map(|point| point["is_final"].as_bool().unwrap()).collect()
    };
    let series = get(&house, path).await;
    assert_eq!((&series["watermark"], finals(&series)), (&json!("2026-03-01T12:00:00.000Z"), vec![false; 5]));
    // The stream of orders has been silent for long: it does not hold the watermark back, but it may still speak.
    house.clock.advance(Duration::from_secs(31));
    visit(&house, NOON.plus(Duration::from_secs(301)), &[(1, 0)]).await;
    house.settle().await;
    let series = get(&house, path).await;
    assert_eq!(series["watermark"], "2026-03-01T12:05:01.000Z");
    assert_eq!(finals(&series), [false; 5]);
    let orders = |series: &Value| series["data"][1]["orders"].clone();
    assert_eq!(orders(&series), 0);
    confirm(&house, &order(2, NOON.plus(Duration::from_secs(61)), krw(5))).await;
    house.settle().await;
    assert_eq!(
        orders(&get(&house, path).await),
        1,
        "it was taken, so nobody may have been told that it was final"
    );
    // Enough orders for each stream of theirs to have one.
    for number in 3..80 {
        confirm(&house, &order(number, NOON.plus(Duration::from_secs(330)), krw(5))).await;
    }
    house.settle().await;
    assert_eq!(finals(&get(&house, path).await), [true, true, true, true, false]);
}

#[tokio::test]
async fn windows_that_are_not_kept_are_refused_and_not_told_as_empty() {
    let house = house().await;
    confirm(&house, &order(1, NOON, krw(5))).await;
    house.settle().await;
    // Minutes are kept for eight days, counters of hours for two.
    house.clock.advance(Duration::from_secs(9 * 86_400 + 3_600));
    visit(&house, NOON.plus(Duration::from_secs(9 * 86_400)), &[(1, 0)]).await;
    house.settle().await;
    let refused = async |path: &str| {
        let answer = house.get(&format!("/api/v1/{path}")).token(&analyst(&house)).send().await;
        let error = answer.expect(422)["errors"][0].clone();
        (error["pointer"].clone(), error["code"].clone())
    };
    let (from, at) = ((json!("/from"), json!("out_of_range")), (json!("/at"), json!("out_of_range")));
    let minutes = "analytics/series?window=1m&from=2026-03-01T12:00:00Z&to=2026-03-01T12:05:00Z";
    assert_eq!(refused(minutes).await, from);
    assert_eq!(refused(&minutes.replace("1m", "1s").replace("12:05", "12:01")).await, from);
    assert_eq!(refused("analytics/top-products?window=1h&at=2026-03-01T12:00:00Z").await, at);
    // The first minute that is whole, and the sizes that are kept for good or for longer.
    let first = "analytics/series?window=1m&from=2026-03-02T12:01:00Z&to=2026-03-02T12:05:00Z";
    assert_eq!(get(&house, first).await["data"].as_array().unwrap().len(), 4);
    assert_eq!(refused(&first.replace("12:01", "11:59")).await, from);
    let hours = get(&house, &minutes.replace("1m", "1h")).await;
    assert_eq!(hours["data"][0]["orders"], 1);
    let day = get(&house, "analytics/top-products?window=1d&at=2026-03-01T12:00:00Z").await;
    assert_eq!(day["data"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn the_greatest_products_and_categories_are_those_that_were_not_taken_back() {
    let house = house().await;
    let mut first = order(1, NOON, krw(700));
    first.lines = vec![line("TEA", "tea", 2, krw(250)), line("CUP", "china", 1, krw(200))];
    let mut second = order(2, NOON, krw(400));
    second.lines = vec![line("POT", "china", 1, krw(200)), line("TEA", "tea", 1, krw(200))];
    confirm(&house, &first).await;
    confirm(&house, &second).await;
    confirm(&house, &order(3, NOON, Money::new(9, Currency::USD))).await;
    house.settle().await;
    let top = |rows: &[(&str, i64, i64)]| -> Value {
        let row = |(rank, (sku, units, amount)): (usize, &(&str, i64, i64))| {
            json!({
                "rank": rank + 1, "sku": sku, "name": format!("{sku} by name"), "units": units,
                "revenue": { "amount": amount, "currency": "KRW" }, "revenue_error": 0,
            })
        };
        rows.iter().enumerate().map(row).collect()
    };
    let all = get(&house, "analytics/top-products").await;
    // Two with the same revenue: the lesser sku first.
    assert_eq!(all["data"], top(&[("TEA", 3, 700), ("CUP", 1, 200), ("POT", 1, 200)]));
    assert_eq!((&all["currency"], &all["is_exact"]), (&json!("KRW"), &json!(true)));
    let by_units = get(&house, "analytics/top-products?by=quantity&limit=1").await;
    assert_eq!(by_units["data"], top(&[("TEA", 3, 700)]));
    for window in ["1h", "1d"] {
        let found = get(&house, &format!("analytics/top-products?window={window}")).await;
        assert_eq!(found["data"], all["data"]);
        assert_eq!((&found["window"], &found["is_exact"]), (&json!(window), &json!(true)));
    }
    let categories = get(&house, "analytics/categories").await;
    let category = |category: &str, units: i64, amount: i64, currency: &str| {
        json!({
            "category": category, "units": units, "revenue": { "amount": amount, "currency": currency },
        })
    };
    assert_eq!(
        categories["data"],
        json!([
            category("china", 2, 400, "KRW"),
            category("tea", 3, 700, "KRW"),
            category("tea", 1, 9, "USD")
        ])
    );
    assert_eq!(get(&house, "analytics/categories?window=1M").await["data"], categories["data"]);
    let page = get(&house, "analytics/categories?limit=2").await;
    let cursor = page["next_cursor"].as_str().unwrap();
    let rest = get(&house, &format!("analytics/categories?limit=2&cursor={cursor}")).await;
    assert_eq!(rest["data"], json!([category("tea", 1, 9, "USD")]));

    cancel(&house, &first, "by_customer", true).await;
    house.settle().await;
    let left = get(&house, "analytics/top-products?window=1d").await;
    assert_eq!(left["data"], top(&[("POT", 1, 200), ("TEA", 1, 200), ("CUP", 0, 0)]));
    assert_eq!(get(&house, "analytics/top-products").await["data"], left["data"]);

    for (path, pointer) in [
        ("top-products?window=1m", "/window"),
        ("top-products?window=1d&by=quantity", "/by"),
        ("top-products?source=till&window=1d", "/window"),
        ("categories?window=1s", "/window"),
        ("series?source=till&window=1m", "/window"),
    ] {
        let answer = house.get(&format!("/api/v1/analytics/{path}")).token(&analyst(&house)).send().await;
        assert_eq!(answer.expect(422)["errors"][0]["pointer"], pointer, "{path}");
    }
}

#[tokio::test]
async fn a_huge_catalogue_has_bounded_counters_that_say_how_sure_they_are() {
    let house = house_with(json!({ "top_capacity": 3 })).await;
    for n in 0..40_u128 {
        let mut order = order(n, NOON, krw(0));
        let amount = if n % 4 == 0 { 1_000 } else { 10 };
        let sku = if n % 4 == 0 { "HOT".to_owned() } else { format!("SKU-{n}") };
        order.lines = vec![line(&sku, "tea", 1, krw(amount))];
        order.total = krw(amount);
        confirm(&house, &order).await;
    }
    house.settle().await;
    let top = get(&house, "analytics/top-products?window=1h&limit=1").await;
    assert_eq!(top["is_exact"], false);
    let hot = &top["data"][0];
    let (amount, error) =
        (hot["revenue"]["amount"].as_i64().unwrap(), hot["revenue_error"].as_i64().unwrap());
    assert_eq!(hot["sku"], "HOT");
    assert!(amount - error <= 10_000 && 10_000 <= amount, "{hot}");
    // The list of everything is exact all the same.
    let all = get(&house, "analytics/top-products?limit=2").await;
    assert_eq!(all["data"][0]["revenue"]["amount"], 10_000);
    assert_eq!(all["data"][1]["revenue"]["amount"], 10);
}

#[tokio::test]
async fn a_catalogue_too_large_for_a_list_of_everything_has_counters_for_it_too() {
    let house = house_with(json!({ "top_capacity": 2, "product_totals": "bounded" })).await;
    for (n, (sku, amount)) in (0..).zip([("TEA", 500), ("CUP", 90), ("POT", 10), ("TEA", 500)]) {
        let mut order = order(n, NOON, krw(amount));
        order.lines = vec![line(sku, "tea", 1, krw(amount))];
        confirm(&house, &order).await;
        house.settle().await;
    }
    let top = get(&house, "analytics/top-products?limit=1").await;
    let first = json!({
        "rank": 1, "sku": "TEA", "name": "TEA by name", "units": 2,
        "revenue": { "amount": 1_000, "currency": "KRW" }, "revenue_error": 0,
    });
    assert_eq!((&top["data"], &top["is_exact"], &top["floor"]), (&json!([first]), &json!(false), &json!(90)));
    let by_units =
        house.get("/api/v1/analytics/top-products?by=quantity").token(&analyst(&house)).send().await;
    assert_eq!(by_units.expect(422)["errors"][0]["pointer"], "/by");
}

#[tokio::test]
async fn stock_is_as_the_latest_version_has_it_whatever_comes_first() {
    let house = house().await;
    let level = |sku: &str, on_hand: i64, reserved: i64, version: i64| StockLevel {
        sku: sku.to_owned(),
        on_hand,
        reserved,
        version,
    };
    let commit = async |n: u128, levels: Vec<StockLevel>| {
        let order_id = OrderId::from(id(n));
        let event = StockCommitted { order_id, levels };
        house.publish(topics::INVENTORY, "inventory", &order_id.to_string(), &event).await;
    };
    commit(1, vec![level("TEA", 8, 3, 7), level("CUP", 1, 1, 2)]).await;
    commit(2, vec![level("TEA", 10, 1, 5)]).await;
    house.settle().await;
    commit(3, vec![level("TEA", 9, 2, 6)]).await;
    let adjusted = StockAdjusted {
        sku: "POT".to_owned(),
        delta: 4,
        on_hand: 4,
        reserved: 0,
        reason: "received".to_owned(),
        version: 1,
    };
    house.publish(topics::INVENTORY, "inventory", "POT", &adjusted).await;
    house.settle().await;
    let stock = get(&house, "analytics/stock?limit=2").await;
    let rows = |page: &Value| -> Vec<(String, i64)> {
        let row = |row: &Value| (row["sku"].as_str().unwrap().to_owned(), row["available"].as_i64().unwrap());
        page["data"].as_array().unwrap().iter().map(row).collect()
    };
    assert_eq!(rows(&stock), [("CUP".to_owned(), 0), ("POT".to_owned(), 4)]);
    let cursor = stock["next_cursor"].as_str().unwrap();
    let rest = get(&house, &format!("analytics/stock?cursor={cursor}")).await;
    assert_eq!(rows(&rest), [("TEA".to_owned(), 5)]);
}

#[tokio::test]
async fn seconds_are_forgotten_after_hours_and_days_never() {
    let house = house().await;
    confirm(&house, &order(1, NOON, krw(5))).await;
    house.settle().await;
    for day in 1..=12 {
        house.clock.advance(Duration::from_secs(86_400));
        // Every stream goes on.
        for n in 0..12 {
            confirm(&house, &order(100 * day + n, house.clock.now(), krw(1))).await;
        }
        house.settle().await;
    }
    let windows = super::kept::windows(&house);
    let oldest = |size: &str| {
        let of = |key: &String| {
            key.strip_prefix(&format!("{size}|")).and_then(|rest| rest.split('|').next()?.parse().ok())
        };
        windows.keys().filter_map(of).min().unwrap_or(0_i64)
    };
    let now = house.clock.now().as_millis();
    assert!(now - oldest("1s") <= 3 * 3_600_000 && now - oldest("1m") <= 9 * 86_400_000);
    assert_eq!(oldest("1h"), NOON.as_millis());
    super::kept::totals(&house);
}
