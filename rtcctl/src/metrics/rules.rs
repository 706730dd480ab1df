//! The alert rules of the platform, evaluated over its own history where no Prometheus server does.
//!
//! Invariants: they are the rules that a server is given (`dashboards/prometheus/alerts.rules.yml`), not others; one that
//! cannot be evaluated here is counted and never taken for quiet; without as much history as its `for` asks, an alert is
//! pending and does not fire.

use super::model::{Alert, AlertState, Data, Labels, NAME, Series, Span};
use super::promql::{self, History, Refusal, evaluate_instant, evaluate_range};
use crate::config::parse_duration;

const RULES: &str = include_str!("../../../dashboards/prometheus/alerts.rules.yml");
/// How often a server would look.
const STEP_MS: i64 = 15_000;

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

/// What the rules say now.
#[derive(Debug, Default)]
pub(super) struct Judged {
    pub active: Vec<Alert>,
    /// How many rules were evaluated, and the names of those that were not.
    pub evaluated: usize,
    pub left_out: Vec<String>,
}

/// Reads the rules as they are generated: one key a line, every value between single quotes.
fn rules(text: &str) -> Vec<Rule> {
    let mut rules: Vec<Rule> = Vec::new();
    for line in text.lines() {
        let Some((key, value)) = line.trim().split_once(": ") else { continue };
        let value = value.strip_prefix('\'').and_then(|value| value.strip_suffix('\''));
        let Some(value) = value.map(|value| value.replace("''", "'")) else { continue };
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
    for rule in rules(RULES) {
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
    // What recording rules make is nowhere in the history.
    if rule.expr.contains("rtc:") {
        return Err(Refusal::Unsupported("a recorded series".to_owned()));
    }
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

    fn recorded(name: &str, pairs: &[(&str, &str)], from_ms: i64, values: &[f64]) -> History {
        let mut history = History::default();
        let labels = Labels::new([(NAME, name)].into_iter().chain(pairs.iter().copied()));
        let points = values.iter().enumerate().map(|(n, value)| (from_ms + n as i64 * 5_000, Some(*value)));
        history.record(labels, points);
        history
    }

    #[test]
    fn the_rules_of_the_server_are_read_whole() {
        let rules = rules(RULES);
        assert_eq!(rules.len(), RULES.matches("- alert:").count());
        for rule in &rules {
            assert!(
                !rule.expr.is_empty() && !rule.severity.is_empty() && !rule.summary.is_empty(),
                "{rule:?}"
            );
            assert!(rule.runbook.ends_with(&format!("{}.md", rule.name)), "{rule:?}");
        }
        let judged = judge(&History::default(), 0);
        assert_eq!(judged.evaluated + judged.left_out.len(), rules.len());
        assert!(judged.evaluated * 10 > rules.len() * 7, "most can be evaluated here: {:?}", judged.left_out);
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

    #[test]
    fn quotes_within_a_value_are_read() {
        let rules = rules("- alert: 'A'\n  expr: 'a == ''b'''\n  for: '90s'\n");
        assert_eq!((rules[0].expr.as_str(), rules[0].for_ms), ("a == 'b'", 90_000));
    }
}
