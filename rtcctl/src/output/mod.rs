//! What a command answers, and the five forms in which it can be written to stdout.
//!
//! Invariants: stdout carries the answer and nothing else; `-o json` is exactly one document
//! `{schema, status, findings, data}`; tables never exceed the terminal, JSON and YAML are never cut.

mod table;

pub use table::{Align, Column, Table};

use codes::Code;
use codes::exit::{self, Exit};
use serde::Serialize;
use serde_json::{Value, json};

/// The form of the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Format {
    /// Tables and lines for a person
    #[default]
    Table,
    /// Like table, with every column
    Wide,
    /// One JSON document; errors are JSON on stderr
    Json,
    /// The same document as YAML
    Yaml,
    /// Names or ids alone, one a line
    Name,
}

/// How grave a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    Info,
    Warning,
    Error,
}

/// Something that the operator should know, beside the answer itself.
#[derive(Debug, Clone, Serialize)]
pub struct Finding {
    #[serde(serialize_with = "code_id")]
    pub code: &'static Code,
    pub severity: Severity,
    pub message: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub hints: Vec<String>,
}

fn code_id<S: serde::Serializer>(code: &&'static Code, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(code.id)
}

impl Finding {
    pub fn new(code: &'static Code, severity: Severity, message: impl Into<String>) -> Self {
        Self { code, severity, message: message.into(), hints: Vec::new() }
    }

    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }
}

/// One piece of the answer for a person.
#[derive(Debug, Clone)]
pub enum Block {
    Text(String),
    /// Names and values, aligned.
    Pairs(Vec<(String, String)>),
    Table(Table),
}

/// The answer of a command.
#[derive(Debug, Clone)]
pub struct Report {
    /// The command as it stands in the schema: `events/topics` for `rtcctl events topics`.
    pub command: &'static str,
    /// One word: `ok`, or what is wrong (`breached`, `failed` …).
    pub status: &'static str,
    pub exit: Exit,
    pub findings: Vec<Finding>,
    pub data: Value,
    pub blocks: Vec<Block>,
    /// What `-o name` prints.
    pub names: Vec<String>,
    pub written: Written,
}

/// Whether the answer still has to be written when the command ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Written {
    NotYet,
    /// The command streamed it, or wrote it before it went on working.
    Already,
}

impl Report {
    /// An answer with status `ok` and exit code 0; the data is whatever serialises.
    pub fn new(command: &'static str, data: impl Serialize) -> Self {
        Self {
            command,
            status: "ok",
            exit: exit::DONE,
            findings: Vec::new(),
            data: serde_json::to_value(data).unwrap_or(Value::Null),
            blocks: Vec::new(),
            names: Vec::new(),
            written: Written::NotYet,
        }
    }

    /// The end of a command that has written its answer itself.
    pub fn already_written(command: &'static str, exit: Exit) -> Self {
        Self { exit, written: Written::Already, ..Self::new(command, ()) }
    }

    /// Sets what is wrong and the exit code that says so.
    #[must_use]
    pub fn with_status(mut self, status: &'static str, exit: Exit) -> Self {
        self.status = status;
        self.exit = exit;
        self
    }

    #[must_use]
    pub fn with_finding(mut self, finding: Finding) -> Self {
        self.findings.push(finding);
        self
    }

    #[must_use]
    pub fn with_text(mut self, text: impl Into<String>) -> Self {
        self.blocks.push(Block::Text(text.into()));
        self
    }

    #[must_use]
    pub fn with_pairs<K: Into<String>, V: Into<String>>(
        mut self,
        pairs: impl IntoIterator<Item = (K, V)>,
    ) -> Self {
        let pairs = pairs.into_iter().map(|(key, value)| (key.into(), value.into())).collect();
        self.blocks.push(Block::Pairs(pairs));
        self
    }

    #[must_use]
    pub fn with_table(mut self, table: Table) -> Self {
        self.blocks.push(Block::Table(table));
        self
    }

    #[must_use]
    pub fn with_names<N: Into<String>>(mut self, names: impl IntoIterator<Item = N>) -> Self {
        self.names.extend(names.into_iter().map(Into::into));
        self
    }

    /// The document of `-o json` and `-o yaml`.
    pub fn document(&self) -> Value {
        json!({
            "schema": format!("rtcctl/{}/v1", self.command),
            "status": self.status,
            "findings": self.findings,
            "data": self.data,
        })
    }

    /// The answer in the given form, ending with a line feed. `width` is that of the terminal, where there is one.
    pub fn render(&self, format: Format, width: Option<usize>) -> String {
        match format {
            Format::Json => {
                let mut text = serde_json::to_string_pretty(&self.document()).unwrap_or_default();
                text.push('\n');
                text
            }
            Format::Yaml => manifests::yaml::write(&self.document()),
            Format::Name => self.names.iter().map(|name| format!("{name}\n")).collect(),
            Format::Table => self.render_blocks(width, Columns::Narrow),
            Format::Wide => self.render_blocks(width, Columns::All),
        }
    }

    fn render_blocks(&self, width: Option<usize>, columns: Columns) -> String {
        let mut text = String::new();
        for block in &self.blocks {
            let rendered = match block {
                Block::Text(text) => format!("{}\n", text.trim_end()),
                Block::Pairs(pairs) => table::render_pairs(pairs, width),
                Block::Table(table) => table.render(columns, width),
            };
            if !text.is_empty() && (matches!(block, Block::Table(_)) || text.ends_with(":\n")) {
                text.push('\n');
            }
            text.push_str(&rendered);
        }
        text
    }

    /// The findings for a person that are at least so grave, on stderr: one line each and its hints, in colour.
    pub fn render_findings(&self, least: Severity) -> String {
        let mut text = String::new();
        for finding in self.findings.iter().filter(|finding| finding.severity >= least) {
            let (colour, word) = match finding.severity {
                Severity::Info => ("36", "note"),
                Severity::Warning => ("1;33", "warning"),
                Severity::Error => ("1;31", "error"),
            };
            text.push_str(&format!(
                "\x1b[{colour}m{word}[{}]\x1b[0m: {}\n",
                finding.code.id, finding.message
            ));
            for hint in &finding.hints {
                text.push_str(&format!("\x1b[1;36mhint\x1b[0m: {hint}\n"));
            }
        }
        text
    }
}

/// Which columns of a table are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Columns {
    Narrow,
    All,
}

#[cfg(test)]
mod tests;
