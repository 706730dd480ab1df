//! What `--only` can name: a table of services and their constructors.

use std::future::Future;
use std::pin::Pin;

use host::{Config, Context, Service, StartError};
use web::RouteInfo;

type Building<'a> = Pin<Box<dyn Future<Output = Result<Service, StartError>> + Send + 'a>>;

/// A service that this binary can run.
#[derive(Clone, Copy)]
pub struct Target {
    pub name: &'static str,
    pub summary: &'static str,
    pub build: for<'a> fn(&'a Context) -> Building<'a>,
    /// The routes that it has, for an entry in another process.
    pub routes: fn(&Config) -> Result<Vec<RouteInfo>, StartError>,
}

const TARGETS: [Target; 7] = [
    Target {
        name: "users",
        summary: "sign-up, verification, sessions, roles",
        build: |context| Box::pin(users::service(context)),
        routes: users::routes,
    },
    Target {
        name: "catalog",
        summary: "products, pictures, search, favourites",
        build: |context| Box::pin(catalog::service(context)),
        routes: catalog::routes,
    },
    Target {
        name: "inventory",
        summary: "stock and its reservations",
        build: |context| Box::pin(inventory::service(context)),
        routes: inventory::routes,
    },
    Target {
        name: "orders",
        summary: "orders and the checkout saga",
        build: |context| Box::pin(orders::service(context)),
        routes: orders::routes,
    },
    Target {
        name: "payments",
        summary: "payments and the mock bank",
        build: |context| Box::pin(payments::service(context)),
        routes: payments::routes,
    },
    Target {
        name: "notifications",
        summary: "mail to shoppers",
        build: |context| Box::pin(notifications::service(context)),
        routes: notifications::routes,
    },
    Target {
        name: "analytics",
        summary: "ingest of sales, totals, summaries",
        build: |context| Box::pin(analytics::service(context)),
        routes: analytics::routes,
    },
];

pub fn all() -> &'static [Target] {
    &TARGETS
}

/// The entry, as `--only` names it.
pub const GATEWAY: &str = "gateway";

/// What one process runs.
#[derive(Clone)]
pub struct Selection {
    pub targets: Vec<Target>,
    /// The single entry: in front of the services here, and of those that the configuration's `upstreams` name.
    pub entry: bool,
}

impl Selection {
    /// Every service behind the entry.
    pub fn everything() -> Self {
        Self { targets: TARGETS.to_vec(), entry: true }
    }
}

/// The targets that are named; everything where none is.
pub fn select(only: &[String]) -> Result<Selection, StartError> {
    if only.is_empty() {
        return Ok(Selection::everything());
    }
    let known =
        || TARGETS.map(|target| target.name).iter().chain(&[GATEWAY]).copied().collect::<Vec<_>>().join(", ");
    let mut selection = Selection { targets: Vec::new(), entry: false };
    for name in only.iter().map(|name| name.trim()) {
        if name == GATEWAY {
            selection.entry = true;
            continue;
        }
        let target = TARGETS.iter().find(|target| target.name == name);
        let target =
            target.ok_or_else(|| StartError::UnknownService { name: name.to_owned(), known: known() })?;
        if !selection.targets.iter().any(|one| one.name == target.name) {
            selection.targets.push(*target);
        }
    }
    Ok(selection)
}
