//! Outbox to inbox through a real log: once each, in order, also with poison in between.

mod dead_letters;
mod lease;
mod rebuild;
mod recording;
mod relay;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bus::{Bus, EmbeddedLog, Message};
use contracts::inventory::StockLow;
use contracts::topics;
use db::{Db, Migration, Migrations, params};
use kernel::envelope::Event;
use kernel::{Clock, IdSource, ManualClock, Timestamp};

use crate::{Consumer, ConsumerPump, Outbox, Progress, Pump, Relay};

static TABLES: &[Migrations] = &[
    crate::MIGRATIONS,
    Migrations {
        component: "test",
        steps: &[Migration {
            version: 1,
            name: "seen",
            sql: "CREATE TABLE seen (n INTEGER PRIMARY KEY AUTOINCREMENT, sku VARCHAR(64), available BIGINT)",
        }],
    },
];

struct House {
    db: Db,
    bus: Arc<EmbeddedLog>,
    clock: Arc<dyn Clock>,
    outbox: Outbox,
    relay: Relay,
    consumer: ConsumerPump,
    broken: Arc<AtomicBool>,
}

async fn house() -> House {
    let clock: Arc<dyn Clock> = Arc::new(ManualClock::at(Timestamp::from_millis(1_772_366_400_000)));
    let db = Db::in_memory().unwrap();
    db.migrate(TABLES).await.unwrap();
    let bus = Arc::new(EmbeddedLog::open(Db::in_memory().unwrap(), clock.clone()).await.unwrap());
    let outbox = Outbox::new("test", clock.clone(), IdSource::new(clock.clone(), 1));
    let relay = Relay::new("test", db.clone(), bus.clone(), &outbox);
    let broken = Arc::new(AtomicBool::new(true));
    let consumer = consumer(&db, &bus, &clock, broken.clone());
    House { db, bus, clock, outbox, relay, consumer, broken }
}

/// Refuses a negative stock for as long as it is `broken`.
fn consumer(
    db: &Db,
    bus: &Arc<EmbeddedLog>,
    clock: &Arc<dyn Clock>,
    broken: Arc<AtomicBool>,
) -> ConsumerPump {
    Consumer::new("test.stock", &[topics::INVENTORY])
        .on::<StockLow>(move |tx, event, _| {
            tx.execute(
                "INSERT INTO seen (sku, available) VALUES (?, ?)",
                params![event.sku, event.available],
            )?;
            if event.available < 0 && broken.load(Ordering::SeqCst) {
                return Err(kernel::Error::invalid("negative", "stock below zero"));
            }
            Ok(())
        })
        .start(db.clone(), bus.clone(), clock.clone())
}

impl House {
    async fn send(&self, sku: &'static str, available: i64) {
        let outbox = self.outbox.clone();
        self.db
            .write(move |tx| {
                let event = StockLow { sku: sku.to_owned(), available, threshold: 5 };
                outbox.send(tx, topics::INVENTORY, sku, &event, None)
            })
            .await
            .unwrap();
    }

    async fn settle(&self) {
        while self.relay.step().await.unwrap() == Progress::Worked
            || self.consumer.step().await.unwrap() == Progress::Worked
        {}
    }

    async fn seen(&self, sku: &'static str) -> Vec<i64> {
        self.db
            .read(move |tx| {
                tx.query("SELECT available FROM seen WHERE sku = ? ORDER BY n", params![sku], |row| {
                    row.get(0)
                })
            })
            .await
            .map_err(|error: db::Error| error)
            .unwrap()
    }
}

#[tokio::test]
async fn what_is_committed_arrives_once_in_order_with_numbers_without_gaps() {
    let house = house().await;
    for n in 0..10 {
        house.send("TEA", n).await;
    }
    house.settle().await;
    assert_eq!(house.seen("TEA").await, (0..10).collect::<Vec<_>>());
    assert_eq!(crate::sequences(&house.db).await.unwrap(), [("TEA".to_owned(), 10)]);
    assert_eq!(crate::outbox_depth(&house.db).await.unwrap(), 0);
}

#[tokio::test]
async fn a_rolled_back_change_publishes_nothing() {
    let house = house().await;
    let outbox = house.outbox.clone();
    let _ = house
        .db
        .write(move |tx| -> kernel::Result<()> {
            let event = StockLow { sku: "TEA".to_owned(), available: 1, threshold: 5 };
            outbox.send(tx, topics::INVENTORY, "TEA", &event, None)?;
            Err(kernel::Error::conflict("no", "no"))
        })
        .await;
    house.settle().await;
    assert!(house.seen("TEA").await.is_empty());
}

