//! Orders: taking them, and carrying each through the checkout saga to exactly one end.
//!
//! Invariants: an accepted order is durable before it is answered; a step's intent is written before its command is
//! sent; every compensation is acknowledged before the order is called rejected or cancelled.

mod commands;
mod config;
mod domain;
mod events;
mod http;
mod jobs;
mod metrics;
pub mod oracle;
mod projections;
mod queries;
mod saga;
mod settled;
mod store;
#[cfg(test)]
mod tests;
mod trouble;
mod views;

use std::sync::Arc;
use std::time::Duration;

use db::{Migration, Migrations};
use host::{Context, Live, Service, StartError};
use messaging::Every;

pub use config::OrdersConfig;
pub use domain::{EndReason, OrderState};

pub const NAME: &str = "orders";

/// The pressure to which placing an order yields, and the pump that counts for it.
const IN_FLIGHT: &str = "orders.in_flight";
const IN_FLIGHT_LOOK: Duration = Duration::from_millis(100);
const SETTLED_ELSEWHERE: &str = "orders.settled_elsewhere";
/// How often it is looked for orders that another process has settled.
const SETTLED_LOOK: Duration = Duration::from_millis(25);

static MIGRATIONS: &[Migrations] = &[
    messaging::MIGRATIONS,
    web::IDEMPOTENCY_MIGRATIONS,
    Migrations {
        component: NAME,
        steps: &[
            Migration { version: 1, name: "orders, history, products", sql: store::SCHEMA },
            Migration { version: 2, name: "products aside", sql: store::PRODUCTS_ASIDE },
        ],
    },
    trouble::MIGRATIONS,
];

/// The routes that the service has, for whoever has to know them without running it.
pub fn routes(_: &host::Config) -> Result<Vec<web::RouteInfo>, StartError> {
    Ok(http::routes().table())
}

pub async fn service(context: &Context) -> Result<Service, StartError> {
    let config: Live<OrdersConfig> = context.config.live(NAME)?;
    let mut service = Service::builder(NAME, context, MIGRATIONS).await?;
    let in_flight = jobs::InFlight::new(config.clone());
    let tally = Arc::new(settled::Tally::load(&service.db()).await.map_err(kernel::Error::from)?);
    let figures = context.with_metrics(metrics::Metrics::register);
    context.observe(Arc::new(metrics::Sagas {
        db: service.db(),
        clock: context.clock.clone(),
        metrics: figures.clone(),
    }));
    let runner = saga::Runner::new(config, context.clock.clone(), service.outbox(), tally.clone(), figures);
    let state = http::State {
        db: service.db(),
        clock: context.clock.clone(),
        ids: context.ids.clone(),
        edge: context.edge.clone(),
        vault: context.vault.clone(),
        runner: runner.clone(),
        views: views::Views::new(service.db()),
        in_flight: in_flight.clone(),
    };
    service.routes(http::routes(), state);
    service.consume(events::answers(runner.clone()));
    service.consume(projections::products::consumer());
    let deadlines = jobs::Deadlines { db: service.db(), runner, clock: context.clock.clone() };
    service.every("deadlines", Duration::from_secs(1), deadlines);
    let pressure = in_flight.clone();
    context.edge.pressure(IN_FLIGHT, Arc::new(move || pressure.pressure()));
    let count = jobs::CountInFlight { db: service.db(), in_flight };
    let count = jobs::Steady::new(IN_FLIGHT, count);
    service.pump_here(Arc::new(Every::new(IN_FLIGHT, IN_FLIGHT_LOOK, count)));
    if !service.db().is_commit_ordered() {
        let look = jobs::SettledElsewhere { db: service.db(), tally: tally.clone() };
        let look = jobs::Steady::new(SETTLED_ELSEWHERE, look);
        service.pump_here(Arc::new(Every::new(SETTLED_ELSEWHERE, SETTLED_LOOK, look)));
    }
    service.admin(http::operator_routes(tally));
    service.admin(trouble::operator_routes(service.db()));
    service.seals(store::SEALED);
    Ok(service.build())
}
