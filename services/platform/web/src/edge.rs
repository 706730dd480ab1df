//! What surrounds every handler: admission, request id, policy, limits, deadline, metrics, problems for panics and slow
//! answers.
//!
//! Invariant: every request that came in is counted once, whatever becomes of it: also one whose caller went away.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use axum::extract::{ConnectInfo, Request};
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::response::{IntoResponse, Response};
use db::Asker;
use futures_util::FutureExt;
use kernel::{Clock, Error, IdSource, Kind};
use tokio::time::Instant;
use trace::{Caller, Spot};

use crate::admission::{AdmissionConfig, Gate, NotDone, Priority, overloaded};
use crate::auth::TokenVerifier;
use crate::deadline::{Deadline, asked};
use crate::limits::{Limit, Limits, Quotas};
use crate::metrics::{Hop, HttpMetrics, Shed, What, method_name};
use crate::pages::Pages;
use crate::routes::RouteInfo;
use crate::{Policy, Problem};

/// A request's id: given by the caller or made here, in every answer and every log line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestId(pub String);

/// Where a request came from, as far as our own proxies vouch for it; unknown where there is no connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClientAddress(pub Option<IpAddr>);

impl<S: Send + Sync> axum::extract::FromRequestParts<S> for ClientAddress {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(
        parts: &mut axum::http::request::Parts,
        _: &S,
    ) -> Result<Self, Self::Rejection> {
        Ok(parts.extensions.get::<ClientAddress>().copied().unwrap_or(ClientAddress(None)))
    }
}

#[derive(Debug, Clone)]
pub struct EdgeConfig {
    /// How long a handler may take, unless its route says otherwise.
    pub request_timeout: Duration,
    /// How many requests run at once; beyond that they are refused at once (R94).
    pub concurrency_max: usize,
    /// Addresses whose `X-Forwarded-For` is believed. `::ffff:10.0.0.1` is 10.0.0.1.
    pub trusted_proxies: Vec<IpAddr>,
}

impl Default for EdgeConfig {
    fn default() -> Self {
        Self { request_timeout: Duration::from_secs(15), concurrency_max: 4_096, trusted_proxies: Vec::new() }
    }
}

impl EdgeConfig {
    /// A socket that takes both families shows IPv4 peers as IPv6: addresses are compared in one form.
    fn canonical(mut self) -> Self {
        self.trusted_proxies.iter_mut().for_each(|address| *address = address.to_canonical());
        self
    }
}

/// Shared by all routes of a process.
pub struct Edge {
    pub verifier: Arc<TokenVerifier>,
    pub limits: Limits,
    pub metrics: HttpMetrics,
    pub pages: Pages,
    pub clock: Arc<dyn Clock>,
    pub ids: IdSource,
    settings: RwLock<Arc<Settings>>,
    gate: Arc<Gate>,
    service_tokens: RwLock<Arc<[HeaderValue]>>,
}

/// What may change while requests are served. A request has one snapshot from its beginning to its end.
struct Settings {
    config: EdgeConfig,
    quotas: Arc<Quotas>,
}

/// The house's own token: who sends it is a process of ours.
pub const SERVICE_TOKEN_HEADER: HeaderName = HeaderName::from_static("x-rtc-service-token");

/// Marks an answer that came from another process and is not to be touched.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Forwarded;

impl Edge {
    pub fn new(
        verifier: Arc<TokenVerifier>,
        limits: Limits,
        metrics: HttpMetrics,
        pages: Pages,
        clock: Arc<dyn Clock>,
        ids: IdSource,
        config: EdgeConfig,
    ) -> Self {
        let gate =
            Gate::new(AdmissionConfig { work_max: config.concurrency_max, ..AdmissionConfig::default() });
        let config = config.canonical();
        let settings = RwLock::new(Arc::new(Settings { config, quotas: limits.quotas() }));
        let service_tokens: RwLock<Arc<[HeaderValue]>> = RwLock::new(Arc::from([]));
        Self { verifier, limits, metrics, pages, clock, ids, settings, gate, service_tokens }
    }

    /// Requests that begin from now on have these settings, all of them; those under way keep theirs.
    pub fn reconfigure(&self, config: EdgeConfig, quotas: Quotas) {
        self.gate.set_work_max(config.concurrency_max);
        let settings = Arc::new(Settings { config: config.canonical(), quotas: Arc::new(quotas) });
        *self.settings.write().unwrap_or_else(PoisonError::into_inner) = settings;
    }

