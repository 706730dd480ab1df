//! Tests of promtool, one for each alert: it fires when its condition is caused, within the minutes that are promised, and
//! none fires at normal load or without traffic.

mod silence;

use rtc_metrics::slo::{ALL as SLOS, BURNS, Burn, Severity, Slo};
use rtc_metrics::{self as m, Metric};

use super::alerts::{Alert, FAST, INDISPENSABLE, SLOW, alerts, sample_of};
use super::yaml::Yaml;

/// A series and its values in promtool's notation.
type Series = (String, String);

/// What is fed in, and what has to fire when.
struct Proof {
    name: String,
    /// Of the alert and its subject.
    of: (&'static str, Option<String>),
    every: &'static str,
    series: Vec<Series>,
    /// Silent here …
    before: String,
    /// … and firing here.
    after: String,
    /// The labels of the series that fires, beside those of the rule.
    labels: Vec<(&'static str, &'static str)>,
}

fn target() -> Series {
    ("up{job=\"rtcd\", instance=\"a:9080\"}".to_owned(), "1x100".to_owned())
}

/// A gauge that is fine for five minutes and then is not.
fn gauge_proof(
    alert: &'static str,
    series: &str,
    (good, bad): (&str, &str),
    (before, after): (&str, &str),
    labels: &[(&'static str, &'static str)],
) -> Proof {
    Proof {
        name: format!("{alert} fires"),
        of: (alert, None),
        every: "1m",
        series: vec![(series.to_owned(), format!("{good}x4 {bad}x60"))],
        before: before.to_owned(),
        after: after.to_owned(),
        labels: labels.to_vec(),
    }
}

const ROUTE: &str = "/api/v1/orders";

fn requested(status: u16, route: &str, hop: &str) -> String {
    format!(
        "service=\"orders\", http_request_method=\"POST\", http_route=\"{route}\", \
         http_response_status_code=\"{status}\", hop=\"{hop}\""
    )
}

fn request(status: u16) -> String {
    m::HTTP_SERVER_REQUEST_DURATION.count(&requested(status, ROUTE, "entry"))
}

fn in_bucket(le: &str) -> String {
    let labels = format!("{}, le=\"{le}\"", requested(200, ROUTE, "entry"));
    m::HTTP_SERVER_REQUEST_DURATION.bucket(&labels)
}

/// Counters: `a` a minute for `good` minutes, then `b` a minute for `bad` minutes.
fn rising(a: u32, good: u32, b: u32, bad: u32) -> String {
    let first = format!("0+{a}x{good}");
    let reached = a * good;
    if bad == 0 { first } else { format!("{first} {}+{b}x{}", reached + b, bad - 1) }
}

const PER_MINUTE: u32 = 600;

/// Minutes between two samples: fewer for what takes a day to be seen.
const fn step(severity: Severity) -> u32 {
    match severity {
        Severity::Page => 1,
        Severity::Ticket => 2,
    }
}

/// The series of an objective: good for `good` minutes, then every event bad for `bad` minutes; a sample every `step`.
fn events(slo: &Slo, good: u32, bad: u32, step: u32) -> Vec<Series> {
    let (each, good, bad) = (PER_MINUTE * step, good / step, bad / step);
    let all = rising(each, good, each, bad);
    let fine = rising(each, good, 0, bad);
    let faulty = rising(0, good, each, bad);
    match slo.name {
        "availability" => vec![(request(200), fine), (request(500), faulty)],
        "latency" => vec![(request(200), all), (in_bucket("0.5"), fine)],
        "checkout" => vec![
            (format!("{}{{state=\"placed\"}}", m::ORDERS.name), all),
            (format!("{}{{reason=\"timeout\"}}", m::ORDERS_ENDED.name), faulty),
        ],
        _ => vec![
            (format!("{}_count{{outcome=\"confirmed\"}}", m::ORDER_SETTLE.name), all),
            (format!("{}_bucket{{outcome=\"confirmed\", le=\"10.0\"}}", m::ORDER_SETTLE.name), fine),
        ],
    }
}

/// How long the good times last before the bad ones: longer than the long windows that decide.
fn good_minutes(severity: Severity) -> u32 {
    if severity == Severity::Page { 370 } else { 1_450 }
}

/// The burn of this severity that fires first, and after how many minutes.
pub fn first_to_fire(slo: &Slo, severity: Severity) -> (&'static Burn, u32) {
    let of = BURNS.iter().filter(|burn| burn.severity == severity);
    let soonest = of.min_by(|a, b| a.minutes_to_fire(slo).total_cmp(&b.minutes_to_fire(slo)));
    let burn = soonest.unwrap_or(&BURNS[0]);
    // The minute in which it is passed, one more, and the time until it is seen here.
    (burn, (burn.minutes_to_fire(slo).ceil() as u32 + 1 + step(severity)).next_multiple_of(step(severity)))
}

fn burn_proof(slo: &Slo, severity: Severity) -> Proof {
    let good = good_minutes(severity);
    let (_, within) = first_to_fire(slo, severity);
    Proof {
        name: format!(
            "{} of {} fires within {within} min of every event being bad",
            name_of(severity),
            slo.name
        ),
        of: (name_of(severity), Some(slo.name.to_owned())),
        every: if severity == Severity::Page { "1m" } else { "2m" },
        series: events(slo, good, within + 10, step(severity)),
        before: format!("{good}m"),
        after: format!("{}m", good + within),
        labels: Vec::new(),
    }
}

/// However many ask for what is not there, give up, or come from within: those who were failed are not fewer for it.
fn flooded() -> Proof {
    let mut proof = burn_proof(&SLOS[0], Severity::Page);
    let count = |labels: String| m::HTTP_SERVER_REQUEST_DURATION.count(&labels);
    let flood = || "0+600000x1000".to_owned();
    proof.name = format!("{}, in a flood of requests that do not count", proof.name);
    proof.series.extend([
        (count(requested(404, m::OTHER, "entry")), flood()),
        (count(requested(m::CALLER_GONE, ROUTE, "entry")), flood()),
        (count(requested(200, ROUTE, "inner")), flood()),
    ]);
    proof
}

const fn name_of(severity: Severity) -> &'static str {
    match severity {
        Severity::Page => FAST,
        Severity::Ticket => SLOW,
    }
}

