//! What every adapter of the bus promises, run here against the embedded log.

use std::sync::Arc;
use std::time::Duration;

use contracts::topics;
use db::Db;
use kernel::{Clock, ManualClock, Timestamp};

use crate::{Bus, EmbeddedLog, Error, Message, Start};

const NOON: Timestamp = Timestamp::from_millis(1_772_366_400_000);

fn wake() -> Arc<tokio::sync::Notify> {
    Arc::default()
}

async fn open(dir: &tempfile::TempDir) -> (Arc<ManualClock>, EmbeddedLog) {
    let clock = Arc::new(ManualClock::at(NOON));
    let db = Db::open_sqlite(&dir.path().join("log.db")).unwrap();
    (clock.clone(), EmbeddedLog::open(db, clock).await.unwrap())
}

fn message(key: &str, n: usize) -> Message {
    Message { topic: Arc::from("rtc.orders"), key: key.to_owned(), payload: format!("{{\"n\":{n}}}").into() }
}

async fn publish(log: &EmbeddedLog, count: usize) {
    let batch = (0..count).map(|n| message(&format!("k{}", n % 7), n)).collect();
    log.publish(batch).await.unwrap();
}

#[tokio::test]
async fn messages_of_a_key_keep_their_order_and_a_group_sees_each_once() {
    let dir = tempfile::tempdir().unwrap();
    let (_, log) = open(&dir).await;
    let mut group = log.subscribe("g", &[topics::ORDERS], wake()).await.unwrap();
    publish(&log, 3_000).await;
    let mut last = [None; 7];
    let mut seen = 0;
    loop {
        let batch = group.poll(100).await.unwrap();
        if batch.is_empty() {
            break;
        }
        for delivery in &batch {
            let n: usize = delivery.payload[5..delivery.payload.len() - 1].parse().unwrap();
            assert!(last[n % 7] < Some(n));
            last[n % 7] = Some(n);
            seen += 1;
        }
        group.commit(&batch).await.unwrap();
    }
    assert_eq!(seen, 3_000);
}

#[tokio::test]
async fn what_is_not_committed_is_delivered_again_also_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    {
        let (_, log) = open(&dir).await;
        publish(&log, 50).await;
        let mut group = log.subscribe("g", &[topics::ORDERS], wake()).await.unwrap();
        let first = group.poll(1_000).await.unwrap();
        assert_eq!(first.len(), 50);
        group.rewind().await.unwrap();
        let again = group.poll(1_000).await.unwrap();
        assert_eq!(again.len(), 50);
        let partition = again[0].partition;
        let handled: Vec<_> = again.into_iter().filter(|delivery| delivery.partition == partition).collect();
        group.commit(&handled).await.unwrap();
    }
    let (_, log) = open(&dir).await;
    let mut group = log.subscribe("g", &[topics::ORDERS], wake()).await.unwrap();
    let rest = group.poll(1_000).await.unwrap();
    assert!(!rest.is_empty() && rest.len() < 50);
    publish(&log, 1).await;
    assert_eq!(group.poll(1_000).await.unwrap().len(), 1);
}

#[tokio::test]
async fn groups_do_not_disturb_each_other_and_lag_counts_what_is_left() {
    let dir = tempfile::tempdir().unwrap();
    let (_, log) = open(&dir).await;
    publish(&log, 20).await;
    let (mut one, mut two) = (
        log.subscribe("one", &[topics::ORDERS], wake()).await.unwrap(),
        log.subscribe("two", &[topics::ORDERS], wake()).await.unwrap(),
    );
    let all = one.poll(100).await.unwrap();
    one.commit(&all).await.unwrap();
    let some = two.poll(5).await.unwrap();
    two.commit(&some).await.unwrap();
    publish(&log, 1).await;
    let lag = log.lag().await.unwrap();
    let of = |group: &str| lag.iter().filter(|lag| lag.group == group).map(|lag| lag.lag).sum::<i64>();
    assert_eq!(of("one"), 1);
    assert!(of("two") <= 16);
    let of_one = log.lag_of(&["one".to_owned()].into()).await.unwrap();
    assert!(of_one.iter().eq(lag.iter().filter(|lag| lag.group == "one")), "{of_one:?}");
    assert_eq!(log.lag_of(&[].into()).await.unwrap(), []);
}

#[tokio::test]
async fn retention_deletes_old_messages_and_offsets_go_on() {
    let dir = tempfile::tempdir().unwrap();
    {
        let (clock, log) = open(&dir).await;
        publish(&log, 30).await;
        clock.advance(Duration::from_secs(8 * 86_400));
        publish(&log, 2).await;
        let middle = log.offset_of("rtc.orders", 0, Start::At(clock.now())).await.unwrap();
        assert!(middle >= 0);
        assert_eq!(log.sweep(clock.now()).await.unwrap(), 30);
        let left: i64 = log.partitions("rtc.orders").await.unwrap().iter().map(|info| info.messages).sum();
        assert_eq!(left, 2);
    }
    let (_, log) = open(&dir).await;
    let mut group = log.subscribe("late", &[topics::ORDERS], wake()).await.unwrap();
    assert_eq!(group.poll(100).await.unwrap().len(), 2);
}

#[tokio::test]
async fn an_unknown_topic_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (_, log) = open(&dir).await;
    let stray = Message { topic: Arc::from("rtc.nowhere"), ..message("k", 1) };
    assert!(matches!(log.publish(vec![stray]).await, Err(Error::UnknownTopic(_))));
}
