//! `rtcctl metrics query EXPR [--at WHEN]`.

use codes::Result;
use serde_json::{Value, json};

use super::{Moment, clock_text, open, with_warnings};
use crate::context::Context;
use crate::metrics::model::{Answer, Data, Labels, Reading, Series, number};
use crate::output::{Column, Finding, Report, Severity, Table};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// A PromQL expression
    expr: String,
    /// At which time: 2026-03-01T09:00:00Z, seconds since 1970, or 10m for ten minutes ago [default: now]
    #[arg(long, value_name = "WHEN", value_parser = Moment::parse)]
    at: Option<Moment>,
}

pub async fn run(args: Args, context: &Context) -> Result<Report> {
    let now = context.clock.now();
    let at_ms = args.at.map_or(now.as_millis(), |at| at.ms(now));
    let source = open(context).await?;
    let answer = source.instant(&args.expr, at_ms).await?;
    let report = report(&args.expr, at_ms, &answer);
    Ok(with_warnings(report, &answer.warnings))
}

/// Each series with its points.
pub(super) fn series_json(series: &[Series]) -> Value {
    let one = |series: &Series| {
        let points: Vec<Value> =
            series.points.iter().map(|(at_ms, value)| json!([at_ms, number(*value)])).collect();
        json!({"labels": series.labels.to_json(), "points": points})
    };
    series.iter().map(one).collect()
}

fn sample_json(labels: &Labels, at_ms: i64, value: f64) -> Value {
    json!({
        "labels": labels.to_json(), "at_ms": at_ms, "value": number(value),
        "state": Reading::of(Some(value)).state(),
    })
}

/// A number as it is, not rounded: whoever asks a question of their own decides what matters.
pub(super) fn plain(value: f64) -> String {
    match number(value) {
        Value::String(text) => text,
        other => other.to_string(),
    }
}

fn report(expr: &str, at_ms: i64, answer: &Answer) -> Report {
    let document =
        |kind: &str, result: Value| json!({"expr": expr, "at_ms": at_ms, "type": kind, "result": result});
    let empty = |report: Report| {
        report.with_text("no series").with_finding(
            Finding::new(&codes::MET010, Severity::Info, "nothing is recorded that the expression selects")
                .with_hint("rtcctl metrics targets shows what is asked for metrics"),
        )
    };
    match &answer.data {
        Data::Scalar(at_ms, value) => Report::new(
            "metrics/query",
            document("scalar", json!([sample_json(&Labels::default(), *at_ms, *value)])),
        )
        .with_text(plain(*value))
        .with_names([plain(*value)]),
        Data::Text(text) => Report::new("metrics/query", document("string", json!(text)))
            .with_text(text.clone())
            .with_names([text]),
        Data::Vector(samples) => {
            let result: Vec<Value> = samples
                .iter()
                .map(|sample| sample_json(&sample.labels, sample.at_ms, sample.value))
                .collect();
            let report = Report::new("metrics/query", document("vector", json!(result)));
            if samples.is_empty() {
                return empty(report);
            }
            let mut table =
                Table::new([Column::left("series"), Column::right("value"), Column::left("time").wide()]);
            for sample in samples {
                table.push([sample.labels.to_string(), plain(sample.value), clock_text(sample.at_ms)]);
            }
            report.with_names(samples.iter().map(|sample| sample.labels.to_string())).with_table(table)
        }
        Data::Matrix(series) => {
            let report = Report::new("metrics/query", document("matrix", series_json(series)));
            if series.is_empty() {
                return empty(report);
            }
            let mut table =
                Table::new([Column::left("series"), Column::left("time"), Column::right("value")]);
            for series in series {
                for (at_ms, value) in &series.points {
                    table.push([series.labels.to_string(), clock_text(*at_ms), plain(*value)]);
                }
            }
            report.with_names(series.iter().map(|series| series.labels.to_string())).with_table(table)
        }
    }
}
