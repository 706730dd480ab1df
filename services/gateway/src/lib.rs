//! The gateway: the single entry to all services.
//!
//! Invariants:
//! - deny by default: an address is served only if a service's table of routes lists it with this method;
//! - no header in which somebody could claim to be somebody else reaches a service; the token alone says who calls, and
//!   each service checks it again;
//! - every answer carries the headers that keep a browser from doing harm with it;
//! - what the API's description says is made from the same tables.

mod entry;
mod headers;
mod own;
#[cfg(test)]
mod tests;

use std::time::Duration;

use axum::Router;
use axum::http::{HeaderName, HeaderValue, Method, header};
use axum::response::IntoResponse;
use host::Context;
use kernel::Error;
use tower_http::cors::{AllowOrigin, CorsLayer};
use web::{Client, Policy, Problem, RouteInfo};

/// What counts here is counted for it.
const NAME: &str = "gateway";

/// A service behind the gateway.
pub struct Upstream {
    pub name: &'static str,
    pub routes: Vec<RouteInfo>,
    pub client: Client,
}

/// Puts the services behind one entry. A service in this process is merged into the router, so that a request is
/// matched once and handed to its handler directly. For one in another process the same addresses are guarded by the
/// same policies here, and what passes is handed on. Routes that only processes of ours may call are not there at all.
///
/// # Panics
/// Where two services claim the same method and path: a defect that has to show before anything is served.
pub fn router(context: &Context, upstreams: Vec<Upstream>) -> Router {
    let mut table: Vec<RouteInfo> = Vec::new();
    let mut services = Router::new();
    for upstream in upstreams {
        for route in &upstream.routes {
            if let Some(other) = table.iter().find(|it| it.path == route.path && it.method == route.method) {
                panic!("{} and {} both serve {} {}", other.service, upstream.name, route.method, route.path);
            }
        }
        services = match &upstream.client {
            Client::Local(router) => services.merge(router.clone()),
            Client::Remote(_) => {
                services.merge(web::forward(&upstream.routes, &upstream.client, &context.edge))
            }
        };
        table.extend(upstream.routes.into_iter().filter(|route| route.policy != Policy::Service));
    }
    let own = own::Own::new(context, &table);
    table.extend(own.table());
    context.edge.metrics.expect(NAME);
    let metrics = context.edge.metrics.clone();
    let listed = entry::Listed::new(&table, context.edge.metrics.clone());
    let router = services.merge(own.router(context)).route_layer(entry::ListedLayer::new(listed)).fallback(
        async move |method: Method| {
            metrics.unmatched(NAME, &method, 404);
            Problem(Error::not_found("no_such_route", "there is nothing under this address")).into_response()
        },
    );
    let edge = context.edge.clone();
    let router = router
        .layer(tower::util::MapRequestLayer::new(move |request| headers::clean_request(request, &edge)))
        .layer(tower::util::MapResponseLayer::new(headers::harden_answer));
    match cors(&context.config.server.allowed_origins) {
        Some(cors) => router.layer(cors),
        None => router,
    }
}

/// Which pages of other origins may call. `None`: only our own.
fn cors(origins: &[String]) -> Option<CorsLayer> {
    let mut allowed = Vec::new();
    for origin in origins {
        match HeaderValue::from_str(origin.trim_end_matches('/')) {
            // A wildcard would let every page on the web call with a token that it got hold of.
            Ok(value) if origin != "*" => allowed.push(value),
            _ => tracing::warn!(origin, "server.allowed_origins: this is not an origin; it is left out"),
        }
    }
    if allowed.is_empty() {
        return None;
    }
    const ASKED: [HeaderName; 6] = [
        header::AUTHORIZATION,
        header::CONTENT_TYPE,
        header::IF_MATCH,
        header::IF_NONE_MATCH,
        HeaderName::from_static("idempotency-key"),
        HeaderName::from_static("x-request-id"),
    ];
    const SHOWN: [HeaderName; 6] = [
        header::ETAG,
        header::LOCATION,
        header::RETRY_AFTER,
        HeaderName::from_static("ratelimit"),
        HeaderName::from_static("ratelimit-policy"),
        HeaderName::from_static("x-request-id"),
    ];
    Some(
        CorsLayer::new()
            .allow_origin(AllowOrigin::list(allowed))
            .allow_methods([Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE])
            .allow_headers(ASKED)
            .expose_headers(SHOWN)
            .max_age(Duration::from_secs(600)),
    )
}
