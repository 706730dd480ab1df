//! The shop's own orders: on any bus the same numbers.

use std::time::Duration;

use contracts::orders::{OrderCancelled, OrderConfirmed, OrderRejected, OrderSummary, OrderedLine};
use contracts::{OrderId, ProductId, topics};
use db::params;
use host::StartError;
use kernel::id::SplitMix;
use kernel::{Clock, Currency, Money, Timestamp};
use serde_json::json;
use testkit::{Faults, House, NOON};
use uuid::Uuid;

use super::kept::{Happened, assert_whole, late, windows};
use super::{get, house, house_with};

pub const HOSTILE: Faults = Faults { duplicate: 20, delay: 30, lose_commit: 10, lose_answer: 10 };
/// So late that nothing is.
pub const PATIENT_MS: i64 = 366 * 86_400_000;

pub fn id(n: u128) -> Uuid {
    Uuid::from_u128(0x0199_b4a0_0000_7000_8000_0000_0000_0000 + n)
}

/// An order of one piece.
pub fn order(n: u128, placed_at: Timestamp, total: Money) -> OrderSummary {
    OrderSummary {
        order_id: OrderId::from(id(n)),
        user_id: House::user(1),
        lines: vec![line(&format!("SKU-{}", n % 5), "tea", 1, total)],
        total,
        placed_at,
    }
}

pub fn line(sku: &str, category: &str, quantity: i64, unit_price: Money) -> OrderedLine {
    OrderedLine {
        product_id: ProductId::from(id(1)),
        sku: sku.to_owned(),
        name: format!("{sku} by name"),
        category: category.to_owned(),
        quantity,
        unit_price,
    }
}

pub async fn confirm(house: &House, order: &OrderSummary) {
    let event = OrderConfirmed { order: order.clone() };
    house.publish(topics::ORDERS, "orders", &order.order_id.to_string(), &event).await;
}

pub async fn reject(house: &House, order: &OrderSummary, reason: &str) {
    let event = OrderRejected { order: order.clone(), reason: reason.to_owned(), detail: "TEA-1".to_owned() };
    house.publish(topics::ORDERS, "orders", &order.order_id.to_string(), &event).await;
}

pub async fn cancel(house: &House, order: &OrderSummary, reason: &str, was_confirmed: bool) {
    let event = OrderCancelled { order: order.clone(), reason: reason.to_owned(), was_confirmed };
    house.publish(topics::ORDERS, "orders", &order.order_id.to_string(), &event).await;
}

pub async fn patient_and_hostile(seed: u64) -> House {
    let section = json!({ "lateness_ms": PATIENT_MS });
    House::build_with(seed, HOSTILE, &[("services.analytics", section)], async |context| {
        Ok::<_, StartError>(vec![crate::service(context).await?])
    })
    .await
}

/// What the confirmation of an order adds; `sign` -1 takes it back.
fn ordered(happened: &mut Happened, order: &OrderSummary, sign: i64) {
    let currency = order.total.currency.as_str();
    let sum = [sign, sign * order.total.minor];
    happened.add(order.placed_at, "order", currency, sum);
    happened.add(order.placed_at, "sold", currency, sum);
    happened.add(order.placed_at, "category", &format!("{currency}|tea"), sum);
}

/// The order's first end.
fn ended(happened: &mut Happened, order: &OrderSummary, outcome: &str, now: Timestamp) {
    happened.add(order.placed_at, "placed", order.total.currency.as_str(), [1, order.total.minor]);
    let ms = now.as_millis() - order.placed_at.as_millis();
    // The buckets have a test of their own.
    let bucket = crate::domain::durations::bucket_of(ms);
    happened.add(now, "duration", &format!("{outcome}|{bucket:04}"), [1, ms]);
}