#[tokio::test]
async fn a_second_delivery_changes_nothing() {
    let house = house().await;
    house.send("TEA", 3).await;
    house.settle().await;
    let again = house.bus.read("rtc.inventory", bus::partition_of("TEA", 4), 0, 10).await.unwrap();
    let message =
        Message { topic: "rtc.inventory".into(), key: "TEA".to_owned(), payload: again[0].payload.clone() };
    house.bus.publish(vec![message.clone(), message]).await.unwrap();
    house.settle().await;
    assert_eq!(house.seen("TEA").await, [3]);
}

#[tokio::test]
async fn poison_parks_its_key_and_the_others_flow_until_a_replay_sets_it_free() {
    let house = house().await;
    for (sku, available) in [("TEA", 1), ("TEA", -1), ("CUP", 7), ("TEA", 2), ("TEA", 3)] {
        house.send(sku, available).await;
    }
    house.settle().await;
    assert_eq!(house.seen("TEA").await, [1]);
    assert_eq!(house.seen("CUP").await, [7]);
    let parked = crate::list_dead_letters(&house.db, 10).await.unwrap();
    let states: Vec<_> = parked.iter().map(|letter| letter.state.as_str()).collect();
    assert_eq!(states, ["dead", "waiting", "waiting"]);
    assert!(parked[0].error.contains("stock below zero"), "{}", parked[0].error);

    // Replayed too early it is dead again, and the others still wait.
    crate::replay(&house.db, vec![parked[0].id]).await.unwrap();
    house.settle().await;
    assert_eq!(house.seen("TEA").await, [1]);
    house.send("TEA", 4).await;
    house.settle().await;

    house.broken.store(false, Ordering::SeqCst);
    assert_eq!(crate::replay(&house.db, vec![]).await.unwrap(), 4);
    house.settle().await;
    assert_eq!(house.seen("TEA").await, [1, -1, 2, 3, 4]);
    assert_eq!(crate::count_dead_letters(&house.db).await.unwrap(), 0);
}

#[tokio::test]
async fn a_message_that_comes_while_its_key_is_replayed_is_not_left_waiting() {
    let house = house().await;
    for available in [-1, 2] {
        house.send("TEA", available).await;
    }
    house.settle().await;
    house.broken.store(false, Ordering::SeqCst);
    // The replay is asked for, and before its first step a message of the same key is parked behind it.
    house
        .db
        .write(|tx| {
            tx.execute(
                "INSERT INTO dead_letters (consumer, topic, part, pos, subject, event_id, event_type, payload, error, \
                 attempts, parked_at, state) SELECT consumer, topic, part, 99, subject, 'later', event_type, \
                 REPLACE(REPLACE(payload, '\"available\":2', '\"available\":3'), 'evt_01', 'evt_02'), error, 0, \
                 parked_at, 'waiting' FROM dead_letters WHERE state = 'waiting'",
                params![],
            )
        })
        .await
        .unwrap();
    let ids = crate::list_dead_letters(&house.db, 10).await.unwrap();
    house
        .db
        .write(move |tx| {
            tx.execute("UPDATE dead_letters SET state = 'ready' WHERE id <= ?", params![ids[1].id])
        })
        .await
        .unwrap();
    house.settle().await;
    assert_eq!(house.seen("TEA").await, [-1, 2, 3]);
    assert_eq!(crate::count_dead_letters(&house.db).await.unwrap(), 0);
}

#[tokio::test]
async fn what_is_no_envelope_is_parked_and_holds_up_nothing() {
    let house = house().await;
    let endless = format!(
        r#"{{"id":"evt_0199b4a0000070008000000000000000","type":"{}","source":"elsewhere","subject":"{}","time":"2026-03-01T09:00:00.000Z","data":{{}}}}"#,
        StockLow::TYPE,
        "x".repeat(129)
    );
    for payload in ["{", "null", r#"{"id":"evt_1"}"#, "[[[[", "\u{0}", &endless] {
        let message =
            Message { topic: "rtc.inventory".into(), key: "TEA".to_owned(), payload: payload.into() };
        house.bus.publish(vec![message]).await.unwrap();
    }
    house.send("TEA", 1).await;
    house.settle().await;
    assert_eq!(house.seen("TEA").await, [1]);
    let letters = crate::list_dead_letters(&house.db, 10).await.unwrap();
    assert_eq!(letters.len(), 6);
    assert!(letters.iter().all(|letter| letter.key.starts_with("rtc.inventory/")), "{letters:?}");
}

