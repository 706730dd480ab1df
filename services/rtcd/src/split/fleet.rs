//! All processes of the platform on this machine.
//!
//! Invariants: the services are ready before anything is let in, and are stopped after the entrance has drained; one
//! process at a time is restarted; all run with the settings that the supervisor started with, but for those that take effect
//! while they run.

use std::collections::HashSet;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::{Request, header};
use futures_util::future::{join_all, try_join_all};
use host::{Config, Context, Ended, StartError};
use kernel::Error;
use serde::Serialize;
use tokio::net::TcpSocket;
use tokio::sync::Mutex;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use web::{Client, Deadline, Format, RemoteConfig};

use super::entrance::Entrance;
use super::metrics::{self, Page};
use super::replica::{Death, Launch, Patience, Replica, Restarted, Seen, State, Stops};
use super::shareable;
use crate::admin::resident_bytes;
use crate::{GATEWAY, all};

const READY_WITHIN: Duration = Duration::from_secs(90);
/// What a drain takes beyond the times that are configured.
const DRAIN_MARGIN: Duration = Duration::from_secs(5);
const METRICS_WITHIN: Duration = Duration::from_secs(2);
const METRICS_MAX: usize = 16 * 1024 * 1024;
/// What `rtcd` ends with where somebody else has what it needs for a moment: the directory, a port, a database.
const HELD: [&str; 3] = ["RTD004", "RTD005", "RTD007"];

/// What is to run.
pub struct Plan<'a> {
    pub config: &'a Config,
    /// The operator's own configuration file, as it was read when the supervisor started.
    pub text: &'a str,
    pub replicas: u32,
    pub program: PathBuf,
}

/// One process as the operator sees it.
#[derive(Debug, Serialize)]
pub struct ProcessView {
    pub service: &'static str,
    pub replica: u32,
    pub pid: Option<u32>,
    pub state: State,
    pub api_url: String,
    pub admin_url: String,
    pub restarts: u32,
    pub resident_bytes: u64,
    pub log: PathBuf,
}

pub struct Fleet {
    services: Vec<Arc<Replica>>,
    gateways: Vec<Arc<Replica>>,
    entrance: Arc<Entrance>,
    /// What every process begins with, also one that is started again later.
    started: toml::Table,
    generated: PathBuf,
    generated_entrance: PathBuf,
    upstreams: Vec<(String, Vec<String>)>,
    service_stops: Stops,
    gateway_stops: Stops,
    tenders: TaskTracker,
    rolling: Mutex<()>,
}

/// A port that stays ours while nobody listens on it: the kernel gives it to nobody else, and who may use it can bind it.
fn claim_port() -> io::Result<(TcpSocket, SocketAddr)> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
    let address = socket.local_addr()?;
    Ok((socket, address))
}

fn make_directory(path: &Path) -> io::Result<()> {
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// What every process has in common with the supervisor: each finds it in its own data directory.
fn share(data: &Path, directory: &Path) -> io::Result<()> {
    for name in ["secrets", "objects", "mail"] {
        make_directory(&data.join(name))?;
        let link = directory.join(name);
        match std::os::unix::fs::symlink(Path::new("../..").join(name), &link) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && link.is_symlink() => {}
            made => made?,
        }
    }
    Ok(())
}

