//! F7: a database that loses connections, holds rows for long, restarts, dies, and is away for a while.

use std::time::Duration;

use kernel::id::SplitMix;
use serde_json::json;
use tokio::time::Instant;

use crate::faults::crowd::Crowd;
use crate::faults::each_seed;
use crate::faults::shop::{Shop, a_while, administer, ask};
use crate::support::Engine;

/// Ends a connection of rtcd every 50 ms.
async fn cut_connections(server: &str, time: Duration, random: &mut SplitMix) -> u64 {
    let (server, seed) = (server.to_owned(), random.next());
    let cutting = tokio::task::spawn_blocking(move || {
        use mysql::prelude::Queryable;
        let mut random = SplitMix(seed);
        let mut conn = mysql::Conn::new(server.as_str()).expect("a connection");
        let (begun, mut cut) = (Instant::now(), 0);
        while begun.elapsed() < time {
            let sql = "SELECT id FROM information_schema.processlist WHERE db LIKE 'rtc%'";
            let found: Vec<u64> = conn.query(sql).expect("connections");
            if !found.is_empty() {
                let chosen = found[crate::faults::crowd::pick(&mut random, found.len())];
                // It may be gone by itself.
                cut += u64::from(conn.query_drop(format!("KILL CONNECTION {chosen}")).is_ok());
            }
            std::thread::park_timeout(Duration::from_millis(50));
        }
        cut
    });
    cutting.await.expect("the administrator")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_the_database_does_what_was_accepted_ends_once() {
    each_seed(async |mut random| {
        let shop = Shop::open(&[Engine::MariaDb, Engine::KafkaB], 1).await;
        let server = shop.engines.mysql().to_owned();
        let crowd = Crowd::gather(&shop, 5, &mut random);
        crowd.orders_again(10).await;

        let cut = cut_connections(&server, Duration::from_secs(5), &mut random).await;
        let after_cuts = crowd.orders_again(10).await;
        assert!(cut > 20, "{cut} connections were cut");

        // Somebody else holds the hottest row for longer than a statement, and less than a command waits for it.
        let sku = &shop.products[0].sku;
        let hold = format!("SELECT 1 FROM rtc_inventory.stock_items WHERE sku = '{sku}' FOR UPDATE");
        administer(&server, &["BEGIN".to_owned(), hold, "DO SLEEP(4)".to_owned(), "COMMIT".to_owned()]).await;
        crowd.orders_again(10).await;

        shop.engines.restart(Engine::MariaDb).await;
        let after_restart = crowd.orders_again(10).await;
        shop.engines.kill(Engine::MariaDb).await;
        tokio::time::sleep(a_while(&mut random, 500)).await;
        shop.engines.revive(Engine::MariaDb).await;
        let after_death = crowd.orders_again(10).await;

        let records = crowd.leave().await;
        assert!(records.refused.is_empty(), "{:?}", records.refused);
        let (converged_after, states) = shop.converges(&records).await;
        println!(
            "{cut} connections cut, a row held for 4 s, a restart and a death: {} accepted, unknown {:?}, slowest answer \
             {:?}; ten orders in {after_cuts:?}, {after_restart:?}, {after_death:?} afterwards; converged after \
             {converged_after:?}: {states:?}",
            records.accepted.len(),
            records.unknown,
            records.slowest,
        );
        shop.stop().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_its_database_a_shop_says_when_to_ask_again_and_recovers_by_itself() {
    let shop = Shop::open(&[Engine::MariaDb, Engine::KafkaB], 1).await;
    let server = shop.engines.mysql().to_owned();
    let order = json!({ "lines": [{ "product_id": shop.products[0].id, "quantity": 1 }] });
    let (asker, operator) = (shop.asker(0), shop.operator(0));
    let said = asker.post("/api/v1/orders", Some("before"), &order).await.expect("an answer");
    assert_eq!(said.status, 202, "{}", said.body);
    let id = said.body["id"].as_str().expect("an id").to_owned();

    shop.engines.stop(Engine::MariaDb).await;
    for _ in 0..5 {
        let begun = Instant::now();
        let said = asker.post("/api/v1/orders", Some("during"), &order).await.expect("an answer");
        assert_eq!(said.status, 503, "{}", said.body);
        assert!(said.retry_after.is_some(), "503 without Retry-After: {}", said.body);
        assert!(begun.elapsed() < Duration::from_secs(4), "a refusal took {:?}", begun.elapsed());
        let said = asker.get(&format!("/api/v1/orders/{id}")).await.expect("an answer");
        assert_eq!(said.status, 503, "{}", said.body);
    }
    // A process without its database is alive and stays in its place: another one would be no better off.
    for probe in ["/livez", "/readyz"] {
        assert_eq!(operator.get(probe).await.expect("an answer").status, 200, "{probe}");
    }
    shop.engines.revive(Engine::MariaDb).await;
    let begun = Instant::now();
    let again = loop {
        let said = asker.post("/api/v1/orders", Some("during"), &order).await.expect("an answer");
        if said.status == 202 {
            break said;
        }
        assert_eq!(said.status, 503, "{}", said.body);
        assert!(begun.elapsed() < Duration::from_secs(10), "the shop does not recover: {}", said.body);
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    let recovered_after = begun.elapsed();

    let mut records = crate::faults::crowd::Records::default();
    for (id, key) in [(id.as_str(), "before"), (again.body["id"].as_str().expect("an id"), "during")] {
        records.accepted.insert(id.to_owned(), key.to_owned());
    }
    let (converged_after, _) = shop.converges(&records).await;
    println!(
        "orders again {recovered_after:?} after the server was back, converged after {converged_after:?}"
    );
    let running: Vec<u64> = ask(&server, "SELECT COUNT(*) FROM information_schema.processlist").await;
    assert!(running[0] < 250, "{} connections after an outage", running[0]);
    shop.stop().await;
}
