//! The catalogue: products, their prices and pictures, categories, favourites, search.
//!
//! Invariants:
//! - every change of a product raises its version by one, and its event is in the same transaction;
//! - shoppers see active products only; to them all others do not exist;
//! - caches and the search index may vanish at any time: they cost time, not answers (R97);
//! - a store of objects that is away costs the pictures and nothing else;
//! - a price comes from the product's row, never from the index.

mod cache;
mod commands;
mod domain;
mod http;
mod pictures;
mod queries;
mod requests;
mod search;
mod store;
mod strays;
#[cfg(test)]
mod tests;
mod visits;

use std::sync::Arc;
use std::time::Duration;

use db::{Db, Migrations};
use host::{Context, Service, StartError};
use kernel::{Clock, IdSource};
use messaging::{Every, Outbox};
use tokio::sync::Notify;
use web::{Edge, Pages};

pub use domain::IMAGES_MAX;
pub use queries::{CategoryView, PriceView, ProductView};

use crate::cache::ProductCache;
use objects::Objects;
use search::{Fts5, Indexer, Search};
use visits::{Teller, Visits};

static MIGRATIONS: &[Migrations] =
    &[messaging::MIGRATIONS, web::IDEMPOTENCY_MIGRATIONS, store::MIGRATIONS, strays::MIGRATIONS];

/// What every handler of this service needs. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Catalog {
    db: Db,
    outbox: Outbox,
    clock: Arc<dyn Clock>,
    ids: IdSource,
    edge: Arc<Edge>,
    cache: ProductCache,
    search: Arc<dyn Search>,
    objects: Arc<dyn Objects>,
    visits: Visits,
    /// Signalled when the index has something to see.
    index_wake: Arc<Notify>,
}

impl Catalog {
    fn pages(&self) -> &Pages {
        &self.edge.pages
    }
}

/// The routes that the service has, for whoever has to know them without running it.
pub fn routes(_: &host::Config) -> Result<Vec<web::RouteInfo>, StartError> {
    Ok(http::routes().table())
}

/// The service.
pub async fn service(context: &Context) -> Result<Service, StartError> {
    let mut service = Service::builder("catalog", context, MIGRATIONS).await?;
    let search: Arc<dyn Search> = Arc::new(Fts5::open(context).await?);
    let catalog = Catalog {
        db: service.db(),
        outbox: service.outbox(),
        clock: context.clock.clone(),
        ids: context.ids.clone(),
        edge: context.edge.clone(),
        cache: ProductCache::new(context.cache.clone()),
        search: search.clone(),
        objects: context.objects.clone(),
        visits: Visits::new(context.clock.clone()),
        index_wake: Arc::new(Notify::new()),
    };
    let indexer = Every::new("catalog.search", Duration::from_secs(1), Indexer::new(service.db(), search))
        .woken_by(catalog.index_wake.clone());
    service.pump_here(Arc::new(indexer));
    let teller = Teller::new(catalog.visits.clone(), service.db(), service.outbox());
    service.pump_here(Arc::new(teller));
    let sweep = strays::Sweep::new(service.db(), context.objects.clone(), context.clock.clone());
    service.every("pictures", Duration::from_secs(600), sweep);
    service.admin(http::admin(catalog.clone()));
    service.routes(http::routes(), catalog);
    Ok(service.build())
}
