//! What there is to tell.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use masking::masked;
use serde::{Deserialize, Serialize};

/// What a run came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// All of it was done, and verified where it could be.
    Released,
    /// It failed, and what ran before runs again.
    RolledBack,
    /// It failed; what it left is in the journal.
    Failed,
    /// A guard said no before anything was changed, or nobody said yes.
    Refused,
    /// It was done, and whether it is well could not be told: no data, or too few samples.
    Inconclusive,
    /// Somebody stopped it.
    Stopped,
}

impl Outcome {
    pub const ALL: [Self; 6] =
        [Self::Released, Self::RolledBack, Self::Failed, Self::Refused, Self::Inconclusive, Self::Stopped];

    /// By the public exit codes of rtcctl.
    pub fn of_exit(exit: u8) -> Self {
        match exit {
            0 => Self::Released,
            24 => Self::RolledBack,
            7 => Self::Refused,
            31 => Self::Inconclusive,
            28 | 130 | 143 => Self::Stopped,
            _ => Self::Failed,
        }
    }

    /// As `on` of a receiver and the JSON of a webhook have it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Released => "released",
            Self::RolledBack => "rolled_back",
            Self::Failed => "failed",
            Self::Refused => "refused",
            Self::Inconclusive => "inconclusive",
            Self::Stopped => "stopped",
        }
    }

    /// As a person says it.
    pub(crate) fn said(self) -> &'static str {
        match self {
            Self::RolledBack => "failed and was rolled back",
            Self::Failed => "failed",
            Self::Released => "released",
            Self::Refused => "refused",
            Self::Inconclusive => "could not be judged",
            Self::Stopped => "was stopped",
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

impl FromStr for Outcome {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|outcome| outcome.word() == text).ok_or_else(|| {
            let words: Vec<&str> = Self::ALL.iter().map(|outcome| outcome.word()).collect();
            format!("{text:?} is no outcome; there are {}", words.join(", "))
        })
    }
}

/// Something to look at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    pub label: String,
    /// Anything but `http://` and `https://` is left out, and said to be.
    pub url: String,
}

impl Link {
    pub fn new(label: impl Into<String>, url: impl Into<String>) -> Self {
        Self { label: label.into(), url: url.into() }
    }
}

/// What is told. No text of it need be masked or cut by whoever makes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    pub outcome: Outcome,
    pub environment: String,
    /// The words of the command: `ship`.
    pub command: String,
    /// What changed, a line each: `infrastructure: create 2, change 1`.
    pub changed: Vec<String>,
    /// Who did it: `ann@desk`.
    pub by: String,
    /// The run in the journal.
    pub run: Option<String>,
    /// What runs now: `sha256:…`.
    pub digest: Option<String>,
    /// What ran before.
    pub previous_digest: Option<String>,
    pub took: Option<Duration>,
    /// Why it came to that: the code and the message of an error.
    pub why: Option<String>,
    pub links: Vec<Link>,
    /// When it ended, as RFC 3339 has it.
    pub at: String,
}

impl Notice {
    /// A notice that says the least; the rest is filled in.
    pub fn new(outcome: Outcome, environment: impl Into<String>, command: impl Into<String>) -> Self {
        Self {
            outcome,
            environment: environment.into(),
            command: command.into(),
            changed: Vec::new(),
            by: String::new(),
            run: None,
            digest: None,
            previous_digest: None,
            took: None,
            why: None,
            links: Vec::new(),
            at: String::new(),
        }
    }

    /// The same for every attempt and every receiver: by it a second one is told from the first.
    pub fn id(&self) -> String {
        let run = self.run.as_deref().unwrap_or("no-run");
        let id = format!("{}:{}:{}", masked(run), self.outcome, masked(&self.at));
        // It goes into a header.
        id.chars().map(|letter| if letter.is_ascii_graphic() { letter } else { '-' }).take(200).collect()
    }

    /// One line.
    pub(crate) fn title(&self) -> String {
        format!("{}: {} {}", self.environment, self.command, self.outcome.said())
    }
}

/// `1h 02m`, `3m 07s`, `4.2s`, `120ms`.
pub(crate) fn length(took: Duration) -> String {
    let seconds = took.as_secs();
    match seconds {
        0 => format!("{}ms", took.as_millis()),
        1..=59 => format!("{:.1}s", took.as_secs_f64()),
        60..=3_599 => format!("{}m {:02}s", seconds / 60, seconds % 60),
        _ => format!("{}h {:02}m", seconds / 3_600, seconds % 3_600 / 60),
    }
}
