//! The shop's own orders: on any bus the same numbers.

use std::collections::BTreeMap;
use std::time::Duration;

use contracts::orders::{OrderCancelled, OrderConfirmed, OrderRejected, OrderSummary};
use contracts::{OrderId, topics};
use db::params;
use host::StartError;
use kernel::id::SplitMix;
use kernel::{Clock, Currency, Money, Timestamp};
use serde_json::json;
use testkit::{Faults, House, NOON};
use uuid::Uuid;

use super::{get, house};

fn order(n: u128, placed_at: Timestamp, total: Money) -> OrderSummary {
    OrderSummary {
        order_id: OrderId::from(Uuid::from_u128(0x0199_b4a0_0000_7000_8000_0000_0000_0000 + n)),
        user_id: House::user(1),
        lines: Vec::new(),
        total,
        placed_at,
    }
}

async fn confirm(house: &House, order: &OrderSummary) {
    let event = OrderConfirmed { order: order.clone() };
    house.publish(topics::ORDERS, "orders", &order.order_id.to_string(), &event).await;
}

async fn reject(house: &House, order: &OrderSummary, reason: &str) {
    let event = OrderRejected { order: order.clone(), reason: reason.to_owned(), detail: "TEA-1".to_owned() };
    house.publish(topics::ORDERS, "orders", &order.order_id.to_string(), &event).await;
}

async fn cancel(house: &House, order: &OrderSummary, reason: &str, was_confirmed: bool) {
    let event = OrderCancelled { order: order.clone(), reason: reason.to_owned(), was_confirmed };
    house.publish(topics::ORDERS, "orders", &order.order_id.to_string(), &event).await;
}

/// `minute|key` → numbers, the time of the last event last.
type Minutes = BTreeMap<String, Vec<i64>>;

fn kept(house: &House) -> Minutes {
    let db = &house.service("analytics").db;
    let rows = db.read_now(|tx| {
        let sql = "SELECT minute, currency, orders, revenue, last_event_at FROM order_minutes";
        let mut rows = tx.query(sql, params![], |row| {
            let key = format!("{}|{}", row.get::<i64>(0)?, row.get::<String>(1)?);
            Ok((key, vec![row.get(2)?, row.get(3)?, row.get(4)?]))
        })?;
        let sql = "SELECT minute, ending, reason, orders, last_event_at FROM order_endings";
        rows.extend(tx.query(sql, params![], |row| {
            let key = format!("{}|{}|{}", row.get::<i64>(0)?, row.get::<String>(1)?, row.get::<String>(2)?);
            Ok((key, vec![row.get(3)?, row.get(4)?]))
        })?);
        Ok::<_, db::Error>(rows)
    });
    rows.unwrap().into_iter().collect()
}

/// What the events add up to, without the service.
#[derive(Default)]
struct Expected {
    minutes: Minutes,
}

impl Expected {
    fn add(&mut self, key: String, values: &[i64], at: Timestamp) {
        let row = self.minutes.entry(key).or_insert_with(|| vec![0; values.len() + 1]);
        row.iter_mut().zip(values).for_each(|(sum, value)| *sum += value);
        let last = row.last_mut().unwrap();
        *last = (*last).max(at.as_millis());
    }
}

/// Sends a day of orders, by the script's seed; turns the house's pumps in between.
async fn play(house: &House, script: u64) -> Expected {
    play_from(house, script, 0).await
}

/// The same with orders that are numbered from `first` on.
async fn play_from(house: &House, script: u64, first: u128) -> Expected {
    let mut random = SplitMix(script);
    let mut expected = Expected::default();
    let mut open: Vec<(OrderSummary, bool)> = Vec::new();
    let minute = |at: Timestamp| at.as_millis() / 60_000;
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
                    expected.add(format!("{}|rejected|{reason}", minute(placed_at)), &[1], now);
                }
                1 => open.push((order, false)),
                _ => {
                    confirm(house, &order).await;
                    expected.add(format!("{}|{currency}", minute(placed_at)), &[1, minor], now);
                    open.push((order, true));
                }
            }
        } else {
            let index = usize::try_from(random.below(open.len() as u64)).unwrap();
            let (order, was_confirmed) = open.swap_remove(index);
            let reason = if was_confirmed { "by_customer" } else { "timeout" };
            cancel(house, &order, reason, was_confirmed).await;
            expected.add(format!("{}|cancelled|{reason}", minute(now)), &[1], now);
            if was_confirmed {
                let key = format!("{}|{}", minute(order.placed_at), order.total.currency);
                expected.add(key, &[-1, -order.total.minor], now);
            }
        }
        for _ in 0..random.below(4) {
            house.step_any().await;
        }
    }
    expected
}

#[tokio::test]
async fn minutes_that_are_rebuilt_while_orders_come_are_the_same_for_every_seed() {
    for seed in 0..24 {
        let faults = Faults { duplicate: 20, delay: 30, lose_commit: 10, lose_answer: 10 };
        let mut house = House::build_with(seed, faults, &[], async |context| {
            Ok::<_, StartError>(vec![crate::service(context).await?])
        })
        .await;
        let before = play(&house, seed).await;
        let steps = |house: &House| house.random(12);
        house.settle().await;
        assert_eq!(kept(&house), before.minutes, "seed {seed}");
        let db = house.service("analytics").db.clone();
        db.write(|tx| -> Result<(), db::Error> {
            tx.execute("DELETE FROM order_endings", params![])?;
            tx.execute("UPDATE order_minutes SET revenue = revenue + 1", params![]).map(drop)
        })
        .await
        .unwrap();
        // Twice: the second may begin before what waited behind the first has been handled. In between a process dies.
        let mut expected = before;
        for round in 0..2 {
            while messaging::rebuild(&db, &house.bus, "analytics.orders", house.clock.now()).await.is_err() {
                house.step_any().await;
            }
            for _ in 0..steps(&house) {
                house.step_any().await;
            }
            house.restart(async |context| Ok::<_, StartError>(vec![crate::service(context).await?])).await;
            for (key, row) in
                play_from(&house, seed + 100 + round, 1_000 * (u128::from(round) + 1)).await.minutes
            {
                let (last, sums) = row.split_last().unwrap();
                expected.add(key, sums, Timestamp::from_millis(*last));
            }
        }
        house.settle().await;
        assert_eq!(kept(&house), expected.minutes, "seed {seed}");
        assert_eq!(messaging::projections(&db).await.unwrap()[0].stage, messaging::Stage::Live);
    }
}

