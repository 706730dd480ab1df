//! The HTTP edge, the same for every service.
//!
//! Invariants:
//! - a route exists only together with a [`Policy`]: there is no way to add one without (R: deny by default);
//! - every failure leaves as `application/problem+json` with a stable code, and no text of ours leaks into it;
//! - the OpenAPI document is made from the same table as the router, so neither can drift from the other.

pub mod admission;
pub mod auth;
mod body;
mod client;
mod deadline;
mod edge;
mod etag;
mod forward;
mod idempotency;
mod limits;
mod metrics;
mod objects;
mod openapi;
mod pages;
mod problem;
mod remote_auth;
mod routes;
mod server;
#[cfg(test)]
mod tests;

pub use admission::{AdmissionConfig, Gate, Priority};
pub use auth::{Caller, Policy, Principal, Revocations, TokenVerifier};
pub use body::{Json, Path, Query};
pub use client::{Client, Remote, RemoteConfig};
pub use deadline::{DEADLINE_HEADER, Deadline};
pub use edge::{ClientAddress, Edge, EdgeConfig, RequestId, SERVICE_TOKEN_HEADER};
pub use etag::{ETag, IfMatch, not_modified};
pub use forward::forward;
pub use idempotency::{
    Answer, Keyed, MIGRATIONS as IDEMPOTENCY_MIGRATIONS, MaybeKeyed, RequestKey, once, sweep,
};
pub use limits::{Limit, Limits, Scope};
pub use metrics::{Format, HttpMetrics, Shed, encode};
pub use openapi::{Op, document};
pub use pages::{Page, PageParams, Pages};
pub use problem::{Problem, ProblemBody};
pub use remote_auth::{
    JWKS_PATH, REVOCATIONS_PATH, RemoteAuth, RevocationFeed, RevokedSession, RevokedTokens,
};
pub use routes::{RouteInfo, Routes};
pub use server::{Server, ServerConfig};

/// What a handler answers.
pub type ApiResult<T> = Result<T, Problem>;
