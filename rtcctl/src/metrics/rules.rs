//! The rules of the platform, evaluated over its own history where no Prometheus server does: alerts, and of what is
//! recorded the series that an alert names.
//!
//! Invariants: they are the rules that a server is given (`dashboards/prometheus/*.rules.yml`), not others; one that
//! cannot be evaluated here is counted and never taken for quiet; without as much history as its `for` asks, an alert is
//! pending and does not fire.

use settings::parse_duration;

use super::model::{Alert, AlertState, Data, Labels, NAME, Series, Span};
use super::promql::{self, History, Refusal, evaluate_instant, evaluate_range};

const ALERTS: &str = include_str!("../../../dashboards/prometheus/alerts.rules.yml");
/// What objectives need: recorded ratios, and the alerts over them.
const OBJECTIVES: &str = include_str!("../../../dashboards/prometheus/slo.rules.yml");
/// How often a server would look.
const STEP_MS: i64 = rtc_metrics::EVALUATED_EVERY_SECONDS as i64 * 1_000;

/// One alert rule.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Rule {
    name: String,
    expr: String,
    /// How long its condition must hold.
    for_ms: i64,
    severity: String,
    summary: String,
    runbook: String,
}

/// One series that is recorded.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Recording {
    name: String,
    expr: String,
    /// The objective that it is of.
    slo: String,
}

/// What the rules say now.
#[derive(Debug, Default)]
pub(super) struct Judged {
    pub active: Vec<Alert>,
    /// How many rules were evaluated, and the names of those that were not.
    pub evaluated: usize,
    pub left_out: Vec<String>,
}

/// The keys and values of rules as they are generated: one a line, every value between single quotes.
fn entries(text: &str) -> impl Iterator<Item = (&str, String)> {
    text.lines().filter_map(|line| {
        let (key, value) = line.trim().split_once(": ")?;
        let value = value.strip_prefix('\'')?.strip_suffix('\'')?;
        Some((key, value.replace("''", "'")))
    })
}

/// The recorded series that an alert names.
fn recordings(text: &str) -> Vec<Recording> {
    let mut recordings: Vec<Recording> = Vec::new();
    let mut is_open = false;
    for (key, value) in entries(text) {
        match (key, recordings.last_mut()) {
            ("- record", _) => {
                recordings.push(Recording { name: value, ..Recording::default() });
                is_open = true;
            }
            ("- alert", _) => is_open = false,
            ("expr", Some(last)) if is_open => last.expr = value,
            ("slo", Some(last)) if is_open => last.slo = value,
            _ => {}
        }
    }
    let alerts = rules(text);
    recordings.retain(|one| alerts.iter().any(|alert| alert.expr.contains(&format!("{}{{", one.name))));
    recordings
}

/// Adds to the history what a server would record at this moment.
pub(super) fn record(history: &mut History, now_ms: i64) {
    for recording in recordings(OBJECTIVES) {
        let Ok(query) = promql::parse(&recording.expr) else { continue };
        let Ok(Data::Vector(samples)) = evaluate_instant(&query, history, now_ms) else { continue };
        let labels = Labels::new([(NAME, recording.name.as_str()), ("slo", recording.slo.as_str())]);
        // Without traffic there is no ratio, and the one of before is over.
        let value = samples.first().map(|sample| sample.value);
        history.record(labels, [(now_ms, value)]);
    }
}

fn rules(text: &str) -> Vec<Rule> {
    let mut rules: Vec<Rule> = Vec::new();
    for (key, value) in entries(text) {
        if key == "- record" {
            // What stands before the first alert is of none.
            rules.clear();
            continue;
        }
        if key == "- alert" {
            rules.push(Rule { name: value, ..Rule::default() });
            continue;
        }
        let Some(rule) = rules.last_mut() else { continue };
        match key {
            "expr" => rule.expr = value,
            "for" => {
                let time = parse_duration(&value).unwrap_or_default();
                rule.for_ms = i64::try_from(time.as_millis()).unwrap_or(i64::MAX);
            }
            "severity" => rule.severity = value,
            "summary" => rule.summary = value,
            "runbook" => rule.runbook = value,
            _ => {}
        }
    }
    rules
}

