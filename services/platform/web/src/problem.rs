//! Failures as RFC 9457 `application/problem+json` (R2).

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use kernel::{Error, FieldError, Kind};
use serde::{Deserialize, Serialize};

/// A failure on its way out.
#[derive(Debug)]
pub struct Problem(pub Error);

impl<E: Into<Error>> From<E> for Problem {
    fn from(error: E) -> Self {
        Problem(error.into())
    }
}

/// The body of a failed answer.
#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
pub struct ProblemBody {
    /// A stable URI for this sort of problem.
    #[serde(rename = "type")]
    pub type_uri: String,
    pub title: String,
    pub status: u16,
    /// Stable, for programs: `price_changed`, `validation_failed` …
    pub code: String,
    pub detail: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<FieldError>,
    /// Finds the request in the logs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
}

const fn title(kind: Kind) -> &'static str {
    match kind {
        Kind::Invalid => "The request is not valid",
        Kind::Unauthenticated => "Sign in first",
        Kind::Forbidden => "Not allowed",
        Kind::NotFound => "Not found",
        Kind::Conflict => "Not possible in this state",
        Kind::TooMany => "Too many requests",
        Kind::Unavailable => "Not available right now",
        Kind::Timeout => "Not finished in time",
        Kind::Internal => "Internal error",
    }
}

impl ProblemBody {
    pub fn of(error: &Error) -> Self {
        Self {
            type_uri: format!("https://rtc.dev/problems/{}", error.code()),
            title: title(error.kind()).to_owned(),
            status: error.http_status(),
            code: error.code().to_owned(),
            detail: error.message().to_owned(),
            errors: error.fields().to_vec(),
            request_id: None,
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let error = self.0;
        if error.kind() == Kind::Internal {
            tracing::error!(error = %error.chain(), "request failed");
        } else {
            tracing::debug!(error = %error.chain(), "request refused");
        }
        let body = serde_json::to_vec(&ProblemBody::of(&error)).unwrap_or_default();
        let status = StatusCode::from_u16(error.http_status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = (status, body).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        let retry_after = error.retry_after_s().or_else(|| error.kind().is_transient().then_some(1));
        if let Some(seconds) = retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}
