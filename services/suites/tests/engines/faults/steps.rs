//! F1 on MariaDB and a broker: a process dies at some step of an order, and another takes over what it left.

use std::time::Duration;

use serde_json::json;
use suites::platform::Platform;
use tokio::time::Instant;

use crate::faults::crowd::Records;
use crate::faults::shop::Shop;
use crate::faults::{each_seed, knob};
use crate::support::Engine;

/// An order has about a hundred steps; leases that are renewed beside it are steps too.
const STEPS: u64 = 90;
const DEATHS_DEFAULT: u64 = 1;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_dies_at_a_step_of_an_order_leaves_nothing_half_done() {
    each_seed(async |mut random| {
        let mut shop = Shop::open(&[Engine::MariaDb, Engine::KafkaB], 1).await;
        let order = json!({ "lines": [{ "product_id": shop.products[0].id, "quantity": 1 }] });
        let (mut records, mut died_at, mut slowest) = (Records::default(), Vec::new(), Duration::ZERO);
        for death in 0..knob("FAULT_DEATHS").unwrap_or(DEATHS_DEFAULT) {
            let step = 1 + random.below(STEPS);
            let key = format!("death-{death}");
            assert_eq!(shop.replicas.pop().expect("a process").stop().await, 0);
            let data = shop.data(0);
            let mut dying = shop.engines.rtcd(&data, &[]);
            dying.env("RTC_TEST_CRASH_AT", step.to_string());
            shop.replicas.push(Platform::spawn(dying, &data).await);
            let first = shop.asker(0).post("/api/v1/orders", Some(&key), &order).await;
            // Whoever joined a group before and died without a word is waited for: then the order goes on.
            let mut dying = shop.replicas.pop().expect("a process");
            assert!(dying.dies_within(Duration::from_secs(40)).await, "step {step} was never taken");
            let fresh = shop.start(0).await;
            shop.replicas.push(fresh);
            let begun = Instant::now();
            let again = loop {
                match shop.asker(0).post("/api/v1/orders", Some(&key), &order).await {
                    Ok(said) if said.status == 202 => break said,
                    said => assert!(
                        begun.elapsed() < Duration::from_secs(30),
                        "step {step}: {:?}",
                        said.map(|said| said.told())
                    ),
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            };
            if let Ok(first) = first
                && first.status == 202
            {
                assert_eq!(first.body["id"], again.body["id"], "step {step}: one key, two orders");
            }
            records.accepted.insert(again.body["id"].as_str().expect("an id").to_owned(), key);
            shop.converges(&records).await;
            slowest = slowest.max(begun.elapsed());
            died_at.push(step);
        }
        println!("died at steps {died_at:?}, slowest end {slowest:?} after the restart");
        shop.stop().await;
    })
    .await;
}
