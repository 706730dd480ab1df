//! The evaluator beside a real Prometheus server: the same samples, the same questions, the same answers.
//!
//! Where Prometheus 2 and 3 differ, nothing is asked: samples never stand on the edge of a range, and a counter that is
//! born within one begins at zero.

use std::fmt::Write as _;
use std::net::TcpListener;
use std::time::Duration;

use rtcctl::metrics::model::{Answer, Data, Labels, NAME, Span};
use rtcctl::metrics::overview::{Scope, questions};
use rtcctl::metrics::promql::History;
use rtcctl::metrics::{Local, Prometheus};
use tokio::time::Instant;

use crate::processes::{Running, output, rtcctl, until};

/// 2026-03-01T10:00:00Z, and a sample every five seconds for a quarter of an hour, off the second.
const END_MS: i64 = 1_772_359_200_000;
const STEP_MS: i64 = 5_000;
const POINTS: i64 = 180;
const OFF_MS: i64 = 1_234;

type Series = (Labels, Vec<(i64, f64)>);

/// A number that looks random and is the same every time.
fn noise(seed: u64) -> f64 {
    let mut x = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ 0xD1B5_4A32_D192_ED03;
    x = (x ^ (x >> 31)).wrapping_mul(0x94D0_49BB_1331_11EB);
    ((x ^ (x >> 29)) >> 11) as f64 / (1_u64 << 53) as f64
}

fn series(name: &str, pairs: &[(&str, &str)], value: impl Fn(i64) -> Option<f64>) -> Series {
    let labels = Labels::new([(NAME, name)].into_iter().chain(pairs.iter().copied()));
    let points =
        (0..POINTS).filter_map(|n| Some((END_MS - (POINTS - n) * STEP_MS + OFF_MS, value(n)?))).collect();
    (labels, points)
}

fn counter(seed: u64, rate: f64) -> impl Fn(i64) -> Option<f64> {
    move |n| Some((1..=n).map(|k| (noise(seed + k as u64) * 2.0 * rate).floor()).sum())
}

/// Everything that an expression may meet: resets, gaps, births, ends, NaN, infinities, histograms.
fn samples() -> Vec<Series> {
    let mut all = Vec::new();
    for (seed, service) in [(1, "orders"), (500, "catalog"), (900, "gateway")] {
        for (status, rate) in [("200", 40.0), ("404", 2.0), ("500", 0.4)] {
            let route = [("service", service), ("http_response_status_code", status), ("http_route", "/a")];
            all.push(series(
                "http_server_request_duration_seconds_count",
                &route,
                counter(seed + rate as u64, rate),
            ));
            for (bound, share) in
                [("0.005", 0.3), ("0.05", 0.8), ("0.5", 0.97), ("1.0", 0.999), ("+Inf", 1.0)]
            {
                let labels: Vec<(&str, &str)> = route.into_iter().chain([("le", bound)]).collect();
                let of = counter(seed + rate as u64, rate);
                all.push(series("http_server_request_duration_seconds_bucket", &labels, move |n| {
                    Some((of(n)? * share).floor())
                }));
            }
        }
    }
    let total = |seed: u64, rate: f64| counter(seed, rate);
    for (state, rate) in [("placed", 30.0), ("confirmed", 28.0), ("rejected", 0.5)] {
        all.push(series("rtc_orders_total", &[("state", state)], total(rate as u64, rate)));
    }
    all.push(series("rtc_revenue_minor_total", &[("currency", "KRW")], total(3, 1_000_000.0)));
    all.push(series("rtc_revenue_minor_total", &[("currency", "USD")], total(4, 5_000.0)));
    // Started again twice.
    let ever = counter(7, 10.0);
    let at = counter(7, 10.0);
    all.push(series("reset_total", &[("job", "rtc")], move |n| {
        Some(
            ever(n)?
                - if n >= 120 {
                    at(119)?
                } else if n >= 60 {
                    at(59)?
                } else {
                    0.0
                },
        )
    }));
    let some = counter(11, 5.0);
    all.push(series(
        "gap_total",
        &[("job", "rtc")],
        move |n| if (70..110).contains(&n) { None } else { some(n) },
    ));
    all.push(series("born_total", &[("job", "rtc")], |n| (n >= 150).then(|| (n - 150) as f64 * 4.0)));
    all.push(series("ended_total", &[("job", "rtc")], |n| (n < 140).then_some(1_000.0 + n as f64)));
    // No two alike: which of two equals is among the greatest is not promised.
    for (group, base) in [("payments", 40.0), ("inventory", 10.0), ("analytics", 0.5)] {
        let seed = group.len() as u64 * 1_000;
        all.push(series("rtc_consumer_lag", &[("group", group), ("topic", "rtc.orders")], move |n| {
            Some(base * noise(seed + n as u64))
        }));
    }
    all.push(series("owner", &[("group", "payments"), ("team", "blue")], |_| Some(1.0)));
    all.push(series("owner", &[("group", "inventory"), ("team", "red")], |_| Some(2.0)));
    all.push(series("odd", &[("s", "nan")], |n| Some(if n % 3 == 0 { f64::NAN } else { n as f64 })));
    all.push(series("odd", &[("s", "inf")], |n| Some(if n % 5 == 0 { f64::INFINITY } else { -(n as f64) })));
    all.push(series("odd", &[("s", "small")], |n| Some(noise(n as u64) / 7.0 - 0.05)));
    all.push(series("process_start_time_seconds", &[("job", "rtc")], |_| Some(1_772_350_000.0)));
    all
}

