//! Starting everything, serving, and stopping in the order that loses nothing.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::http::Method;
use bus::{Bus, EmbeddedLog};
use db::Db;
use gateway::Upstream;
use host::{Adapters, Config, Context, Databases, Engines, Pumps, Secrets, Service, StartError};
use kernel::{Clock, IdSource, SystemClock};
use tokio::net::{TcpListener, TcpSocket};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use web::{Client, Problem, RemoteAuth, RemoteConfig, Server, ServerConfig};

use crate::adapters::Linked;
use crate::data_dir::DataDir;
use crate::faults::{self, Steps};
use crate::targets::Selection;
use crate::traces::{self, Traces};
use crate::{Target, admin, all};

/// Connections that wait for the process to take them.
const BACKLOG: u32 = 1_024;

/// What is to run.
pub struct Options {
    pub config: Config,
    pub selection: Selection,
    /// The API's listener, where it is not this process's own.
    pub listener: Option<std::net::TcpListener>,
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
    /// Cancelled once requests are served.
    pub up: CancellationToken,
    ready: Arc<AtomicBool>,
    data_dir: DataDir,
    pumps: Pumps,
    stop: CancellationToken,
    servers: Vec<JoinHandle<()>>,
    traces: Traces,
}

pub async fn bind(address: SocketAddr) -> Result<(TcpListener, SocketAddr), StartError> {
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
    /// The log's own database, where the log is in this process.
    pub log: Option<Db>,
    /// Where this process was told to die at one.
    pub steps: Option<Arc<Steps>>,
}

/// Opens the bus and the databases, which migrates them, and builds the services.
pub async fn build(config: Config, targets: &[Target]) -> Result<Built, StartError> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let ids = IdSource::new(clock.clone(), random_seed()?);
    let adapters: Arc<dyn Adapters> = Arc::new(Linked::new(&config, targets)?);
    let steps = Steps::of(&config)?;
    let adapters = steps.iter().fold(adapters, |adapters, steps| faults::around(steps, adapters));
    let (bus, log) = bus(&config, clock.clone(), &adapters).await?;
    let bus = steps.iter().fold(bus, |bus, steps| faults::around_bus(steps, bus));
    let secrets = Secrets::of(&config);
    let engines = Engines::open(&config, &ids, bus, adapters).await?;
    let context = Context::new(config, clock.clone(), ids, engines, secrets)?;
    let edge = context.edge.clone();
    let trust = move |tokens: &[String]| edge.trust_service_tokens(tokens).map_err(|error| error.chain());
    context.secrets.watch("service_token", trust)?;

    let mut services: Vec<Service> = Vec::with_capacity(targets.len());
    for target in targets {
        services.push((target.build)(&context).await?);
        tracing::info!(service = target.name, "service is ready");
    }
    Ok(Built { context, services, log, steps })
}

async fn bus(
    config: &Config,
    clock: Arc<dyn Clock>,
    adapters: &Arc<dyn Adapters>,
) -> Result<(Arc<dyn Bus>, Option<Db>), StartError> {
    if !config.engines.has_embedded_bus() {
        return Ok((adapters.bus(&config.engines.bus).await?, None));
    }
    let db = Databases::of(config, adapters.clone()).open_local("log")?;
    let log = EmbeddedLog::open(db, clock)
        .await
        .map_err(|source| StartError::Database { name: "log".to_owned(), source })?;
    let db = log.db().clone();
    Ok((Arc::new(log), Some(db)))
}

/// The API's port: taken from the start, listened on only when requests can be served, so that whoever has other
/// replicas to ask is turned away at once.
enum Door {
    Bound(TcpSocket),
    Open(TcpListener),
}

impl Door {
    fn bind(address: SocketAddr, inherited: Option<std::net::TcpListener>) -> std::io::Result<Self> {
        if let Some(listener) = inherited {
            listener.set_nonblocking(true)?;
            return Ok(Door::Open(TcpListener::from_std(listener)?));
        }
        let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        Ok(Door::Bound(socket))
    }

    fn address(&self) -> std::io::Result<SocketAddr> {
        match self {
            Door::Bound(socket) => socket.local_addr(),
            Door::Open(listener) => listener.local_addr(),
        }
    }

    fn open(self) -> std::io::Result<TcpListener> {
        match self {
            Door::Bound(socket) => socket.listen(BACKLOG),
            Door::Open(listener) => Ok(listener),
        }
    }
}

/// Without the keys every caller would be refused: the door stays closed before they are there. False: it was stopped.
async fn have_keys(users: &RemoteAuth, stop: &CancellationToken) -> bool {
    while users.refresh().await.is_err() {
        tokio::select! {
            () = tokio::time::sleep(Duration::from_millis(200)) => {}
            () = stop.cancelled() => return false,
        }
    }
    true
}

/// The services that the configuration says are elsewhere, but for those that run here.
fn elsewhere(config: &Config, here: &[Target]) -> Result<Vec<Upstream>, StartError> {
    let mut upstreams = Vec::new();
    for (name, replicas) in &config.upstreams {
        let target = all().iter().find(|target| target.name == name);
        let target = target.ok_or_else(|| {
            StartError::Config(format!(
                "upstreams.{name}: no service is called that (`rtcd services` lists them)"
            ))
        })?;
        if here.iter().any(|one| one.name == target.name) {
            continue;
        }
        let client = Client::remote(target.name, replicas, RemoteConfig::default())
            .map_err(|error| StartError::Config(format!("upstreams.{name}: {error}")))?;
        upstreams.push(Upstream { name: target.name, routes: (target.routes)(config)?, client });
    }
    Ok(upstreams)
}

