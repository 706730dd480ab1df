//! A notice as a message of Slack: blocks, and a text for where blocks are not shown.
//!
//! Limits (docs.slack.dev, Block Kit): 50 blocks; header 150, section 3,000, a field of ten 2,000, an element of a context
//! 2,000 characters; `text` is best below 4,000. Only `&`, `<` and `>` are escaped in mrkdwn; `verbatim` keeps Slack from
//! making mentions and links of what it finds.

use masking::masked_address;
use serde_json::{Value, json};

use crate::fit::{Fitted, Writing, fitted, fitted_lines, line, told};
use crate::notice::{Link, Notice, Outcome, length};

const HEADER: usize = 150;
const SECTION: usize = 3_000;
const FIELD: usize = 2_000;
const TEXT: usize = 4_000;
const CHANGED_LINES: usize = 30;
const LINKS: usize = 10;

/// What is sent, and what was cut of it.
pub fn message(notice: &Notice) -> (Value, Vec<String>) {
    let mut cut = Vec::new();
    let sign = match notice.outcome {
        Outcome::Released => ":white_check_mark:",
        Outcome::RolledBack => ":rewind:",
        Outcome::Failed => ":x:",
        Outcome::Refused => ":no_entry:",
        Outcome::Inconclusive => ":grey_question:",
        Outcome::Stopped => ":octagonal_sign:",
    };
    let title = line(&notice.title());
    let header = fitted(&format!("{sign} {title}"), HEADER, Writing::Plain);
    cut.extend(told("title", &header));
    let mut blocks = vec![json!({
        "type": "header",
        "text": {"type": "plain_text", "text": header.text, "emoji": true},
    })];
    if !notice.changed.is_empty() {
        let (lines, short) = fitted_lines(&notice.changed, "• ", (CHANGED_LINES, SECTION), Writing::Mrkdwn);
        cut.extend(short.map(|short| format!("what changed: {short}")));
        blocks.push(section(&lines));
    }
    let fields = fields(notice, &mut cut);
    if !fields.is_empty() {
        blocks.push(json!({"type": "section", "fields": fields}));
    }
    if let Some(why) = &notice.why {
        let why = fitted(&crate::fit::cleaned(why.trim()), SECTION - "*Why*\n".len(), Writing::Mrkdwn);
        cut.extend(told("why", &why));
        blocks.push(section(&format!("*Why*\n{}", why.text)));
    }
    let (links, short) = links(&notice.links);
    cut.extend(short);
    if !links.is_empty() {
        blocks.push(section(&links));
    }
    let mut last = line(&notice.at);
    if !cut.is_empty() {
        let gap = if last.is_empty() { "" } else { " · " };
        last = format!("{last}{gap}shortened: {}", cut.join("; "));
    }
    if !last.is_empty() {
        let Fitted { text, .. } = fitted(&last, FIELD, Writing::Mrkdwn);
        let element = json!({"type": "mrkdwn", "text": text, "verbatim": true});
        blocks.push(json!({"type": "context", "elements": [element]}));
    }
    let text = fitted(&summary(notice, &title), TEXT, Writing::Mrkdwn).text;
    (json!({"text": text, "blocks": blocks}), cut)
}

fn section(text: &str) -> Value {
    json!({"type": "section", "text": {"type": "mrkdwn", "text": text, "verbatim": true}})
}

/// What a notification on a telephone shows.
fn summary(notice: &Notice, title: &str) -> String {
    let mut text = title.to_owned();
    if !notice.by.is_empty() {
        text.push_str(&format!(", by {}", line(&notice.by)));
    }
    if let Some(why) = &notice.why {
        text.push_str(&format!(": {}", line(why)));
    }
    text
}

fn fields(notice: &Notice, cut: &mut Vec<String>) -> Vec<Value> {
    let took = notice.took.map(length);
    let by = Some(&notice.by).filter(|by| !by.is_empty());
    let rows = [
        ("Digest", notice.digest.as_ref(), Writing::Code),
        ("Before", notice.previous_digest.as_ref(), Writing::Code),
        ("By", by, Writing::Mrkdwn),
        ("Took", took.as_ref(), Writing::Mrkdwn),
        ("Run", notice.run.as_ref(), Writing::Code),
    ];
    let mut fields = Vec::new();
    for (name, value, writing) in rows {
        let Some(value) = value else { continue };
        let value = fitted(&line(value), FIELD - name.len() - 8, writing);
        cut.extend(told(&name.to_lowercase(), &value));
        let value = match writing {
            Writing::Code => format!("`{}`", value.text),
            Writing::Plain | Writing::Mrkdwn => value.text,
        };
        fields.push(json!({"type": "mrkdwn", "text": format!("*{name}*\n{value}"), "verbatim": true}));
    }
    fields
}

/// `<address|label>`, side by side.
fn links(links: &[Link]) -> (String, Option<String>) {
    let (mut out, mut left_out) = (String::new(), 0);
    for link in links {
        let written = target(&link.url).map(|url| {
            let label = fitted(&line(&link.label).replace('|', "/"), 75, Writing::Mrkdwn).text;
            format!("<{url}|{label}>")
        });
        let gap = if out.is_empty() { "" } else { " · " };
        match written {
            // A link that is cut leads nowhere.
            Some(link)
                if out.chars().count() + link.chars().count() + 3 <= SECTION
                    && out.matches('|').count() < LINKS =>
            {
                out.push_str(gap);
                out.push_str(&link);
            }
            _ => left_out += 1,
        }
    }
    (out, (left_out > 0).then(|| format!("links: {left_out} left out")))
}

/// An address as it may stand in a link.
fn target(url: &str) -> Option<String> {
    let url = masked_address(url.trim());
    let is_web = url.starts_with("https://") || url.starts_with("http://");
    let is_bare = !url.chars().any(|letter| letter.is_whitespace() || letter.is_control());
    let escaped = url.replace('&', "&amp;").replace('<', "%3C").replace('>', "%3E").replace('|', "%7C");
    (is_web && is_bare).then_some(escaped)
}
