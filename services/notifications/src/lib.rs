//! Notifications: what happened is told to whom it concerns, by e-mail, in their language.
//!
//! Invariants:
//! - one notification per (event, recipient, channel), whatever is delivered twice;
//! - an address, a name and a code are in the database only sealed; they are opened when the letter is written;
//! - every notification is sent at least once (same Message-ID on each attempt) or ends as `failed`, with its reason.

mod config;
mod events;
mod http;
mod jobs;
mod letter;
mod mailer;
mod message;
mod metrics;
mod notice;
pub mod oracle;
mod sender;
mod store;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use host::{Context, Service, StartError, Vault};

pub use config::{Config, MailboxConfig, SmtpConfig, Tls};

use crate::events::Desk;
use crate::http::Reader;
use crate::mailer::{MailboxOnDisk, Mailer, Password, Smtp};
use crate::metrics::Metrics;
use crate::sender::{Due, SenderPump};

static MIGRATIONS: &[db::Migrations] = &[messaging::MIGRATIONS, store::TABLES];

/// The routes that the service has under this configuration: the mailbox is read where mail goes nowhere else.
pub fn routes(config: &host::Config) -> Result<Vec<web::RouteInfo>, StartError> {
    let section: Config = config.section("notifications")?;
    let has_mailbox = config.profile == host::Profile::Embedded && section.smtp.is_none();
    Ok(if has_mailbox { http::routes().table() } else { Vec::new() })
}

/// Builds the service.
pub async fn service(context: &Context) -> Result<Service, StartError> {
    let config: Config = context.config.section("notifications")?;
    match &config.smtp {
        Some(smtp) => {
            let password =
                smtp.password_secret.as_deref().map(|name| follow_password(context, name)).transpose()?;
            let mailer = Smtp::new(smtp.clone(), password)
                .map_err(|reason| StartError::Config(format!("services.notifications.smtp: {reason}")))?;
            assemble(context, config, Arc::new(mailer), None).await
        }
        None => {
            let directory = context.config.data.join("mail");
            let mailbox =
                MailboxOnDisk::open(&directory, config.mailbox.clone(), context.clock.clone()).map_err(
                    |error| StartError::DataDir { path: directory.clone(), reason: error.to_string() },
                )?;
            assemble(context, config, Arc::new(mailbox.clone()), Some(mailbox)).await
        }
    }
}

/// The password of the moment: the next connection is made with it.
fn follow_password(context: &Context, name: &str) -> Result<Password, StartError> {
    let password = Password::default();
    let handle = password.clone();
    context.secrets.watch(name, move |values| {
        // The first is the one in use.
        handle.set(values.first().map_or("", String::as_str));
        Ok(())
    })?;
    Ok(password)
}

async fn assemble(
    context: &Context,
    config: Config,
    mailer: Arc<dyn Mailer>,
    mailbox: Option<MailboxOnDisk>,
) -> Result<Service, StartError> {
    let from = message::Sender::new(&config.from_name, &config.from_address)
        .map_err(|reason| StartError::Config(format!("services.notifications.from_address: {reason}")))?;
    let mut service = Service::builder("notifications", context, MIGRATIONS).await?;
    let db = service.db();
    if context.is_embedded() && db.is_commit_ordered() {
        // The database has one user at a time: whoever was sending is no more.
        let now = context.clock.now();
        let interrupted = db
            .write(move |tx| store::end_leases(tx, now))
            .await
            .map_err(|source| StartError::Database { name: "notifications".to_owned(), source })?;
        if interrupted > 0 {
            tracing::warn!(interrupted, "the last process ended while it was sending");
        }
    }
    let due = Due::now();
    let desk = Desk { clock: context.clock.clone(), due: due.clone() };
    service.consume(events::of_users(desk.clone()));
    service.consume(events::of_orders(desk));
    let metrics = context.with_metrics(Metrics::register);
    let pump = SenderPump::new(context, db.clone(), config.clone(), from, mailer, due, metrics);
    service.pump(Arc::new(pump));
    let forget = jobs::Forget { db: db.clone(), clock: context.clock.clone(), config };
    service.every("forget", Duration::from_secs(3_600), forget);
    service.seals(store::SEALED);
    if let Some(mailbox) = mailbox.filter(|_| context.is_embedded()) {
        let reader = Reader { db, vault: context.vault.clone(), pages: context.edge.pages.clone(), mailbox };
        service.routes(http::routes(), reader);
    }
    Ok(service.build())
}

/// The blind index of an address: how the mailbox finds letters without an address in its rows.
fn address_index(vault: &Vault, address: &str) -> String {
    vault.index("mailbox", &address.trim().to_lowercase())
}
