//! Analytics: sales from outside are taken in and added up, and what the shop's services say is folded into event-time
//! windows.
//!
//! Invariants:
//! - a line is stored once by (source, external id), an event is counted once; a second delivery changes no number;
//! - every number is written in the transaction of the lines or events that it counts, so it is exact at every commit;
//! - windows and late totals together are all that happened, in whatever order it was heard of;
//! - amounts are whole minor units with checked arithmetic: what a total cannot hold is refused.

mod commands;
mod config;
mod domain;
mod events;
mod http;
mod http_shop;
mod jobs;
mod live;
mod metrics;
mod projector;
mod queries;
mod report;
mod store;
mod stream;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use host::{Context, Service, StartError};
use messaging::Every;
use tokio::sync::Semaphore;

pub use config::Config;

use live::Live;
use projector::Projector;

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
    config.check().map_err(StartError::Config)?;
    let metrics = context.with_metrics(metrics::Metrics::register);
    let rules = report::Rules::of(&config);
    let live = Arc::new(Live::new(service.db(), context.clock.clone(), rules, metrics.clone()));
    let projector = Arc::new(Projector::new(context.clock.clone(), &config, metrics));
    let state = http::App {
        db: service.db(),
        clock: context.clock.clone(),
        pages: context.edge.pages.clone(),
        streams: Arc::new(Semaphore::new(config.streams_max)),
        stream_idle: Duration::from_millis(config.stream_idle_ms),
        stopping: context.stopping.clone(),
        rules,
        live: live.clone(),
        listeners: Arc::new(Semaphore::new(config.listeners_max)),
        listen_max: Duration::from_millis(config.listen_max_ms),
    };
    service.routes(http::routes(), state);
    service.consume(events::shop(&projector));
    service.pump_here(Arc::new(Every::new("analytics.live", live::LOOK_EVERY, live::Refresher(live))));
    let sweep = jobs::Sweep { db: service.db(), clock: context.clock.clone(), rules };
    service.every("windows", jobs::SWEEP_EVERY, sweep);
    Ok(service.build())
}
