//! The relay where one partition takes nothing: the others go on, and order holds when it is back.

use std::sync::Mutex;
use std::sync::atomic::AtomicU32;

use async_trait::async_trait;
use bus::{Delivery, GroupLag, PartitionInfo, Start, Subscription};
use contracts::topics::Topic;
use futures_util::FutureExt;
use tokio::sync::Notify;

use super::*;

/// What a partition that is away does with messages.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Away {
    Refuses,
    /// It is silent until somebody says that it is back.
    IsSilent,
    /// A defect.
    Panics,
}

/// A log of which one partition may be away.
struct PartlyAway {
    log: Arc<EmbeddedLog>,
    away: Mutex<Option<(u32, Away)>>,
    /// How often it has refused.
    refusals: AtomicU32,
    back: Notify,
}

#[async_trait]
impl Bus for PartlyAway {
    async fn publish(&self, messages: Vec<Message>) -> Result<(), bus::Error> {
        let away = *self.away.lock().unwrap();
        let is_hit = |partition| {
            let partitions = topics::INVENTORY.partitions;
            messages.iter().any(|message| bus::partition_of(&message.key, partitions) == partition)
        };
        match away {
            Some((partition, Away::Refuses)) if is_hit(partition) => {
                self.refusals.fetch_add(1, Ordering::SeqCst);
                return Err(bus::Error::Unavailable("its leader is away".to_owned()));
            }
            Some((partition, Away::IsSilent)) if is_hit(partition) => self.back.notified().await,
            Some((partition, Away::Panics)) if is_hit(partition) => panic!("a defect"),
            _ => {}
        }
        self.log.publish(messages).await
    }

    async fn subscribe(
        &self,
        group: &str,
        topics: &[Topic],
        wake: Arc<Notify>,
    ) -> Result<Box<dyn Subscription>, bus::Error> {
        self.log.subscribe(group, topics, wake).await
    }

    async fn partitions(&self, topic: &str) -> Result<Vec<PartitionInfo>, bus::Error> {
        self.log.partitions(topic).await
    }

    async fn lag(&self) -> Result<Vec<GroupLag>, bus::Error> {
        self.log.lag().await
    }

    async fn offset_of(&self, topic: &str, partition: u32, start: Start) -> Result<i64, bus::Error> {
        self.log.offset_of(topic, partition, start).await
    }

    async fn read(
        &self,
        topic: &str,
        partition: u32,
        offset: i64,
        limit: usize,
    ) -> Result<Vec<Delivery>, bus::Error> {
        self.log.read(topic, partition, offset, limit).await
    }

    async fn sweep(&self, before: Timestamp) -> Result<u64, bus::Error> {
        self.log.sweep(before).await
    }

    fn published(&self) -> Arc<Notify> {
        self.log.published()
    }
}

/// Two keys that lie in different partitions.
const KEYS: [&str; 2] = ["TEA", "CUP"];

async fn partly_away(how: Away) -> (House, Arc<PartlyAway>, Relay) {
    let house = house().await;
    let [tea, cup] = KEYS.map(|key| bus::partition_of(key, topics::INVENTORY.partitions));
    assert_ne!(tea, cup);
    let away = Mutex::new(Some((tea, how)));
    let bus = Arc::new(PartlyAway {
        log: house.bus.clone(),
        away,
        refusals: AtomicU32::new(0),
        back: Notify::new(),
    });
    let relay = Relay::new("test", house.db.clone(), bus.clone(), &house.outbox);
    (house, bus, relay)
}

/// Turns the relay until nothing waits: however long a partition rests, it is tried again.
async fn publish_all(house: &House, relay: &Relay) {
    for _ in 0..1_000 {
        relay.step().await.unwrap();
        if crate::outbox_depth(&house.db).await.unwrap() == 0 {
            return;
        }
    }
    panic!("messages are left over");
}

async fn consume(house: &House) {
    while house.consumer.step().await.unwrap() == Progress::Worked {}
}

#[tokio::test]
async fn a_partition_without_a_leader_holds_up_no_other() {
    let (house, bus, relay) = partly_away(Away::Refuses).await;
    for n in 0..3 {
        house.send("TEA", n).await;
        house.send("CUP", n).await;
    }
    for _ in 0..3 {
        let _ = relay.step().await;
    }
    consume(&house).await;
    assert_eq!((house.seen("TEA").await, house.seen("CUP").await), (vec![], vec![0, 1, 2]));
    assert_eq!(crate::outbox_depth(&house.db).await.unwrap(), 3);

    *bus.away.lock().unwrap() = None;
    house.send("TEA", 3).await;
    publish_all(&house, &relay).await;
    consume(&house).await;
    assert_eq!(house.seen("TEA").await, [0, 1, 2, 3]);
}

