//! Conditional requests (R4): a resource's version as a strong entity tag.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, header};
use kernel::Error;

use crate::Problem;

/// The entity tag of a version: `"7"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ETag(pub i64);

impl ETag {
    pub fn header(self) -> HeaderValue {
        HeaderValue::from_str(&format!("\"{}\"", self.0)).unwrap_or(HeaderValue::from_static("\"0\""))
    }
}

/// The version that a change is based on. 428 where the header is absent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IfMatch(Option<i64>);

impl IfMatch {
    /// 412 where the resource has moved on.
    pub fn check(self, version: i64) -> Result<(), Error> {
        match self.0 {
            Some(expected) if expected != version => Err(Error::conflict(
                "stale_version",
                format!("this was changed by somebody else; it is at version {version} now: read it again"),
            )
            .with_status(412)),
            _ => Ok(()),
        }
    }
}

impl<S: Send + Sync> FromRequestParts<S> for IfMatch {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let Some(value) = parts.headers.get(header::IF_MATCH) else {
            let error = Error::conflict("if_match_required", "send If-Match with the ETag that you read");
            return Err(Problem(error.with_status(428)));
        };
        let text = value.to_str().unwrap_or("").trim();
        if text == "*" {
            return Ok(IfMatch(None));
        }
        let version = text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
        match version.and_then(|version| version.parse().ok()) {
            Some(version) => Ok(IfMatch(Some(version))),
            // A tag that we never gave cannot match.
            None => {
                Err(Problem(Error::conflict("stale_version", "this is no ETag of ours").with_status(412)))
            }
        }
    }
}

/// Whether the caller has this version already (`If-None-Match`).
pub fn not_modified(headers: &HeaderMap, tag: ETag) -> bool {
    let Some(wanted) = headers.get(header::IF_NONE_MATCH).and_then(|value| value.to_str().ok()) else {
        return false;
    };
    let tag = tag.header();
    wanted
        .split(',')
        .map(str::trim)
        .any(|one| one == "*" || one.strip_prefix("W/").unwrap_or(one).as_bytes() == tag.as_bytes())
}
