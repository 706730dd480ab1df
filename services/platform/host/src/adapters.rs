//! Engines outside this process. The binary links their adapters; the platform knows this trait.

use std::sync::Arc;

use async_trait::async_trait;
use bus::Bus;
use db::Db;

/// Opens what the configuration names by URL.
#[async_trait]
pub trait Adapters: Send + Sync {
    async fn database(&self, service: &str, url: &str) -> Result<Db, db::Error>;

    async fn bus(&self, url: &str) -> Result<Arc<dyn Bus>, bus::Error>;
}

/// No adapter is linked: every URL is refused.
pub struct EmbeddedOnly;

fn refusal(url: &str) -> String {
    let scheme = url.split("://").next().unwrap_or(url);
    format!("no engine for {scheme}:// is part of this program")
}

#[async_trait]
impl Adapters for EmbeddedOnly {
    async fn database(&self, _: &str, url: &str) -> Result<Db, db::Error> {
        Err(db::Error::Other(refusal(url)))
    }

    async fn bus(&self, url: &str) -> Result<Arc<dyn Bus>, bus::Error> {
        Err(bus::Error::Unavailable(refusal(url)))
    }
}
