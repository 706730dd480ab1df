//! A read model that is filled anew while messages come: each message once, in order, whatever dies when.

mod trouble;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bus::{Bus, Delivery, EmbeddedLog, Error, GroupLag, Message, PartitionInfo, Start, Subscription};
use contracts::inventory::StockLow;
use contracts::topics::{self, Topic};
use db::{Db, Migration, Migrations, Tx, params};
use kernel::{Clock, IdSource, ManualClock, Timestamp};
use tokio::sync::{Mutex, Notify};

use crate::{Cleared, Consumer, ConsumerPump, Extent, Outbox, Progress, Pump, Relay, Stage, Swapped};

static TABLES: &[Migrations] = &[
    crate::MIGRATIONS,
    Migrations {
        component: "test",
        steps: &[Migration {
            version: 1,
            name: "seen",
            sql: "CREATE TABLE seen (n INTEGER PRIMARY KEY AUTOINCREMENT, sku VARCHAR(64), available BIGINT);
                  CREATE TABLE seen_aside (n INTEGER PRIMARY KEY AUTOINCREMENT, sku VARCHAR(64), available BIGINT)",
        }],
    },
];

const GROUP: &str = "test.model";
const KEYS: [&str; 3] = ["TEA", "CUP", "POT"];

/// Counts calls of the bus and of handlers down: the one at zero fails, and after `respite` more all do, as they would
/// in a process that is about to die.
#[derive(Clone)]
struct Fuse {
    left: Arc<AtomicI64>,
    respite: i64,
}

impl Fuse {
    fn none() -> Self {
        Self { left: Arc::new(AtomicI64::new(i64::MAX)), respite: 0 }
    }

    fn burn(&self) -> Result<(), Error> {
        let left = self.left.fetch_sub(1, Ordering::SeqCst);
        if left == 0 || left < -self.respite {
            return Err(Error::Unavailable("the fuse is blown".to_owned()));
        }
        Ok(())
    }

    /// Whether it has blown; the next process has a sound one.
    fn replace(&self) -> bool {
        self.left.swap(i64::MAX, Ordering::SeqCst) < 0
    }
}

struct Fused {
    log: Arc<EmbeddedLog>,
    fuse: Fuse,
    /// Asks for a rebuild of the model in this database when the next messages have been polled.
    ambush: Arc<Mutex<Option<Db>>>,
    /// So many reads from here on find nothing, whatever there is.
    mute: Arc<AtomicI64>,
}

struct Ambushed {
    log: Arc<EmbeddedLog>,
    member: Box<dyn Subscription>,
    ambush: Arc<Mutex<Option<Db>>>,
}

#[async_trait]
impl Subscription for Ambushed {
    async fn poll(&mut self, max: usize) -> Result<Vec<Delivery>, Error> {
        let polled = self.member.poll(max).await?;
        let ambush = self.ambush.lock().await.take();
        if let Some(db) = ambush {
            crate::rebuild(&db, self.log.as_ref(), GROUP, Timestamp::EPOCH).await.unwrap();
        }
        Ok(polled)
    }

    async fn commit(&mut self, handled: &[Delivery]) -> Result<(), Error> {
        self.member.commit(handled).await
    }

    async fn rewind(&mut self) -> Result<(), Error> {
        self.member.rewind().await
    }
}

#[async_trait]
impl Bus for Fused {
    async fn publish(&self, messages: Vec<Message>) -> Result<(), Error> {
        self.log.publish(messages).await
    }

    async fn subscribe(
        &self,
        group: &str,
        topics: &[Topic],
        wake: Arc<Notify>,
    ) -> Result<Box<dyn Subscription>, Error> {
        let member = self.log.subscribe(group, topics, wake).await?;
        Ok(Box::new(Ambushed { log: self.log.clone(), member, ambush: self.ambush.clone() }))
    }

    async fn partitions(&self, topic: &str) -> Result<Vec<PartitionInfo>, Error> {
        self.fuse.burn()?;
        self.log.partitions(topic).await
    }

    async fn lag(&self) -> Result<Vec<GroupLag>, Error> {
        self.log.lag().await
    }

    async fn offset_of(&self, topic: &str, partition: u32, start: Start) -> Result<i64, Error> {
        self.log.offset_of(topic, partition, start).await
    }

    async fn read(
        &self,
        topic: &str,
        partition: u32,
        offset: i64,
        limit: usize,
    ) -> Result<Vec<Delivery>, Error> {
        self.fuse.burn()?;
        if self.mute.fetch_sub(1, Ordering::SeqCst) > 0 {
            return Ok(Vec::new());
        }
        self.log.read(topic, partition, offset, limit).await
    }

    async fn sweep(&self, now: Timestamp) -> Result<u64, Error> {
        self.log.sweep(now).await
    }

    fn published(&self) -> Arc<Notify> {
        self.log.published()
    }
}