    fn settings(&self) -> Arc<Settings> {
        self.settings.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What processes of ours show each other; without it none is recognised.
    pub fn trust_service_token(&self, token: &str) -> Result<(), Error> {
        self.trust_service_tokens(&[token])
    }

    /// The first is the one that is shown; all of them are recognised, so that they can be rotated.
    pub fn trust_service_tokens(&self, tokens: &[impl AsRef<str>]) -> Result<(), Error> {
        let header = |token: &str| {
            let mut value = HeaderValue::from_str(token).map_err(Error::internal)?;
            value.set_sensitive(true);
            Ok::<_, Error>(value)
        };
        let tokens: Vec<_> = tokens.iter().map(|token| header(token.as_ref())).collect::<Result<_, _>>()?;
        *self.service_tokens.write().unwrap_or_else(PoisonError::into_inner) = tokens.into();
        Ok(())
    }

    fn service_tokens(&self) -> Arc<[HeaderValue]> {
        self.service_tokens.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn service_token(&self) -> Option<HeaderValue> {
        self.service_tokens().first().cloned()
    }

    /// Whether a request comes from a process of ours.
    fn is_from_house(&self, headers: &HeaderMap) -> bool {
        let Some(shown) = headers.get(SERVICE_TOKEN_HEADER) else { return false };
        let is_same = |ours: &HeaderValue| {
            aws_lc_rs::constant_time::verify_slices_are_equal(ours.as_bytes(), shown.as_bytes()).is_ok()
        };
        self.service_tokens().iter().any(is_same)
    }

    /// Whether `peer` is a proxy of ours at this moment: what it says of where a request came from is believed.
    pub fn is_trusted_proxy(&self, peer: IpAddr) -> bool {
        self.settings().config.trusted_proxies.contains(&peer.to_canonical())
    }

    /// What yields to a pressure is refused before the gate: it is no work that was done, nor any that waits for somebody.
    fn refuses(&self, guard: &Guard) -> Option<Response> {
        let error = self.gate.check_pressure(guard.yields_to?).err()?;
        self.metrics.shed(guard.service, Shed::Pressure);
        Some(Problem(error).into_response())
    }

    /// What a handler answers where its source of [pressure](Edge::pressure) has no room left although the door was still
    /// open: counted as what the door refuses for it.
    pub fn no_room(&self, service: &'static str) -> Error {
        self.metrics.shed(service, Shed::Pressure);
        overloaded()
    }

    /// The gate that every request passes. Its [`run`](Gate::run) has to go on while requests are served.
    pub fn admission(&self) -> &Arc<Gate> {
        &self.gate
    }

    /// A source of back-pressure: routes that [yield](crate::Op::yields_to) to `name` are refused while it says 1 or
    /// more. It is asked at each of their requests, so it must be quick.
    pub fn pressure(&self, name: &'static str, source: Arc<dyn Fn() -> f64 + Send + Sync>) {
        self.gate.set_pressure(name, source);
    }

    /// The client's network: who shares it shares limits. An IPv6 subscriber has a whole /64 to choose from.
    fn address(&self, request: &Request, trusted: &[IpAddr]) -> Option<IpAddr> {
        let peer =
            request.extensions().get::<ConnectInfo<SocketAddr>>().map(|info| info.0.ip().to_canonical());
        let client = match peer {
            Some(peer) if trusted.contains(&peer) || self.is_from_house(request.headers()) => {
                Some(forwarded_for(request.headers(), trusted).unwrap_or(peer))
            }
            other => other,
        };
        client.map(network)
    }
}

fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6((u128::from(v6) & (u128::MAX << 64)).into()),
        v4 => v4,
    }
}

/// The last address in `X-Forwarded-For` that is not one of our proxies. Proxies append, to the line or as a line of
/// their own, so it is read from the end; at the first entry that cannot be read nobody further on is believed.
fn forwarded_for(headers: &HeaderMap, trusted: &[IpAddr]) -> Option<IpAddr> {
    let lines: Vec<&str> =
        headers.get_all("x-forwarded-for").iter().map(|value| value.to_str().unwrap_or("?")).collect();
    for part in lines.iter().rev().flat_map(|line| line.rsplit(',')) {
        let part = part.trim();
        let with_port = || part.parse::<SocketAddr>().map(|address| address.ip());
        let address = part.parse::<IpAddr>().or_else(|_| with_port()).ok()?.to_canonical();
        if !trusted.contains(&address) {
            return Some(address);
        }
    }
    None
}

/// What a route asks of its edge.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Guard {
    pub service: &'static str,
    pub route: &'static str,
    pub policy: Policy,
    pub limit: Option<Limit>,
    pub timeout: Option<Duration>,
    pub priority: Priority,
    pub yields_to: Option<&'static str>,
}

