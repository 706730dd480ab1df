//! Objects as files of a folder, under their keys.
//!
//! Invariants: a file is written aside, synced and renamed, and its directories are synced, so that after a crash it is
//! whole or not there; what lies aside is under a name that no key has.

use std::fs::{self, File, FileTimes};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use async_trait::async_trait;
use bytes::Bytes;
use kernel::{Clock, IdSource, SystemClock, Timestamp};

use crate::{Error, Key, LIST_MAX, Listed, Object, Objects};

const ASIDE: &str = ".aside";
/// What was left aside by a process that died is cleared away by the next one after this time.
const ASIDE_KEPT_FOR: Duration = Duration::from_secs(3_600);

pub struct Folder {
    root: PathBuf,
    ids: IdSource,
}

impl Folder {
    pub fn new(root: impl Into<PathBuf>, ids: IdSource) -> Self {
        let root = root.into();
        clear_aside(&root.join(ASIDE));
        Self { root, ids }
    }

    fn path(&self, key: &Key) -> PathBuf {
        self.root.join(key.as_str())
    }
}

/// Files have the machine's time, whatever clock the platform runs by.
fn file_time() -> std::time::SystemTime {
    UNIX_EPOCH + Duration::from_millis(u64::try_from(SystemClock.now().as_millis()).unwrap_or(0))
}

fn modified_at(metadata: &fs::Metadata) -> Timestamp {
    Timestamp::from_millis(metadata.mtime() * 1_000 + metadata.mtime_nsec() / 1_000_000)
}

fn etag(metadata: &fs::Metadata) -> String {
    format!("{:x}-{:x}-{:x}", metadata.len(), metadata.mtime(), metadata.mtime_nsec())
}

fn clear_aside(aside: &Path) {
    let now = SystemClock.now();
    for entry in fs::read_dir(aside).into_iter().flatten().flatten() {
        if entry.metadata().is_ok_and(|found| now.since(modified_at(&found)) > ASIDE_KEPT_FOR) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// Syncs every directory from a file's own up to the root: each may have been made for it.
fn sync_directories(root: &Path, path: &Path) -> io::Result<()> {
    for directory in path.ancestors().skip(1) {
        sync_directory(directory)?;
        if directory == root {
            break;
        }
    }
    Ok(())
}

fn write_durably(root: &Path, path: &Path, aside: &Path, bytes: &[u8]) -> io::Result<()> {
    fs::create_dir_all(path.parent().unwrap_or(root))?;
    fs::create_dir_all(aside.parent().unwrap_or(root))?;
    let mut file = File::create_new(aside)?;
    let written = file.write_all(bytes).and_then(|()| file.sync_all()).and_then(|()| fs::rename(aside, path));
    if written.is_err() {
        let _ = fs::remove_file(aside);
    }
    written?;
    sync_directories(root, path)
}

/// The same content again costs no writing: the file becomes as new as now. False where it is not there any more.
fn touch_same(path: &Path, bytes: &[u8]) -> io::Result<bool> {
    let is_same = fs::metadata(path).is_ok_and(|found| found.len() == bytes.len() as u64)
        && fs::read(path).is_ok_and(|found| found == bytes);
    if !is_same {
        return Ok(false);
    }
    let file = File::options().write(true).open(path)?;
    file.set_times(FileTimes::new().set_modified(file_time()))?;
    // Between the look and the touch somebody may have removed it.
    Ok(path.exists())
}

fn read(path: &Path) -> io::Result<Option<Object>> {
    let found = File::open(path).and_then(|mut file| {
        let metadata = file.metadata()?;
        let mut bytes = Vec::with_capacity(usize::try_from(metadata.len()).unwrap_or(0));
        io::Read::read_to_end(&mut file, &mut bytes)?;
        Ok(Object { bytes: bytes.into(), etag: etag(&metadata) })
    });
    found.map(Some).or_else(missing_as(None))
}

fn missing_as<T>(value: T) -> impl FnOnce(io::Error) -> io::Result<T> {
    |error| match error.kind() {
        ErrorKind::NotFound | ErrorKind::NotADirectory | ErrorKind::IsADirectory => Ok(value),
        _ => Err(error),
    }
}

/// Walks a directory in the order of keys and stops at `limit`.
fn walk(
    root: &Path,
    at: &str,
    prefix: &str,
    after: Option<&str>,
    limit: usize,
    found: &mut Vec<Listed>,
) -> io::Result<()> {
    let entries = match fs::read_dir(root.join(at)) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry?;
        let mut name = format!("{at}{}", entry.file_name().to_string_lossy());
        // With its separator a directory stands where its keys stand: `a-b` comes before `a/b`.
        if entry.file_type()?.is_dir() {
            name.push('/');
        }
        names.push(name);
    }
    names.sort_unstable();
    for name in names {
        if found.len() >= limit {
            break;
        }
        if name.ends_with('/') {
            let may_hold = name.starts_with(prefix) || prefix.starts_with(&name);
            let is_behind = after.is_some_and(|after| name.as_str() < after && !after.starts_with(&name));
            if may_hold && !is_behind {
                walk(root, &name, prefix, after, limit, found)?;
            }
        } else if name.starts_with(prefix)
            && after.is_none_or(|after| name.as_str() > after)
            && let Ok(key) = Key::new(name)
            && let Ok(metadata) = fs::metadata(root.join(key.as_str()))
        {
            found.push(Listed { key, bytes: metadata.len(), modified_at: modified_at(&metadata) });
        }
    }
    Ok(())
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, Error> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| Error::Unavailable(error.to_string()))?.map_err(|error| match error.kind() {
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => Error::Refused(error.to_string()),
        _ => Error::Unavailable(error.to_string()),
    })
}

#[async_trait]
impl Objects for Folder {
    async fn put(&self, key: &Key, bytes: Bytes, _: &str) -> Result<(), Error> {
        let (root, path) = (self.root.clone(), self.path(key));
        let aside = root.join(ASIDE).join(self.ids.uuid().as_simple().to_string());
        blocking(move || {
            if touch_same(&path, &bytes)? {
                return Ok(());
            }
            write_durably(&root, &path, &aside, &bytes)
        })
        .await
    }

    async fn get(&self, key: &Key) -> Result<Option<Object>, Error> {
        let path = self.path(key);
        blocking(move || read(&path)).await
    }

    async fn exists(&self, key: &Key) -> Result<bool, Error> {
        let path = self.path(key);
        blocking(move || fs::metadata(&path).map(|found| found.is_file()).or_else(missing_as(false))).await
    }

    async fn remove(&self, key: &Key) -> Result<(), Error> {
        let path = self.path(key);
        blocking(move || match fs::remove_file(&path) {
            Ok(()) => sync_directory(path.parent().unwrap_or(&path)),
            Err(error) => missing_as(())(error),
        })
        .await
    }

    async fn list(&self, prefix: &str, after: Option<&Key>, limit: usize) -> Result<Vec<Listed>, Error> {
        let (root, prefix, after) = (self.root.clone(), prefix.to_owned(), after.cloned());
        blocking(move || {
            let mut found = Vec::new();
            walk(&root, "", &prefix, after.as_ref().map(Key::as_str), limit.min(LIST_MAX), &mut found)?;
            Ok(found)
        })
        .await
    }
}
