//! Jenkins over HTTP: jobs, the queue, builds, logs, stages, inputs; nothing of it knows a terminal.
//!
//! Invariants: redirects are never followed (a redirect is an answer of Jenkins, or a login page); of a `Location` only
//! the number is believed, for a Jenkins behind a proxy names itself wrongly; parameters are checked before a build is
//! asked for, for Jenkins drops unknown ones silently; no error carries a credential; jobs as code have no place for one.

mod build;
mod client;
mod definition;
mod error;
mod input;
mod job;
mod log;
mod name;
mod queue;
mod shown;
mod stage;
#[cfg(feature = "testing")]
pub mod testing;
#[cfg(test)]
mod tests;
mod tree;
mod watch;

pub use build::{Build, BuildResult, Cause};
pub use client::{Client, Login};
pub use definition::{
    Adopting, Change, DefaultValue, Described, DescribedKind, Description, Difference, Filled, Keep, Kind,
    Planned, Refusal, Sync, Triggers,
};
pub use error::{Error, Result};
pub use input::{Input, InputParameter};
pub use job::{Job, JobKind, Parameter, ParameterKind, Problem, check};
pub use log::{Chunk, Log};
pub use name::{JobName, Place};
pub use queue::{Item, Queued};
pub use shown::{Colours, Shown};
pub use stage::{Stage, StageStatus};
pub use tree::{Beside, Branch, complete};
pub use watch::{Event, From, Pace, Watch};
