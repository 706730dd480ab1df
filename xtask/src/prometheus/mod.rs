//! Rules of Prometheus as code: what is recorded, what is alarmed about, and how each alert is proved to fire.
//!
//! Invariants: no traffic is silence: a ratio without events has no value; every alert has a severity, a summary, a
//! runbook, and a test of promtool that causes it.

mod alerts;
pub mod bench;
mod burning;
pub mod live;
mod proofs;
mod yaml;

use std::path::PathBuf;

use rtc_metrics as m;
use rtc_metrics::slo::{ALL as SLOS, WINDOWS, recorded_name};

pub use alerts::{Alert, alerts};
use yaml::Yaml;

const FOLDER: &str = "dashboards/prometheus";
/// How often it scrapes and evaluates; promises of minutes count from there.
const EVERY: &str = "15s";

/// A series that a rule records.
pub struct Recorded {
    pub name: String,
    pub expression: String,
    pub labels: Vec<(&'static str, String)>,
}

/// Rates that dashboards, rtcctl and people ask for again and again.
fn rates() -> Vec<Recorded> {
    let requests = &m::HTTP_SERVER_REQUEST_DURATION;
    let (all, failed) = (requests.count(""), requests.count("http_response_status_code=~\"5..\""));
    let record =
        |name: &str, expression: String| Recorded { name: name.to_owned(), expression, labels: Vec::new() };
    vec![
        record("rtc:http_requests:rate5m", format!("sum by (service) (rate({all}[5m]))")),
        record(
            "rtc:http_errors:ratio5m",
            format!(
                "(sum by (service) (rate({failed}[5m])) or sum by (service) (rate({all}[5m])) * 0) / \
                 (sum by (service) (rate({all}[5m])) > 0)"
            ),
        ),
        record(
            "rtc:http_duration_seconds:p99_5m",
            format!("histogram_quantile(0.99, sum by (le, service) (rate({}[5m])))", requests.bucket("")),
        ),
        record("rtc:orders:rate5m", format!("sum by (state) (rate({}[5m]))", m::ORDERS.name)),
        record("rtc:revenue_minor:rate5m", format!("sum by (currency) (rate({}[5m]))", m::REVENUE.name)),
        record(
            "rtc:messages:rate5m",
            format!(
                "sum by (messaging_consumer_group_name) (rate({}[5m]))",
                m::MESSAGING_CONSUMED.select("")
            ),
        ),
    ]
}

/// How much shorter than in life the times of rules are, so that a day of them passes in minutes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scale(pub u32);

impl Scale {
    pub const ONE: Self = Self(1);

    /// A length of time such as `5m`.
    fn window(self, window: &str) -> String {
        if self == Self::ONE { window.to_owned() } else { format!("{}ms", self.seconds(window) * 1_000.0) }
    }