/// Sends a day of orders that are numbered from `first` on, by the script's seed; turns the house's pumps in between.
async fn play(house: &House, script: u64, first: u128, happened: &mut Happened) {
    let mut random = SplitMix(script);
    let mut open: Vec<(OrderSummary, bool)> = Vec::new();
    for n in first..first + 120 {
        house.clock.advance(Duration::from_millis(random.below(40_000)));
        let now = house.clock.now();
        if random.chance(60) || open.is_empty() {
            let placed_at = now.minus(Duration::from_millis(random.below(90_000)));
            let currency = [Currency::KRW, Currency::USD][usize::try_from(random.below(2)).unwrap()];
            let minor = i64::try_from(random.below(100_000)).unwrap();
            let order = order(n, placed_at, Money::new(minor, currency));
            match random.below(4) {
                0 => {
                    let reason =
                        ["out_of_stock", "payment_declined"][usize::try_from(random.below(2)).unwrap()];
                    reject(house, &order, reason).await;
                    ended(happened, &order, "rejected", now);
                    happened.add(placed_at, "rejected", reason, [1, minor]);
                }
                1 => open.push((order, false)),
                _ => {
                    confirm(house, &order).await;
                    ended(happened, &order, "confirmed", now);
                    ordered(happened, &order, 1);
                    open.push((order, true));
                }
            }
        } else {
            let index = usize::try_from(random.below(open.len() as u64)).unwrap();
            let (order, was_confirmed) = open.swap_remove(index);
            let reason = if was_confirmed { "by_customer" } else { "timeout" };
            cancel(house, &order, reason, was_confirmed).await;
            happened.add(now, "cancelled", reason, [1, order.total.minor]);
            if was_confirmed {
                ordered(happened, &order, -1);
            } else {
                ended(happened, &order, "cancelled", now);
            }
        }
        for _ in 0..random.below(4) {
            house.step_any().await;
        }
    }
}

#[tokio::test]
async fn a_hostile_bus_gives_the_same_windows_for_every_seed() {
    for seed in 0..24 {
        let house = patient_and_hostile(seed).await;
        let mut happened = Happened::default();
        play(&house, seed / 2, 0, &mut happened).await;
        house.settle().await;
        assert_eq!(windows(&house), happened.windows(), "seed {seed}");
        assert!(late(&house).is_empty());
        assert_whole(&house);

        let summary = get(&house, "analytics/summary?window=1d").await;
        let sum_of = |measure: &str, label: &str, column: usize| -> i64 {
            let of = happened.facts.iter().filter(|fact| fact.1 == measure && fact.2.starts_with(label));
            of.map(|fact| fact.3[column]).sum()
        };
        let current = &summary["current"];
        assert_eq!(current["orders"], sum_of("order", "", 0));
        assert_eq!(current["placed"], sum_of("placed", "", 0));
        assert_eq!(current["cancellations"], sum_of("cancelled", "", 0));
        assert_eq!(current["duration"]["orders"], sum_of("duration", "confirmed", 0));
        let revenue: Vec<_> =
            ["KRW", "USD"].map(|code| json!({ "amount": sum_of("order", code, 1), "currency": code })).into();
        assert_eq!(current["revenue"], json!(revenue));
    }
}

#[tokio::test]
async fn with_little_patience_nothing_is_lost_either() {
    for seed in 0..12 {
        let section = json!({ "lateness_ms": 1_000 });
        let house = House::build_with(seed, HOSTILE, &[("services.analytics", section)], async |context| {
            Ok::<_, StartError>(vec![crate::service(context).await?])
        })
        .await;
        let mut happened = Happened::default();
        play(&house, seed, 0, &mut happened).await;
        house.settle().await;
        assert!(!late(&house).is_empty(), "seed {seed}: nothing was late");
        assert_whole(&house);
        let orders: i64 = happened.facts.iter().filter(|fact| fact.1 == "order").map(|fact| fact.3[1]).sum();
        let kept: i64 = super::kept::totals(&house)
            .iter()
            .filter(|(key, _)| key.starts_with("|0|order|"))
            .map(|(_, sum)| sum[1])
            .sum();
        assert_eq!(kept, orders);
    }
}

