//! The data directory: one rtcd at a time, and a file that says where it is to be reached.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, Write};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use host::StartError;
use kernel::Timestamp;
use rustix::fs::{FlockOperation, flock};
use serde::Serialize;

/// Held for as long as this process uses the directory. The kernel lets go of it when the process dies.
pub struct DataDir {
    path: PathBuf,
    _lock: File,
}

#[derive(Serialize)]
struct Run<'a> {
    pid: u32,
    api_url: String,
    admin_url: String,
    started_at: Timestamp,
    version: &'a str,
}

impl DataDir {
    pub fn open(path: &Path) -> Result<Self, StartError> {
        let failed =
            |error: std::io::Error| StartError::DataDir { path: path.to_owned(), reason: error.to_string() };
        if !path.exists() {
            std::fs::create_dir_all(path).map_err(failed)?;
            // The databases in it are nobody else's business on this machine.
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o700)).map_err(failed)?;
        }
        let file = path.join("rtcd.lock");
        let mut lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(file)
            .map_err(failed)?;
        if flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err() {
            let mut pid = String::new();
            let _ = lock.read_to_string(&mut pid);
            let holder = if pid.trim().is_empty() { String::new() } else { format!(" (pid {})", pid.trim()) };
            return Err(StartError::Locked { path: path.to_owned(), holder });
        }
        let written = lock
            .set_len(0)
            .and_then(|()| lock.rewind())
            .and_then(|()| write!(lock, "{}", std::process::id()));
        written.map_err(failed)?;
        // What a killed predecessor left says nothing about us.
        let _ = std::fs::remove_file(path.join("run.json"));
        Ok(Self { path: path.to_owned(), _lock: lock })
    }

    /// Says where this process is to be reached. Written aside and renamed, so that it is whole or not there.
    pub fn announce(
        &self,
        api: SocketAddr,
        admin: SocketAddr,
        started_at: Timestamp,
    ) -> Result<(), StartError> {
        let run = Run {
            pid: std::process::id(),
            api_url: format!("http://{api}"),
            admin_url: format!("http://{admin}"),
            started_at,
            version: env!("CARGO_PKG_VERSION"),
        };
        let failed = |reason: String| StartError::DataDir { path: self.path.clone(), reason };
        let text = serde_json::to_string_pretty(&run).map_err(|error| failed(error.to_string()))?;
        let aside = self.path.join(".run.json.new");
        std::fs::write(&aside, text)
            .and_then(|()| std::fs::rename(&aside, self.path.join("run.json")))
            .map_err(|error| failed(error.to_string()))
    }

    pub fn withdraw(&self) {
        let _ = std::fs::remove_file(self.path.join("run.json"));
    }
}
