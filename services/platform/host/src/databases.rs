//! Which database a service has.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use db::Db;

use crate::adapters::Adapters;
use crate::config::EngineSection;
use crate::{Config, StartError};

/// Opens databases by the name of their service.
#[derive(Clone)]
pub enum Databases {
    /// A SQLite file a service, or what an adapter opens where the configuration names a URL.
    Configured { directory: PathBuf, engines: EngineSection, adapters: Arc<dyn Adapters> },
    /// In memory, for tests and simulation: opened again under its name, a database is as it was.
    Memory(Arc<Mutex<HashMap<String, Db>>>),
}

impl Databases {
    pub fn of(config: &Config, adapters: Arc<dyn Adapters>) -> Self {
        Databases::Configured { directory: config.data.clone(), engines: config.engines.clone(), adapters }
    }

    pub fn memory() -> Self {
        Databases::Memory(Arc::default())
    }

    pub async fn open(&self, name: &str) -> Result<Db, StartError> {
        match self {
            Databases::Configured { engines, adapters, .. } => {
                let db = match engines.database_url(name) {
                    Some(url) => adapters
                        .database(name, &url)
                        .await
                        .map_err(|source| StartError::Database { name: name.to_owned(), source }),
                    None => self.open_local(name),
                }?;
                Ok(adapters.around(name, db))
            }
            Databases::Memory(_) => self.open_local(name),
        }
    }

    /// A database of this process alone, wherever the services' are: what can be filled again (a search index).
    pub fn open_local(&self, name: &str) -> Result<Db, StartError> {
        let opened = match self {
            Databases::Configured { directory, .. } => Db::open_sqlite(&directory.join(format!("{name}.db"))),
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

    /// Deletes a database of this process alone, where it is a file.
    pub fn remove_local(&self, name: &str) {
        if let Databases::Configured { directory, .. } = self {
            for suffix in ["", "-wal", "-shm"] {
                let _ = std::fs::remove_file(directory.join(format!("{name}.db{suffix}")));
            }
        }
    }
}
