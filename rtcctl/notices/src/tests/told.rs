//! What a message and a document say, and what they do not.

use serde_json::{Value, json};

use super::{notice, texts};
use crate::*;

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
    for secret in [
        "https://ann:hunter2@git.example/rtc.git",
        "https://hooks.slack.com/services/T0/B0/hunter2",
        "DATABASE_PASSWORD = \"hunter2 and more hunter2\"",
        "Authorization: Bearer hunter2",
        "-----BEGIN PRIVATE KEY-----\nhunter2, and cut off",
        "xoxb-hunter2-hunter2",
    ] {
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
