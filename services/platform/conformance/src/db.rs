//! What every database must do, embedded or not.
//!
//! A suite is given a way to make an empty database and asks it sentence by sentence; a sentence that does not hold
//! panics.

mod statements;
mod together;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use db::{Db, Error, Migration, Migrations, Tx, params};
use tokio::task::JoinSet;

pub use statements::*;
pub use together::*;

/// Tables that stand for what services have: a key, a counter, texts, bytes, a limit, rows in the order of arrival.
pub static TABLES: &[Migrations] = &[Migrations {
    component: "conformance",
    steps: &[
        Migration {
            version: 1,
            name: "things",
            sql: "CREATE TABLE things (
                    id VARCHAR(64) NOT NULL PRIMARY KEY, n BIGINT NOT NULL, note TEXT, data BLOB
                  ) WITHOUT ROWID;
                  CREATE TABLE limits (
                    name VARCHAR(64) NOT NULL PRIMARY KEY, used BIGINT NOT NULL, CHECK (used >= 0 AND used <= 10)
                  );
                  INSERT INTO limits (name, used) VALUES ('a', 0);
                  INSERT INTO limits (name, used) VALUES ('b', 0);",
        },
        Migration {
            version: 2,
            name: "entries",
            sql: "CREATE TABLE entries (
                    id INTEGER PRIMARY KEY AUTOINCREMENT, thing VARCHAR(64) NOT NULL, part INTEGER NOT NULL,
                    done_at BIGINT, UNIQUE (thing, part)
                  );
                  CREATE INDEX entries_open ON entries (thing) WHERE done_at IS NULL;",
        },
    ],
}];

/// The same database as a later version of the program knows it.
static LATER: &[Migrations] = &[Migrations {
    component: "conformance",
    steps: &[
        Migration { version: 1, name: "things", sql: "SELECT 1" },
        Migration { version: 2, name: "entries", sql: "SELECT 1" },
        Migration { version: 3, name: "colour", sql: "ALTER TABLE things ADD COLUMN colour VARCHAR(16)" },
    ],
}];

macro_rules! ask {
    ($make:ident: $($sentence:ident),+ $(,)?) => {
        $(
            let db = $make().await;
            db.migrate(TABLES).await.unwrap();
            $sentence(&db).await;
        )+
    };
}

/// Asks every sentence that holds for all engines, each of an empty database of its own.
pub async fn all(make: impl AsyncFn() -> Db) {
    ask!(make:
        a_schema_is_brought_up_to_date_once,
        a_newer_schema_is_refused,
        a_failing_command_leaves_nothing,
        a_failing_part_leaves_the_rest,
        parts_within_parts_fail_alone,
        a_panic_leaves_nothing_and_the_next_command_runs,
        counts_say_how_many_rows_were_found,
        rows_go_by_their_keys,
        an_insert_if_absent_says_whether_it_inserted,
        an_upsert_takes_the_new_values_where_its_condition_holds,
        a_taken_key_is_told_by_its_name,
        a_broken_rule_is_told_and_changes_nothing,
        values_come_back_as_they_went_in,
        keys_differ_by_case_and_by_blanks_at_the_end,
        texts_are_ordered_by_their_bytes,
        a_megabyte_comes_back_whole,
        sums_and_counts_are_integers,
        rows_are_numbered_as_they_come,
        concurrent_increments_lose_nothing,
        of_many_who_insert_if_absent_one_does,
        a_look_before_an_insert_is_as_good_as_a_lock,
        a_limit_holds_against_many,
        rows_in_opposite_orders_end_well,
        rows_read_without_a_lock_are_read,
        a_hook_runs_after_the_commit_and_never_otherwise,
        a_lazy_command_is_done_by_itself,
        a_caller_who_gave_up_changes_nothing_later,
        of_many_at_once_those_that_fail_leave_nothing,
        rows_kept_to_the_end_lose_no_change,
        a_row_that_is_there_is_not_added_again,
    );
}

