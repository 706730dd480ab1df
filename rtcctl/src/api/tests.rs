//! Retries, deadlines and streams against servers that misbehave.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::{get, post};
use codes::exit;
use serde_json::json;

use super::*;

async fn serve(app: Router) -> Endpoint {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    Endpoint::new("the API", &url, Some(Secret::new("s3cret")), Duration::from_secs(5)).unwrap()
}

/// Answers 503 so many times, then well.
fn flaky(failures: u32) -> (Arc<AtomicU32>, Router) {
    let calls = Arc::new(AtomicU32::new(0));
    let counter = calls.clone();
    let handler = move || {
        let calls = counter.clone();
        async move {
            if calls.fetch_add(1, Ordering::SeqCst) < failures {
                return (StatusCode::SERVICE_UNAVAILABLE, "{}".to_owned());
            }
            (StatusCode::OK, json!({"fine": true}).to_string())
        }
    };
    (calls, Router::new().route("/a", get(handler.clone()).post(handler)))
}

#[tokio::test]
async fn a_read_is_repeated_until_it_works() {
    let (calls, app) = flaky(2);
    let answer: Value = serve(app).await.json(Call::get(&["a"])).await.unwrap();
    assert_eq!((answer["fine"].as_bool(), calls.load(Ordering::SeqCst)), (Some(true), 3));
}

#[tokio::test]
async fn after_three_tries_the_platform_counts_as_unavailable() {
    let (calls, app) = flaky(9);
    let error = serve(app).await.bytes(Call::get(&["a"])).await.unwrap_err();
    assert_eq!((error.exit(), calls.load(Ordering::SeqCst)), (exit::UNAVAILABLE, 3));
}

#[tokio::test]
async fn a_write_without_a_key_is_sent_once_and_one_with_a_key_is_repeated() {
    let (calls, app) = flaky(1);
    let endpoint = serve(app).await;
    assert!(endpoint.bytes(Call::post(&["a"], json!({}))).await.is_err());
    assert_eq!(calls.load(Ordering::SeqCst), 1);
    calls.store(0, Ordering::SeqCst);
    endpoint.bytes(Call::post(&["a"], json!({})).idempotency_key("k")).await.unwrap();
    assert_eq!(calls.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn the_token_the_key_and_the_body_arrive() {
    let app = Router::new().route(
        "/x%2Fy/z",
        post(|headers: HeaderMap, body: String| async move {
            let read = |name: &str| headers[name].to_str().unwrap().to_owned();
            json!([read("authorization"), read("idempotency-key"), body]).to_string()
        }),
    );
    let call = Call::post(&["x/y", "z"], json!({"n": 1})).idempotency_key("key-1");
    let answer: Vec<String> = serve(app).await.json(call).await.unwrap();
    assert_eq!(answer, ["Bearer s3cret", "key-1", "{\"n\":1}"]);
}

#[tokio::test]
async fn nobody_there_is_unavailable_and_says_where() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let endpoint = Endpoint::new("the API", &url, None, Duration::from_secs(5)).unwrap();
    let error = endpoint.bytes(Call::get(&["a"])).await.unwrap_err();
    assert_eq!((error.code().id, error.exit()), ("NET002", exit::UNAVAILABLE));
    assert!(error.message().contains(&url), "{}", error.message());
    assert!(error.causes()[0].contains("refused"), "{:?}", error.causes());
}

#[tokio::test]
async fn silence_is_a_time_out_whose_outcome_is_unknown() {
    let app = Router::new().route("/a", post(std::future::pending::<String>));
    let mut endpoint = serve(app).await;
    endpoint.timeout = Duration::from_millis(50);
    let error = endpoint.bytes(Call::post(&["a"], json!({})).idempotency_key("k")).await.unwrap_err();
    assert_eq!((error.code().id, error.exit()), ("NET003", exit::TIMED_OUT));
    assert!(error.hints()[0].contains("may still take effect"));
}

#[tokio::test]
async fn an_answer_in_another_language_is_not_understood() {
    let app = Router::new().route("/a", get(async || "<html>"));
    let error = serve(app).await.json::<Value>(Call::get(&["a"])).await.unwrap_err();
    assert_eq!(error.code().id, "NET004");
}

#[tokio::test]
async fn lines_are_put_together_across_chunks() {
    let chunks = ["{\"a\":", "1}\n\n{\"b\":2}\n{\"c\"", ":3}"].map(Ok::<_, std::convert::Infallible>);
    let app = Router::new()
        .route("/a", get(move || async move { Body::from_stream(futures_util::stream::iter(chunks)) }));
    let mut lines = serve(app).await.lines(Call::get(&["a"])).await.unwrap();
    let mut all = Vec::new();
    while let Some(line) = lines.next().await.unwrap() {
        all.push(String::from_utf8(line).unwrap());
    }
    assert_eq!(all, ["{\"a\":1}", "{\"b\":2}", "{\"c\":3}"]);
}
