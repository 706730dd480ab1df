//! The list of transactions: filters, order, and each row once while others come in between.

use std::collections::BTreeMap;

use kernel::Timestamp;
use kernel::id::SplitMix;
use serde_json::{Value, json};
use testkit::House;

use super::{get, house, item, send};

fn at(n: i64, minute: u64, category: &str) -> Value {
    let mut item = item(n);
    let time = 1_772_366_400_000 + i64::try_from(minute).unwrap() * 60_000;
    item["occurred_at"] = json!(Timestamp::from_millis(time));
    item["category"] = json!(category);
    item
}

async fn walk(house: &House, query: &str, mut between: impl AsyncFnMut()) -> Vec<Value> {
    let mut rows = Vec::new();
    let mut cursor = String::new();
    loop {
        let page = get(house, &format!("transactions?{query}{cursor}")).await;
        rows.extend(page["data"].as_array().unwrap().iter().cloned());
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return rows,
        }
        between().await;
    }
}

#[tokio::test]
async fn a_row_that_was_there_all_along_is_seen_exactly_once() {
    let house = house().await;
    let mut random = SplitMix(5);
    let mut number = 0;
    let mut more = |count: i64| -> Vec<Value> {
        // Few minutes, so that many lines share one.
        (0..count)
            .map(|_| {
                number += 1;
                at(number, random.below(12), ["tea", "cups"][usize::try_from(random.below(2)).unwrap()])
            })
            .collect()
    };
    let first = more(400);
    send(&house, "shop", &first).await.expect(200);
    for query in
        ["limit=7&", "limit=7&source=shop", "limit=3&source=shop&category=tea", "limit=9&category=cups"]
    {
        let rows = walk(&house, query, async || {
            send(&house, "shop", &more(3)).await.expect(200);
        })
        .await;
        let mut seen: BTreeMap<&str, u32> = BTreeMap::new();
        for row in &rows {
            *seen.entry(row["external_id"].as_str().unwrap()).or_default() += 1;
        }
        assert!(seen.values().all(|count| *count == 1), "{query}");
        let wanted = first
            .iter()
            .filter(|item| !query.contains("category") || query.contains(item["category"].as_str().unwrap()));
        assert!(wanted.into_iter().all(|item| seen.contains_key(item["external_id"].as_str().unwrap())));
        let times: Vec<_> = rows.iter().map(|row| row["occurred_at"].as_str().unwrap()).collect();
        assert!(times.is_sorted_by(|newer, older| newer >= older));
    }
}

#[tokio::test]
async fn a_list_is_filtered_by_source_category_and_time() {
    let house = house().await;
    send(&house, "a", &[at(1, 0, "tea"), at(2, 1, "tea"), at(3, 2, "cups")]).await.expect(200);
    send(&house, "b", &[at(1, 1, "tea")]).await.expect(200);
    let ids = async |query: &str| -> Vec<String> {
        let page = get(&house, &format!("transactions?{query}")).await;
        let rows = page["data"].as_array().unwrap().iter();
        rows.map(|row| {
            format!("{}/{}", row["source"].as_str().unwrap(), row["external_id"].as_str().unwrap())
        })
        .collect()
    };
    assert_eq!(ids("").await, ["a/line-3", "b/line-1", "a/line-2", "a/line-1"]);
    assert_eq!(ids("source=a&category=tea").await, ["a/line-2", "a/line-1"]);
    assert_eq!(ids("from=2026-03-01T12:01:00Z&to=2026-03-01T12:02:00Z").await, ["b/line-1", "a/line-2"]);
    assert_eq!(ids("source=c").await, Vec::<String>::new());
    let page = get(&house, "transactions?source=a&limit=1").await;
    let mut shown = at(3, 2, "cups");
    shown["source"] = json!("a");
    shown["received_at"] = json!("2026-03-01T12:00:00.000Z");
    assert_eq!(page["data"][0], shown);
    // A cursor belongs to its filters.
    let cursor = page["next_cursor"].as_str().unwrap();
    let other = house.get(&format!("/api/v1/transactions?source=b&limit=1&cursor={cursor}"));
    other.token(&super::analyst(&house)).send().await.expect_problem(422, "validation_failed");
}

#[tokio::test]
async fn totals_by_month_and_category_are_walked_page_by_page() {
    let house = house().await;
    let mut items = Vec::new();
    for (n, currency) in ["KRW", "USD", "GBP"].into_iter().cycle().take(30).enumerate() {
        let mut item = item(i64::try_from(n).unwrap());
        item["currency"] = json!(currency);
        item["category"] = json!(format!("c{}", n % 4));
        item["occurred_at"] = json!(format!("2025-{:02}-10T00:00:00Z", n % 5 + 1));
        items.push(item);
    }
    send(&house, "shop", &items).await.expect(200);
    for (path, key) in [("analytics/monthly-total", "month"), ("analytics/categories", "category")] {
        let whole = get(&house, &format!("{path}?source=shop&limit=250")).await;
        let whole = whole["data"].as_array().unwrap().clone();
        let mut rows = Vec::new();
        let mut cursor = String::new();
        loop {
            let page = get(&house, &format!("{path}?source=shop&limit=2{cursor}")).await;
            rows.extend(page["data"].as_array().unwrap().iter().cloned());
            let Some(next) = page["next_cursor"].as_str() else { break };
            cursor = format!("&cursor={next}");
        }
        assert_eq!(rows, whole);
        let keys: Vec<_> =
            whole.iter().map(|row| (row[key].as_str(), row["total"]["currency"].as_str())).collect();
        assert!(keys.is_sorted() && keys.len() == if key == "month" { 15 } else { 12 });
    }
}
