//! The database port: a command is a synchronous closure that runs inside one transaction.
//!
//! Invariants:
//! - [`Db::write`] answers after the commit is on disk, or with an error and no effect.
//! - A closure never awaits, so no transaction is ever open across a network call.
//! - Commands may run at once (MySQL). What a command reads is then locked for it until it ends, unless it asks
//!   otherwise ([`Tx::unlocked`]), so a decision on a row that was read holds. A row that is *not* there cannot be locked:
//!   a unique key decides between two that insert it, and the loser is run again. A sum or a count over rows that may
//!   come is no basis for a decision: lock one row that stands for all of them first.
//! - On SQLite concurrent commands share a transaction (group commit): each runs in a savepoint of its own and a
//!   failing one rolls back alone; one fsync answers them all.
//! - What must happen after the commit and only then (count it, take a new key into use) is a hook: [`Tx::after_commit`]. What
//!   may happen for nothing and must not be missed (drop a cache entry, refuse a token, wake a relay) is one too, which also
//!   runs where nobody knows whether it was stored: [`Tx::once_it_may_be_stored`].

mod ahead;
mod command;
mod engine;
mod error;
pub mod fence;
mod kept;
mod late;
mod migrate;
mod sqlite;
#[cfg(test)]
mod tests;
mod turn;
mod turns;
mod value;

use std::path::Path;
use std::sync::Arc;
use std::task::Poll;

use tokio::sync::oneshot;
use tokio::task::JoinSet;

pub use ahead::{Ahead, Wish};
pub use engine::{Connection, Dialect, Engine, Job, Reads, Stats, Verdict};
pub use error::Error;
pub use kept::Kept;
pub use late::{End, Late, Work};
pub use migrate::{Migration, Migrations};
pub use turn::{Asker, Turn, Waiting};
pub use turns::{HOUSE_WAIT_MAX, Place, Turns};
pub use value::{FromValue, Param, Row, RowSource, ToParam, ValueRef};

use command::{Command, Hook, Wishing};

