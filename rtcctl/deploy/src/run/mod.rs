//! A rollout, driven step by step.
//!
//! - [`Plan`] is what was decided before the first step; [`Book`] is the journal of what happened since;
//! - [`Driver`] does what [`rollout::lifecycle`] says comes next; a strategy with a second version beside the first is a
//!   list of steps of [`rollout::canary`], gone through while it applies;
//! - [`colours`] is what a second version in full consists of, and what leads traffic to it.
//!
//! Invariants: before the cluster is changed, the journal says what is about to be done; a run that lost its process is
//! taken up where its journal ends, and does nothing a second time that would not come to the same; whatever ends a run
//! is in its journal before anybody is told.

mod back;
mod beside;
mod book;
mod collect;
pub mod colours;
mod drive;
mod plan;
mod steps;
mod stranded;
mod switch;
mod watch;

pub use beside::{pods_beside, pods_of_share};
pub use book::{Book, Recorded};
pub use drive::{Driver, End, News, Word};
pub use plan::{Action, Migration, Plan, Removal, Strategy};

use crate::revision::{Head, Other};

/// Why a run cannot go on. It can be taken up again.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Cluster(#[from] kubernetes::Error),
    #[error(transparent)]
    Journal(#[from] journal::Error),
    #[error("the run {run} cannot be taken up: {reason}")]
    Unusable { run: String, reason: String },
    #[error("the API's answer cannot be followed")]
    Answer(#[from] rollout::objects::Error),
    #[error("{path}: {source}")]
    Disk { path: std::path::PathBuf, source: std::io::Error },
    /// There is nothing stable that a second version could stand beside.
    #[error("nothing runs that a second version could stand beside")]
    NothingStable,
    /// A revision that is newer than the run's own, or than what it has found.
    #[error(
        "revision {} is newer: {} by {} ({}); the run {run} would replace it", .newer.number,
        .newer.command, .newer.by, .newer.run
    )]
    Overtaken { run: String, newer: Box<Head> },
    #[error("the run {run} was begun on {began_on}, and this is {}", elsewhere(.began_on, .is_on))]
    Elsewhere { run: String, began_on: String, is_on: String },
    #[error("{0}")]
    UnderWay(Box<Other>),
    /// Whoever asks for no track would find them.
    #[error("{0} pods of the second version are still there a minute after it was deleted")]
    Lingering(usize),
    #[error("the second version cannot be meant: {0}")]
    Beside(String),
}

/// A name of a place that tells it from another.
fn elsewhere(began_on: &str, is_on: &str) -> String {
    match began_on == is_on {
        true => "another cluster of that address: its certificate authority is another one".to_owned(),
        false => is_on.to_owned(),
    }
}

pub type Result<T, E = Error> = std::result::Result<T, E>;
