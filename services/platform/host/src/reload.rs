//! Settings that change while the process runs: the file is looked at again and again, and what is safe is applied.
//!
//! Invariants:
//! - all or nothing: a file with a fault changes nothing, and the fault is told once, as exactly as at a start;
//! - what the environment or the command line says goes on winning over the file;
//! - what cannot change while the process runs is told, not applied, and listed until the next start;
//! - whoever wants to know how it stands never waits for a look: a mount that hangs holds up that look alone.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kernel::{Clock, Timestamp};
use serde::Serialize;
use serde_json::Value;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;
use web::{Edge, EdgeConfig};

use crate::reference::{Takes, takes};
use crate::source::masked;
use crate::{Config, Secrets, StartError, telemetry};

/// By content and not by notification: a mounted ConfigMap is swapped by its links.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Why the file is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attention {
    /// It is time again. A file that somebody is still writing is left alone until it stays the same for two looks.
    Routine,
    /// Somebody asked, by SIGHUP.
    Asked,
}

/// What a look has come to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Look {
    /// Nothing that was not known.
    Same,
    /// These keys have changed: the live ones are in effect, the others wait for the next start.
    Applied {
        live: Vec<String>,
        waiting: Vec<String>,
    },
    Refused(String),
}

/// What an operator wants to know of it.
#[derive(Debug, Clone, Default, Serialize)]
pub struct ReloadStatus {
    pub file: Option<PathBuf>,
    /// How often something was applied.
    pub applied: u64,
    pub applied_at: Option<Timestamp>,
    /// Keys that have other values at the next start.
    pub waiting: Vec<String>,
    /// What is wrong with the file as it is now.
    pub fault: Option<String>,
}

/// What a configuration has to be besides being readable.
type Check = Box<dyn Fn(&Config) -> Result<(), StartError> + Send + Sync>;

/// Follows the configuration of a process.
pub struct Reload {
    started: Config,
    edge: Arc<Edge>,
    secrets: Secrets,
    clock: Arc<dyn Clock>,
    checks: Mutex<Vec<Check>>,
    /// Held for the whole of a look, while files are read.
    state: Mutex<State>,
    /// Held for a moment.
    status: Mutex<ReloadStatus>,
}

struct State {
    current: Config,
    /// The last text that was applied or refused.
    judged: Option<String>,
    /// Seen once.
    candidate: Option<String>,
}

/// What the edge is told.
pub(crate) fn edge_config(config: &Config) -> EdgeConfig {
    EdgeConfig {
        request_timeout: Duration::from_millis(config.server.request_timeout_ms),
        concurrency_max: config.server.concurrency_max,
        trusted_proxies: config.server.trusted_proxies.clone(),
    }
}

impl Reload {
    pub(crate) fn new(config: Config, edge: Arc<Edge>, secrets: Secrets, clock: Arc<dyn Clock>) -> Self {
        let status = ReloadStatus { file: config.origin().file.clone(), ..ReloadStatus::default() };
        let state = State { current: config.clone(), judged: None, candidate: None };
        let (state, status) = (Mutex::new(state), Mutex::new(status));
        Self { started: config, edge, secrets, clock, checks: Mutex::default(), state, status }
    }

    pub fn status(&self) -> ReloadStatus {
        self.lock_status().clone()
    }

    /// Asks `check` of every configuration from now on: what it refuses changes nothing.
    pub fn require(&self, check: impl Fn(&Config) -> Result<(), StartError> + Send + Sync + 'static) {
        self.checks.lock().unwrap_or_else(PoisonError::into_inner).push(Box::new(check));
    }

    /// Looks at the file and at the secrets, and applies what has changed. It reads files: not for a thread of the runtime.
    pub fn look(&self, attention: Attention) -> Look {
        // One after the other: what was read first is judged first.
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        self.secrets.refresh();
        let text = match self.started.origin().text() {
            Ok(None) => return Look::Same,
            Ok(Some(text)) => text,
            Err(error) => {
                // Whatever is there next is judged afresh.
                state.judged = None;
                return self.refuse(error.to_string());
            }
        };
        if state.judged.as_ref() == Some(&text) {
            state.candidate = None;
            return Look::Same;
        }
        if attention == Attention::Routine && state.candidate.as_ref() != Some(&text) {
            state.candidate = Some(text);
            return Look::Same;
        }
        state.candidate = None;
        let judged = self.apply(&mut state, &text);
        state.judged = Some(text);
        judged.unwrap_or_else(|error| self.refuse(error.to_string()))
    }

