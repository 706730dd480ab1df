//! Engines outside this process. The binary links their adapters; the platform knows this trait.

use std::sync::Arc;

use async_trait::async_trait;
use bus::Bus;
use cache::{Cache, Memory};
use db::Db;
use kernel::IdSource;
use objects::{Folder, Objects};

use crate::{Config, Databases, StartError, scheme_of};

/// Opens what the configuration names by URL.
#[async_trait]
pub trait Adapters: Send + Sync {
    async fn database(&self, _service: &str, url: &str) -> Result<Db, db::Error> {
        Err(db::Error::Address(refusal(url)))
    }

    async fn bus(&self, url: &str) -> Result<Arc<dyn Bus>, StartError> {
        Err(StartError::Config(format!("bus: {}", refusal(url))))
    }

    async fn cache(&self, url: &str) -> Result<Arc<dyn Cache>, StartError> {
        Err(StartError::Config(format!("cache: {}", refusal(url))))
    }

    async fn objects(&self, url: &str) -> Result<Arc<dyn Objects>, StartError> {
        Err(StartError::Config(format!("objects: {}", refusal(url))))
    }

    /// What is put around the database of a service, wherever it is: nothing, but where a test wants it.
    fn around(&self, _service: &str, db: Db) -> Db {
        db
    }
}

fn refusal(url: &str) -> String {
    match scheme_of(url) {
        Some(scheme) => format!("no engine for {scheme}:// is part of this program"),
        None => "it has no scheme".to_owned(),
    }
}

/// No adapter is linked: every URL is refused.
pub struct EmbeddedOnly;

impl Adapters for EmbeddedOnly {}

/// What services keep their things in.
#[derive(Clone)]
pub struct Engines {
    pub bus: Arc<dyn Bus>,
    pub databases: Databases,
    pub cache: Arc<dyn Cache>,
    pub objects: Arc<dyn Objects>,
}

impl Engines {
    /// A cache in this process and a folder of objects in the data directory, where nothing else is configured.
    pub async fn open(
        config: &Config,
        ids: &IdSource,
        bus: Arc<dyn Bus>,
        adapters: Arc<dyn Adapters>,
    ) -> Result<Self, StartError> {
        let engines = &config.engines;
        let embedded = Self::embedded(config, ids, bus, Databases::of(config, adapters.clone()));
        Ok(Self {
            cache: match engines.cache.as_str() {
                "embedded" => embedded.cache,
                url => adapters.cache(url).await?,
            },
            objects: match engines.objects.as_str() {
                "folder" => embedded.objects,
                url => adapters.objects(url).await?,
            },
            ..embedded
        })
    }

    /// All that needs no server but the databases and the bus, which are given.
    pub fn embedded(config: &Config, ids: &IdSource, bus: Arc<dyn Bus>, databases: Databases) -> Self {
        let objects = Folder::new(config.data.join("objects"), ids.clone());
        Self { bus, databases, cache: Arc::new(Memory::default()), objects: Arc::new(objects) }
    }
}
