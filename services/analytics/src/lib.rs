//! Analytics: sales from outside are taken in and added up, and the shop's own orders are folded into minutes.
//!
//! Invariants:
//! - a line is stored once by (source, external id); a second delivery changes no total;
//! - every total is written in the transaction of the lines that it counts, so it is exact at every commit;
//! - amounts are whole minor units with checked arithmetic: a line that a total cannot hold is refused.

mod commands;
mod config;
mod domain;
mod events;
mod http;
mod queries;
mod store;
mod stream;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use host::{Context, Service, StartError};
use tokio::sync::Semaphore;

pub use config::Config;

static MIGRATIONS: &[db::Migrations] =
    &[messaging::MIGRATIONS, web::IDEMPOTENCY_MIGRATIONS, store::MIGRATIONS];

/// The routes that the service has, for whoever has to know them without running it.
pub fn routes(_: &host::Config) -> Result<Vec<web::RouteInfo>, StartError> {
    Ok(http::routes().table())
}

/// Puts the service together.
pub async fn service(context: &Context) -> Result<Service, StartError> {
    let config: Config = context.config.section("analytics")?;
    let mut service = Service::builder("analytics", context, MIGRATIONS).await?;
    let state = http::App {
        db: service.db(),
        clock: context.clock.clone(),
        pages: context.edge.pages.clone(),
        streams: Arc::new(Semaphore::new(config.streams_max)),
        stream_idle: std::time::Duration::from_millis(config.stream_idle_ms),
        stopping: context.stopping.clone(),
    };
    service.routes(http::routes(), state);
    service.consume(events::orders());
    Ok(service.build())
}