/// What leads from the API's port to the handlers.
fn entrance(context: &Context, services: Vec<Service>, elsewhere: Vec<Upstream>, entry: bool) -> Router {
    if entry {
        return gateway::router(context, upstreams(services).into_iter().chain(elsewhere).collect());
    }
    let inner = services.into_iter().fold(Router::new(), |router, service| router.merge(service.router));
    let metrics = context.edge.metrics.clone();
    inner.fallback(async move |method: Method| {
        metrics.unmatched(rtc_metrics::OTHER, &method, 404);
        Problem(kernel::Error::not_found("no_such_route", "there is nothing under this address"))
    })
}

/// Takes the data directory and the ports, builds the services and begins to serve.
pub async fn start(options: Options) -> Result<Running, StartError> {
    let Options { config, selection, listener } = options;
    let targets = selection.targets;
    check_sections(&config)?;
    let data_dir = DataDir::open(&config.data)?;
    let occupied = |address: SocketAddr| {
        move |error: std::io::Error| StartError::Bind {
            address: address.to_string(),
            reason: error.to_string(),
        }
    };
    let wanted = config.server.api_bind;
    let door = Door::bind(wanted, listener).map_err(occupied(wanted))?;
    let api = door.address().map_err(occupied(wanted))?;
    let (admin_listener, admin) = bind(config.server.admin_bind).await?;

    let names: Vec<&str> = targets.iter().map(|target| target.name).collect();
    let elsewhere = elsewhere(&config, &targets)?;
    let Built { context, services, log, steps } = build(config, &targets).await?;
    let users = elsewhere.iter().find(|upstream| upstream.name == "users");
    let remote_auth = users.map(|users| {
        RemoteAuth::new(users.client.clone(), context.edge.clone(), context.revocations.clone())
    });
    let running = if names.len() == all().len() { "all".to_owned() } else { names.join("-") };
    let traces = traces::begin(&context, if running.is_empty() { crate::GATEWAY } else { &running })?;
    let started_at = context.clock.now();
    let ready = Arc::new(AtomicBool::new(false));
    if let Some(steps) = steps {
        steps.follow(ready.clone());
    }
    let is_ready = ready.clone();
    context.read_gauge(&rtc_metrics::READY, move || f64::from(is_ready.load(Ordering::Acquire)));
    let admin_router = admin::router(&context, &services, log, api, started_at, ready.clone(), None)?;
    let pumps = services.iter().flat_map(|service| service.pumps.clone());
    let own = [admin::log_sweep(&context)].into_iter().chain(remote_auth.clone().map(RemoteAuth::pump));
    let pumps = Pumps::start(pumps.chain(own).collect::<Vec<_>>());
    let router = entrance(&context, services, elsewhere, selection.entry);

    let stop = CancellationToken::new();
    if let Err(error) = context.edge.admission().hire(None) {
        tracing::warn!(%error, "no threads for work under overload: whoever is refused waits behind it");
    }
    tokio::spawn(context.edge.admission().clone().run(stop.clone()));
    tokio::spawn(context.reload.clone().watch(stop.clone()));
    tokio::spawn(host::observe::follow(context.clone(), stop.clone()));
    let server_config = ServerConfig {
        drain_timeout: Duration::from_millis(context.config.server.drain_timeout_ms),
        keep_alive: Duration::from_millis(context.config.server.keep_alive_ms),
        ..ServerConfig::default()
    };
    let up = CancellationToken::new();
    let admin_server = Server::new(admin_listener, admin_router.clone(), server_config);
    let mut servers = vec![tokio::spawn(admin_server.run(stop.clone()))];
    let entering = Entering {
        router: router.clone(),
        server_config,
        notice: context.stopping.clone(),
        stop: stop.clone(),
        ready: ready.clone(),
        up: up.clone(),
    };
    match remote_auth {
        None => {
            let listener = door.open().map_err(occupied(api))?;
            entering.say_ready();
            servers.push(tokio::spawn(entering.serve(listener)));
        }
        Some(users) => servers.push(tokio::spawn(async move {
            if !have_keys(&users, &entering.stop).await {
                return;
            }
            match door.open() {
                Ok(listener) => {
                    entering.say_ready();
                    entering.serve(listener).await;
                }
                Err(error) => tracing::error!(%api, %error, "the API's port cannot be listened on"),
            }
        })),
    }
    data_dir.announce(api, admin, started_at)?;
    tracing::info!(%api, %admin, services = targets.len(), "serving");
    Ok(Running {
        api,
        admin,
        context,
        router,
        admin_router,
        up,
        ready,
        data_dir,
        pumps,
        stop,
        servers,
        traces,
    })
}

/// What is needed to serve the API once its port is open.
struct Entering {
    router: Router,
    server_config: ServerConfig,
    notice: CancellationToken,
    stop: CancellationToken,
    ready: Arc<AtomicBool>,
    up: CancellationToken,
}

impl Entering {
    fn say_ready(&self) {
        // Whoever is stopping already is not ready for anything new.
        if !self.notice.is_cancelled() {
            self.ready.store(true, Ordering::Release);
        }
        self.up.cancel();
        tracing::info!("ready");
    }

    async fn serve(self, listener: TcpListener) {
        Server::new(listener, self.router, self.server_config).with_notice(self.notice).run(self.stop).await;
    }
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
        self.traces.close().await;
        tracing::info!("stopped");
    }
}
