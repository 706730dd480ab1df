//! A service in other processes: which replica is asked, and what is done where it does not answer.
//!
//! Invariants:
//! - a call is tried again only where that cannot make it happen twice: nothing of it was sent, the replica said that it
//!   had not begun, or the request is answered twice as it is once and was read whole before it was sent;
//! - this is the only layer that retries, and retries of what reached a replica stay within a budget;
//! - no call outlives its deadline.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::body::{Body, HttpBody};
use axum::http::{HeaderMap, Method, Request, Response, StatusCode, Uri, Version, header};
use bytes::Bytes;
use kernel::id::SplitMix;
use kernel::{Error, Kind};
use tokio::time::Instant;

use super::breaker::{Breaker, Change, Ticket};
use super::budget::Budget;
use super::health::Failure;
use super::replica::{Asked, Outcome, PATIENCE_MIN, Replica};
use crate::body::collect;
use crate::deadline::{DEADLINE_HEADER, Deadline};
use crate::server::STOPPING_HEADER;

/// A body up to this size is read whole before it is sent, so that it can be sent again.
const WHOLE_MAX: u64 = 64 * 1024;
const ATTEMPTS_MAX: usize = 3;
/// The most that is waited before the first retry of the same replica; doubled for each further one.
const BACKOFF: Duration = Duration::from_millis(25);

#[derive(Debug, Clone, Copy)]
pub struct RemoteConfig {
    pub connect_timeout: Duration,
    /// How long a call may take whose request has no deadline.
    pub timeout: Duration,
}

impl Default for RemoteConfig {
    fn default() -> Self {
        Self { connect_timeout: Duration::from_secs(1), timeout: Duration::from_secs(15) }
    }
}

/// The replicas of one service.
pub struct Remote {
    service: String,
    replicas: Vec<Arc<Replica>>,
    next: AtomicUsize,
    config: RemoteConfig,
    shared: Mutex<Shared>,
}

struct Shared {
    breaker: Breaker,
    budget: Budget,
    random: SplitMix,
}

/// A request without its body.
struct Head {
    method: Method,
    uri: Uri,
    headers: HeaderMap,
}

enum Payload {
    Whole(Bytes),
    /// `None` once it was begun.
    Stream(Option<Body>),
}

impl Payload {
    fn take(&mut self) -> Option<Body> {
        match self {
            Payload::Whole(bytes) => Some(Body::from(bytes.clone())),
            Payload::Stream(body) => body.take(),
        }
    }

    /// Takes back what was not sent.
    fn restore(&mut self, body: Body) {
        if let Payload::Stream(taken) = self {
            *taken = Some(body);
        }
    }

    fn can_be_sent_again(&self) -> bool {
        matches!(self, Payload::Whole(_) | Payload::Stream(Some(_)))
    }
}

/// What a failed call says of its service.
enum Failed {
    /// It did not do what it is there for.
    Service(Error),
    /// Nothing: the caller went away or waited for too short a time.
    Caller(Error),
}

/// A call that was admitted. Dropped before it has ended, it says nothing of the service and gives a probe back.
struct Underway<'a> {
    remote: &'a Remote,
    ticket: Option<Ticket>,
}

impl Underway<'_> {
    /// What it changes that the call has ended so.
    fn end<T>(mut self, outcome: &Result<T, Failed>) -> Option<Change> {
        let ticket = self.ticket.take()?;
        self.remote.shared(|Shared { breaker, .. }| match outcome {
            Ok(_) => breaker.succeeded(ticket, Instant::now()),
            Err(Failed::Service(_)) => breaker.failed(ticket, Instant::now()),
            Err(Failed::Caller(_)) => {
                breaker.given_up(ticket);
                None
            }
        })
    }
}

impl Drop for Underway<'_> {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket.take() {
            self.remote.shared(|shared| shared.breaker.given_up(ticket));
        }
    }
}

/// Whether a second delivery changes nothing that the first one has not, and is answered as the first one was. What the
/// first delivery deleted the second one does not find, and a condition that the first one met the second does not meet:
/// that refusal would be told as the outcome.
fn is_repeatable(head: &Head) -> bool {
    let has = |name| head.headers.contains_key(name);
    let by_method = match head.method {
        Method::GET | Method::HEAD | Method::OPTIONS | Method::TRACE => true,
        Method::PUT => !has(header::IF_MATCH) && !has(header::IF_NONE_MATCH),
        _ => false,
    };
    by_method || head.headers.contains_key("idempotency-key")
}

