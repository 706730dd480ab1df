//! Seals anew what former keys have sealed, so that they can be taken away.
//!
//! Invariants:
//! - works only while there are former keys: until then nothing could be sealed with another one;
//! - a portion at a time, in the order of a table's keys; a value that somebody changes meanwhile is theirs;
//! - what cannot be opened is left as it is, and told.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use db::{Db, params};
use kernel::{Clock, Timestamp};
use messaging::{Job, Progress};

use crate::{Context, Vault};

/// Rows read at once.
const PORTION: usize = 200;
/// How often it is looked whether keys were rotated.
pub(crate) const LOOK_EVERY: Duration = Duration::from_secs(10);
/// How often everything is gone through while there are former keys: processes that hear late of a new one seal with the
/// former one until they do.
const PASS_EVERY: Duration = Duration::from_secs(3_600);
/// The first of these comes soon.
const SECOND_PASS_AFTER: Duration = Duration::from_secs(60);

/// A table with sealed values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SealedRows {
    pub table: &'static str,
    /// The column of its primary key, which is text.
    pub key: &'static str,
    /// Whose values are sealed as a whole, or NULL.
    pub columns: &'static [&'static str],
}

/// One row: its key, and what is in its columns.
struct Row {
    key: String,
    values: Vec<Option<String>>,
}

/// A value that is to be sealed anew.
#[derive(Clone)]
struct Change {
    key: String,
    column: &'static str,
    old: String,
    new: String,
}

/// How many values of former keys a pass has found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Found {
    resealed: usize,
    unopened: usize,
}

#[derive(Debug, Clone)]
struct Pass {
    /// The key that everything is to be sealed with.
    key_id: String,
    table: usize,
    /// The last row that was looked at.
    after: String,
    found: Found,
    /// How long to rest after it.
    rest: Duration,
}

impl Pass {
    fn new(key_id: String, rest: Duration) -> Self {
        Self { key_id, table: 0, after: String::new(), found: Found::default(), rest }
    }
}

#[derive(Debug, Default)]
enum State {
    #[default]
    Resting,
    Under(Pass),
    /// Everything was gone through for this key.
    Done {
        key_id: String,
        next: Timestamp,
    },
}

pub(crate) struct Reseal {
    service: &'static str,
    db: Db,
    vault: Vault,
    clock: Arc<dyn Clock>,
    tables: &'static [SealedRows],
    state: Mutex<State>,
}

impl Reseal {
    pub(crate) fn new(
        service: &'static str,
        context: &Context,
        db: Db,
        tables: &'static [SealedRows],
    ) -> Self {
        let (vault, clock) = (context.vault.clone(), context.clock.clone());
        Self { service, db, vault, clock, tables, state: Mutex::default() }
    }

    /// The pass to go on with, if it is time for one.
    fn pass(&self) -> Option<Pass> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if !self.vault.has_former_keys() {
            *state = State::Resting;
            return None;
        }
        let key_id = self.vault.key_id();
        match &*state {
            State::Under(pass) if pass.key_id == key_id => Some(pass.clone()),
            State::Done { key_id: done, next } if *done == key_id => {
                (self.clock.now() >= *next).then(|| Pass::new(key_id, PASS_EVERY))
            }
            _ => Some(Pass::new(key_id, SECOND_PASS_AFTER)),
        }
    }

    fn keep(&self, next: State) {
        *self.state.lock().unwrap_or_else(PoisonError::into_inner) = next;
    }

    async fn portion(&self, rows: &'static SealedRows, after: String) -> kernel::Result<Vec<Row>> {
        let SealedRows { table, key, columns } = *rows;
        let sql = format!(
            "SELECT {key}, {} FROM {table} WHERE {key} > ? ORDER BY {key} LIMIT {PORTION}",
            columns.join(", ")
        );
        let read = self.db.read(move |tx| -> Result<_, db::Error> {
            tx.query(&sql, params![after], |row| {
                let values = (1..=columns.len()).map(|column| row.get(column)).collect::<Result<_, _>>()?;
                Ok(Row { key: row.get(0)?, values })
            })
        });
        Ok(read.await?)
    }

    async fn write(
        &self,
        table: &'static str,
        key: &'static str,
        changes: Vec<Change>,
    ) -> kernel::Result<()> {
        let write = self.db.write(move |tx| -> Result<(), db::Error> {
            for Change { key: row, column, old, new } in &changes {
                let sql = format!("UPDATE {table} SET {column} = ? WHERE {key} = ? AND {column} = ?");
                tx.execute(&sql, params![new, row, old])?;
            }
            Ok(())
        });
        Ok(write.await?)
    }

    /// Says what an operator waits for before the former keys are taken away.
    fn finish(&self, pass: &Pass) {
        let (service, key_id, Found { resealed, unopened }) = (self.service, &pass.key_id, pass.found);
        match pass.found {
            Found { unopened: 0, resealed: 0 } => {
                tracing::info!(service, key_id, "nothing is sealed with a former key");
            }
            Found { unopened: 0, .. } => {
                tracing::info!(
                    service,
                    key_id,
                    resealed,
                    "values of former keys are sealed with the present one"
                );
            }
            Found { .. } => {
                tracing::error!(
                    service,
                    key_id,
                    resealed,
                    unopened,
                    "sealed values open with no key that is there"
                );
            }
        }
        let next = self.clock.now().plus(pass.rest);
        self.keep(State::Done { key_id: pass.key_id.clone(), next });
    }
}

