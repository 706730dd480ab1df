//! The lines that `terraform … -json` writes.
//!
//! Invariants: every line is something, and none stops the reading: text that is no JSON is [`Line::Text`], a type that
//! is not known is [`Event::Other`]; a line beyond [`LINE_BYTES_MAX`] is told by its length and not kept; of a long line
//! only what is told of it is copied, so that it costs its own length once.
//!
//! The shapes are those of "Machine-Readable UI", version 1.x, of Terraform 1.11.

use std::borrow::Cow;

use serde::Deserialize;

/// Outputs may be megabytes in one line. What is longer is skipped.
pub const LINE_BYTES_MAX: usize = 32 * 1024 * 1024;
/// So much is kept of what is shown to people: noise, messages, the details of a diagnostic.
pub const TEXT_BYTES_MAX: usize = 64 * 1024;

/// What one line says.
#[derive(Debug, Clone, PartialEq)]
pub enum Line {
    Event(Event),
    /// Not JSON: locks, panics and what is printed before the arguments are understood.
    Text(String),
    /// Longer than we keep.
    Oversized {
        bytes: usize,
    },
}

/// Which resource an event is about.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Resource {
    #[serde(rename = "addr")]
    pub address: String,
    #[serde(rename = "resource_type", default)]
    pub kind: String,
}

/// What an operation does to a resource, by Terraform's own word: `create`, `update`, `delete`, `replace`, `read` …
pub type Word = String;

#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    Version {
        terraform: String,
        ui: String,
    },
    Diagnostic(Diagnostic),
    PlannedChange {
        resource: Resource,
        action: Word,
    },
    ResourceDrift {
        resource: Resource,
        action: Word,
    },
    ChangeSummary(Summary),
    Outputs,
    ApplyStart {
        resource: Resource,
        action: Word,
    },
    ApplyProgress {
        resource: Resource,
        action: Word,
        elapsed_s: u64,
    },
    ApplyComplete {
        resource: Resource,
        action: Word,
        elapsed_s: u64,
        id: Option<String>,
    },
    /// Carries no reason: diagnostics come at the end.
    ApplyErrored {
        resource: Resource,
        action: Word,
        elapsed_s: u64,
    },
    RefreshStart {
        resource: Resource,
    },
    RefreshComplete {
        resource: Resource,
    },
    LockAcquire,
    LockRelease,
    /// Of a type that is not followed here.
    Other {
        kind: String,
        message: String,
    },
}

/// How many resources an operation is about. A replacement is in `add` and in `remove`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(default)]
pub struct Summary {
    pub add: usize,
    pub change: usize,
    pub import: usize,
    pub remove: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    Error,
    #[serde(other)]
    Warning,
}

/// An error or a warning. Its snippet is left out: it may quote values.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Diagnostic {
    pub severity: Severity,
    pub summary: String,
    #[serde(default)]
    pub detail: String,
    pub address: Option<String>,
    pub range: Option<Range>,
}

/// Where in the configuration.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Range {
    pub filename: String,
    pub start: Position,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub struct Position {
    pub line: usize,
}

/// What every line has. The rest is passed over without being kept.
#[derive(Deserialize)]
struct Head<'a> {
    #[serde(rename = "type", borrow)]
    kind: Cow<'a, str>,
    #[serde(rename = "@message", borrow, default)]
    message: Cow<'a, str>,
}

/// What a step of an apply or a planned change is about.
#[derive(Deserialize)]
struct Hook {
    resource: Resource,
    #[serde(default)]
    action: Word,
    #[serde(default)]
    elapsed_seconds: f64,
    id_value: Option<String>,
}

impl Hook {
    fn elapsed_s(&self) -> u64 {
        // Whole seconds, never negative: a float only because JSON has no other number.
        self.elapsed_seconds.max(0.0) as u64
    }
}

#[derive(Deserialize)]
struct Hooked {
    hook: Hook,
}

#[derive(Deserialize)]
struct Changed {
    change: Hook,
}