/// Evaluates every rule that can be.
pub(super) fn judge(history: &History, now_ms: i64) -> Judged {
    let mut judged = Judged::default();
    for rule in rules(ALERTS).into_iter().chain(rules(OBJECTIVES)) {
        match active(&rule, history, now_ms) {
            Ok(alerts) => {
                judged.evaluated += 1;
                judged.active.extend(alerts);
            }
            Err(_) => judged.left_out.push(rule.name),
        }
    }
    judged.active.sort_by(|left, right| {
        (left.state, left.severity != "page", &left.name).cmp(&(
            right.state,
            right.severity != "page",
            &right.name,
        ))
    });
    judged
}

fn active(rule: &Rule, history: &History, now_ms: i64) -> Result<Vec<Alert>, Refusal> {
    let query = promql::parse(&rule.expr)?;
    let Data::Vector(now) = evaluate_instant(&query, history, now_ms)? else { return Ok(Vec::new()) };
    if now.is_empty() {
        return Ok(Vec::new());
    }
    let steps = rule.for_ms / STEP_MS + 1;
    let span = Span { start_ms: now_ms - steps * STEP_MS, end_ms: now_ms, step_ms: STEP_MS };
    let Data::Matrix(course) = evaluate_range(&query, history, span)? else { return Ok(Vec::new()) };
    Ok(now
        .into_iter()
        .map(|sample| {
            let same = course.iter().find(|series| series.labels == sample.labels);
            let since_ms = same.map_or(now_ms, |series| holds_since(series, now_ms));
            let labels = sample.labels.keep(|name| name != NAME);
            Alert {
                name: rule.name.clone(),
                state: match now_ms - since_ms >= rule.for_ms {
                    true => AlertState::Firing,
                    false => AlertState::Pending,
                },
                severity: rule.severity.clone(),
                summary: filled_in(&rule.summary, &labels, sample.value),
                since_ms: Some(since_ms),
                labels,
                value: Some(sample.value),
                runbook: Some(rule.runbook.clone()),
            }
        })
        .collect())
}

/// Since when the condition has held without a break, as far back as was looked.
fn holds_since(series: &Series, now_ms: i64) -> i64 {
    let mut since_ms = now_ms;
    for (at_ms, _) in series.points.iter().rev() {
        if since_ms - at_ms > STEP_MS {
            break;
        }
        since_ms = *at_ms;
    }
    since_ms
}

