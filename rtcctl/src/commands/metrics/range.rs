//! `rtcctl metrics range EXPR [--since TIME] [--until WHEN] [--step TIME] [--graph]`.

use std::time::Duration;

use codes::Result;
use serde_json::{Value, json};

use super::query::{plain, series_json};
use super::{Moment, clock_text, open, with_warnings};
use crate::cli::duration;
use crate::context::Context;
use crate::human;
use crate::metrics::draw;
use crate::metrics::model::{Series, Span};
use crate::metrics::units::Unit;
use crate::output::{Column, Finding, Report, Severity, Table};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// A PromQL expression
    expr: String,
    /// How much of the past [default: 1h; without a Prometheus server all that there is]
    #[arg(long, value_name = "TIME", value_parser = duration)]
    since: Option<Duration>,
    /// Up to which time [default: now]
    #[arg(long, value_name = "WHEN", value_parser = Moment::parse)]
    until: Option<Moment>,
    /// The distance between two values [default: as the width of the screen allows, and not below the scrape interval]
    #[arg(long, value_name = "TIME", value_parser = duration)]
    step: Option<Duration>,
    /// Draw a graph of each series
    #[arg(long)]
    graph: bool,
}

const WIDTH: usize = 80;
/// Rows of a graph that stands alone, and of one among several.
const ROWS: (usize, usize) = (14, 6);
/// More graphs than these help nobody.
const GRAPHS_MAX: usize = 6;

pub async fn run(args: Args, context: &Context) -> Result<Report> {
    let now = context.clock.now();
    let source = open(context).await?;
    let until_ms = args.until.map_or(now.as_millis(), |until| until.ms(now));
    let reach = source.reach();
    let since = args
        .since
        .unwrap_or_else(|| reach.unwrap_or(Duration::from_secs(3_600)).max(Duration::from_secs(60)));
    let width = context.width.unwrap_or(WIDTH);
    let columns = width.saturating_sub(12).max(20);
    let length_ms = i64::try_from(since.as_millis()).unwrap_or(i64::MAX);
    let span = match args.step {
        None => Span::last(length_ms, columns as i64, source.step_min_ms(), until_ms),
        Some(step) => {
            let step_ms = i64::try_from(step.as_millis()).unwrap_or(i64::MAX).max(1);
            Span { start_ms: until_ms - length_ms / step_ms * step_ms, end_ms: until_ms, step_ms }
        }
    };
    let answer = source.range(&args.expr, span).await?;
    let warnings = answer.warnings.clone();
    let series = answer.series();
    let mut report = Report::new("metrics/range", document(&args.expr, span, &series))
        .with_names(series.iter().map(|series| series.labels.to_string()));
    report = match (series.is_empty(), args.graph) {
        (true, _) => report.with_text("no series").with_finding(Finding::new(
            &codes::MET010,
            Severity::Info,
            "nothing is recorded that the expression selects",
        )),
        (false, true) => graphs(report, span, &series, columns),
        (false, false) => report.with_table(table(span, &series, width)),
    };
    if let Some(reach) = reach.filter(|reach| args.since.is_some() && *reach < since) {
        report = report.with_finding(
            Finding::new(
                &codes::MET022,
                Severity::Info,
                format!("without a Prometheus server there are {} of history", human::duration(reach)),
            )
            .with_hint("name a server in prometheus_url"),
        );
    }
    Ok(with_warnings(report, &warnings))
}

fn document(expr: &str, span: Span, series: &[Series]) -> Value {
    json!({
        "expr": expr, "start_ms": span.start_ms, "end_ms": span.end_ms, "step_ms": span.step_ms,
        "series": series_json(series),
    })
}

fn table(span: Span, series: &[Series], width: usize) -> Table {
    let mut table = Table::new([
        Column::left("series"),
        Column::right("least"),
        Column::right("greatest"),
        Column::right("last"),
        Column::left("course"),
    ]);
    for series in series {
        let numbers = || series.points.iter().map(|(_, value)| *value).filter(|value| !value.is_nan());
        let shown =
            |value: Option<f64>| value.map_or_else(|| "NaN".to_owned(), |value| Unit::Count.format(value));
        table.push([
            series.labels.to_string(),
            shown(numbers().reduce(f64::min)),
            shown(numbers().reduce(f64::max)),
            series.points.last().map_or_else(String::new, |(_, value)| plain(*value)),
            // A blank would be cut off at the end of a line and taken for space at its beginning.
            draw::sparkline(&span.on_grid(&series.points), (width / 3).max(20)).replace(' ', "\u{a0}"),
        ]);
    }
    table
}

fn graphs(mut report: Report, span: Span, series: &[Series], columns: usize) -> Report {
    let rows = if series.len() == 1 { ROWS.0 } else { ROWS.1 };
    let (from, to) = (clock_text(span.start_ms), clock_text(span.end_ms));
    for series in series.iter().take(GRAPHS_MAX) {
        let graph = draw::graph(&span.on_grid(&series.points), columns, rows, Unit::Count, (&from, &to));
        report = report.with_text(format!("{}\n{graph}", series.labels));
    }
    match series.len().saturating_sub(GRAPHS_MAX) {
        0 => report,
        more => report.with_text(format!("and {more} more series (without --graph each is a line)")),
    }
}
