//! Schema changes where each is committed by itself.
//!
//! Invariants:
//! - one process migrates at a time; the others wait, and then find it done;
//! - what is done of a step is written down after every statement, so a step that a crash has cut goes on where it was;
//!   the one statement of which it is not known whether it was done is done again, and finds its table there;
//! - a step that was begun goes on only with the text that it was begun with.

use std::sync::Arc;

use db::{Error, Migration, Migrations};
use mysql::prelude::Queryable;
use mysql::{Conn, params};

use crate::connect::{Connector, Purpose, tables};
use crate::failure;
use crate::sql;

/// Where the steps that were taken are listed: also the mark of a schema that is ours.
pub(crate) const TABLE: &str = "schema_migrations";
/// How far the step under way is.
const PROGRESS: &str = "schema_progress";
/// How long one process waits for another that migrates, in seconds.
const TURN_WAIT_S: u32 = 120;

const TABLES: [&str; 2] = [
    "CREATE TABLE IF NOT EXISTS schema_migrations (component VARCHAR(64) NOT NULL, version INTEGER NOT NULL, \
     name VARCHAR(128) NOT NULL, PRIMARY KEY (component, version))",
    "CREATE TABLE IF NOT EXISTS schema_progress (component VARCHAR(64) NOT NULL PRIMARY KEY, \
     version INTEGER NOT NULL, done INTEGER NOT NULL, fingerprint BIGINT NOT NULL)",
];

fn failed(error: mysql::Error) -> Error {
    failure::of(&error).error()
}

/// Of a text; the same in every version of this program (FNV-1a).
fn fingerprint(text: &str) -> i64 {
    let hash = text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    i64::from_ne_bytes(hash.to_ne_bytes())
}

struct Migrator {
    conn: Conn,
    collation: &'static str,
    schema: String,
}

pub(crate) fn apply(connector: &Arc<Connector>, all: &[Migrations]) -> Result<Vec<String>, Error> {
    let schema = connector.address.schema.clone();
    let conn = connector.connect(Purpose::Schema)?;
    let mut migrator = Migrator { conn, collation: connector.flavour.collation(), schema };
    migrator.take_turn()?;
    let applied = migrator.apply(all);
    // The turn ends with the connection too.
    let _ = migrator.conn.exec_drop("DO RELEASE_LOCK(?)", (migrator.turn(),));
    applied
}

impl Migrator {
    /// The name of the lock: of bounded length, whatever the schema is called.
    fn turn(&self) -> String {
        format!("rtc_migrate_{:016x}", fingerprint(&self.schema))
    }

    fn take_turn(&mut self) -> Result<(), Error> {
        let got: Option<Option<i64>> =
            self.conn.exec_first("SELECT GET_LOCK(?, ?)", (self.turn(), TURN_WAIT_S)).map_err(failed)?;
        if got.flatten() == Some(1) { Ok(()) } else { Err(Error::Busy) }
    }

    fn apply(&mut self, all: &[Migrations]) -> Result<Vec<String>, Error> {
        let tables = tables(&mut self.conn)?;
        if !tables.is_empty() && !tables.iter().any(|table| table == TABLE) {
            return Err(Error::Foreign(self.schema.clone()));
        }
        for (name, sql) in [TABLE, PROGRESS].iter().zip(TABLES) {
            if !tables.iter().any(|table| table == name) {
                let sql = sql::translate(sql, self.collation)?.sql;
                self.conn.query_drop(sql).map_err(failed)?;
            }
        }
        // Nothing is changed where any component is too new.
        let mut found = Vec::with_capacity(all.len());
        for migrations in all {
            found.push(self.version(migrations)?);
        }
        let mut names = Vec::new();
        for (migrations, found) in all.iter().zip(found) {
            for step in migrations.steps.iter().filter(|step| step.version > found) {
                self.take_step(migrations.component, step)?;
                names.push(format!("{}/{:03} {}", migrations.component, step.version, step.name));
            }
        }
        Ok(names)
    }

    fn version(&mut self, migrations: &Migrations) -> Result<u32, Error> {
        let sql = "SELECT COALESCE(MAX(version), 0) FROM schema_migrations WHERE component = ?";
        let found: Option<u32> = self.conn.exec_first(sql, (migrations.component,)).map_err(failed)?;
        let found = found.unwrap_or(0);
        let known = migrations.steps.last().map_or(0, |step| step.version);
        if found > known {
            return Err(Error::Newer { component: migrations.component.to_owned(), found, known });
        }
        Ok(found)
    }

    fn take_step(&mut self, component: &str, step: &Migration) -> Result<(), Error> {
        let fingerprint = fingerprint(step.sql);
        let sql = "SELECT version, done, fingerprint FROM schema_progress WHERE component = ?";
        let begun: Option<(u32, usize, i64)> = self.conn.exec_first(sql, (component,)).map_err(failed)?;
        let done = match begun {
            Some((version, done, text)) if version == step.version && text == fingerprint => done,
            Some((version, ..)) => {
                return Err(Error::Other(format!(
                    "step {component}/{version:03} was begun by another version of this program and is half done: \
                     finish it with that version, or restore the schema"
                )));
            }
            None => {
                let sql =
                    "INSERT INTO schema_progress (component, version, done, fingerprint) VALUES (?, ?, 0, ?)";
                self.conn.exec_drop(sql, (component, step.version, fingerprint)).map_err(failed)?;
                0
            }
        };
        let is_resumed = begun.is_some();
        for (at, statement) in sql::statements(step.sql).iter().enumerate().skip(done) {
            self.take_statement(component, statement, at, is_resumed && at == done)?;
        }
        self.conn.query_drop("START TRANSACTION").map_err(failed)?;
        let sql = "INSERT INTO schema_migrations (component, version, name) VALUES (?, ?, ?)";
        self.conn.exec_drop(sql, (component, step.version, step.name)).map_err(failed)?;
        self.conn
            .exec_drop("DELETE FROM schema_progress WHERE component = ?", (component,))
            .map_err(failed)?;
        self.conn.query_drop("COMMIT").map_err(failed)
    }

    fn take_statement(
        &mut self,
        component: &str,
        statement: &str,
        at: usize,
        may_be_done: bool,
    ) -> Result<(), Error> {
        let translated = sql::translate(statement, self.collation)?;
        let note = "UPDATE schema_progress SET done = :done WHERE component = :component";
        let note_params = params! { "done" => at + 1, "component" => component };
        if translated.is_schema {
            match self.conn.query_drop(&translated.sql) {
                Ok(()) => {}
                Err(mysql::Error::MySqlError(error)) if may_be_done && is_done(error.code) => {}
                Err(error) => return Err(failed(error)),
            }
            return self.conn.exec_drop(note, note_params).map_err(failed);
        }
        // Rows and the note of them are one transaction.
        self.conn.query_drop("START TRANSACTION").map_err(failed)?;
        self.conn.query_drop(&translated.sql).map_err(failed)?;
        self.conn.exec_drop(note, note_params).map_err(failed)?;
        self.conn.query_drop("COMMIT").map_err(failed)
    }
}

/// What a schema change says that was made before: the table, column or index is there, or is not there any more.
const fn is_done(code: u16) -> bool {
    matches!(code, 1050 | 1051 | 1060 | 1061 | 1091 | 1054 | 1146)
}
