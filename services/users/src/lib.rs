//! The users service: accounts, e-mail verification, sessions, roles, and the keys that sign access tokens.
//!
//! Invariants:
//! - no personal data, password, code or token is in clear in the database, in an event or in a log;
//! - an access token is signed after the change that allows it is on disk, with the rights of that moment;
//! - what ends rights (signing out, a changed role, a stolen refresh token) ends them at once and survives a restart;
//! - nobody learns from an answer, or from the time that it takes, whether an address has an account, except where
//!   somebody registers with it.

mod accounts;
mod admin;
mod config;
mod domain;
mod hasher;
mod http;
mod jobs;
mod keys;
mod queries;
mod revocations;
mod seed;
mod sessions;
mod store;
#[cfg(test)]
mod tests;
mod verification;

use std::sync::Arc;
use std::time::Duration;

use db::Db;
use host::{Context, Service, StartError, Vault};
use kernel::{Clock, IdSource};
use messaging::{Every, Outbox};
use web::{Edge, Revocations, TokenVerifier};

pub use config::{Config, PasswordCost};

/// What every part of the service works with.
pub(crate) struct Parts {
    pub db: Db,
    pub outbox: Outbox,
    pub clock: Arc<dyn Clock>,
    pub ids: IdSource,
    pub vault: Vault,
    pub edge: Arc<Edge>,
    pub verifier: Arc<TokenVerifier>,
    pub revocations: Arc<Revocations>,
    pub config: Config,
    pub hasher: hasher::Hasher,
    pub signer: keys::Signer,
    /// Made-up shoppers exist only where money is made up too.
    pub embedded: bool,
}

/// How soon a replica knows what another one has done to keys and sessions.
const REFRESH_INTERVAL: Duration = Duration::from_secs(1);

pub(crate) type Users = Arc<Parts>;

/// The routes that the service has, for whoever has to know them without running it.
pub fn routes(_: &host::Config) -> Result<Vec<web::RouteInfo>, StartError> {
    Ok(http::routes().table())
}

/// Builds the service. In the embedded profile it makes `admin@rtc.local` (password: the secret `admin_password`) and
/// `demo@rtc.local`, once.
pub async fn service(context: &Context) -> Result<Service, StartError> {
    Ok(build(context).await?.0)
}

pub(crate) async fn build(context: &Context) -> Result<(Service, Users), StartError> {
    let config = context.config.section::<Config>("users")?.check()?;
    let mut service = Service::builder("users", context, store::MIGRATIONS).await?;
    let hasher = hasher::Hasher::new(&config.password, context.vault.clone()).await?;
    let users = Arc::new(Parts {
        db: service.db(),
        outbox: service.outbox(),
        clock: context.clock.clone(),
        ids: context.ids.clone(),
        vault: context.vault.clone(),
        edge: context.edge.clone(),
        verifier: context.verifier.clone(),
        revocations: context.revocations.clone(),
        embedded: context.is_embedded(),
        signer: keys::Signer::default(),
        hasher,
        config,
    });
    keys::load(&users).await?;
    revocations::load(&users).await?;
    if users.embedded {
        seed::accounts(&users, &context.secrets.get("admin_password")?).await?;
    }
    service.routes(http::routes(), users.clone());
    service.admin(admin::router(users.clone()));
    let refresh = revocations::Refresh::new(users.clone());
    service.pump_here(Arc::new(Every::new("users.refresh", REFRESH_INTERVAL, refresh)));
    service.every("expire", Duration::from_secs(60), jobs::Expire(users.clone()));
    service.seals(store::SEALED);
    Ok((service.build(), users))
}
