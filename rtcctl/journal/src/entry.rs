//! The lines of a run.

use kernel::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "entry", rename_all = "snake_case")]
pub enum Entry {
    /// `inputs` is a digest of all that decides what the step does: with the same, a finished step is not done again.
    Begun {
        step: String,
        inputs: String,
    },
    /// A process that does the step and may outlive us.
    Child {
        step: String,
        child: Child,
    },
    Finished {
        step: String,
        outputs: Json,
        took_ms: u64,
    },
    Failed {
        step: String,
        code: String,
        message: String,
    },
    Skipped {
        step: String,
        reason: String,
    },
    /// Something to remember; `kind` says what the data is.
    Noted {
        kind: String,
        data: Json,
    },
    /// Another process took the run up.
    Resumed {
        by: String,
    },
    /// Nothing follows.
    Ended {
        exit: u8,
        summary: String,
    },
}

/// By this a later process finds it again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Child {
    pub pid: u32,
    /// Clock ticks after the start of the machine.
    pub born: u64,
}

/// An entry and when it was written.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Stamped {
    pub at: Timestamp,
    #[serde(flatten)]
    pub entry: Entry,
}