/// Where queries run beside a command.
pub async fn beside_a_command(make: impl AsyncFn() -> Db) {
    ask!(make: what_is_under_way_is_seen_by_nobody_else);
}

/// Where commands run beside each other.
pub async fn beside_each_other(make: impl AsyncFn() -> Db) {
    ask!(make: rows_read_without_a_lock_hold_up_nobody, rows_that_are_shared_hold_up_those_who_change_them);
}

type Outcome<T = ()> = Result<T, Error>;

async fn put(db: &Db, id: &str, n: i64) -> Outcome<usize> {
    let id = id.to_owned();
    db.write(move |tx| tx.execute("INSERT INTO things (id, n) VALUES (?, ?)", params![id, n])).await
}

fn number(tx: &mut Tx<'_>, id: &str) -> Outcome<Option<i64>> {
    tx.query_opt("SELECT n FROM things WHERE id = ?", params![id], |row| row.get(0))
}

async fn get(db: &Db, id: &str) -> Option<i64> {
    let id = id.to_owned();
    db.read(move |tx| number(tx, &id)).await.unwrap()
}

async fn count(db: &Db, table: &str) -> i64 {
    let sql = format!("SELECT COUNT(*) FROM {table}");
    let counted: Outcome<i64> = db.read(move |tx| tx.query_one(&sql, params![], |row| row.get(0))).await;
    counted.unwrap()
}

// ---- schema ---------------------------------------------------------------------------------------------------

pub async fn a_schema_is_brought_up_to_date_once(db: &Db) {
    assert!(db.migrate(TABLES).await.unwrap().is_empty());
    assert_eq!(count(db, "limits").await, 2);
    assert_eq!(db.migrate(LATER).await.unwrap(), ["conformance/003 colour"]);
    assert!(db.migrate(LATER).await.unwrap().is_empty());
}

pub async fn a_newer_schema_is_refused(db: &Db) {
    db.migrate(LATER).await.unwrap();
    let refused = db.migrate(TABLES).await;
    assert!(matches!(refused, Err(Error::Newer { found: 3, known: 2, .. })), "{refused:?}");
}

// ---- all or nothing -------------------------------------------------------------------------------------------

pub async fn a_failing_command_leaves_nothing(db: &Db) {
    let failed = db
        .write(|tx| -> Outcome {
            tx.execute("INSERT INTO things (id, n) VALUES ('x', 1)", params![])?;
            tx.execute("UPDATE limits SET used = used + 1", params![])?;
            Err(Error::NoRow)
        })
        .await;
    assert!(matches!(failed, Err(Error::NoRow)));
    assert_eq!(get(db, "x").await, None);
    let used: Outcome<i64> =
        db.read(|tx| tx.query_one("SELECT SUM(used) FROM limits", params![], |row| row.get(0))).await;
    assert_eq!(used.unwrap(), 0);
}

pub async fn a_failing_part_leaves_the_rest(db: &Db) {
    db.write(|tx| -> Outcome {
        tx.execute("INSERT INTO things (id, n) VALUES ('before', 1)", params![])?;
        let part = tx.savepoint(|tx| -> Outcome {
            tx.execute("UPDATE things SET n = 7 WHERE id = 'before'", params![])?;
            tx.execute("INSERT INTO things (id, n) VALUES ('in', 1)", params![])?;
            tx.execute("INSERT INTO things (id, n) VALUES ('before', 2)", params![]).map(drop)
        });
        assert!(matches!(part, Err(Error::Unique(_))), "{part:?}");
        tx.execute("INSERT INTO things (id, n) VALUES ('after', 1)", params![]).map(drop)
    })
    .await
    .unwrap();
    let found = [get(db, "before").await, get(db, "in").await, get(db, "after").await];
    assert_eq!(found, [Some(1), None, Some(1)]);
}