#[tokio::test]
async fn windows_that_are_rebuilt_while_orders_come_are_the_same_for_every_seed() {
    for seed in 0..12 {
        let mut house = patient_and_hostile(seed).await;
        let mut happened = Happened::default();
        play(&house, seed, 0, &mut happened).await;
        house.settle().await;
        assert_eq!(windows(&house), happened.windows(), "seed {seed}");
        let db = house.service("analytics").db.clone();
        db.write(|tx| -> Result<(), db::Error> {
            tx.execute("DELETE FROM windows WHERE window_size = '1h'", params![])?;
            tx.execute("UPDATE shop_products SET amount = 1", params![])?;
            tx.execute("UPDATE windows SET amount = amount + 1", params![]).map(drop)
        })
        .await
        .unwrap();
        // Twice: the second may begin before what waited behind the first has been handled. In between a process dies.
        for round in 0..2_u64 {
            while messaging::rebuild(&db, &house.bus, "analytics.shop", house.clock.now()).await.is_err() {
                house.step_any().await;
            }
            for _ in 0..house.random(12) {
                house.step_any().await;
            }
            house.restart(async |context| Ok::<_, StartError>(vec![crate::service(context).await?])).await;
            play(&house, seed + 100 + round, 1_000 * (u128::from(round) + 1), &mut happened).await;
        }
        house.settle().await;
        assert_eq!(windows(&house), happened.windows(), "seed {seed}");
        assert_whole(&house);
        let products: i64 = db
            .read_now(|tx| tx.query_one("SELECT SUM(amount) FROM shop_products", params![], |row| row.get(0)))
            .unwrap_or_else(|error: db::Error| panic!("{error}"));
        let sold: i64 = happened.facts.iter().filter(|fact| fact.1 == "sold").map(|fact| fact.3[1]).sum();
        assert_eq!(products, sold, "seed {seed}");
        assert_eq!(messaging::projections(&db).await.unwrap()[0].stage, messaging::Stage::Live);
    }
}

#[tokio::test]
async fn a_summary_shows_the_running_window_and_the_one_before() {
    let house = house().await;
    let krw = |amount: i64| Money::new(amount, Currency::KRW);
    let before = |seconds: u64| NOON.minus(Duration::from_secs(seconds));
    confirm(&house, &order(1, NOON, krw(1_000))).await;
    confirm(&house, &order(2, NOON, krw(1_001))).await;
    confirm(&house, &order(3, before(1), krw(7))).await;
    reject(&house, &order(5, NOON, krw(9)), "out_of_stock").await;
    reject(&house, &order(6, NOON, krw(9)), &"x".repeat(65)).await;
    house.settle().await;

    let summary = get(&house, "analytics/summary?window=1m").await;
    assert_eq!(
        summary["current"],
        json!({
            "from": "2026-03-01T12:00:00.000Z", "to": "2026-03-01T12:01:00.000Z", "orders": 2,
            "revenue": [{ "amount": 2_001, "currency": "KRW" }],
            "average_order_value": [{ "amount": 1_001, "currency": "KRW" }], "units": 2, "placed": 4,
            "rejected": [{ "reason": "other", "count": 1 }, { "reason": "out_of_stock", "count": 1 }],
            "cancellations": 0, "cancelled": [], "payments": 0, "paid": [], "refunded": [], "declined": [],
            "views": 0, "cart_additions": 0,
            "duration": { "orders": 3, "mean_ms": 333, "p50_ms": 0, "p95_ms": 1_023, "p99_ms": 1_023 },
            "external_transactions": 0, "external_duplicates": 0, "external_rejected": [],
        })
    );
    assert_eq!(summary["previous"]["revenue"], json!([{ "amount": 7, "currency": "KRW" }]));
    assert_eq!(summary["as_of"], "2026-03-01T12:00:00.000Z");
    assert_eq!(summary["last_event_at"], "2026-03-01T12:00:00.000Z");
    let hour = get(&house, "analytics/summary").await;
    assert_eq!((&hour["window"], &hour["current"]["orders"]), (&json!("1h"), &json!(3)));

    // Cancelled later: gone from the minute in which it was placed, counted in the one in which it happened.
    house.clock.advance(Duration::from_secs(60));
    cancel(&house, &order(1, NOON, krw(1_000)), "by_customer", true).await;
    cancel(&house, &order(7, NOON, krw(5)), "timeout", false).await;
    house.settle().await;
    let summary = get(&house, "analytics/summary?window=1m").await;
    assert_eq!((&summary["current"]["orders"], &summary["current"]["cancellations"]), (&json!(0), &json!(2)));
    let reasons = json!([{ "reason": "by_customer", "count": 1 }, { "reason": "timeout", "count": 1 }]);
    assert_eq!(summary["current"]["cancelled"], reasons);
    assert_eq!(summary["current"]["average_order_value"], json!([]));
    assert_eq!((&summary["previous"]["orders"], &summary["previous"]["placed"]), (&json!(1), &json!(5)));
    assert_eq!(summary["previous"]["revenue"], json!([{ "amount": 1_001, "currency": "KRW" }]));
}

