//! The commands as they are typed, against a Prometheus server and a platform that the test makes up.

mod prometheus;

use std::time::Duration;

use axum::Router;
use axum::extract::Query;
use axum::http::Method;
use axum::routing::get;
use kernel::{Clock, SystemClock};
use prometheus::prometheus;
use serde_json::{Value, json};

use super::screen;
use crate::commands::testing::Typed;
use crate::metrics::overview::{Scope, Summary, summary};
use crate::metrics::testing::{NOW_MS, alerting, shop};
use crate::metrics::{Local, Source, slo};

#[tokio::test]
async fn each_thing_that_a_check_can_meet_has_an_outcome_of_its_own() {
    let (_, typed) = prometheus().await;
    // Expression and flags; exit code; status and why, or the code of the error.
    let table: &[(&[&str], u8, &str, &str)] = &[
        (&["five", "--max", "10"], 0, "ok", "within"),
        (&["five", "--max", "5"], 0, "ok", "within"),
        (&["five", "--max", "4.9"], 30, "breached", "MET009"),
        (&["five", "--min", "6"], 30, "breached", "MET009"),
        (&["five", "--min", "-1", "--max", "9"], 0, "ok", "within"),
        (&["scalar", "--max", "4"], 0, "ok", "within"),
        (&["zero", "--max", "0"], 0, "ok", "within"),
        (&["zero", "--min", "1"], 30, "breached", "MET009"),
        (&["nan", "--max", "1"], 31, "inconclusive", "MET011"),
        (&["nan", "--max", "1", "--no-data", "fail"], 30, "breached", "MET011"),
        (&["nan", "--max", "1", "--no-data", "pass"], 0, "ok", "MET011"),
        (&["none", "--max", "1"], 31, "inconclusive", "MET010"),
        (&["none", "--max", "1", "--no-data", "fail"], 30, "breached", "MET010"),
        (&["none", "--max", "1", "--no-data", "pass"], 0, "ok", "MET010"),
        (&["several", "--max", "10"], 31, "inconclusive", "MET013"),
        (&["several", "--max", "10", "--series", "any"], 0, "ok", "within"),
        (&["several", "--max", "10", "--series", "all"], 30, "breached", "MET009"),
        (&["several", "--max", "100", "--series", "all"], 31, "inconclusive", "MET011"),
        (&["several", "--max", "100", "--series", "worst"], 31, "inconclusive", "MET011"),
        (&["several", "--max", "100", "--series", "worst", "--no-data", "pass"], 0, "ok", "within"),
        (&["several", "--max", "100", "--series", "worst", "--no-data", "fail"], 30, "breached", "MET011"),
        (&["several", "--max", "10", "--series", "worst"], 30, "breached", "MET009"),
        (&["inf", "--max", "1000000"], 30, "breached", "MET009"),
        (&["inf", "--min", "1"], 0, "ok", "within"),
        (&["steady", "--max", "3", "--for", "45s"], 0, "ok", "within"),
        (&["spike", "--max", "3", "--for", "45s"], 30, "breached", "MET009"),
        (&["steady", "--max", "3", "--for", "45s", "--min-samples", "4"], 31, "inconclusive", "MET012"),
        (&["steady", "--max", "3", "--for", "45s", "--min-samples", "3"], 0, "ok", "within"),
        (&["seldom", "--max", "3", "--for", "45s", "--min-samples", "3"], 31, "inconclusive", "MET012"),
        (&["seldom", "--max", "3", "--for", "45s", "--min-samples", "2"], 0, "ok", "within"),
        (&["gap", "--max", "3", "--for", "45s", "--min-samples", "3"], 31, "inconclusive", "MET012"),
        (&["page", "--max", "1"], 3, "", "MET001"),
        (&["redirect", "--max", "1"], 3, "", "MET001"),
        (&["foreign", "--max", "1"], 3, "", "MET001"),
        (&["page502", "--max", "1"], 9, "", "MET002"),
        (&["never", "--max", "1", "--timeout", "150ms"], 6, "", "MET003"),
        (&["timeout", "--max", "1"], 6, "", "MET003"),
        (&["bad", "--max", "1"], 2, "", "MET004"),
        (&["text", "--max", "1"], 2, "", "MET004"),
        (&["clash", "--max", "1"], 2, "", "MET005"),
        (&["denied", "--max", "1"], 4, "", "MET006"),
        (&["broken", "--max", "1"], 1, "", "MET007"),
        (&["cut", "--max", "1"], 1, "", "MET007"),
        (&["five"], 2, "", "USE001"),
        (&["five", "--max", "1", "--min-samples", "3"], 2, "", "USE001"),
        (&["five", "--min", "2", "--max", "1"], 2, "", "USE001"),
    ];
    for (words, exit, status, because) in table {
        let came = typed.run(&[&["metrics", "check", "-o", "json"], *words].concat()).await;
        assert_eq!(came.exit, *exit, "{words:?}: {}{}", came.stdout, came.stderr);
        if status.is_empty() {
            assert_eq!(
                (came.error()["code"].as_str(), came.stdout.as_str()),
                (Some(*because), ""),
                "{words:?}"
            );
            continue;
        }
        let document = came.json();
        assert_eq!(document["status"], *status, "{words:?}");
        let found = document["findings"][0]["code"].as_str().or(document["data"]["because"].as_str());
        assert_eq!(found, Some(*because), "{words:?}: {document}");
    }
}

