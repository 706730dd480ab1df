//! The connection to Redis, and what happens while there is none.
//!
//! Invariant: the link is either up, or down with one task that brings it back; what was removed while it was down is
//! removed before it is up again.

use std::collections::HashSet;
use std::future::Future;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use cache::Metrics;
use redis::aio::MultiplexedConnection;
use redis::{ProtocolVersion, RedisError, RedisResult};
use tokio::time::Instant;

use crate::address::Address;
use crate::tls::Tls;
use crate::wire::{self, Trouble, Wire, trouble};
use crate::{OpenError, Options};

/// How many removals are remembered while Redis is away. Beyond that a value's time to live is what bounds it.
const OWED_MAX: usize = 100_000;
const OWED_AT_ONCE: usize = 500;
const OLDEST: (u32, u32) = (6, 2);
const SOON: Duration = Duration::from_millis(20);

enum State {
    Up { wire: Wire, epoch: u64, since: Instant },
    Down { owed: HashSet<String> },
}

struct Inner {
    address: Address,
    options: Options,
    metrics: Metrics,
    /// Failures in a row.
    failures: AtomicU32,
    /// One for each connection that was up.
    epochs: AtomicU64,
    state: Mutex<State>,
}

pub struct Link(Arc<Inner>);

/// What a failed call says of the connection.
enum Failure {
    /// It may have been this one call.
    Once(String),
    /// The connection is of no use any more.
    Broken(String),
}

impl Failure {
    fn of(error: &RedisError) -> Self {
        let asks_for_password = matches!(error.code(), Some("NOAUTH" | "WRONGPASS"));
        let is_other_server = matches!(error.code(), Some("READONLY" | "MASTERDOWN" | "LOADING" | "MOVED"));
        if error.is_io_error() || error.is_unrecoverable_error() || asks_for_password || is_other_server {
            return Failure::Broken(error.to_string());
        }
        Failure::Once(error.to_string())
    }

    fn reason(&self) -> &str {
        match self {
            Failure::Once(reason) | Failure::Broken(reason) => reason,
        }
    }
}

fn too_slow(deadline: Duration) -> String {
    format!("no answer within {} ms", deadline.as_millis())
}

impl Inner {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Connects with the password and the authorities of the moment, and looks who answers.
    async fn connect(&self) -> Result<Wire, Trouble> {
        let limit = self.options.connect_timeout;
        // From the disk: that takes what it takes.
        let tls = match &self.address.tls {
            Some(trust) => Some(Tls::read(trust).await.map_err(Trouble::Wrong)?),
            None => None,
        };
        let reason = match tokio::time::timeout(limit, self.connect_and_ask(tls)).await {
            Ok(Err(Trouble::Unheard(reason))) => reason,
            Ok(done) => return done,
            // One that wants TLS hangs up on who speaks in the open; this one is slow.
            Err(_) if self.address.tls.is_none() => return Err(Trouble::Away(too_slow(limit))),
            Err(_) => too_slow(limit),
        };
        let otherwise = tokio::time::timeout(limit, wire::speaks_otherwise(&self.address)).await;
        Err(otherwise.ok().flatten().map_or(Trouble::Away(reason), Trouble::Wrong))
    }

    async fn connect_and_ask(&self, tls: Option<Tls>) -> Result<Wire, Trouble> {
        let password = (self.options.password)()
            .map_err(|error| Trouble::Wrong(OpenError::NoPassword(error.to_string())))?;
        let mut settings =
            self.address.settings.clone().set_protocol(ProtocolVersion::RESP2).set_skip_set_lib_name();
        if let Some(password) = password {
            settings = settings.set_password(password);
        }
        let mut wire = Wire::open(&self.address, settings, tls).await?;
        let about: RedisResult<String> = redis::cmd("INFO").arg("server").query_async(&mut wire.redis).await;
        match about {
            Ok(about) => check_version(&about)?,
            // A user of few rights is not told the version.
            Err(error) if error.code() == Some("NOPERM") => {}
            Err(error) => return Err(trouble(error)),
        }
        Ok(wire)
    }

    /// Removes what is owed and is up.
    async fn come_up(&self, mut wire: Wire) -> Result<(), Trouble> {
        while let Some(keys) = self.up_or_owed(&wire) {
            let mut delete = redis::cmd("DEL");
            delete.arg(&keys);
            let limit = self.options.connect_timeout;
            let deleted = tokio::time::timeout(limit, delete.exec_async(&mut wire.redis)).await;
            let trouble = match deleted {
                Ok(Ok(())) => continue,
                Ok(Err(error)) => trouble(error),
                Err(_) => Trouble::Away(too_slow(limit)),
            };
            if let State::Down { owed } = &mut *self.state() {
                owed.extend(keys);
            }
            return Err(trouble);
        }
        Ok(())
    }

    /// Takes some of what is owed; where nothing is, this is the connection.
    fn up_or_owed(&self, wire: &Wire) -> Option<Vec<String>> {
        let mut state = self.state();
        let State::Down { owed } = &mut *state else { return None };
        if owed.is_empty() {
            let epoch = self.epochs.fetch_add(1, Ordering::Relaxed);
            self.failures.store(0, Ordering::Relaxed);
            *state = State::Up { wire: wire.clone(), epoch, since: Instant::now() };
            return None;
        }
        let keys: Vec<String> = owed.iter().take(OWED_AT_ONCE).cloned().collect();
        for key in &keys {
            owed.remove(key);
        }
        Some(keys)
    }