    fn apply(&self, state: &mut State, text: &str) -> Result<Look, StartError> {
        let next = self.started.with_text(text)?;
        let checks = self.checks.lock().unwrap_or_else(PoisonError::into_inner);
        checks.iter().try_for_each(|check| check(&next))?;
        drop(checks);
        let commits = next.sections().stage(&next)?;
        let filter = telemetry::filter(&next.log.level)?;
        let changes = changes(&state.current, &next)?;
        let waiting = waiting_since(&self.started, &next)?;

        // From here on nothing fails.
        if next.log.level != state.current.log.level {
            telemetry::let_through(filter);
        }
        self.edge.reconfigure(edge_config(&next), next.limits.clone());
        commits.into_iter().for_each(|commit| commit());

        let (live, mut later): (Vec<_>, Vec<_>) =
            changes.into_iter().partition(|change| takes(&next, &change.key) == Takes::AtOnce);
        // What is as it was at the start waits for nothing.
        later.retain(|change| waiting.contains(&change.key));
        for Change { key, from, to } in &live {
            tracing::info!(key, %from, %to, "a setting has changed and is in effect");
        }
        for Change { key, .. } in &later {
            tracing::warn!(key, "a setting has changed; it takes effect at the next start");
        }
        let keys = |changes: Vec<Change>| changes.into_iter().map(|change| change.key).collect::<Vec<_>>();
        let (live, later) = (keys(live), keys(later));
        state.current = next;
        let mut status = self.lock_status();
        status.fault = None;
        status.waiting = waiting;
        if live.is_empty() && later.is_empty() {
            return Ok(Look::Same);
        }
        if !live.is_empty() {
            status.applied += 1;
            status.applied_at = Some(self.clock.now());
        }
        Ok(Look::Applied { live, waiting: later })
    }

    /// Looks once a second, and at SIGHUP, until `stop`. SIGHUP ends the process no more as soon as this returns, before
    /// the future is polled.
    pub fn watch(self: Arc<Self>, stop: CancellationToken) -> impl Future<Output = ()> + Send {
        let hangups = signal(SignalKind::hangup())
            .inspect_err(|error| tracing::warn!(%error, "SIGHUP cannot be listened to"))
            .ok();
        self.follow(hangups, stop)
    }

    async fn follow(self: Arc<Self>, mut hangups: Option<Signal>, stop: CancellationToken) {
        loop {
            let hangup = async {
                match &mut hangups {
                    Some(hangups) => hangups.recv().await,
                    None => std::future::pending().await,
                }
            };
            let attention = tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(LOOK_EVERY) => Attention::Routine,
                _ = hangup => {
                    tracing::info!("asked to read the configuration again");
                    Attention::Asked
                }
            };
            let this = self.clone();
            // A mount that hangs holds up nobody but this.
            if let Err(error) = tokio::task::spawn_blocking(move || this.look(attention)).await {
                tracing::error!(%error, "looking at the configuration failed");
            }
        }
    }

    fn lock_status(&self) -> MutexGuard<'_, ReloadStatus> {
        self.status.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn refuse(&self, fault: String) -> Look {
        let mut status = self.lock_status();
        if status.fault.as_ref() == Some(&fault) {
            return Look::Same;
        }
        tracing::error!(%fault, "the configuration cannot be used; everything stays as it was");
        status.fault = Some(fault.clone());
        Look::Refused(fault)
    }
}

struct Change {
    key: String,
    from: Value,
    to: Value,
}

/// The keys in which two configurations differ.
fn changes(from: &Config, to: &Config) -> Result<Vec<Change>, StartError> {
    let (mut from, to) = (from.resolved()?, to.resolved()?);
    let mut changes = Vec::new();
    for (key, value) in to {
        let before = from.remove(&key).unwrap_or_default();
        if before != value {
            changes.push(Change { key, from: masked(before), to: masked(value) });
        }
    }
    changes.extend(from.into_iter().map(|(key, value)| Change { key, from: masked(value), to: Value::Null }));
    changes.sort_by(|one, other| one.key.cmp(&other.key));
    Ok(changes)
}

/// The keys that wait for the next start.
fn waiting_since(started: &Config, next: &Config) -> Result<Vec<String>, StartError> {
    let keys = changes(started, next)?.into_iter().map(|change| change.key);
    Ok(keys.filter(|key| takes(next, key) == Takes::AtTheNextStart).collect())
}
