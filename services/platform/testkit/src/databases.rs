//! Where the databases of a house are: in memory, or on the server that `RTC_TEST_DATABASE` names, so that the suite of
//! a service can be run on either.
//!
//! Invariant: the schemas of a house are its own, and are gone when it is.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use db::Db;
use host::{Adapters, Config, Databases};

/// Opens schemas of one house on a server.
struct Server {
    /// `mysql://user@host:port`.
    url: String,
    house: String,
    opened: Mutex<HashMap<String, Db>>,
}

impl Server {
    fn schema(&self, service: &str) -> String {
        format!("{}/rtc_test_{}_{service}?pool=4", self.url, self.house)
    }
}

#[async_trait]
impl Adapters for Server {
    async fn database(&self, service: &str, _: &str) -> Result<Db, db::Error> {
        // Opened again under its name, a database is as it was.
        let mut opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(db) = opened.get(service) {
            return Ok(db.clone());
        }
        let db = db_mysql::open(&self.schema(service), db_mysql::Options::default())?;
        opened.insert(service.to_owned(), db.clone());
        Ok(db)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let opened = std::mem::take(&mut *self.opened.lock().unwrap_or_else(PoisonError::into_inner));
        for (service, db) in opened {
            drop(db);
            let _ = db_mysql::drop_schema(&self.schema(&service), db_mysql::Options::default());
        }
    }
}

/// The databases of one house.
#[expect(clippy::disallowed_methods, reason = "the engine of a test run is named by its environment alone")]
pub(crate) fn databases(directory: &Path, config: &Config) -> Databases {
    let Ok(url) = std::env::var("RTC_TEST_DATABASE") else { return Databases::memory() };
    let house = directory.file_name().map_or(String::new(), |name| name.to_string_lossy().into_owned());
    let house = house.chars().filter(char::is_ascii_alphanumeric).collect::<String>();
    let house = format!("{}_{house}", std::process::id());
    let server = Server { url: url.trim_end_matches('/').to_owned(), house, opened: Mutex::default() };
    let mut engines = config.engines.clone();
    engines.database.clone_from(&url);
    Databases::Configured { directory: directory.to_owned(), engines, adapters: Arc::new(server) }
}