#[tokio::test]
async fn data_of_the_wrong_shape_is_parked_and_an_unknown_type_passes_by() {
    let house = house().await;
    let wrong = |event_type: &str, n: u8| {
        let text = format!(
            r#"{{"id":"evt_0199b4a00000700080000000000000{n:02}","type":"{event_type}","source":"x","subject":"CUP","time":"2026-03-01T09:00:00.000Z","data":{{"sku":7}}}}"#
        );
        Message { topic: "rtc.inventory".into(), key: "CUP".to_owned(), payload: text.into() }
    };
    house.bus.publish(vec![wrong("rtc.inventory.from_the_future.v9", 1)]).await.unwrap();
    house.settle().await;
    assert_eq!(crate::count_dead_letters(&house.db).await.unwrap(), 0);
    house.bus.publish(vec![wrong(StockLow::TYPE, 2)]).await.unwrap();
    house.settle().await;
    assert_eq!(crate::count_dead_letters(&house.db).await.unwrap(), 1);
}

#[tokio::test]
async fn a_crash_between_the_commit_and_the_offset_delivers_again_without_effect() {
    let house = house().await;
    house.send("TEA", 1).await;
    house.relay.step().await.unwrap();
    // The effect is committed; the member dies before its offset is.
    let mut dying = house.bus.subscribe("test.stock", &[topics::INVENTORY], Arc::default()).await.unwrap();
    assert_eq!(dying.poll(10).await.unwrap().len(), 1);
    house.settle().await;
    let successor = consumer(&house.db, &house.bus, &house.clock, house.broken.clone());
    dying.rewind().await.unwrap();
    while successor.step().await.unwrap() == Progress::Worked {}
    assert_eq!(house.seen("TEA").await, [1]);
}

#[tokio::test]
async fn the_inbox_forgets_what_is_old_enough_and_nothing_else() {
    let house = house().await;
    for n in 0..5 {
        house.send("TEA", n).await;
    }
    house.settle().await;
    let now = house.clock.now();
    let sweep = async |horizon| house.db.write(move |tx| crate::sweep_inbox(tx, horizon)).await.unwrap();
    assert_eq!(sweep(now).await, 0);
    assert_eq!(sweep(now.plus(std::time::Duration::from_millis(1))).await, 5);
}

#[tokio::test]
async fn a_sweep_takes_few_statements_and_no_more_than_a_portion_at_a_time() {
    let (db, recorder) = recording::recorded(Db::in_memory().unwrap());
    db.migrate(TABLES).await.unwrap();
    db.write(|tx| -> Result<(), db::Error> {
        for n in 0..600 {
            let sql = "INSERT INTO inbox (consumer, event_id, handled_at) VALUES (?, ?, ?)";
            tx.execute(sql, params![format!("test.{}", n % 3), format!("{n:05}"), n])?;
        }
        Ok(())
    })
    .await
    .unwrap();
    let mut swept = Vec::new();
    while swept.last() != Some(&0) {
        recorder.clear();
        let horizon = Timestamp::from_millis(500);
        swept.push(db.write(move |tx| crate::sweep_inbox(tx, horizon)).await.unwrap());
        let deletes = recorder.count("DELETE FROM inbox");
        assert!(deletes <= 20, "{deletes} statements for {swept:?}");
    }
    assert_eq!(swept, [256, 244, 0]);
}

#[tokio::test]
async fn whether_a_message_of_a_subject_is_parked_is_looked_up_by_its_key() {
    let house = house().await;
    let sql = "EXPLAIN QUERY PLAN SELECT 1 FROM dead_letters WHERE consumer = ? AND subject = ? LIMIT 1";
    let plan: Result<String, db::Error> =
        house.db.read(move |tx| tx.query_one(sql, params!["test.stock", "TEA"], |row| row.get(3))).await;
    let plan = plan.unwrap();
    assert!(plan.contains("dead_letters_by_subject (consumer=? AND subject=?)"), "{plan}");
}

#[test]
fn of_two_runners_of_a_saga_one_fails() {
    let db = Db::in_memory().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        db.migrate(TABLES).await.unwrap();
        let result = db
            .write(|tx| -> kernel::Result<()> {
                crate::saga::insert(tx, "order", "o1", &"start", Some(Timestamp::from_millis(5)))?;
                let loaded = crate::saga::load::<String>(tx, "order", "o1")?.unwrap();
                crate::saga::save(tx, "order", "o1", &"mine", loaded.version, None)?;
                assert!(crate::saga::due(tx, "order", Timestamp::from_millis(9), 10)?.is_empty());
                crate::saga::save(tx, "order", "o1", &"stale", loaded.version, None)
            })
            .await;
        assert_eq!(result.unwrap_err().code(), "saga_moved_on");
    });
}
