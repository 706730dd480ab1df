//! What `rtcctl` did: a folder a run.
//!
//! ```text
//! ROOT/20261121-095812-000-infra-apply-dev-3f2a/
//!   run.json        who began what, where and when; never written again
//!   steps.ndjson    one line an entry, appended and synced
//!   lock            held for as long as a process works on the run
//!   evidence/       whatever was kept to look at later
//! ```
//!
//! Invariants:
//! - entries are appended, never changed; one that is in the file was on disk before the next thing was done;
//! - a last line that was cut off by a death is passed by, and is the only one that may be;
//! - whether somebody works on a run is whether its lock is held: no process id that another process may have now;
//! - no secret is given to it: it masks nothing.

mod entry;
mod record;
mod run;

pub use entry::{Child, Entry, Stamped};
pub use record::{Record, State, Step, StepState};
pub use run::{Header, Run, Start};

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use kernel::Clock;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{path}: {source}")]
    Disk { path: PathBuf, source: io::Error },
    #[error("{path}, line {line}: {reason}")]
    Unreadable { path: PathBuf, line: usize, reason: String },
    #[error("there is no run {0}")]
    NotFound(String),
    #[error("{wanted} may be any of {}", candidates.join(", "))]
    Ambiguous { wanted: String, candidates: Vec<String> },
    #[error("another process works on the run {0}")]
    Busy(String),
    #[error("the run {0} has ended")]
    Ended(String),
    #[error("{0:?} is no name for a file of evidence")]
    Name(String),
}

pub type Result<T, E = Error> = std::result::Result<T, E>;

pub(crate) fn disk(path: &Path) -> impl FnOnce(io::Error) -> Error {
    let path = path.to_owned();
    move |source| Error::Disk { path, source }
}

/// All runs, below one folder.
#[derive(Debug, Clone)]
pub struct Journal {
    root: PathBuf,
    clock: Arc<dyn Clock>,
}

impl Journal {
    /// The folder is made with the first run.
    pub fn new(root: PathBuf, clock: Arc<dyn Clock>) -> Self {
        Self { root, clock }
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Begins a run. `chance` keeps apart two that begin in the same second.
    ///
    /// # Errors
    /// The folder cannot be made or written.
    pub fn begin(&self, start: Start, chance: u64) -> Result<Run> {
        DirBuilder::new().recursive(true).mode(0o700).create(&self.root).map_err(disk(&self.root))?;
        let started_at = self.clock.now();
        let id = start.id(started_at, chance);
        let folder = self.root.join(&id);
        DirBuilder::new().mode(0o700).create(&folder).map_err(disk(&folder))?;
        Run::begin(folder, Header::new(id, start, started_at), self.clock.clone())
    }

    /// Takes up a run that was interrupted.
    ///
    /// # Errors
    /// There is none such, another process works on it, or it has ended.
    pub fn resume(&self, wanted: &str) -> Result<(Run, Record)> {
        let id = self.find(wanted)?;
        let run = Run::resume(self.root.join(&id), self.clock.clone())?;
        let record = self.read(&id)?;
        match record.end() {
            Some(_) => Err(Error::Ended(id)),
            None => Ok((run, record)),
        }
    }

    /// The ids of all runs, the latest first.
    ///
    /// # Errors
    /// The folder cannot be read; one that is not there is empty.
    pub fn ids(&self) -> Result<Vec<String>> {
        let entries = match fs::read_dir(&self.root) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(disk(&self.root)(error)),
        };
        let mut ids: Vec<String> = entries
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            // A run whose beginning was cut off has no header.
            .filter(|id| self.root.join(id).join(run::HEADER).is_file())
            .collect();
        ids.sort_unstable_by(|a, b| b.cmp(a));
        Ok(ids)
    }

    /// The id that `wanted` is, or begins, or ends; `last` is the latest.
    ///
    /// # Errors
    /// It is none, or several.
    pub fn find(&self, wanted: &str) -> Result<String> {
        let ids = self.ids()?;
        if wanted == "last"
            && let Some(latest) = ids.first()
        {
            return Ok(latest.clone());
        }
        if ids.iter().any(|id| id == wanted) {
            return Ok(wanted.to_owned());
        }
        let mut candidates: Vec<String> = ids
            .into_iter()
            .filter(|id| !wanted.is_empty() && (id.starts_with(wanted) || id.ends_with(wanted)))
            .collect();
        match (candidates.pop(), candidates.is_empty()) {
            (Some(only), true) => Ok(only),
            (Some(one), false) => {
                candidates.push(one);
                Err(Error::Ambiguous { wanted: wanted.to_owned(), candidates })
            }
            (None, _) => Err(Error::NotFound(wanted.to_owned())),
        }
    }

    /// All that is known of a run.
    ///
    /// # Errors
    /// There is none such, or a line of it that was not the last is no entry.
    pub fn read(&self, wanted: &str) -> Result<Record> {
        let id = self.find(wanted)?;
        Record::read(&self.root.join(id))
    }
}

#[cfg(test)]
mod tests;
