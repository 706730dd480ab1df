//! What is known of a run, folded from its lines.

use std::fs;
use std::path::{Path, PathBuf};

use kernel::Timestamp;
use serde_json::Value as Json;

use crate::entry::{Child, Entry, Stamped};
use crate::run::{EVIDENCE, HEADER, Header, STEPS, is_held};
use crate::{Error, Result, disk};

/// Where a run stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// A process works on it.
    UnderWay,
    Ended {
        exit: u8,
    },
    /// Nobody works on it, and it has no end: it can be resumed.
    Interrupted,
}

/// Where a step stands.
#[derive(Debug, Clone, PartialEq)]
pub enum StepState {
    /// Whether it happened is not known.
    Begun,
    Finished {
        outputs: Json,
        took_ms: u64,
    },
    Failed {
        code: String,
        message: String,
    },
    Skipped {
        reason: String,
    },
}

#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    pub name: String,
    /// The digest of what it was begun with; none where it was skipped.
    pub inputs: Option<String>,
    pub state: StepState,
    /// The process that does it, if it is one of its own.
    pub child: Option<Child>,
    pub began_at: Timestamp,
}

/// A run, as it is on disk.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    pub header: Header,
    pub entries: Vec<Stamped>,
    pub state: State,
    folder: PathBuf,
}

impl Record {
    pub(crate) fn read(folder: &Path) -> Result<Self> {
        let path = folder.join(HEADER);
        let text = fs::read(&path).map_err(disk(&path))?;
        let header: Header = serde_json::from_slice(&text).map_err(|error| Error::Unreadable {
            path: path.clone(),
            line: error.line(),
            reason: error.to_string(),
        })?;
        // The lock first: a run that ends meanwhile is seen as ended, not as interrupted.
        let is_held = is_held(folder)?;
        let entries = entries(&folder.join(STEPS))?;
        let end = entries.iter().find_map(|stamped| match stamped.entry {
            Entry::Ended { exit, .. } => Some(exit),
            _ => None,
        });
        let state = match end {
            Some(exit) => State::Ended { exit },
            None if is_held => State::UnderWay,
            None => State::Interrupted,
        };
        Ok(Self { header, entries, state, folder: folder.to_owned() })
    }

    /// The exit code, if it has ended.
    pub fn end(&self) -> Option<u8> {
        match self.state {
            State::Ended { exit } => Some(exit),
            State::UnderWay | State::Interrupted => None,
        }
    }

    /// Every step, in the order of its first beginning; one that was begun again stands as it stood last.
    pub fn steps(&self) -> Vec<Step> {
        let mut steps: Vec<Step> = Vec::new();
        for stamped in &self.entries {
            let (name, inputs, state) = match &stamped.entry {
                Entry::Begun { step, inputs } => (step, Some(inputs.clone()), StepState::Begun),
                Entry::Finished { step, outputs, took_ms } => {
                    (step, None, StepState::Finished { outputs: outputs.clone(), took_ms: *took_ms })
                }
                Entry::Failed { step, code, message } => {
                    (step, None, StepState::Failed { code: code.clone(), message: message.clone() })
                }
                Entry::Skipped { step, reason } => {
                    (step, None, StepState::Skipped { reason: reason.clone() })
                }
                Entry::Child { step, child } => {
                    if let Some(known) = steps.iter_mut().find(|known| known.name == *step) {
                        known.child = Some(*child);
                    }
                    continue;
                }
                Entry::Noted { .. } | Entry::Resumed { .. } | Entry::Ended { .. } => continue,
            };
            match steps.iter_mut().find(|known| known.name == *name) {
                Some(known) => {
                    if inputs.is_some() {
                        known.inputs = inputs;
                        known.child = None;
                        known.began_at = stamped.at;
                    }
                    known.state = state;
                }
                None => {
                    let step = Step { name: name.clone(), inputs, state, child: None, began_at: stamped.at };
                    steps.push(step);
                }
            }
        }
        steps
    }

    /// What a step gave, if it was finished with these inputs: then it need not be done again.
    pub fn finished(&self, step: &str, inputs: &str) -> Option<Json> {
        self.steps()
            .into_iter()
            .find(|known| known.name == step && known.inputs.as_deref() == Some(inputs))
            .and_then(|known| match known.state {
                StepState::Finished { outputs, .. } => Some(outputs),
                _ => None,
            })
    }

    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The files that were kept, by name.
    ///
    /// # Errors
    /// The folder cannot be read.
    pub fn evidence(&self) -> Result<Vec<PathBuf>> {
        let folder = self.folder.join(EVIDENCE);
        if !folder.is_dir() {
            return Ok(Vec::new());
        }
        let mut files: Vec<PathBuf> = fs::read_dir(&folder)
            .map_err(disk(&folder))?
            .filter_map(|entry| Some(entry.ok()?.path()))
            .collect();
        files.sort();
        Ok(files)
    }
}

fn entries(path: &Path) -> Result<Vec<Stamped>> {
    let text = fs::read(path).map_err(disk(path))?;
    let mut entries = Vec::new();
    for (index, line) in text.split_inclusive(|byte| *byte == b'\n').enumerate() {
        match serde_json::from_slice(line) {
            Ok(entry) => entries.push(entry),
            // The death of its writer.
            Err(_) if line.last() != Some(&b'\n') => {}
            Err(error) => {
                return Err(Error::Unreadable {
                    path: path.to_owned(),
                    line: index + 1,
                    reason: error.to_string(),
                });
            }
        }
    }
    Ok(entries)
}
