//! Who waits for a reader of a file, and where.

use std::sync::mpsc;
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::timeout;

use super::{copies, shelf};
use crate::{Asker, Db, Error, params};

/// So many queries run at once.
const QUERIES: usize = 8;
const LONG: Duration = Duration::from_secs(20);

/// A thread that drives everything, and of others one more than queries have.
fn runtime() -> Runtime {
    Builder::new_current_thread().enable_time().max_blocking_threads(QUERIES + 1).build().unwrap()
}

/// Queries that are under way for as long as this is there.
struct Held {
    _until: Vec<mpsc::Sender<()>>,
    _queries: JoinSet<Result<(), Error>>,
}

async fn hold(db: &Db, asker: Asker, count: usize) -> Held {
    let (mut until, mut queries) = (Vec::new(), JoinSet::new());
    let (begun, mut beginning) = tokio::sync::mpsc::unbounded_channel();
    for _ in 0..count {
        let (let_go, kept) = mpsc::channel();
        let (db, begun) = (db.clone(), begun.clone());
        until.push(let_go);
        queries.spawn(asker.scope(async move {
            db.read(move |_| -> Result<(), Error> {
                begun.send(()).unwrap();
                let _ = kept.recv();
                Ok(())
            })
            .await
        }));
    }
    for _ in 0..count {
        timeout(LONG, beginning.recv()).await.expect("a reader").unwrap();
    }
    Held { _until: until, _queries: queries }
}

#[test]
fn a_look_up_waits_for_no_query() {
    runtime().block_on(async {
        let (_dir, db) = shelf().await;
        let held = hold(&db, Asker::House, QUERIES).await;
        let again = db.clone();
        // As on a thread that drives everything, which must not be this one where it waits after all.
        let looking = spawn_blocking(move || {
            again
                .read_now(|tx| tx.query_one("SELECT COUNT(*) FROM books", params![], |row| row.get::<i64>(0)))
        });
        let found = timeout(LONG, looking).await.expect("an answer while queries are under way");
        assert_eq!(found.unwrap().unwrap(), 0);
        drop(held);
    });
}

#[test]
fn queries_that_wait_for_their_turn_hold_no_thread() {
    runtime().block_on(async {
        let (_dir, db) = shelf().await;
        let held = hold(&db, Asker::House, QUERIES).await;
        let mut waiting = JoinSet::new();
        for _ in 0..50 {
            let db = db.clone();
            waiting.spawn(async move { copies(&db).await });
        }
        for _ in 0..16 {
            tokio::task::yield_now().await;
        }
        let other = timeout(LONG, spawn_blocking(|| "done")).await.expect("a thread for other work");
        assert_eq!(other.unwrap(), "done");
        drop(held);
        assert_eq!(waiting.join_all().await, [0; 50]);
    });
}

#[test]
fn guests_leave_a_reader_to_the_house() {
    runtime().block_on(async {
        let (_dir, db) = shelf().await;
        let held = hold(&db, Asker::Guest, QUERIES - 1).await;
        let guest = db.clone();
        let late = tokio::spawn(Asker::Guest.scope(async move { copies(&guest).await }));
        tokio::task::yield_now().await;
        assert_eq!(timeout(LONG, copies(&db)).await.expect("the house's turn"), 0);
        assert!(!late.is_finished());
        drop(held);
        assert_eq!(late.await.unwrap(), 0);
    });
}