pub async fn parts_within_parts_fail_alone(db: &Db) {
    db.write(|tx| -> Outcome {
        tx.savepoint(|tx| -> Outcome {
            tx.execute("INSERT INTO things (id, n) VALUES ('outer', 1)", params![])?;
            for n in 0..3_i64 {
                let inner = tx.savepoint(|tx| -> Outcome {
                    tx.execute("INSERT INTO things (id, n) VALUES (?, 1)", params![format!("inner {n}")])?;
                    if n == 1 { Err(Error::NoRow) } else { Ok(()) }
                });
                assert_eq!(inner.is_err(), n == 1);
            }
            // One that looks and changes nothing.
            let idle = tx.savepoint(|tx| -> Outcome { number(tx, "outer").and(Err(Error::NoRow)) });
            assert!(idle.is_err());
            Ok(())
        })
    })
    .await
    .unwrap();
    assert_eq!(count(db, "things").await, 3);
    assert_eq!(get(db, "inner 1").await, None);
}

pub async fn a_panic_leaves_nothing_and_the_next_command_runs(db: &Db) {
    let broken = db
        .write(|tx| -> Outcome {
            tx.execute("INSERT INTO things (id, n) VALUES ('x', 1)", params![])?;
            std::panic::resume_unwind(Box::new("a defect"));
        })
        .await;
    assert!(matches!(broken, Err(Error::Panicked)), "{broken:?}");
    assert_eq!(get(db, "x").await, None);
    put(db, "x", 2).await.unwrap();
    assert_eq!(get(db, "x").await, Some(2));
}

// ---- many at once ---------------------------------------------------------------------------------------------

pub async fn what_is_under_way_is_seen_by_nobody_else(db: &Db) {
    let (begun, may_look) = std::sync::mpsc::channel();
    let (seen, may_end) = std::sync::mpsc::channel::<()>();
    let may_end = Arc::new(std::sync::Mutex::new(may_end));
    let writer = db.clone();
    let command = tokio::spawn(async move {
        writer
            .write(move |tx| -> Outcome {
                tx.execute("INSERT INTO things (id, n) VALUES ('x', 1)", params![])?;
                let _ = begun.send(());
                let _ = may_end.lock().unwrap().recv();
                Err(Error::NoRow)
            })
            .await
    });
    tokio::task::spawn_blocking(move || may_look.recv()).await.unwrap().unwrap();
    let seen_meanwhile = get(db, "x").await;
    drop(seen);
    assert!(command.await.unwrap().is_err());
    assert_eq!((seen_meanwhile, get(db, "x").await), (None, None));
}

pub async fn concurrent_increments_lose_nothing(db: &Db) {
    put(db, "x", 0).await.unwrap();
    let mut tasks = JoinSet::new();
    for _ in 0..64 {
        let db = db.clone();
        tasks.spawn(async move {
            db.write(|tx| -> Outcome {
                // What a service does: read, decide, write.
                let n = number(tx, "x")?.ok_or(Error::NoRow)?;
                tx.execute("UPDATE things SET n = ? WHERE id = 'x'", params![n + 1]).map(drop)
            })
            .await
        });
    }
    for done in tasks.join_all().await {
        done.unwrap();
    }
    assert_eq!(get(db, "x").await, Some(64));
}

pub async fn of_many_who_insert_if_absent_one_does(db: &Db) {
    let inserted = Arc::new(AtomicUsize::new(0));
    let mut tasks = JoinSet::new();
    for n in 0..32_i64 {
        let (db, inserted) = (db.clone(), inserted.clone());
        tasks.spawn(async move {
            let sql = "INSERT OR IGNORE INTO things (id, n) VALUES ('x', ?)";
            let new = db.write(move |tx| tx.execute(sql, params![n])).await?;
            inserted.fetch_add(new, Ordering::SeqCst);
            Outcome::Ok(())
        });
    }
    for done in tasks.join_all().await {
        done.unwrap();
    }
    assert_eq!((inserted.load(Ordering::SeqCst), count(db, "things").await), (1, 1));
}

