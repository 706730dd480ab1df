//! Reading requests: JSON bodies, path and query parameters, each refused with a problem that says where.

use std::time::Duration;

use axum::body::Body;
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http_body_util::{BodyExt, Limited};
use kernel::{Error, Kind};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::Problem;
use crate::objects::ObjectsOnly;

/// The most that a JSON body may hold (R6).
pub(crate) const BODY_MAX: usize = 1024 * 1024;
/// How deep JSON may nest (R6).
const DEPTH_MAX: usize = 32;
/// A body that trickles longer than this is refused.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// A JSON body, in or out. Unknown fields are refused by the types themselves (`deny_unknown_fields`).
#[derive(Debug)]
pub struct Json<T>(pub T);

impl<T: Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        match serde_json::to_vec(&self.0) {
            Ok(body) => {
                ([(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))], body).into_response()
            }
            Err(error) => Problem(Error::internal(error)).into_response(),
        }
    }
}

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        require_json(request.headers())?;
        let bytes = read_body(request, BODY_MAX).await?;
        Ok(Json(parse(&bytes)?))
    }
}

pub(crate) fn require_json(headers: &HeaderMap) -> Result<(), Error> {
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
    let media_type = content_type.split(';').next().unwrap_or("").trim();
    if media_type.eq_ignore_ascii_case("application/json") {
        return Ok(());
    }
    Err(Error::invalid("unsupported_media_type", "send the body with Content-Type: application/json")
        .with_status(415))
}

fn too_large(limit: usize) -> Error {
    Error::invalid("body_too_large", format!("the body may hold at most {limit} bytes")).with_status(413)
}

/// Reads a whole body within its limit and its time.
pub(crate) async fn read_body(request: Request, limit: usize) -> Result<Bytes, Error> {
    let announced = request.headers().get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok());
    if announced.and_then(|text| text.parse::<usize>().ok()).is_some_and(|length| length > limit) {
        return Err(too_large(limit));
    }
    collect(request.into_body(), limit).await
}

/// Reads a body whose length was not announced, or was and is within the limit.
pub(crate) async fn collect(body: Body, limit: usize) -> Result<Bytes, Error> {
    let body = Limited::new(body, limit).collect();
    match tokio::time::timeout(BODY_TIMEOUT, body).await {
        Err(_) => {
            Err(Error::new(Kind::Timeout, "body_too_slow", "the body did not arrive in time")
                .with_status(408))
        }
        Ok(Err(error)) if error.is::<http_body_util::LengthLimitError>() => Err(too_large(limit)),
        Ok(Err(_)) => Err(Error::invalid("body_unreadable", "the body could not be read").with_status(400)),
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
    }
}

/// Reads JSON: 400 for what is no JSON or has a field that nobody knows, 422 for a value of the wrong type.
pub(crate) fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Error> {
    check_depth(bytes)?;
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let read = T::deserialize(ObjectsOnly(&mut reader)).and_then(|value| reader.end().map(|()| value));
    read.map_err(|error| explain::<T>(bytes, &error))
}

fn malformed(error: &serde_json::Error) -> Error {
    let place = format!("the body is not JSON (line {}, column {})", error.line(), error.column());
    Error::invalid("malformed_json", place).with_status(400)
}

fn explain<T: DeserializeOwned>(bytes: &[u8], error: &serde_json::Error) -> Error {
    if !error.is_data() {
        return malformed(error);
    }
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let Err(located) = serde_path_to_error::deserialize::<_, T>(ObjectsOnly(&mut reader)) else {
        return malformed(error);
    };
    let pointer = pointer_of(located.path());
    let text = located.inner().to_string();
    let detail = text.rsplit_once(" at line ").map_or(text.as_str(), |(message, _)| message).to_owned();
    if detail.starts_with("unknown field") || detail.starts_with("duplicate field") {
        let code = if detail.starts_with("unknown") { "unknown_field" } else { "duplicate_field" };
        return Error::invalid(code, "the body has a field that does not belong there")
            .with_status(400)
            .with_field(pointer, code, detail);
    }
    // The name of a type of ours tells a caller nothing.
    let detail = detail
        .split_once("expected struct ")
        .map_or(detail.clone(), |(found, _)| format!("{found}expected an object"));
    Error::field(pointer, "invalid_value", detail)
}

/// `lines[0].quantity` as a JSON pointer: `/lines/0/quantity`.
fn pointer_of(path: &serde_path_to_error::Path) -> String {
    use serde_path_to_error::Segment;
    path.iter()
        .map(|segment| match segment {
            Segment::Seq { index } => format!("/{index}"),
            Segment::Map { key } => format!("/{}", key.replace('~', "~0").replace('/', "~1")),
            Segment::Enum { variant } => format!("/{variant}"),
            Segment::Unknown => String::new(),
        })
        .collect()
}

/// Refuses nesting that would cost more than it can be worth, before anything is built from it.
fn check_depth(bytes: &[u8]) -> Result<(), Error> {
    let (mut depth, mut in_string, mut escaped) = (0_usize, false, false);
    for &byte in bytes {
        if in_string {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => in_string = false,
                _ => {}
            }
            continue;
        }
        match byte {
            b'"' => in_string = true,
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > DEPTH_MAX {
            return Err(Error::invalid("json_too_deep", format!("JSON may nest at most {DEPTH_MAX} levels"))
                .with_status(400));
        }
    }
    Ok(())
}

/// Path parameters. What does not parse names nothing, so it is 404.
#[derive(Debug)]
pub struct Path<T>(pub T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Path<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        match axum::extract::Path::<T>::from_request_parts(parts, state).await {
            Ok(axum::extract::Path(value)) => Ok(Path(value)),
            Err(_) => Err(Problem(Error::not_found("not_found", "there is nothing under this address"))),
        }
    }
}

/// Query parameters.
#[derive(Debug)]
pub struct Query<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        match axum::extract::Query::<T>::from_request_parts(parts, state).await {
            Ok(axum::extract::Query(value)) => Ok(Query(value)),
            Err(error) => {
                let detail = std::error::Error::source(&error).map_or(error.to_string(), ToString::to_string);
                Err(Problem(Error::invalid("query_invalid", detail).with_status(400)))
            }
        }
    }
}
