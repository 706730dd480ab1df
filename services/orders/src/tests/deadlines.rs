//! Steps past their deadline, where something is wrong with some of them.

use axum::http::Method;
use db::params;
use kernel::Clock;

use super::*;
use crate::saga::KIND;
use crate::trouble::{self, Troubled};

const SOON: Duration = Duration::from_secs(5);

async fn spoil(house: &House, id: &str, state: &str) {
    let (id, state) = (id.to_owned(), state.to_owned());
    let db = &house.service("orders").db;
    db.write(move |tx| tx.execute("UPDATE sagas SET state = ? WHERE id = ?", params![state, id]))
        .await
        .unwrap();
}

async fn stored(house: &House, id: &str) -> (String, i64) {
    let id = id.to_owned();
    let sql = "SELECT state, deadline_at FROM sagas WHERE id = ?";
    let db = &house.service("orders").db;
    let found = db.read(move |tx| tx.query_one(sql, params![id], |row| Ok((row.get(0)?, row.get(1)?))));
    found.await.map_err(|error: db::Error| error).unwrap()
}

async fn troubled(house: &House) -> Vec<Troubled> {
    trouble::list(&house.service("orders").db).await.unwrap()
}

#[tokio::test]
async fn a_checkout_that_cannot_be_taken_further_holds_up_no_other() {
    let house = house().await;
    let mut ids = Vec::new();
    for n in 0..4 {
        ids.push(place(&house, &format!("k{n}")).await.0);
        house.clock.advance(Duration::from_millis(1));
    }
    house.settle().await;
    let bad = ids[0].to_string();
    let (good, _) = stored(&house, &bad).await;
    spoil(&house, &bad, "{\"no\": \"checkout\"}").await;
    // The most overdue of all is the bad one.
    for _ in 0..4 {
        house.advance(Duration::from_secs(61)).await;
    }
    for id in &ids[1..] {
        assert_eq!(state_of(&house, *id).await, "compensating", "its steps were given up");
    }
    let found = troubled(&house).await;
    assert_eq!(found.iter().map(|one| one.order_id.as_str()).collect::<Vec<_>>(), [bad.as_str()]);
    assert!(found[0].failures >= 2 && found[0].since < found[0].failed_at, "{found:?}");
    assert!(!found[0].error.is_empty());
    let wait = stored(&house, &bad).await.1 - house.clock.now().as_millis();
    assert!((1..=300_000).contains(&wait), "tried again in {wait} ms");

    // Once it is mended it goes on by itself, and is in trouble no more.
    spoil(&house, &bad, &good).await;
    house.advance(Duration::from_secs(301)).await;
    assert_eq!(troubled(&house).await, []);
    for _ in 0..4 {
        house.advance(Duration::from_secs(61)).await;
    }
    assert_eq!(state_of(&house, ids[0]).await, "compensating");
}

#[tokio::test]
async fn more_bad_checkouts_than_are_looked_at_at_once_hold_up_nobody() {
    let house = house().await;
    let sql = "INSERT INTO sagas (kind, id, state, version, deadline_at) VALUES ('checkout', ?, 'x', 1, ?)";
    let db = &house.service("orders").db;
    db.write(move |tx| -> Result<(), db::Error> {
        for n in 0..250 {
            tx.execute(sql, params![format!("no order {n}"), n])?;
        }
        Ok(())
    })
    .await
    .unwrap();
    let (id, _) = place(&house, "k").await;
    house.settle().await;
    for _ in 0..4 {
        house.advance(Duration::from_secs(61)).await;
    }
    assert_eq!(state_of(&house, id).await, "compensating");
    assert_eq!(troubled(&house).await.len(), 250);
    let admin = house.service("orders").admin.clone();
    let answer = testkit::Call::new(admin, Method::GET, "/orders/troubled").send().await.expect(200);
    assert_eq!(answer["data"].as_array().unwrap().len(), 250);
    db.write(|tx| tx.execute("DELETE FROM sagas WHERE id LIKE 'no order%'", params![])).await.unwrap();
}

#[tokio::test]
async fn what_a_transaction_has_taken_further_is_not_noted_as_failed_by_it() {
    let house = house().await;
    let (id, _) = place(&house, "k").await;
    house.settle().await;
    house.clock.advance(Duration::from_secs(61));
    let (id, now) = (id.to_string(), house.clock.now());
    let order = id.clone();
    let noted = house
        .service("orders")
        .db
        .write(move |tx| -> kernel::Result<Option<u32>> {
            let saga = messaging::saga::load::<Value>(tx, KIND, &order)?.unwrap();
            assert!(saga.deadline_at.is_some_and(|at| at <= now), "it is due");
            messaging::saga::save(tx, KIND, &order, &saga.state, saga.version, Some(now.plus(SOON)))?;
            Ok(trouble::note(tx, &order, "it failed", now)?)
        })
        .await;
    assert_eq!(noted.unwrap(), None);
    assert_eq!(stored(&house, &id).await.1, now.plus(SOON).as_millis());
    assert_eq!(troubled(&house).await, []);

    // What is due is put off, and what else the transaction does to it stays.
    house.clock.advance(SOON);
    let (order, now) = (id.clone(), house.clock.now());
    let state = json!({ "stands": "as it was saved" });
    let saved = state.clone();
    let noted = house
        .service("orders")
        .db
        .write(move |tx| -> kernel::Result<Option<u32>> {
            let version = messaging::saga::load::<Value>(tx, KIND, &order)?.unwrap().version;
            messaging::saga::save(tx, KIND, &order, &saved, version, Some(now))?;
            Ok(trouble::note(tx, &order, "it failed", now)?)
        })
        .await;
    assert_eq!(noted.unwrap(), Some(1));
    let (found, deadline_at) = stored(&house, &id).await;
    assert_eq!(serde_json::from_str::<Value>(&found).unwrap(), state);
    assert!(deadline_at > now.as_millis());
    house.leave_unsettled();
}
