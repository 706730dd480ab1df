//! One process of the platform: started, watched, started again when it dies, drained when it is told to.
//!
//! Invariants: a process is asked to drain and is killed only when the time to drain is over or the operator is; its
//! ports are its own for as long as the supervisor lives, so that the others find the next one where the last one was.

use std::fs::OpenOptions;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use kernel::Error;
use rustix::process::{Pid, Signal, kill_process};
use serde::Serialize;
use tokio::net::TcpSocket;
use tokio::process::{Child, Command};
use tokio::sync::{Mutex, Notify, mpsc, watch};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::entrance::Entrance;
use super::line::Line;

const BACKOFF_FIRST: Duration = Duration::from_millis(100);
const BACKOFF_MAX: Duration = Duration::from_secs(10);
/// Whoever lived for so long is not dying over and over.
const STEADY: Duration = Duration::from_secs(10);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    Starting,
    Ready,
    Draining,
    /// It died and is started again in a moment.
    Down,
    Stopped,
}

/// What is known of a process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    pub state: State,
    pub pid: Option<u32>,
    pub starts: u32,
    pub deaths: u32,
    pub last_death: Option<Death>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Death {
    pub how: String,
    pub code: Option<i32>,
}

/// Who ends it and when.
#[derive(Clone, Default)]
pub struct Stops {
    /// Drains it, for good.
    pub stop: CancellationToken,
    /// Cuts every drain short.
    pub kill: CancellationToken,
}

/// How long things may take.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    pub ready: Duration,
    pub drain: Duration,
}

/// How one is started.
#[derive(Debug, Clone)]
pub struct Launch {
    pub program: PathBuf,
    pub arguments: Vec<String>,
}

/// The order to drain it and to start the next one.
#[derive(Debug)]
struct Replace;

/// One of the processes.
pub struct Replica {
    pub service: &'static str,
    pub number: u32,
    pub directory: PathBuf,
    pub api: SocketAddr,
    pub admin: SocketAddr,
    launch: Launch,
    /// The API's own listener, for those at the entrance.
    entrance: Option<Arc<Entrance>>,
    patience: Patience,
    seen: watch::Sender<Seen>,
    orders: mpsc::Sender<Replace>,
    taken: Mutex<mpsc::Receiver<Replace>>,
    /// Given where it is to read its configuration again; several at once are one.
    hangup: Notify,
    _ports: Vec<TcpSocket>,
}

/// What a restart did.
#[derive(Debug, Serialize)]
pub struct Restarted {
    pub service: &'static str,
    pub replica: u32,
    pub old_pid: Option<u32>,
    pub pid: Option<u32>,
    pub took_ms: u64,
}

enum Ended {
    /// As it was told to, for good.
    Stopped,
    /// As it was told to, for the next one.
    Replaced,
    Died(Death),
}

