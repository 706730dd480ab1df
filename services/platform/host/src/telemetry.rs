//! Logs: JSON with stable field names for machines, text for people, on standard error.

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::FmtSpan;

use crate::StartError;

/// Installs the subscriber of the process. `format` is `json` or `text`.
pub fn install(level: &str, format: &str) -> Result<(), StartError> {
    let filter =
        EnvFilter::try_new(level).map_err(|error| StartError::Config(format!("log.level: {error}")))?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_span_events(FmtSpan::NONE)
        .with_writer(std::io::stderr);
    let installed = match format {
        "json" => builder.json().flatten_event(true).with_current_span(false).try_init(),
        "text" => builder.with_ansi(false).with_target(true).try_init(),
        other => return Err(StartError::Config(format!("log.format: {other:?} is neither json nor text"))),
    };
    installed.map_err(|error| StartError::Config(error.to_string()))
}