impl Fleet {
    /// Makes the directories, the configuration and the ports; nothing is started.
    pub fn prepare(plan: &Plan<'_>, entrance: Entrance) -> Result<Arc<Self>, StartError> {
        let data = &plan.config.data;
        let root = data.join("split");
        let failed = |error: io::Error| StartError::DataDir { path: root.clone(), reason: error.to_string() };
        make_directory(&root).map_err(failed)?;
        let server = &plan.config.server;
        let drain = Duration::from_millis(server.drain_notice_ms.max(shareable::ENTRANCE_NOTICE_MS))
            // Requests first, then what goes on beside them.
            + 2 * Duration::from_millis(server.drain_timeout_ms)
            + DRAIN_MARGIN;
        let patience = Patience { ready: READY_WITHIN, drain };
        let entrance = Arc::new(entrance);
        let generated = root.join("rtcd.toml");
        let generated_entrance = root.join("gateway.toml");
        let (mut services, mut gateways, mut upstreams) = (Vec::new(), Vec::new(), Vec::new());
        let names = all().iter().map(|target| target.name).chain([GATEWAY]);
        for service in names {
            let mut replicas = Vec::new();
            for number in 1..=plan.replicas {
                let directory = root.join(format!("{service}-{number}"));
                make_directory(&directory).and_then(|()| share(data, &directory)).map_err(failed)?;
                keep_last_log(&directory).map_err(failed)?;
                let bind = |error: io::Error| StartError::Bind {
                    address: "127.0.0.1:0".to_owned(),
                    reason: error.to_string(),
                };
                let (admin_port, admin) = claim_port().map_err(bind)?;
                let mut ports = vec![admin_port];
                let api = if service == GATEWAY {
                    entrance.address
                } else {
                    let (api_port, api) = claim_port().map_err(bind)?;
                    ports.push(api_port);
                    api
                };
                let configuration = if service == GATEWAY { &generated_entrance } else { &generated };
                let arguments = [
                    ("--only", service.to_owned()),
                    ("--data", directory.display().to_string()),
                    ("--config", configuration.display().to_string()),
                    ("--api-bind", api.to_string()),
                    ("--admin-bind", admin.to_string()),
                    ("--log-format", plan.config.log.format.clone()),
                ];
                let arguments = arguments.into_iter().flat_map(|(flag, value)| [flag.to_owned(), value]);
                let arguments = ["serve", "--supervised"].map(str::to_owned).into_iter().chain(arguments);
                let launch = Launch { program: plan.program.clone(), arguments: arguments.collect() };
                let shared = (service == GATEWAY).then(|| entrance.clone());
                let replica =
                    Replica::new(service, number, directory, (api, admin), launch, shared, patience, ports);
                replicas.push(Arc::new(replica));
            }
            if service == GATEWAY {
                gateways = replicas;
            } else {
                let urls = replicas.iter().map(|replica| format!("http://{}", replica.api)).collect();
                upstreams.push((service.to_owned(), urls));
                services.extend(replicas);
            }
        }
        let fleet = Self {
            services,
            gateways,
            entrance,
            started: shareable::settings(plan.text)?,
            generated,
            generated_entrance,
            upstreams,
            service_stops: Stops::default(),
            gateway_stops: Stops::default(),
            tenders: TaskTracker::new(),
            rolling: Mutex::new(()),
        };
        fleet.write_configuration(plan.config, &fleet.started)?;
        Ok(Arc::new(fleet))
    }

    fn write_configuration(&self, config: &Config, settings: &toml::Table) -> Result<(), StartError> {
        let count = self.services.len() + self.gateways.len();
        let files = [
            (&self.generated, shareable::DRAIN_NOTICE_MS),
            (&self.generated_entrance, shareable::ENTRANCE_NOTICE_MS),
        ];
        for (path, notice_ms) in files {
            let text = shareable::configuration(config, settings.clone(), &self.upstreams, count, notice_ms)?;
            shareable::write_private(path, &text)
                .map_err(|error| StartError::DataDir { path: path.clone(), reason: error.to_string() })?;
        }
        Ok(())
    }

    /// Starts the services, then the entrance, and returns once all are ready. The first that dies before is the error, at
    /// once.
    pub async fn start(&self) -> Result<(), StartError> {
        for (replicas, stops) in
            [(&self.services, &self.service_stops), (&self.gateways, &self.gateway_stops)]
        {
            for replica in replicas {
                self.tenders.spawn(replica.clone().tend(stops.clone()));
            }
            try_join_all(replicas.iter().map(|replica| come_up(replica))).await?;
        }
        Ok(())
    }

    /// The entrance drains first, then the services.
    pub async fn stop(&self) {
        self.entrance.close();
        self.gateway_stops.stop.cancel();
        join_all(self.gateways.iter().map(|replica| stopped(replica))).await;
        self.service_stops.stop.cancel();
        self.tenders.close();
        self.tenders.wait().await;
    }

    /// Ends every drain.
    pub fn kill(&self) {
        self.gateway_stops.kill.cancel();
        self.service_stops.kill.cancel();
    }

    /// Hands every process what is new in the configuration and takes effect at once: each looks at its file by itself, once a
    /// second. The rest waits for the next start of the supervisor: a process that dies and is started again is like the others.
    pub fn follow(&self, config: &Config, text: &str) -> Result<(), StartError> {
        let settings = shareable::followed(&self.started, &shareable::settings(text)?, config);
        self.write_configuration(config, &settings)
    }

    /// Tells every process to look again, at its file and at its secrets.
    pub fn reload(&self) {
        self.replicas().for_each(|replica| replica.reload());
    }

    /// The services, then the gateways.
    pub fn replicas(&self) -> impl Iterator<Item = &Arc<Replica>> {
        self.services.iter().chain(&self.gateways)
    }