/// Gives parameters to a statement: `params![id.to_string(), amount, now]`.
#[macro_export]
macro_rules! params {
    ($($value:expr),* $(,)?) => { &[$($crate::ToParam::to_param(&$value)),*] as &[$crate::Param<'_>] };
}

/// How an engine is asked.
type Way = fn(&dyn Engine, &mut dyn FnMut(&mut dyn Connection)) -> Result<(), Error>;

/// A handle on one service's database. Cheap to clone.
#[derive(Clone)]
pub struct Db {
    engine: Arc<dyn Engine>,
}

impl Db {
    /// Wraps an engine; how another crate brings another database.
    pub fn with_engine(engine: Arc<dyn Engine>) -> Self {
        Self { engine }
    }

    /// The same database with something around its engine: what a test puts between a service and its data.
    #[must_use]
    pub fn around(self, wrap: impl FnOnce(Arc<dyn Engine>) -> Arc<dyn Engine>) -> Self {
        Self { engine: wrap(self.engine) }
    }

    /// Opens or creates a SQLite file: WAL, `synchronous=FULL`, one writer thread, a pool of readers.
    pub fn open_sqlite(path: &Path) -> Result<Self, Error> {
        Ok(Self { engine: Arc::new(sqlite::FileEngine::open(path)?) })
    }

    /// A SQLite database in memory that runs every closure at once on the calling thread: for tests and simulation.
    pub fn in_memory() -> Result<Self, Error> {
        Ok(Self { engine: Arc::new(sqlite::MemoryEngine::open()?) })
    }

    /// Brings the schema up to date and names the steps that it took; refuses a database that a newer version has
    /// written.
    pub async fn migrate(&self, migrations: &'static [Migrations]) -> Result<Vec<String>, Error> {
        let engine = self.engine.clone();
        if engine.dialect() == Dialect::Sqlite {
            return self.write(move |tx| migrate::apply(tx, migrations)).await;
        }
        let migrated = tokio::task::spawn_blocking(move || engine.migrate(migrations)).await;
        migrated.ok().flatten().unwrap_or(Err(Error::Closed))
    }

    /// Runs a command. The closure may run more than once where the engine retries a deadlock.
    pub async fn write<T, E, F>(&self, command: F) -> Result<T, E>
    where
        F: FnMut(&mut Tx<'_>) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: From<Error> + Send + 'static,
    {
        self.submit(None, command).await
    }

    /// As [`Db::write`], of a command that tells what it will read: those that share a transaction have it read together.
    pub async fn write_ahead<A, T, E, F>(&self, ahead: A, command: F) -> Result<T, E>
    where
        A: Ahead,
        F: FnMut(&mut Tx<'_>) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: From<Error> + Send + 'static,
    {
        self.submit(Some(Box::new(move || Wish::new(&ahead))), command).await
    }

    async fn submit<T, E, F>(&self, wish: Option<Wishing>, command: F) -> Result<T, E>
    where
        F: FnMut(&mut Tx<'_>) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: From<Error> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        self.engine.write(Box::new(Command::new(wish, command, fence::of(&self.engine), Some(reply))));
        answer.await.unwrap_or_else(|_| Err(Error::Closed.into()))
    }

    /// Hands over a command that may wait for the next commit and whose loss in a crash is harmless (a delete of
    /// what is already published, an offset). It costs no fsync of its own.
    pub fn write_lazily<F>(&self, command: F)
    where
        F: FnMut(&mut Tx<'_>) -> Result<(), Error> + Send + 'static,
    {
        let job = Command::new(None, command, fence::of(&self.engine), None);
        self.engine.write_lazily(Box::new(job));
    }

    /// Runs a query on a snapshot, on a thread where it may take its time, once it is its turn.
    pub async fn read<T, E, F>(&self, query: F) -> Result<T, E>
    where
        F: FnOnce(&mut Tx<'_>) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: From<Error> + Send + 'static,
    {
        if self.engine.reads_inline() {
            return self.read_now(query);
        }
        self.ask_elsewhere(query, |engine, query| engine.read(query)).await
    }

    /// Runs a query that takes microseconds where the database is in this process: at once there, and on a thread of
    /// its own where a server must be asked. Each of its statements may see another moment.
    pub async fn look_up<T, E, F>(&self, query: F) -> Result<T, E>
    where
        F: FnOnce(&mut Tx<'_>) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: From<Error> + Send + 'static,
    {
        if self.engine.is_commit_ordered() {
            return self.read_now(query);
        }
        self.ask_elsewhere(query, |engine, query| engine.look_up(query)).await
    }

    /// Asks on a thread of its own, which is taken when there is a connection to ask by: whoever waits holds none. Who has to
    /// wait does so in a task of its own: a future that others put aside (calls under way, of which the first to end is awaited
    /// later) would keep a turn that it was given and does not use.
    async fn ask_elsewhere<T, E, F>(&self, query: F, way: Way) -> Result<T, E>
    where
        F: FnOnce(&mut Tx<'_>) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: From<Error> + Send + 'static,
    {
        let (db, engine, asker) = (self.clone(), self.engine.clone(), Asker::current());
        let mut waiting = Box::pin(async move { engine.turn(asker).await });
        let ask = move |turn: Turn| async move {
            let asking = move || {
                let answer = db.ask(query, way);
                drop(turn);
                answer
            };
            tokio::task::spawn_blocking(asking).await.unwrap_or_else(|_| Err(Error::Closed.into()))
        };
        match std::future::poll_fn(|context| Poll::Ready(waiting.as_mut().poll(context))).await {
            Poll::Ready(turn) => ask(turn?).await,
            Poll::Pending => {
                // Ends with whoever asks.
                let mut asking = JoinSet::new();
                asking.spawn(async move { ask(waiting.await?).await });
                match asking.join_next().await {
                    Some(Ok(answer)) => answer,
                    Some(Err(_)) | None => Err(Error::Closed.into()),
                }
            }
        }
    }

    /// Runs a query on the calling thread. Only for look-ups by key that take microseconds.
    pub fn read_now<T, E, F>(&self, query: F) -> Result<T, E>
    where
        F: FnOnce(&mut Tx<'_>) -> Result<T, E>,
        E: From<Error>,
    {
        self.ask(query, |engine, query| engine.read(query))
    }

    fn ask<T, E, F>(&self, query: F, way: Way) -> Result<T, E>
    where
        F: FnOnce(&mut Tx<'_>) -> Result<T, E>,
        E: From<Error>,
    {
        let mut query = Some(query);
        let mut result = None;
        way(&*self.engine, &mut |connection| {
            if let Some(query) = query.take() {
                result = Some(query(&mut Tx::new(connection, &mut Vec::new())));
            }
        })?;
        result.unwrap_or_else(|| Err(Error::Closed.into()))
    }

    /// Rows become visible in the order of their ids (SQLite: one writer), so a reader may go on after the last id
    /// that it saw.
    pub fn is_commit_ordered(&self) -> bool {
        self.engine.is_commit_ordered()
    }

    pub fn dialect(&self) -> Dialect {
        self.engine.dialect()
    }

    pub fn stats(&self) -> Stats {
        self.engine.stats()
    }
}

/// A transaction under way.
pub struct Tx<'c> {
    connection: &'c mut dyn Connection,
    hooks: &'c mut Vec<Hook>,
    reads: Reads,
    depth: u32,
}

impl<'c> Tx<'c> {
    fn new(connection: &'c mut dyn Connection, hooks: &'c mut Vec<Hook>) -> Self {
        Self { connection, hooks, reads: Reads::Locked, depth: 0 }
    }
}

impl Tx<'_> {
    fn reading(&mut self, reads: Reads) -> Tx<'_> {
        Tx { connection: &mut *self.connection, hooks: &mut *self.hooks, reads, depth: self.depth }
    }

    pub(crate) fn work(&mut self) -> &mut Work {
        self.connection.work()
    }

    /// The same transaction, whose reads hold up nobody and are not held up: for rows that this command does not decide
    /// on alone (a price list, a setting). What is read may have changed when the command commits.
    pub fn unlocked(&mut self) -> Tx<'_> {
        self.reading(Reads::Unlocked)
    }

    /// The same transaction, whose reads keep others from changing the rows, but not from reading them in the same way.
    pub fn shared(&mut self) -> Tx<'_> {
        self.reading(Reads::Shared)
    }

    /// Runs a statement; answers how many rows it found to change, also where they were as they should be. After
    /// `ON CONFLICT … DO UPDATE` the number says only how many rows were given.
    pub fn execute(&mut self, sql: &str, params: &[Param<'_>]) -> Result<usize, Error> {
        self.connection.execute(sql, params)
    }

    /// Runs several statements without parameters: migrations.
    pub fn execute_batch(&mut self, sql: &str) -> Result<(), Error> {
        self.connection.execute_batch(sql)
    }

    pub fn query<T>(
        &mut self,
        sql: &str,
        params: &[Param<'_>],
        mut map: impl FnMut(&Row<'_>) -> Result<T, Error>,
    ) -> Result<Vec<T>, Error> {
        let mut rows = Vec::new();
        self.connection.query(sql, params, self.reads, &mut |row| {
            rows.push(map(row)?);
            Ok(true)
        })?;
        Ok(rows)
    }

    /// Calls `each` for one row after the other until it answers `false`.
    pub fn query_while(
        &mut self,
        sql: &str,
        params: &[Param<'_>],
        mut each: impl FnMut(&Row<'_>) -> Result<bool, Error>,
    ) -> Result<(), Error> {
        self.connection.query(sql, params, self.reads, &mut each)
    }

    /// The first row, if there is one.
    pub fn query_opt<T>(
        &mut self,
        sql: &str,
        params: &[Param<'_>],
        mut map: impl FnMut(&Row<'_>) -> Result<T, Error>,
    ) -> Result<Option<T>, Error> {
        let mut found = None;
        self.connection.query(sql, params, self.reads, &mut |row| {
            found = Some(map(row)?);
            Ok(false)
        })?;
        Ok(found)
    }

    /// The first row; [`Error::NoRow`] where there is none.
    pub fn query_one<T>(
        &mut self,
        sql: &str,
        params: &[Param<'_>],
        map: impl FnMut(&Row<'_>) -> Result<T, Error>,
    ) -> Result<T, Error> {
        self.query_opt(sql, params, map)?.ok_or(Error::NoRow)
    }

    /// Runs a part that can fail without failing the whole: its changes and hooks go, the rest stays.
    pub fn savepoint<T, E: From<Error>>(
        &mut self,
        part: impl FnOnce(&mut Tx<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        let (mark, hooks, depth) = (self.work().mark(), self.hooks.len(), self.depth);
        self.connection.savepoint(depth)?;
        let (connection, reads) = (&mut *self.connection, self.reads);
        let result = part(&mut Tx { connection, hooks: &mut *self.hooks, reads, depth: depth + 1 });
        if result.is_ok() {
            self.connection.release(depth)?;
        } else {
            self.work().undo_to(mark);
            self.hooks.truncate(hooks);
            self.connection.undo_to(depth)?;
        }
        result
    }

    /// Inserts rows with as few statements as may be: `into` is `INSERT INTO t (a, b)`, `then` what follows the values.
    /// `values` holds all rows one after the other, `columns` each.
    pub fn insert_rows(
        &mut self,
        into: &str,
        columns: usize,
        values: &[Param<'_>],
        then: &str,
    ) -> Result<(), Error> {
        let row = format!("({})", vec!["?"; columns].join(", "));
        late::in_portions(values, columns, |portion| {
            let rows = vec![row.as_str(); portion.len() / columns].join(", ");
            self.execute(&format!("{into} VALUES {rows} {then}"), portion).map(drop)
        })
    }

    /// Sets `columns` of many rows with as few statements as may be. `values` holds all rows one after the other: each its key,
    /// then its columns. Answers how many rows there were.
    pub fn update_rows(
        &mut self,
        table: &str,
        key: &str,
        columns: &[&str],
        values: &[Param<'_>],
    ) -> Result<usize, Error> {
        let mut found = 0;
        late::in_filled_rows(values, columns.len() + 1, |rows| {
            let (sql, params) = late::update_of(table, key, columns, rows);
            found += self.execute(&sql, &params)?;
            Ok(())
        })?;
        Ok(found)
    }

    /// Asks for many keys with as few statements as may be: `each` is given a portion of them, in which the last one may
    /// be repeated.
    pub fn for_each_portion<'p>(
        &mut self,
        keys: &[Param<'p>],
        mut each: impl FnMut(&mut Tx<'_>, &[Param<'p>]) -> Result<(), Error>,
    ) -> Result<(), Error> {
        late::in_filled_portions(keys, |portion| each(self, portion))
    }

    /// Keeps `item` until the command has succeeded, and writes it in the same transaction with all others of its kind;
    /// where the part that it belongs to is undone, so is it.
    pub fn at_the_end<T: Late>(&mut self, item: T) {
        self.work().add(item);
    }

    /// Deletes rows by their keys with as few statements as may be; answers how many were there. `values` holds all keys one
    /// after the other, each as long as `key` has columns.
    pub fn delete_rows(&mut self, table: &str, key: &[&str], values: &[Param<'_>]) -> Result<usize, Error> {
        let one = key.iter().map(|column| format!("{column} = ?")).collect::<Vec<_>>().join(" AND ");
        let mut gone = 0;
        late::in_portions(values, key.len(), |portion| {
            let rows = portion.len() / key.len();
            let condition = match key {
                [column] => format!("{column} IN ({})", vec!["?"; rows].join(", ")),
                // Rows of several columns have no list that all engines read.
                _ => vec![format!("({one})"); rows].join(" OR "),
            };
            gone += self.execute(&format!("DELETE FROM {table} WHERE {condition}"), portion)?;
            Ok(())
        })?;
        Ok(gone)
    }

    /// Runs `hook` once the change is on disk; never where it is rolled back, and never where that is not known.
    pub fn after_commit(&mut self, hook: impl FnOnce() + Send + 'static) {
        self.hooks.push(Hook { in_doubt: false, run: Box::new(hook) });
    }

    /// Runs `hook` once the change is on disk, or may be ([`Error::OutcomeUnknown`]); never where it is rolled back. For what
    /// does no harm where nothing was stored, and would where it was and nobody did it.
    pub fn once_it_may_be_stored(&mut self, hook: impl FnOnce() + Send + 'static) {
        self.hooks.push(Hook { in_doubt: true, run: Box::new(hook) });
    }
}
