//! Answers that are no answer: whose fault it is, in one error each.

use std::time::Duration;

use codes::{Error, Result};
use settings::masked;

use super::answer::Envelope;

/// A failed attempt, and whether another one may help.
pub(super) struct Failure {
    pub error: Error,
    pub transient: bool,
}

impl Failure {
    fn lasting(error: Error) -> Self {
        Self { error, transient: false }
    }

    fn passing(error: Error) -> Self {
        Self { error, transient: true }
    }
}

/// What came back.
pub(super) struct Said<'a> {
    pub status: u16,
    pub kind: &'a str,
    pub location: &'a str,
    pub body: &'a [u8],
}

pub(super) fn timed_out(address: &str, within: Duration) -> Error {
    Error::new(
        &codes::MET003,
        format!("Prometheus ({address}) did not answer within {} s", within.as_secs_f64()),
    )
    .with_hint("ask for less (a shorter range, a recorded series), or raise --timeout")
}

pub(super) fn not_reached(address: &str, error: &reqwest::Error) -> Failure {
    let mut innermost: &(dyn std::error::Error + 'static) = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    Failure::passing(
        Error::new(&codes::MET002, format!("Prometheus ({address}) does not answer"))
            .with_source(innermost)
            .with_hint("rtcctl config show says where prometheus_url was set"),
    )
}

/// An answer of Prometheus that says `success`, or what is wrong.
pub(super) fn judge(address: &str, said: Said<'_>, expr: Option<&str>) -> Result<Envelope, Failure> {
    let text = String::from_utf8_lossy(said.body);
    let is_page = said.kind.starts_with("text/html") || text.trim_start().starts_with('<');
    match said.status {
        300..=399 => {
            return Err(Failure::lasting(foreign(
                address,
                format!("it redirects to {}", masked(said.location)),
            )));
        }
        401 | 403 => return Err(Failure::lasting(denied(address, said.status))),
        429 | 502 | 503 | 504 if is_page || !text.trim_start().starts_with('{') => {
            let error = unavailable(address, said.status).with_cause(excerpt(&text, is_page));
            return Err(Failure::passing(error));
        }
        _ => {}
    }
    if is_page {
        let error = foreign(address, format!("it answered {} with a page of HTML", said.status));
        return Err(Failure::lasting(error.with_cause(excerpt(&text, is_page))));
    }
    let envelope: Envelope = match serde_json::from_slice(said.body) {
        Ok(envelope) => envelope,
        Err(_) if said.status == 404 => {
            return Err(Failure::lasting(foreign(address, "it has no /api/v1 (404)".to_owned())));
        }
        Err(error) => {
            let error = Error::new(
                &codes::MET007,
                format!("the answer of {address} ({}) is not understood", said.status),
            )
            .with_source(&error)
            .with_cause(excerpt(&text, is_page));
            return Err(Failure::lasting(error));
        }
    };
    match (envelope.status.as_str(), envelope.error_type.as_str()) {
        ("success", _) => Ok(envelope),
        (_, "bad_data") => Err(Failure::lasting(bad_data(&envelope.error, expr))),
        (_, "execution") => Err(Failure::lasting(
            Error::new(&codes::MET005, "Prometheus cannot execute the expression")
                .with_cause(envelope.error)
                .with_hint(
                    "rtcctl metrics query shows its parts; sum by (…), on (…) or a shorter range may help",
                ),
        )),
        (_, "timeout" | "canceled") => Err(Failure::lasting(
            Error::new(&codes::MET003, "Prometheus gave the expression up: it took too long")
                .with_cause(envelope.error)
                .with_hint("ask for less (a shorter range, a recorded series), or raise --timeout"),
        )),
        (_, "unavailable") => {
            Err(Failure::passing(unavailable(address, said.status).with_cause(envelope.error)))
        }
        (_, "") if matches!(said.status, 429 | 502..=504) => {
            Err(Failure::passing(unavailable(address, said.status)))
        }
        (_, "") => Err(Failure::lasting(foreign(
            address,
            format!("it answered {} with JSON that is not Prometheus'", said.status),
        ))),
        (_, other) => Err(Failure::lasting(
            Error::new(&codes::MET007, format!("Prometheus failed ({other})")).with_cause(envelope.error),
        )),
    }
}