    /// Restarts processes one after the other, each once the one before is ready again.
    pub async fn restart(&self, service: Option<&str>, number: Option<u32>) -> Result<Vec<Restarted>, Error> {
        let wanted = |replica: &&Arc<Replica>| {
            service.is_none_or(|name| name == replica.service) && number.is_none_or(|n| n == replica.number)
        };
        let chosen: Vec<&Arc<Replica>> = self.replicas().filter(wanted).collect();
        if chosen.is_empty() {
            let known: HashSet<&str> = self.replicas().map(|replica| replica.service).collect();
            return Err(match service.filter(|name| !known.contains(name)) {
                Some(name) => Error::not_found("unknown_service", format!("no service is called {name:?}")),
                None => {
                    let text = format!("there are {} replicas of a service", self.gateways.len());
                    Error::not_found("unknown_replica", text)
                }
            });
        }
        let Ok(_turn) = self.rolling.try_lock() else {
            return Err(Error::conflict("restarting_already", "a restart is going on"));
        };
        let mut restarted = Vec::new();
        for replica in chosen {
            restarted.push(replica.replace().await?);
        }
        Ok(restarted)
    }

    pub fn processes(&self) -> Vec<ProcessView> {
        self.replicas()
            .map(|replica| {
                let seen = replica.seen();
                ProcessView {
                    service: replica.service,
                    replica: replica.number,
                    pid: seen.pid,
                    state: seen.state,
                    api_url: format!("http://{}", replica.api),
                    admin_url: format!("http://{}", replica.admin),
                    restarts: seen.starts.saturating_sub(1),
                    resident_bytes: seen.pid.map_or(0, |pid| resident_bytes(&pid.to_string())),
                    log: replica.log(),
                }
            })
            .collect()
    }

    /// How a service is, from how its processes are.
    pub fn state_of(&self, service: &str) -> &'static str {
        let of = self.replicas().filter(|replica| replica.service == service);
        word_for(&of.map(|replica| replica.seen().state).collect::<Vec<_>>())
    }

    /// Keeps the short history of what only the supervisor knows, until `stop`: each process keeps its own.
    pub async fn record(self: Arc<Self>, context: Context, stop: CancellationToken) {
        let mut ticks = tokio::time::interval(host::HISTORY_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        while stop.run_until_cancelled(ticks.tick()).await.is_some() {
            context.record(&metrics::own(&self.processes()));
        }
    }

    /// The metrics of every process on one page, and the supervisor's own.
    pub async fn metrics(&self) -> String {
        let pages = join_all(self.replicas().map(|replica| async {
            let text = fetch_metrics(replica).await;
            if let Err(error) = &text {
                tracing::debug!(process = replica.name(), error = %error.chain(), "no metrics");
            }
            Page { process: replica.service, replica: replica.number, text: text.unwrap_or_default() }
        }));
        metrics::merge(&pages.await, &self.processes())
    }
}

fn word_for(states: &[State]) -> &'static str {
    let ready = states.iter().filter(|state| **state == State::Ready).count();
    match states {
        _ if ready == states.len() => "ready",
        _ if ready > 0 => "degraded",
        _ if states.contains(&State::Starting) => "starting",
        _ if states.contains(&State::Draining) => "draining",
        _ => "down",
    }
}

/// The log of the run before is kept as `rtcd.log.1`.
fn keep_last_log(directory: &Path) -> io::Result<()> {
    let log = directory.join("rtcd.log");
    match std::fs::rename(&log, directory.join("rtcd.log.1")) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        renamed => renamed,
    }
}

async fn stopped(replica: &Replica) {
    let _ = replica.watch().wait_for(|seen| seen.state == State::Stopped).await;
}

/// Waits until it is ready for the first time. What it lacks because a process of the last run is still draining, it
/// gets in a moment.
async fn come_up(replica: &Replica) -> Result<(), StartError> {
    let deadline = Instant::now() + READY_WITHIN;
    let mut watched = replica.watch();
    let mut deaths = 0;
    loop {
        let came = watched.wait_for(|seen| {
            let ended = seen.deaths > deaths || seen.state == State::Stopped;
            seen.state == State::Ready || (seen.starts + seen.deaths > 0 && ended)
        });
        let in_time = tokio::time::timeout_at(deadline, came).await;
        let seen = match &in_time {
            Ok(Ok(seen)) if seen.state == State::Ready => return Ok(()),
            Ok(Ok(seen)) => Seen::clone(seen),
            Ok(Err(_)) | Err(_) => replica.seen(),
        };
        let words = seen.last_death.as_ref().and_then(|death| last_words(&replica.log(), death));
        let is_held = words.as_ref().is_some_and(|words| HELD.contains(&words.ended.code.as_str()));
        if in_time.is_err() || seen.state == State::Stopped || !is_held {
            return Err(not_up(replica, &seen, words));
        }
        deaths = seen.deaths;
    }
}

