//! F2: a replica that stands still for longer than its leases, in the middle of its work, and goes on.

use std::time::Duration;

use rustix::process::Signal;
use tokio::time::Instant;

use crate::faults::crowd::Crowd;
use crate::faults::each_seed;
use crate::faults::shop::{Shop, a_while, ask};
use crate::support::Engine;

/// Longer than leases and sessions with the broker last.
const PAUSE: Duration = Duration::from_secs(12);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_stands_still_past_its_leases_does_nothing_twice_when_it_goes_on() {
    each_seed(async |mut random| {
        let shop = Shop::open(&[Engine::MariaDb, Engine::KafkaB], 2).await;
        let crowd = Crowd::gather(&shop, 6, &mut random);
        crowd.orders_again(20).await;
        let mut resumed_after = Duration::ZERO;
        // One after the other, so that whoever relays is among them.
        for replica in &shop.replicas {
            tokio::time::sleep(a_while(&mut random, 300)).await;
            replica.signal(Signal::STOP);
            let begun = Instant::now();
            tokio::time::sleep(PAUSE).await;
            replica.signal(Signal::CONT);
            crowd.orders_again(10).await;
            resumed_after = resumed_after.max(begun.elapsed().saturating_sub(PAUSE));
        }
        let records = crowd.leave().await;
        let taken_over: Vec<(String, i64)> =
            ask(shop.engines.mysql(), "SELECT name, token FROM rtc_orders.leases WHERE token > 1").await;
        assert!(taken_over.iter().any(|(name, _)| name == "orders.relay"), "no relay was taken over: {taken_over:?}");
        assert!(records.unknown_count() > 0, "nobody met a replica that stood still");
        let (converged_after, states) = shop.converges(&records).await;
        println!(
            "two pauses of {PAUSE:?}: {} accepted, unknown {:?}, slowest answer {:?}, orders again {resumed_after:?} \
             after the last, converged after {converged_after:?}: {states:?}; leases taken over: {taken_over:?}",
            records.accepted.len(),
            records.unknown,
            records.slowest,
        );
        shop.stop().await;
    })
    .await;
}
