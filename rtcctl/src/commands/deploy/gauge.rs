//! What a gate asks: the environment's metrics, with the verdicts of `rtcctl metrics check`.

use std::time::Duration;

use ::deploy::gate::{Check, Gate, Gauge, NoData, Seen, Series, View, WINDOW};
use codes::{Error, Result};
use kernel::Timestamp;
use rollout::canary::analysis::Measurement;
use rtc_metrics::slo::BURNS;
use serde_json::{Value, json};

use crate::commands::metrics::check;
use crate::context::Context;
use crate::metrics::model::{Data, Span};
use crate::metrics::verdict as metrics;
use crate::metrics::{Source, slo};
use crate::output::Report;

/// The objectives of the environment, as a gate.
const SLO: &str = "slo";
/// Points of a series that is kept as evidence.
const POINTS: i64 = 240;

/// Reads `--gate slo|FILE`.
pub fn gate(text: &str, context: &Context) -> Result<Gate> {
    if text == SLO {
        return of_objectives(context);
    }
    let path = context.current_dir.join(text);
    let wrong = |why: &(dyn std::error::Error + 'static)| {
        Error::new(&codes::DEP015, format!("{} is no gate", path.display()))
            .with_source(why)
            .with_hint(codes::DEP015.action)
    };
    let text = std::fs::read_to_string(&path).map_err(|error| wrong(&error))?;
    Gate::read(&text).map_err(|error| wrong(&error))
}

/// Every objective, as strict as the alert that wakes somebody: a budget that burns that fast since the pods were applied.
/// One of which nothing happened says nothing; if all say nothing, nobody knows.
pub(in crate::commands) fn of_objectives(context: &Context) -> Result<Gate> {
    let factor = alerts_at();
    let checks = slo::objectives(&context.config)?.into_iter().map(|objective| Check {
        name: objective.name.clone(),
        expr: objective.ratio(WINDOW),
        min: None,
        max: Some((objective.budget() * factor).min(1.0)),
        min_samples: 1,
        series: Series::Worst,
        no_data: NoData::Pass,
        count: 1,
        failures: 0,
        inconclusive: 0,
        errors: 4,
    });
    Ok(Gate { interval_s: 15, checks: checks.collect() })
}

/// How many times too fast a budget burns when somebody is woken.
pub(in crate::commands) fn alerts_at() -> f64 {
    BURNS.iter().map(|burn| burn.factor).fold(1.0, f64::max)
}

/// Asks for what a check is of at a moment, as `metrics check` does.
pub(in crate::commands) async fn asked(check: &Check, view: &View, context: &Context) -> Result<Report> {
    let window = view.now.since(view.since).max(Duration::from_secs(60));
    let args = check::Args {
        expr: check.at(view),
        min: check.min,
        max: check.max,
        time: (check.min_samples > 1).then_some(window),
        min_samples: check.min_samples.max(1),
        series: match check.series {
            Series::One => None,
            Series::Any => Some(metrics::Rule::Any),
            Series::All => Some(metrics::Rule::All),
            Series::Worst => Some(metrics::Rule::Worst),
        },
        no_data: match check.no_data {
            NoData::Fail => metrics::NoData::Fail,
            NoData::Inconclusive | NoData::Pass => metrics::NoData::Inconclusive,
        },
    };
    // Boxed: what is asked knows the whole language of expressions.
    Box::pin(check::run(args, context)).await
}

/// Asks the environment's source of metrics.
pub struct Metrics<'a>(pub &'a Context);

#[async_trait::async_trait]
impl Gauge for Metrics<'_> {
    async fn measure(&self, check: &Check, view: &View) -> Seen {
        match asked(check, view, self.0).await {
            Ok(report) => seen(check, report.status, &report.data, &report.findings),
            Err(error) => {
                let says = format!("it could not be asked: {error}");
                Seen { measurement: Measurement::Error, is_silent: false, says }
            }
        }
    }

    async fn range(&self, query: &str, from: Timestamp, until: Timestamp) -> Option<Value> {
        let source = Source::of(self.0).ok()?;
        let (start_ms, end_ms) = (from.as_millis(), until.as_millis());
        source.refresh(end_ms).await.ok()?;
        let step_ms = ((end_ms - start_ms) / POINTS).max(source.step_min_ms()).max(1);
        let answer = source.range(query, Span { start_ms, end_ms, step_ms }).await.ok()?;
        let Data::Matrix(series) = answer.data else { return None };
        let series: Vec<Value> = series
            .into_iter()
            .map(|one| json!({ "labels": one.labels.to_json(), "points": one.points }))
            .collect();
        Some(json!({ "query": query, "from": from, "until": until, "series": series }))
    }
}

fn seen(check: &Check, status: &str, data: &Value, findings: &[crate::output::Finding]) -> Seen {
    let is_empty = matches!(data["because"].as_str(), Some("no_series" | "nan"));
    let measurement = match status {
        "ok" => Measurement::Good,
        "breached" => Measurement::Bad,
        _ => Measurement::Unknown,
    };
    let says = match findings.first() {
        Some(finding) => finding.message.clone(),
        None => match data["decisive"]["value"].clone() {
            Value::Null => "within its limits".to_owned(),
            value => format!("{value}, which is allowed"),
        },
    };
    Seen { measurement, is_silent: is_empty && check.no_data == NoData::Pass, says }
}
