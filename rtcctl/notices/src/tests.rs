//! What is told, to whom, how often, and what never is.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use proptest::prelude::*;
use serde_json::{Value, json};

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

fn notice() -> Notice {
    Notice {
        changed: vec!["infrastructure: create 2".to_owned(), "rtcd: 3 layers, 12 MB".to_owned()],
        by: "ann@desk".to_owned(),
        run: Some("20261121-095812-417-ship-prod-3f2a".to_owned()),
        digest: Some("sha256:aaaa".to_owned()),
        previous_digest: Some("sha256:bbbb".to_owned()),
        took: Some(Duration::from_secs(187)),
        links: vec![Link::new("build 7", "https://ci.example/job/main/7/")],
        at: "2026-11-21T09:58:12Z".to_owned(),
        ..Notice::new(Outcome::Released, "prod", "ship")
    }
}

/// Every text of a message, wherever it stands.
fn texts(value: &Value) -> Vec<&str> {
    match value {
        Value::String(text) => vec![text],
        Value::Array(items) => items.iter().flat_map(texts).collect(),
        Value::Object(map) => map.values().flat_map(texts).collect(),
        _ => Vec::new(),
    }
}

#[test]
fn a_message_says_what_where_who_and_how_long() {
    let (message, cut) = slack_message(&notice());
    assert!(cut.is_empty());
    let blocks = message["blocks"].as_array().unwrap();
    let kinds: Vec<&str> = blocks.iter().map(|block| block["type"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["header", "section", "section", "section", "context"]);
    assert_eq!(blocks[0]["text"]["text"], ":white_check_mark: prod: ship released");
    assert_eq!(blocks[1]["text"]["text"], "• infrastructure: create 2\n• rtcd: 3 layers, 12 MB");
    let fields: Vec<&str> =
        blocks[2]["fields"].as_array().unwrap().iter().map(|field| field["text"].as_str().unwrap()).collect();
    assert_eq!(
        fields,
        [
            "*Digest*\n`sha256:aaaa`",
            "*Before*\n`sha256:bbbb`",
            "*By*\nann@desk",
            "*Took*\n3m 07s",
            "*Run*\n`20261121-095812-417-ship-prod-3f2a`"
        ]
    );
    assert_eq!(blocks[3]["text"]["text"], "<https://ci.example/job/main/7/|build 7>");
    assert_eq!(message["text"], "prod: ship released, by ann@desk");
}

#[test]
fn a_failure_says_why() {
    let why = Some("ROL004: the rollout of orders failed".to_owned());
    let failed = Notice { outcome: Outcome::RolledBack, why, ..notice() };
    let (message, _) = slack_message(&failed);
    assert_eq!(message["blocks"][0]["text"]["text"], ":rewind: prod: ship failed and was rolled back");
    assert_eq!(message["blocks"][3]["text"]["text"], "*Why*\nROL004: the rollout of orders failed");
}

#[test]
fn what_means_something_to_slack_means_nothing_in_a_notice() {
    let wild = "<!channel> & <@U123> <https://evil.example|look> \u{202e}x\u{1b}[31m";
    let notice = Notice {
        changed: vec![wild.to_owned()],
        why: Some(wild.to_owned()),
        by: wild.to_owned(),
        digest: Some("`x` <!here>".to_owned()),
        links: vec![Link::new("a|b>c", "https://ci.example/?a=1&b=<2>|3")],
        ..Notice::new(Outcome::Failed, wild, "ship")
    };
    let (message, _) = slack_message(&notice);
    let mrkdwn = message["blocks"].as_array().unwrap().iter().skip(1).flat_map(texts);
    for text in mrkdwn.chain(message["text"].as_str()) {
        let links = text.matches('<').count();
        let expected = usize::from(text.starts_with("<https://ci.example/"));
        assert_eq!(links, expected, "{text}");
        assert!(!text.contains(['\u{202e}', '\u{1b}']), "{text:?}");
    }
    let all = texts(&message).join("\n");
    assert!(all.contains("&lt;!channel&gt; &amp; &lt;@U123&gt;"), "{all}");
    assert!(all.contains("*Digest*\n`'x' &lt;!here&gt;`"), "{all}");
    assert!(all.contains("<https://ci.example/?a=1&amp;b=%3C2%3E%7C3|a/b&gt;c>"), "{all}");
}

#[test]
fn the_limits_of_slack_are_kept_and_what_was_cut_is_said() {
    let notice = Notice {
        changed: (0..400).map(|index| format!("{index}: {}", "<&>".repeat(30))).collect(),
        why: Some("&".repeat(9_000)),
        by: "é".repeat(5_000),
        run: Some("r".repeat(5_000)),
        links: (0..60)
            .map(|index| Link::new("x".repeat(200), format!("https://ci.example/{index}")))
            .collect(),
        ..Notice::new(Outcome::Failed, "prod", "s".repeat(400))
    };
    let (message, cut) = slack_message(&notice);
    let blocks = message["blocks"].as_array().unwrap();
    assert!(blocks.len() <= 50);
    let count = |text: &Value| text.as_str().unwrap().chars().count();
    assert!(count(&message["text"]) <= 4_000);
    for block in blocks {
        let max = if block["type"] == "header" { 150 } else { 3_000 };
        assert!(block["text"].is_null() || count(&block["text"]["text"]) <= max, "{block}");
        let parts = block["fields"].as_array().into_iter().chain(block["elements"].as_array()).flatten();
        assert!(parts.clone().count() <= 10);
        assert!(parts.into_iter().all(|part| count(&part["text"]) <= 2_000));
    }
    // No escape is cut in two.
    for text in blocks.iter().skip(1).flat_map(texts) {
        let ends = ["&amp;", "&lt;", "&gt;"].map(|escape| text.matches(escape).count()).iter().sum::<usize>();
        assert_eq!(text.matches('&').count(), ends);
    }
    let said = texts(blocks.last().unwrap()).join(" ");
    for what in ["title: ", "what changed: ", " more lines", "why: ", "by: ", "run: ", "links: 50 left out"] {
        assert!(said.contains(what), "{what}: {said}");
    }
    assert!(cut.contains(&"why: 8402 more characters".to_owned()), "{cut:?}");
}

#[test]
fn no_text_becomes_longer_by_what_it_leaves_out() {
    for len in [148, 149, 150, 151, 152, 400] {
        let fitted = crate::fit::fitted(&"a".repeat(len), 150, crate::fit::Writing::Plain);
        let whole = len <= 150;
        assert_eq!(fitted.left_out, if whole { 0 } else { len - 149 });
        assert_eq!(fitted.text.chars().count(), len.min(150));
        assert_eq!(fitted.text.ends_with('…'), !whole);
    }
}

#[test]
fn no_secret_is_told_wherever_it_stands() {
    let table = [
        "https://ann:hunter2@git.example/rtc.git",
        "https://hunter2@git.example/rtc.git",
        "https://ann:hun/hunter2@git.example",
        "postgres://rtc:hunter2@db/rtc?sslmode=require",
        "https://s3.example/x?X-Amz-Signature=hunter2&X-Amz-Date=1",
        "https://hooks.slack.com/services/T0/B0/hunter2",
        "curl https://prod.webhook.office.com/webhookb2/hunter2/IncomingWebhook",
        "password=hunter2",
        "DATABASE_PASSWORD = \"hunter2 and more hunter2\"",
        "{\"password\":\"hunter2\"}",
        "{\\\"api_key\\\": \\\"hunter2\\\"}",
        "db_password: hunter2,",
        "Authorization: Bearer hunter2",
        "Authorization: Basic hunter2",
        "authorization=Bearer hunter2",
        "sent Bearer hunter2hunter2, refused",
        "--api-token hunter2 --verbose",
        "--password=hunter2",
        "set-cookie: hunter2; Path=/",
        "-----BEGIN RSA PRIVATE KEY-----\nhunter2\n-----END RSA PRIVATE KEY-----\n",
        "-----BEGIN PRIVATE KEY-----\nhunter2, and cut off",
        "xoxb-hunter2-hunter2",
        "ghp_hunter2hunter2hunter2",
        "AKIAHUNTER2HUNTER222 hunter2".trim_end_matches(" hunter2"),
        "k8s-aws-v1.hunter2hunter2",
        "eyJhunter2hunter2hunter2.eyJhunter2hunter2.hunter2",
    ];
    for secret in table {
        let said = masked(&format!("it said {secret} at last"));
        assert!(!said.to_lowercase().contains("hunter2"), "{said}");
        assert!(said.starts_with("it said ") && said.contains("***"), "{said}");
        assert_eq!(masked(&said), said);
        let notice = Notice {
            changed: vec![secret.to_owned()],
            by: secret.to_owned(),
            run: Some(secret.to_owned()),
            digest: Some(secret.to_owned()),
            previous_digest: Some(secret.to_owned()),
            why: Some(secret.to_owned()),
            at: secret.to_owned(),
            links: vec![Link::new(secret, "https://ann:hunter2@ci.example/?token=hunter2")],
            ..Notice::new(Outcome::Failed, secret, secret)
        };
        for (body, _) in [slack_message(&notice), webhook_document(&notice)] {
            let all = texts(&body).join("\n");
            assert!(!all.to_lowercase().contains("hunter2"), "{secret}: {all}");
        }
    }
}

#[test]
fn the_value_of_a_secret_is_found_however_it_is_written() {
    let names = [
        "password",
        "DB_PASSWORD",
        "apiKey",
        "x-api-key",
        "client_secret",
        "aws_secret_access_key",
        "Slack-Token",
        "signingKey",
    ];
    let writings = [
        "{}=hunter2",
        "{} = hunter2",
        "{}: hunter2",
        "{}:hunter2",
        "{}='hunter2'",
        "{}=\"hunter2 hunter2\"",
        "\"{}\": \"hunter2\"",
        "\"{}\":\"hunter2\"",
        "'{}': 'hunter2'",
        "{}: `hunter2`",
        "--{} hunter2",
        "--{}=hunter2",
        "--{} 'hunter2'",
        "a;{}=hunter2;b",
        "?x=1&{}=hunter2&y=2",
        "https://x.example/?{}=hunter2#f",
        "{\\\"{}\\\":\\\"hunter2\\\"}",
        "export {}=hunter2",
        "set {}\t=\thunter2",
        "[{}=hunter2]",
        "({}: hunter2)",
    ];
    for name in names {
        for writing in writings {
            let text = format!("it said {} at last", writing.replace("{}", name));
            let said = masked(&text);
            assert!(!said.contains("hunter2"), "{text}: {said}");
            assert!(said.contains(name) && said.ends_with(" at last"), "{text}: {said}");
        }
    }
}

#[test]
fn what_is_no_secret_stays() {
    let table = [
        "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "4f1c168a0d0e4f1c168a0d0e4f1c168a0d0e4f1c",
        "20261121-095812-417-ship-prod-3f2a",
        "the token was refused; basic authentication is off",
        "secret rtc/rtc-dev/smtp is not there",
        "https://ci.example/job/main/7/console?start=0#end",
        "registry.example:5000/rtc-dev/rtcd@sha256:aaaa",
        "ann@desk, bob@example.com",
        "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----",
        "ROL004: 2 of 3 replicas; see https://ci.example/a|b",
        "가격 알림: 5,000원",
    ];
    for text in table {
        assert_eq!(masked(text), text);
    }
}

#[test]
fn the_document_for_programs_has_the_fields_that_are_documented() {
    let why = Some("ROL004: failed".to_owned());
    let (document, cut) = webhook_document(&Notice { why, ..notice() });
    assert!(cut.is_empty());
    assert_eq!(
        document,
        json!({
            "schema": "rtcctl/notice/v1",
            "id": "20261121-095812-417-ship-prod-3f2a:released:2026-11-21T09:58:12Z",
            "outcome": "released",
            "environment": "prod",
            "command": "ship",
            "changed": ["infrastructure: create 2", "rtcd: 3 layers, 12 MB"],
            "by": "ann@desk",
            "run": "20261121-095812-417-ship-prod-3f2a",
            "digest": "sha256:aaaa",
            "previous_digest": "sha256:bbbb",
            "duration_ms": 187_000,
            "why": "ROL004: failed",
            "at": "2026-11-21T09:58:12Z",
            "links": [{"label": "build 7", "url": "https://ci.example/job/main/7/"}],
            "shortened": [],
        })
    );
}

#[test]
fn a_document_is_of_bounded_size_and_says_what_it_left_out() {
    let notice = Notice {
        changed: vec!["x".repeat(10_000); 1_000],
        why: Some("y".repeat(1_000_000)),
        links: vec![Link::new("a", "ftp://x/"); 5],
        ..Notice::new(Outcome::Failed, "prod", "ship")
    };
    let (document, cut) = webhook_document(&notice);
    assert!(document.to_string().len() < 150_000);
    assert_eq!(document["shortened"], json!(cut));
    assert!(cut.contains(&"links: 5 left out".to_owned()));
    assert!(cut.contains(&"what changed: 800 more lines".to_owned()));
}

/// RFC 4231, test case 2.
#[test]
fn the_signature_is_hmac_of_sha_256() {
    assert_eq!(
        signature("Jefe", b"what do ya want for nothing?"),
        "sha256=5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
    );
}

#[test]
fn every_exit_code_has_an_outcome_and_every_outcome_a_word() {
    let table = [
        (0, Outcome::Released),
        (7, Outcome::Refused),
        (24, Outcome::RolledBack),
        (25, Outcome::Failed),
        (23, Outcome::Failed),
        (31, Outcome::Inconclusive),
        (130, Outcome::Stopped),
    ];
    for (exit, outcome) in table {
        assert_eq!(Outcome::of_exit(exit), outcome);
    }
    for outcome in Outcome::ALL {
        assert_eq!(outcome.word().parse(), Ok(outcome));
        assert_eq!(serde_json::to_value(outcome).unwrap(), outcome.word());
    }
    assert!("done".parse::<Outcome>().unwrap_err().contains("rolled_back"));
}

#[test]
fn an_address_that_cannot_be_told_is_refused_without_being_repeated() {
    let table = [
        ("hunter2", UnfitTarget::Address),
        ("ftp://hunter2/x", UnfitTarget::Address),
        ("http://hooks.slack.com/services/hunter2", UnfitTarget::Unprotected),
    ];
    for (url, expected) in table {
        let error = Target::new("x", Kind::Slack, url, &[]).unwrap_err();
        assert_eq!(error, expected);
        assert!(!error.to_string().contains("hunter2"));
    }
    let target =
        Target::new("x", Kind::Webhook, "http://receiver.rtc/hunter2", &[]).unwrap().signed("hunter2");
    assert!(!format!("{target:?}").contains("hunter2"));
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

/// What texts are made of that go wrong: names of secrets, quotes, schemes, letters of several bytes.
fn wild() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        prop::sample::select(vec![
            "password",
            "token",
            "=",
            ": ",
            "\"",
            "'",
            "\\\"",
            "--",
            " ",
            "\n",
            "https://",
            "@",
            ":",
            "/",
            "?",
            "&",
            ";",
            "Bearer ",
            "Basic ",
            "Authorization",
            "-----BEGIN RSA PRIVATE KEY-----",
            "-----END RSA PRIVATE KEY-----",
            "hooks.slack.com",
            "eyJ",
            ".",
            "<",
            ">",
            "sig",
            "key",
            "가",
            "\u{202e}",
            "é",
            "😀",
            "`",
            "***",
        ])
        .prop_map(str::to_owned),
        "\\PC{0,6}",
    ];
    prop::collection::vec(piece, 0..24).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_is_masked_is_the_same_when_it_is_masked_again(text in wild()) {
        let once = masked(&text);
        prop_assert_eq!(masked(&once), once, "{}", text);
    }

    #[test]
    fn any_text_fits_and_says_what_it_lost(text in wild(), max in 1_usize..80) {
        for writing in [crate::fit::Writing::Plain, crate::fit::Writing::Mrkdwn, crate::fit::Writing::Code] {
            let fitted = crate::fit::fitted(&text, max, writing);
            prop_assert!(fitted.text.encode_utf16().count() <= max);
            prop_assert_eq!(fitted.left_out > 0, fitted.text.ends_with('…') && !text.ends_with('…'));
        }
    }

    #[test]
    fn any_notice_makes_a_message_that_slack_takes(lines in prop::collection::vec(wild(), 0..60), one in wild(), url in wild()) {
        let notice = Notice {
            changed: lines,
            by: one.repeat(40),
            why: Some(one.repeat(90)),
            run: Some(one.clone()),
            links: vec![Link::new(one.clone(), format!("https://{url}")); 12],
            ..Notice::new(Outcome::Failed, one.clone(), one)
        };
        let (message, _) = slack_message(&notice);
        let blocks = message["blocks"].as_array().unwrap();
        prop_assert!(blocks.len() <= 50);
        for block in blocks {
            let max = if block["type"] == "header" { 150 } else { 3_000 };
            let len = block["text"]["text"].as_str().map_or(0, |text| text.chars().count());
            prop_assert!(len <= max, "{len}: {block}");
            prop_assert!(block["text"].is_null() || len > 0, "an empty text is refused: {block}");
        }
        // Whatever is angular is a link of ours.
        for text in blocks.iter().skip(1).flat_map(texts) {
            prop_assert_eq!(text.matches('<').count(), text.matches('>').count());
            prop_assert_eq!(text.matches('<').count(), text.matches("<https://").count(), "{}", text);
        }
        prop_assert!(webhook_document(&notice).0.to_string().len() < 300_000);
    }
}