#[async_trait]
impl Job for Reseal {
    async fn run(&self) -> kernel::Result<Progress> {
        let Some(mut pass) = self.pass() else { return Ok(Progress::Idle) };
        let Some(rows) = self.tables.get(pass.table) else {
            self.finish(&pass);
            return Ok(Progress::Idle);
        };
        let portion = self.portion(rows, pass.after.clone()).await?;
        let mut changes = Vec::new();
        for Row { key, values } in &portion {
            for (column, sealed) in rows.columns.iter().zip(values) {
                let Some(sealed) = sealed else { continue };
                match self.vault.reseal(sealed) {
                    Ok(None) => {}
                    Ok(Some(new)) => {
                        changes.push(Change { key: key.clone(), column, old: sealed.clone(), new });
                    }
                    Err(_) => pass.found.unopened += 1,
                }
            }
        }
        pass.found.resealed += changes.len();
        if !changes.is_empty() {
            self.write(rows.table, rows.key, changes).await?;
        }
        match portion.last() {
            Some(last) if portion.len() == PORTION => pass.after.clone_from(&last.key),
            _ => (pass.table, pass.after) = (pass.table + 1, String::new()),
        }
        self.keep(State::Under(pass));
        Ok(Progress::Worked)
    }
}

#[cfg(test)]
mod tests {
    use db::{Migration, Migrations};
    use kernel::ManualClock;

    use super::*;

    const OLD: &str = "old-old-old-old-old-old-old-old-";
    const NEW: &str = "new-new-new-new-new-new-new-new-";
    const NEWEST: &str = "newest-newest-newest-newest-newe";

    static SCHEMA: &[Migrations] = &[Migrations {
        component: "letters",
        steps: &[Migration {
            version: 1,
            name: "letters, keys",
            sql: "CREATE TABLE letters (id VARCHAR(40) NOT NULL PRIMARY KEY, name TEXT NOT NULL, phone TEXT);
                  CREATE TABLE signers (kid VARCHAR(40) NOT NULL PRIMARY KEY, private TEXT NOT NULL);",
        }],
    }];
    static TABLES: &[SealedRows] = &[
        SealedRows { table: "letters", key: "id", columns: &["name", "phone"] },
        SealedRows { table: "signers", key: "kid", columns: &["private"] },
    ];
    const ROWS: usize = 2 * PORTION + 7;

    struct Office {
        job: Reseal,
        clock: Arc<ManualClock>,
    }

    impl Office {
        /// Everything sealed with [`OLD`].
        async fn open() -> Self {
            let clock = Arc::new(ManualClock::at(Timestamp::from_millis(1_772_366_400_000)));
            let (db, vault) = (Db::in_memory().unwrap(), Vault::new(OLD).unwrap());
            db.migrate(SCHEMA).await.unwrap();
            let seal = vault.clone();
            db.write(move |tx| -> Result<(), kernel::Error> {
                for n in 0..ROWS {
                    let (name, phone) = (seal.seal(&format!("name {n}"))?, seal.seal(&format!("phone {n}"))?);
                    let phone = (n % 2 == 0).then_some(phone);
                    let sql = "INSERT INTO letters (id, name, phone) VALUES (?, ?, ?)";
                    tx.execute(sql, params![format!("{n:04}"), name, phone])?;
                }
                let sql = "INSERT INTO signers (kid, private) VALUES ('k', ?)";
                tx.execute(sql, params![seal.seal("private half")?])?;
                Ok(())
            })
            .await
            .unwrap();
            let (service, now) = ("letters", clock.clone());
            let job = Reseal { service, db, vault, clock: now, tables: TABLES, state: Mutex::default() };
            Self { job, clock }
        }

