//! F6: a broker that is stopped, killed and started again while orders are placed.

use std::time::Duration;

use tokio::time::Instant;

use crate::faults::crowd::Crowd;
use crate::faults::each_seed;
use crate::faults::shop::{Shop, a_while};
use crate::support::Engine;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn orders_are_taken_while_the_broker_is_away_and_end_once_it_is_back() {
    each_seed(async |mut random| {
        let shop = Shop::open(&[Engine::MariaDb, Engine::KafkaA], 1).await;
        let crowd = Crowd::gather(&shop, 4, &mut random);
        crowd.orders_again(20).await;
        shop.engines.restart(Engine::KafkaA).await;
        crowd.orders_again(10).await;
        shop.engines.stop(Engine::KafkaA).await;
        let away = Instant::now();
        tokio::time::sleep(a_while(&mut random, 1_500)).await;
        // Orders are accepted without it: they wait in the outbox.
        let without = crowd.orders_again(10).await;
        shop.engines.revive(Engine::KafkaA).await;
        let away = away.elapsed();
        crowd.orders_again(10).await;
        let records = crowd.leave().await;
        assert_eq!(records.unknown_count(), 0, "the broker is not needed to accept an order: {:?}", records.unknown);
        let (converged_after, states) = shop.converges(&records).await;
        assert!(converged_after < Duration::from_secs(60));
        println!(
            "broker away for {away:?}: {} accepted (10 in {without:?} without it), converged after {converged_after:?}: {states:?}",
            records.accepted.len()
        );
        shop.stop().await;
    })
    .await;
}
