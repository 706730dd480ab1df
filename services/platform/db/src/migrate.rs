//! Schema versions: numbered steps inside the binary, applied once each, in order.
//!
//! Invariant: a step that has landed never changes; a database with a step that this program does not know is refused.

use crate::{Error, Tx, params};

/// One step. Keep to SQL that MySQL 8, MariaDB and SQLite share; expand first, contract in a later version.
#[derive(Debug, Clone, Copy)]
pub struct Migration {
    pub version: u32,
    pub name: &'static str,
    pub sql: &'static str,
}

/// The steps of one component: a service, or a part of the platform that has tables in the service's database.
#[derive(Debug, Clone, Copy)]
pub struct Migrations {
    pub component: &'static str,
    pub steps: &'static [Migration],
}

const TABLE: &str = "CREATE TABLE IF NOT EXISTS schema_migrations (\
    component VARCHAR(64) NOT NULL, version INTEGER NOT NULL, name VARCHAR(128) NOT NULL, \
    PRIMARY KEY (component, version))";

fn applied(tx: &mut Tx<'_>, component: &str) -> Result<u32, Error> {
    tx.execute_batch(TABLE)?;
    let sql = "SELECT COALESCE(MAX(version), 0) FROM schema_migrations WHERE component = ?";
    tx.query_one(sql, params![component], |row| row.get(0))
}

fn check_known(migrations: &Migrations, found: u32) -> Result<(), Error> {
    let known = migrations.steps.last().map_or(0, |step| step.version);
    if found > known {
        return Err(Error::Newer { component: migrations.component.to_owned(), found, known });
    }
    Ok(())
}

/// Applies what is missing, and names it: `orders/002 later`.
pub(crate) fn apply(tx: &mut Tx<'_>, all: &[Migrations]) -> Result<Vec<String>, Error> {
    let mut names = Vec::new();
    for migrations in all {
        let found = applied(tx, migrations.component)?;
        check_known(migrations, found)?;
        for step in migrations.steps.iter().filter(|step| step.version > found) {
            tx.execute_batch(step.sql)?;
            tx.execute(
                "INSERT INTO schema_migrations (component, version, name) VALUES (?, ?, ?)",
                params![migrations.component, step.version, step.name],
            )?;
            names.push(format!("{}/{:03} {}", migrations.component, step.version, step.name));
        }
    }
    Ok(names)
}
