//! How often it is told, and what becomes of it where it is not heard.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use serde_json::Value;

use super::notice;
use crate::*;

/// Somebody who receives, and answers as it is told to; `200 ok` when it was not told.
#[derive(Clone, Default)]
struct Receiver(Arc<Mutex<World>>);

#[derive(Default)]
struct World {
    answers: VecDeque<(u16, Vec<(&'static str, &'static str)>, String)>,
    received: Vec<(String, HeaderMap, Bytes)>,
}

impl Receiver {
    async fn start() -> (Self, String) {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let receiver = Self::default();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/services/T000/B000/hunter2", listener.local_addr().unwrap());
        let app = Router::new().fallback(answer).with_state(receiver.clone());
        tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        (receiver, url)
    }

    fn world(&self) -> MutexGuard<'_, World> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn will_answer(&self, status: u16, headers: &[(&'static str, &'static str)], body: &str) {
        self.world().answers.push_back((status, headers.to_vec(), body.to_owned()));
    }
}

async fn answer(State(receiver): State<Receiver>, uri: Uri, headers: HeaderMap, body: Bytes) -> Response {
    let mut world = receiver.world();
    world.received.push((uri.path().to_owned(), headers, body));
    let (status, headers, body) = world.answers.pop_front().unwrap_or((200, Vec::new(), "ok".to_owned()));
    let mut response = (StatusCode::from_u16(status).unwrap(), body).into_response();
    for (name, value) in headers {
        response.headers_mut().insert(name, value.parse().unwrap());
    }
    response
}

/// No pause, and time enough for any machine.
fn patient() -> Limits {
    Limits { deadline: Duration::from_secs(600), attempt: Duration::from_secs(300), pause: Duration::ZERO }
}

fn slack(url: &str) -> Target {
    Target::new("releases", Kind::Slack, url, &[]).unwrap()
}

#[tokio::test]
async fn a_notice_arrives_once() {
    let (receiver, url) = Receiver::start().await;
    let sent = send(&notice(), &[slack(&url)], patient()).await;
    assert_eq!((&sent[0].sent, sent[0].attempts), (&Sent::Delivered, 1));
    let world = receiver.world();
    let [(path, headers, body)] = world.received.as_slice() else { panic!("{}", world.received.len()) };
    assert_eq!(path, "/services/T000/B000/hunter2");
    assert_eq!(headers[header::CONTENT_TYPE], "application/json; charset=utf-8");
    assert_eq!(serde_json::from_slice::<Value>(body).unwrap(), slack_message(&notice()).0);
}

#[tokio::test]
async fn a_webhook_can_tell_who_sent_it_and_whether_it_came_before() {
    let (receiver, url) = Receiver::start().await;
    receiver.will_answer(503, &[], "");
    receiver.will_answer(204, &[], "");
    let target = Target::new("audit", Kind::Webhook, &url, &[]).unwrap().signed("k");
    let sent = send(&notice(), &[target], patient()).await;
    assert_eq!((&sent[0].sent, sent[0].attempts), (&Sent::Delivered, 2));
    for (_, headers, body) in &receiver.world().received {
        assert_eq!(headers["x-rtc-signature-256"].to_str().unwrap(), signature("k", body));
        assert_eq!(headers["x-rtc-notice"].to_str().unwrap(), notice().id());
    }
}

#[tokio::test]
async fn too_much_and_a_broken_receiver_are_asked_again_as_they_say() {
    let (receiver, url) = Receiver::start().await;
    receiver.will_answer(429, &[("retry-after", "0")], "rate_limited");
    receiver.will_answer(500, &[], "rollup_error");
    receiver.will_answer(502, &[("retry-after", "Wed, 21 Oct 2026 07:28:00 GMT")], "");
    let sent = send(&notice(), &[slack(&url)], patient()).await;
    assert_eq!((&sent[0].sent, sent[0].attempts), (&Sent::Delivered, 4));
}

#[tokio::test]
async fn a_wait_beyond_the_deadline_is_not_begun() {
    let (receiver, url) = Receiver::start().await;
    receiver.will_answer(429, &[("retry-after", "3600")], "rate_limited");
    let sent = send(&notice(), &[slack(&url)], patient()).await;
    let reason = "answered 429: rate_limited; given up after one attempt".to_owned();
    assert_eq!(sent[0].sent, Sent::Failed { reason });
}