/// All indispensable figures are there, and then this one is not.
fn missing_proof(metric: &'static Metric) -> Proof {
    let mut series = vec![target()];
    for one in INDISPENSABLE {
        series.push((sample_of(one), if one == metric { "1x4 stale" } else { "1x100" }.to_owned()));
    }
    Proof {
        name: format!("RtcFigureMissing of {} fires", metric.name),
        of: ("RtcFigureMissing", Some(metric.name.to_owned())),
        every: "1m",
        series,
        before: "4m".to_owned(),
        after: "17m".to_owned(),
        // What is absent is told with the labels by which it was asked for.
        labels: if metric.is_shared() { vec![("job", m::JOB)] } else { Vec::new() },
    }
}

fn proofs() -> Vec<Proof> {
    let mut proofs: Vec<Proof> = SLOS
        .iter()
        .flat_map(|slo| [burn_proof(slo, Severity::Page), burn_proof(slo, Severity::Ticket)])
        .collect();
    proofs.push(flooded());
    let of = |metric: &Metric, labels: &str| metric.select(labels);
    let lag = of(&m::CONSUMER_LAG, "group=\"orders.saga\", topic=\"rtc.payments\"");
    let a = "instance=\"a:9080\"";
    let process = |replica: &str| of(&m::SPLIT_UP, &format!("process=\"orders\", replica=\"{replica}\""));
    proofs.extend([
        gauge_proof(
            "RtcSagaStuck",
            &of(&m::SAGA_STUCK, "saga=\"checkout\""),
            ("0", "3"),
            ("6m", "8m"),
            &[("saga", "checkout")],
        ),
        gauge_proof(
            "RtcOutboxGrowing",
            &of(&m::OUTBOX_LAG, "service=\"orders\""),
            ("2", "61"),
            ("6m", "8m"),
            &[("service", "orders")],
        ),
        gauge_proof("RtcConsumerLagging", &lag, ("900", "1100"), ("14m", "16m"), &[("group", "orders.saga")]),
        Proof {
            series: vec![
                (lag.clone(), "5x60".to_owned()),
                (handled(""), "0+60x9 540x50".to_owned()),
                // The same batch comes again and again, and fails.
                (handled("retried"), "0+2x60".to_owned()),
            ],
            ..gauge_proof("RtcConsumerStalled", &lag, ("5", "5"), ("13m", "21m"), &[("group", "orders.saga")])
        },
        gauge_proof(
            "RtcDeadLetters",
            &of(&m::DLQ_DEPTH, "group=\"payments.commands\""),
            ("0", "1"),
            ("5m", "7m"),
            &[("group", "payments.commands")],
        ),
        gauge_proof("RtcLedgerImbalance", m::LEDGER_IMBALANCE.name, ("0", "1"), ("4m", "5m"), &[]),
        gauge_proof(
            "RtcReconciliationDifferences",
            m::RECONCILIATION_DIFFERENCES.name,
            ("0", "2"),
            ("14m", "16m"),
            &[],
        ),
        gauge_proof(
            "RtcStockLow",
            &of(&m::STOCK_SKUS, "level=\"out\""),
            ("0", "4"),
            ("19m", "21m"),
            &[("level", "out")],
        ),
        gauge_proof("RtcBusAway", &of(&m::BUS_UP, a), ("1", "0"), ("6m", "8m"), &[("instance", "a:9080")]),
        gauge_proof("RtcNotReady", &of(&m::READY, a), ("1", "0"), ("9m", "11m"), &[("instance", "a:9080")]),
        Proof {
            series: vec![
                (of(&m::PROCESS_FDS, a), "100x4 900x60".to_owned()),
                (of(&m::PROCESS_MAX_FDS, a), "1024x64".to_owned()),
            ],
            ..gauge_proof(
                "RtcDescriptorsScarce",
                "",
                ("0", "0"),
                ("9m", "11m"),
                &[("job", "rtcd"), ("instance", "a:9080")],
            )
        },
        Proof {
            series: vec![(process("1"), "1x4 0x60".to_owned()), (process("2"), "1x64".to_owned())],
            ..gauge_proof(
                "RtcProcessDown",
                "",
                ("1", "0"),
                ("6m", "8m"),
                &[("process", "orders"), ("replica", "1")],
            )
        },
        Proof {
            series: vec![(process("1"), "0x64".to_owned()), (process("2"), "1x9 0x55".to_owned())],
            ..gauge_proof("RtcServiceDown", "", ("1", "0"), ("10m", "12m"), &[("process", "orders")])
        },
        gauge_proof(
            "RtcTargetDown",
            "up{job=\"rtcd\", instance=\"a:9080\"}",
            ("1", "0"),
            ("5m", "7m"),
            &[("job", "rtcd"), ("instance", "a:9080")],
        ),
        Proof {
            series: vec![("up{job=\"rtcd\", instance=\"a:9080\"}".to_owned(), "1x4 stale".to_owned())],
            ..gauge_proof("RtcNotScraped", "", ("0", "0"), ("9m", "12m"), &[("job", "rtcd")])
        },
    ]);
    proofs.extend(INDISPENSABLE.into_iter().map(missing_proof));
    proofs
}

