//! What every service is given. Cheap to clone.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bus::Bus;
use cache::Cache;
use kernel::{Clock, IdSource};
use objects::Objects;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use tokio_util::sync::CancellationToken;
use web::{Edge, HttpMetrics, Limits, Pages, Revocations, TokenVerifier};

use crate::history::History;
use crate::observe::{LagObserver, MeasuredBus, Measures, Observer, Observers, Process, Reading};
use crate::reload::edge_config;
use crate::{Config, Databases, Engines, Profile, Reload, Secrets, StartError, Vault};

/// How often it is looked whether groups have settled.
const SETTLE_LOOK: Duration = Duration::from_millis(50);

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
    /// What has changed of the configuration since the start. It changes nothing until it is [watched](Reload::watch).
    pub reload: Arc<Reload>,
    metrics: Arc<Mutex<Registry>>,
    history: Arc<History>,
    observers: Observers,
    pub(crate) measures: Measures,
    /// The consumer groups of this process with their topics.
    pub(crate) groups: Arc<Mutex<BTreeSet<(String, &'static str)>>>,
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
        let measures = Measures::register(&mut registry);
        engines.cache.metrics().register(&mut registry);
        tell_build(&mut registry, config.profile);
        let revocations = Arc::new(Revocations::default());
        let verifier = Arc::new(TokenVerifier::new(clock.clone(), revocations.clone()));
        let edge = Edge::new(
            verifier.clone(),
            Limits::new(clock.clone(), config.limits.clone()).sharing(engines.cache.clone()),
            HttpMetrics::register(&mut registry),
            open_pages(&secrets)?,
            clock.clone(),
            ids.clone(),
            edge_config(&config),
        );
        let edge = Arc::new(edge);
        registry.register_collector(Box::new(Process::new(edge.admission().clone())));
        let Engines { bus, databases, cache, objects } = engines;
        let bus: Arc<dyn Bus> = Arc::new(MeasuredBus::new(bus, measures.clone()));
        let (observers, groups) = (Observers::new(&measures), Arc::default());
        let lag = LagObserver { bus: bus.clone(), measures: measures.clone(), groups: Arc::clone(&groups) };
        observers.add(Arc::new(lag));
        let vault = open_vault(&secrets)?;
        let reload = Reload::new(config.clone(), edge.clone(), secrets.clone(), clock.clone());
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
            edge,
            verifier,
            revocations,
            stopping: CancellationToken::new(),
            reload: Arc::new(reload),
            metrics: Arc::new(Mutex::new(registry)),
            history: Arc::default(),
            observers,
            measures,
            groups,
        })
    }

    pub fn is_embedded(&self) -> bool {
        self.config.profile == Profile::Embedded
    }

    /// Waits until the consumer groups of this process have settled, at most for so long. Whoever restarts processes one after
    /// the other goes on then: who leaves a group while it is being divided makes its messages rest.
    pub async fn groups_settle(&self, at_most: Duration) {
        let names = self.groups.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let names: BTreeSet<String> = names.into_iter().map(|(group, _)| group).collect();
        let settled = async {
            while !self.bus.has_settled(&names) {
                tokio::time::sleep(SETTLE_LOOK).await;
            }
        };
        if tokio::time::timeout(at_most, settled).await.is_err() {
            tracing::warn!(?at_most, "the consumer groups have not settled: nobody waits any longer");
        }
    }

    /// Registers metrics, by the names of the catalogue (`rtc-metrics`).
    pub fn with_metrics<T>(&self, register: impl FnOnce(&mut Registry) -> T) -> T {
        register(&mut self.metrics.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// A gauge of the catalogue that is read when somebody asks.
    pub fn read_gauge(
        &self,
        of: &'static rtc_metrics::Metric,
        read: impl Fn() -> f64 + Send + Sync + 'static,
    ) {
        self.with_metrics(|registry| registry.register_collector(Box::new(Reading::new(of, read))));
    }

    /// Has `observer` look from time to time.
    pub fn observe(&self, observer: Arc<dyn Observer>) {
        self.observers.add(observer);
    }

    /// Has every observer look now.
    pub async fn look(&self) {
        self.observers.look().await;
    }

    /// Adds a page of metrics to the short history.
    pub fn record(&self, page: &str) {
        self.measures.recorded(self.history.record(self.clock.now(), page));
    }

    pub fn history(&self) -> &History {
        &self.history
    }

    /// All metrics as a page of OpenMetrics.
    pub fn encode_metrics(&self) -> String {
        web::encode(&self.metrics.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn tell_build(registry: &mut Registry, profile: Profile) {
    let of = &rtc_metrics::BUILD_INFO;
    let build: Family<Vec<(&str, &str)>, Gauge> = Family::default();
    let profile = match profile {
        Profile::Embedded => "embedded",
        Profile::Production => "production",
    };
    build.get_or_create(&vec![("version", env!("CARGO_PKG_VERSION")), ("profile", profile)]).set(1);
    registry.register(of.family(), of.help, build);
}

fn open_pages(secrets: &Secrets) -> Result<Pages, StartError> {
    let pages = Pages::new(secrets.get("cursor_key")?.as_bytes());
    let handle = pages.clone();
    secrets.watch("cursor_key", move |keys| {
        handle.rotate(keys);
        Ok(())
    })?;
    Ok(pages)
}

/// Indexes are made with a key of their own, which is `vault_key` itself for as long as that has never been rotated.
fn open_vault(secrets: &Secrets) -> Result<Vault, StartError> {
    const INDEX: &str = "vault_index_key";
    let missing = "it has to be there before vault_key is rotated: it is vault_key as it was until then";
    let keys = secrets.all("vault_key")?;
    let own = secrets.find(INDEX)?;
    let is_own = own.is_some();
    let index = match own {
        Some(index) => index,
        None if keys.len() == 1 => keys[0].clone(),
        None => return Err(StartError::Secret { name: INDEX.to_owned(), reason: missing.to_owned() }),
    };
    let vault = Vault::with_keys(&keys, &index)?;
    let handle = vault.clone();
    let again = secrets.detached();
    secrets.follow("vault_key", &keys, move |keys| {
        if !is_own && keys.len() > 1 && again.find(INDEX).ok().flatten().is_none() {
            return Err(format!("{INDEX}: {missing}"));
        }
        handle.rotate(keys).map_err(|error| error.to_string())
    });
    Ok(vault)
}
