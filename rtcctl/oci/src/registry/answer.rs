//! What an answer means: the registry's own words, somebody else's, or worth another try.

use std::error::Error as _;
use std::time::Duration;

use reqwest::header::{CONTENT_TYPE, HeaderMap, RETRY_AFTER};
use reqwest::{Response, StatusCode, Url};
use serde::Deserialize;

use super::retry::Failure;
use crate::Error;

const BODY_BYTES_MAX: usize = 64 * 1024;
const LINE_CHARACTERS_MAX: usize = 200;
const BODY_TIMEOUT: Duration = Duration::from_secs(15);

#[derive(Deserialize)]
struct Said {
    #[serde(default)]
    errors: Vec<One>,
    /// Of token services and gateways in front.
    message: Option<String>,
    details: Option<String>,
}

#[derive(Deserialize)]
struct One {
    #[serde(default)]
    code: String,
    #[serde(default)]
    message: String,
    #[serde(default)]
    detail: serde_json::Value,
}

/// The beginning of a body, as far as it comes.
pub(super) async fn body(mut response: Response) -> Vec<u8> {
    let mut bytes = Vec::new();
    let read = async {
        while let Ok(Some(chunk)) = response.chunk().await {
            bytes.extend_from_slice(&chunk);
            if bytes.len() >= BODY_BYTES_MAX {
                break;
            }
        }
    };
    // What came until then is worth more than nothing.
    let _ = tokio::time::timeout(BODY_TIMEOUT, read).await;
    bytes.truncate(BODY_BYTES_MAX);
    bytes
}

/// The first line with something in it, for people.
pub(super) fn first_line(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let line = text.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or("(nothing)");
    let printable = line.chars().filter(|c| !c.is_control());
    printable.take(LINE_CHARACTERS_MAX).collect()
}

/// What the registry says went wrong, else the first line.
pub(super) fn message(bytes: &[u8]) -> String {
    match said(bytes) {
        Some((_, message)) if !message.is_empty() => message,
        _ => first_line(bytes),
    }
}

/// Code and message of an error in a registry's form.
fn said(bytes: &[u8]) -> Option<(String, String)> {
    let said: Said = serde_json::from_slice(bytes).ok()?;
    let Some(first) = said.errors.first() else {
        return said.message.or(said.details).map(|message| (String::new(), message));
    };
    let words = |one: &One| {
        let message = if one.message.is_empty() { one.code.clone() } else { one.message.clone() };
        match &one.detail {
            serde_json::Value::String(detail) if !detail.is_empty() => format!("{message}: {detail}"),
            _ => message,
        }
    };
    let messages: Vec<String> = said.errors.iter().map(words).collect();
    Some((first.code.clone(), messages.join("; ")))
}

pub(super) fn is_html(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    kind.trim_start().starts_with("text/html") || kind.contains("xhtml")
}

/// An address for people: without its query, which may be a signature, and without a login.
pub(super) fn shown(url: &Url) -> String {
    let mut url = url.clone();
    url.set_query(None);
    url.set_fragment(None);
    // Refused where there can be none.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.into()
}

/// Whom an answer was for.
pub(super) struct Asked<'a> {
    pub(super) registry: &'a str,
    pub(super) repository: &'a str,
    pub(super) what: &'a str,
    pub(super) url: &'a Url,
}

/// What an answer of 400 and above is.
pub(super) fn failure(asked: &Asked<'_>, status: StatusCode, headers: &HeaderMap, bytes: &[u8]) -> Failure {
    let said = said(bytes);
    let code = said.as_ref().map(|(code, _)| code.as_str()).unwrap_or_default();
    let is_passing = matches!(status.as_u16(), 408 | 429 | 499 | 522) || status.is_server_error();
    let is_passing_code = matches!(
        code,
        "TOOMANYREQUESTS" | "UNAVAILABLE" | "UNKNOWN" | "BLOB_UPLOAD_INVALID" | "BLOB_UPLOAD_UNKNOWN"
    );
    if (is_passing && status != StatusCode::NOT_IMPLEMENTED) || is_passing_code {
        let after = headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.trim().parse().ok());
        let reason = match bytes.is_empty() {
            true => status.to_string(),
            false => format!("{status}: {}", message(bytes)),
        };
        return Failure::Again { reason, after: after.map(Duration::from_secs) };
    }
    let registry = asked.registry.to_owned();
    let looks_strange = said.is_none() && !bytes.is_empty();
    let looks_html = is_html(headers) || bytes.trim_ascii_start().starts_with(b"<");
    let is_refusal = matches!(status.as_u16(), 401 | 403);
    if looks_strange && (looks_html || !is_refusal) {
        return Failure::Final(Error::NotARegistry {
            url: shown(asked.url),
            first_line: format!("{status}: {}", first_line(bytes)),
        });
    }
    let what = asked.what.to_owned();
    let message = match bytes.is_empty() {
        true => status.canonical_reason().unwrap_or("no reason given").to_owned(),
        false => message(bytes),
    };
    Failure::Final(match (status.as_u16(), code) {
        (_, "NAME_UNKNOWN") => {
            Error::NameUnknown { registry, repository: asked.repository.to_owned(), message }
        }
        (401 | 403, _) | (_, "DENIED" | "UNAUTHORIZED") => {
            Error::Denied { registry, what, status: status.as_u16(), message }
        }
        (404, _) => Error::NotFound { what: format!("{what} in {registry}/{}", asked.repository) },
        (status, code) => Error::Refused { registry, what, status, code: code.to_owned(), message },
    })
}

/// A connection that failed. Certificates do not become good by waiting, nor does a plain port speak TLS.
pub(super) fn broken(asked: &Asked<'_>, error: reqwest::Error) -> Failure {
    let is_unreached = error.is_connect();
    let reason = chain(&error.without_url());
    let is_final =
        ["certificate", "InvalidContentType", "CorruptMessage", "corrupt message", "builder error"]
            .iter()
            .any(|sign| reason.contains(sign));
    match is_final {
        true => Failure::Final(Error::Unavailable {
            registry: asked.registry.to_owned(),
            what: asked.what.to_owned(),
            attempts: 1,
            reason,
        }),
        false if is_unreached && is_unknown(&reason) => Failure::Unknown { reason },
        false if is_unreached => Failure::Absent { reason },
        false => Failure::again(reason),
    }
}

/// Whether a name is not known. A resolver that does not answer just now may do so in a moment.
fn is_unknown(reason: &str) -> bool {
    reason.contains("dns error") && !reason.contains("emporary failure")
}

/// An error and its causes in one line.
pub(super) fn chain(error: &reqwest::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        let words = next.to_string();
        if !text.contains(&words) {
            text = format!("{text}: {words}");
        }
        cause = next.source();
    }
    text
}