#[tokio::test]
async fn a_hostile_bus_gives_the_same_numbers_for_every_seed() {
    for seed in 0..36 {
        let faults = Faults { duplicate: 20, delay: 30, lose_commit: 10, lose_answer: 10 };
        let house = House::build_with(seed, faults, &[], async |context| {
            Ok::<_, StartError>(vec![crate::service(context).await?])
        })
        .await;
        let expected = play(&house, seed / 2).await;
        house.settle().await;
        assert_eq!(kept(&house), expected.minutes, "seed {seed}");

        let summary = get(&house, "analytics/summary?window=1d").await;
        let sum_of = |wanted: &dyn Fn(&str) -> bool, column: usize| -> i64 {
            expected.minutes.iter().filter(|(key, _)| wanted(key)).map(|(_, row)| row[column]).sum()
        };
        let current = &summary["current"];
        assert_eq!(current["orders"], sum_of(&|key| key.ends_with("KRW") || key.ends_with("USD"), 0));
        assert_eq!(current["cancellations"], sum_of(&|key| key.contains("cancelled"), 0));
        let revenue: Vec<_> = ["KRW", "USD"]
            .map(|code| json!({ "amount": sum_of(&|key| key.ends_with(code), 1), "currency": code }))
            .into();
        assert_eq!(current["revenue"], json!(revenue));
        let last = expected.minutes.values().filter_map(|row| row.last()).max().unwrap();
        assert_eq!(summary["last_event_at"], json!(Timestamp::from_millis(*last)));
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
    confirm(&house, &order(4, before(3_601), krw(50))).await;
    reject(&house, &order(5, NOON, krw(9)), "out_of_stock").await;
    reject(&house, &order(6, NOON, krw(9)), &"x".repeat(65)).await;
    house.settle().await;

    let summary = get(&house, "analytics/summary?window=1m").await;
    assert_eq!(
        summary["current"],
        json!({
            "from": "2026-03-01T12:00:00.000Z", "to": "2026-03-01T12:01:00.000Z", "orders": 2,
            "revenue": [{ "amount": 2_001, "currency": "KRW" }],
            "average_order_value": [{ "amount": 1_001, "currency": "KRW" }], "cancellations": 0,
            "rejected": [{ "reason": "other", "count": 1 }, { "reason": "out_of_stock", "count": 1 }],
            "external_transactions": 0, "external_duplicates": 0, "external_rejected": [],
        })
    );
    assert_eq!(summary["previous"]["revenue"], json!([{ "amount": 7, "currency": "KRW" }]));
    assert_eq!(summary["as_of"], "2026-03-01T12:00:00.000Z");
    let hour = get(&house, "analytics/summary").await;
    assert_eq!((&hour["window"], &hour["current"]["orders"]), (&json!("1h"), &json!(3)));
    assert_eq!(hour["previous"]["orders"], 1);

    // Cancelled later: gone from the minute in which it was placed, counted in the one in which it happened.
    house.clock.advance(Duration::from_secs(60));
    cancel(&house, &order(1, NOON, krw(1_000)), "by_customer", true).await;
    cancel(&house, &order(7, NOON, krw(5)), "timeout", false).await;
    house.settle().await;
    let summary = get(&house, "analytics/summary?window=1m").await;
    assert_eq!((&summary["current"]["orders"], &summary["current"]["cancellations"]), (&json!(0), &json!(2)));
    assert_eq!(summary["current"]["average_order_value"], json!([]));
    assert_eq!(summary["previous"]["orders"], 1);
    assert_eq!(summary["previous"]["revenue"], json!([{ "amount": 1_001, "currency": "KRW" }]));
}

#[tokio::test]
async fn an_order_that_a_total_cannot_hold_is_a_dead_letter_and_others_go_on() {
    let house = house().await;
    house.allow_dead_letters();
    let krw = |amount: i64| Money::new(amount, Currency::KRW);
    confirm(&house, &order(1, NOON, krw(i64::MAX - 1))).await;
    confirm(&house, &order(2, NOON, krw(2))).await;
    confirm(&house, &order(3, NOON, krw(1))).await;
    house.settle().await;
    let summary = get(&house, "analytics/summary?window=1m").await;
    assert_eq!(summary["current"]["orders"], 2);
    assert_eq!(summary["current"]["revenue"], json!([{ "amount": i64::MAX, "currency": "KRW" }]));
    let letters = messaging::list_dead_letters(&house.service("analytics").db, 10).await.unwrap();
    assert!(letters.len() == 1 && letters[0].error.starts_with("total_overflow"), "{letters:?}");
    // Two minutes that fit by themselves and not together are a clear refusal, not a wrong number.
    confirm(&house, &order(4, NOON.minus(Duration::from_secs(60)), krw(1))).await;
    house.settle().await;
    let answer = house.get("/api/v1/analytics/summary?window=1h").token(&super::analyst(&house)).send().await;
    answer.expect_problem(409, "total_overflow");
}