fn random_seed() -> u64 {
    let mut bytes = [0; 8];
    // Jitter from a constant is still jitter between the calls of one process.
    let _ = aws_lc_rs::rand::fill(&mut bytes);
    u64::from_le_bytes(bytes)
}

impl Remote {
    pub(super) fn new(
        service: String,
        replicas: &[impl AsRef<str>],
        config: RemoteConfig,
    ) -> Result<Self, Error> {
        if replicas.is_empty() {
            return Err(Error::invalid("no_replica", "a service elsewhere has at least one replica"));
        }
        let replicas: Result<Vec<_>, Error> = replicas
            .iter()
            .enumerate()
            .map(|(index, url)| {
                let replica = Replica::new(url.as_ref(), config.connect_timeout).map(Arc::new);
                replica.map_err(|problem| {
                    let text = format!("replica {}: {problem}; http://host:port is wanted", index + 1);
                    Error::invalid("replica_address", text)
                })
            })
            .collect();
        let replicas = replicas?;
        let shared = Shared {
            breaker: Breaker::new(Instant::now()),
            budget: Budget::default(),
            random: SplitMix(random_seed()),
        };
        Ok(Self { service, replicas, next: AtomicUsize::new(0), config, shared: Mutex::new(shared) })
    }

    pub fn service(&self) -> &str {
        &self.service
    }

