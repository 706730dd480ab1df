//! Which database a service has.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use db::Db;

use crate::{Config, StartError};

/// Opens databases by the name of their service.
#[derive(Clone)]
pub enum Databases {
    /// A SQLite file a service.
    Directory(PathBuf),
    /// In memory, for tests and simulation: opened again under its name, a database is as it was.
    Memory(Arc<Mutex<HashMap<String, Db>>>),
}

impl Databases {
    pub fn of(config: &Config) -> Self {
        Databases::Directory(config.data.clone())
    }

    pub fn memory() -> Self {
        Databases::Memory(Arc::default())
    }

    pub fn open(&self, name: &str) -> Result<Db, StartError> {
        let opened = match self {
            Databases::Directory(directory) => Db::open_sqlite(&directory.join(format!("{name}.db"))),
            Databases::Memory(opened) => {
                let mut opened = opened.lock().unwrap_or_else(PoisonError::into_inner);
                match opened.get(name) {
                    Some(db) => Ok(db.clone()),
                    None => Db::in_memory().inspect(|db| {
                        opened.insert(name.to_owned(), db.clone());
                    }),
                }
            }
        };
        opened.map_err(|source| StartError::Database { name: name.to_owned(), source })
    }
}
