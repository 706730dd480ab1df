//! The payments service and the mock bank behind it.
//!
//! Two parts with a wall between: [`bank`] keeps accounts, holds and a double-entry ledger in tables of its own, and
//! the rest keeps one payment an order and reaches the bank only through the port [`bank::Bank`].
//!
//! Invariants: money moves only inside the bank; a step's intent is on disk before the bank is called; what the bank
//! said is what is believed, and where it said nothing it is asked.

mod admin;
pub mod bank;
mod commands;
mod config;
pub mod domain;
mod driver;
mod http;
mod jobs;
mod metrics;
pub mod oracle;
mod store;
#[cfg(test)]
mod tests;
mod words;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use db::Migrations;
use host::{Context, Live, Service, StartError};
use messaging::Every;
use tokio::sync::Notify;

use bank::Bank;
use bank::faulty::{Callbacks, FaultyBank, SkewedClock};
use bank::mock::MockBank;
use bank::pin::Pins;
pub use config::PaymentsConfig;

static MIGRATIONS: &[Migrations] =
    &[messaging::MIGRATIONS, web::IDEMPOTENCY_MIGRATIONS, bank::schema::MIGRATIONS, store::MIGRATIONS];

/// The routes that the service has, for whoever has to know them without running it.
pub fn routes(_: &host::Config) -> Result<Vec<web::RouteInfo>, StartError> {
    Ok(http::routes().table())
}

/// Puts the service together.
pub async fn service(context: &Context) -> Result<Service, StartError> {
    let live: Live<PaymentsConfig> = context.config.live("payments")?;
    let config = live.get();
    let mut service = Service::builder("payments", context, MIGRATIONS).await?;
    let db = service.db();
    let faults = config.faults;
    let callbacks = Arc::new(Callbacks::default());

    let terms = bank::mock_terms(&config);
    let bank_clock = Arc::new(SkewedClock::new(context.clock.clone(), &faults));
    let mock = MockBank::new(db.clone(), bank_clock, context.ids.clone(), terms);
    let mut bank: Arc<dyn Bank> = Arc::new(mock.clone());
    if faults.any() {
        tracing::warn!(?faults, "the mock bank misbehaves on purpose");
        let faulty = Arc::new(FaultyBank::new(bank, faults, context.clock.clone(), callbacks.clone()));
        let late = jobs::DeliverLate(faulty.clone());
        service.pump_here(Arc::new(Every::new("payments.late_requests", Duration::from_secs(1), late)));
        bank = faulty;
    }

    let figures = context.with_metrics(metrics::Metrics::register);
    context.observe(Arc::new(metrics::Ledger::new(db.clone(), figures.clone())));
    let desk = commands::Desk {
        outbox: service.outbox(),
        clock: context.clock.clone(),
        ids: context.ids.clone(),
        wake: Arc::new(Notify::new()),
        metrics: figures,
    };
    service.consume(commands::consumer(&desk));
    service.pump(Arc::new(driver::Driver::new(db.clone(), bank.clone(), desk.clone(), live)));

    // Late call-backs need a look by the clock; without faults only the expiry sends any, and wakes.
    let look = Duration::from_secs(if faults.any() { 1 } else { 60 });
    let take = jobs::TakeCallbacks { db: db.clone(), desk: desk.clone(), callbacks: callbacks.clone() };
    let take = Every::new("payments.callbacks", look, take).woken_by(callbacks.wake.clone());
    // What it takes up is in the memory of this process.
    service.pump_here(Arc::new(take));
    let expire = jobs::ExpireHolds { bank: mock, callbacks, desk: desk.clone() };
    service.every("expire_holds", Duration::from_secs(60), expire);
    let place = Mutex::default();
    let reconcile = jobs::Reconcile { db: db.clone(), bank: bank.clone(), desk, place };
    service.every("reconcile", Duration::from_secs(300), reconcile);

    let api = http::Api {
        db,
        bank,
        pins: Pins::new(context.vault.clone()),
        pages: context.edge.pages.clone(),
        clock: context.clock.clone(),
        ids: context.ids.clone(),
        test_money: context.is_embedded(),
    };
    if context.is_embedded() {
        service.admin(admin::router(api.clone()));
    }
    service.routes(http::routes(), api);
    Ok(service.build())
}