impl Guard {
    pub(crate) fn of(info: &RouteInfo) -> Self {
        Self {
            service: info.service,
            route: info.path,
            policy: info.policy,
            limit: info.op.limit,
            timeout: info.op.timeout,
            priority: info.op.priority.unwrap_or(Priority::usual(info.service, &info.method)),
            yields_to: info.op.yields_to,
        }
    }
}

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

fn request_id(headers: &HeaderMap, ids: &IdSource) -> String {
    let given = headers.get(REQUEST_ID).and_then(|value| value.to_str().ok());
    match given {
        Some(id)
            if (1..=64).contains(&id.len())
                && id.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b)) =>
        {
            id.to_owned()
        }
        _ => ids.uuid().as_simple().to_string(),
    }
}

/// A request that is under way. One that is dropped before it has been answered has been left by whoever asked.
struct Underway<'a> {
    edge: &'a Edge,
    guard: Guard,
    method: &'a axum::http::Method,
    hop: Hop,
    started: Instant,
    spot: Spot,
    answered: bool,
}

impl Underway<'_> {
    fn answered(mut self, status: u16) {
        self.answered = true;
        self.note(status);
    }

    fn seconds(&self) -> f64 {
        self.started.elapsed().as_secs_f64()
    }

    fn note(&self, status: u16) {
        self.spot.answered(status);
        self.spot.end();
        let Guard { service, route, .. } = self.guard;
        let what = What { service, method: self.method, route, hop: self.hop };
        self.edge.metrics.observe_at(&what, status, self.seconds(), self.spot.trace_id());
    }
}

impl Drop for Underway<'_> {
    fn drop(&mut self) {
        if !self.answered {
            self.note(rtc_metrics::CALLER_GONE);
        }
    }
}

/// Runs one request: admission, policy, limit, handler, and what is noted of it.
pub(crate) async fn guard(
    edge: Arc<Edge>,
    guard: Guard,
    mut request: Request,
    next: axum::middleware::Next,
) -> Response {
    let started = Instant::now();
    let method = request.method().clone();
    let id = request_id(request.headers(), &edge.ids);
    request.extensions_mut().insert(RequestId(id.clone()));
    let active = edge.metrics.begins(guard.service);
    let is_from_house = edge.is_from_house(request.headers());
    let spot = span_of(&guard, &request, if is_from_house { Caller::House } else { Caller::Outside });
    let hop = if is_from_house { Hop::Inner } else { Hop::Entry };
    let underway =
        Underway { edge: &edge, guard, method: &method, hop, started, spot: spot.clone(), answered: false };
    let mut response = match edge.refuses(&guard) {
        Some(refusal) => refusal,
        None => match edge.gate.enter(guard.priority).await {
            Ok(_permit) => work(&edge, guard, started, request, next, &spot).await,
            Err(error) => {
                edge.metrics.shed(guard.service, Shed::Overloaded);
                Problem(error).into_response()
            }
        },
    };
    drop(active);
    if response.status().as_u16() >= 400 && response.extensions().get::<Forwarded>().is_none() {
        response = with_request_id(response, &id).await;
    }
    if let Ok(value) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(REQUEST_ID, value);
    }
    let status = response.status().as_u16();
    if status >= 500 {
        let (route, trace_id, seconds) = (guard.route, spot.trace_id(), underway.seconds());
        tracing::warn!(request_id = %id, trace_id, %method, route, status, seconds, "request failed");
    }
    underway.answered(status);
    response
}

/// Does what was let in: here, or under overload where nobody who is refused waits behind it.
async fn work(
    edge: &Arc<Edge>,
    guard: Guard,
    started: Instant,
    request: Request,
    next: axum::middleware::Next,
    spot: &Spot,
) -> Response {
    let Some(workers) = edge.gate.workers() else {
        return spot.within(admit(edge, guard, started, request, next)).await;
    };
    let (over_there, there) = (edge.clone(), spot.clone());
    let work = async move { there.within(admit(&over_there, guard, started, request, next)).await };
    workers.work(guard.priority, work).await.unwrap_or_else(|why| match why {
        NotDone::NotBegun => {
            edge.gate.turned_away();
            edge.metrics.shed(guard.service, Shed::Overloaded);
            Problem(overloaded()).into_response()
        }
        NotDone::Panicked => Problem(Error::internal("what a request stands on panicked")).into_response(),
    })
}

fn span_of(guard: &Guard, request: &Request, caller: Caller) -> Spot {
    if !trace::is_on() {
        return Spot::default();
    }
    trace::serve(&trace::Request {
        service: guard.service,
        method: method_name(request.method()),
        route: guard.route,
        traceparent: request.headers().get(trace::HEADER).and_then(|value| value.to_str().ok()),
        caller,
    })
}

