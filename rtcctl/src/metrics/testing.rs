//! A shop that has sold for a quarter of an hour, as a history: made up, the same every time.

use super::model::{Alert, AlertState, Alerts, Health, Labels, NAME, Target};
use super::promql::History;

/// 2026-03-01T10:00:00Z.
pub(crate) const NOW_MS: i64 = 1_772_359_200_000;
const STEP_MS: i64 = 5_000;
const POINTS: i64 = 180;
/// While these points were due nobody sampled.
const GAP: std::ops::Range<i64> = 80..116;

type Value<'a> = &'a dyn Fn(i64) -> f64;

fn record(history: &mut History, name: &str, pairs: &[(&str, &str)], value: Value<'_>) {
    let own = [(NAME, name), ("instance", "127.0.0.1:9080"), ("job", "rtcd")];
    let labels = Labels::new(own.into_iter().chain(pairs.iter().copied()));
    let points = (0..=POINTS).map(|n| {
        let at_ms = NOW_MS - 2_000 - (POINTS - n) * STEP_MS;
        (at_ms, (!GAP.contains(&n)).then(|| value(n)))
    });
    history.record(labels, points);
}

/// Requests of one route: `rate` a step, `slow` of a hundred beyond half a second.
fn requests(history: &mut History, service: &str, route: &str, status: &str, rate: f64, slow: f64) {
    let method = if route.ends_with('s') { "POST" } else { "GET" };
    let base = [
        ("service", service),
        ("http_route", route),
        ("http_request_method", method),
        ("http_response_status_code", status),
        ("hop", if service == "gateway" { "entry" } else { "inner" }),
    ];
    // Busier in the middle than at either end.
    let count =
        move |n: i64| (0..=n).map(|k| rate * (1.0 + (k as f64 / 28.0).sin() / 2.0)).sum::<f64>().round();
    record(history, "http_server_request_duration_seconds_count", &base, &count);
    for (bound, share) in
        [("0.005", 0.5), ("0.05", 0.9), ("0.5", 1.0 - slow / 100.0), ("1.0", 1.0), ("+Inf", 1.0)]
    {
        let labels: Vec<(&str, &str)> = base.into_iter().chain([("le", bound)]).collect();
        record(history, "http_server_request_duration_seconds_bucket", &labels, &|n| {
            (count(n) * share).round()
        });
    }
}

/// The history of the shop.
pub(crate) fn shop() -> History {
    let mut history = History::default();
    let h = &mut history;
    requests(h, "gateway", "/api/v1/orders", "202", 300.0, 0.4);
    requests(h, "gateway", "/api/v1/products/{id}", "200", 500.0, 0.0);
    requests(h, "gateway", "/api/v1/orders", "500", 0.5, 0.0);
    requests(h, "orders", "/orders", "202", 300.0, 0.4);
    requests(h, "orders", "/orders/{id}", "200", 60.0, 0.0);
    requests(h, "orders", "/orders", "500", 0.5, 0.0);
    requests(h, "catalog", "/products/{id}", "200", 500.0, 0.0);
    requests(h, "inventory", "/stock/{sku}", "200", 20.0, 0.0);
    requests(h, "payments", "/accounts/{id}", "200", 0.0, 0.0);
    for (state, rate) in [("placed", 300.0), ("confirmed", 288.0), ("rejected", 11.0), ("cancelled", 0.0)] {
        record(h, "rtc_orders_total", &[("state", state)], &|n| (n as f64 * rate).round());
    }
    record(h, "rtc_revenue_minor_total", &[("currency", "KRW")], &|n| n as f64 * 14_400_000.0);
    record(h, "rtc_revenue_minor_total", &[("currency", "USD")], &|n| n as f64 * 90_000.0);
    for (state, count) in [("reserving", 4.0), ("paying", 17.0), ("committing", 0.0), ("capturing", 9.0)] {
        record(h, "rtc_saga_states", &[("saga", "checkout"), ("state", state)], &|_| count);
    }
    record(h, "rtc_saga_stuck", &[("saga", "checkout")], &|n| f64::from(u8::from(n > 170)));
    for (group, lag) in [("inventory", 12.0), ("payments", 340.0), ("notifications", 0.0), ("analytics", 3.0)]
    {
        record(h, "rtc_consumer_lag", &[("group", group), ("topic", "rtc.orders")], &|_| lag);
    }
    record(h, "rtc_outbox_depth", &[("service", "orders")], &|n| (n % 7) as f64);
    record(h, "rtc_dlq_depth", &[("group", "payments")], &|_| 0.0);
    record(h, "up", &[], &|_| 1.0);
    for name in ["rtc_outbox_lag_seconds", "rtc_ledger_imbalance"] {
        record(h, name, &[], &|_| 0.0);
    }
    record(h, "process_cpu_seconds_total", &[], &|n| n as f64 * 2.1);
    record(h, "process_resident_memory_bytes", &[], &|_| 123_456_789.0);
    record(h, "process_start_time_seconds", &[], &|_| (NOW_MS / 1000 - 5_400) as f64);
    record(h, "rtc_build_info", &[("version", "0.1.0"), ("profile", "embedded")], &|_| 1.0);
    for bound in ["0.1", "10.0", "+Inf"] {
        let labels = [("outcome", "confirmed"), ("le", bound)];
        let share = if bound == "0.1" { 0.8 } else { 1.0 };
        record(h, "rtc_order_settle_duration_seconds_bucket", &labels, &|n| n as f64 * 288.0 * share);
    }
    record(h, "rtc_order_settle_duration_seconds_count", &[("outcome", "confirmed")], &|n| n as f64 * 288.0);
    history
}

/// What only a Prometheus server knows.
pub(crate) fn alerting() -> (Alerts, Vec<Target>) {
    let alert = |name: &str, state, severity: &str, summary: &str, since_ms| Alert {
        name: name.to_owned(),
        state,
        severity: severity.to_owned(),
        summary: summary.to_owned(),
        since_ms: Some(NOW_MS - since_ms),
        labels: Labels::new([("severity", severity)]),
        value: Some(1.0),
        runbook: Some(format!("docs/runbooks/{name}.md")),
    };
    let target = |instance: &str, health, error: &str| Target {
        job: "rtcd".to_owned(),
        instance: instance.to_owned(),
        health,
        last_error: error.to_owned(),
        last_sample_ms: Some(NOW_MS - 3_000),
        duration_s: Some(0.004),
        address: format!("http://{instance}/metrics"),
    };
    let active = vec![
        alert("SagaStuck", AlertState::Firing, "page", "1 checkout waits beyond its deadline", 240_000),
        alert("ConsumerLag", AlertState::Pending, "ticket", "payments is 340 messages behind", 60_000),
    ];
    let targets = vec![
        target("127.0.0.1:9101", Health::Down, "connection refused"),
        target("127.0.0.1:9080", Health::Up, ""),
    ];
    (Alerts { active, rules: 23, remarks: Vec::new() }, targets)
}
