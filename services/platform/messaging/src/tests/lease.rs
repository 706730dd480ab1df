//! One of several processes works, whatever their clocks say.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
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

/// Follows commits that other processes may have made, and finds something as long as it is told to.
struct Follower {
    finds: Arc<AtomicBool>,
}

#[async_trait]
impl Job for Follower {
    async fn run(&self) -> kernel::Result<Progress> {
        Ok(Progress::from_count(usize::from(self.finds.load(Ordering::SeqCst))))
    }
}

#[tokio::test]
async fn a_holder_looks_often_while_there_is_work_and_less_often_when_there_was_none_for_a_while() {
    let db = database().await;
    let finds = Arc::new(AtomicBool::new(true));
    let [holder, other] = ["holder", "other"].map(|owner| {
        let pump = Every::new("test.follows", Duration::from_secs(1), Follower { finds: finds.clone() });
        Leases::new(db.clone(), owner.into()).leased(Arc::new(pump.woken_by(Arc::default())))
    });
    let millis = Duration::from_millis;
    assert_eq!(holder.step().await.unwrap(), Progress::Worked);
    assert_eq!(other.step().await.unwrap(), Progress::Idle);
    finds.store(false, Ordering::SeqCst);
    tokio::time::pause();
    assert_eq!(holder.step().await.unwrap(), Progress::Idle);
    assert_eq!(holder.interval(), millis(25));
    // Nothing is asked of the database as long as the lease is known to be another one's.
    assert!(other.interval() > millis(500) && other.interval() <= millis(1_000), "{:?}", other.interval());
    tokio::time::advance(Duration::from_secs(5)).await;
    assert_eq!(holder.interval(), millis(100));
    finds.store(true, Ordering::SeqCst);
    assert_eq!(holder.step().await.unwrap(), Progress::Worked);
    assert_eq!(holder.interval(), millis(25));
}

#[tokio::test]
async fn who_has_let_go_and_goes_on_looks_at_the_lease_first() {
    let db = database().await;
    let (one, other) = (Process::start(&db, "one"), Process::start(&db, "other"));
    assert!(one.works().await);
    // As after a step that panicked.
    one.pump.finish().await;
    assert!(other.works().await);
    assert_eq!(one.pump.step().await.unwrap(), Progress::Idle);
    assert!(other.works().await);
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

/// Takes longer than a lease lasts that has little time left, and then looks for how long it is still held.
struct Long {
    db: Db,
    left: Arc<Mutex<Option<i64>>>,
}

#[async_trait]
impl Job for Long {
    async fn run(&self) -> kernel::Result<Progress> {
        ends_in(&self.db, 1_000).await;
        tokio::time::pause();
        tokio::time::sleep(Duration::from_secs(5)).await;
        // A command like the one that extends it, and given after it.
        let sql = format!("SELECT expires_at - {} FROM leases", self.db.dialect().now_millis());
        let left = self.db.write(move |tx| tx.query_one(&sql, params![], |row| row.get(0))).await?;
        *self.left.lock().unwrap() = Some(left);
        Ok(Progress::Worked)
    }
}

#[tokio::test]
async fn a_lease_is_extended_while_a_step_goes_on() {
    let db = database().await;
    let left = Arc::default();
    let work = Long { db: db.clone(), left: Arc::clone(&left) };
    let pump = Arc::new(Every::new("test.long", Duration::from_secs(1), work));
    let leased = Leases::new(db.clone(), "one".into()).leased(pump);
    assert_eq!(leased.step().await.unwrap(), Progress::Worked);
    let left: Option<i64> = *left.lock().unwrap();
    assert!(left.is_some_and(|left| left > 9_000), "{left:?} ms");
}
