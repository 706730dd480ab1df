//! Answers as HTTP.

use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use hyper::Response;
use serde_json::{Value as Json, json};

use super::store::Refusal;

pub type Body = UnsyncBoxBody<Bytes, std::io::Error>;
pub type Answer = Response<Body>;

pub fn whole(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed_unsync()
}

pub fn document(status: u16, document: &Json) -> Answer {
    typed(status, "application/json", document.to_string())
}

pub fn typed(status: u16, content_type: &str, bytes: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(whole(bytes));
    *answer.status_mut() =
        hyper::StatusCode::from_u16(status).unwrap_or(hyper::StatusCode::INTERNAL_SERVER_ERROR);
    if let Ok(value) = content_type.parse() {
        answer.headers_mut().insert("content-type", value);
    }
    answer
}

pub fn refused(refusal: &Refusal) -> Answer {
    document(refusal.code, &refusal.status())
}

pub fn success() -> Answer {
    document(200, &json!({ "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success" }))
}
