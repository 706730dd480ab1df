//! F6: a broker that stands still, and one that is away and comes back, while orders are placed.
//!
//! It is stopped when nothing is on its way to it: in the moment of its end the stand-in loses what it has acknowledged
//! (docs/FAULTS.md), and what nobody has any more cannot be found again.

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
        shop.engines.pause(Engine::KafkaA).await;
        tokio::time::sleep(a_while(&mut random, 1_500)).await;
        crowd.orders_again(5).await;
        shop.engines.resume(Engine::KafkaA).await;
        crowd.orders_again(10).await;
        let mut records = crowd.leave().await;
        let (after_pause, _) = shop.converges(&records).await;

        shop.engines.stop(Engine::KafkaA).await;
        let away = Instant::now();
        let crowd = Crowd::gather(&shop, 4, &mut random);
        // Orders are accepted without it: their messages wait in the outbox.
        let without = crowd.orders_again(20).await;
        shop.engines.revive(Engine::KafkaA).await;
        let away = away.elapsed();
        crowd.orders_again(10).await;
        let later = crowd.leave().await;
        // Nobody is refused for want of a broker; that an answer takes its time on a busy machine is no refusal.
        for (when, unknown) in [("standing still", &records.unknown), ("away", &later.unknown)] {
            let refused: Vec<_> = unknown.keys().filter(|told| *told != "no answer").collect();
            assert!(refused.is_empty(), "{refused:?} while the broker was {when}");
        }
        let late = (records.unknown_count(), later.unknown_count());
        let slowest = (records.slowest, later.slowest);
        records.accepted.extend(later.accepted);
        let (converged_after, states) = shop.converges(&records).await;
        println!(
            "{} accepted (late answers {late:?}, slowest {slowest:?}); converged {after_pause:?} after a pause; 20 accepted in {without:?} without a broker, which was \
             away for {away:?}; converged after {converged_after:?}: {states:?}",
            records.accepted.len()
        );
        shop.stop().await;
    })
    .await;
}