#[tokio::test]
async fn what_comes_after_its_window_has_closed_is_counted_as_late_and_shown() {
    let house = house_with(json!({ "lateness_ms": 60_000 })).await;
    let krw = |amount: i64| Money::new(amount, Currency::KRW);
    // Both keys share a stream, so that the one moves it on for the other.
    let same_stream = |n: u128| bus::partition_of(&OrderId::from(id(n)).to_string(), 4);
    let first = order(1, NOON, krw(1_000));
    let second = (2..).find(|n| same_stream(*n) == same_stream(1)).unwrap();
    confirm(&house, &first).await;
    house.settle().await;
    house.clock.advance(Duration::from_secs(121));
    confirm(&house, &order(second, house.clock.now(), krw(30))).await;
    house.settle().await;
    cancel(&house, &first, "by_customer", true).await;
    house.settle().await;
    let summary = get(&house, "analytics/summary?window=1h").await;
    let view = |window: &str| {
        json!({
            "window": window, "facts": 1, "orders": -1, "revenue": { "amount": -1_000, "currency": "KRW" },
        })
    };
    assert_eq!(summary["late"], json!([view("1m"), view("1s")]));
    // The hour is whole by itself, and so is the day; the minutes keep what they had.
    let hours = get(&house, "analytics/series?window=1h").await;
    assert_eq!(hours["data"][59]["revenue"], json!([{ "amount": 30, "currency": "KRW" }]));
    assert_eq!(summary["current"]["revenue"], json!([{ "amount": 1_030, "currency": "KRW" }]));
    assert_whole(&house);
    let metrics = house.context.encode_metrics();
    for line in [
        "rtc_late_events_total{window=\"1s\"} 1",
        "rtc_late_events_total{window=\"1m\"} 1",
        "rtc_late_events_total{window=\"1h\"} 0",
        "rtc_analytics_events_total 3",
    ] {
        assert!(metrics.contains(line), "{line} is not in\n{metrics}");
    }
}

#[tokio::test]
async fn numbers_that_a_total_cannot_hold_are_dead_letters_and_others_go_on() {
    let house = house().await;
    house.allow_dead_letters();
    let krw = |amount: i64| Money::new(amount, Currency::KRW);
    confirm(&house, &order(1, NOON, krw(i64::MAX - 1))).await;
    confirm(&house, &order(2, NOON, krw(2))).await;
    let db = house.service("analytics").db.clone();
    house.settle().await;
    let summary = get(&house, "analytics/summary?window=1m").await;
    assert_eq!(summary["current"]["revenue"], json!([{ "amount": 2, "currency": "KRW" }]));
    // Many that fit by themselves, and not together.
    db.write(|tx| {
        let sql = "UPDATE window_totals SET gross_amount = ? WHERE measure = 'order'";
        tx.execute(sql, params![i64::MAX - 100])
    })
    .await
    .unwrap();
    confirm(&house, &order(3, NOON, krw(99))).await;
    confirm(&house, &order(4, NOON, krw(1_000))).await;
    house.settle().await;
    let summary = get(&house, "analytics/summary?window=1m").await;
    assert_eq!(summary["current"]["revenue"], json!([{ "amount": 101, "currency": "KRW" }]));
    let letters = messaging::list_dead_letters(&db, 10).await.unwrap();
    let errors: Vec<&str> = letters.iter().map(|letter| letter.error.as_str()).collect();
    assert!(errors.len() == 2 && errors.iter().all(|error| error.contains("total_overflow")), "{errors:?}");
}