#[derive(Deserialize)]
struct Diagnosed {
    diagnostic: Diagnostic,
}

#[derive(Deserialize)]
struct Summarised {
    changes: Summary,
}

#[derive(Deserialize)]
struct Versions {
    terraform: String,
    ui: String,
}

/// Reads one line, without its line break.
pub fn parse(line: &[u8]) -> Line {
    // A list would be read as the fields of a line in their order.
    let is_object = line.trim_ascii_start().starts_with(b"{");
    match serde_json::from_slice::<Head<'_>>(line) {
        // What is said to be of a type, and is not of its shape, is shown by its message.
        Ok(head) if is_object => Line::Event(known(&head.kind, line).unwrap_or_else(|| Event::Other {
            kind: beginning(head.kind.as_bytes()),
            message: beginning(head.message.as_bytes()),
        })),
        // Not JSON, or without a type: not one of Terraform's.
        _ => Line::Text(beginning(line).trim_end_matches('\r').to_owned()),
    }
}

/// As much of a text as is kept.
fn beginning(text: &[u8]) -> String {
    let kept = text.get(..TEXT_BYTES_MAX).unwrap_or(text);
    let mut kept = String::from_utf8_lossy(kept).into_owned();
    if text.len() > TEXT_BYTES_MAX {
        kept.push_str(&format!("… ({} bytes)", text.len()));
    }
    kept
}

fn known(kind: &str, line: &[u8]) -> Option<Event> {
    fn read<'a, T: Deserialize<'a>>(line: &'a [u8]) -> Option<T> {
        serde_json::from_slice(line).ok()
    }
    let hook = || read::<Hooked>(line).map(|hooked| hooked.hook);
    let change = || read::<Changed>(line).map(|changed| changed.change);
    Some(match kind {
        "version" => {
            let Versions { terraform, ui } = read(line)?;
            Event::Version { terraform, ui }
        }
        "diagnostic" => {
            let mut diagnostic = read::<Diagnosed>(line)?.diagnostic;
            if diagnostic.detail.len() > TEXT_BYTES_MAX {
                diagnostic.detail = beginning(diagnostic.detail.as_bytes());
            }
            Event::Diagnostic(diagnostic)
        }
        "planned_change" => {
            let change = change()?;
            Event::PlannedChange { resource: change.resource, action: change.action }
        }
        "resource_drift" => {
            let change = change()?;
            Event::ResourceDrift { resource: change.resource, action: change.action }
        }
        "change_summary" => Event::ChangeSummary(read::<Summarised>(line)?.changes),
        "outputs" => Event::Outputs,
        "apply_start" => {
            let hook = hook()?;
            Event::ApplyStart { resource: hook.resource, action: hook.action }
        }
        "apply_progress" => {
            let hook = hook()?;
            Event::ApplyProgress { elapsed_s: hook.elapsed_s(), resource: hook.resource, action: hook.action }
        }
        "apply_complete" => {
            let hook = hook()?;
            Event::ApplyComplete {
                elapsed_s: hook.elapsed_s(),
                resource: hook.resource,
                action: hook.action,
                id: hook.id_value,
            }
        }
        "apply_errored" => {
            let hook = hook()?;
            Event::ApplyErrored { elapsed_s: hook.elapsed_s(), resource: hook.resource, action: hook.action }
        }
        "refresh_start" => Event::RefreshStart { resource: hook()?.resource },
        "refresh_complete" => Event::RefreshComplete { resource: hook()?.resource },
        "state_lock_acquire" => Event::LockAcquire,
        "state_lock_release" => Event::LockRelease,
        _ => return None,
    })
}

/// Cuts bytes that arrive in any portions into lines.
#[derive(Debug, Default)]
pub struct Lines {
    kept: Vec<u8>,
    /// Bytes of a line that is too long and is being skipped.
    skipped: usize,
}