/// The alerts that are proved.
#[cfg(test)]
pub fn proved() -> std::collections::BTreeSet<(&'static str, Option<String>)> {
    proofs().into_iter().map(|proof| proof.of).collect()
}

fn alert_of(proof: &Proof) -> Option<Alert> {
    alerts().into_iter().find(|alert| (alert.name, alert.subject()) == proof.of)
}

fn input(series: &[Series]) -> Yaml {
    let one = |(series, values): &Series| {
        Yaml::map([("series", series.as_str().into()), ("values", values.as_str().into())])
    };
    Yaml::List(series.iter().map(one).collect())
}

fn expect(at: &str, name: &str, alerts: Vec<Yaml>) -> Yaml {
    Yaml::map([("eval_time", at.into()), ("alertname", name.into()), ("exp_alerts", Yaml::List(alerts))])
}

fn fill(summary: &str, proof: &Proof, value: &str) -> String {
    let mut text = summary.replace("{{ $value }}", value);
    for (name, label) in &proof.labels {
        text = text.replace(&format!("{{{{ $labels.{name} }}}}"), label);
    }
    text
}

/// The value at the end of a gauge, as a summary shows it.
fn last_value(proof: &Proof) -> String {
    let values = proof.series.first().map_or("", |(_, values)| values.as_str());
    let last = values.rsplit(' ').next().unwrap_or_default();
    last.split('x').next().unwrap_or_default().to_owned()
}