#[derive(Clone, Copy)]
enum Way {
    InPlace,
    Aside,
}

/// The first key after `reached` that a table has.
fn next_key(tx: &mut Tx<'_>, table: &str, reached: &str) -> Result<Option<String>, db::Error> {
    let sql = format!("SELECT MIN(sku) FROM {table} WHERE sku > ?");
    tx.query_one(&sql, params![reached], |row| row.get(0))
}

/// One key a transaction.
fn clear_a_key(table: &'static str) -> impl Fn(&mut Tx<'_>) -> kernel::Result<Cleared> + Send + Sync {
    move |tx| {
        let Some(key) = next_key(tx, table, "")? else { return Ok(Cleared::Wholly) };
        tx.execute(&format!("DELETE FROM {table} WHERE sku = ?"), params![key])?;
        Ok(Cleared::Partly)
    }
}

/// One key a transaction.
fn swap_a_key(tx: &mut Tx<'_>, extent: Extent, reached: Option<&str>) -> kernel::Result<Swapped> {
    let reached = reached.unwrap_or("");
    let new = next_key(tx, "seen_aside", reached)?;
    let old = match extent {
        Extent::Whole => next_key(tx, "seen", reached)?,
        Extent::Tail => None,
    };
    let Some(key) = new.into_iter().chain(old).min() else { return Ok(Swapped::Wholly) };
    tx.execute("DELETE FROM seen WHERE sku = ?", params![key])?;
    let move_in =
        "INSERT INTO seen (sku, available) SELECT sku, available FROM seen_aside WHERE sku = ? ORDER BY n";
    tx.execute(move_in, params![key])?;
    tx.execute("DELETE FROM seen_aside WHERE sku = ?", params![key])?;
    Ok(Swapped::Upto(key))
}

struct Shop {
    db: Db,
    bus: Arc<Fused>,
    clock: Arc<ManualClock>,
    outbox: Outbox,
    relay: Relay,
    fuse: Fuse,
    way: Way,
    sent: [i64; KEYS.len()],
}

fn folding(table: &'static str, fuse: &Fuse) -> Consumer {
    let fuse = fuse.clone();
    Consumer::new(GROUP, &[topics::INVENTORY]).on::<StockLow>(move |tx, event, _| {
        let sql = format!("INSERT INTO {table} (sku, available) VALUES (?, ?)");
        tx.execute(&sql, params![event.sku, event.available])?;
        fuse.burn()?;
        if event.available < 0 {
            return Err(kernel::Error::invalid("negative", "stock below zero"));
        }
        Ok(())
    })
}

impl Shop {
    async fn open(way: Way, respite: i64) -> Self {
        let clock = Arc::new(ManualClock::at(Timestamp::from_millis(1_772_366_400_000)));
        let db = Db::in_memory().unwrap();
        db.migrate(TABLES).await.unwrap();
        let log = Arc::new(EmbeddedLog::open(Db::in_memory().unwrap(), clock.clone()).await.unwrap());
        let fuse = Fuse { respite, ..Fuse::none() };
        let bus = Arc::new(Fused { log, fuse: fuse.clone(), ambush: Arc::default(), mute: Arc::default() });
        let outbox = Outbox::new("test", clock.clone(), IdSource::new(clock.clone(), 1));
        let relay = Relay::new("test", db.clone(), bus.clone(), &outbox);
        Self { db, bus, clock, outbox, relay, fuse, way, sent: [0; KEYS.len()] }
    }

    fn pump(&self) -> ConsumerPump {
        let consumer = match self.way {
            Way::InPlace => folding("seen", &self.fuse).rebuilds(clear_a_key("seen")),
            Way::Aside => folding("seen", &self.fuse).rebuilds_aside(
                folding("seen_aside", &self.fuse),
                clear_a_key("seen_aside"),
                swap_a_key,
            ),
        };
        let clock: Arc<dyn Clock> = self.clock.clone();
        consumer.start(self.db.clone(), self.bus.clone(), clock)
    }

    async fn say(&self, sku: &'static str, available: i64) {
        let outbox = self.outbox.clone();
        self.db
            .write(move |tx| {
                let event = StockLow { sku: sku.to_owned(), available, threshold: 5 };
                outbox.send(tx, topics::INVENTORY, sku, &event, None)
            })
            .await
            .unwrap();
    }

    /// The next message of a key: 1, 2, 3 … of each.
    async fn send(&mut self, key: usize) {
        self.sent[key] += 1;
        self.say(KEYS[key], self.sent[key]).await;
        while self.relay.step().await.unwrap() == Progress::Worked {}
    }

