//! A replay: in any order, in batches of any size, twice, and by several at once, the totals are the same.

use std::sync::Arc;

use db::Db;
use kernel::Timestamp;
use kernel::id::SplitMix;
use serde_json::{Value, json};

use super::books::{assert_balanced, kept};
use super::sales::{self, Sales};
use super::{get, house, send};
use crate::commands;
use crate::domain::{Outcome, Transaction};

fn shuffle(items: &mut [Value], random: &mut SplitMix) {
    for index in (1..items.len()).rev() {
        items.swap(index, usize::try_from(random.below(index as u64 + 1)).unwrap());
    }
}

/// Batches of random sizes, 1 to 1,000 each.
fn batches<'a>(mut items: &'a [Value], random: &mut SplitMix) -> Vec<&'a [Value]> {
    let mut batches = Vec::new();
    while !items.is_empty() {
        let most = [10, 100, 1_000][usize::try_from(random.below(3)).unwrap()];
        let size = usize::try_from(random.below(most) + 1).unwrap().min(items.len());
        let (batch, rest) = items.split_at(size);
        batches.push(batch);
        items = rest;
    }
    batches
}

async fn replay_twice(sales: Sales) {
    let house = house().await;
    let db = house.service("analytics").db.clone();
    let mut random = SplitMix(11);
    let mut items = sales.items;
    for run in 0..2 {
        shuffle(&mut items, &mut random);
        for batch in batches(&items, &mut random) {
            let answer = send(&house, "shop", batch).await.expect(200);
            let count = if run == 0 { "accepted" } else { "duplicates" };
            assert_eq!((&answer[count], &answer["rejected"]), (&json!(batch.len()), &json!([])));
        }
        let totals = get(&house, "analytics/totals?source=shop").await;
        assert_eq!(
            totals,
            json!({
                "source": "shop", "lines": sales.lines, "invoices": sales.invoices,
                "cancellations": sales.cancellations, "stock_codes": sales.stock_codes,
                "totals": [{ "amount": sales.amount, "currency": "GBP" }],
            })
        );
        assert_balanced(&db);
    }
    let categories = get(&house, "analytics/categories?source=shop&limit=250").await;
    let categories: Vec<_> = categories["data"].as_array().unwrap().iter().map(category_and_amount).collect();
    assert_eq!(categories, sales.by_country.into_iter().collect::<Vec<_>>());

    for (by, of) in [("revenue", 1), ("quantity", 0)] {
        let mut ranking: Vec<_> =
            sales.by_sku.iter().map(|(sku, sums)| ([sums.0, sums.1][of], sku.clone())).collect();
        ranking.sort_by(|one, other| other.0.cmp(&one.0).then_with(|| one.1.cmp(&other.1)));
        let top = get(&house, &format!("analytics/top-products?source=shop&by={by}&limit=25")).await;
        let top: Vec<(i64, String)> = top["data"]
            .as_array()
            .unwrap()
            .iter()
            .map(|row| {
                let value = if by == "revenue" { &row["revenue"]["amount"] } else { &row["quantity"] };
                (value.as_i64().unwrap(), row["sku"].as_str().unwrap().to_owned())
            })
            .collect();
        assert_eq!(top, ranking[..top.len()]);
        assert_eq!(top.len(), ranking.len().min(25));
    }
}

fn category_and_amount(row: &Value) -> (String, i64) {
    (row["category"].as_str().unwrap().to_owned(), row["total"]["amount"].as_i64().unwrap())
}

#[tokio::test]
async fn a_shuffled_replay_of_the_data_set_gives_its_known_totals_twice() {
    // Where the data set is not at hand the fixture below covers the same.
    let Some(folder) = sales::data_set() else { return };
    let sales = sales::of_data_set(&folder);
    assert_eq!(
        (sales.lines, sales.invoices, sales.cancellations, sales.stock_codes, sales.amount),
        (16_985, 757, 79, 2_334, 28_076_648)
    );
    replay_twice(sales).await;
}

#[tokio::test]
async fn a_shuffled_replay_of_the_fixture_gives_its_known_totals_twice() {
    let sales = sales::of_fixture();
    assert_eq!(
        (sales.lines, sales.invoices, sales.cancellations, sales.stock_codes, sales.amount),
        (10, 6, 2, 4, 32_671)
    );
    replay_twice(sales).await;
}