#[tokio::test]
async fn a_check_says_to_a_person_what_it_judged() {
    let (_, typed) = prometheus().await;
    let came = typed.run(&["metrics", "check", "several", "--max", "10", "--series", "worst"]).await;
    insta::assert_snapshot!(format!("{}---\n{}", came.stdout, came.stderr));
}

#[tokio::test]
async fn a_syntax_error_is_shown_where_it_is() {
    let (_, typed) = prometheus().await;
    let came = typed.run(&["metrics", "query", "bad"]).await;
    assert_eq!(came.exit, 2);
    insta::assert_snapshot!(came.stderr);
}

#[tokio::test]
async fn warnings_and_what_cannot_be_shown_are_told() {
    let (_, typed) = prometheus().await;
    let came = typed.run(&["metrics", "query", "warned"]).await;
    assert!(came.stderr.contains("note[MET014]: results truncated due to limit"), "{}", came.stderr);
    assert!(came.stderr.contains("might not be a counter"), "{}", came.stderr);
    let came = typed.run(&["metrics", "query", "native", "-o", "json"]).await.json();
    assert!(came["findings"].to_string().contains("native histograms"), "{came}");
}

#[tokio::test]
async fn long_questions_are_posted_and_short_ones_are_not() {
    let (asked, typed) = prometheus().await;
    typed.run(&["metrics", "query", "five"]).await;
    typed.run(&["metrics", "query", &format!("five # {}", "x".repeat(3_000))]).await;
    let asked = asked.lock().unwrap();
    assert_eq!((&asked[0].0, &asked[1].0), (&Method::GET, &Method::POST));
    for (_, form) in asked.iter() {
        let names: Vec<&str> = form.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["query", "time", "timeout"]);
    }
}

#[tokio::test]
async fn the_four_states_of_a_value_reach_a_script_apart() {
    let (_, typed) = prometheus().await;
    let state = async |expr: &str| {
        let document = typed.run(&["metrics", "query", expr, "-o", "json"]).await.json();
        let first = &document["data"]["result"][0];
        (first["state"].clone(), first["value"].clone())
    };
    assert_eq!(state("five").await, (json!("value"), json!(5)));
    assert_eq!(state("zero").await, (json!("zero"), json!(0)));
    assert_eq!(state("nan").await, (json!("nan"), json!("NaN")));
    assert_eq!(state("inf").await, (json!("infinite"), json!("+Inf")));
    assert_eq!(state("none").await, (Value::Null, Value::Null));
}

#[tokio::test]
async fn alerts_and_targets_are_tables_with_findings() {
    let (_, typed) = prometheus().await;
    let came = typed.run(&["metrics", "alerts"]).await;
    assert_eq!(came.exit, 0);
    let lines: Vec<&str> = came.stdout.lines().collect();
    assert!(lines[1].starts_with("SagaStuck  FIRING   page"), "{}", came.stdout);
    assert!(lines[2].starts_with("SagaStuck  pending  ticket"), "{}", came.stdout);
    assert!(came.stderr.contains("MET015"), "{}", came.stderr);
    assert!(came.stderr.contains("the rule Broken cannot be evaluated: many-to-many"), "{}", came.stderr);
    let came = typed.run(&["metrics", "targets", "-o", "json"]).await.json();
    assert_eq!(came["status"], "degraded");
    assert_eq!(came["data"]["targets"][0]["instance"], "10.0.0.2:9080");
    assert_eq!(came["data"]["targets"][0]["last_sample_ms"], Value::Null);
    assert_eq!(came["findings"][0]["code"], "MET016");
}