    /// Goes down, unless somebody else did so before or a newer connection is up that has nothing to do with it.
    fn fall(self: &Arc<Self>, epoch: u64, failure: &Failure, owed: Option<String>) {
        let mut state = self.state();
        let since = match &mut *state {
            State::Down { owed: all } => {
                owe(all, owed);
                return;
            }
            State::Up { epoch: newer, .. } if *newer != epoch && owed.is_none() => return,
            State::Up { since, .. } => *since,
        };
        let mut all = HashSet::new();
        owe(&mut all, owed);
        *state = State::Down { owed: all };
        drop(state);
        self.metrics.went_away();
        let reason = failure.reason();
        tracing::warn!(reason, "the cache is away: what it held is read from its source until it is back");
        // A connection that was closed after a while is soon made anew; one that does not last is not.
        let is_worn = matches!(failure, Failure::Broken(_)) && since.elapsed() >= self.options.pause;
        let wait = if is_worn { SOON } else { self.options.pause };
        tokio::spawn(recover(Arc::downgrade(self), wait));
    }

    fn failed(self: &Arc<Self>, epoch: u64, failure: &Failure) {
        let in_a_row = self.failures.fetch_add(1, Ordering::Relaxed) + 1;
        if matches!(failure, Failure::Broken(_)) || in_a_row >= self.options.failures_max {
            self.fall(epoch, failure, None);
        }
    }

    fn succeeded(&self) {
        if self.failures.load(Ordering::Relaxed) != 0 {
            self.failures.store(0, Ordering::Relaxed);
        }
    }
}

fn owe(all: &mut HashSet<String>, key: Option<String>) {
    if all.len() < OWED_MAX {
        all.extend(key);
    }
}

fn check_version(about: &str) -> Result<(), Trouble> {
    let version =
        about.lines().find_map(|line| line.strip_prefix("redis_version:")).unwrap_or("unknown").trim();
    let mut numbers = version.split('.').map_while(|part| part.parse::<u32>().ok());
    match (numbers.next(), numbers.next()) {
        (Some(major), Some(minor)) if (major, minor) >= OLDEST => Ok(()),
        _ => Err(Trouble::Wrong(OpenError::TooOld { found: version.to_owned() })),
    }
}

/// Tries until Redis is back or nobody wants it any more.
async fn recover(link: Weak<Inner>, mut wait: Duration) {
    let down_since = Instant::now();
    let mut said = None;
    loop {
        tokio::time::sleep(wait).await;
        let Some(inner) = link.upgrade() else { return };
        let trouble = match inner.connect().await {
            Ok(wire) => inner.come_up(wire).await.err(),
            Err(trouble) => Some(trouble),
        };
        let Some(trouble) = trouble else {
            inner.metrics.came_back();
            tracing::info!(after_s = down_since.elapsed().as_secs_f64(), "the cache is back");
            return;
        };
        // What no waiting mends is said, once.
        if let Trouble::Wrong(error) = trouble {
            let reason = error.to_string();
            if said.as_ref() != Some(&reason) {
                tracing::error!(%reason, "the cache is there and is not used");
                said = Some(reason);
            }
        }
        wait = inner.options.pause;
    }
}

impl Link {
    pub async fn open(address: Address, options: Options) -> Result<Self, OpenError> {
        let inner = Arc::new(Inner {
            address,
            options,
            metrics: Metrics::default(),
            failures: AtomicU32::new(0),
            epochs: AtomicU64::new(0),
            state: Mutex::new(State::Down { owed: HashSet::new() }),
        });
        let opened = match inner.connect().await {
            Ok(wire) => inner.come_up(wire).await,
            Err(trouble) => Err(trouble),
        };
        match opened {
            Ok(()) => {}
            Err(Trouble::Wrong(error)) => return Err(error),
            Err(Trouble::Away(reason) | Trouble::Unheard(reason)) => {
                inner.metrics.went_away();
                tracing::warn!(reason, "the cache is away at the start: it is used as soon as it is there");
                tokio::spawn(recover(Arc::downgrade(&inner), inner.options.pause));
            }
        }
        Ok(Self(inner))
    }

    pub fn metrics(&self) -> &Metrics {
        &self.0.metrics
    }

    fn wire(&self) -> Option<(Wire, u64)> {
        match &*self.0.state() {
            State::Up { wire, epoch, .. } => Some((wire.clone(), *epoch)),
            State::Down { .. } => None,
        }
    }

    async fn within_deadline<T>(&self, work: impl Future<Output = RedisResult<T>>) -> Result<T, Failure> {
        let deadline = self.0.options.deadline;
        match tokio::time::timeout(deadline, work).await {
            Ok(Ok(done)) => {
                self.0.succeeded();
                Ok(done)
            }
            Ok(Err(error)) => Err(Failure::of(&error)),
            Err(_) => Err(Failure::Once(too_slow(deadline))),
        }
    }

    /// Sends something; `None` where it was not answered in time or there is nobody to answer.
    pub async fn call<T, F>(&self, work: impl FnOnce(MultiplexedConnection) -> F) -> Option<T>
    where
        F: Future<Output = RedisResult<T>>,
    {
        let (wire, epoch) = self.wire()?;
        let done = self.within_deadline(work(wire.redis.clone())).await;
        done.inspect_err(|failure| self.0.failed(epoch, failure)).ok()
    }

    /// Deletes a key now, or before anything is read again.
    pub async fn remove(&self, key: String) {
        let (mut wire, epoch) = match &mut *self.0.state() {
            State::Up { wire, epoch, .. } => (wire.clone(), *epoch),
            State::Down { owed } => {
                owe(owed, Some(key));
                return;
            }
        };
        let mut delete = redis::cmd("DEL");
        delete.arg(&key);
        if let Err(failure) = self.within_deadline(delete.exec_async(&mut wire.redis)).await {
            self.0.fall(epoch, &failure, Some(key));
        }
    }
}
