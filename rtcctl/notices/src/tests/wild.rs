//! Any text at all, within every limit.

use proptest::prelude::*;

use super::texts;
use crate::*;

/// What a message may not be made of as it is: marks of mrkdwn, letters of two units, such that turn the order round.
const WILD: &str = "([<>&|`\n \u{202e}é가😀]|https://|\\PC{1,6}){0,24}";

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_text_fits_and_says_what_it_lost(text in WILD, max in 1_usize..80) {
        for writing in [crate::fit::Writing::Plain, crate::fit::Writing::Mrkdwn, crate::fit::Writing::Code] {
            let fitted = crate::fit::fitted(&text, max, writing);
            prop_assert!(fitted.text.encode_utf16().count() <= max);
            prop_assert_eq!(fitted.left_out > 0, fitted.text.ends_with('…') && !text.ends_with('…'));
        }
    }

    #[test]
    fn any_notice_makes_a_message_that_slack_takes(lines in prop::collection::vec(WILD, 0..60), one in WILD, url in WILD) {
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
