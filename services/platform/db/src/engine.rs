//! What a database engine must be able to do. SQLite is here; MySQL is an adapter that only the binary links.

use crate::{Error, Param, Row};

/// A connection inside a transaction.
pub trait Connection {
    fn execute(&mut self, sql: &str, params: &[Param<'_>]) -> Result<usize, Error>;

    fn execute_batch(&mut self, sql: &str) -> Result<(), Error>;

    /// Calls `each` for every row until it answers `false`.
    fn query(
        &mut self,
        sql: &str,
        params: &[Param<'_>],
        each: &mut dyn FnMut(&Row<'_>) -> Result<bool, Error>,
    ) -> Result<(), Error>;
}

/// What a command wants done with its changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Keep,
    Undo,
}

/// A command on its way through an engine. `run` may be called again after a deadlock; `finish` is called once.
pub trait Job: Send {
    fn run(&mut self, connection: &mut dyn Connection) -> Verdict;

    /// `Ok` once the transaction is durable.
    fn finish(self: Box<Self>, commit: Result<(), Error>);
}

pub trait Engine: Send + Sync {
    fn write(&self, job: Box<dyn Job>);

    fn write_lazily(&self, job: Box<dyn Job>);

    fn read(&self, query: &mut dyn FnMut(&mut dyn Connection)) -> Result<(), Error>;

    /// Reads cost nothing to wait for, so they need no thread of their own.
    fn reads_inline(&self) -> bool;

    fn is_commit_ordered(&self) -> bool;

    fn stats(&self) -> Stats;
}

/// Counted since the start. `commands ÷ commits` is how well group commit works.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stats {
    pub commands: u64,
    pub commits: u64,
    pub queued: u64,
}
