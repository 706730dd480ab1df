//! The database port on MySQL 8 and MariaDB.
//!
//! Invariants:
//! - a command is one transaction at READ COMMITTED in which every row that it reads is locked, unless it asks
//!   otherwise: what was written for one writer stays right with many;
//! - a command that met a deadlock, or lost its connection before its COMMIT was sent, is run again; where the COMMIT was
//!   under way it is [`db::Error::OutcomeUnknown`];
//! - commands that wait together share a transaction and a commit; where one of them cannot be kept, or the transaction
//!   fails, each runs in one of its own; one that waits for a lock holds up the others for a second and no longer;
//! - a query is one snapshot; it takes a thread once there is a connection for it, and those who ask from outside never have all
//!   connections.

mod address;
mod commands;
mod connect;
mod failure;
mod migrate;
mod queries;
mod queue;
mod session;
mod sql;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use db::{Asker, Connection, Db, Dialect, Engine, Error, Job, Migrations, Stats, Turn, Turns, Waiting};
use mysql::prelude::Queryable;

use address::Address;
use commands::Commands;
use connect::{Connector, Flavour, Purpose};
use queries::{Queries, View};

/// Answers the password of the moment.
pub type Password = Arc<dyn Fn() -> Result<String, String> + Send + Sync>;

/// What the address does not say.
#[derive(Clone, Default)]
pub struct Options {
    /// Asked at every new connection, so that the password can be rotated; instead of the one in the address.
    pub password: Option<Password>,
}

/// Opens the schema that `url` names, and makes it where it is missing and the user may. Waits for the server: not for
/// a thread that drives others' work.
///
/// `mysql://user[:password]@host[:port]/schema[?pool=8&tls=off|required|verify&ca=/path&socket=/path]`. `pool`
/// is how many transactions of commands, and how many queries, run at once; `socket` is the server's on this machine, taken
/// instead of its port.
pub fn open(url: &str, options: Options) -> Result<Db, Error> {
    let connector = connect::probe(Address::parse(url)?, options.password)?;
    let engine = MySql {
        commands: Commands::new(connector.clone()),
        queries: Queries::new(connector.clone()),
        turns: Turns::new(connector.address.pool),
        connector,
    };
    Ok(Db::with_engine(Arc::new(engine)))
}

/// Deletes the schema that `url` names, with everything in it: for tests.
pub fn drop_schema(url: &str, options: Options) -> Result<(), Error> {
    let connector = Connector::new(Address::parse(url)?, Flavour::MySql, options.password);
    let mut conn = connector.connect(Purpose::Probe)?;
    let sql = format!("DROP DATABASE IF EXISTS `{}`", connector.address.schema);
    conn.query_drop(sql).map_err(|error| failure::of(&error).error())
}

struct MySql {
    connector: Arc<Connector>,
    commands: Arc<Commands>,
    queries: Queries,
    turns: Arc<Turns>,
}

impl Engine for MySql {
    fn write(&self, job: Box<dyn Job>) {
        self.commands.take(job);
    }

    fn write_lazily(&self, job: Box<dyn Job>) {
        self.commands.take_lazily(job);
    }

    fn turn(&self, asker: Asker) -> Waiting<'_> {
        Box::pin(async move { self.turns.take(asker).await.map(Turn::of) })
    }

    fn read(&self, query: &mut dyn FnMut(&mut dyn Connection)) -> Result<(), Error> {
        self.queries.run(View::Snapshot, query)
    }

    fn look_up(&self, query: &mut dyn FnMut(&mut dyn Connection)) -> Result<(), Error> {
        self.queries.run(View::Moments, query)
    }

    fn reads_inline(&self) -> bool {
        false
    }

    fn is_commit_ordered(&self) -> bool {
        false
    }

    fn dialect(&self) -> Dialect {
        Dialect::MySql
    }

    fn migrate(&self, migrations: &'static [Migrations]) -> Option<Result<Vec<String>, Error>> {
        Some(migrate::apply(&self.connector, migrations))
    }

    fn stats(&self) -> Stats {
        self.commands.stats()
    }
}

impl Drop for MySql {
    fn drop(&mut self) {
        self.commands.close();
    }
}