const EXPRESSIONS: &[&str] = &[
    "rtc_consumer_lag",
    "rtc_consumer_lag{group=~\"pay.*|inv.+\"}",
    "rtc_consumer_lag{group!~\"pay.*\", topic!=\"\"}",
    "{__name__=~\"rtc_.+\", state!=\"placed\"}",
    "rtc_consumer_lag offset 2m",
    "rtc_consumer_lag offset -1m",
    "rate(reset_total[1m])",
    "rate(reset_total[3m])",
    "increase(reset_total[10m])",
    "irate(reset_total[1m])",
    "resets(reset_total[14m])",
    "changes(reset_total[14m])",
    "rate(gap_total[2m])",
    "increase(gap_total[5m])",
    "rate(born_total[1m])",
    "increase(born_total[5m])",
    "rate(ended_total[1m])",
    "rate(ended_total[5m])",
    "ended_total",
    "delta(rtc_consumer_lag[2m])",
    "idelta(rtc_consumer_lag[2m])",
    "rate(gap_total[2m] offset 4m)",
    "avg_over_time(rtc_consumer_lag[3m])",
    "min_over_time(odd[3m])",
    "max_over_time(odd[3m])",
    "sum_over_time(odd{s=\"small\"}[3m])",
    "count_over_time(odd[3m])",
    "stddev_over_time(odd{s=\"small\"}[3m])",
    "stdvar_over_time(rtc_consumer_lag[3m])",
    "quantile_over_time(0.9, rtc_consumer_lag[5m])",
    "last_over_time(ended_total[10m])",
    "present_over_time(gap_total[2m])",
    "sum(rate(rtc_orders_total[2m]))",
    "sum by (state) (rate(rtc_orders_total[2m]))",
    "sum without (state) (rate(rtc_orders_total[2m]))",
    "avg(rtc_consumer_lag)",
    "min(odd)",
    "max(odd)",
    "count(odd)",
    "count by (topic) (rtc_consumer_lag)",
    "group by (topic) (rtc_consumer_lag)",
    "quantile(0.3, rtc_consumer_lag)",
    "topk(2, rtc_consumer_lag)",
    "bottomk(1, rtc_consumer_lag)",
    "histogram_quantile(0.5, sum by (le) (rate(http_server_request_duration_seconds_bucket[1m])))",
    "histogram_quantile(0.99, sum by (service, le) (rate(http_server_request_duration_seconds_bucket[5m])))",
    "histogram_quantile(0.9, rate(http_server_request_duration_seconds_bucket{service=\"orders\"}[2m]))",
    "histogram_quantile(0.5, rate(nothing_bucket[1m]))",
    "rtc_consumer_lag * 2 + 1",
    // A last digit of the power would be all that is left of a modulo.
    "2 ^ (rtc_consumer_lag % 7)",
    "-rtc_consumer_lag",
    "rtc_consumer_lag > 10",
    "10 >= rtc_consumer_lag",
    "rtc_consumer_lag > bool 10",
    "rtc_consumer_lag == rtc_consumer_lag",
    "rtc_consumer_lag * on (group) group_left (team) owner",
    "owner * on (group) group_right (team) rtc_consumer_lag",
    "rtc_consumer_lag / ignoring (team, topic) owner",
    "rtc_consumer_lag > on (group) owner",
    "rtc_consumer_lag and on (group) owner",
    "rtc_consumer_lag unless on (group) owner",
    "owner or rtc_consumer_lag",
    "sum(nothing) or vector(0)",
    "odd / 0",
    "0 / odd",
    "odd != odd",
    "abs(odd)",
    "ceil(odd)",
    "floor(odd)",
    "round(odd)",
    "round(odd, 0.5)",
    "clamp(odd, -10, 20)",
    "clamp(odd, 20, -10)",
    "clamp_min(odd, 3)",
    "clamp_max(odd, 3)",
    "sgn(odd)",
    "sqrt(abs(odd))",
    "exp(odd{s=\"small\"})",
    "ln(odd{s=\"small\"})",
    "log2(abs(odd))",
    "log10(abs(odd))",
    "time()",
    "timestamp(rtc_consumer_lag)",
    "timestamp(rtc_consumer_lag * 1)",
    "time() - timestamp(ended_total)",
    "scalar(owner{group=\"payments\"}) + 1",
    "scalar(owner)",
    "vector(scalar(gap_total))",
    "absent(nothing{job=\"rtc\", x=~\"y\"})",
    "absent(owner)",
    "absent_over_time(gap_total[1m])",
    "sort(rtc_consumer_lag)",
    "sort_desc(rtc_consumer_lag)",
    "1 + 2 * 3",
    "1 > bool 2",
    "owner{group=\"payments\"}[20s]",
    // What neither can evaluate.
    "rtc_consumer_lag / on (topic) rtc_consumer_lag",
    "owner / on (topic) group_left rtc_consumer_lag",
    "rate({job=\"rtc\"}[1m])",
    "sum(",
    "rate(owner)",
    "nosuch(owner)",
];

