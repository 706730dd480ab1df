//! What is said when Terraform failed: its own words, under the code of what went wrong.

use codes::{Code, Error};
use terraform::failure::{self, Failure, Lock};
use terraform::stream::Diagnostic;

/// So many of its errors are shown.
const SHOWN: usize = 5;
const DETAIL_LETTERS: usize = 600;

/// From the diagnostics of a run and what it said beside them.
pub fn of_run<'a>(
    what: &str,
    diagnostics: impl Iterator<Item = &'a Diagnostic> + Clone,
    talk: &str,
) -> (Failure, Error) {
    let failure = failure::judge(diagnostics.clone(), talk);
    let mut error = Error::new(code(&failure), message(what, &failure));
    let mut shown = 0;
    for diagnostic in diagnostics.clone().take(SHOWN) {
        error = error.with_cause(words(diagnostic));
        shown += 1;
    }
    let left = diagnostics.count() - shown;
    if left > 0 {
        error = error.with_cause(format!("and {left} more errors"));
    }
    if shown == 0 {
        error = error.with_cause(last_lines(talk));
    }
    (failure, error)
}

/// From plain text: commands without `-json`.
pub fn of_text(what: &str, talk: &str) -> Error {
    of_run(what, [].iter(), talk).1
}

fn code(failure: &Failure) -> &'static Code {
    match failure {
        Failure::Locked(_) => &codes::INF007,
        Failure::StalePlan => &codes::INF008,
        Failure::Prevented { .. } => &codes::INF015,
        Failure::Credentials => &codes::INF010,
        Failure::Denied => &codes::INF011,
        Failure::Uninitialised | Failure::Other => &codes::INF004,
        Failure::Configuration => &codes::INF012,
        Failure::ProviderCrashed => &codes::INF013,
        Failure::StateNotSaved => &codes::INF009,
        Failure::Transient => &codes::INF020,
    }
}

fn message(what: &str, failure: &Failure) -> String {
    match failure {
        Failure::Locked(lock) => held_by(lock),
        Failure::StalePlan => "the state has changed since the plan was made".to_owned(),
        Failure::Prevented { address } => format!("{address} must not be destroyed, says its configuration"),
        _ => what.to_owned(),
    }
}

pub fn held_by(lock: &Lock) -> String {
    let doing = lock.operation.trim_start_matches("OperationType").to_lowercase();
    format!("the state is locked by {} for {doing} since {} (lock {})", lock.who, since(lock), lock.id)
}

/// Nanoseconds and the name of the zone say nothing to anybody.
pub fn since(lock: &Lock) -> String {
    format!("{} UTC", lock.created.split('.').next().unwrap_or_default())
}

fn words(diagnostic: &Diagnostic) -> String {
    let mut text = String::new();
    if let Some(address) = &diagnostic.address {
        text.push_str(address);
        text.push_str(": ");
    }
    text.push_str(&diagnostic.summary);
    if let Some(range) = &diagnostic.range {
        text.push_str(&format!(" ({}:{})", range.filename, range.start.line));
    }
    let detail = diagnostic.detail.trim();
    // Who holds the lock is in the message already.
    if !detail.is_empty() && !detail.contains("Lock Info:") {
        text.push('\n');
        text.extend(detail.chars().take(DETAIL_LETTERS));
    }
    text
}

/// The end of a text, without the frames that Terraform draws.
fn last_lines(text: &str) -> String {
    let plain = anstream::adapter::strip_str(text).to_string();
    let lines: Vec<&str> = plain
        .lines()
        .map(|line| line.trim_start_matches(['│', '╷', '╵', ' ']).trim_end())
        .filter(|line| !line.is_empty())
        .collect();
    lines[lines.len().saturating_sub(12)..].join("\n")
}