fn test(proof: &Proof) -> Yaml {
    let Some(alert) = alert_of(proof) else { return Yaml::List(Vec::new()) };
    let mut labels: Vec<(&str, Yaml)> = vec![("severity", alert.severity.as_str().into())];
    labels.extend(alert.labels.iter().map(|(name, value)| (*name, Yaml::from(value.as_str()))));
    labels.extend(proof.labels.iter().map(|(name, value)| (*name, Yaml::from(*value))));
    let summary = fill(&alert.summary, proof, &last_value(proof));
    let fires = Yaml::map([
        ("exp_labels", Yaml::map(labels)),
        (
            "exp_annotations",
            Yaml::map([("summary", summary.as_str().into()), ("runbook", alert.runbook().as_str().into())]),
        ),
    ]);
    Yaml::map([
        ("name", proof.name.as_str().into()),
        ("interval", proof.every.into()),
        ("input_series", input(&proof.series)),
        (
            "alert_rule_test",
            Yaml::List(vec![
                expect(&proof.before, alert.name, Vec::new()),
                expect(&proof.after, alert.name, vec![fires]),
            ]),
        ),
    ])
}

/// Batches of the checkout's consumer, by how they ended.
fn handled(error: &str) -> String {
    m::MESSAGING_PROCESS_DURATION.count(&format!(
        "messaging_consumer_group_name=\"orders.saga\", messaging_destination_name=\"rtc.payments\", \
         error_type=\"{error}\""
    ))
}

/// The files of tests: their names and texts.
pub fn files() -> Vec<(String, String)> {
    let rules = ["../recording.rules.yml", "../slo.rules.yml", "../alerts.rules.yml"].map(Yaml::from);
    let page = |every: &str, tests: Vec<Yaml>| {
        let page = Yaml::map([
            ("rule_files", Yaml::List(rules.to_vec())),
            ("evaluation_interval", every.into()),
            ("tests", Yaml::List(tests)),
        ]);
        format!("# Generated: cargo xtask dashboards\n{page}")
    };
    let all = |of: &[&str]| -> Vec<Yaml> {
        proofs().iter().filter(|proof| of.contains(&proof.of.0)).map(test).collect()
    };
    let others: Vec<&str> =
        alerts().iter().map(|alert| alert.name).filter(|name| ![FAST, SLOW].contains(name)).collect();
    vec![
        ("tests/pages.test.yml".to_owned(), page("1m", all(&[FAST]))),
        ("tests/tickets.test.yml".to_owned(), page("2m", all(&[SLOW]))),
        ("tests/alerts.test.yml".to_owned(), page("1m", all(&others))),
        ("tests/silence.test.yml".to_owned(), page("1m", silence::all())),
    ]
}

#[cfg(test)]
mod tests {
    use rtc_metrics::slo::minutes;

    use super::*;

    #[test]
    fn good_times_last_longer_than_the_window_that_fires_first() {
        for slo in &SLOS {
            for severity in [Severity::Page, Severity::Ticket] {
                let (burn, _) = first_to_fire(slo, severity);
                assert!(minutes(burn.long) <= f64::from(good_minutes(severity)), "{} {burn:?}", slo.name);
            }
        }
    }

    #[test]
    fn counters_rise_as_they_are_told() {
        assert_eq!(rising(10, 3, 0, 2), "0+10x3 30+0x1");
        assert_eq!(rising(0, 3, 5, 2), "0+0x3 5+5x1");
    }
}
