//! `rtcctl metrics summary|query|range|check|slo|alerts|targets|watch`.

pub mod alerts;
pub mod check;
pub mod query;
pub mod range;
mod screen;
pub mod slo;
pub mod summary;
pub mod targets;
pub mod watch;

use codes::Result;
use kernel::Timestamp;
use settings::parse_duration;

use crate::cli::Stopping;
use crate::context::Context;
use crate::metrics::Source;
use crate::output::{Finding, Report, Severity};

#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Show the platform on one screen: figures, changes, objectives, alerts, targets
    Summary(summary::Args),
    /// Evaluate an expression now, or at a time
    Query(query::Args),
    /// Evaluate an expression over a span of time
    Range(range::Args),
    /// Judge an expression: exit code 0 within its limits, 30 outside, 31 when that cannot be said
    Check(check::Args),
    /// Show objectives, what is left of their budgets, and how fast they burn
    Slo(slo::Args),
    /// Show the alerts that fire or are about to
    Alerts,
    /// Show where metrics come from, and which of it does not answer
    Targets,
    /// Watch the platform on a full screen
    Watch(watch::Args),
}

impl Command {
    pub fn stopping(&self) -> Stopping {
        match self {
            Command::Watch(_) => Stopping::Itself,
            _ => Stopping::Dropped,
        }
    }
}

pub async fn run(command: Command, context: &Context) -> Result<Report> {
    match command {
        Command::Summary(args) => summary::run(args, context).await,
        Command::Query(args) => query::run(args, context).await,
        Command::Range(args) => range::run(args, context).await,
        Command::Check(args) => check::run(args, context).await,
        Command::Slo(args) => slo::run(args, context).await,
        Command::Alerts => alerts::run(context).await,
        Command::Targets => targets::run(context).await,
        Command::Watch(args) => watch::run(args, context).await,
    }
}

/// The source of the environment, ready to be asked.
async fn open(context: &Context) -> Result<Source> {
    let source = Source::of(context)?;
    source.refresh(context.clock.now().as_millis()).await?;
    Ok(source)
}

/// A moment on the command line: a time, Unix seconds, or a length of time ago.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Moment {
    At(i64),
    Ago(i64),
}

impl Moment {
    fn parse(text: &str) -> Result<Self, String> {
        if let Ok(at) = text.parse::<Timestamp>() {
            return Ok(Moment::At(at.as_millis()));
        }
        match text.parse::<f64>() {
            // Nobody means three thousand years ago.
            Ok(seconds) if seconds > 1e8 => return Ok(Moment::At((seconds * 1000.0) as i64)),
            _ => {}
        }
        let ago = parse_duration(text).map_err(|_| {
            "write a time such as 2026-03-01T09:00:00Z, seconds since 1970, or 10m for ten minutes ago"
                .to_owned()
        })?;
        Ok(Moment::Ago(i64::try_from(ago.as_millis()).unwrap_or(i64::MAX)))
    }

    fn ms(self, now: Timestamp) -> i64 {
        match self {
            Moment::At(ms) => ms,
            Moment::Ago(ms) => now.as_millis().saturating_sub(ms),
        }
    }
}

/// What the source remarked, as findings.
fn with_warnings(mut report: Report, warnings: &[String]) -> Report {
    for warning in warnings {
        report = report.with_finding(Finding::new(&codes::MET014, Severity::Info, warning.clone()));
    }
    report
}

/// `2026-11-21 10:02:11Z`
fn clock_text(ms: i64) -> String {
    let text = Timestamp::from_millis(ms - ms.rem_euclid(1000)).to_string();
    text.replace('T', " ").replace(".000", "")
}

#[cfg(test)]
mod tests;
