//! A walk over all routes: each is reachable, and guarded by its policy (S4).

use axum::Router;
use axum::body::Body;
use contracts::Role;
use http::{Method, Request};
use serde_json::Value;
use tower::ServiceExt;
use web::{Policy, RouteInfo};

/// Calls every route of the table without a token, with a bad one, and as each role, and says what is not as the
/// route's policy has it: an empty list is a good one. `token` gives a fresh token for a role; each is used once.
///
/// Bodies are empty and path parameters made up, so a handler answers with whatever it has against them; what counts is
/// whether the guard let the call through.
pub async fn walk_routes(
    router: &Router,
    table: &[RouteInfo],
    mut token: impl FnMut(Role) -> String,
) -> Vec<String> {
    let mut wrong = Vec::new();
    for route in table {
        let mut look = |who: &str, expected: Expected, seen: (u16, String)| {
            if !expected.fits(&seen) {
                let (status, code) = seen;
                wrong.push(format!(
                    "{} {} ({}): {who}: expected {expected:?}, got {status} {code}",
                    route.method, route.path, route.service
                ));
            }
        };
        look("no token", Expected::of(route.policy, Who::Nobody), call(router, route, None).await);
        look("a bad token", Expected::of(route.policy, Who::Forger), call(router, route, Some("bad")).await);
        for role in Role::ALL {
            let token = token(role);
            let expected = Expected::of(route.policy, Who::Role(role));
            look(role.as_str(), expected, call(router, route, Some(&token)).await);
        }
    }
    wrong
}

#[derive(Clone, Copy)]
enum Who {
    Nobody,
    Forger,
    Role(Role),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Expected {
    Through,
    TokenMissing,
    TokenInvalid,
    RoleRequired,
    NotThere,
}

impl Expected {
    fn of(policy: Policy, who: Who) -> Self {
        match (policy, who) {
            (Policy::Service, _) => Expected::NotThere,
            (Policy::Public, _) | (Policy::Optional, Who::Nobody | Who::Role(_)) => Expected::Through,
            (Policy::SignedIn | Policy::Roles(_), Who::Nobody) => Expected::TokenMissing,
            (_, Who::Forger) => Expected::TokenInvalid,
            (Policy::SignedIn, Who::Role(_)) => Expected::Through,
            (Policy::Roles(roles), Who::Role(role)) if roles.contains(&role) => Expected::Through,
            (Policy::Roles(_), Who::Role(_)) => Expected::RoleRequired,
        }
    }

    fn fits(self, (status, code): &(u16, String)) -> bool {
        const OF_GUARD: [&str; 7] = [
            "token_missing",
            "token_invalid",
            "token_expired",
            "token_revoked",
            "role_required",
            "no_such_route",
            "method_not_allowed",
        ];
        match self {
            Expected::Through => *status != 500 && !OF_GUARD.contains(&code.as_str()),
            Expected::TokenMissing => (*status, code.as_str()) == (401, "token_missing"),
            Expected::TokenInvalid => (*status, code.as_str()) == (401, "token_invalid"),
            Expected::RoleRequired => (*status, code.as_str()) == (403, "role_required"),
            Expected::NotThere => (*status, code.as_str()) == (404, "no_such_route"),
        }
    }
}

/// The path with something in the place of each parameter.
fn concrete(path: &str) -> String {
    let segment = |part: &str| if part.contains('{') { "0".to_owned() } else { part.to_owned() };
    path.split('/').map(segment).collect::<Vec<_>>().join("/")
}

async fn call(router: &Router, route: &RouteInfo, token: Option<&str>) -> (u16, String) {
    let mut request = Request::builder().method(route.method.clone()).uri(concrete(route.path));
    if let Some(token) = token {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    if route.method != Method::GET {
        request = request.header("content-type", "application/json");
    }
    let request = request.body(Body::empty()).expect("a request that can be built");
    let response = match router.clone().oneshot(request).await {
        Ok(response) => response,
        Err(never) => match never {},
    };
    let (parts, body) = response.into_parts();
    let status = parts.status.as_u16();
    // Only problems are read: a stream of events would never end.
    if parts.headers.get("content-type").is_none_or(|value| value != "application/problem+json") {
        return (status, String::new());
    }
    let bytes = axum::body::to_bytes(body, 1 << 20).await.unwrap_or_default();
    let problem: Value = serde_json::from_slice(&bytes).unwrap_or_default();
    (status, problem["code"].as_str().unwrap_or_default().to_owned())
}
