//! Logs: JSON with stable field names for machines, text for people, on standard error. The level can change while the
//! process runs.

use std::sync::OnceLock;

use tracing::Subscriber;
use tracing_subscriber::fmt::{self, MakeWriter};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::{EnvFilter, Layer, Registry, reload};

use crate::StartError;

type Handle = reload::Handle<EnvFilter, Registry>;

/// Of the subscriber of this process.
static LEVEL: OnceLock<Handle> = OnceLock::new();

/// Installs the subscriber of the process. `format` is `json` or `text`.
pub fn install(level: &str, format: &str) -> Result<(), StartError> {
    let (subscriber, handle) = subscriber(filter(level)?, format, std::io::stderr)?;
    tracing::subscriber::set_global_default(subscriber)
        .map_err(|error| StartError::Config(error.to_string()))?;
    let _ = LEVEL.set(handle);
    Ok(())
}

/// What `log.level` says.
pub(crate) fn filter(level: &str) -> Result<EnvFilter, StartError> {
    EnvFilter::try_new(level).map_err(|error| StartError::Config(format!("log.level: {error}")))
}

/// Lets through what `filter` says from now on. Where no subscriber of ours is installed there is nothing to change.
pub(crate) fn let_through(filter: EnvFilter) {
    if let Some(handle) = LEVEL.get() {
        // It fails when the subscriber is gone, and that of the process stays.
        let _ = handle.reload(filter);
    }
}

/// A subscriber, and the handle to change what it lets through.
pub(crate) fn subscriber<W>(
    filter: EnvFilter,
    format: &str,
    writer: W,
) -> Result<(impl Subscriber + Send + Sync + use<W>, Handle), StartError>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let lines = fmt::layer().with_writer(writer);
    let lines = match format {
        "json" => lines.json().flatten_event(true).with_current_span(false).boxed(),
        "text" => lines.with_ansi(false).with_target(true).boxed(),
        other => return Err(StartError::Config(format!("log.format: {other:?} is neither json nor text"))),
    };
    let (filter, handle) = reload::Layer::new(filter);
    Ok((Registry::default().with(filter).with(lines), handle))
}