#[tokio::test]
async fn a_range_is_a_line_a_series_or_a_graph() {
    let (asked, typed) = prometheus().await;
    let document = typed.run(&["metrics", "range", "spike", "--since", "1h", "-o", "json"]).await.json();
    assert_eq!(document["data"]["series"][0]["points"][1], json!([15_000, 99]));
    let came = typed
        .run(&["metrics", "range", "spike", "--since", "45s", "--until", "45", "--step", "15s", "--graph"])
        .await;
    // Forty-five seconds ago: 45 alone is a length of time.
    assert_eq!(came.exit, 0, "{}", came.stderr);
    let (_, form) = asked.lock().unwrap()[0].clone();
    let of = |name: &str| form.iter().find(|(known, _)| known == name).unwrap().1.parse::<f64>().unwrap();
    assert!((of("end") - of("start")) / of("step") <= 11_000.0);
    assert_eq!(of("end") % of("step"), 0.0, "points stand on multiples of the step");
}

/// A platform that keeps a history of one counter: 100 a second, for ten minutes.
async fn platform(history: bool) -> Typed {
    let app = Router::new()
        .route("/admin/status", get(|| async { json!({"version": "0.1.0", "services": []}).to_string() }));
    let app = match history {
        false => app,
        true => app.route(
            "/admin/metrics/history",
            get(|Query(query): Query<Vec<(String, String)>>| async move {
                assert_eq!(query[0].0, "since_ms");
                let now_ms = SystemClock.now().as_millis();
                let times: Vec<i64> = (0..=120).map(|n| now_ms - (120 - n) * 5_000).collect();
                let values: Vec<i64> = (0..=120).map(|n| n * 500).collect();
                json!({"interval_ms": 5000, "times": times, "series": [
                    {"name": "http_server_request_duration_seconds_count",
                     "labels": {"service": "orders", "http_response_status_code": "200", "hop": "entry"}, "values": values},
                ]})
                .to_string()
            }),
        ),
    };
    Typed::against(app).await
}

#[tokio::test]
async fn without_a_prometheus_server_the_platforms_own_history_answers() {
    let typed = platform(true).await;
    let expr = "sum(rate(http_server_request_duration_seconds_count[1m]))";
    let came = typed.run(&["metrics", "check", expr, "--min", "99", "--max", "101"]).await;
    assert_eq!(came.exit, 0, "{}{}", came.stdout, came.stderr);
    let came =
        typed.run(&["metrics", "check", expr, "--max", "101", "--for", "2m", "--min-samples", "20"]).await;
    assert_eq!(came.exit, 0, "{}{}", came.stdout, came.stderr);
    let came = typed.run(&["metrics", "query", "predict_linear(up[5m], 60)", "-o", "json"]).await;
    assert_eq!((came.exit, came.error()["code"].as_str()), (2, Some("MET008")));
    let document = typed.run(&["metrics", "summary", "-o", "json"]).await.json();
    let figure = &document["data"]["figures"][0];
    assert_eq!((figure["key"].as_str(), figure["state"].as_str()), (Some("requests"), Some("value")));
    assert_eq!(figure["before"], json!({"1h": null, "1d": null, "7d": null}));
    assert_eq!(document["data"]["source"]["kind"], "history");
    let came = typed.run(&["metrics", "alerts"]).await;
    assert!(came.stderr.contains("1 rule needs a Prometheus server: RtcConsumerStalled"), "{}", came.stderr);
    let came = typed.run(&["metrics", "targets", "-o", "name"]).await;
    assert_eq!(came.stdout.trim(), typed.api_url().trim_start_matches("http://"));
    let came = typed.run(&["metrics", "slo", "availability", "-o", "json"]).await.json();
    assert_eq!(came["data"][0]["state"], "ok");
    assert!(came["findings"][0]["message"].as_str().unwrap().contains("10 min 0 s of history"), "{came}");
    let came = typed.run(&["metrics", "summary", "nobody"]).await;
    assert_eq!(came.exit, 5, "{}", came.stderr);
    let came = typed.run(&["metrics", "watch", "-o", "json", "--count", "2", "--every", "200ms"]).await;
    assert_eq!((came.exit, came.stdout.lines().count()), (0, 2), "{}", came.stderr);
    let line: Value = serde_json::from_str(came.stdout.lines().next().unwrap()).unwrap();
    assert_eq!(line["data"]["services"][0]["name"], "orders");
}

