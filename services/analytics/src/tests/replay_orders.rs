//! Real sales as orders of the shop, on a hostile bus that also kills: days, months, hours, categories and products are
//! those of the sales, added up another way.

use std::collections::BTreeMap;

use contracts::orders::OrderSummary;
use host::StartError;
use kernel::id::SplitMix;
use kernel::{Currency, Money, Timestamp};
use serde_json::{Value, json};
use testkit::House;

use super::get;
use super::kept::{assert_whole, late};
use super::orders::{cancel, confirm, line, order, patient_and_hostile};
use super::sales::{self, Sales};

const OFFSET_MS: i64 = 9 * 3_600_000;

fn gbp(minor: i64) -> Money {
    Money::new(minor, Currency::GBP)
}

/// An invoice as an order, and whether it takes one back. The lines of what is taken back are turned round: the order of
/// which they were.
struct Invoice {
    order: OrderSummary,
    is_taken_back: bool,
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Expected {
    orders: i64,
    revenue: i64,
    by_hour: BTreeMap<i64, (i64, i64)>,
    by_day: BTreeMap<i64, (i64, i64)>,
    by_month: BTreeMap<String, (i64, i64)>,
    by_category: BTreeMap<String, (i64, i64)>,
    by_sku: BTreeMap<String, (i64, i64)>,
}

fn read(sales: &Sales) -> (Vec<Invoice>, Expected) {
    let mut expected = Expected::default();
    let mut lines: BTreeMap<String, Vec<&Value>> = BTreeMap::new();
    for item in &sales.items {
        lines.entry(item["invoice"].as_str().unwrap().to_owned()).or_default().push(item);
    }
    let mut invoices = Vec::new();
    for (n, (number, items)) in (0..).zip(&lines) {
        let is_taken_back = number.starts_with('C');
        let sign = if is_taken_back { -1 } else { 1 };
        let placed_at: Timestamp = items[0]["occurred_at"].as_str().unwrap().parse().unwrap();
        let mut order = order(n, placed_at, gbp(0));
        order.lines.clear();
        for item in items {
            let (quantity, amount) = (item["quantity"].as_i64().unwrap(), item["amount"].as_i64().unwrap());
            let (sku, country) = (item["sku"].as_str().unwrap(), item["category"].as_str().unwrap());
            let price = if quantity == 0 { 0 } else { amount / quantity };
            assert_eq!(price * quantity, amount);
            order.lines.push(line(sku, country, quantity * sign, gbp(price)));
            order.total.minor += amount * sign;
            for (table, key) in [(&mut expected.by_category, country), (&mut expected.by_sku, sku)] {
                let row = table.entry(key.to_owned()).or_default();
                row.0 += quantity;
                row.1 += amount;
            }
        }
        let revenue = order.total.minor * sign;
        expected.orders += sign;
        expected.revenue += revenue;
        let local = placed_at.as_millis() + OFFSET_MS;
        let month = Timestamp::from_millis(local).to_string()[..7].to_owned();
        let hour = placed_at.as_millis() / 3_600_000 * 3_600_000;
        let rows = [
            expected.by_hour.entry(hour).or_default(),
            expected.by_day.entry(local / 86_400_000 * 86_400_000 - OFFSET_MS).or_default(),
            expected.by_month.entry(month).or_default(),
        ];
        for row in rows {
            row.0 += sign;
            row.1 += revenue;
        }
        invoices.push(Invoice { order, is_taken_back });
    }
    (invoices, expected)
}

fn amount(money: &Value) -> i64 {
    money["amount"].as_i64().unwrap()
}

/// Windows that are not empty, as start → orders and revenue.
async fn series(house: &House, window: &str, from: &str, to: &str) -> BTreeMap<i64, (i64, i64)> {
    let view = get(house, &format!("analytics/series?window={window}&from={from}&to={to}")).await;
    let row = |point: &Value| {
        let from: Timestamp = point["from"].as_str().unwrap().parse().unwrap();
        let revenue: i64 = point["revenue"].as_array().unwrap().iter().map(amount).sum();
        (from.as_millis(), (point["orders"].as_i64().unwrap(), revenue))
    };
    let rows = view["data"].as_array().unwrap().iter().map(row);
    rows.filter(|(_, sums)| *sums != (0, 0)).collect()
}

async fn assert_all_is_as_expected(house: &House, expected: &Expected) {
    let day = |at: i64| Timestamp::from_millis(at).to_string();
    let (first, last) = (expected.by_day.keys().min().unwrap(), expected.by_day.keys().max().unwrap());
    let mut sums = expected.by_day.clone();
    sums.retain(|_, sums| *sums != (0, 0));
    assert_eq!(series(house, "1d", &day(*first), &day(last + 1)).await, sums);
    let mut hours = BTreeMap::new();
    for start in expected.by_day.keys() {
        hours.extend(series(house, "1h", &day(*start), &day(start + 86_400_000)).await);
    }
    let mut sums = expected.by_hour.clone();
    sums.retain(|_, sums| *sums != (0, 0));
    assert_eq!(hours, sums);

    let months = get(house, "analytics/monthly-total").await;
    let row = |row: &Value| {
        let month = row["month"].as_str().unwrap().to_owned();
        (month, (row["orders"].as_i64().unwrap(), amount(&row["revenue"])))
    };
    let months: BTreeMap<_, _> = months["data"].as_array().unwrap().iter().map(row).collect();
    assert_eq!(months, expected.by_month);
    assert_eq!(months.values().map(|sums| sums.1).sum::<i64>(), expected.revenue);

    let categories = get(house, "analytics/categories?limit=250").await;
    let row = |row: &Value| {
        let category = row["category"].as_str().unwrap().to_owned();
        (category, (row["units"].as_i64().unwrap(), amount(&row["revenue"])))
    };
    let categories: BTreeMap<_, _> = categories["data"].as_array().unwrap().iter().map(row).collect();
    assert_eq!(categories, expected.by_category);

    for by in ["revenue", "quantity"] {
        let mut ranking: Vec<(i64, String)> = expected
            .by_sku
            .iter()
            .map(|(sku, sums)| (if by == "revenue" { sums.1 } else { sums.0 }, sku.clone()))
            .collect();
        ranking.sort_by(|one, other| other.0.cmp(&one.0).then_with(|| one.1.cmp(&other.1)));
        ranking.truncate(10);
        let top = get(house, &format!("analytics/top-products?by={by}")).await;
        let row = |row: &Value| {
            let value =
                if by == "revenue" { amount(&row["revenue"]) } else { row["units"].as_i64().unwrap() };
            (value, row["sku"].as_str().unwrap().to_owned())
        };
        assert_eq!(top["data"].as_array().unwrap().iter().map(row).collect::<Vec<_>>(), ranking);
    }
    assert!(late(house).is_empty());
    assert_whole(house);
}

async fn replay(sales: Sales, seed: u64) {
    let (mut invoices, expected) = read(&sales);
    let mut house = patient_and_hostile(seed).await;
    // As if it were then: what is cancelled is cancelled now.
    house.clock.set("2011-01-10T00:00:00Z".parse().unwrap());
    let mut random = SplitMix(seed);
    for index in (1..invoices.len()).rev() {
        invoices.swap(index, usize::try_from(random.below(index as u64 + 1)).unwrap());
    }
    for invoice in &invoices {
        match invoice.is_taken_back {
            true => cancel(&house, &invoice.order, "by_customer", true).await,
            false => confirm(&house, &invoice.order).await,
        }
        if random.chance(5) {
            house.step_any().await;
        }
        // The process dies between a commit and its offset, or before either.
        if random.chance(1) {
            house.restart(async |context| Ok::<_, StartError>(vec![crate::service(context).await?])).await;
        }
    }
    house.settle().await;
    assert_all_is_as_expected(&house, &expected).await;

    // From the first message again: the same to the last penny.
    let db = house.service("analytics").db.clone();
    use kernel::Clock;
    messaging::rebuild(&db, &house.bus, "analytics.shop", house.clock.now()).await.unwrap();
    house.settle().await;
    assert_all_is_as_expected(&house, &expected).await;
    let today = get(&house, "analytics/summary?window=1d").await;
    let taken_back = invoices.iter().filter(|invoice| invoice.is_taken_back).count();
    assert_eq!(today["current"]["cancellations"], json!(taken_back));
}

#[tokio::test]
async fn the_data_set_as_orders_gives_its_own_days_months_categories_and_products() {
    // Where the data set is not at hand the fixture below covers the same.
    let Some(folder) = sales::data_set() else { return };
    let sales = sales::of_data_set(&folder);
    let (invoices, expected) = read(&sales);
    assert_eq!((invoices.len(), expected.orders, expected.revenue), (757, 757 - 2 * 79, 28_076_648));
    replay(sales, 3).await;
}

#[tokio::test]
async fn the_fixture_as_orders_gives_its_own_days_months_categories_and_products_for_every_seed() {
    for seed in 0..12 {
        replay(sales::of_fixture(), seed).await;
    }
}