    /// The same message once more, as a relay that has lost an answer would.
    async fn repeat_all(&self) {
        for partition in 0..topics::INVENTORY.partitions {
            let old = self.bus.log.read("rtc.inventory", partition, 0, 10_000).await.unwrap();
            let again = old.into_iter().map(|delivery| Message {
                topic: delivery.topic.clone(),
                key: delivery.envelope().unwrap().subject,
                payload: delivery.payload,
            });
            self.bus.publish(again.collect()).await.unwrap();
        }
    }

    async fn rebuild(&self) -> kernel::Result<()> {
        crate::rebuild(&self.db, self.bus.log.as_ref(), GROUP, self.clock.now()).await
    }

    async fn stage(&self) -> Stage {
        crate::projections(&self.db).await.unwrap()[0].stage
    }

    async fn seen(&self, sku: &'static str) -> Vec<i64> {
        let sql = "SELECT available FROM seen WHERE sku = ? ORDER BY n";
        self.db
            .read(move |tx| tx.query(sql, params![sku], |row| row.get(0)))
            .await
            .map_err(|error: db::Error| error)
            .unwrap()
    }

    /// Each message once, in the order of its key.
    async fn assert_folded(&self, what: &str) {
        for (key, sent) in KEYS.iter().zip(self.sent) {
            assert_eq!(self.seen(key).await, (1..=sent).collect::<Vec<_>>(), "{key}: {what}");
        }
    }

    async fn damage(&self) {
        self.db
            .write(|tx| -> Result<(), db::Error> {
                tx.execute("DELETE FROM seen WHERE sku = 'CUP'", params![])?;
                tx.execute("UPDATE seen SET available = available + 1000 WHERE sku = 'POT'", params![])?;
                tx.execute("INSERT INTO seen (sku, available) VALUES ('TEA', 77)", params![]).map(drop)
            })
            .await
            .unwrap();
    }
}

async fn settle(pump: &ConsumerPump) {
    while pump.step().await.unwrap() == Progress::Worked {}
}

/// A rebuild by two replicas in turns, with a live message at every step, that dies at call number `point`. Answers
/// whether it got that far.
async fn dies_at(way: Way, point: i64, respite: i64) -> bool {
    let mut shop = Shop::open(way, respite).await;
    let mut replicas = [shop.pump(), shop.pump()];
    for n in 0..320 {
        shop.send(if n < 290 { 0 } else { n % KEYS.len() }).await;
    }
    shop.repeat_all().await;
    settle(&replicas[0]).await;
    settle(&replicas[1]).await;
    shop.assert_folded("before").await;
    shop.damage().await;
    shop.rebuild().await.unwrap();
    shop.fuse.left.store(point, Ordering::SeqCst);
    let mut died = false;
    let mut turn = 0;
    while shop.stage().await != Stage::Live {
        turn += 1;
        assert!(turn < 200, "the rebuild does not end");
        shop.send(turn % KEYS.len()).await;
        let replica = turn % 2;
        if replicas[replica].step().await.is_err() {
            assert!(shop.fuse.replace());
            died = true;
            replicas[replica] = shop.pump();
        }
    }
    shop.fuse.replace();
    shop.send(1).await;
    for replica in &replicas {
        settle(replica).await;
    }
    shop.assert_folded(&format!("died at {point}")).await;
    died
}

async fn dies_everywhere(way: Way) {
    for respite in [0, 3] {
        let mut point = 0;
        let mut deaths = 0;
        // The calls at the edges one by one, those within a batch here and there.
        while dies_at(way, point, respite).await {
            deaths += 1;
            point += if point < 6 { 1 } else { 41 };
        }
        assert!(deaths > 10, "{deaths} points");
    }
}

#[tokio::test]
async fn a_rebuild_in_place_that_dies_anywhere_under_live_traffic_ends_as_the_fold_of_the_log() {
    dies_everywhere(Way::InPlace).await;
}

#[tokio::test]
async fn a_rebuild_aside_that_dies_anywhere_under_live_traffic_ends_as_the_fold_of_the_log() {
    dies_everywhere(Way::Aside).await;
}

#[tokio::test]
async fn a_model_that_is_rebuilt_aside_is_whole_at_every_moment() {
    let mut shop = Shop::open(Way::Aside, 0).await;
    let pump = shop.pump();
    for n in 0..1_200 {
        shop.send(n % KEYS.len()).await;
    }
    settle(&pump).await;
    shop.rebuild().await.unwrap();
    let mut steps = 0;
    while shop.stage().await != Stage::Live {
        shop.assert_folded("meanwhile").await;
        pump.step().await.unwrap();
        steps += 1;
    }
    assert!(steps > 8, "{steps} steps: forgotten and read piece by piece");
    shop.assert_folded("afterwards").await;
    let view = &crate::projections(&shop.db).await.unwrap()[0];
    assert_eq!((view.passed, view.places), (0, 0));
}