#[tokio::test]
async fn what_repeating_cannot_help_is_not_repeated() {
    let (receiver, url) = Receiver::start().await;
    let table = [
        (400, "invalid_blocks", "answered 400: invalid_blocks"),
        (404, "no_service", "answered 404: no_service"),
        (302, "", "answered 302: it is elsewhere, and redirects are not followed"),
        (200, "<html>sign in</html>", "answered 200: <html>sign in</html>, which is not what Slack says"),
    ];
    for (status, body, expected) in table {
        receiver.will_answer(status, &[("location", "http://127.0.0.1:1/")], body);
        let sent = send(&notice(), &[slack(&url)], patient()).await;
        assert_eq!((&sent[0].sent, sent[0].attempts), (&Sent::Failed { reason: expected.to_owned() }, 1));
    }
}

#[tokio::test]
async fn one_that_never_answers_costs_no_more_than_the_deadline_and_hides_nobody() {
    let (_receiver, url) = Receiver::start().await;
    // It is connected to, and says nothing.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let nobody = format!("http://{}/hunter2", silent.local_addr().unwrap());
    let targets = [slack(&nobody), slack(&url)];
    let hasty = Limits {
        deadline: Duration::from_millis(30),
        attempt: Duration::from_millis(10),
        pause: Duration::from_millis(1),
    };
    let sent = send(&notice(), &targets[..1], hasty).await;
    let Sent::Failed { reason } = &sent[0].sent else { panic!("{sent:?}") };
    assert!(reason.starts_with("no answer in time; given up after "), "{reason}");
    drop(silent);
    let once = Limits { deadline: Duration::ZERO, ..patient() };
    assert!(matches!(send(&notice(), &targets[..1], once).await[0].sent, Sent::Failed { .. }));
    assert_eq!(send(&notice(), &targets[1..], patient()).await[0].sent, Sent::Delivered);
}

#[tokio::test]
async fn where_nobody_is_the_reason_says_so() {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/hunter2", listener.local_addr().unwrap());
    drop(listener);
    let once = Limits { pause: Duration::from_secs(3_600), ..patient() };
    let sent = send(&notice(), &[slack(&url)], once).await;
    let Sent::Failed { reason } = &sent[0].sent else { panic!("{sent:?}") };
    assert!(reason.starts_with("nobody answers: Connection refused"), "{reason}");
    assert!(reason.ends_with("given up after one attempt"), "{reason}");
}

#[tokio::test]
async fn a_refusal_that_repeats_the_address_does_not_give_it_away() {
    let (receiver, url) = Receiver::start().await;
    receiver.will_answer(403, &[], &format!("forbidden: {url} and /services/T000/B000/hunter2"));
    let sent = send(&notice(), &[slack(&url)], patient()).await;
    assert!(!format!("{sent:?}").contains("hunter2"), "{sent:?}");
    assert!(!serde_json::to_string(&sent).unwrap().contains("hunter2"));
}

#[tokio::test]
async fn who_wants_no_such_outcome_is_left_alone() {
    let (receiver, url) = Receiver::start().await;
    let failures =
        Target::new("failures", Kind::Slack, &url, &[Outcome::Failed, Outcome::RolledBack]).unwrap();
    let sent = send(&notice(), std::slice::from_ref(&failures), patient()).await;
    assert_eq!((&sent[0].sent, sent[0].attempts), (&Sent::NotWanted, 0));
    assert!(receiver.world().received.is_empty());
    let failed = Notice { outcome: Outcome::RolledBack, ..notice() };
    let sent = send(&failed, &[slack(&url), failures], patient()).await;
    let names: Vec<&str> = sent.iter().map(|delivery| delivery.target.as_str()).collect();
    assert_eq!(names, ["releases", "failures"]);
    assert!(sent.iter().all(|delivery| delivery.sent == Sent::Delivered));
    assert_eq!(serde_json::to_value(&sent[1]).unwrap()["result"], "delivered");
}
