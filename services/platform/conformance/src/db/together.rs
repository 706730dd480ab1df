//! Commands that come at once, and what they leave to the end of their transaction.

use db::{Db, Error, Kept, Late, Param, ToParam, Tx, params};
use tokio::task::JoinSet;

use super::{Outcome, count, get, put};

/// A row of `things` that is written at the end.
#[derive(Clone)]
struct Thing {
    id: String,
    n: i64,
}

impl Kept for Thing {
    type Key = String;

    fn key(&self) -> String {
        self.id.clone()
    }

    fn write(new: Vec<Self>, changed: Vec<Self>, tx: &mut Tx<'_>) -> Outcome {
        fn values(things: &[Thing]) -> Vec<Param<'_>> {
            things.iter().flat_map(|thing| [thing.id.to_param(), thing.n.to_param()]).collect()
        }
        let into = "INSERT INTO things (id, n)";
        tx.insert_rows(into, 2, &values(&new), "")?;
        tx.insert_rows(into, 2, &values(&changed), "ON CONFLICT (id) DO UPDATE SET n = excluded.n")
    }
}

fn read(tx: &mut Tx<'_>, id: &str) -> Outcome<Option<Thing>> {
    if let Some(known) = tx.kept::<Thing>(&id.to_owned()) {
        return Ok(known);
    }
    let sql = "SELECT id, n FROM things WHERE id = ?";
    let found = tx.query_opt(sql, params![id], |row| Ok(Thing { id: row.get(0)?, n: row.get(1)? }))?;
    tx.note(id.to_owned(), found.clone());
    Ok(found)
}

fn add(tx: &mut Tx<'_>, id: &str, more: i64) -> Outcome {
    match read(tx, id)? {
        Some(thing) => tx.keep(Thing { n: thing.n + more, ..thing }),
        None => tx.keep_new(Thing { id: id.to_owned(), n: more })?,
    }
    Ok(())
}

/// An entry that is written at the end.
struct Entry(String, i64);

impl Late for Entry {
    fn write(entries: Vec<Self>, tx: &mut Tx<'_>) -> Outcome {
        let values: Vec<Param<'_>> =
            entries.iter().flat_map(|entry| [entry.0.to_param(), entry.1.to_param()]).collect();
        tx.insert_rows("INSERT INTO entries (thing, part)", 2, &values, "")
    }
}

/// Those that fail, some early, some late, some only at their end, take nothing of the others with them.
pub async fn of_many_at_once_those_that_fail_leave_nothing(db: &Db) {
    let mut tasks = JoinSet::new();
    for n in 0..200_i64 {
        let db = db.clone();
        tasks.spawn(async move {
            let done: Outcome = db
                .write(move |tx| {
                    if n % 10 == 1 {
                        return Err(Error::NoRow);
                    }
                    tx.execute("INSERT INTO things (id, n) VALUES (?, 1)", params![format!("t{n}")])?;
                    // Of every twenty, two want the same place.
                    let part = if n % 20 == 2 { n + 1 } else { n };
                    tx.at_the_end(Entry("x".to_owned(), part));
                    if n % 10 == 4 { Err(Error::NoRow) } else { Ok(()) }
                })
                .await;
            (n, done)
        });
    }
    let outcomes = tasks.join_all().await;
    let done = outcomes.iter().filter(|(_, done)| done.is_ok()).count() as i64;
    assert_eq!(done, 200 - 20 - 20 - 10);
    assert!(outcomes.iter().all(|(n, done)| done.is_err() || !matches!(n % 10, 1 | 4)));
    assert_eq!((count(db, "things").await, count(db, "entries").await), (done, done));
}

/// What is kept in memory is there for the next command as if it were in the table.
pub async fn rows_kept_to_the_end_lose_no_change(db: &Db) {
    put(db, "old", 100).await.unwrap();
    let mut tasks = JoinSet::new();
    for n in 0..100_i64 {
        let db = db.clone();
        tasks.spawn(async move {
            db.write(move |tx| -> Outcome {
                add(tx, "old", 1)?;
                add(tx, "new", 1)?;
                // Undone, and so is what follows where the command fails.
                let _ = tx.savepoint(|tx| -> Outcome {
                    add(tx, "old", 1_000)?;
                    add(tx, "other", 1)?;
                    Err(Error::NoRow)
                });
                if n % 10 == 0 { Err(Error::NoRow) } else { Ok(()) }
            })
            .await
        });
    }
    let done = tasks.join_all().await.into_iter().filter(Result::is_ok).count() as i64;
    assert_eq!(done, 90);
    assert_eq!((get(db, "old").await, get(db, "new").await), (Some(190), Some(90)));
    assert_eq!(get(db, "other").await, None);
}

pub async fn a_row_that_is_there_is_not_added_again(db: &Db) {
    put(db, "old", 1).await.unwrap();
    let added = db.write(|tx| tx.keep_new(Thing { id: "old".to_owned(), n: 2 })).await;
    assert!(matches!(added, Err(Error::Unique(_))), "{added:?}");
    assert_eq!(get(db, "old").await, Some(1));
}
