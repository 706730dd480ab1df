//! What a run came to: the verdict, the findings, and the figures for scripts and for a person.

use codes::exit::{self, Exit};
use serde_json::{Value, json};

use super::{Args, Scenario};
use crate::commands::replay::grouped;
use crate::load::{Outcome, Spread, Thresholds, Verdict, judge, percent};
use crate::output::{Finding, Report, Severity};
use crate::signals::Signal;

/// What a run came to, against what was asked of it.
pub(super) fn report(args: &Args, run: &str, outcome: Outcome, signal: Option<Signal>) -> Report {
    let thresholds = args.thresholds();
    let verdict = judge(&outcome.figures, &thresholds);
    let orders = &outcome.orders;
    let missing = orders.by_state.get("missing").copied().unwrap_or(0);
    let mut findings = Vec::new();
    let mut find = |code, severity, message: String| findings.push(Finding::new(code, severity, message));
    let (mut status, mut code): (&'static str, Exit) = ("ok", exit::DONE);
    match &verdict {
        Verdict::Kept => {}
        Verdict::Breached(breaches) => {
            (status, code) = ("breached", exit::BREACHED);
            breaches.iter().for_each(|breach| find(&codes::LOD001, Severity::Error, breach.clone()));
        }
        Verdict::Inconclusive(why) => {
            (status, code) = ("inconclusive", exit::INCONCLUSIVE);
            find(&codes::LOD002, Severity::Warning, why.clone());
        }
    }
    if missing > 0 {
        (status, code) = ("breached", exit::BREACHED);
        find(&codes::LOD007, Severity::Error, format!("{missing} accepted orders are not there"));
    }
    if orders.unknown > 0 {
        find(
            &codes::LOD005,
            Severity::Warning,
            format!("it is unknown whether {} orders exist", orders.unknown),
        );
    }
    let followed = !args.settle_timeout.is_zero();
    if followed && orders.unsettled > missing {
        let count = orders.unsettled - missing;
        find(&codes::LOD006, Severity::Warning, format!("{count} accepted orders have not come to an end"));
    }
    if let Err(error) = &outcome.journal {
        find(&codes::LOD009, Severity::Error, format!("the journal is not complete: {error}"));
        if code.is_success() {
            (status, code) = ("failed", exit::INTERNAL);
        }
    }
    if let Some(lag) = outcome.figures.generator_lag_p99_ms.filter(|lag| *lag > 20.0) {
        let message = format!("the generator was late by {lag} ms at the 99th percentile");
        find(&codes::LOD008, Severity::Warning, message);
    }
    let waited = outcome.figures.connection_wait_p99_ms.filter(|wait| *wait > 20.0);
    // Where the generator itself was late, that is the reason.
    if let (Some(wait), true) = (waited, outcome.figures.generator_lag_p99_ms.is_none_or(|lag| lag <= 20.0)) {
        let message = format!("requests waited {wait} ms for a connection at the 99th percentile");
        find(&codes::LOD010, Severity::Info, message);
    }
    if let Some(signal) = signal {
        (status, code) = ("interrupted", signal.exit());
    }
    let figures = serde_json::to_value(&outcome.figures).unwrap_or(Value::Null);
    let mut data = json!({
        "run": run,
        "plan": args.plan(),
        "verdict": match &verdict {
            Verdict::Kept if thresholds == Thresholds::default() => "not_asked",
            Verdict::Kept => "kept",
            Verdict::Breached(_) => "breached",
            Verdict::Inconclusive(_) => "inconclusive",
        },
        "stopped_early": outcome.stopped_early,
    });
    if let (Value::Object(data), Value::Object(figures)) = (&mut data, figures) {
        data.extend(figures);
        if args.orders() {
            data.insert("orders".to_owned(), serde_json::to_value(orders).unwrap_or(Value::Null));
        }
        if args.scenario == Scenario::Ingest {
            data.insert("ingest".to_owned(), serde_json::to_value(outcome.ingest).unwrap_or(Value::Null));
        }
    }
    let pairs = lines(args, &outcome);
    let mut report = Report::new("load", data).with_pairs(pairs).with_status(status, code);
    report.findings = findings;
    report.names = vec![run.to_owned()];
    report
}

/// The figures for a person.
fn lines(args: &Args, outcome: &Outcome) -> Vec<(&'static str, String)> {
    let figures = &outcome.figures;
    let spread = |spread: Option<Spread>| match spread {
        None => "nothing was measured".to_owned(),
        Some(spread) => format!(
            "p50 {} ms · p90 {} ms · p99 {} ms · p99.9 {} ms · max {} ms",
            spread.p50_ms, spread.p90_ms, spread.p99_ms, spread.p999_ms, spread.max_ms
        ),
    };
    let list = |counts: &std::collections::BTreeMap<String, u64>| match counts.is_empty() {
        true => "none".to_owned(),
        false => counts
            .iter()
            .map(|(name, count)| format!("{name} {}", grouped(*count)))
            .collect::<Vec<_>>()
            .join(", "),
    };
    let mut pairs = vec![
        (
            "Scenario",
            format!("{} at {} a second for {} s", args.scenario.name(), args.rate, figures.sent_for_s),
        ),
        ("Requests", format!("{} ({} answered)", grouped(figures.requests), grouped(figures.answered))),
        ("Rate", figures.achieved_per_s.map_or("none".to_owned(), |rate| format!("{rate} answers a second"))),
        ("Availability", figures.availability_percent.map_or("unknown".to_owned(), percent)),
        ("Latency", spread(figures.latency)),
        ("Errors", list(&figures.errors)),
    ];
    if args.orders() {
        let orders = &outcome.orders;
        pairs.push((
            "Orders",
            format!(
                "{} accepted, {} of them recovered; {} refused; {} turned away; {} unknown",
                grouped(orders.accepted),
                grouped(orders.recovered),
                grouped(orders.refused),
                grouped(orders.shed),
                grouped(orders.unknown)
            ),
        ));
        pairs.push(("States", list(&orders.by_state)));
        if orders.settling.is_some() {
            pairs.push(("Settling", spread(orders.settling)));
        }
    }
    if args.scenario == Scenario::Ingest {
        let ingest = &outcome.ingest;
        pairs.push((
            "Sales",
            format!(
                "{} accepted, {} duplicates, {} rejected",
                grouped(ingest.accepted),
                grouped(ingest.duplicates),
                grouped(ingest.rejected)
            ),
        ));
    }
    pairs
}