fn too_late() -> Error {
    Error::new(Kind::Timeout, "deadline_exceeded", "nobody waits for this any more: it was not begun")
}

async fn admit(
    edge: &Edge,
    guard: Guard,
    started: Instant,
    mut request: Request,
    next: axum::middleware::Next,
) -> Response {
    let settings = edge.settings();
    let limit = guard.timeout.unwrap_or(settings.config.request_timeout);
    let asked = asked(request.headers()).filter(|asked| *asked < limit);
    let deadline = Deadline(started + asked.unwrap_or(limit));
    if deadline.left(Instant::now()).is_zero() {
        edge.metrics.shed(guard.service, Shed::Deadline);
        return Problem(too_late()).into_response();
    }
    let caller = match guard.policy {
        Policy::Service if edge.is_from_house(request.headers()) => Ok(None),
        Policy::Service => Err(Error::not_found("no_such_route", "there is nothing under this address")),
        policy => edge.verifier.authorize_fresh(policy, request.headers()).await,
    };
    let caller = match caller {
        Ok(caller) => caller,
        Err(error) => return Problem(error).into_response(),
    };
    let mut left = None;
    let address = edge.address(&request, &settings.config.trusted_proxies);
    request.extensions_mut().insert(ClientAddress(address));
    request.extensions_mut().insert(deadline);
    if let Some(limit) = guard.limit {
        let user = caller.map(|caller| caller.user_id);
        match edge.limits.take_of(&settings.quotas, limit, address, user).await {
            Ok(taken) => left = taken,
            Err(refused) => {
                edge.metrics.shed(guard.service, Shed::RateLimited);
                let (error, left) = *refused;
                let mut response = Problem(error).into_response();
                left.write(response.headers_mut());
                return response;
            }
        }
    }
    if let Some(caller) = caller {
        request.extensions_mut().insert(caller);
    }
    // A process of ours may ask for somebody outside, but what it asks by these routes is what it lives on itself.
    let asker = if guard.policy == Policy::Service { Asker::House } else { Asker::Guest };
    let handler = std::panic::AssertUnwindSafe(asker.scope(next.run(request))).catch_unwind();
    let mut response = match tokio::time::timeout_at(deadline.0, handler).await {
        Ok(Ok(response)) => response,
        Ok(Err(_)) => Problem(Error::internal("a handler panicked")).into_response(),
        Err(_) => {
            let code = if asked.is_some() { "deadline_exceeded" } else { "timeout" };
            let error = Error::new(Kind::Timeout, code, "no answer in time; the outcome is not known");
            Problem(error).into_response()
        }
    };
    if let Some(left) = left {
        left.write(response.headers_mut());
    }
    response
}

/// Puts the request's id into a problem's body.
async fn with_request_id(response: Response, id: &str) -> Response {
    let is_problem =
        response.headers().get("content-type").is_some_and(|value| value == "application/problem+json");
    if !is_problem {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    let Ok(bytes) = axum::body::to_bytes(body, 64 * 1024).await else {
        return parts.status.into_response();
    };
    let mut bytes = bytes.to_vec();
    if bytes.last() == Some(&b'}') {
        bytes.pop();
        bytes.extend_from_slice(format!(",\"request_id\":\"{id}\"}}").as_bytes());
    }
    parts.headers.remove("content-length");
    Response::from_parts(parts, bytes.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(lines: &[&str]) -> Option<String> {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append("x-forwarded-for", line.parse().unwrap());
        }
        forwarded_for(&headers, &["10.0.0.1".parse().unwrap()]).map(|address| address.to_string())
    }

    #[test]
    fn a_client_cannot_choose_its_address_by_sending_the_header_itself() {
        assert_eq!(seen(&["1.1.1.1, 2.2.2.2"]).as_deref(), Some("2.2.2.2"));
        assert_eq!(seen(&["1.1.1.1", "2.2.2.2"]).as_deref(), Some("2.2.2.2"));
        assert_eq!(seen(&["1.1.1.1, 2.2.2.2:4711, 10.0.0.1"]).as_deref(), Some("2.2.2.2"));
        assert_eq!(seen(&["1.1.1.1, unknown, 10.0.0.1"]), None);
    }

    #[test]
    fn an_ipv6_subscriber_is_one_network() {
        let network = |text: &str| network(text.parse().unwrap()).to_string();
        assert_eq!(network("2001:db8:1:2:3:4:5:6"), network("2001:db8:1:2::9"));
        assert_ne!(network("2001:db8:1:2::9"), network("2001:db8:1:3::9"));
        assert_eq!(network("::ffff:1.2.3.4"), "1.2.3.4");
    }
}
