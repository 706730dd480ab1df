//! One of several processes works, whatever their clocks say.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use db::{Db, Reads, params};

use super::{TABLES, recording};
use crate::{Every, Job, Leases, Progress, Pump};

const HOUR_MS: i64 = 3_600_000;

/// Inserts a row at each turn, and counts those that were let through.
struct Work {
    db: Db,
    done: Arc<AtomicUsize>,
}

#[async_trait]
impl Job for Work {
    async fn run(&self) -> kernel::Result<Progress> {
        let sql = "INSERT INTO seen (sku, available) VALUES ('TEA', 1)";
        self.db.write(move |tx| tx.execute(sql, params![])).await?;
        self.done.fetch_add(1, Ordering::SeqCst);
        Ok(Progress::Idle)
    }
}

struct Process {
    pump: Arc<dyn Pump>,
    done: Arc<AtomicUsize>,
}

impl Process {
    fn start(db: &Db, owner: &str) -> Self {
        let done = Arc::new(AtomicUsize::new(0));
        let work = Work { db: db.clone(), done: done.clone() };
        let pump = Arc::new(Every::new("test.work", Duration::from_secs(1), work));
        Self { pump: Leases::new(db.clone(), owner.into()).leased(pump), done }
    }

    async fn works(&self) -> bool {
        let before = self.done.load(Ordering::SeqCst);
        let _ = self.pump.step().await;
        self.done.load(Ordering::SeqCst) > before
    }
}

async fn database() -> Db {
    let db = Db::in_memory().unwrap();
    db.migrate(TABLES).await.unwrap();
    db
}

/// Says when the lease ends, in milliseconds from now by the database's clock.
async fn ends_in(db: &Db, millis: i64) {
    let sql = format!("UPDATE leases SET expires_at = {} + ?", db.dialect().now_millis());
    db.write(move |tx| tx.execute(&sql, params![millis])).await.unwrap();
}

fn left(db: &Db) -> i64 {
    let sql = format!("SELECT expires_at - {} FROM leases", db.dialect().now_millis());
    db.read_now(|tx| tx.query_one(&sql, params![], |row| row.get(0)))
        .map_err(|error: db::Error| error)
        .unwrap()
}

#[tokio::test]
async fn one_of_two_works_and_the_other_takes_over_what_was_let_go() {
    let db = database().await;
    let (one, other) = (Process::start(&db, "one"), Process::start(&db, "other"));
    assert!(one.works().await && !other.works().await && one.works().await);
    one.pump.finish().await;
    // Whoever waits looks once a second.
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(1)).await;
    assert!(other.works().await && !one.works().await);
}

#[tokio::test]
async fn who_waits_for_a_lease_locks_nothing_of_its_holder() {
    let (db, recorder) = recording::recorded(database().await);
    let (one, other) = (Process::start(&db, "one"), Process::start(&db, "other"));
    assert!(one.works().await);
    recorder.clear();
    assert!(!other.works().await);
    assert_eq!(recorder.reads_of("leases"), [Reads::Unlocked]);
    // Whoever takes it over has looked at what it has locked.
    ends_in(&db, -1).await;
    recorder.clear();
    let successor = Process::start(&db, "successor");
    assert!(successor.works().await);
    assert_eq!(recorder.reads_of("leases")[..2], [Reads::Unlocked, Reads::Locked]);
}

#[tokio::test]
async fn the_end_is_by_the_clock_of_the_database() {
    let db = database().await;
    assert!(Process::start(&db, "one").works().await);
    let left = left(&db);
    assert!((1..=10_000).contains(&left), "{left} ms");
}

#[tokio::test]
async fn a_holder_that_died_is_waited_for_as_long_as_a_lease_lasts_and_no_longer() {
    let db = database().await;
    assert!(Process::start(&db, "dead").works().await);
    for (ends_in_ms, takes_over) in [(5_000, false), (9_900, false), (-1, true), (HOUR_MS, true)] {
        ends_in(&db, ends_in_ms).await;
        let successor = Process::start(&db, &format!("after {ends_in_ms}"));
        assert_eq!(successor.works().await, takes_over, "an end in {ends_in_ms} ms");
    }
}

#[tokio::test]
async fn who_resumes_after_somebody_took_over_changes_nothing() {
    let db = database().await;
    let (paused, other) = (Process::start(&db, "paused"), Process::start(&db, "other"));
    assert!(paused.works().await);
    ends_in(&db, -1).await;
    assert!(other.works().await);
    // It believes in its lease still.
    assert!(paused.pump.step().await.is_err());
    assert!(!paused.works().await && other.works().await);
    let count =
        |tx: &mut db::Tx<'_>| tx.query_one("SELECT COUNT(*) FROM seen", params![], |row| row.get::<i64>(0));
    assert_eq!(db.read_now(count).map_err(|error: db::Error| error).unwrap(), 3);
}