impl Lines {
    /// Takes the next bytes and gives each line that they complete.
    pub fn feed(&mut self, mut bytes: &[u8], mut each: impl FnMut(Line)) {
        while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
            let (head, rest) = bytes.split_at(end);
            bytes = rest.get(1..).unwrap_or_default();
            self.keep(head);
            self.end(&mut each);
        }
        self.keep(bytes);
    }

    /// A last line that nothing ended.
    pub fn finish(&mut self, mut each: impl FnMut(Line)) {
        if !self.kept.is_empty() || self.skipped > 0 {
            self.end(&mut each);
        }
    }

    fn keep(&mut self, bytes: &[u8]) {
        if self.skipped > 0 || self.kept.len() + bytes.len() > LINE_BYTES_MAX {
            self.skipped += self.kept.len() + bytes.len();
            self.kept = Vec::new();
        } else {
            self.kept.extend_from_slice(bytes);
        }
    }

    fn end(&mut self, each: &mut impl FnMut(Line)) {
        let line = std::mem::take(&mut self.kept);
        let skipped = std::mem::take(&mut self.skipped);
        if skipped > 0 {
            each(Line::Oversized { bytes: skipped });
        } else if !line.iter().all(u8::is_ascii_whitespace) {
            each(parse(&line));
        }
        // A line of megabytes does not keep its room.
        if line.capacity() <= 64 * 1024 {
            self.kept = line;
            self.kept.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value as Json, json};

    use super::*;

    fn read(parts: &[&[u8]]) -> Vec<Line> {
        let mut lines = Lines::default();
        let mut found = Vec::new();
        for part in parts {
            lines.feed(part, |line| found.push(line));
        }
        lines.finish(|line| found.push(line));
        found
    }

    fn hook(kind: &str, more: Json) -> Vec<u8> {
        let mut hook = json!({
            "resource": {"addr": "module.a.aws_vpc.main", "module": "module.a", "resource_type": "aws_vpc"},
            "action": "create",
        });
        for (name, value) in more.as_object().into_iter().flatten() {
            hook[name] = value.clone();
        }
        json!({"@level": "info", "@message": "m", "type": kind, "hook": hook}).to_string().into_bytes()
    }

    fn vpc() -> Resource {
        Resource { address: "module.a.aws_vpc.main".to_owned(), kind: "aws_vpc".to_owned() }
    }

    #[test]
    fn each_step_of_an_apply_is_told() {
        let action = || "create".to_owned();
        for (line, event) in [
            (hook("apply_start", json!({})), Event::ApplyStart { resource: vpc(), action: action() }),
            (
                hook("apply_progress", json!({"elapsed_seconds": 10})),
                Event::ApplyProgress { resource: vpc(), action: action(), elapsed_s: 10 },
            ),
            (
                hook("apply_complete", json!({"elapsed_seconds": 12.0, "id_key": "id", "id_value": "vpc-1"})),
                Event::ApplyComplete {
                    resource: vpc(),
                    action: action(),
                    elapsed_s: 12,
                    id: Some("vpc-1".to_owned()),
                },
            ),
            (
                hook("apply_errored", json!({"elapsed_seconds": 3})),
                Event::ApplyErrored { resource: vpc(), action: action(), elapsed_s: 3 },
            ),
            (hook("refresh_start", json!({})), Event::RefreshStart { resource: vpc() }),
        ] {
            assert_eq!(parse(&line), Line::Event(event));
        }
    }

    #[test]
    fn noise_is_text_and_what_is_unknown_is_named() {
        let lines = read(&[
            b"Acquiring state lock. This may take a few moments...\r\n",
            b"{\"type\":\"action_start\",\"@message\":\"an action\",\"x\":{}}\n",
            b"{\"no\":\"type\"}\n\n   \n",
            b"{\"type\":\"apply_start\",\"@message\":\"of no shape\",\"hook\":7}\n",
            b"[\"outputs\",\"of a list\"]\n\xff\xfe broken\n",
            b"{\"type\":\"version\",\"terraform\":\"1.11.4\",\"ui\":\"1.2\"}",
        ]);
        let other = |kind: &str, message: &str| {
            Line::Event(Event::Other { kind: kind.to_owned(), message: message.to_owned() })
        };
        assert_eq!(
            lines,
            [
                Line::Text("Acquiring state lock. This may take a few moments...".to_owned()),
                other("action_start", "an action"),
                Line::Text("{\"no\":\"type\"}".to_owned()),
                other("apply_start", "of no shape"),
                Line::Text("[\"outputs\",\"of a list\"]".to_owned()),
                Line::Text("\u{fffd}\u{fffd} broken".to_owned()),
                Line::Event(Event::Version { terraform: "1.11.4".to_owned(), ui: "1.2".to_owned() }),
            ]
        );
    }

    #[test]
    fn a_line_may_arrive_in_pieces_and_hold_any_character() {
        let line = json!({"type": "diagnostic", "@message": "m", "diagnostic": {
            "severity": "error", "summary": "오류", "detail": "d", "address": "aws_vpc.main",
            "range": {"filename": "main.tf", "start": {"line": 3, "column": 1, "byte": 9}, "end": {}},
            "snippet": {"values": [{"traversal": "var.password", "statement": "is \"secret\""}]},
        }})
        .to_string();
        let bytes = line.as_bytes();
        let whole = read(&[bytes]);
        let Line::Event(Event::Diagnostic(diagnostic)) = &whole[0] else { panic!("{whole:?}") };
        assert_eq!(diagnostic.summary, "오류");
        assert_eq!(diagnostic.range.as_ref().map(|range| range.start.line), Some(3));
        assert!(!format!("{whole:?}").contains("secret"));
        for cut in 0..bytes.len() {
            assert_eq!(read(&[&bytes[..cut], &bytes[cut..]]), whole);
        }
    }

    #[test]
    fn a_line_of_twenty_megabytes_is_read_and_one_beyond_the_limit_is_skipped() {
        let large =
            json!({"type": "outputs", "@message": "m", "outputs": {"x": {"value": "v".repeat(20 << 20)}}});
        let endless = vec![b'x'; LINE_BYTES_MAX / 2 + 1];
        let lines = read(&[large.to_string().as_bytes(), b"\n", &endless, &endless, b"\nafter\n"]);
        assert_eq!(
            lines,
            [
                Line::Event(Event::Outputs),
                Line::Oversized { bytes: LINE_BYTES_MAX + 2 },
                Line::Text("after".to_owned()),
            ]
        );
    }

    #[test]
    fn of_long_noise_and_long_messages_the_beginning_is_kept() {
        let long = "v".repeat(20 << 20);
        let other = json!({"type": "later", "@message": long});
        let error = json!({"type": "diagnostic", "diagnostic": {"severity": "error", "summary": "s", "detail": long}});
        let lines = read(&[
            long.as_bytes(),
            b"\n",
            other.to_string().as_bytes(),
            b"\n",
            error.to_string().as_bytes(),
        ]);
        let [
            Line::Text(text),
            Line::Event(Event::Other { message, .. }),
            Line::Event(Event::Diagnostic(said)),
        ] = lines.as_slice()
        else {
            panic!("{} lines", lines.len());
        };
        for kept in [text, message, &said.detail] {
            assert!(
                kept.len() < TEXT_BYTES_MAX + 32 && kept.ends_with("v… (20971520 bytes)"),
                "{}",
                kept.len()
            );
        }
    }

    #[test]
    fn a_summary_reads_what_it_knows() {
        let line = json!({"type": "change_summary", "@message": "m",
            "changes": {"add": 3, "change": 1, "import": 0, "remove": 2, "action_invocation": 1, "operation": "plan"}});
        assert_eq!(
            parse(line.to_string().as_bytes()),
            Line::Event(Event::ChangeSummary(Summary { add: 3, change: 1, import: 0, remove: 2 }))
        );
    }
}