        /// Until it rests; answers how many portions it took.
        async fn turn(&self) -> usize {
            let mut portions = 0;
            while self.job.run().await.unwrap() == Progress::Worked {
                portions += 1;
            }
            portions
        }

        /// How many values open, and how many are sealed with the present key.
        fn opened(&self) -> (usize, usize) {
            let read = |tx: &mut db::Tx<'_>| {
                let sql = "SELECT name FROM letters UNION ALL SELECT phone FROM letters WHERE phone IS NOT NULL \
                           UNION ALL SELECT private FROM signers";
                tx.query(sql, params![], |row| row.get::<String>(0))
            };
            let sealed: Vec<String> = self.job.db.read_now::<_, db::Error, _>(read).unwrap();
            let vault = &self.job.vault;
            let is_present = |sealed: &&String| vault.reseal(sealed).is_ok_and(|again| again.is_none());
            let opened = sealed.iter().filter(|sealed| vault.open(sealed).is_ok()).count();
            (opened, sealed.iter().filter(is_present).count())
        }
    }

    const VALUES: usize = ROWS + ROWS.div_ceil(2) + 1;

    #[tokio::test]
    async fn everything_opens_once_the_former_key_is_gone() {
        let office = Office::open().await;
        assert_eq!(office.turn().await, 0, "nobody has rotated anything");
        office.job.vault.rotate(&[NEW, OLD]).unwrap();
        assert_eq!(office.turn().await, 3 + 1);
        assert_eq!(office.opened(), (VALUES, VALUES));
        assert_eq!(office.turn().await, 0, "it rests");
        office.clock.advance(SECOND_PASS_AFTER);
        assert_eq!(office.turn().await, 4, "for those who heard late of the new key");
        office.clock.advance(SECOND_PASS_AFTER);
        assert_eq!(office.turn().await, 0);
        office.clock.advance(PASS_EVERY);
        assert_eq!(office.turn().await, 4);
        office.job.vault.rotate(&[NEW]).unwrap();
        assert_eq!(office.opened(), (VALUES, VALUES));
        office.clock.advance(PASS_EVERY);
        assert_eq!(office.turn().await, 0, "there is nothing that another key could have sealed");
    }

    #[tokio::test]
    async fn a_key_that_comes_while_one_is_being_given_up_is_the_one_that_counts() {
        let office = Office::open().await;
        office.job.vault.rotate(&[NEW, OLD]).unwrap();
        assert_eq!(office.job.run().await.unwrap(), Progress::Worked);
        office.job.vault.rotate(&[NEWEST, NEW, OLD]).unwrap();
        office.turn().await;
        office.job.vault.rotate(&[NEWEST]).unwrap();
        assert_eq!(office.opened(), (VALUES, VALUES));
    }

    #[tokio::test]
    async fn what_no_key_opens_is_left_alone_and_counted() {
        let office = Office::open().await;
        let foreign = Vault::new("somebody else's").unwrap().seal("x").unwrap();
        let text = foreign.clone();
        let put = move |tx: &mut db::Tx<'_>| -> Result<(), db::Error> {
            tx.execute("UPDATE letters SET phone = ? WHERE id = '0001'", params![text]).map(drop)
        };
        office.job.db.write(put).await.unwrap();
        office.job.vault.rotate(&[NEW, OLD]).unwrap();
        office.turn().await;
        // Its phone was nobody's before.
        assert_eq!(office.opened(), (VALUES, VALUES));
        let read = |tx: &mut db::Tx<'_>| {
            tx.query_one("SELECT phone FROM letters WHERE id = '0001'", params![], |row| row.get::<String>(0))
        };
        let kept: String = office.job.db.read_now::<_, db::Error, _>(read).unwrap();
        assert_eq!(kept, foreign);
    }
}