#[tokio::test]
async fn months_are_those_of_seoul() {
    let house = house().await;
    send(&house, "shop", &sales::of_fixture().items).await.expect(200);
    let months = get(&house, "analytics/monthly-total?source=shop").await;
    let row = |month: &str, lines: i64, amount: i64| json!({ "month": month, "lines": lines, "total": { "amount": amount, "currency": "GBP" } });
    assert_eq!(months["data"], json!([row("2010-12", 9, 34_201), row("2011-01", 1, -1_530)]));
    let one = get(&house, "analytics/monthly-total?source=shop&year=2011").await;
    assert_eq!(one["data"], json!([row("2011-01", 1, -1_530)]));
}

#[tokio::test]
async fn a_product_is_described_by_its_latest_line_in_whatever_order_they_come() {
    let mut items = sales::of_fixture().items;
    for seed in 0..8 {
        let house = house().await;
        shuffle(&mut items, &mut SplitMix(seed));
        for batch in items.chunks(3) {
            send(&house, "shop", batch).await.expect(200);
        }
        let top = get(&house, "analytics/top-products?source=shop").await;
        let tea = top["data"].as_array().unwrap().iter().find(|row| row["sku"] == "TEA-1").unwrap();
        assert_eq!(tea["description"], "GREEN TEA (DAMAGED)");
        assert_eq!((&tea["quantity"], &tea["lines"]), (&json!(106), &json!(4)));
    }
}

#[tokio::test]
async fn of_two_descriptions_at_one_time_the_greater_stays_in_whatever_order_they_come() {
    let named = |n: i64, text: &str| {
        let mut item = super::item(n);
        item["sku"] = json!("TEA-1");
        item["description"] = json!(text);
        item
    };
    for (first, second) in [("A", "B"), ("B", "A")] {
        let house = house().await;
        send(&house, "shop", &[named(1, first)]).await.expect(200);
        send(&house, "shop", &[named(2, second)]).await.expect(200);
        send(&house, "till", &[named(1, first), named(2, second)]).await.expect(200);
        for source in ["shop", "till"] {
            let top = get(&house, &format!("analytics/top-products?source={source}")).await;
            assert_eq!(top["data"][0]["description"], "B");
        }
    }
}

async fn file_db(folder: &tempfile::TempDir) -> Db {
    let db = Db::open_sqlite(&folder.path().join("analytics.db")).unwrap();
    db.migrate(crate::MIGRATIONS).await.unwrap();
    db
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn senders_of_the_same_lines_at_once_store_each_once() {
    let folder = tempfile::tempdir().unwrap();
    let db = file_db(&folder).await;
    let sales = sales::any();
    let items = Arc::new(sales.items);
    let mut senders = tokio::task::JoinSet::new();
    for sender in 0..4_u64 {
        let (db, items) = (db.clone(), items.clone());
        senders.spawn(async move {
            let mut random = SplitMix(sender);
            let mut items = items.to_vec();
            shuffle(&mut items, &mut random);
            let (mut accepted, mut duplicates) = (0, 0);
            for batch in batches(&items, &mut random) {
                let lines: Vec<_> =
                    batch.iter().map(|item| Transaction::read(item.to_string().as_bytes())).collect();
                let source = "shop".parse().unwrap();
                let outcomes = db
                    .write(move |tx| commands::ingest(tx, &source, &lines, Timestamp::EPOCH))
                    .await
                    .unwrap();
                accepted += outcomes.iter().filter(|outcome| **outcome == Outcome::Accepted).count();
                duplicates += outcomes.iter().filter(|outcome| **outcome == Outcome::Duplicate).count();
            }
            (accepted, duplicates)
        });
    }
    let done = senders.join_all().await;
    let accepted: usize = done.iter().map(|(accepted, _)| accepted).sum();
    let duplicates: usize = done.iter().map(|(_, duplicates)| duplicates).sum();
    assert_eq!((accepted, duplicates), (items.len(), items.len() * 3));
    assert_balanced(&db);
    let source = [sales.lines, sales.invoices, sales.cancellations, sales.stock_codes];
    assert_eq!(kept(&db)["source|shop||"], source);
    assert_eq!(kept(&db)["currency|shop|GBP|"][1], sales.amount);

    drop(db);
    let again = file_db(&folder).await;
    assert_balanced(&again);
    assert_eq!(kept(&again)["source|shop||"], source);
}
