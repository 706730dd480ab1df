//! Times in which no alert fires: normal load, nothing at all, a few failures at night, failures that nobody met.

use std::collections::BTreeSet;

use rtc_metrics::{self as m, Kind, Metric, Values};

use super::{Series, expect, handled, in_bucket, input, request, requested, target};
use crate::prometheus::alerts::alerts;
use crate::prometheus::yaml::Yaml;

/// The tests of all of them.
pub(super) fn all() -> Vec<Yaml> {
    let times = ["1m", "10m", "65m", "305m", "390m"];
    vec![
        silent("normal load is silent", normal(), &times),
        silent("no traffic is silent", quiet(), &times),
        silent("three bad requests at night are silent", night(), &times),
        silent("failures that never reached a caller are silent", mended(), &times),
    ]
}

/// One series of every metric: what a shop says that does nothing.
fn idle(metric: &Metric) -> Vec<Series> {
    let own = metric.labels.iter().map(|label| {
        let value = match label.values {
            Values::OneOf(values) => values[0],
            Values::AtMost(..) => "x",
        };
        format!("{}=\"{value}\"", label.name)
    });
    let job = metric.is_shared().then(|| format!("job=\"{}\"", m::JOB));
    let labels: Vec<String> = job.into_iter().chain(own).collect();
    let well = [m::BUS_UP.name, m::CACHE_UP.name, m::READY.name, m::SPLIT_UP.name, m::BUILD_INFO.name];
    let value = if well.contains(&metric.name) { "1x400" } else { "0x400" };
    let set = |more: &str| {
        let all: Vec<&str> =
            labels.iter().map(String::as_str).chain((!more.is_empty()).then_some(more)).collect();
        format!("{{{}}}", all.join(", "))
    };
    if metric.kind != Kind::Histogram {
        return vec![(format!("{}{}", metric.name, set("")), value.to_owned())];
    }
    let bucket =
        |le: &str| (format!("{}_bucket{}", metric.name, set(&format!("le=\"{le}\""))), value.to_owned());
    vec![
        bucket("0.5"),
        bucket("10.0"),
        bucket("+Inf"),
        (format!("{}_sum{}", metric.name, set("")), value.to_owned()),
        (format!("{}_count{}", metric.name, set("")), value.to_owned()),
    ]
}

fn silent(name: &str, series: Vec<Series>, at: &[&str]) -> Yaml {
    let names: BTreeSet<&str> = alerts().iter().map(|alert| alert.name).collect();
    let expected = at.iter().flat_map(|at| names.iter().map(|name| expect(at, name, Vec::new()))).collect();
    Yaml::map([
        ("name", name.into()),
        ("interval", "1m".into()),
        ("input_series", input(&series)),
        ("alert_rule_test", Yaml::List(expected)),
    ])
}

/// 600 requests and orders a minute, one in 2,000 of them bad; nothing waits.
fn normal() -> Vec<Series> {
    let mut series: Vec<Series> = vec![target()];
    series[0].1 = "1x400".to_owned();
    let busy = |rate: u32| format!("0+{rate}x400");
    let good = [
        (request(200), 60_000),
        (in_bucket("0.5"), 59_990),
        (format!("{}{{state=\"placed\"}}", m::ORDERS.name), 60_000),
        (format!("{}_count{{outcome=\"confirmed\"}}", m::ORDER_SETTLE.name), 60_000),
        (format!("{}_bucket{{outcome=\"confirmed\", le=\"10.0\"}}", m::ORDER_SETTLE.name), 59_990),
        (request(500), 10),
        (format!("{}{{reason=\"timeout\"}}", m::ORDERS_ENDED.name), 10),
        (handled(""), 60_000),
    ];
    series.extend(good.map(|(name, rate)| (name, busy(rate))));
    let still = [
        (format!("{}{{group=\"orders.saga\", topic=\"rtc.payments\"}}", m::CONSUMER_LAG.name), "40x400"),
        (format!("{}{{service=\"orders\"}}", m::OUTBOX_LAG.name), "0.2x400"),
        (format!("{}{{saga=\"checkout\"}}", m::SAGA_STUCK.name), "0x400"),
        (format!("{}{{group=\"orders.saga\"}}", m::DLQ_DEPTH.name), "0x400"),
        (m::LEDGER_IMBALANCE.name.to_owned(), "0x400"),
        (format!("{}{{level=\"ok\"}}", m::STOCK_SKUS.name), "90x400"),
    ];
    series.extend(still.map(|(name, values)| (name, values.to_owned())));
    series
}

/// Nothing happens: every series is there and none moves, or there is none but the target's.
fn quiet() -> Vec<Series> {
    let mut series = vec![target()];
    series[0].1 = "1x400".to_owned();
    series.extend(rtc_metrics::all().flat_map(idle));
    series
}

/// A handful of bad requests at night are no reason to wake anybody.
fn night() -> Vec<Series> {
    let mut series = quiet();
    series.retain(|(name, _)| !name.starts_with(&format!("{}_count", m::HTTP_SERVER_REQUEST_DURATION.name)));
    series.push((request(200), "0+0.01x400".to_owned()));
    series.push((request(500), "0x300 3x100".to_owned()));
    series
}

/// A service fails every third call of the entry's, which tries again; and many callers go away.
fn mended() -> Vec<Series> {
    let mut series = normal();
    let count = |status, hop| m::HTTP_SERVER_REQUEST_DURATION.count(&requested(status, "/api/v1/stock", hop));
    series.push((count(503, "inner"), "0+20000x400".to_owned()));
    series.push((count(m::CALLER_GONE, "entry"), "0+500x400".to_owned()));
    let fast = format!("{}, le=\"0.5\"", requested(m::CALLER_GONE, "/api/v1/stock", "entry"));
    series.push((m::HTTP_SERVER_REQUEST_DURATION.bucket(&fast), "0+500x400".to_owned()));
    series
}