#[tokio::test]
async fn a_platform_of_another_version_is_told_from_one_that_is_down() {
    let came = platform(false).await.run(&["metrics", "summary", "-o", "json"]).await;
    assert_eq!((came.exit, came.error()["code"].as_str()), (5, Some("MET021")));
    let came = Typed::alone().run(&["metrics", "summary", "-o", "json"]).await;
    assert_eq!((came.exit, came.error()["code"].as_str()), (9, Some("NET001")));
}

#[tokio::test]
async fn watching_needs_a_terminal() {
    let came = platform(true).await.run(&["metrics", "watch"]).await;
    assert_eq!(came.exit, 2);
    assert!(came.stderr.contains("MET019"), "{}", came.stderr);
}

#[tokio::test]
async fn objectives_of_the_configuration_are_kept_too_and_wrong_ones_are_refused() {
    let (_, typed) = prometheus().await;
    let refused = async |text: &str| {
        typed.write("rtc.toml", text.as_bytes());
        let error = typed.run(&["metrics", "slo", "-o", "json"]).await.error();
        (error["code"].as_str().unwrap().to_owned(), error["message"].as_str().unwrap().to_owned())
    };
    assert_eq!(refused("[metrics.slo.own]\nobjective = 99\n").await.0, "MET024");
    assert_eq!(refused("[metrics.slo.own]\nobjective = 101\n").await.0, "MET024");
    assert_eq!(refused("[metrics.slo.own]\nbad = \"a\"\nevents = \"b\"\nobjective = 99\n").await.0, "MET024");
    assert_eq!(refused("[metrics.slo.own]\nobjektive = 99\n").await.0, "CFG003");
    assert_eq!(refused("[metrics.sol.own]\nobjective = 99\n").await.0, "CFG003");
    typed.write("rtc.toml", b"[metrics.slo.availability]\nobjective = 99.95\n");
    let came = typed.run(&["metrics", "slo", "nothing", "-o", "json"]).await;
    assert_eq!((came.exit, came.error()["code"].as_str()), (5, Some("MET023")));
}

async fn look(service: Option<&str>, width: usize) -> Summary {
    let source = Source::Local(Box::new(Local::of_history(shop())));
    let scope = Scope { service: service.map(str::to_owned), window: "1m".to_owned() };
    let objectives = if service.is_some() { Vec::new() } else { slo::catalogue() };
    summary(&source, "local", scope, &objectives, NOW_MS, 1_800_000, screen::course_columns(width) as i64)
        .await
        .unwrap()
}

#[tokio::test]
async fn the_summary_is_one_screen_at_80_by_24() {
    let mut look = look(None, 80).await;
    (look.alerts, look.targets) = alerting();
    let text = screen::summary(&look, 80);
    assert!(text.lines().count() <= 23, "a line is the prompt's: {}", text.lines().count());
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    insta::assert_snapshot!(text);
}

#[tokio::test]
async fn the_summary_at_200_by_60() {
    insta::assert_snapshot!(screen::summary(&look(None, 200).await, 200));
}

#[tokio::test]
async fn the_summary_of_one_service_at_80_by_24() {
    insta::assert_snapshot!(screen::summary(&look(Some("orders"), 80).await, 80));
}

/// What a server takes for each question; all of them are asked at once, twice in a row for what was recorded.
const TAKES: Duration = Duration::from_millis(300);

