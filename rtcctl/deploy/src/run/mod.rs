//! A rollout, driven step by step.
//!
//! - [`Plan`] is what was decided before the first step; [`Book`] is the journal of what happened since;
//! - [`Driver`] does what [`rollout::lifecycle`] says comes next.
//!
//! Invariants: before the cluster is changed, the journal says what is about to be done; a run that lost its process is
//! taken up where its journal ends, and does nothing a second time that would not come to the same; whatever ends a run
//! is in its journal before anybody is told.

mod book;
mod canary;
mod collect;
mod drive;
mod plan;
mod steps;
mod watch;

pub use book::{Book, Recorded};
pub use canary::pods_beside;
pub use drive::{Driver, End, News, Word};
pub use plan::{Action, Migration, Plan, Strategy};

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
    /// There is nothing stable that a canary could stand beside.
    #[error("nothing runs that a second version could stand beside")]
    NothingStable,
    #[error("the canary cannot be meant: {0}")]
    Canary(String),
}

pub type Result<T, E = Error> = std::result::Result<T, E>;
