//! `GET /metrics` for a scraper, and `GET /admin/metrics/history` for whoever has none: the last sixteen minutes. Of a
//! platform of several processes the supervisor keeps what it knows alone, and each process the rest.

use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use host::History;
use kernel::Timestamp;
use serde::Deserialize;
use web::{Format, Query};

use super::Operator;

pub async fn page(State(operator): State<Operator>, headers: HeaderMap) -> Response {
    let format = Format::wanted(&headers);
    let page = match &operator.fleet {
        Some(fleet) => fleet.metrics().await,
        None => operator.context.encode_metrics(),
    };
    ([(header::CONTENT_TYPE, format.content_type())], format.of(page)).into_response()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Since {
    /// Points after this time, in milliseconds since 1970; all that are kept where it is not given.
    #[serde(default)]
    since_ms: i64,
}

pub async fn history(State(operator): State<Operator>, Query(since): Query<Since>) -> Response {
    let history: &History = operator.context.history();
    axum::Json(history.since(Timestamp::from_millis(since.since_ms))).into_response()
}