#[tokio::test]
async fn messages_of_the_group_wait_until_the_rebuild_is_done() {
    let mut shop = Shop::open(Way::InPlace, 0).await;
    let pump = shop.pump();
    shop.send(0).await;
    settle(&pump).await;
    shop.rebuild().await.unwrap();
    // The end of the log is taken, then a message comes.
    pump.step().await.unwrap();
    shop.send(0).await;
    let view = &crate::projections(&shop.db).await.unwrap()[0];
    assert_eq!((view.stage, view.passed, view.places), (Stage::Emptying, 0, 1));
    while shop.stage().await != Stage::Live {
        pump.step().await.unwrap();
    }
    shop.assert_folded_to(&[2, 0, 0]).await;
    settle(&pump).await;
    shop.assert_folded("afterwards").await;
}

impl Shop {
    /// At most so many of each key, and never in another order.
    async fn assert_folded_to(&self, most: &[i64]) {
        for (key, most) in KEYS.iter().zip(most) {
            let seen = self.seen(key).await;
            assert_eq!(seen, (1..=i64::try_from(seen.len()).unwrap()).collect::<Vec<_>>());
            assert!(i64::try_from(seen.len()).unwrap() <= *most);
        }
    }
}

#[tokio::test]
async fn messages_that_were_polled_before_a_rebuild_was_asked_for_take_no_effect_before_it() {
    let mut shop = Shop::open(Way::InPlace, 0).await;
    let pump = shop.pump();
    shop.send(0).await;
    settle(&pump).await;
    shop.send(0).await;
    *shop.bus.ambush.lock().await = Some(shop.db.clone());
    pump.step().await.unwrap();
    assert_eq!(shop.stage().await, Stage::Requested);
    assert_eq!(shop.seen(KEYS[0]).await, [1]);
    settle(&pump).await;
    shop.assert_folded("afterwards").await;
}

#[tokio::test]
async fn poison_is_parked_again_by_a_rebuild_and_its_key_waits_behind_it() {
    let mut shop = Shop::open(Way::InPlace, 0).await;
    let pump = shop.pump();
    for key in [0, 1, 0] {
        shop.send(key).await;
    }
    shop.say(KEYS[0], -1).await;
    shop.send(0).await;
    shop.send(1).await;
    settle(&pump).await;
    let before = crate::list_dead_letters(&shop.db, 10).await.unwrap();
    assert_eq!(before.len(), 2);
    shop.rebuild().await.unwrap();
    settle(&pump).await;
    assert_eq!(shop.stage().await, Stage::Live);
    let after = crate::list_dead_letters(&shop.db, 10).await.unwrap();
    let places = |letters: &[crate::DeadLetter]| -> Vec<_> {
        letters.iter().map(|letter| (letter.partition, letter.offset, letter.state)).collect()
    };
    assert_eq!(places(&before), places(&after));
    assert_ne!(before[0].id, after[0].id);
    assert_eq!(shop.seen(KEYS[0]).await, [1, 2]);
    assert_eq!(shop.seen(KEYS[1]).await, [1, 2]);
}

#[tokio::test]
async fn what_cannot_be_rebuilt_is_refused_and_stays_as_it_is() {
    let mut shop = Shop::open(Way::InPlace, 0).await;
    assert_eq!(shop.rebuild().await.unwrap_err().code(), "no_such_projection");
    let pump = shop.pump();
    shop.send(0).await;
    settle(&pump).await;
    shop.rebuild().await.unwrap();
    assert_eq!(shop.rebuild().await.unwrap_err().code(), "rebuild_under_way");
    settle(&pump).await;

    // A week on the log has let go of its beginning: before the request, or just after it.
    shop.rebuild().await.unwrap();
    shop.clock.advance(Duration::from_secs(8 * 86_400));
    shop.bus.sweep(shop.clock.now()).await.unwrap();
    settle(&pump).await;
    assert_eq!(shop.stage().await, Stage::Live);
    shop.assert_folded("the log went before the first step").await;
    shop.send(0).await;
    settle(&pump).await;
    assert_eq!(shop.rebuild().await.unwrap_err().code(), "log_too_short");
    shop.assert_folded("the log went before the request").await;
}

#[tokio::test]
async fn aside_a_log_without_its_beginning_replaces_only_what_it_tells_of() {
    let mut shop = Shop::open(Way::Aside, 0).await;
    let pump = shop.pump();
    shop.send(0).await;
    shop.send(1).await;
    settle(&pump).await;
    shop.clock.advance(Duration::from_secs(8 * 86_400));
    shop.bus.sweep(shop.clock.now()).await.unwrap();
    shop.send(1).await;
    settle(&pump).await;
    shop.rebuild().await.unwrap();
    settle(&pump).await;
    assert_eq!(shop.stage().await, Stage::Live);
    assert_eq!(shop.seen(KEYS[0]).await, [1]);
    assert_eq!(shop.seen(KEYS[1]).await, [2]);
}