pub async fn a_look_before_an_insert_is_as_good_as_a_lock(db: &Db) {
    let mut tasks = JoinSet::new();
    for _ in 0..32 {
        let db = db.clone();
        tasks.spawn(async move {
            db.write(|tx| -> Outcome<bool> {
                if number(tx, "x")?.is_some() {
                    return Ok(false);
                }
                tx.execute("INSERT INTO things (id, n) VALUES ('x', 1)", params![])?;
                Ok(true)
            })
            .await
        });
    }
    let made = tasks.join_all().await.into_iter().filter(|done| *done.as_ref().unwrap()).count();
    assert_eq!((made, get(db, "x").await), (1, Some(1)));
}

pub async fn a_limit_holds_against_many(db: &Db) {
    let mut tasks = JoinSet::new();
    for n in 0..24_i64 {
        let db = db.clone();
        tasks.spawn(async move {
            db.write(move |tx| -> Outcome<bool> {
                let sql = "UPDATE limits SET used = used + 1 WHERE name = 'a' AND used < 10";
                if tx.execute(sql, params![])? == 0 {
                    return Ok(false);
                }
                tx.execute("INSERT INTO entries (thing, part) VALUES ('a', ?)", params![n])?;
                Ok(true)
            })
            .await
        });
    }
    let taken = tasks.join_all().await.into_iter().filter(|done| *done.as_ref().unwrap()).count();
    assert_eq!((taken, count(db, "entries").await), (10, 10));
}

pub async fn rows_in_opposite_orders_end_well(db: &Db) {
    put(db, "left", 0).await.unwrap();
    put(db, "right", 0).await.unwrap();
    let ran = Arc::new(AtomicUsize::new(0));
    let mut tasks = JoinSet::new();
    for n in 0..60 {
        let (db, ran) = (db.clone(), ran.clone());
        tasks.spawn(async move {
            let order = if n % 2 == 0 { ["left", "right"] } else { ["right", "left"] };
            db.write(move |tx| -> Outcome {
                let ran = ran.clone();
                tx.after_commit(move || {
                    ran.fetch_add(1, Ordering::SeqCst);
                });
                for id in order {
                    let n = number(tx, id)?.ok_or(Error::NoRow)?;
                    tx.execute("UPDATE things SET n = ? WHERE id = ?", params![n + 1, id])?;
                }
                Ok(())
            })
            .await
        });
    }
    for done in tasks.join_all().await {
        done.unwrap();
    }
    assert_eq!((get(db, "left").await, get(db, "right").await), (Some(60), Some(60)));
    assert_eq!(ran.load(Ordering::SeqCst), 60, "a command that is run again has its hooks once");
}

pub async fn rows_read_without_a_lock_are_read(db: &Db) {
    put(db, "price", 5).await.unwrap();
    let read: Outcome<[Option<i64>; 3]> = db
        .write(|tx| {
            tx.execute("UPDATE things SET n = n + 1 WHERE id = 'price'", params![])?;
            let (unlocked, shared) =
                (number(&mut tx.unlocked(), "price")?, number(&mut tx.shared(), "price")?);
            Ok([unlocked, shared, number(tx, "price")?])
        })
        .await;
    assert_eq!(read.unwrap(), [Some(6); 3]);
}

pub async fn rows_read_without_a_lock_hold_up_nobody(db: &Db) {
    put(db, "price", 5).await.unwrap();
    let (begun, may_change) = std::sync::mpsc::channel();
    let (changed, may_end) = std::sync::mpsc::channel::<()>();
    let may_end = Arc::new(std::sync::Mutex::new(may_end));
    let reader = db.clone();
    let command = tokio::spawn(async move {
        reader
            .write(move |tx| -> Outcome<Option<i64>> {
                let price = number(&mut tx.unlocked(), "price")?;
                let _ = begun.send(());
                let _ = may_end.lock().unwrap().recv();
                Ok(price)
            })
            .await
    });
    tokio::task::spawn_blocking(move || may_change.recv()).await.unwrap().unwrap();
    // While the other command is under way: it would wait for a lock.
    db.write(|tx| tx.execute("UPDATE things SET n = 6 WHERE id = 'price'", params![])).await.unwrap();
    drop(changed);
    assert_eq!(command.await.unwrap().unwrap(), Some(5));
}

