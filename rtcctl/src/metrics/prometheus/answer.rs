//! What a Prometheus server answers, read.

use codes::{Error, Result};
use serde::Deserialize;
use serde_json::value::RawValue;
use settings::masked;

use crate::metrics::model::{
    Alert, AlertState, Alerts, Answer, Data, Health, Labels, Sample, Series, Target, parse_number,
};

/// What every answer is wrapped in.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Envelope {
    pub status: String,
    pub data: Option<Box<RawValue>>,
    pub error_type: String,
    pub error: String,
    pub warnings: Vec<String>,
    pub infos: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Query<'a> {
    result_type: String,
    #[serde(borrow)]
    result: &'a RawValue,
}

/// Seconds, and a number in a string.
type Point<'a> = (f64, std::borrow::Cow<'a, str>);

#[derive(Deserialize)]
struct Element<'a> {
    #[serde(default)]
    metric: std::collections::BTreeMap<String, String>,
    #[serde(borrow, default)]
    value: Option<Point<'a>>,
    #[serde(borrow, default)]
    values: Vec<Point<'a>>,
    #[serde(default)]
    histogram: Option<serde::de::IgnoredAny>,
    #[serde(default)]
    histograms: Vec<serde::de::IgnoredAny>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Rules {
    groups: Vec<Group>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Group {
    rules: Vec<Rule>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Rule {
    name: String,
    health: String,
    last_error: String,
    alerts: Vec<ActiveAlert>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct ActiveAlert {
    labels: std::collections::BTreeMap<String, String>,
    annotations: std::collections::BTreeMap<String, String>,
    state: String,
    active_at: String,
    value: String,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Targets {
    active_targets: Vec<ActiveTarget>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct ActiveTarget {
    labels: std::collections::BTreeMap<String, String>,
    scrape_url: String,
    health: String,
    last_error: String,
    last_scrape: String,
    last_scrape_duration: Option<f64>,
}

fn not_understood(error: &(dyn std::error::Error + 'static)) -> Error {
    Error::new(&codes::MET007, "the answer of Prometheus is not understood").with_source(error)
}

fn data<'a, T: Deserialize<'a>>(envelope: &'a Envelope) -> Result<T> {
    let text = envelope.data.as_ref().map_or("null", |data| data.get());
    serde_json::from_str(text).map_err(|error| not_understood(&error))
}

fn read<'a, T: Deserialize<'a>>(raw: &'a RawValue) -> Result<T> {
    serde_json::from_str(raw.get()).map_err(|error| not_understood(&error))
}

fn point((seconds, text): &Point<'_>) -> Result<(i64, f64)> {
    let value = parse_number(text).ok_or_else(|| {
        Error::new(&codes::MET007, format!("Prometheus answered {text:?} where a number belongs"))
    })?;
    Ok(((seconds * 1000.0).round() as i64, value))
}

/// The answer of `query` and `query_range`.
pub(super) fn query(envelope: Envelope) -> Result<Answer> {
    let query: Query<'_> = data(&envelope)?;
    let mut warnings: Vec<String> = envelope.warnings.iter().chain(&envelope.infos).cloned().collect();
    let mut histograms = 0;
    let data = match query.result_type.as_str() {
        "scalar" => {
            let (at_ms, value) = point(&read::<Point<'_>>(query.result)?)?;
            Data::Scalar(at_ms, value)
        }
        "string" => Data::Text(read::<Point<'_>>(query.result)?.1.into_owned()),
        "vector" => {
            let mut samples = Vec::new();
            for element in read::<Vec<Element<'_>>>(query.result)? {
                match &element.value {
                    Some(value) => {
                        let (at_ms, value) = point(value)?;
                        samples.push(Sample { labels: Labels::new(element.metric), at_ms, value });
                    }
                    None => histograms += usize::from(element.histogram.is_some()),
                }
            }
            Data::Vector(samples)
        }
        "matrix" => {
            let mut series = Vec::new();
            for element in read::<Vec<Element<'_>>>(query.result)? {
                histograms += usize::from(!element.histograms.is_empty());
                let points = element.values.iter().map(point).collect::<Result<Vec<_>>>()?;
                if !points.is_empty() {
                    series.push(Series { labels: Labels::new(element.metric), points });
                }
            }
            Data::Matrix(series)
        }
        other => {
            return Err(Error::new(&codes::MET007, format!("Prometheus answered with a {other:?}")));
        }
    };
    if histograms > 0 {
        warnings.push(format!(
            "{histograms} series hold native histograms, which are not shown: ask for histogram_quantile() of them"
        ));
    }
    Ok(Answer { data, warnings })
}

/// The answer of `rules`.
pub(super) fn alerts(envelope: Envelope) -> Result<Alerts> {
    let rules: Rules = data(&envelope)?;
    let mut alerts = Alerts { remarks: envelope.warnings, ..Alerts::default() };
    for rule in rules.groups.into_iter().flat_map(|group| group.rules) {
        alerts.rules += 1;
        if rule.health == "err" {
            alerts.remarks.push(format!("the rule {} cannot be evaluated: {}", rule.name, rule.last_error));
        }
        for active in rule.alerts {
            let state = match active.state.as_str() {
                "firing" => AlertState::Firing,
                "pending" => AlertState::Pending,
                _ => continue,
            };
            let annotation = |name: &str| active.annotations.get(name).cloned();
            alerts.active.push(Alert {
                name: rule.name.clone(),
                state,
                severity: active.labels.get("severity").cloned().unwrap_or_default(),
                summary: annotation("summary").or_else(|| annotation("description")).unwrap_or_default(),
                runbook: annotation("runbook_url").or_else(|| annotation("runbook")),
                since_ms: time_ms(&active.active_at),
                value: parse_number(&active.value),
                labels: Labels::new(active.labels).keep(|name| name != "alertname"),
            });
        }
    }
    alerts.active.sort_by(|left, right| {
        let grave = |alert: &Alert| (alert.state, alert.severity != "page", alert.severity.clone());
        grave(left)
            .cmp(&grave(right))
            .then_with(|| (&left.name, &left.labels).cmp(&(&right.name, &right.labels)))
    });
    Ok(alerts)
}

/// The answer of `targets`.
pub(super) fn targets(envelope: Envelope) -> Result<Vec<Target>> {
    let targets: Targets = data(&envelope)?;
    let mut targets: Vec<Target> = targets
        .active_targets
        .into_iter()
        .map(|target| Target {
            job: target.labels.get("job").cloned().unwrap_or_default(),
            instance: target.labels.get("instance").cloned().unwrap_or_default(),
            health: match target.health.as_str() {
                "up" => Health::Up,
                "down" => Health::Down,
                _ => Health::Unknown,
            },
            last_error: target.last_error,
            last_sample_ms: time_ms(&target.last_scrape),
            duration_s: target.last_scrape_duration,
            address: masked(&target.scrape_url),
        })
        .collect();
    targets.sort_by(|left, right| {
        (left.health, &left.job, &left.instance).cmp(&(right.health, &right.job, &right.instance))
    });
    Ok(targets)
}

/// Go's time of nothing, the year 1, is nothing.
fn time_ms(text: &str) -> Option<i64> {
    let at: jiff::Timestamp = text.parse().ok()?;
    Some(at.as_millisecond()).filter(|ms| *ms > 0)
}
