//! The mailbox on disk: mail appended to files of a bounded size, found again by file and byte offset.
//!
//! Why not a file a letter: a load test sends a thousand a second, and a million small files cost more than the mail.
//! The files are in mbox form (a `From ` line before each message), so that any mail reader opens them; the index is
//! the notification's row.
//!
//! Invariants: a batch is one write and one fsync; a letter that is there twice after a crash (written, not yet noted)
//! is shown once, because only the copy that the row names is shown; the files are their owner's alone; several processes
//! may have one mailbox, and append one after the other.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use kernel::{Clock, Timestamp};

use super::{Mail, Mailer, Outcome};
use crate::config::MailboxConfig;

/// Where a letter lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    pub segment: String,
    pub offset: i64,
    pub length: i64,
}

/// The file that is being appended to.
struct Segment {
    name: String,
    day: String,
    number: u32,
    file: File,
    length: u64,
}

struct Inner {
    directory: PathBuf,
    config: MailboxConfig,
    clock: Arc<dyn Clock>,
    active: Mutex<Option<Segment>>,
}

/// Cheap to clone.
#[derive(Clone)]
pub(crate) struct MailboxOnDisk {
    inner: Arc<Inner>,
}

const ENDING: &str = ".mbox";

/// `2026-03-01.0007.mbox` → (`2026-03-01`, 7).
fn name_parts(name: &str) -> Option<(&str, u32)> {
    let (day, number) = name.strip_suffix(ENDING)?.split_once('.')?;
    Some((day, number.parse().ok()?))
}

fn day_of(at: Timestamp) -> String {
    at.to_string().chars().take(10).collect()
}

impl MailboxOnDisk {
    pub(crate) fn open(directory: &Path, config: MailboxConfig, clock: Arc<dyn Clock>) -> io::Result<Self> {
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
        let inner = Inner { directory: directory.to_owned(), config, clock, active: Mutex::new(None) };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Reads a letter. `Ok(None)` where its file is gone or does not hold it any more.
    pub(crate) async fn read(&self, place: Place) -> io::Result<Option<Vec<u8>>> {
        let inner = self.inner.clone();
        tokio::task::spawn_blocking(move || inner.read(&place)).await.map_err(io::Error::other)?
    }

    #[cfg(test)]
    pub(crate) fn segments(&self) -> io::Result<Vec<String>> {
        self.inner.segments()
    }
}

impl Inner {
    /// The names of the files, oldest first.
    fn segments(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in std::fs::read_dir(&self.directory)? {
            let name = entry?.file_name().to_string_lossy().into_owned();
            if name_parts(&name).is_some() {
                names.push(name);
            }
        }
        names.sort();
        Ok(names)
    }

    fn begin(&self, day: &str, number: u32) -> io::Result<Segment> {
        let name = format!("{day}.{number:04}{ENDING}");
        let path = self.directory.join(&name);
        let file = OpenOptions::new().append(true).create(true).mode(0o600).open(path)?;
        let length = file.metadata()?.len();
        // The name of a new file is durable only with its directory.
        File::open(&self.directory)?.sync_all()?;
        Ok(Segment { name, day: day.to_owned(), number, file, length })
    }

    /// The segment for the next batch: the last one, unless its day is over or it is full.
    fn next_segment(&self, active: Option<Segment>, day: &str) -> io::Result<Segment> {
        let full = |segment: &Segment| segment.length >= self.config.segment_bytes_max;
        let segment = match active {
            Some(segment) if segment.day == day => segment,
            _ => {
                let names = self.segments()?;
                let last = names.iter().filter_map(|name| name_parts(name)).rfind(|(of, _)| *of == day);
                self.begin(day, last.map_or(1, |(_, number)| number))?
            }
        };
        if !full(&segment) {
            return Ok(segment);
        }
        let segment = self.begin(day, segment.number + 1)?;
        self.prune(&segment.name)?;
        Ok(segment)
    }

    /// Removes the oldest files until what is left fits.
    fn prune(&self, active: &str) -> io::Result<()> {
        let names = self.segments()?;
        let size = |name: &String| std::fs::metadata(self.directory.join(name)).map_or(0, |meta| meta.len());
        let mut total: u64 = names.iter().map(size).sum();
        for name in names.iter().filter(|name| name.as_str() != active) {
            if total <= self.config.keep_bytes_max {
                break;
            }
            total = total.saturating_sub(size(name));
            std::fs::remove_file(self.directory.join(name))?;
        }
        Ok(())
    }

    fn append(&self, batch: &[Mail]) -> io::Result<Vec<Place>> {
        let mut active = self.active.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.clock.now();
        let mut segment = self.next_segment(active.take(), &day_of(now))?;
        // Another process may have appended since.
        segment.file.lock()?;
        segment.length = segment.file.metadata()?.len();
        let mut buffer = Vec::with_capacity(batch.iter().map(|mail| mail.bytes.len() + 96).sum());
        let mut places = Vec::with_capacity(batch.len());
        for mail in batch {
            let _ = write!(buffer, "From {} {now}\r\n", mail.from);
            let offset = segment.length + buffer.len() as u64;
            buffer.extend_from_slice(&mail.bytes);
            buffer.extend_from_slice(b"\r\n");
            places.push(Place {
                segment: segment.name.clone(),
                offset: i64::try_from(offset).map_err(io::Error::other)?,
                length: i64::try_from(mail.bytes.len()).map_err(io::Error::other)?,
            });
        }
        let written = segment.file.write_all(&buffer).and_then(|()| segment.file.sync_data());
        if let Err(error) = written {
            // Half a batch is no letter: cut it off. Where even that fails, the next batch begins behind it.
            let _ = segment.file.set_len(segment.length);
            return Err(error);
        }
        segment.file.unlock()?;
        segment.length += buffer.len() as u64;
        *active = Some(segment);
        Ok(places)
    }

    fn read(&self, place: &Place) -> io::Result<Option<Vec<u8>>> {
        // The name comes from our own rows; it still has to be one of ours.
        if name_parts(&place.segment).is_none() || place.segment.contains('/') {
            return Ok(None);
        }
        let mut file = match File::open(self.directory.join(&place.segment)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            opened => opened?,
        };
        let (Ok(offset), Ok(length)) = (u64::try_from(place.offset), usize::try_from(place.length)) else {
            return Ok(None);
        };
        let mut bytes = vec![0; length];
        file.seek(SeekFrom::Start(offset))?;
        match file.read_exact(&mut bytes) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
            read => read.map(|()| Some(bytes)),
        }
    }
}

#[async_trait]
impl Mailer for MailboxOnDisk {
    fn name(&self) -> &'static str {
        "mailbox"
    }

    async fn send(&self, batch: Vec<Mail>) -> Vec<Outcome> {
        let inner = self.inner.clone();
        let (ids, count): (Vec<_>, _) = (batch.iter().map(|m| m.message_id.clone()).collect(), batch.len());
        let written = tokio::task::spawn_blocking(move || inner.append(&batch)).await;
        match written.map_err(io::Error::other).and_then(|written| written) {
            Ok(places) => ids
                .into_iter()
                .zip(places)
                .map(|(provider_id, place)| Outcome::Sent { provider_id, place: Some(place) })
                .collect(),
            Err(error) => {
                let reason = format!("the mailbox cannot be written: {error}");
                vec![Outcome::Unreachable { reason }; count]
            }
        }
    }
}
