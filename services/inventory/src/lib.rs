//! Stock: how much of each sku there is, what is reserved for which order, and every movement that led there.
//!
//! Invariants:
//! - `0 ≤ reserved ≤ on_hand` for each sku at every commit, kept by CHECK constraints and one conditional UPDATE;
//! - `on_hand` is the sum of the sku's movements, which are only ever appended;
//! - an order has at most one reservation, all of its lines or none, and it ends once;
//! - every command is answered by exactly one event, and a repeated command gets the answer it got before.

mod commands;
mod config;
pub mod domain;
mod events;
mod http;
mod jobs;
mod metrics;
pub mod oracle;
mod queries;
mod store;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use host::{Context, Live, Service, StartError};

pub use commands::Desk;
pub use config::Config;
pub use http::{Adjustment, MovementView, Settings, StockView};
pub use metrics::Metrics;

/// How often reservations whose time is over are looked for. They also end when a command or a reader meets them.
const EXPIRY_INTERVAL: Duration = Duration::from_secs(60);

/// The routes that the service has, for whoever has to know them without running it.
pub fn routes(_: &host::Config) -> Result<Vec<web::RouteInfo>, StartError> {
    Ok(http::routes().table())
}

/// Builds the service.
pub async fn service(context: &Context) -> Result<Service, StartError> {
    let config: Live<Config> = context.config.live("inventory")?;
    let mut service = Service::builder("inventory", context, store::MIGRATIONS).await?;
    let metrics = context.with_metrics(Metrics::register);
    context.observe(Arc::new(metrics::StockLevels { db: service.db(), metrics: metrics.clone() }));
    let desk = Arc::new(Desk::new(service.outbox(), context.clock.clone(), config, metrics));
    let shop = http::Shop { db: service.db(), desk: desk.clone(), edge: context.edge.clone() };
    service.routes(http::routes(), shop);
    service.consume(events::consumer(&desk));
    let expiry = jobs::Expiry { db: service.db(), desk };
    service.every("expire", EXPIRY_INTERVAL, expiry);
    Ok(service.build())
}