#[tokio::test]
async fn a_partition_that_refuses_at_once_is_left_alone_for_longer_and_longer() {
    let (house, bus, relay) = partly_away(Away::Refuses).await;
    house.send("TEA", 0).await;
    let _ = relay.step().await;
    for n in 0..300 {
        house.send("CUP", n).await;
        while relay.step().await.unwrap() == Progress::Worked {}
    }
    consume(&house).await;
    assert_eq!(house.seen("CUP").await, (0..300).collect::<Vec<_>>());
    let refusals = bus.refusals.load(Ordering::SeqCst);
    assert!((4..=20).contains(&refusals), "asked {refusals} times");

    *bus.away.lock().unwrap() = None;
    publish_all(&house, &relay).await;
    consume(&house).await;
    assert_eq!(house.seen("TEA").await, [0]);
}

#[tokio::test]
async fn however_much_waits_for_a_partition_that_is_away_others_are_seen_behind_it() {
    let (house, bus, relay) = partly_away(Away::Refuses).await;
    let outbox = house.outbox.clone();
    let many = move |tx: &mut db::Tx<'_>| -> kernel::Result<()> {
        for available in 0..10_000 {
            let event = StockLow { sku: "TEA".to_owned(), available, threshold: 5 };
            outbox.send(tx, topics::INVENTORY, "TEA", &event, None)?;
        }
        Ok(())
    };
    house.db.write(many).await.unwrap();
    let _ = relay.step().await;
    for n in 0..2 {
        house.send("CUP", n).await;
        for _ in 0..2 {
            relay.step().await.unwrap();
        }
        consume(&house).await;
        assert_eq!(house.seen("CUP").await, (0..=n).collect::<Vec<_>>());
    }
    *bus.away.lock().unwrap() = None;
    publish_all(&house, &relay).await;
    consume(&house).await;
    assert_eq!(house.seen("TEA").await, (0..10_000).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn a_partition_that_is_silent_holds_up_no_other_however_much_waits_for_it() {
    let (house, bus, relay) = partly_away(Away::Refuses).await;
    // More than is read at once.
    for n in 0..600 {
        house.send("TEA", n).await;
    }
    let _ = relay.step().await;
    let silent = bus.away.lock().unwrap().map(|(partition, _)| (partition, Away::IsSilent));
    *bus.away.lock().unwrap() = silent;
    relay.step().await.unwrap();
    for n in 0..2 {
        house.send("CUP", n).await;
        relay.step().await.unwrap();
    }
    consume(&house).await;
    assert_eq!((house.seen("TEA").await.len(), house.seen("CUP").await), (0, vec![0, 1]));

    *bus.away.lock().unwrap() = None;
    bus.back.notify_waiters();
    publish_all(&house, &relay).await;
    consume(&house).await;
    assert_eq!(house.seen("TEA").await, (0..600).collect::<Vec<_>>());
}

#[tokio::test]
async fn whoever_goes_on_after_a_publication_that_panicked_publishes_it() {
    let (house, bus, relay) = partly_away(Away::Refuses).await;
    house.send("TEA", 0).await;
    assert!(relay.step().await.is_err());
    let panics = bus.away.lock().unwrap().map(|(partition, _)| (partition, Away::Panics));
    *bus.away.lock().unwrap() = panics;
    assert!(std::panic::AssertUnwindSafe(relay.step()).catch_unwind().await.is_err());
    relay.finish().await;

    *bus.away.lock().unwrap() = None;
    publish_all(&house, &relay).await;
    consume(&house).await;
    assert_eq!(house.seen("TEA").await, [0]);
}

#[tokio::test]
async fn the_lag_of_what_was_published_is_told() {
    let house = house().await;
    let mut registry = prometheus_client::registry::Registry::default();
    let lag = crate::RelayLag::register(&mut registry);
    let relay = Relay::new("test", house.db.clone(), house.bus.clone(), &house.outbox).measured(&lag);
    for n in 0..3 {
        house.send("TEA", n).await;
    }
    relay.step().await.unwrap();
    let mut page = String::new();
    prometheus_client::encoding::text::encode(&mut page, &registry).unwrap();
    assert!(page.contains("rtc_relay_lag_seconds_count{service=\"test\"} 3"), "{page}");
}