fn exposition(all: &[Series]) -> String {
    let mut text = String::new();
    let mut last = "";
    for (labels, points) in all {
        let name = labels.get(NAME);
        if name != last {
            writeln!(text, "# TYPE {name} unknown").unwrap();
            last = name;
        }
        let pairs: Vec<String> = labels
            .iter()
            .filter(|(label, _)| *label != NAME)
            .map(|(label, value)| format!("{label}=\"{value}\""))
            .collect();
        for (at_ms, value) in points {
            let value = match value {
                value if value.is_nan() => "NaN".to_owned(),
                value if value.is_infinite() => "+Inf".to_owned(),
                value => value.to_string(),
            };
            writeln!(text, "{name}{{{}}} {value} {}.{:03}", pairs.join(","), at_ms / 1000, at_ms % 1000)
                .unwrap();
        }
    }
    text.push_str("# EOF\n");
    text
}

/// A Prometheus server that knows the samples.
async fn server(folder: &std::path::Path, all: &[Series]) -> (Running, String) {
    let path = |name: &str| folder.join(name).display().to_string();
    std::fs::write(path("samples.txt"), exposition(all)).unwrap();
    std::fs::write(path("prometheus.yml"), "global: {}\n").unwrap();
    output("promtool", &["tsdb", "create-blocks-from", "openmetrics", &path("samples.txt"), &path("data")]);
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let address = format!("127.0.0.1:{port}");
    let running = Running::start(
        "prometheus",
        &[
            &format!("--config.file={}", path("prometheus.yml")),
            &format!("--storage.tsdb.path={}", path("data")),
            "--storage.tsdb.retention.time=100y",
            &format!("--web.listen-address={address}"),
        ],
    );
    let url = format!("http://{address}");
    let prometheus = Prometheus::new(&url, None, Duration::from_secs(30)).unwrap();
    until("the samples in Prometheus", async || {
        let answer =
            prometheus.instant("count(owner)", END_MS).await.map_err(|error| format!("{error:?}"))?;
        if answer.clone().samples().is_empty() { Err(format!("{answer:?}")) } else { Ok(()) }
    })
    .await;
    (running, url)
}

fn is_close(left: f64, right: f64) -> bool {
    left == right
        || left.is_nan() && right.is_nan()
        || (left - right).abs() <= 1e-9 * left.abs().max(right.abs())
}

/// Series by their labels, whichever way they were answered.
fn comparable(answer: Answer) -> Vec<(Labels, Vec<(i64, f64)>)> {
    let mut all = match answer.data {
        Data::Scalar(at_ms, value) => vec![(Labels::default(), vec![(at_ms, value)])],
        Data::Vector(samples) => {
            samples.into_iter().map(|sample| (sample.labels, vec![(sample.at_ms, sample.value)])).collect()
        }
        Data::Matrix(series) => series.into_iter().map(|series| (series.labels, series.points)).collect(),
        Data::Text(text) => panic!("{text}"),
    };
    all.sort_by(|left, right| left.0.cmp(&right.0));
    all
}

