//! The operator's port: probes and metrics for everybody on it, everything else behind the operator's token.

mod dead_letters;
mod invariants;
mod metrics;
mod rebuild;
mod split;
mod status;
mod topics;

pub use status::resident_bytes;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use axum::Router;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use bus::Bus;
use db::Db;
use host::{Context, Service, StartError};
use kernel::{Error, Timestamp};
use messaging::{Every, Job, Progress, Pump};
use web::{Client, Problem};

use crate::split::Fleet;

/// What the operator's handlers look at.
#[derive(Clone)]
pub struct Operator {
    context: Context,
    services: Arc<Vec<(&'static str, Db)>>,
    /// The log's own database, where the log is in this process.
    log: Option<Db>,
    /// The services' own operator's routes.
    own: Client,
    api: SocketAddr,
    started_at: Timestamp,
    ready: Arc<AtomicBool>,
    /// The processes of the platform, where it is split into several and this one minds them.
    fleet: Option<Arc<Fleet>>,
    tokens: host::Tokens,
}

impl Operator {
    fn bus(&self) -> &dyn Bus {
        self.context.bus.as_ref()
    }
}

pub fn router(
    context: &Context,
    services: &[Service],
    log: Option<Db>,
    api: SocketAddr,
    started_at: Timestamp,
    ready: Arc<AtomicBool>,
    fleet: Option<Arc<Fleet>>,
) -> Result<Router, StartError> {
    let own = services.iter().fold(Router::new(), |router, service| router.merge(service.admin.clone()));
    let operator = Operator {
        context: context.clone(),
        services: Arc::new(services.iter().map(|service| (service.name, service.db.clone())).collect()),
        log,
        own: Client::local(own.clone()),
        api,
        started_at,
        ready,
        fleet,
        tokens: context.secrets.tokens("admin_token")?,
    };
    let guarded = Router::new()
        .route("/status", get(status::show))
        .route("/topics", get(topics::list))
        .route("/topics/{topic}/messages", get(topics::messages))
        .route("/lag", get(topics::lag))
        .route("/dead-letters", get(dead_letters::list))
        .route("/dead-letters/replay", post(dead_letters::replay))
        .route("/dead-letters/drop", post(dead_letters::discard))
        .route("/dead-letters/{service}/{id}", get(dead_letters::show))
        .route("/consumers", get(rebuild::list))
        .route("/consumers/{group}/rebuild", post(rebuild::begin).delete(rebuild::abandon))
        .route("/invariants", get(invariants::check))
        .route("/metrics/history", get(metrics::history))
        .route("/split/restart", post(split::restart))
        .with_state(operator.clone())
        .merge(own)
        .layer(middleware::from_fn_with_state(operator.clone(), require_token));
    Ok(Router::new()
        .route("/livez", get(async || "ok"))
        .route("/readyz", get(readiness))
        .route("/startupz", get(readiness))
        .route("/metrics", get(metrics::page))
        .with_state(operator)
        .nest("/admin", guarded)
        .method_not_allowed_fallback(async || {
            let error = Error::invalid("method_not_allowed", "this address does not take that method");
            Problem(error.with_status(405))
        })
        .fallback(async || Problem(Error::not_found("no_such_route", "there is nothing under this address"))))
}

async fn require_token(State(operator): State<Operator>, request: Request, next: Next) -> Response {
    let token = match web::auth::bearer(request.headers()) {
        Ok(token) => token.unwrap_or("").as_bytes(),
        Err(error) => return Problem(error).into_response(),
    };
    if !operator.tokens.accept(token) {
        let error =
            Error::unauthenticated("operator_token", "this needs the operator's token (secrets/admin_token)");
        return Problem(error).into_response();
    }
    next.run(request).await
}

async fn readiness(State(operator): State<Operator>) -> Response {
    if operator.ready.load(Ordering::Acquire) {
        return "ready".into_response();
    }
    (StatusCode::SERVICE_UNAVAILABLE, "not ready").into_response()
}

struct LogSweep {
    context: Context,
}

#[async_trait]
impl Job for LogSweep {
    async fn run(&self) -> kernel::Result<Progress> {
        self.context.bus.sweep(self.context.clock.now()).await?;
        self.context.revocations.forget_before(self.context.clock.now());
        Ok(Progress::Idle)
    }
}

/// Deletes what the log has kept long enough.
pub fn log_sweep(context: &Context) -> Arc<dyn Pump> {
    let job = LogSweep { context: context.clone() };
    Arc::new(Every::new("log.sweep", Duration::from_secs(3_600), job))
}
