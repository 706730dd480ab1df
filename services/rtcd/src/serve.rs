//! Starting everything, serving, and stopping in the order that loses nothing.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use bus::EmbeddedLog;
use db::Db;
use gateway::Upstream;
use host::{Adapters, Config, Context, Databases, EmbeddedOnly, Engines, Pumps, Secrets, Service, StartError};
use kernel::{Clock, IdSource, SystemClock};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use web::{Client, Server, ServerConfig};

use crate::data_dir::DataDir;
use crate::{Target, admin};

/// What is to run.
pub struct Options {
    pub config: Config,
    pub targets: Vec<Target>,
}

/// A running rtcd. Dropping it without [`Running::stop`] is a crash.
pub struct Running {
    pub api: SocketAddr,
    pub admin: SocketAddr,
    pub context: Context,
    /// The router behind the API's port: for tests that need no socket.
    pub router: Router,
    /// The router behind the operator's port.
    pub admin_router: Router,
    ready: Arc<AtomicBool>,
    data_dir: DataDir,
    pumps: Pumps,
    stop: CancellationToken,
    servers: Vec<JoinHandle<()>>,
}

async fn bind(address: SocketAddr) -> Result<(TcpListener, SocketAddr), StartError> {
    let failed =
        |error: std::io::Error| StartError::Bind { address: address.to_string(), reason: error.to_string() };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    Ok((listener, bound))
}

fn random_seed() -> Result<u64, StartError> {
    let mut bytes = [0; 8];
    let filled = aws_lc_rs::rand::fill(&mut bytes);
    filled.map_err(|error| StartError::Other(kernel::Error::internal(error)))?;
    Ok(u64::from_le_bytes(bytes))
}

/// Services that do not run yet.
pub struct Built {
    pub context: Context,
    pub services: Vec<Service>,
    log_db: Db,
}

/// Opens the log and the databases, which migrates them, and builds the services.
pub async fn build(config: Config, targets: &[Target]) -> Result<Built, StartError> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let ids = IdSource::new(clock.clone(), random_seed()?);
    let adapters: Arc<dyn Adapters> = Arc::new(EmbeddedOnly);
    let databases = Databases::of(&config, adapters.clone());
    let log = EmbeddedLog::open(databases.open("log").await?, clock.clone())
        .await
        .map_err(|source| StartError::Database { name: "log".to_owned(), source })?;
    let log_db = log.db().clone();
    let secrets = Secrets::new(Some(config.data.join("secrets")), config.profile);
    let engines = Engines::open(&config, &ids, Arc::new(log), adapters).await?;
    let context = Context::new(config, clock.clone(), ids, engines, secrets)?;

    let mut services: Vec<Service> = Vec::with_capacity(targets.len());
    for target in targets {
        services.push((target.build)(&context).await?);
        tracing::info!(service = target.name, "service is ready");
    }
    Ok(Built { context, services, log_db })
}

/// Takes the data directory and the ports, builds the services and begins to serve.
pub async fn start(options: Options) -> Result<Running, StartError> {
    let Options { config, targets } = options;
    check_sections(&config)?;
    let data_dir = DataDir::open(&config.data)?;
    let (api_listener, api) = bind(config.server.api_bind).await?;
    let (admin_listener, admin) = bind(config.server.admin_bind).await?;

    let Built { context, services, log_db } = build(config, &targets).await?;
    let started_at = context.clock.now();
    let ready = Arc::new(AtomicBool::new(false));
    let admin_router = admin::router(&context, &services, log_db, api, started_at, ready.clone())?;
    let pumps = services.iter().flat_map(|service| service.pumps.clone());
    let pumps = Pumps::start(pumps.chain([admin::log_sweep(&context)]).collect::<Vec<_>>());
    let router = gateway::router(&context, upstreams(services));

    let stop = CancellationToken::new();
    let server_config = ServerConfig {
        drain_timeout: Duration::from_millis(context.config.server.drain_timeout_ms),
        ..ServerConfig::default()
    };
    let serve = |listener: TcpListener, router: Router| {
        tokio::spawn(Server::new(listener, router, server_config).run(stop.clone()))
    };
    let servers = vec![serve(api_listener, router.clone()), serve(admin_listener, admin_router.clone())];
    ready.store(true, Ordering::Release);
    data_dir.announce(api, admin, started_at)?;
    tracing::info!(%api, %admin, services = targets.len(), "serving");
    Ok(Running { api, admin, context, router, admin_router, ready, data_dir, pumps, stop, servers })
}

pub fn upstreams(services: Vec<Service>) -> Vec<Upstream> {
    let upstream = |service: Service| Upstream {
        name: service.name,
        routes: service.routes,
        client: Client::local(service.router),
    };
    services.into_iter().map(upstream).collect()
}

/// A section that no service answers to is a mistype.
fn check_sections(config: &Config) -> Result<(), StartError> {
    let known: Vec<&str> = crate::all().iter().map(|target| target.name).chain(["gateway"]).collect();
    match config.configured_services().into_iter().find(|name| !known.contains(&name.as_str())) {
        None => Ok(()),
        Some(name) => Err(StartError::Config(format!(
            "services.{name}: no service is called that; there are {}",
            known.join(", ")
        ))),
    }
}

impl Running {
    /// Drains: not ready, endless streams ended, a notice to the load balancer, no new connections, requests finished, pumps finished.
    pub async fn stop(self) {
        let server = &self.context.config.server;
        self.ready.store(false, Ordering::Release);
        self.context.stopping.cancel();
        tracing::info!("stopping");
        tokio::time::sleep(Duration::from_millis(server.drain_notice_ms)).await;
        self.data_dir.withdraw();
        self.stop.cancel();
        for server in self.servers {
            // A server that panicked has nothing to drain.
            let _ = server.await;
        }
        self.pumps.stop(Duration::from_millis(server.drain_timeout_ms)).await;
        tracing::info!("stopped");
    }
}