/// The two things that the templates of the summaries name.
fn filled_in(template: &str, labels: &Labels, value: f64) -> String {
    let mut text = template.replace("{{ $value }}", &super::units::Unit::Count.format(value));
    for (name, value) in labels.iter() {
        text = text.replace(&format!("{{{{ $labels.{name} }}}}"), value);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of the names of recorded series, which have colons; nothing else of PromQL has one.
    const RECORDED: &str = "rtc:";

    fn recorded(name: &str, pairs: &[(&str, &str)], from_ms: i64, values: &[f64]) -> History {
        let mut history = History::default();
        let labels = Labels::new([(NAME, name)].into_iter().chain(pairs.iter().copied()));
        let points = values.iter().enumerate().map(|(n, value)| (from_ms + n as i64 * 5_000, Some(*value)));
        history.record(labels, points);
        history
    }

    #[test]
    fn the_rules_of_the_server_are_read_whole() {
        let count = |what: &str| ALERTS.matches(what).count() + OBJECTIVES.matches(what).count();
        let rules: Vec<Rule> = rules(ALERTS).into_iter().chain(rules(OBJECTIVES)).collect();
        assert_eq!(rules.len(), count("- alert:"));
        for rule in &rules {
            assert!(
                !rule.expr.is_empty() && !rule.severity.is_empty() && !rule.summary.is_empty(),
                "{rule:?}"
            );
            assert!(rule.runbook.ends_with(&format!("{}.md", rule.name)), "{rule:?}");
        }
        let judged = judge(&History::default(), 0);
        assert_eq!(judged.evaluated + judged.left_out.len(), rules.len());
        assert_eq!(judged.left_out, ["RtcConsumerStalled"], "label_replace() is a server's");
        for rule in &rules {
            let names = rule.expr.split(RECORDED).skip(1).map(|rest| rest.split('{').next().unwrap_or(rest));
            for name in names {
                let is_known =
                    recordings(OBJECTIVES).iter().any(|one| one.name == format!("{RECORDED}{name}"));
                assert!(is_known, "{}: nothing here records {name}", rule.name);
            }
        }
    }

    #[test]
    fn an_alert_is_pending_until_its_condition_has_held_for_long_enough() {
        // Parked from 60 s on; the rule asks for a minute.
        let values: Vec<f64> = (0..60).map(|n| if n < 12 { 0.0 } else { 3.0 }).collect();
        let history = recorded("rtc_dlq_depth", &[("group", "payments.commands")], 0, &values);
        let state = |now_ms: i64| {
            let judged = judge(&history, now_ms);
            let dead = judged.active.iter().find(|alert| alert.name == "RtcDeadLetters");
            dead.map(|alert| (alert.state, alert.summary.clone()))
        };
        assert_eq!(state(55_000), None);
        let summary = "payments.commands has parked 3 messages".to_owned();
        assert_eq!(state(70_000), Some((AlertState::Pending, summary.clone())));
        assert_eq!(state(140_000), Some((AlertState::Firing, summary)));
    }

    /// Requests of the entry, so many of each status a step.
    fn requests(history: &mut History, status: &str, points: i64, rate: f64) {
        let labels = [
            (NAME, "http_server_request_duration_seconds_count"),
            ("job", "rtcd"),
            ("hop", "entry"),
            ("http_route", "/orders"),
            ("http_response_status_code", status),
        ];
        history.record(Labels::new(labels), (0..=points).map(|n| (n * 5_000, Some(n as f64 * rate))));
    }

    #[test]
    fn a_budget_that_burns_is_seen_in_a_quarter_of_an_hour_of_history() {
        let burning = |failed: f64| {
            let mut history = History::default();
            requests(&mut history, "200", 120, 50.0);
            requests(&mut history, "503", 120, failed);
            record(&mut history, 600_000);
            let judged = judge(&history, 600_000).active;
            let of = judged.into_iter().filter(|alert| alert.labels.get("slo") == "availability");
            let mut names: Vec<String> =
                of.map(|alert| format!("{} {:?}", alert.name, alert.state)).collect();
            names.sort();
            names
        };
        assert_eq!(burning(0.0), [] as [&str; 0]);
        assert_eq!(burning(0.2), ["RtcErrorBudgetBurns Firing"], "four in a thousand");
        assert_eq!(burning(5.0), ["RtcErrorBudgetBurns Firing", "RtcErrorBudgetBurnsFast Firing"]);
    }

    #[test]
    fn the_most_patient_rule_fires_within_what_a_process_remembers() {
        let points = rtc_metrics::HISTORY_POINTS;
        let step_ms = rtc_metrics::HISTORY_EVERY_SECONDS as i64 * 1_000;
        let out = |points: usize| {
            let history = recorded("rtc_stock_skus", &[("level", "out")], 1_000, &vec![4.0; points]);
            let now_ms = 1_000 + points as i64 * step_ms - 1;
            let found = judge(&history, now_ms).active.into_iter().find(|alert| alert.name == "RtcStockLow");
            found.map(|alert| alert.state)
        };
        assert_eq!(out(points), Some(AlertState::Firing));
        assert_eq!(
            out(178),
            Some(AlertState::Pending),
            "a history that is shorter than the rule cannot tell"
        );
    }

    #[test]
    fn quotes_within_a_value_are_read() {
        let rules = rules("- alert: 'A'\n  expr: 'a == ''b'''\n  for: '90s'\n");
        assert_eq!((rules[0].expr.as_str(), rules[0].for_ms), ("a == 'b'", 90_000));
    }
}
