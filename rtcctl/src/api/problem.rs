//! From an answer that is no success to an error of ours (RFC 9457).

use std::time::Duration;

use codes::exit::Exit;
use codes::{Code, Error};
use kernel::{FieldError, Kind};
use serde::Deserialize;

#[derive(Debug, Default, Deserialize)]
struct Problem {
    #[serde(default, rename = "type")]
    kind: String,
    #[serde(default)]
    title: String,
    #[serde(default)]
    code: String,
    #[serde(default)]
    detail: String,
    #[serde(default)]
    errors: Vec<FieldError>,
    #[serde(default)]
    request_id: Option<String>,
}

/// The kind that the problem's `type` names, or else what the status says.
fn kind_of(problem: &Problem, status: u16) -> Kind {
    let named = problem.kind.rsplit(['/', ':']).next().unwrap_or_default();
    Kind::ALL.into_iter().find(|kind| kind.name() == named).unwrap_or(match status {
        401 => Kind::Unauthenticated,
        403 => Kind::Forbidden,
        404 | 410 => Kind::NotFound,
        402 | 409 | 412 | 428 => Kind::Conflict,
        429 => Kind::TooMany,
        408 | 504 => Kind::Timeout,
        502 | 503 => Kind::Unavailable,
        400..=499 => Kind::Invalid,
        _ => Kind::Internal,
    })
}

fn code_of(kind: Kind) -> &'static Code {
    match kind {
        Kind::Invalid => &codes::API001,
        Kind::Unauthenticated => &codes::API002,
        Kind::Forbidden => &codes::API003,
        Kind::NotFound => &codes::API004,
        Kind::Conflict => &codes::API005,
        Kind::TooMany => &codes::API006,
        Kind::Unavailable => &codes::API007,
        Kind::Timeout => &codes::API008,
        Kind::Internal => &codes::API009,
    }
}

pub(super) fn error(endpoint: &str, status: u16, body: &[u8], retry_after: Option<Duration>) -> Error {
    let problem: Problem = serde_json::from_slice(body).unwrap_or_default();
    let kind = kind_of(&problem, status);
    let said = [&problem.detail, &problem.title].into_iter().find(|text| !text.is_empty());
    let message = match (said, problem.code.as_str()) {
        (Some(said), "") => format!("{endpoint} answered {status}: {said}"),
        (Some(said), code) => format!("{endpoint} answered {status} {code}: {said}"),
        (None, _) => format!("{endpoint} answered {status}"),
    };
    let mut error = Error::new(code_of(kind), message).with_exit(Exit::from(kind));
    for field in &problem.errors {
        let place = if field.pointer.is_empty() { "the body" } else { &field.pointer };
        error = error.with_cause(format!("{place}: {} ({})", field.detail, field.code));
    }
    if said.is_none() && !body.is_empty() {
        // Whatever stands between us and the platform speaks another language; its first words may tell what it is.
        let start: String = String::from_utf8_lossy(body).chars().take(200).collect();
        error = error.with_cause(start.split_whitespace().collect::<Vec<_>>().join(" "));
    }
    if let Some(request_id) = problem.request_id.filter(|id| !id.is_empty()) {
        error = error.with_hint(format!("the platform's log has more under the request id {request_id}"));
    }
    if let Some(pause) = retry_after {
        error = error.with_hint(format!("repeat in {} s", pause.as_secs()));
    }
    error
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn every_kind_leads_to_its_own_code_and_exit_code() {
        for kind in Kind::ALL {
            let body = json!({"type": format!("https://rtc.dev/problems/{}", kind.name()), "detail": "no"});
            let error = error("the API", 418, body.to_string().as_bytes(), None);
            assert_eq!(error.exit().code(), kind.exit_code(), "{kind:?}");
            assert_eq!(error.code().exit.code(), kind.exit_code(), "{kind:?}: explain says the same");
        }
    }

    #[test]
    fn a_problem_is_told_with_its_fields_and_its_request_id() {
        let body = json!({
            "type": "https://rtc.dev/problems/invalid", "title": "Invalid", "status": 422, "code": "validation_failed",
            "detail": "the request has invalid fields", "request_id": "req-1",
            "errors": [{"pointer": "/lines/0/quantity", "code": "too_small", "detail": "at least 1"}],
        });
        let error = error("the API", 422, body.to_string().as_bytes(), Some(Duration::from_secs(2)));
        assert_eq!(error.message(), "the API answered 422 validation_failed: the request has invalid fields");
        assert_eq!(error.causes(), ["/lines/0/quantity: at least 1 (too_small)"]);
        assert_eq!(error.hints().len(), 2);
    }

    #[test]
    fn an_answer_that_is_no_problem_is_judged_by_its_status_and_quoted() {
        let error = error("the API", 503, b"<html>\n<h1>Bad  gateway</h1>", None);
        assert_eq!(error.code().id, "API007");
        assert_eq!(error.causes(), ["<html> <h1>Bad gateway</h1>"]);
    }
}