    fn shared<T>(&self, ask: impl FnOnce(&mut Shared) -> T) -> T {
        ask(&mut self.shared.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The next replica in turn that is well and was not tried yet; failing that one that was not tried; failing that
    /// any.
    fn pick(&self, tried: &[usize]) -> (usize, Asked<'_>) {
        let count = self.replicas.len();
        let first = self.next.fetch_add(1, Ordering::Relaxed);
        let in_turn = || (0..count).map(|step| first.wrapping_add(step) % count);
        let now = Instant::now();
        let untried = |index: &usize| !tried.contains(index);
        let admitted =
            in_turn().filter(untried).find_map(|index| Some((index, self.replicas[index].admit(now)?)));
        admitted.unwrap_or_else(|| {
            let index = in_turn().find(untried).unwrap_or(first % count);
            (index, self.replicas[index].insist())
        })
    }

    pub(super) async fn send(&self, request: Request<Body>) -> Result<Response<Body>, Error> {
        let began = Instant::now();
        let deadline = request.extensions().get::<Deadline>().copied();
        let deadline = deadline.unwrap_or(Deadline(began + self.config.timeout));
        let admitted = self.shared(|shared| {
            shared.budget.earn();
            shared.breaker.admit(began)
        });
        let ticket = admitted.map_err(|wait| {
            let wait = u32::try_from(wait.as_millis().div_ceil(1_000)).unwrap_or(u32::MAX);
            self.away().with_retry_after(wait.max(1))
        })?;
        let underway = Underway { remote: self, ticket: Some(ticket) };
        let outcome = self.attempt(request, deadline, began).await;
        match underway.end(&outcome) {
            Some(Change::Opened(open)) => {
                tracing::warn!(service = self.service, open_ms = open.as_millis(), "calls fail at once now");
            }
            Some(Change::Closed) => tracing::info!(service = self.service, "calls are made again"),
            None => {}
        }
        outcome.map_err(|(Failed::Service(error) | Failed::Caller(error))| error)
    }

    fn away(&self) -> Error {
        Error::unavailable("service_unavailable", format!("{} cannot be reached right now", self.service))
    }

    fn too_late(&self) -> Error {
        let text = format!("{} did not answer in time; the outcome is not known", self.service);
        Error::new(Kind::Timeout, "deadline_exceeded", text)
    }

    async fn attempt(
        &self,
        request: Request<Body>,
        deadline: Deadline,
        began: Instant,
    ) -> Result<Response<Body>, Failed> {
        let (parts, body) = request.into_parts();
        let head = Head { method: parts.method, uri: parts.uri, headers: parts.headers };
        let mut payload = match HttpBody::size_hint(&body).exact() {
            Some(size) if size <= WHOLE_MAX => {
                let whole = collect(body, WHOLE_MAX as usize).await;
                Payload::Whole(whole.map_err(Failed::Caller)?)
            }
            _ => Payload::Stream(Some(body)),
        };
        // Whoever is late because of its own body or its own impatience has not shown that the service is slow.
        let patient = deadline.left(began) >= PATIENCE_MIN;
        let mut tried: Vec<usize> = Vec::new();
        loop {
            let (index, mut asked) = self.pick(&tried);
            let replica = &self.replicas[index];
            if tried.contains(&index) && !self.back_off(tried.len(), deadline).await {
                return Err(Failed::Caller(self.too_late()));
            }
            tried.push(index);
            let last = tried.len() >= ATTEMPTS_MAX;
            let Some(given) = deadline.for_call(Instant::now()) else {
                return Err(Failed::Caller(self.too_late()));
            };
            let Some(body) = payload.take() else { return Err(Failed::Service(self.away())) };
            let mut request = Request::new(body);
            *request.method_mut() = head.method.clone();
            *request.version_mut() = Version::HTTP_11;
            *request.uri_mut() =
                head.uri.path_and_query().map_or(Uri::from_static("/"), |rest| Uri::from(rest.clone()));
            *request.headers_mut() = head.headers.clone();
            request.headers_mut().insert(header::HOST, replica.authority.clone());
            request.headers_mut().insert(DEADLINE_HEADER, given);
            // What flows waits for its sender as well.
            if matches!(payload, Payload::Whole(_)) {
                asked.sends(Instant::now());
            }
            match tokio::time::timeout_at(deadline.0, replica.call(request)).await {
                Err(_) if patient => {
                    asked.failed(Failure::Unanswered, Instant::now());
                    return Err(Failed::Service(self.too_late()));
                }
                Err(_) => return Err(Failed::Caller(self.too_late())),
                Ok(Outcome::Answered(mut response)) => {
                    asked.answered();
                    if response.headers_mut().remove(STOPPING_HEADER).is_some() {
                        replica.stops(Instant::now());
                        // It may have begun: only what may be done twice is sent again.
                        let refused = response.status() == StatusCode::SERVICE_UNAVAILABLE;
                        if refused && is_repeatable(&head) && !last && payload.can_be_sent_again() {
                            continue;
                        }
                    }
                    return Ok(response);
                }
                Ok(Outcome::NotSent(unsent, error)) => {
                    asked.failed(Failure::Unreachable, Instant::now());
                    payload.restore(unsent.into_body());
                    if last {
                        return Err(Failed::Service(self.away().with_source(error)));
                    }
                }
                Ok(Outcome::Lost { error, .. }) if error.is_user() => {
                    let text = "the body could not be read";
                    let error = Error::invalid("body_unreadable", text).with_status(400).with_source(error);
                    return Err(Failed::Caller(error));
                }
                Ok(Outcome::Lost { error, reused }) => {
                    // A connection that was idle may have been closed as the request was on its way: that is nobody's
                    // fault.
                    if !reused {
                        asked.failed(Failure::Unanswered, Instant::now());
                    }
                    if !is_repeatable(&head) {
                        let text = format!("{} gave no answer; the outcome is not known", self.service);
                        let error = Error::new(Kind::Timeout, "answer_lost", text).with_source(error);
                        return Err(Failed::Service(error));
                    }
                    let again =
                        !last && payload.can_be_sent_again() && self.shared(|shared| shared.budget.spend());
                    if !again {
                        return Err(Failed::Service(self.away().with_source(error)));
                    }
                }
            }
        }
    }

    /// Full jitter. False where the deadline comes first.
    async fn back_off(&self, attempts: usize, deadline: Deadline) -> bool {
        let most = BACKOFF * (1 << attempts.saturating_sub(1).min(6));
        let micros = u64::try_from(most.as_micros()).unwrap_or(u64::MAX);
        let wait = Duration::from_micros(self.shared(|shared| shared.random.below(micros)));
        if wait >= deadline.left(Instant::now()) {
            return false;
        }
        tokio::time::sleep(wait).await;
        true
    }
}

#[cfg(test)]
mod tests;
