//! The platform as processes on one machine: each service, and the entrance in front of them, in processes of their own
//! under one supervisor.
//!
//! The supervisor is this process. It migrates the databases, starts the others, starts again who dies, stops them in
//! order, and answers the operator: it opens the same engines and turns nothing.
//!
//! Invariants:
//! - no process outlives the supervisor, however that ends: each watches a line to it;
//! - secrets, pictures and mail on disk are the same for all processes;
//! - the API has one address, held here, whoever accepts from it.

mod entrance;
mod fleet;
pub mod line;
mod metrics;
mod replica;
mod shareable;
#[cfg(test)]
mod tests;

pub use fleet::{Fleet, ProcessView};

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use host::{Attention, Config, StartError};
use kernel::Error;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;
use web::{Server, ServerConfig};

use crate::data_dir::DataDir;
use crate::serve::{Built, bind, build};
use crate::{admin, all};
use entrance::Entrance;
use fleet::Plan;

const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How long the operator's port may take to finish what it was asked.
const OPERATOR_DRAIN: Duration = Duration::from_secs(2);

/// Reads the configuration again.
pub type Reread = Box<dyn Fn() -> Result<Config, StartError> + Send + Sync>;

/// What is to run.
pub struct Options {
    pub config: Config,
    /// The operator's own configuration file, and what stood there when `config` was read.
    pub file: Option<PathBuf>,
    pub text: Option<String>,
    pub reread: Reread,
    pub replicas: u32,
}

fn listen(kind: SignalKind) -> Result<Signal, StartError> {
    signal(kind).map_err(|error| StartError::Other(Error::internal(error)))
}

