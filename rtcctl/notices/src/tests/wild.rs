//! Any text at all, within every limit.

use proptest::prelude::*;

use super::texts;
use crate::*;

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
