//! The platform on this machine, seen through its data directory: `run.json`, the lock, the process.
//!
//! Invariants: nothing here changes anything except [`Process::terminate`]; a process id from a file is never trusted
//! alone, since ids are used again.

use std::fs::File;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use codes::{Error, Result};
use kernel::Timestamp;
use rustix::fs::{FlockOperation, flock};
use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use serde::{Deserialize, Serialize};
use settings::Secret;

/// What a running rtcd says about itself in `run.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunFile {
    pub pid: i32,
    pub api_url: String,
    pub admin_url: String,
    pub started_at: Timestamp,
    pub version: String,
}

/// The data directory of the platform on this machine.
#[derive(Debug, Clone)]
pub struct DataDir(PathBuf);

/// Whether some process holds the lock of the data directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lock {
    Free,
    Held,
}

impl DataDir {
    pub fn new(path: PathBuf) -> Self {
        Self(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    pub fn run_file(&self) -> PathBuf {
        self.0.join("run.json")
    }

    pub fn log(&self) -> PathBuf {
        self.0.join("rtcd.log")
    }

    pub fn lock_file(&self) -> PathBuf {
        self.0.join("rtcd.lock")
    }

    /// Reads `run.json`. `None` where there is none, or where it does not say what it should.
    pub fn read_run_file(&self) -> Option<RunFile> {
        serde_json::from_slice(&std::fs::read(self.run_file()).ok()?).ok()
    }

    /// The platform that is running now: `run.json` of a process that is alive and is rtcd.
    pub fn running(&self) -> Option<(RunFile, Process)> {
        let run = self.read_run_file()?;
        let process = Process::new(run.pid)?;
        (process.is_alive() && process.is_rtcd()).then_some((run, process))
    }

    /// A secret that rtcd keeps for the operator. `None` where the file is missing.
    pub fn secret(&self, name: &str) -> Result<Option<Secret>> {
        let path = self.0.join("secrets").join(name);
        match std::fs::read_to_string(&path) {
            Ok(text) => Ok(Some(Secret::new(text.trim_end()))),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => {
                Err(Error::new(&codes::CFG008, format!("cannot read {}", path.display())).with_source(&error))
            }
        }
    }

    /// The process id that the lock's holder wrote into it.
    pub fn lock_holder(&self) -> Option<i32> {
        std::fs::read_to_string(self.lock_file()).ok()?.trim().parse().ok()
    }

    /// Looks whether the lock is held, without keeping it.
    pub fn lock(&self) -> Lock {
        let Ok(file) = File::open(self.lock_file()) else { return Lock::Free };
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Lock::Free,
            Err(_) => Lock::Held,
        }
    }
}

/// A process of this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Process(Pid);

impl Process {
    pub fn new(pid: i32) -> Option<Self> {
        (pid > 1).then(|| Pid::from_raw(pid)).flatten().map(Self)
    }

    pub fn id(self) -> i32 {
        self.0.as_raw_nonzero().get()
    }

    /// Whether it exists and is not merely waiting to be collected.
    pub fn is_alive(self) -> bool {
        match test_kill_process(self.0) {
            Ok(()) | Err(rustix::io::Errno::PERM) => !self.is_zombie(),
            Err(_) => false,
        }
    }

    fn is_zombie(self) -> bool {
        let Ok(stat) = std::fs::read_to_string(format!("/proc/{}/stat", self.id())) else { return false };
        // The name in parentheses may itself hold parentheses and spaces.
        stat.rsplit_once(')').is_some_and(|(_, rest)| rest.trim_start().starts_with('Z'))
    }

    /// Whether the program is rtcd, as far as this system tells.
    pub fn is_rtcd(self) -> bool {
        let id = self.id();
        let Ok(program) = std::fs::read_link(format!("/proc/{id}/exe")) else {
            // Without /proc, or for another user's process, the name is the next best witness.
            return match std::fs::read_to_string(format!("/proc/{id}/comm")) {
                Ok(name) => name.trim() == "rtcd",
                Err(_) => !Path::new("/proc/self").exists(),
            };
        };
        // A binary that was built anew while it runs carries " (deleted)".
        let name = program.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        name == "rtcd" || name.starts_with("rtcd ")
    }

    /// Resident memory in bytes, where this system tells.
    pub fn resident_bytes(self) -> Option<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.id())).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
        line.trim().trim_end_matches("kB").trim().parse::<u64>().ok().map(|kilobytes| kilobytes * 1024)
    }

    /// Asks it to drain and end.
    pub fn terminate(self) -> Result<()> {
        match kill_process(self.0, Signal::TERM) {
            Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
            Err(error) => {
                Err(Error::new(&codes::RUN013, format!("rtcd (pid {}) may not be signalled", self.id()))
                    .with_source(&error))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_directory_runs_nothing_and_locks_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let data = DataDir::new(folder.path().join("none"));
        assert!(data.running().is_none());
        assert_eq!(data.lock(), Lock::Free);
        assert_eq!(data.secret("admin_token").unwrap(), None);
    }

    #[test]
    fn a_held_lock_is_seen_and_a_free_one_too() {
        let folder = tempfile::tempdir().unwrap();
        let data = DataDir::new(folder.path().to_owned());
        let file = File::create(data.lock_file()).unwrap();
        assert_eq!(data.lock(), Lock::Free);
        flock(&file, FlockOperation::NonBlockingLockExclusive).unwrap();
        assert_eq!(data.lock(), Lock::Held);
    }

    #[test]
    fn a_living_process_that_is_not_rtcd_does_not_pass_for_one() {
        let own = i32::try_from(std::process::id()).unwrap();
        let process = Process::new(own).unwrap();
        assert!(process.is_alive());
        assert!(!process.is_rtcd());
        let folder = tempfile::tempdir().unwrap();
        let data = DataDir::new(folder.path().to_owned());
        let run = RunFile {
            pid: own,
            api_url: "http://127.0.0.1:1".to_owned(),
            admin_url: "http://127.0.0.1:2".to_owned(),
            started_at: Timestamp::EPOCH,
            version: "0.1.0".to_owned(),
        };
        std::fs::write(data.run_file(), serde_json::to_vec(&run).unwrap()).unwrap();
        assert_eq!(data.read_run_file(), Some(run));
        assert!(data.running().is_none());
    }

    #[test]
    fn the_first_process_and_nonsense_are_never_touched() {
        for pid in [1, 0, -1, i32::MIN] {
            assert!(Process::new(pid).is_none());
        }
    }
}
