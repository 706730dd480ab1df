//! Headers on their way in and out.

use std::net::SocketAddr;

use axum::extract::{ConnectInfo, Request};
use axum::http::{HeaderName, HeaderValue, header};
use axum::response::Response;
use web::Edge;

/// Headers of one connection (RFC 9110 §7.6.1); they mean nothing behind it.
const HOP_BY_HOP: [&str; 9] = [
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Headers by which other systems say who calls. Here only the token does.
const IDENTITY: [&str; 6] = ["x-user", "x-principal", "x-auth-", "x-role", "x-remote-user", "x-amzn-oidc-"];

/// Headers by which a proxy says where a request came from: believed from our own proxies alone.
const ORIGIN: [&str; 3] = ["x-forwarded-", "forwarded", "x-real-ip"];

/// What processes of ours say to each other. A deadline anybody may give: it only makes an answer come sooner.
const OF_THE_HOUSE: &str = "x-rtc-";

/// Removes what must not reach a service.
pub(crate) fn clean_request(mut request: Request, edge: &Edge) -> Request {
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>().map(|info| info.0.ip());
    let from_proxy = peer.is_some_and(|peer| edge.is_trusted_proxy(peer));
    let headers = request.headers();
    let refused = |name: &str| {
        HOP_BY_HOP.contains(&name)
            || (name.starts_with("x-") && IDENTITY.iter().any(|prefix| name.starts_with(prefix)))
            || (name.starts_with(OF_THE_HOUSE) && name != web::DEADLINE_HEADER)
            || (!from_proxy && ORIGIN.iter().any(|prefix| name.starts_with(prefix)))
    };
    let mut unwanted: Vec<HeaderName> =
        headers.keys().filter(|name| refused(name.as_str())).cloned().collect();
    if unwanted.is_empty() {
        return request;
    }
    for listed in headers.get_all(header::CONNECTION) {
        let names = listed.to_str().unwrap_or("").split(',');
        unwanted.extend(names.filter_map(|name| name.trim().parse::<HeaderName>().ok()).filter(can_be_named));
    }
    for name in unwanted {
        request.headers_mut().remove(name);
    }
    request
}

/// A client may not have what a service needs removed by naming it in `Connection`.
fn can_be_named(name: &HeaderName) -> bool {
    !matches!(name.as_str(), "authorization" | "content-type" | "content-length" | "host" | "idempotency-key")
        && *name != header::IF_MATCH
        && *name != header::IF_NONE_MATCH
}

const REFERRER_POLICY: HeaderName = HeaderName::from_static("referrer-policy");

/// Adds what every answer carries, unless the service has said something itself.
pub(crate) fn harden_answer(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers
        .entry(header::CONTENT_SECURITY_POLICY)
        .or_insert(HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'"));
    // What has a version of its own may be kept and asked for again; anything else may be somebody's private data.
    if !headers.contains_key(header::CACHE_CONTROL) {
        let policy = if headers.contains_key(header::ETAG) { "private, no-cache" } else { "no-store" };
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(policy));
    }
    response
}
