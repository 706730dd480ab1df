//! What `--only` can name: a table of services and their constructors.

use std::future::Future;
use std::pin::Pin;

use host::{Context, Service, StartError};

type Building<'a> = Pin<Box<dyn Future<Output = Result<Service, StartError>> + Send + 'a>>;

/// A service that this binary can run.
#[derive(Clone, Copy)]
pub struct Target {
    pub name: &'static str,
    pub summary: &'static str,
    pub build: for<'a> fn(&'a Context) -> Building<'a>,
}

const TARGETS: [Target; 7] = [
    Target {
        name: "users",
        summary: "sign-up, verification, sessions, roles",
        build: |context| Box::pin(users::service(context)),
    },
    Target {
        name: "catalog",
        summary: "products, pictures, search, favourites",
        build: |context| Box::pin(catalog::service(context)),
    },
    Target {
        name: "inventory",
        summary: "stock and its reservations",
        build: |context| Box::pin(inventory::service(context)),
    },
    Target {
        name: "orders",
        summary: "orders and the checkout saga",
        build: |context| Box::pin(orders::service(context)),
    },
    Target {
        name: "payments",
        summary: "payments and the mock bank",
        build: |context| Box::pin(payments::service(context)),
    },
    Target {
        name: "notifications",
        summary: "mail to shoppers",
        build: |context| Box::pin(notifications::service(context)),
    },
    Target {
        name: "analytics",
        summary: "ingest of sales, totals, summaries",
        build: |context| Box::pin(analytics::service(context)),
    },
];

pub fn all() -> &'static [Target] {
    &TARGETS
}

/// The targets that are named; all of them where none is. The gateway is always there.
pub fn select(only: &[String]) -> Result<Vec<Target>, StartError> {
    if only.is_empty() {
        return Ok(TARGETS.to_vec());
    }
    let known = || TARGETS.map(|target| target.name).join(", ");
    let mut selected: Vec<Target> = Vec::new();
    for name in only.iter().map(|name| name.trim()).filter(|name| *name != "gateway") {
        let target = TARGETS.iter().find(|target| target.name == name);
        let target =
            target.ok_or_else(|| StartError::UnknownService { name: name.to_owned(), known: known() })?;
        if !selected.iter().any(|one| one.name == target.name) {
            selected.push(*target);
        }
    }
    Ok(selected)
}
