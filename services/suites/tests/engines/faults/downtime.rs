//! One service is away for a while, down the line of an order, and comes back: what was accepted meanwhile ends.

use std::path::Path;
use std::time::Duration;

use suites::platform::Platform;
use tokio::time::Instant;

use crate::faults::crowd::Crowd;
use crate::faults::each_seed;
use crate::faults::shop::{Shop, a_while};
use crate::support::{CONVERGES_WITHIN, Engine};

const ALL_BUT_PAYMENTS: &str = "gateway,users,catalog,inventory,orders,notifications,analytics";
const AWAY_AT_LEAST_MS: u64 = 10_000;

async fn start(shop: &Shop, data: &Path, services: &str) -> Platform {
    Platform::spawn(shop.engines.rtcd(data, &["--only", services]), data).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn orders_are_accepted_while_payments_are_down_and_all_end_within_a_minute_of_their_return() {
    each_seed(async |mut random| {
        let mut shop = Shop::open(&[Engine::MariaDb, Engine::KafkaB], 1).await;
        shop.enroll(1);
        assert_eq!(shop.replicas.pop().expect("a process").stop().await, 0);
        let front = start(&shop, &shop.data(0), ALL_BUT_PAYMENTS).await;
        shop.replicas.push(front);
        let payments = start(&shop, &shop.data(1), "payments").await;
        let crowd = Crowd::gather(&shop, 4, &mut random);
        crowd.orders_again(20).await;
        let confirmed = async |shop: &Shop| {
            let orders = shop.orders().await;
            orders.iter().filter(|order| order["state"] == "confirmed").count()
        };
        let begun = Instant::now();
        let before = loop {
            let count = confirmed(&shop).await;
            if count >= 20 {
                break count;
            }
            assert!(begun.elapsed() < CONVERGES_WITHIN, "orders that do not end: {count} did");
            tokio::time::sleep(Duration::from_millis(100)).await;
        };

        payments.kill().await;
        let down = Instant::now();
        tokio::time::sleep(a_while(&mut random, AWAY_AT_LEAST_MS)).await;
        let accepted_meanwhile = crowd.orders_again(20).await;
        let without = confirmed(&shop).await;
        let away = down.elapsed();
        let payments = start(&shop, &shop.data(1), "payments").await;
        let back = Instant::now();
        crowd.orders_again(20).await;
        let records = crowd.leave().await;
        assert_eq!(records.unknown_count(), 0, "nobody is refused for want of payments: {:?}", records.unknown);
        shop.all_end(&records).await;
        let converged_after = back.elapsed();
        assert!(converged_after < CONVERGES_WITHIN, "after {converged_after:?}");
        assert_eq!(payments.stop().await, 0);

        // The whole shop in one process again looks at the books of all services.
        assert_eq!(shop.replicas.pop().expect("a process").stop().await, 0);
        let whole = shop.start(0).await;
        shop.replicas.push(whole);
        let (_, states) = shop.converges(&records).await;
        println!(
            "payments were down for {away:?}: {} accepted in all, {before} confirmed before and {without} when they came \
             back, 20 accepted in {accepted_meanwhile:?}; all ended {converged_after:?} after: {states:?}",
            records.accepted.len()
        );
        shop.stop().await;
    })
    .await;
}