pub async fn rows_that_are_shared_hold_up_those_who_change_them(db: &Db) {
    put(db, "right", 1).await.unwrap();
    let (begun, may_change) = std::sync::mpsc::channel();
    let (ends, may_end) = std::sync::mpsc::channel::<()>();
    let may_end = Arc::new(std::sync::Mutex::new(may_end));
    let holder = db.clone();
    let command = tokio::spawn(async move {
        holder
            .write(move |tx| -> Outcome {
                number(&mut tx.shared(), "right")?;
                let _ = begun.send(());
                let _ = may_end.lock().unwrap().recv();
                tx.execute("INSERT INTO things (id, n) VALUES ('done by right', 1)", params![]).map(drop)
            })
            .await
    });
    tokio::task::spawn_blocking(move || may_change.recv()).await.unwrap().unwrap();
    // Others may share it.
    let shared: Outcome<Option<i64>> = db.write(|tx| number(&mut tx.shared(), "right")).await;
    assert_eq!(shared.unwrap(), Some(1));
    let changer = db.clone();
    let change = tokio::spawn(async move {
        changer
            .write(|tx| -> Outcome<bool> {
                tx.execute("UPDATE things SET n = 2 WHERE id = 'right'", params![])?;
                Ok(number(tx, "done by right")?.is_some())
            })
            .await
    });
    tokio::task::yield_now().await;
    drop(ends);
    command.await.unwrap().unwrap();
    assert!(change.await.unwrap().unwrap(), "it was changed while somebody relied on it");
}

// ---- around the commit ----------------------------------------------------------------------------------------

pub async fn a_hook_runs_after_the_commit_and_never_otherwise(db: &Db) {
    let ran = Arc::new(AtomicUsize::new(0));
    for fails in [false, true] {
        let ran = ran.clone();
        let done = db
            .write(move |tx| -> Outcome {
                let (outer, inner) = (ran.clone(), ran.clone());
                tx.after_commit(move || {
                    outer.fetch_add(1, Ordering::SeqCst);
                });
                let _ = tx.savepoint(|tx| -> Outcome {
                    tx.after_commit(move || {
                        inner.fetch_add(100, Ordering::SeqCst);
                    });
                    Err(Error::NoRow)
                });
                if fails { Err(Error::NoRow) } else { Ok(()) }
            })
            .await;
        assert_eq!(done.is_err(), fails);
    }
    assert_eq!(ran.load(Ordering::SeqCst), 1);
}

pub async fn a_lazy_command_is_done_by_itself(db: &Db) {
    let (done, wait) = tokio::sync::oneshot::channel();
    let mut done = Some(done);
    db.write_lazily(move |tx| {
        let done = done.take();
        tx.after_commit(move || {
            let _ = done.map(|done| done.send(()));
        });
        tx.execute("INSERT INTO things (id, n) VALUES ('lazy', 1)", params![]).map(drop)
    });
    wait.await.unwrap();
    assert_eq!(get(db, "lazy").await, Some(1));
}

pub async fn a_caller_who_gave_up_changes_nothing_later(db: &Db) {
    // Never polled to its end: whether it was done or not, what follows is not disturbed.
    let given_up = put(db, "x", 1);
    drop(given_up);
    put(db, "y", 2).await.unwrap();
    assert_eq!((get(db, "x").await, get(db, "y").await), (None, Some(2)));
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_file_passes() {
        let dir = tempfile::tempdir().unwrap();
        let made = AtomicUsize::new(0);
        let make = async || {
            let n = made.fetch_add(1, Ordering::SeqCst);
            Db::open_sqlite(&dir.path().join(format!("{n}.db"))).unwrap()
        };
        all(make).await;
        beside_a_command(make).await;
    }

    #[tokio::test]
    async fn memory_passes() {
        all(async || Db::in_memory().unwrap()).await;
    }
}