fn not_up(replica: &Replica, seen: &Seen, words: Option<LastWords>) -> StartError {
    let log = replica.log();
    let how =
        || seen.last_death.as_ref().map_or_else(|| "it is not ready".to_owned(), |death| death.how.clone());
    let (said, ended) = words.map_or_else(|| (how(), None), |words| (words.text, Some(words.ended)));
    StartError::Replica {
        name: replica.name(),
        reason: format!("{said}; its log is {}", log.display()),
        ended,
    }
}

/// The error that a process ended with, in its own words.
struct LastWords {
    text: String,
    ended: Ended,
}

/// `error[RTD014]: …` and `hint: …`, the last of each.
fn last_words(log: &Path, death: &Death) -> Option<LastWords> {
    // Whoever was killed has said nothing, whatever is there from before.
    let exit = death.code.and_then(|code| u8::try_from(code).ok()).filter(|code| *code > 0)?;
    let text = std::fs::read(log).ok()?;
    let text = String::from_utf8_lossy(&text);
    let mut lines = text.lines().rev();
    let mut hint = None;
    let error = lines.find_map(|line| {
        hint = hint.or_else(|| line.strip_prefix("hint: "));
        line.strip_prefix("error[")
    })?;
    let (code, text) = error.split_once("]: ")?;
    let ended = Ended { code: code.to_owned(), hint: hint.unwrap_or("its log says more").to_owned(), exit };
    Some(LastWords { text: text.to_owned(), ended })
}

async fn fetch_metrics(replica: &Replica) -> Result<String, Error> {
    let config = RemoteConfig { connect_timeout: METRICS_WITHIN, timeout: METRICS_WITHIN };
    let client = Client::remote(replica.name(), &[format!("http://{}", replica.admin)], config)?;
    let request = Request::get("/metrics").header(header::ACCEPT, Format::OpenMetrics.content_type());
    let mut request = request.body(Body::empty()).map_err(Error::internal)?;
    let deadline = Instant::now() + METRICS_WITHIN;
    request.extensions_mut().insert(Deadline(deadline));
    let response = client.send(request).await?;
    let body = axum::body::to_bytes(response.into_body(), METRICS_MAX);
    let body = tokio::time::timeout_at(deadline, body).await.map_err(Error::internal)?;
    String::from_utf8(body.map_err(Error::internal)?.to_vec()).map_err(Error::internal)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_is_as_well_as_its_processes() {
        use State::{Down, Draining, Ready, Starting};
        for (states, word) in [
            (&[Ready, Ready][..], "ready"),
            (&[Ready, Down], "degraded"),
            (&[Draining, Ready], "degraded"),
            (&[Starting, Down], "starting"),
            (&[Draining, Down], "draining"),
            (&[Down], "down"),
        ] {
            assert_eq!(word_for(states), word, "{states:?}");
        }
    }

    #[test]
    fn a_claimed_port_can_be_listened_on_by_who_knows_it_again_and_again() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (_held, address) = claim_port().unwrap();
            assert!(tokio::net::TcpStream::connect(address).await.is_err(), "nobody listens yet");
            for _ in 0..3 {
                let listener = tokio::net::TcpListener::bind(address).await.unwrap();
                let (client, server) =
                    tokio::join!(tokio::net::TcpStream::connect(address), listener.accept());
                drop((client.unwrap(), server.unwrap()));
            }
        });
    }

    #[test]
    fn what_is_shared_is_one_directory_under_every_process() {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        for name in ["orders-1", "orders-2"] {
            let directory = data.join("split").join(name);
            make_directory(&directory).unwrap();
            share(&data, &directory).unwrap();
            share(&data, &directory).unwrap();
            std::fs::write(directory.join("secrets").join(name), name).unwrap();
        }
        assert_eq!(std::fs::read_dir(data.join("secrets")).unwrap().count(), 2);
        let own = data.join("split/orders-3");
        make_directory(&own.join("secrets")).unwrap();
        assert!(share(&data, &own).is_err(), "a directory of its own in the place of the shared one");
    }
}
