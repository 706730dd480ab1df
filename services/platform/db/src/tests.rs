//! The port's promises, on the file engine unless said otherwise.

mod readers;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::{
    Connection, Db, Engine, Error, Job, Migration, Migrations, Param, Stats, ToParam, Verdict, params,
};

static ONE: &[Migrations] = &[Migrations {
    component: "shelf",
    steps: &[Migration {
        version: 1,
        name: "books",
        sql: "CREATE TABLE books (id VARCHAR(64) PRIMARY KEY, copies BIGINT NOT NULL CHECK (copies >= 0))",
    }],
}];

async fn shelf() -> (tempfile::TempDir, Db) {
    let dir = tempfile::tempdir().unwrap();
    let db = Db::open_sqlite(&dir.path().join("shelf.db")).unwrap();
    db.migrate(ONE).await.unwrap();
    (dir, db)
}

async fn copies(db: &Db) -> i64 {
    db.read(|tx| tx.query_one("SELECT COALESCE(SUM(copies), 0) FROM books", params![], |row| row.get(0)))
        .await
        .map_err(|error: Error| error)
        .unwrap()
}

#[tokio::test]
async fn concurrent_commands_share_commits_and_a_failing_one_rolls_back_alone() {
    let (_dir, db) = shelf().await;
    let before = db.stats();
    let mut tasks = tokio::task::JoinSet::new();
    for n in 0..200_i64 {
        let db = db.clone();
        tasks.spawn(async move {
            db.write(move |tx| -> Result<(), Error> {
                tx.execute("INSERT INTO books VALUES (?, 1)", params![format!("b{n}")])?;
                // Every tenth then breaks its constraint: its insert must go with it.
                tx.execute(
                    "UPDATE books SET copies = ? WHERE id = ?",
                    params![if n % 10 == 0 { -1_i64 } else { 1 }, format!("b{n}")],
                )?;
                Ok(())
            })
            .await
        });
    }
    let failed = tasks.join_all().await.into_iter().filter(Result::is_err).count();
    assert_eq!(failed, 20);
    assert_eq!(copies(&db).await, 180);
    let after = db.stats();
    assert!(after.commits - before.commits < after.commands - before.commands, "{after:?}");
}

