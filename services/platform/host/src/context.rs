//! What every service is given. Cheap to clone.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bus::Bus;
use cache::Cache;
use kernel::{Clock, IdSource};
use objects::Objects;
use prometheus_client::registry::Registry;
use tokio_util::sync::CancellationToken;
use web::{Edge, EdgeConfig, HttpMetrics, Limits, Pages, Revocations, TokenVerifier};

use crate::{Config, Databases, Engines, Profile, Secrets, StartError, Vault};

#[derive(Clone)]
pub struct Context {
    /// The name of this process among those that share its engines: leases are held in it.
    pub instance: Arc<str>,
    pub clock: Arc<dyn Clock>,
    pub ids: IdSource,
    pub config: Config,
    pub bus: Arc<dyn Bus>,
    pub databases: Databases,
    pub cache: Arc<dyn Cache>,
    pub objects: Arc<dyn Objects>,
    pub secrets: Secrets,
    pub vault: Vault,
    pub edge: Arc<Edge>,
    pub verifier: Arc<TokenVerifier>,
    pub revocations: Arc<Revocations>,
    /// Cancelled as the process begins to stop: an answer without an end of its own ends then, or it would hold up
    /// the drain.
    pub stopping: CancellationToken,
    metrics: Arc<Mutex<Registry>>,
}

impl Context {
    pub fn new(
        config: Config,
        clock: Arc<dyn Clock>,
        ids: IdSource,
        engines: Engines,
        secrets: Secrets,
    ) -> Result<Self, StartError> {
        let mut registry = Registry::default();
        let revocations = Arc::new(Revocations::default());
        let verifier = Arc::new(TokenVerifier::new(clock.clone(), revocations.clone()));
        let edge_config = EdgeConfig {
            request_timeout: Duration::from_millis(config.server.request_timeout_ms),
            concurrency_max: config.server.concurrency_max,
            trusted_proxies: config.server.trusted_proxies.clone(),
        };
        let limits: HashMap<String, u32> = config.limits.clone();
        let edge = Edge::new(
            verifier.clone(),
            Limits::new(clock.clone(), limits).sharing(engines.cache.clone()),
            HttpMetrics::register(&mut registry),
            Pages::new(secrets.get("cursor_key")?.as_bytes()),
            clock.clone(),
            ids.clone(),
            edge_config,
        );
        let Engines { bus, databases, cache, objects } = engines;
        let vault = Vault::new(&secrets.get("vault_key")?)?;
        Ok(Self {
            instance: ids.uuid().to_string().into(),
            clock,
            ids,
            config,
            bus,
            databases,
            cache,
            objects,
            secrets,
            vault,
            edge: Arc::new(edge),
            verifier,
            revocations,
            stopping: CancellationToken::new(),
            metrics: Arc::new(Mutex::new(registry)),
        })
    }

    pub fn is_embedded(&self) -> bool {
        self.config.profile == Profile::Embedded
    }

    /// Registers metrics. Names are `rtc_<service>_<thing>_<unit>`.
    pub fn with_metrics<T>(&self, register: impl FnOnce(&mut Registry) -> T) -> T {
        register(&mut self.metrics.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// All metrics in Prometheus' text form.
    pub fn encode_metrics(&self) -> String {
        web::encode(&self.metrics.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