fn differences(ours: Answer, theirs: Answer) -> Option<String> {
    let (ours, theirs) = (comparable(ours), comparable(theirs));
    let same = ours.len() == theirs.len()
        && ours.iter().zip(&theirs).all(|((our_labels, our_points), (labels, points))| {
            our_labels == labels
                && our_points.len() == points.len()
                && our_points
                    .iter()
                    .zip(points)
                    .all(|(our, their)| our.0 == their.0 && is_close(our.1, their.1))
        });
    (!same).then(|| format!("ours:   {ours:?}\ntheirs: {theirs:?}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_evaluator_answers_as_prometheus_does() {
    let folder = tempfile::tempdir().unwrap();
    let all = samples();
    let (_running, url) = server(folder.path(), &all).await;
    let prometheus = Prometheus::new(&url, None, Duration::from_secs(30)).unwrap();
    let mut history = History::default();
    for (labels, points) in all {
        history.record(labels, points.into_iter().map(|(at_ms, value)| (at_ms, Some(value))));
    }
    let local = Local::of_history(history);
    let mut expressions: Vec<String> = EXPRESSIONS.iter().map(|expr| (*expr).to_owned()).collect();
    for service in [None, Some("orders".to_owned())] {
        let scope = Scope { service, window: "2m".to_owned() };
        expressions.extend(questions(&scope).into_iter().map(|question| question.expr));
    }
    for slo in rtc_metrics::slo::ALL {
        expressions.extend([slo.error_ratio("5m"), slo.events("5m"), slo.bad("1m")]);
    }
    let mut wrong = Vec::new();
    let mut compared = 0;
    let mut both = |what: String, ours: codes::Result<Answer>, theirs: codes::Result<Answer>| {
        compared += 1;
        match (ours, theirs) {
            (Ok(ours), Ok(theirs)) => {
                wrong.extend(differences(ours, theirs).map(|text| format!("{what}\n{text}")))
            }
            (Err(ours), Err(theirs)) if ours.code().id == theirs.code().id => {}
            (ours, theirs) => wrong.push(format!("{what}\nours: {ours:?}\ntheirs: {theirs:?}")),
        }
    };
    for expr in &expressions {
        for ago_ms in [777, 61_003, 305_111, 402_402, 800_801] {
            let at_ms = END_MS - ago_ms;
            both(
                format!("{expr} at −{ago_ms} ms"),
                local.instant(expr, at_ms),
                prometheus.instant(expr, at_ms).await,
            );
        }
        if expr.ends_with(']') {
            continue;
        }
        let span = Span { start_ms: END_MS - 700_333, end_ms: END_MS - 333, step_ms: 17_000 };
        both(format!("{expr} over time"), local.range(expr, span), prometheus.range(expr, span).await);
    }
    println!("{compared} answers of {} expressions compared with Prometheus", expressions.len());
    assert!(wrong.is_empty(), "{} of {compared} differ:\n{}", wrong.len(), wrong.join("\n\n"));
    assert!(compared > 600, "{compared}");
}

/// What the tool may take beyond the server.
const BEYOND: Duration = Duration::from_millis(150);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_summary_of_a_real_server_is_there_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let (_running, url) = server(folder.path(), &samples()).await;
    let program = rtcctl().display().to_string();
    let mut own = Vec::new();
    for _ in 0..9 {
        let prometheus = Prometheus::new(&url, None, Duration::from_secs(30)).unwrap();
        // The slowest of the questions is the least that the server takes for all of them.
        let mut slowest = Duration::ZERO;
        for question in questions(&Scope { service: None, window: "5m".to_owned() }) {
            let began = Instant::now();
            prometheus.instant(&question.expr, END_MS).await.unwrap();
            slowest = slowest.max(began.elapsed());
        }
        let began = Instant::now();
        let folder = folder.path().display().to_string();
        output(
            "env",
            &["-C", &folder, &format!("RTCCTL_PROMETHEUS_URL={url}"), &program, "metrics", "summary"],
        );
        own.push(began.elapsed().saturating_sub(slowest));
    }
    own.sort();
    println!("rtcctl metrics summary: {:?} beyond the slowest question (fastest {:?})", own[4], own[0]);
    assert!(own[4] < BEYOND, "{own:?}");
}
