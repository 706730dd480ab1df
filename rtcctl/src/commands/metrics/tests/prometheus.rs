//! A Prometheus server that answers each expression in one way: well, wrongly, late or never.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::RawQuery;
use axum::http::{Method, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{any, get};
use serde_json::{Value, json};

use crate::commands::testing::Typed;

fn vector(values: &[(&str, &str)]) -> Value {
    let result: Vec<Value> = values
        .iter()
        .map(|(service, value)| json!({"metric": {"__name__": "m", "service": service}, "value": [1.5, value]}))
        .collect();
    json!({"status": "success", "data": {"resultType": "vector", "result": result}})
}

fn refusal(status: u16, kind: &str, error: &str) -> Response {
    let body = json!({"status": "error", "errorType": kind, "error": error}).to_string();
    (StatusCode::from_u16(status).unwrap(), [(header::CONTENT_TYPE, "application/json")], body)
        .into_response()
}

pub(super) const PAGE: &str =
    "<!doctype html><html><head><title>Sign in</title></head><body>Who are you?</body></html>";

/// What each expression comes to.
async fn answer(expr: &str) -> Response {
    let json = |value: Value| value.to_string().into_response();
    match expr {
        "five" => json(vector(&[("a", "5")])),
        "zero" => json(vector(&[("a", "0")])),
        "nan" => json(vector(&[("a", "NaN")])),
        "none" => json(vector(&[])),
        "several" => json(vector(&[("a", "5"), ("b", "50"), ("c", "NaN")])),
        "inf" => json(vector(&[("a", "+Inf")])),
        "scalar" => json(json!({"status": "success", "data": {"resultType": "scalar", "result": [1, "4"]}})),
        "text" => {
            json(json!({"status": "success", "data": {"resultType": "string", "result": [1, "hello"]}}))
        }
        "warned" => {
            let mut value = vector(&[("a", "5")]);
            value["warnings"] = json!(["results truncated due to limit"]);
            value["infos"] = json!(["metric might not be a counter"]);
            json(value)
        }
        "native" => json(json!({"status": "success", "data": {"resultType": "vector", "result": [
            {"metric": {"__name__": "h"}, "histogram": [1, {"count": "5"}]},
        ]}})),
        counter if counter.starts_with("count_over_time(") => {
            // Scraped every 15 s; "seldom" every 30 s, though it is looked at as often as the others.
            assert!(counter.ends_with("[45000ms])"), "{counter}");
            let count = if counter.contains("seldom") { "2" } else { "3" };
            json(vector(&[("a", count)]))
        }
        "page" => Html(PAGE).into_response(),
        "page502" => (StatusCode::BAD_GATEWAY, Html("<html><h1>Bad gateway</h1>")).into_response(),
        "redirect" => (StatusCode::FOUND, [(header::LOCATION, "https://sso.example.com/")]).into_response(),
        "denied" => StatusCode::UNAUTHORIZED.into_response(),
        "bad" => {
            refusal(400, "bad_data", "invalid parameter \"query\": 1:4: parse error: unexpected end of input")
        }
        "clash" => refusal(422, "execution", "found duplicate series for the match group {}"),
        "timeout" => refusal(503, "timeout", "query timed out in expression evaluation"),
        "broken" => refusal(500, "internal", "TSDB not ready"),
        "cut" => "{\"status\":\"succ".into_response(),
        "foreign" => json!({"hello": "world"}).to_string().into_response(),
        "never" => std::future::pending().await,
        other => panic!("nobody asked for {other}"),
    }
}

fn range(values: &[&str]) -> Response {
    let points: Vec<Value> =
        values.iter().enumerate().map(|(n, value)| json!([n as f64 * 15.0, value])).collect();
    json!({"status": "success", "data": {"resultType": "matrix", "result": [
        {"metric": {"service": "a"}, "values": points},
    ]}})
    .to_string()
    .into_response()
}

/// The questions that were asked: method and form.
pub(super) type Asked = Arc<Mutex<Vec<(Method, Vec<(String, String)>)>>>;

fn form(query: Option<String>, body: &Bytes) -> Vec<(String, String)> {
    let text = query.unwrap_or_else(|| String::from_utf8_lossy(body).into_owned());
    let url: reqwest::Url = format!("http://x/?{text}").parse().unwrap();
    url.query_pairs().into_owned().collect()
}

pub(super) async fn prometheus() -> (Asked, Typed) {
    let asked = Asked::default();
    let (instants, ranges) = (asked.clone(), asked.clone());
    let app = Router::new()
        .route(
            "/api/v1/query",
            any(move |method: Method, RawQuery(query): RawQuery, body: Bytes| async move {
                let form = form(query, &body);
                let expr = form.iter().find(|(name, _)| name == "query").unwrap().1.clone();
                instants.lock().unwrap().push((method, form));
                answer(expr.split('#').next().unwrap().trim()).await
            }),
        )
        .route(
            "/api/v1/query_range",
            any(move |method: Method, RawQuery(query): RawQuery, body: Bytes| async move {
                let form = form(query, &body);
                let expr = form.iter().find(|(name, _)| name == "query").unwrap().1.clone();
                ranges.lock().unwrap().push((method, form));
                match expr.as_str() {
                    "steady" => range(&["1", "2", "3"]),
                    "seldom" => range(&["1", "1", "2", "2", "3", "3"]),
                    "spike" => range(&["1", "99", "3"]),
                    "gap" => range(&["1", "NaN", "3"]),
                    other => answer(other).await,
                }
            }),
        )
        .route("/api/v1/rules", get(|| async { rules().to_string() }))
        .route("/api/v1/targets", get(|| async { targets().to_string() }));
    let mut typed = Typed::against(app).await;
    let url = typed.api_url().to_owned();
    typed.set("RTCCTL_PROMETHEUS_URL", &url);
    (asked, typed)
}

fn rules() -> Value {
    let alert = |state: &str, severity: &str| {
        json!({
            "labels": {"alertname": "SagaStuck", "severity": severity, "saga": "checkout"},
            "annotations": {"summary": "1 checkout waits", "runbook_url": "docs/runbooks/SagaStuck.md"},
            "state": state, "activeAt": "2026-03-01T09:56:00.5Z", "value": "1e+00",
        })
    };
    json!({"status": "success", "data": {"groups": [{"name": "rtc", "rules": [
        {"name": "Quiet", "type": "alerting", "health": "ok", "alerts": []},
        {"name": "SagaStuck", "type": "alerting", "health": "ok",
         "alerts": [alert("pending", "ticket"), alert("firing", "page")]},
        {"name": "Broken", "type": "alerting", "health": "err", "lastError": "many-to-many", "alerts": []},
    ]}]}})
}

fn targets() -> Value {
    json!({"status": "success", "data": {"activeTargets": [
        {"labels": {"job": "rtc", "instance": "10.0.0.1:9080"}, "scrapeUrl": "http://10.0.0.1:9080/metrics",
         "health": "up", "lastError": "", "lastScrape": "2026-03-01T09:59:58Z", "lastScrapeDuration": 0.0042},
        {"labels": {"job": "rtc", "instance": "10.0.0.2:9080"}, "scrapeUrl": "http://10.0.0.2:9080/metrics",
         "health": "down", "lastError": "connection refused", "lastScrape": "0001-01-01T00:00:00Z"},
    ]}})
}