impl Replica {
    #[expect(
        clippy::too_many_arguments,
        reason = "each is a fact of its own; all are given once, by the fleet"
    )]
    pub fn new(
        service: &'static str,
        number: u32,
        directory: PathBuf,
        (api, admin): (SocketAddr, SocketAddr),
        launch: Launch,
        entrance: Option<Arc<Entrance>>,
        patience: Patience,
        ports: Vec<TcpSocket>,
    ) -> Self {
        let (orders, taken) = mpsc::channel(4);
        let seen = Seen { state: State::Stopped, pid: None, starts: 0, deaths: 0, last_death: None };
        Self {
            service,
            number,
            directory,
            api,
            admin,
            launch,
            entrance,
            patience,
            seen: watch::Sender::new(seen),
            orders,
            taken: Mutex::new(taken),
            hangup: Notify::new(),
            _ports: ports,
        }
    }

    /// `orders-2`
    pub fn name(&self) -> String {
        format!("{}-{}", self.service, self.number)
    }

    pub fn log(&self) -> PathBuf {
        self.directory.join("rtcd.log")
    }

    pub fn seen(&self) -> Seen {
        self.seen.borrow().clone()
    }

    pub fn watch(&self) -> watch::Receiver<Seen> {
        self.seen.subscribe()
    }

    fn note(&self, change: impl FnOnce(&mut Seen)) {
        self.seen.send_modify(change);
    }

    /// Keeps a process running until it is stopped.
    pub async fn tend(self: Arc<Self>, stops: Stops) {
        let mut orders = self.taken.lock().await;
        let mut backoff = BACKOFF_FIRST;
        while !stops.stop.is_cancelled() {
            let born = Instant::now();
            let ended = match self.start() {
                Ok((child, line)) => self.accompany(child, line, &mut orders, &stops).await,
                Err(error) => {
                    Ended::Died(Death { how: format!("it cannot be started: {error}"), code: None })
                }
            };
            let death = match ended {
                Ended::Stopped => break,
                Ended::Replaced => {
                    backoff = BACKOFF_FIRST;
                    continue;
                }
                Ended::Died(death) => death,
            };
            if born.elapsed() >= STEADY {
                backoff = BACKOFF_FIRST;
            }
            let again_in_ms = backoff.as_millis();
            tracing::error!(process = self.name(), how = death.how, again_in_ms, "a process died");
            self.note(|seen| {
                (seen.state, seen.pid) = (State::Down, None);
                seen.deaths += 1;
                seen.last_death = Some(death);
            });
            tokio::select! {
                () = sleep(backoff) => {}
                () = stops.stop.cancelled() => {}
                _ = orders.recv() => {}
                () = self.hangup.notified() => {}
            }
            backoff = (backoff * 2).min(BACKOFF_MAX);
        }
        self.note(|seen| (seen.state, seen.pid) = (State::Stopped, None));
    }

    fn start(&self) -> io::Result<(Child, Line)> {
        let (line, stdin) = match &self.entrance {
            Some(entrance) => entrance.lend(|listener| Line::open(Some(listener)))?,
            None => Line::open(None)?,
        };
        let log = OpenOptions::new().append(true).create(true).mode(0o600).open(self.log())?;
        let child = Command::new(&self.launch.program)
            .args(&self.launch.arguments)
            .stdin(Stdio::from(stdin))
            .stdout(log.try_clone()?)
            .stderr(log)
            // A Ctrl-C at a terminal is for the supervisor, which knows in which order to stop.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()?;
        self.note(|seen| {
            (seen.state, seen.pid) = (State::Starting, child.id());
            seen.starts += 1;
        });
        Ok((child, line))
    }

    async fn accompany(
        &self,
        mut child: Child,
        mut line: Line,
        orders: &mut mpsc::Receiver<Replace>,
        stops: &Stops,
    ) -> Ended {
        let late = sleep(self.patience.ready);
        tokio::pin!(late);
        let (mut waiting, mut listening) = (true, true);
        let ended = loop {
            tokio::select! {
                status = child.wait() => return Ended::Died(death(status)),
                answer = line.ready(), if waiting && listening => match answer {
                    Ok(()) => {
                        waiting = false;
                        self.note(|seen| seen.state = State::Ready);
                        tracing::info!(process = self.name(), pid = child.id(), "a process is ready");
                    }
                    // It is ending; how is known in a moment.
                    Err(_) => listening = false,
                },
                () = &mut late, if waiting => {
                    let _ = child.kill().await;
                    let how = format!("it was not ready after {} s", self.patience.ready.as_secs());
                    return Ended::Died(Death { how, code: None });
                }
                () = stops.stop.cancelled() => break Ended::Stopped,
                order = orders.recv() => match order {
                    Some(Replace) => break Ended::Replaced,
                    None => break Ended::Stopped,
                },
                // Whoever is starting may have read what was there before; and may not listen to signals yet.
                () = self.hangup.notified(), if !waiting => signal(&child, Signal::HUP),
            }
        };
        self.note(|seen| seen.state = State::Draining);
        self.drain(&mut child, &stops.kill).await;
        ended
    }

    async fn drain(&self, child: &mut Child, kill: &CancellationToken) {
        signal(child, Signal::TERM);
        let status = tokio::select! {
            status = child.wait() => status,
            () = sleep(self.patience.drain) => {
                tracing::warn!(process = self.name(), "a process did not end in time and is killed");
                let _ = child.start_kill();
                child.wait().await
            }
            () = kill.cancelled() => {
                let _ = child.start_kill();
                child.wait().await
            }
        };
        match status {
            Ok(status) if status.success() => tracing::info!(process = self.name(), "a process has drained"),
            Ok(status) => {
                tracing::warn!(process = self.name(), %status, "a process ended otherwise than asked")
            }
            Err(error) => tracing::warn!(process = self.name(), %error, "a process cannot be waited for"),
        }
    }

    /// Drains it, starts the next one and waits until that is ready.
    pub async fn replace(&self) -> Result<Restarted, Error> {
        let began = Instant::now();
        let mut watched = self.watch();
        let before = watched.borrow_and_update().clone();
        let gone = || Error::unavailable("platform_stopping", "the platform is stopping");
        self.orders.send(Replace).await.map_err(|_| gone())?;
        let come = |seen: &Seen| {
            (seen.state == State::Ready && seen.starts > before.starts) || seen.state == State::Stopped
        };
        let came = timeout(self.patience.drain + self.patience.ready, watched.wait_for(come)).await;
        let seen = match came {
            Err(_) => {
                let text = format!("{} is not ready again; its log is {}", self.name(), self.log().display());
                return Err(Error::unavailable("not_ready_again", text));
            }
            Ok(Ok(seen)) if seen.state == State::Ready => seen.clone(),
            Ok(_) => return Err(gone()),
        };
        Ok(Restarted {
            service: self.service,
            replica: self.number,
            old_pid: before.pid,
            pid: seen.pid,
            took_ms: u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX),
        })
    }

    /// Tells the process to read its configuration again, as soon as it can be told.
    pub fn reload(&self) {
        self.hangup.notify_one();
    }
}

fn signal(child: &Child, signal: Signal) {
    let pid = child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
    if let Some(pid) = pid {
        // One that has ended meanwhile is found out by waiting for it.
        let _ = kill_process(pid, signal);
    }
}

fn death(status: io::Result<ExitStatus>) -> Death {
    match status {
        Ok(status) => Death { how: format!("it ended with {status}"), code: status.code() },
        Err(error) => Death { how: format!("it cannot be waited for: {error}"), code: None },
    }
}
