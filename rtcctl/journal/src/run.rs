//! A run that this process works on.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use kernel::{Clock, Timestamp};
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use crate::entry::{Entry, Stamped};
use crate::{Error, Result, disk};

pub(crate) const HEADER: &str = "run.json";
pub(crate) const STEPS: &str = "steps.ndjson";
pub(crate) const EVIDENCE: &str = "evidence";
const LOCK: &str = "lock";

/// What a run is begun with.
#[derive(Debug, Clone, Default)]
pub struct Start {
    /// The words of the command: `infra apply`.
    pub command: String,
    pub environment: String,
    /// What was asked for. Never a secret.
    pub inputs: BTreeMap<String, String>,
    /// `user@host`
    pub by: String,
    /// Of rtcctl.
    pub version: String,
}

impl Start {
    /// `20261121-095812-417-infra-apply-dev-3f2a`: sorts by time to the millisecond, reads as what it is.
    pub(crate) fn id(&self, at: Timestamp, chance: u64) -> String {
        let time =
            at.in_zone("UTC").map_or_else(String::new, |time| time.strftime("%Y%m%d-%H%M%S-%3f").to_string());
        let mut id = time;
        for word in self.command.split_whitespace().chain([self.environment.as_str()]) {
            let plain: String = word
                .chars()
                .filter(|letter| letter.is_ascii_alphanumeric() || *letter == '-')
                .take(24)
                .collect();
            if !plain.is_empty() {
                id.push('-');
                id.push_str(&plain.to_ascii_lowercase());
            }
        }
        format!("{id}-{:04x}", chance & 0xffff)
    }
}

/// The first page of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    pub schema: String,
    pub run: String,
    pub command: String,
    pub environment: String,
    pub inputs: BTreeMap<String, String>,
    pub by: String,
    pub rtcctl: String,
    pub started_at: Timestamp,
}

impl Header {
    pub const SCHEMA: &str = "rtcctl/run/v1";

    pub(crate) fn new(run: String, start: Start, started_at: Timestamp) -> Self {
        Self {
            schema: Self::SCHEMA.to_owned(),
            run,
            command: start.command,
            environment: start.environment,
            inputs: start.inputs,
            by: start.by,
            rtcctl: start.version,
            started_at,
        }
    }
}

/// A run that is being written. The lock is free again when it is dropped, however the process ends.
#[derive(Debug)]
pub struct Run {
    folder: PathBuf,
    steps: File,
    clock: Arc<dyn Clock>,
    _lock: File,
}

fn open(path: &Path, options: &mut OpenOptions) -> Result<File> {
    options.mode(0o600).open(path).map_err(disk(path))
}

/// Whether the lock was free; then it is ours for as long as the file lives.
fn take_lock(folder: &Path) -> Result<Option<File>> {
    let path = folder.join(LOCK);
    let file = open(&path, OpenOptions::new().write(true).create(true).truncate(false))?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(Some(file)),
        Err(Errno::WOULDBLOCK) => Ok(None),
        Err(error) => Err(disk(&path)(error.into())),
    }
}

pub(crate) fn is_held(folder: &Path) -> Result<bool> {
    Ok(folder.join(LOCK).exists() && take_lock(folder)?.is_none())
}

impl Run {
    pub(crate) fn begin(folder: PathBuf, header: Header, clock: Arc<dyn Clock>) -> Result<Self> {
        let lock = take_lock(&folder)?.ok_or_else(|| Error::Busy(header.run.clone()))?;
        let path = folder.join(STEPS);
        let steps = open(&path, OpenOptions::new().append(true).create_new(true))?;
        // Last, so that a run with a header is whole.
        let (page, path) = (folder.join("run.json.new"), folder.join(HEADER));
        let mut file = open(&page, OpenOptions::new().write(true).create_new(true))?;
        let text = serde_json::to_string_pretty(&header).map_err(|error| disk(&page)(error.into()))?;
        file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(disk(&page))?;
        fs::rename(&page, &path).map_err(disk(&path))?;
        File::open(&folder).and_then(|folder| folder.sync_all()).map_err(disk(&folder))?;
        Ok(Self { folder, steps, clock, _lock: lock })
    }

    pub(crate) fn resume(folder: PathBuf, clock: Arc<dyn Clock>) -> Result<Self> {
        let lock = take_lock(&folder)?.ok_or_else(|| Error::Busy(name_of(&folder)))?;
        let path = folder.join(STEPS);
        let mut steps = open(&path, OpenOptions::new().read(true).append(true))?;
        cut_torn_line(&mut steps).map_err(disk(&path))?;
        Ok(Self { folder, steps, clock, _lock: lock })
    }

    pub fn id(&self) -> String {
        name_of(&self.folder)
    }

    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Writes an entry; it is on disk when this returns.
    ///
    /// # Errors
    /// The disk refuses. What was to be done after this entry must not be done.
    pub fn append(&mut self, entry: Entry) -> Result<()> {
        let path = self.folder.join(STEPS);
        let stamped = Stamped { at: self.clock.now(), entry };
        let mut line = serde_json::to_vec(&stamped).map_err(|error| disk(&path)(error.into()))?;
        line.push(b'\n');
        // One write: another reader sees all of it or a line that is cut off at the end.
        self.steps.write_all(&line).and_then(|()| self.steps.sync_data()).map_err(disk(&path))
    }

    /// Where to put a file of evidence. Its folder is made with the first.
    ///
    /// # Errors
    /// The name leads elsewhere, or the folder cannot be made.
    pub fn evidence(&self, name: &str) -> Result<PathBuf> {
        let is_plain = !name.is_empty()
            && !name.starts_with('.')
            && name.chars().all(|letter| letter.is_ascii_alphanumeric() || "._-".contains(letter));
        if !is_plain {
            return Err(Error::Name(name.to_owned()));
        }
        let folder = self.folder.join(EVIDENCE);
        DirBuilder::new().recursive(true).mode(0o700).create(&folder).map_err(disk(&folder))?;
        Ok(folder.join(name))
    }
}

/// What a death left of a line is taken off, so that the next one stands alone.
fn cut_torn_line(steps: &mut File) -> std::io::Result<()> {
    let mut text = Vec::new();
    steps.seek(SeekFrom::Start(0))?;
    steps.read_to_end(&mut text)?;
    let whole = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
    if whole < text.len() {
        steps.set_len(whole as u64)?;
        steps.sync_data()?;
    }
    Ok(())
}

pub(crate) fn name_of(folder: &Path) -> String {
    folder.file_name().unwrap_or_default().to_string_lossy().into_owned()
}
