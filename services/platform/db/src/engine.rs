//! What a database engine must be able to do. SQLite is here; MySQL is an adapter that only the binary links.

use crate::{Asker, Error, Migrations, Param, Row, Turn, Waiting, Wish, Work};

/// What becomes of the rows that a command reads, where several commands run at once. With one writer it makes no
/// difference, and in a query nothing is ever locked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Reads {
    /// Nobody else changes them, or reads them in a command, until this command has ended.
    #[default]
    Locked,
    /// Nobody else changes them until this command has ended.
    Shared,
    /// They are as they were at the last commit, and may change at once.
    Unlocked,
}

/// Which family of SQL an engine speaks. Services write the one that [`Dialect::Sqlite`] and the others share; what
/// has no common form (full-text search) is chosen by this.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    Sqlite,
    MySql,
}

impl Dialect {
    /// An expression for milliseconds since 1970 by the clock of the database's machine: one clock for all who share it.
    pub const fn now_millis(self) -> &'static str {
        match self {
            Dialect::Sqlite => "CAST(unixepoch('subsec') * 1000 AS INTEGER)",
            Dialect::MySql => "TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(3)) DIV 1000",
        }
    }
}

/// A connection inside a transaction.
pub trait Connection {
    /// What the commands of the transaction have left for its end.
    fn work(&mut self) -> &mut Work;

    fn execute(&mut self, sql: &str, params: &[Param<'_>]) -> Result<usize, Error>;

    fn execute_batch(&mut self, sql: &str) -> Result<(), Error>;

    /// Calls `each` for every row until it answers `false`.
    fn query(
        &mut self,
        sql: &str,
        params: &[Param<'_>],
        reads: Reads,
        each: &mut dyn FnMut(&Row<'_>) -> Result<bool, Error>,
    ) -> Result<(), Error>;

    /// Marks a place to go back to; `depth` is unique among those that are set.
    fn savepoint(&mut self, depth: u32) -> Result<(), Error> {
        self.execute_batch(&format!("SAVEPOINT part{depth}"))
    }

    /// Forgets the place; what was done since stays.
    fn release(&mut self, depth: u32) -> Result<(), Error> {
        self.execute_batch(&format!("RELEASE SAVEPOINT part{depth}"))
    }

    /// Undoes what was done since, and forgets the place.
    fn undo_to(&mut self, depth: u32) -> Result<(), Error> {
        self.execute_batch(&format!("ROLLBACK TO SAVEPOINT part{depth}"))?;
        self.release(depth)
    }
}

/// What a command wants done with its changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Keep,
    Undo,
}

/// A command on its way through an engine. `run` may be called again after a deadlock, or where it shared a transaction
/// that could not be kept; `finish` is called once.
pub trait Job: Send {
    /// What it will read, where others of the same transaction may want the like.
    fn wish(&self) -> Option<Wish> {
        None
    }

    fn run(&mut self, connection: &mut dyn Connection) -> Verdict;

    /// `Ok` once the transaction is durable.
    fn finish(self: Box<Self>, commit: Result<(), Error>);
}

pub trait Engine: Send + Sync {
    fn write(&self, job: Box<dyn Job>);

    fn write_lazily(&self, job: Box<dyn Job>);

    /// Waits until a query may be run, and holds no thread meanwhile. What it answers is kept until the query has ended.
    fn turn(&self, _asker: Asker) -> Waiting<'_> {
        Box::pin(std::future::ready(Ok(Turn::default())))
    }

    fn read(&self, query: &mut dyn FnMut(&mut dyn Connection)) -> Result<(), Error>;

    /// As [`Engine::read`], but each statement may see another moment: for a look by key.
    fn look_up(&self, query: &mut dyn FnMut(&mut dyn Connection)) -> Result<(), Error> {
        self.read(query)
    }

    /// Reads cost nothing to wait for, so they need no thread of their own.
    fn reads_inline(&self) -> bool;

    fn is_commit_ordered(&self) -> bool;

    fn dialect(&self) -> Dialect {
        Dialect::Sqlite
    }

    /// Brings the schema up to date on the calling thread. `None` where schema changes are part of a transaction, so
    /// that a command can do it.
    fn migrate(&self, _migrations: &'static [Migrations]) -> Option<Result<Vec<String>, Error>> {
        None
    }

    fn stats(&self) -> Stats;
}

/// Counted since the start. `commands ÷ commits` is how well group commit works.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stats {
    pub commands: u64,
    pub commits: u64,
    pub queued: u64,
}
