//! `rtcctl metrics summary [SERVICE]`: one screen.

use std::time::Duration;

use codes::{Result, exit};
use settings::nearest;

use super::{screen, slo, with_warnings};
use crate::cli::duration;
use crate::context::Context;
use crate::metrics::Source;
use crate::metrics::model::AlertState;
use crate::metrics::overview::{Scope, Summary, summary};
use crate::metrics::slo::objectives;
use crate::output::{Finding, Format, Report, Severity};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// One service, as rtcctl status names it
    service: Option<String>,
    /// Over how much time rates are taken [default: 5m; 1m without a Prometheus server]
    #[arg(long, value_name = "TIME", value_parser = duration)]
    window: Option<Duration>,
    /// How much of the past the courses show
    #[arg(long, value_name = "TIME", value_parser = duration, default_value = "30m")]
    since: Duration,
}

/// A length of time as PromQL writes it.
pub(super) fn promql_duration(time: Duration) -> String {
    format!("{}ms", time.as_millis().max(1))
}

pub async fn run(args: Args, context: &Context) -> Result<Report> {
    let source = Source::of(context)?;
    let objectives = match &args.service {
        // Objectives are the platform's, not a service's.
        Some(_) => Vec::new(),
        None => objectives(&context.config)?,
    };
    let window = args.window.map_or_else(|| source.rate_window().to_owned(), promql_duration);
    let scope = Scope { service: args.service.clone(), window };
    let since_ms = i64::try_from(args.since.as_millis()).unwrap_or(i64::MAX);
    let now_ms = context.clock.now().as_millis();
    let points = screen::course_columns(context.width.unwrap_or(80)) as i64;
    let env = context.config.env();
    let look = summary(&source, env, scope, &objectives, now_ms, since_ms, points).await;
    let look = look.map_err(|error| {
        let services = context.config.services.iter().map(|service| service.name.as_str());
        match &args.service {
            Some(service) if error.exit() == exit::NOT_FOUND => match nearest(service, services) {
                Some(near) if near != service => error.with_hint(format!("did you mean {near}?")),
                _ => error.with_hint("rtcctl status lists the services"),
            },
            _ => error,
        }
    })?;
    Ok(report(&look, context.format, context.width))
}

fn report(look: &Summary, format: Format, width: Option<usize>) -> Report {
    let mut report = Report::new("metrics/summary", look.to_json())
        .with_text(screen::summary(look, width.unwrap_or(80)))
        .with_names(look.figures.iter().map(|figure| figure.question.key));
    for failure in &look.failures {
        report = report.with_finding(Finding::new(&codes::MET020, Severity::Warning, failure.clone()));
    }
    // On the screen they stand already.
    let mut told: Vec<Finding> = look
        .alerts
        .firing()
        .filter(|alert| alert.state == AlertState::Firing)
        .map(|alert| Finding::new(&codes::MET015, Severity::Warning, format!("{} fires", alert.name)))
        .collect();
    told.extend(look.down().map(|target| {
        Finding::new(&codes::MET016, Severity::Warning, format!("{} is down", target.instance))
    }));
    told.extend(look.standings.iter().filter_map(slo::finding));
    if told.iter().any(|finding| finding.severity > Severity::Info) || !look.failures.is_empty() {
        report.status = "degraded";
    }
    if matches!(format, Format::Json | Format::Yaml) {
        report.findings.extend(told);
    }
    with_warnings(report, &look.warnings)
}
