//! Turns at an engine that has one.

use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::{Asker, Connection, Db, Engine, Error, Job, Stats, Turn, Waiting, params};

/// One query at a time, as where there is one connection.
struct OneByOne {
    inner: Arc<dyn Engine>,
    turns: Arc<Semaphore>,
}

impl Engine for OneByOne {
    fn write(&self, job: Box<dyn Job>) {
        self.inner.write(job);
    }

    fn write_lazily(&self, job: Box<dyn Job>) {
        self.inner.write_lazily(job);
    }

    fn turn(&self, _asker: Asker) -> Waiting<'_> {
        let turns = self.turns.clone();
        Box::pin(async move { turns.acquire_owned().await.map(Turn::of).map_err(|_| Error::Closed) })
    }

    fn read(&self, query: &mut dyn FnMut(&mut dyn Connection)) -> Result<(), Error> {
        self.inner.read(query)
    }

    fn reads_inline(&self) -> bool {
        false
    }

    fn is_commit_ordered(&self) -> bool {
        false
    }

    fn stats(&self) -> Stats {
        self.inner.stats()
    }
}

fn one_by_one() -> (Db, Arc<Semaphore>) {
    let turns = Arc::new(Semaphore::new(1));
    let given = turns.clone();
    let db = Db::in_memory().unwrap();
    (db.around(|inner| Arc::new(OneByOne { inner, turns: given })), turns)
}

async fn ask(db: &Db) -> Result<i64, Error> {
    db.read(|tx| tx.query_one("SELECT 7", params![], |row| row.get(0))).await
}

const LONG: Duration = Duration::from_secs(30);

#[tokio::test]
async fn whoever_is_put_aside_while_he_waits_keeps_no_turn_from_others() {
    let (db, turns) = one_by_one();
    let taken = turns.clone().acquire_owned().await.unwrap();
    let mut put_aside = Box::pin(ask(&db));
    // Looked at once, and then not any more: as a call among many that are under way.
    let looked = std::future::poll_fn(|context| Poll::Ready(put_aside.as_mut().poll(context))).await;
    assert!(looked.is_pending());
    drop(taken);
    let other = timeout(LONG, ask(&db)).await.expect("a turn that nobody uses");
    assert_eq!(other.unwrap(), 7);
    assert_eq!(put_aside.await.unwrap(), 7, "its answer waits for it");
}

#[tokio::test]
async fn whoever_goes_away_while_he_waits_waits_no_more() {
    let (db, turns) = one_by_one();
    let taken = turns.clone().acquire_owned().await.unwrap();
    let mut gone = Box::pin(ask(&db));
    let looked = std::future::poll_fn(|context| Poll::Ready(gone.as_mut().poll(context))).await;
    assert!(looked.is_pending());
    drop(gone);
    drop(taken);
    timeout(LONG, ask(&db)).await.expect("a turn that nobody uses").unwrap();
    let free = timeout(LONG, turns.acquire()).await.expect("the turn is back");
    assert!(free.is_ok());
}