/// What ends it.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn listen() -> Result<Self, StartError> {
        Ok(Self { terminate: listen(SignalKind::terminate())?, interrupt: listen(SignalKind::interrupt())? })
    }

    async fn stop(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// Runs until it is told to stop.
pub async fn run(options: Options) -> Result<(), StartError> {
    let mut signals = Signals::listen()?;
    let hangup = listen(SignalKind::hangup())?;
    let Options { config, file, text, reread, replicas } = options;
    shareable::check(&config, replicas)?;
    let data_dir = DataDir::open(&config.data)?;
    let (listener, api) = bind(config.server.api_bind).await?;
    let (admin_listener, admin) = bind(config.server.admin_bind).await?;
    let internal = |error: std::io::Error| StartError::Other(Error::internal(error));
    let entrance = listener.into_std().and_then(Entrance::new).map_err(internal)?;

    // Opened first and by one process: schemas are migrated once, secrets and the first accounts are made once.
    let built = tokio::select! {
        built = build(config.clone(), all()) => built?,
        () = signals.stop() => {
            tracing::info!("stopped while starting");
            return Ok(());
        }
    };
    let Built { context, services, log, .. } = built;
    context.reload.require(move |next| shareable::check(next, replicas));
    let program = std::env::current_exe().map_err(internal)?;
    let plan = Plan { config: &config, text: text.as_deref().unwrap_or_default(), replicas, program };
    let fleet = Fleet::prepare(&plan, entrance)?;
    let started_at = context.clock.now();
    let ready = Arc::new(AtomicBool::new(false));
    let router =
        admin::router(&context, &services, log, api, started_at, ready.clone(), Some(fleet.clone()))?;
    let stop = CancellationToken::new();
    let server_config = ServerConfig { drain_timeout: OPERATOR_DRAIN, ..ServerConfig::default() };
    tokio::spawn(context.reload.clone().watch(stop.clone()));
    tokio::spawn(fleet.clone().record(context.clone(), stop.clone()));
    let operators = tokio::spawn(Server::new(admin_listener, router, server_config).run(stop.clone()));

    let started = tokio::select! {
        started = fleet.start() => started,
        () = signals.stop() => {
            tracing::info!("stopped while starting");
            end(&fleet, &mut signals).await;
            return Ok(());
        }
    };
    if let Err(error) = started {
        end(&fleet, &mut signals).await;
        return Err(error);
    }
    ready.store(true, Ordering::Release);
    data_dir.announce(api, admin, started_at)?;
    tracing::info!(%api, %admin, replicas, processes = fleet.replicas().count(), "serving");

    let followed = Followed { text, candidate: None, file, reread, replicas };
    tokio::spawn(follow(followed, fleet.clone(), hangup, context.stopping.clone()));
    signals.stop().await;
    ready.store(false, Ordering::Release);
    context.stopping.cancel();
    tracing::info!("stopping");
    data_dir.withdraw();
    end(&fleet, &mut signals).await;
    stop.cancel();
    // A server that panicked has nothing to drain.
    let _ = operators.await;
    tracing::info!("stopped");
    Ok(())
}

/// Hands on what changes in the operator's file, looked at once a second and at SIGHUP, until `stop`.
async fn follow(followed: Followed, fleet: Arc<Fleet>, mut hangup: Signal, stop: CancellationToken) {
    let followed = Arc::new(Mutex::new(followed));
    loop {
        let attention = tokio::select! {
            () = stop.cancelled() => return,
            _ = hangup.recv() => Attention::Asked,
            () = tokio::time::sleep(LOOK_EVERY) => Attention::Routine,
        };
        let (looked, told) = (followed.clone(), fleet.clone());
        let looking = tokio::task::spawn_blocking(move || {
            looked.lock().unwrap_or_else(PoisonError::into_inner).hand_on(attention, &told);
        });
        // A mount that hangs holds up nobody but this.
        let looked = tokio::select! {
            () = stop.cancelled() => return,
            looked = looking => looked,
        };
        if let Err(error) = looked {
            tracing::error!(%error, "looking at the configuration failed");
        }
        if attention == Attention::Asked {
            fleet.reload();
        }
    }
}

/// Drains all of it; a second signal ends the drains.
async fn end(fleet: &Fleet, signals: &mut Signals) {
    let stopping = fleet.stop();
    tokio::pin!(stopping);
    tokio::select! {
        () = &mut stopping => return,
        () = signals.stop() => {
            tracing::warn!("killed without draining; what was answered is on disk");
            fleet.kill();
        }
    }
    stopping.await;
}

/// What the operator's file holds now.
pub fn read(file: Option<&Path>) -> Option<String> {
    std::fs::read_to_string(file?).ok()
}

/// The operator's file, as the processes know it.
struct Followed {
    text: Option<String>,
    /// Seen once: somebody may still be writing it.
    candidate: Option<Option<String>>,
    file: Option<PathBuf>,
    reread: Reread,
    replicas: u32,
}

impl Followed {
    /// Gives the processes what has changed.
    fn hand_on(&mut self, attention: Attention, fleet: &Fleet) {
        let read = self.look(attention);
        let told = self.text.as_deref().unwrap_or_default();
        match read.map(|read| read.and_then(|config| fleet.follow(&config, told))) {
            Some(Ok(())) => tracing::info!("the processes are given the configuration again"),
            Some(Err(error)) => tracing::error!(%error, "the configuration stays as it was"),
            None => {}
        }
    }

    /// What has changed, to be handed on. A configuration that cannot be read, or that processes cannot share, is refused
    /// once, and nothing of it is handed on.
    fn look(&mut self, attention: Attention) -> Option<Result<Config, StartError>> {
        let text = read(self.file.as_deref());
        if text == self.text {
            self.candidate = None;
            return None;
        }
        if attention == Attention::Routine && self.candidate.as_ref() != Some(&text) {
            self.candidate = Some(text);
            return None;
        }
        (self.text, self.candidate) = (text, None);
        let config = (self.reread)();
        Some(config.and_then(|config| shareable::check(&config, self.replicas).map(|()| config)))
    }
}
