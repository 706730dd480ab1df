//! A notice as JSON for programs, and the signature by which they know that it is ours.
//!
//! The body is one object, `"schema": "rtcctl/notice/v1"`; docs/PIPELINES.md describes its fields. Fields are added,
//! never renamed.

use aws_lc_rs::hmac;
use masking::masked_address;
use serde_json::{Value, json};

use crate::fit::{Writing, cleaned, fitted, line, told};
use crate::notice::{Link, Notice};

pub const SCHEMA: &str = "rtcctl/notice/v1";
const TEXT: usize = 8_192;
const WORD: usize = 512;
const LINES: usize = 200;
const LINKS: usize = 20;

/// What is sent, and what was cut of it.
pub fn document(notice: &Notice) -> (Value, Vec<String>) {
    let mut cut = Vec::new();
    let mut short = |what: &str, text: &str, max: usize| {
        let fitted = fitted(text, max, Writing::Plain);
        cut.extend(told(what, &fitted));
        fitted.text
    };
    let changed: Vec<String> =
        notice.changed.iter().take(LINES).map(|text| short("what changed", &line(text), WORD)).collect();
    let mut body = json!({
        "schema": SCHEMA,
        "id": notice.id(),
        "outcome": notice.outcome,
        "environment": short("environment", &line(&notice.environment), WORD),
        "command": short("command", &line(&notice.command), WORD),
        "changed": changed,
        "by": short("by", &line(&notice.by), WORD),
        "run": notice.run.as_ref().map(|run| short("run", &line(run), WORD)),
        "digest": notice.digest.as_ref().map(|digest| short("digest", &line(digest), WORD)),
        "previous_digest": notice.previous_digest.as_ref().map(|digest| short("before", &line(digest), WORD)),
        "duration_ms": notice.took.map(|took| u64::try_from(took.as_millis()).unwrap_or(u64::MAX)),
        "why": notice.why.as_ref().map(|why| short("why", &cleaned(why.trim()), TEXT)),
        "at": line(&notice.at),
    });
    let is_web = |link: &&Link| link.url.starts_with("https://") || link.url.starts_with("http://");
    let links: Vec<Value> = notice
        .links
        .iter()
        .filter(is_web)
        .take(LINKS)
        .map(|link| json!({"label": short("link", &line(&link.label), WORD), "url": masked_address(link.url.trim())}))
        .collect();
    let left_out = notice.links.len() - links.len();
    if left_out > 0 {
        cut.push(format!("links: {left_out} left out"));
    }
    if notice.changed.len() > LINES {
        cut.push(format!("what changed: {} more lines", notice.changed.len() - LINES));
    }
    body["links"] = links.into();
    body["shortened"] = json!(cut);
    (body, cut)
}

/// The value of the header `X-RTC-Signature-256`: `sha256=` and the HMAC-SHA-256 of the body in hexadecimal digits.
pub fn signature(key: &str, body: &[u8]) -> String {
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key.as_bytes()), body);
    let digits: String = tag.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256={digits}")
}
