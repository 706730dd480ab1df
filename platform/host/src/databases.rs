//! Which database a service has.

use std::path::PathBuf;

use db::Db;

use crate::{Config, StartError};

/// Opens databases by the name of their service.
#[derive(Debug, Clone)]
pub enum Databases {
    /// A SQLite file a service.
    Directory(PathBuf),
    /// In memory, for tests and simulation.
    Memory,
}

impl Databases {
    pub fn of(config: &Config) -> Self {
        Databases::Directory(config.data.clone())
    }

    pub fn open(&self, name: &str) -> Result<Db, StartError> {
        let opened = match self {
            Databases::Directory(directory) => Db::open_sqlite(&directory.join(format!("{name}.db"))),
            Databases::Memory => Db::in_memory(),
        };
        opened.map_err(|source| StartError::Database { name: name.to_owned(), source })
    }
}