fn foreign(address: &str, what: String) -> Error {
    Error::new(&codes::MET001, format!("what answers at {address} is not Prometheus: {what}")).with_hint(
        "a proxy or a sign-in page may stand before it: prometheus_url is the address before /api/v1, and \
         prometheus_token a reference to a bearer token",
    )
}

fn denied(address: &str, status: u16) -> Error {
    Error::new(&codes::MET006, format!("Prometheus ({address}) denies access ({status})"))
        .with_hint("prometheus_token is a reference to a bearer token: env:NAME, file:PATH or cmd:COMMAND")
}

fn unavailable(address: &str, status: u16) -> Error {
    Error::new(&codes::MET002, format!("Prometheus ({address}) cannot answer now ({status})"))
}

/// An expression that is no PromQL, with the place where it stops being any: the server says `line:column: parse error`.
fn bad_data(said: &str, expr: Option<&str>) -> Error {
    let place = said.match_indices(": parse error: ").next().and_then(|(end, marker)| {
        let head = said[..end].rsplit([' ', '"']).next()?;
        let (line, column) = head.split_once(':')?;
        Some((line.parse::<usize>().ok()?, column.parse::<usize>().ok()?, &said[end + marker.len()..]))
    });
    match (place, expr) {
        (Some((line, column, problem)), Some(expr)) => {
            Error::new(&codes::MET004, format!("the expression is not PromQL: {problem}"))
                .with_cause(pointed_at(expr, line, column))
        }
        _ => Error::new(&codes::MET004, format!("Prometheus refuses the question: {said}")),
    }
}

/// The line of the expression and a caret under the column, both counted from one.
fn pointed_at(expr: &str, line: usize, column: usize) -> String {
    let text = expr.lines().nth(line.saturating_sub(1)).unwrap_or_default();
    // The server counts bytes.
    let before = &text.as_bytes()[..column.saturating_sub(1).min(text.len())];
    let width = String::from_utf8_lossy(before).chars().count();
    format!("line {line}, column {column}:\n{text}\n{}^", " ".repeat(width))
}

/// The title of a page, or the first words of anything else.
fn excerpt(text: &str, is_page: bool) -> String {
    let lower = text.to_ascii_lowercase();
    let title = lower.find("<title>").and_then(|start| {
        let start = start + "<title>".len();
        let end = start + lower[start..].find("</title>")?;
        Some(text[start..end].trim().to_owned())
    });
    let words: Vec<&str> = text.split_whitespace().collect();
    match title.filter(|title| is_page && !title.is_empty()) {
        Some(title) => format!("the page is called {title:?}"),
        None => words.join(" ").chars().take(160).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_syntax_error_is_pointed_at() {
        let error = bad_data(
            "invalid parameter \"query\": 1:10: parse error: unexpected identifier \"b\"",
            Some("sum(rate(b b))"),
        );
        assert_eq!(error.message(), "the expression is not PromQL: unexpected identifier \"b\"");
        assert_eq!(error.causes(), ["line 1, column 10:\nsum(rate(b b))\n         ^"]);
    }

    #[test]
    fn a_refusal_without_a_place_is_told_as_it_is() {
        let said = "invalid parameter \"query\": exceeded maximum resolution of 11,000 points per timeseries";
        assert_eq!(bad_data(said, Some("up")).causes(), [] as [String; 0]);
        assert!(bad_data(said, Some("up")).message().contains("11,000"));
    }

    #[test]
    fn the_column_counts_bytes_and_the_caret_stands_under_the_letter() {
        assert!(
            pointed_at("a{b=\"주\"} !", 1, 12).ends_with("\n         ^"),
            "{}",
            pointed_at("a{b=\"주\"} !", 1, 12)
        );
    }
}