#[tokio::test]
async fn a_hook_runs_after_the_commit_and_never_after_a_rollback() {
    let (_dir, db) = shelf().await;
    let ran = Arc::new(AtomicUsize::new(0));
    for fails in [false, true] {
        let ran = ran.clone();
        let _ = db
            .write(move |tx| -> Result<(), Error> {
                let (ran, inner) = (ran.clone(), ran.clone());
                tx.after_commit(move || {
                    ran.fetch_add(1, Ordering::SeqCst);
                });
                let _ = tx.savepoint(|tx| -> Result<(), Error> {
                    tx.after_commit(move || {
                        inner.fetch_add(100, Ordering::SeqCst);
                    });
                    Err(Error::NoRow)
                });
                if fails { Err(Error::NoRow) } else { Ok(()) }
            })
            .await;
    }
    assert_eq!(ran.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_panic_in_a_command_is_an_error_and_the_next_one_runs() {
    let (_dir, db) = shelf().await;
    let broken = db
        .write(|tx| -> Result<(), Error> {
            tx.execute("INSERT INTO books VALUES ('x', 1)", params![])?;
            panic!("a defect");
        })
        .await;
    assert!(matches!(broken, Err(Error::Panicked)));
    assert_eq!(copies(&db).await, 0);
}

#[tokio::test]
async fn a_full_disk_fails_writes_cleanly_and_reads_go_on() {
    let (_dir, db) = shelf().await;
    let insert = |n: i64| {
        let db = db.clone();
        async move {
            db.write(move |tx| tx.execute("INSERT INTO books VALUES (?, 1)", params![format!("{n:0>4000}")]))
                .await
        }
    };
    insert(0).await.unwrap();
    db.write(|tx| tx.query_one("PRAGMA max_page_count = 12", params![], |row| row.get::<i64>(0)))
        .await
        .unwrap();
    let mut accepted = 1;
    let mut refused = 0;
    for n in 1..40 {
        match insert(n).await {
            Ok(_) => accepted += 1,
            Err(Error::Full) => refused += 1,
            Err(other) => panic!("{other}"),
        }
    }
    assert!(refused > 0);
    assert_eq!(copies(&db).await, accepted);
    db.write(|tx| tx.query_one("PRAGMA max_page_count = 100000", params![], |row| row.get::<i64>(0)))
        .await
        .unwrap();
    insert(99).await.unwrap();
}

#[tokio::test]
async fn a_newer_database_is_refused() {
    static NEWER: &[Migrations] = &[Migrations {
        component: "shelf",
        steps: &[
            Migration { version: 1, name: "books", sql: "SELECT 1" },
            Migration { version: 2, name: "later", sql: "CREATE TABLE later (id INTEGER)" },
        ],
    }];
    let (_dir, db) = shelf().await;
    assert_eq!(db.migrate(NEWER).await.unwrap(), ["shelf/002 later"]);
    assert!(db.migrate(NEWER).await.unwrap().is_empty());
    assert!(matches!(db.migrate(ONE).await, Err(Error::Newer { found: 2, known: 1, .. })));
}

#[tokio::test]
async fn a_lazy_command_goes_with_the_next_commit() {
    let (_dir, db) = shelf().await;
    db.write_lazily(|tx| tx.execute("INSERT INTO books VALUES ('lazy', 1)", params![]).map(drop));
    db.write(|tx| tx.execute("INSERT INTO books VALUES ('eager', 1)", params![])).await.unwrap();
    assert_eq!(copies(&db).await, 2);
}

#[tokio::test]
async fn what_was_answered_is_there_after_the_file_is_opened_again() {
    let (dir, db) = shelf().await;
    db.write(|tx| tx.execute("INSERT INTO books VALUES ('kept', 7)", params![])).await.unwrap();
    drop(db);
    let again = Db::open_sqlite(&dir.path().join("shelf.db")).unwrap();
    assert_eq!(copies(&again).await, 7);
}

#[tokio::test]
async fn the_engine_in_memory_keeps_the_same_promises() {
    let db = Db::in_memory().unwrap();
    db.migrate(ONE).await.unwrap();
    let again = db.clone();
    db.write(move |tx| {
        let again = again.clone();
        tx.after_commit(move || {
            again.write_lazily(|tx| tx.execute("INSERT INTO books VALUES ('b', 2)", params![]).map(drop))
        });
        tx.execute("INSERT INTO books VALUES ('a', 1)", params![])
    })
    .await
    .unwrap();
    let unique = db.write(|tx| tx.execute("INSERT INTO books VALUES ('a', 1)", params![])).await;
    assert!(matches!(unique, Err(Error::Unique(_))));
    assert_eq!(copies(&db).await, 3);
}

#[tokio::test]
async fn a_write_beside_a_reader_in_memory_is_not_forgotten() {
    let db = Db::in_memory().unwrap();
    db.migrate(ONE).await.unwrap();
    let writer = db.clone();
    // On the same thread, so that the write is certain to find the connection held.
    db.read_now(|_| -> Result<(), Error> {
        writer.write_lazily(|tx| tx.execute("INSERT INTO books VALUES ('late', 1)", params![]).map(drop));
        Ok(())
    })
    .unwrap();
    assert_eq!((copies(&db).await, db.stats().commands), (1, 2));
}

/// An engine of which nobody knows whether it stored anything.
struct Doubtful(Arc<dyn Engine>);

struct InDoubt(Box<dyn Job>);

impl Job for InDoubt {
    fn run(&mut self, connection: &mut dyn Connection) -> Verdict {
        self.0.run(connection)
    }

    fn finish(self: Box<Self>, _: Result<(), Error>) {
        self.0.finish(Err(Error::OutcomeUnknown));
    }
}

impl Engine for Doubtful {
    fn write(&self, job: Box<dyn Job>) {
        self.0.write(Box::new(InDoubt(job)));
    }

    fn write_lazily(&self, job: Box<dyn Job>) {
        self.0.write_lazily(Box::new(InDoubt(job)));
    }

    fn read(&self, query: &mut dyn FnMut(&mut dyn Connection)) -> Result<(), Error> {
        self.0.read(query)
    }

    fn reads_inline(&self) -> bool {
        self.0.reads_inline()
    }

    fn is_commit_ordered(&self) -> bool {
        self.0.is_commit_ordered()
    }

    fn stats(&self) -> Stats {
        self.0.stats()
    }
}

#[tokio::test]
async fn what_must_not_be_missed_is_done_where_nobody_knows_whether_it_was_stored() {
    let db = Db::in_memory().unwrap().around(|engine| Arc::new(Doubtful(engine)));
    let (sure, in_doubt) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    for fails in [false, true] {
        let (sure, in_doubt) = (sure.clone(), in_doubt.clone());
        let unknown = db
            .write(move |tx| -> Result<(), Error> {
                let (sure, in_doubt) = (sure.clone(), in_doubt.clone());
                tx.after_commit(move || {
                    sure.fetch_add(1, Ordering::SeqCst);
                });
                tx.once_it_may_be_stored(move || {
                    in_doubt.fetch_add(1, Ordering::SeqCst);
                });
                if fails { Err(Error::NoRow) } else { Ok(()) }
            })
            .await;
        assert!(matches!(unknown, Err(Error::OutcomeUnknown)));
    }
    assert_eq!((sure.load(Ordering::SeqCst), in_doubt.load(Ordering::SeqCst)), (0, 1));
}

#[tokio::test]
async fn rows_go_by_keys_of_one_column_or_of_several() {
    let (_dir, db) = shelf().await;
    let left = db
        .write(|tx| -> Result<(usize, usize, i64), Error> {
            for n in 0..300_i64 {
                tx.execute("INSERT INTO books VALUES (?, ?)", params![format!("b{n}"), n % 2])?;
            }
            let names: Vec<String> = (0..150).map(|n| format!("b{n}")).collect();
            let keys: Vec<Param<'_>> = names.iter().map(ToParam::to_param).collect();
            let by_one = tx.delete_rows("books", &["id"], &keys)?;
            let names: Vec<String> = (140..170).map(|n| format!("b{n}")).collect();
            let keys: Vec<Param<'_>> = names.iter().flat_map(|id| [id.to_param(), Param::Int(0)]).collect();
            // Ten are gone already, and of the others every other has another number.
            let by_two = tx.delete_rows("books", &["id", "copies"], &keys)?;
            let left = tx.query_one("SELECT COUNT(*) FROM books", params![], |row| row.get(0))?;
            Ok((by_one, by_two, left))
        })
        .await
        .unwrap();
    assert_eq!(left, (150, 10, 140));
}

#[tokio::test]
async fn many_rows_are_changed_by_their_keys_and_those_that_are_not_there_are_not_counted() {
    let (_dir, db) = shelf().await;
    let found = db
        .write(|tx| -> Result<(usize, i64), Error> {
            for n in 0..70_i64 {
                tx.execute("INSERT INTO books VALUES (?, 0)", params![format!("b{n}")])?;
            }
            let names: Vec<String> = (0..75).map(|n| format!("b{n}")).collect();
            let values: Vec<Param<'_>> =
                (0..).zip(&names).flat_map(|(n, id)| [id.to_param(), Param::Int(n)]).collect();
            let found = tx.update_rows("books", "id", &["copies"], &values)?;
            let wrong = "SELECT COUNT(*) FROM books WHERE id <> 'b' || copies";
            Ok((found, tx.query_one(wrong, params![], |row| row.get(0))?))
        })
        .await
        .unwrap();
    assert_eq!(found, (70, 0));
}