    fn seconds(self, window: &str) -> f64 {
        let seconds = window.strip_suffix('s').and_then(|number| number.parse().ok());
        let seconds: f64 = seconds.unwrap_or_else(|| rtc_metrics::slo::minutes(window) * 60.0);
        seconds / f64::from(self.0)
    }
}

fn ratios(scale: Scale) -> Vec<Recorded> {
    let mut recorded = Vec::new();
    for window in WINDOWS {
        for slo in &SLOS {
            recorded.push(Recorded {
                name: recorded_name(window),
                expression: slo.error_ratio(&scale.window(window)),
                labels: vec![("slo", slo.name.to_owned())],
            });
        }
    }
    recorded
}

/// Whether a rule records a series of this name.
pub fn records(name: &str) -> bool {
    rates().iter().chain(&ratios(Scale::ONE)).any(|recorded| recorded.name == name)
}

/// Every expression of a rule, with what it is of.
pub fn recording() -> Vec<Recorded> {
    rates().into_iter().chain(ratios(Scale::ONE)).collect()
}

fn group(name: &str, rules: Vec<Yaml>) -> Yaml {
    Yaml::map([("name", name.into()), ("rules", Yaml::List(rules))])
}

fn recording_rule(recorded: &Recorded) -> Yaml {
    let mut rule = vec![
        ("record".to_owned(), Yaml::from(recorded.name.as_str())),
        ("expr".to_owned(), recorded.expression.as_str().into()),
    ];
    if !recorded.labels.is_empty() {
        let labels = recorded.labels.iter().map(|(name, value)| (*name, Yaml::from(value.as_str())));
        rule.push(("labels".to_owned(), Yaml::map(labels)));
    }
    Yaml::Map(rule)
}

fn alert_rule(alert: &Alert) -> Yaml {
    let mut labels: Vec<(&str, Yaml)> = vec![("severity", alert.severity.as_str().into())];
    labels.extend(alert.labels.iter().map(|(name, value)| (*name, Yaml::from(value.as_str()))));
    Yaml::map([
        ("alert", alert.name.into()),
        ("expr", alert.expression.as_str().into()),
        ("for", alert.after.as_str().into()),
        ("labels", Yaml::map(labels)),
        (
            "annotations",
            Yaml::map([
                ("summary", Yaml::from(alert.summary.as_str())),
                ("runbook", alert.runbook().as_str().into()),
            ]),
        ),
    ])
}

fn page(groups: Vec<Yaml>) -> String {
    format!(
        "# Generated from the catalogue of metrics: cargo xtask dashboards\n{}",
        Yaml::map([("groups", Yaml::List(groups))])
    )
}

/// The recorded ratios of the objectives and the alerts over them.
fn objectives(scale: Scale) -> Vec<Yaml> {
    vec![
        group("rtc-slo-ratios", ratios(scale).iter().map(recording_rule).collect()),
        group("rtc-slo-burns", alerts::burning(scale).iter().map(alert_rule).collect()),
    ]
}

/// The rules by which objectives and targets alarm, with every time of them so much shorter.
pub fn hurried(scale: Scale) -> String {
    let mut groups = objectives(scale);
    let targets = alerts().into_iter().filter(|alert| alert.name == "RtcTargetDown").map(|mut alert| {
        alert.after = scale.window(&alert.after);
        alert_rule(&alert)
    });
    groups.push(group("rtc-targets", targets.collect()));
    page(groups)
}

/// What a Prometheus needs to scrape one rtcd on this machine.
fn configuration() -> String {
    let files = ["recording", "slo", "alerts"].map(|name| Yaml::from(format!("{name}.rules.yml").as_str()));
    let scrape = Yaml::map([
        ("job_name", "rtcd".into()),
        (
            "static_configs",
            Yaml::List(vec![Yaml::map([("targets", Yaml::List(vec!["127.0.0.1:9080".into()]))])]),
        ),
    ]);
    format!(
        "# Generated: cargo xtask dashboards. prometheus --config.file=dashboards/prometheus/prometheus.yml \
         --enable-feature=exemplar-storage\n{}",
        Yaml::map([
            ("global", Yaml::map([("scrape_interval", EVERY.into()), ("evaluation_interval", EVERY.into())])),
            ("rule_files", Yaml::List(files.into())),
            ("scrape_configs", Yaml::List(vec![scrape])),
        ])
    )
}

/// The files under dashboards/prometheus.
pub fn files() -> Vec<(PathBuf, String)> {
    let of = |recorded: Vec<Recorded>| recorded.iter().map(recording_rule).collect();
    let others = alerts().into_iter().filter(|alert| alert.labels.iter().all(|(name, _)| *name != "slo"));
    let others: Vec<Yaml> = others.map(|alert| alert_rule(&alert)).collect();
    let at = |name: &str| PathBuf::from(FOLDER).join(name);
    let mut files = vec![
        (at("prometheus.yml"), configuration()),
        (at("recording.rules.yml"), page(vec![group("rtc-rates", of(rates()))])),
        (at("slo.rules.yml"), page(objectives(Scale::ONE))),
        (at("alerts.rules.yml"), page(vec![group("rtc-alerts", others)])),
    ];
    files.extend(proofs::files().into_iter().map(|(name, text)| (at(&name), text)));
    files
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::run::root;

    #[test]
    fn every_alert_has_a_runbook_that_says_what_to_do_with_rtcctl() {
        let named: BTreeSet<&str> = alerts().iter().map(|alert| alert.name).collect();
        for name in &named {
            let path = root().join(format!("docs/runbooks/{name}.md"));
            let text = std::fs::read_to_string(&path).unwrap_or_default();
            assert!(text.starts_with(&format!("# {name}\n")), "{} is missing or another's", path.display());
            let mut rest = text.as_str();
            for part in ["## Meaning", "## Impact", "## Diagnosis", "## Remedy"] {
                let (before, after) =
                    rest.split_once(part).unwrap_or_else(|| panic!("{name}: {part} is missing"));
                assert!(
                    part == "## Meaning" || before.trim().len() > 20,
                    "{name}: what is before {part} says nothing"
                );
                rest = after;
            }
            assert!(text.contains("rtcctl "), "{name}: no command of rtcctl");
            assert!(rest.trim().len() > 20, "{name}: no remedy");
        }
        let books = std::fs::read_dir(root().join("docs/runbooks")).unwrap();
        for book in books.flatten() {
            let file = book.file_name().to_string_lossy().into_owned();
            let name = file.trim_end_matches(".md");
            assert!(name == "README" || named.contains(name), "docs/runbooks/{file} is of no alert");
        }
    }

    #[test]
    fn the_most_patient_rule_is_the_one_for_which_the_short_history_is_made() {
        let longest = alerts().iter().map(|alert| Scale::ONE.seconds(&alert.after) as u64).max();
        assert_eq!(longest, Some(m::ALERT_AFTER_MAX_SECONDS));
        assert_eq!(EVERY, format!("{}s", m::EVALUATED_EVERY_SECONDS));
    }

    #[test]
    fn hurried_rules_are_the_same_with_every_time_shorter() {
        let (whole, hurried) = (page(objectives(Scale::ONE)), super::hurried(Scale(60)));
        for (window, shorter) in
            [("[5m]", "[5000ms]"), ("[1h]", "[60000ms]"), ("[1d]", "[1440000ms]"), ("* 3600 >", "* 60 >")]
        {
            assert!(whole.matches(window).count() > 0, "{window}");
            assert_eq!(whole.matches(window).count(), hurried.matches(shorter).count(), "{window}");
            assert!(!hurried.contains(window), "{window}");
        }
        assert_eq!(
            whole.matches("rtc:slo_error_ratio:rate1h").count(),
            hurried.matches("rtc:slo_error_ratio:rate1h").count()
        );
        assert!(hurried.contains("for: '1000ms'"), "a target that is down is told after its minute");
    }

    #[test]
    fn every_alert_is_proved_to_fire() {
        let proved: BTreeSet<(&str, Option<String>)> = proofs::proved();
        for alert in alerts() {
            assert!(
                proved.contains(&(alert.name, alert.subject())),
                "{} {:?} is not proved",
                alert.name,
                alert.subject()
            );
        }
    }
}