#[tokio::test]
async fn a_summary_takes_no_longer_than_the_server_and_a_moment() {
    let app = Router::new().fallback(|Query(query): Query<Vec<(String, String)>>| async move {
        tokio::time::sleep(TAKES).await;
        let is_range = query.iter().any(|(name, _)| name == "step");
        let kind = if is_range { "matrix" } else { "vector" };
        json!({"status": "success", "data": {"resultType": kind, "result": []}}).to_string()
    });
    let mut typed = Typed::against(app).await;
    let url = typed.api_url().to_owned();
    typed.set("RTCCTL_PROMETHEUS_URL", &url);
    let began = tokio::time::Instant::now();
    let came = typed.run(&["metrics", "summary", "-o", "json"]).await;
    let took = began.elapsed();
    assert_eq!(came.exit, 0, "{}", came.stderr);
    // Recorded ratios first, then those that are not recorded: two answers one after the other.
    let own = took.saturating_sub(2 * TAKES);
    println!("a summary took {own:?} beyond the server");
    assert!(own < Duration::from_millis(450), "{own:?} beyond the server, without optimisation");
}

#[tokio::test]
async fn what_signs_in_at_a_prometheus_server_is_never_shown() {
    let (asked, mut typed) = prometheus().await;
    let open = typed.api_url().replace("http://", "http://ops:hunter2@");
    let closed = "http://ops:hunter2@127.0.0.1:1";
    for (url, words) in [
        (open.as_str(), &["config", "show"][..]),
        (&open, &["config", "show", "-o", "json"]),
        (&open, &["metrics", "query", "five", "-v"]),
        (&open, &["metrics", "query", "page", "-v"]),
        (&open, &["metrics", "query", "denied", "-v"]),
        (&open, &["metrics", "summary"]),
        (closed, &["metrics", "query", "five", "-v"]),
        ("ftp://ops:hunter2@prom", &["metrics", "query", "five"]),
        ("http://ops:hunter2@", &["metrics", "query", "five"]),
    ] {
        typed.set("RTCCTL_PROMETHEUS_URL", url);
        let came = typed.run(words).await;
        let all = format!("{}{}", came.stdout, came.stderr);
        assert!(!all.is_empty() && !all.contains("hunter2") && !all.contains("ops:"), "{words:?}: {all}");
    }
    assert!(!asked.lock().unwrap().is_empty(), "and it is shown to the server");
}

/// A page of a history of the last three minutes: each series with one value all the time.
fn steady(series: &[(&str, Value, f64)]) -> String {
    let now_ms = SystemClock.now().as_millis();
    let times: Vec<i64> = (0..=36).map(|n| now_ms - (36 - n) * 5_000).collect();
    let series: Vec<Value> = series
        .iter()
        .map(|(name, labels, value)| json!({"name": name, "labels": labels, "values": vec![value; 37]}))
        .collect();
    json!({"interval_ms": 5000, "times": times, "series": series}).to_string()
}

#[tokio::test]
async fn of_a_split_platform_the_supervisor_tells_which_process_is_down() {
    let process = |replica: &str| json!({"process": "orders", "replica": replica});
    let up = move |replica: &str, value| ("rtc_split_process_up", process(replica), value);
    let app = Router::new()
        .route(
            "/admin/status",
            get(|headers: axum::http::HeaderMap| async move {
                let host = headers["host"].to_str().unwrap();
                let url = format!("http://{host}/first");
                json!({"processes": [{"service": "orders", "replica": 1, "admin_url": url}]}).to_string()
            }),
        )
        .route("/admin/metrics/history", get(move || async move { steady(&[up("1", 1.0), up("2", 0.0)]) }))
        .route(
            "/first/admin/metrics/history",
            get(|| async { steady(&[("rtc_dlq_depth", json!({"group": "orders.saga"}), 7.0)]) }),
        );
    let typed = Typed::against(app).await;
    let check = async |expr: &str, value: &str| {
        let came = typed.run(&["metrics", "check", expr, "--min", value, "--max", value]).await;
        assert_eq!(came.exit, 0, "{expr}: {}{}", came.stdout, came.stderr);
    };
    check("max(rtc_dlq_depth{process=\"orders\", replica=\"1\"})", "7").await;
    check("sum(rtc_split_process_up)", "1").await;
    check("count(up == 1)", "2").await;
    let came = typed.run(&["metrics", "alerts", "-o", "json"]).await;
    assert!(came.stdout.contains("\"RtcProcessDown\""), "{}{}", came.stdout, came.stderr);
    assert!(!came.stdout.contains("\"RtcServiceDown\""), "another one serves: {}", came.stdout);
}
