//! The one error of the tool: a stable code, a message, the chain of causes, and hints about what to do next.
//!
//! Invariants: no error without a documented [`Code`]; messages are lower case without a full stop; no secret ever
//! gets into a message, a cause or a hint.

use std::error::Error as StdError;
use std::fmt;

use serde_json::json;

use crate::exit::Exit;
use crate::{Code, INT001};

/// What a command comes to, or the failure that the operator is told.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What others wrote may be in a message, and must not move the cursor or change colours.
fn plain(text: String) -> String {
    let is_wild = |letter: char| letter.is_control() && !matches!(letter, '\n' | '\t');
    match text.contains(is_wild) {
        true => text.replace(is_wild, "\u{fffd}"),
        false => text,
    }
}

/// A failure that the operator is told.
pub struct Error(Box<Inner>);

struct Inner {
    code: &'static Code,
    exit: Exit,
    message: String,
    causes: Vec<String>,
    hints: Vec<String>,
}

impl Error {
    /// A failure of this code; it ends the process with the code's own exit.
    pub fn new(code: &'static Code, message: impl Into<String>) -> Self {
        Self(Box::new(Inner {
            code,
            exit: code.exit,
            message: plain(message.into()),
            causes: Vec::new(),
            hints: Vec::new(),
        }))
    }

    /// A defect or an unforeseen condition of the machine.
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(&INT001, message)
    }

    /// Adds one cause, below those that are there already.
    #[must_use]
    pub fn with_cause(mut self, cause: impl Into<String>) -> Self {
        let cause = plain(cause.into());
        if !cause.is_empty() && self.0.causes.last() != Some(&cause) {
            self.0.causes.push(cause);
        }
        self
    }

    /// Adds an error and everything below it as causes.
    #[must_use]
    pub fn with_source(mut self, source: &(dyn StdError + 'static)) -> Self {
        let mut next = Some(source);
        while let Some(error) = next {
            self = self.with_cause(error.to_string());
            next = error.source();
        }
        self
    }

    /// Adds what may be done about it, below the hints that are there already.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.0.hints.push(plain(hint.into()));
        self
    }

    /// Ends the process with another code than the documented one of this error.
    #[must_use]
    pub fn with_exit(mut self, exit: Exit) -> Self {
        self.0.exit = exit;
        self
    }

    /// The documented code.
    pub fn code(&self) -> &'static Code {
        self.0.code
    }

    /// What the process ends with.
    pub fn exit(&self) -> Exit {
        self.0.exit
    }

    /// What happened, in one sentence.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// Why, the nearest cause first.
    pub fn causes(&self) -> &[String] {
        &self.0.causes
    }

    /// What may be done about it.
    pub fn hints(&self) -> &[String] {
        &self.0.hints
    }

    /// The object that is written to stderr under `-o json`.
    pub fn to_json(&self) -> serde_json::Value {
        json!({
            "code": self.0.code.id,
            "message": self.0.message,
            "causes": self.0.causes,
            "hints": self.0.hints,
        })
    }

    /// What a person reads, in colour; the caller strips it where colour is off.
    pub fn to_text(&self) -> String {
        let mut text = format!("\x1b[1;31merror[{}]\x1b[0m: {}\n", self.0.code.id, self.0.message);
        for cause in &self.0.causes {
            text.push_str(&format!("  caused by: {}\n", cause.trim_end().replace('\n', "\n             ")));
        }
        for hint in &self.0.hints {
            text.push_str(&format!("\x1b[1;36mhint\x1b[0m: {hint}\n"));
        }
        text
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.0.code.id, self.0.message)?;
        for cause in &self.0.causes {
            write!(f, ": {cause}")?;
        }
        Ok(())
    }
}

impl StdError for Error {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::CFG001;

    fn example() -> Error {
        let source = std::io::Error::other("the disk said no");
        Error::new(&CFG001, "cannot read rtc.toml").with_source(&source).with_hint("look at the disk")
    }

    #[test]
    fn what_others_wrote_moves_no_cursor() {
        let error = Error::new(&INT001, "a\u{1b}[31mb").with_cause("c\rd\n  e").with_hint("f\u{7}");
        assert_eq!(error.message(), "a\u{fffd}[31mb");
        assert_eq!((error.causes()[0].as_str(), error.hints()[0].as_str()), ("c\u{fffd}d\n  e", "f\u{fffd}"));
    }

    #[test]
    fn an_error_shows_its_code_its_causes_and_its_hints() {
        let text = anstream::adapter::strip_str(&example().to_text()).to_string();
        assert_eq!(
            text,
            "error[CFG001]: cannot read rtc.toml\n  caused by: the disk said no\nhint: look at the disk\n"
        );
    }

    #[test]
    fn the_json_form_has_exactly_the_documented_fields() {
        let json = example().to_json();
        assert_eq!(
            json,
            json!({
                "code": "CFG001",
                "message": "cannot read rtc.toml",
                "causes": ["the disk said no"],
                "hints": ["look at the disk"],
            })
        );
    }

    #[test]
    fn a_cause_that_repeats_the_one_above_is_said_once() {
        let error = Error::internal("x").with_cause("same").with_cause("same");
        assert_eq!(error.causes().len(), 1);
    }
}
