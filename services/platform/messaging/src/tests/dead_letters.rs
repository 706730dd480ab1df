//! Dead letters, and who comes in the way of their replay: a dependency that is away, another process.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use contracts::inventory::StockLow;
use contracts::topics;
use db::params;

use super::{House, house};
use crate::{Consumer, ConsumerPump, Pump, dead_letters};

/// Cannot do with a negative stock while something that it needs is away.
fn needing(house: &House, away: &Arc<AtomicBool>) -> ConsumerPump {
    let away = away.clone();
    Consumer::new("test.stock", &[topics::INVENTORY])
        .on::<StockLow>(move |tx, event, _| {
            if event.available < 0 && away.load(Ordering::SeqCst) {
                return Err(kernel::Error::unavailable("away", "what it needs is away"));
            }
            let sql = "INSERT INTO seen (sku, available) VALUES (?, ?)";
            Ok(tx.execute(sql, params![event.sku, event.available]).map(drop)?)
        })
        .start(house.db.clone(), house.bus.clone(), house.clock.clone())
}

#[tokio::test]
async fn what_was_taken_comes_again_where_a_replay_ends_the_step() {
    let house = house().await;
    house.send("TEA", -1).await;
    house.settle().await;
    house.consumer.finish().await;
    let away = Arc::new(AtomicBool::new(true));
    let consumer = needing(&house, &away);
    assert_eq!(crate::replay(&house.db, vec![]).await.unwrap(), 1);
    // A step looks for letters now and then also where it has found messages, and fails by this one.
    let mut failed = 0;
    for n in 0..60 {
        house.send("CUP", n).await;
        house.relay.step().await.unwrap();
        failed += usize::from(consumer.step().await.is_err());
    }
    assert!(failed > 1, "{failed}");
    away.store(false, Ordering::SeqCst);
    while consumer.step().await.unwrap() == crate::Progress::Worked {}
    assert_eq!(house.seen("CUP").await, (0..60).collect::<Vec<_>>());
    assert_eq!(house.seen("TEA").await, [-1]);
}

#[tokio::test]
async fn a_replay_that_failed_behind_one_that_succeeded_leaves_nobody_waiting() {
    let house = house().await;
    for available in [-1, 2] {
        house.send("TEA", available).await;
    }
    house.settle().await;
    crate::replay(&house.db, vec![]).await.unwrap();
    let ready = |tx: &mut db::Tx<'_>| dead_letters::next_ready(tx, "test.stock");
    let letter = house.db.read(ready).await.map_err(|error: db::Error| error).unwrap().unwrap();
    // Two processes have found it: one has done it, and the other, of an older version, could not.
    let again = letter.clone();
    house.db.write(move |tx| dead_letters::remove(tx, &again)).await.unwrap();
    house.db.write(move |tx| dead_letters::fail_again(tx, &letter, "unknown here")).await.unwrap();
    house.settle().await;
    assert_eq!(house.seen("TEA").await, [2]);
    assert_eq!(crate::count_dead_letters(&house.db).await.unwrap(), 0);
}
