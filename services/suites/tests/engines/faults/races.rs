//! F9 and F10: many who want the last unit, one who presses twice, and those who change their minds at the last moment.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::faults::crowd::{Records, pick};
use crate::faults::each_seed;
use crate::faults::shop::{Asker, Said, Shop};
use crate::support::Engine;

const CLIENTS: u64 = 500;
const MINDS_CHANGED: u64 = 60;

/// Asks until somebody says what became of it: a shop that is busy says so.
async fn place(asker: Asker, key: String, order: Value) -> (Said, u64) {
    let begun = Instant::now();
    let mut unknown = 0;
    loop {
        if let Ok(said) = asker.post("/api/v1/orders", Some(&key), &order).await
            && said.status < 500
        {
            return (said, unknown);
        }
        unknown += 1;
        assert!(begun.elapsed() < Duration::from_secs(60), "{key}: nobody says what became of it");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

fn id(said: &Said) -> String {
    assert_eq!(said.status, 202, "{}", said.body);
    said.body["id"].as_str().expect("an order's id").to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_gets_the_last_unit_one_key_is_one_order_and_a_changed_mind_is_settled_one_way() {
    each_seed(async |mut random| {
        let shop = Shop::open(&[Engine::MariaDb, Engine::KafkaB], 2).await;
        let askers = shop.askers();
        let mut records = Records::default();

        // Two tabs press at once, at different replicas; then fifty refreshes.
        let order = json!({ "lines": [{ "product_id": shop.products[1].id, "quantity": 1 }] });
        let tabs = (0..2).map(|tab| place(askers[tab].clone(), "two-tabs".to_owned(), order.clone()));
        let (first, second) = {
            let mut tabs: Vec<_> = tabs.map(tokio::spawn).collect();
            let second = tabs.pop().expect("a tab").await.expect("a tab").0;
            (tabs.pop().expect("a tab").await.expect("a tab").0, second)
        };
        assert_eq!(id(&first), id(&second), "one key, two orders");
        let mut refreshes = JoinSet::new();
        for n in 0..50 {
            refreshes.spawn(place(askers[n % 2].clone(), "two-tabs".to_owned(), order.clone()));
        }
        for (said, _) in refreshes.join_all().await {
            assert_eq!(id(&said), id(&first), "one key, two orders");
        }
        let other = json!({ "lines": [{ "product_id": shop.products[1].id, "quantity": 2 }] });
        let (said, _) = place(askers[1].clone(), "two-tabs".to_owned(), other).await;
        assert_eq!(said.status, 422, "another order under the same key: {}", said.body);
        records.accepted.insert(id(&first), "two-tabs".to_owned());

        // Changed minds: the cancel comes somewhere between the first step and the end.
        let mut minds = JoinSet::new();
        for n in 0..MINDS_CHANGED {
            let (here, there) = (pick(&mut random, 2), pick(&mut random, 2));
            let (here, there) = (askers[here].clone(), askers[there].clone());
            let (order, pause) = (order.clone(), Duration::from_millis(random.below(400)));
            minds.spawn(async move {
                let (said, _) = place(here, format!("mind-{n}"), order).await;
                let id = id(&said);
                tokio::time::sleep(pause).await;
                let path = format!("/api/v1/orders/{id}/cancel");
                let begun = Instant::now();
                loop {
                    match there.post(&path, None, &json!({})).await {
                        Ok(said) if said.status < 500 => return (id, said.status),
                        _ => {
                            assert!(begun.elapsed() < Duration::from_secs(30), "{id}: no answer to a cancel")
                        }
                    }
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            });
        }
        let minds: BTreeMap<String, u16> = minds.join_all().await.into_iter().collect();
        records.accepted.extend(minds.keys().map(|id| (id.clone(), String::new())));
        shop.converges(&records).await;
        let mut settled: BTreeMap<(u16, String), u64> = BTreeMap::new();
        for (id, answer) in &minds {
            let order = askers[0].get(&format!("/api/v1/orders/{id}")).await.expect("an answer").body;
            let state = order["state"].as_str().unwrap_or("").to_owned();
            let agrees = match answer {
                202 => state == "cancelled",
                409 => state == "confirmed" || state == "rejected",
                _ => false,
            };
            assert!(agrees, "a cancel was answered with {answer}, and the order is {order}");
            *settled.entry((*answer, state)).or_default() += 1;
        }

        // The last unit.
        let sku = &shop.products[2].sku;
        let available = shop.stock(sku).await["available"].as_i64().expect("a number");
        shop.receive(sku, 1 - available).await;
        let order = json!({ "lines": [{ "product_id": shop.products[2].id, "quantity": 1 }] });
        let begun = Instant::now();
        let mut clients = JoinSet::new();
        for n in 0..CLIENTS {
            let asker = askers[pick(&mut random, 2)].clone();
            clients.spawn(place(asker, format!("last-{n}"), order.clone()));
        }
        let (mut busy, mut last) = (0, Vec::new());
        for (said, unknown) in clients.join_all().await {
            busy += unknown;
            last.push(id(&said));
        }
        let accepted_in = begun.elapsed();
        records.accepted.extend(last.iter().map(|id| (id.clone(), String::new())));
        let (converged_after, states) = shop.converges(&records).await;
        let mut winners = 0;
        for order in shop.orders().await {
            let is_last = last.iter().any(|id| order["id"] == **id);
            winners += u64::from(is_last && order["state"] == "confirmed");
        }
        assert_eq!(winners, 1, "of {CLIENTS} one gets the last unit");
        let stock = shop.stock(sku).await;
        assert_eq!((&stock["available"], &stock["reserved"]), (&json!(0), &json!(0)), "{stock}");
        println!(
            "{CLIENTS} for the last unit: accepted in {accepted_in:?} ({busy} asked again), converged after \
             {converged_after:?}: {states:?}; changed minds: {settled:?}"
        );
        shop.stop().await;
    })
    .await;
}
