//! The routes of a service that runs elsewhere: guarded here as they are there, and handed on.
//!
//! Invariants: what the entry refuses is what the service would refuse, in the same words; who calls is said by the
//! caller's token alone, where from by this process alone; an answer passes through as it came.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderName, HeaderValue, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodFilter, on};
use kernel::Error;
use tokio::time::Instant;
use trace::Spot;

use crate::body::{BODY_MAX, read_body, require_json};
use crate::edge::{ClientAddress, Forwarded, Guard, RequestId, SERVICE_TOKEN_HEADER, guard};
use crate::metrics::method_name;
use crate::{Client, Edge, Policy, Problem, RouteInfo};

/// Headers that say something of one connection, or that each hop says anew.
const OF_A_HOP: [HeaderName; 9] = [
    header::CONNECTION,
    header::TRANSFER_ENCODING,
    header::TE,
    header::TRAILER,
    header::UPGRADE,
    header::EXPECT,
    header::PROXY_AUTHORIZATION,
    header::PROXY_AUTHENTICATE,
    HeaderName::from_static("keep-alive"),
];

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// A router for `routes` that hands each request to `client`. What only other services may call is not handed on.
pub fn forward(routes: &[RouteInfo], client: &Client, edge: &Arc<Edge>) -> Router {
    let mut router = Router::new();
    for info in routes.iter().filter(|info| info.policy != Policy::Service) {
        let Ok(filter) = MethodFilter::try_from(info.method.clone()) else { continue };
        let rules = Guard { service: "gateway", limit: None, ..Guard::of(info) };
        let (client, to, service, route) = (client.clone(), edge.clone(), info.service, info.path);
        let reads_json = info.op.reads_json();
        let takes_key = info.op.has_idempotency_key();
        let handler = move |mut request: Request| {
            if !takes_key {
                // Where it means nothing it must not make a request look as if it could be repeated.
                request.headers_mut().remove("idempotency-key");
            }
            let (client, edge) = (client.clone(), to.clone());
            async move {
                let (method, began) = (request.method().clone(), Instant::now());
                let spot = trace::call(service, method_name(&method), route);
                let answer = spot.within(hand_on(&client, &edge, reads_json, request)).await;
                let status = answer.as_ref().ok().map(|response| response.status().as_u16());
                match status {
                    Some(status) => spot.answered(status),
                    None => spot.failed("unanswered"),
                }
                spot.end();
                edge.metrics.called(service, &method, status, began.elapsed().as_secs_f64());
                answer.unwrap_or_else(|error| Problem(error).into_response())
            }
        };
        let edge = edge.clone();
        let layer = middleware::from_fn(move |request: Request, next: Next| {
            guard(edge.clone(), rules, request, next)
        });
        router = router.route(info.path, on(filter, handler).layer(layer));
    }
    router.method_not_allowed_fallback(async || {
        let error = Error::invalid("method_not_allowed", "this address does not take that method");
        Problem(error.with_status(405)).into_response()
    })
}

async fn hand_on(
    client: &Client,
    edge: &Edge,
    reads_json: bool,
    mut request: Request,
) -> Result<Response, Error> {
    // A client that sends slowly occupies this process alone.
    if reads_json && require_json(request.headers()).is_ok() {
        let (parts, body) = request.into_parts();
        let mut rest = Request::new(body);
        *rest.headers_mut() = parts.headers.clone();
        let whole = read_body(rest, BODY_MAX).await?;
        request = Request::from_parts(parts, Body::from(whole));
    }
    let id = request.extensions().get::<RequestId>().map(|id| HeaderValue::from_str(&id.0));
    let from = request.extensions().get::<ClientAddress>().and_then(|address| address.0);
    let headers = request.headers_mut();
    for name in &OF_A_HOP {
        headers.remove(name);
    }
    headers.remove(FORWARDED_FOR);
    if let Some(value) = from.and_then(|from| HeaderValue::from_str(&from.to_string()).ok()) {
        headers.insert(FORWARDED_FOR, value);
    }
    if let Some(Ok(id)) = id {
        headers.insert("x-request-id", id);
    }
    // Where this process makes no traces the caller's goes on, but a house that trusts us must not take his word for ours.
    let theirs = headers.remove(trace::HEADER);
    let theirs = theirs.as_ref().and_then(|value| value.to_str().ok());
    let traceparent = Spot::current().traceparent().or_else(|| theirs.and_then(trace::pass_on));
    if let Some(value) = traceparent.and_then(|text| HeaderValue::from_str(&text).ok()) {
        headers.insert(trace::HEADER, value);
    }
    match edge.service_token() {
        Some(token) => drop(headers.insert(SERVICE_TOKEN_HEADER, token)),
        None => drop(headers.remove(SERVICE_TOKEN_HEADER)),
    }
    let mut response = client.send(request).await?;
    for name in &OF_A_HOP {
        response.headers_mut().remove(name);
    }
    response.extensions_mut().insert(Forwarded);
    Ok(response)
}
