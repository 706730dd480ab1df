//! The engines of production: this binary, and nothing else of the house, links their adapters.

use std::sync::Arc;

use async_trait::async_trait;
use bus::Bus;
use cache::Cache;
use db::Db;
use host::{Adapters, StartError};
use objects::Objects;

/// Opens `mysql://`, `kafka://`, `redis://` and `s3://`.
pub struct Linked;

fn scheme_is(url: &str, wanted: &[&str]) -> bool {
    wanted.iter().any(|scheme| url.starts_with(&format!("{scheme}://")))
}

fn unknown(key: &str, url: &str, known: &str) -> StartError {
    let scheme = url.split_once("://").map_or(url, |(scheme, _)| scheme);
    StartError::Config(format!("{key}: {scheme:?} is no engine that this program knows; there are {known}"))
}

#[async_trait]
impl Adapters for Linked {
    async fn database(&self, _service: &str, url: &str) -> Result<Db, db::Error> {
        if !scheme_is(url, &["mysql"]) {
            let scheme = url.split_once("://").map_or(url, |(scheme, _)| scheme).to_owned();
            return Err(db::Error::Other(format!(
                "{scheme:?} is no engine that this program knows: embedded, mysql://"
            )));
        }
        let url = url.to_owned();
        let opened =
            tokio::task::spawn_blocking(move || db_mysql::open(&url, db_mysql::Options::default())).await;
        opened.unwrap_or(Err(db::Error::Closed))
    }

    async fn bus(&self, url: &str) -> Result<Arc<dyn Bus>, StartError> {
        Err(unknown("bus", url, "embedded, kafka://"))
    }

    async fn cache(&self, url: &str) -> Result<Arc<dyn Cache>, StartError> {
        if !scheme_is(url, &["redis", "rediss"]) {
            return Err(unknown("cache", url, "embedded, redis://"));
        }
        let opened = cache_redis::open(url, cache_redis::Options::default()).await;
        opened.map_err(|error| StartError::Config(format!("cache: {error}")))
    }

    async fn objects(&self, url: &str) -> Result<Arc<dyn Objects>, StartError> {
        if !scheme_is(url, &["s3"]) {
            return Err(unknown("objects", url, "folder, s3://"));
        }
        let opened = objects_s3::open(url, objects_s3::Options::default()).await;
        opened.map_err(|error| StartError::Config(format!("objects: {error}")))
    }
}
