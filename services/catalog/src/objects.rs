//! Where pictures are kept: the port, and a folder behind it.
//!
//! Invariants: an object's name is the SHA-256 of its content, so it never changes and a name from outside that has
//! another form names nothing; an object is whole and on disk before anybody hears its name.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use aws_lc_rs::digest;
use bytes::Bytes;
use kernel::{Error, IdSource, Result};

/// What a picture can be. Vector formats carry scripts and are not among them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ImageKind {
    Jpeg,
    Png,
    Webp,
    Gif,
}

impl ImageKind {
    const ALL: [ImageKind; 4] = [ImageKind::Jpeg, ImageKind::Png, ImageKind::Webp, ImageKind::Gif];

    /// By the first bytes; what the sender says of it does not count.
    pub fn sniff(bytes: &[u8]) -> Option<Self> {
        match bytes {
            [0xff, 0xd8, 0xff, ..] => Some(ImageKind::Jpeg),
            [0x89, b'P', b'N', b'G', b'\r', b'\n', 0x1a, b'\n', ..] => Some(ImageKind::Png),
            [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => Some(ImageKind::Webp),
            [b'G', b'I', b'F', b'8', b'7' | b'9', b'a', ..] => Some(ImageKind::Gif),
            _ => None,
        }
    }

    const fn extension(self) -> &'static str {
        match self {
            ImageKind::Jpeg => "jpg",
            ImageKind::Png => "png",
            ImageKind::Webp => "webp",
            ImageKind::Gif => "gif",
        }
    }

    pub const fn media_type(self) -> &'static str {
        match self {
            ImageKind::Jpeg => "image/jpeg",
            ImageKind::Png => "image/png",
            ImageKind::Webp => "image/webp",
            ImageKind::Gif => "image/gif",
        }
    }
}

/// `<64 hexadecimal digits>.<extension>`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectName {
    text: String,
    kind: ImageKind,
}

impl ObjectName {
    pub fn of(kind: ImageKind, bytes: &[u8]) -> Self {
        let hash = digest::digest(&digest::SHA256, bytes);
        let hex: String = hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        Self { text: format!("{hex}.{}", kind.extension()), kind }
    }

    /// `None` for everything that [`ObjectName::of`] cannot have made.
    pub fn parse(text: &str) -> Option<Self> {
        let (hash, extension) = text.split_once('.')?;
        let is_hash = hash.len() == 64 && hash.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        let kind = ImageKind::ALL.into_iter().find(|kind| kind.extension() == extension)?;
        is_hash.then(|| Self { text: text.to_owned(), kind })
    }

    pub fn as_str(&self) -> &str {
        &self.text
    }

    pub fn kind(&self) -> ImageKind {
        self.kind
    }
}

/// A store of objects.
#[async_trait]
pub trait Objects: Send + Sync {
    /// Keeps an object durably; nothing happens where it is there.
    async fn put(&self, name: &ObjectName, bytes: Bytes) -> Result<()>;

    async fn get(&self, name: &ObjectName) -> Result<Option<Bytes>>;
}

/// Objects as files: `<root>/<first two digits>/<name>`.
pub struct Folder {
    root: PathBuf,
    ids: IdSource,
}

impl Folder {
    pub fn new(root: PathBuf, ids: IdSource) -> Self {
        Self { root, ids }
    }

    fn path(&self, name: &ObjectName) -> PathBuf {
        self.root.join(&name.as_str()[..2]).join(name.as_str())
    }
}

fn failed(error: std::io::Error) -> Error {
    Error::unavailable("objects_unavailable", "the store of pictures does not answer").with_source(error)
}

fn sync_directory(path: &Path) -> std::io::Result<()> {
    File::open(path)?.sync_all()
}

/// Writes aside, syncs, renames, syncs the directories: after a crash the file is whole or not there.
fn write_durably(path: &Path, aside: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let directory = path.parent().unwrap_or(path);
    let root = directory.parent().unwrap_or(directory);
    fs::create_dir_all(directory)?;
    let mut file = File::create_new(aside)?;
    let written = file.write_all(bytes).and_then(|()| file.sync_all()).and_then(|()| fs::rename(aside, path));
    if written.is_err() {
        let _ = fs::remove_file(aside);
    }
    written?;
    sync_directory(directory)?;
    sync_directory(root)
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> std::io::Result<T> + Send + 'static,
) -> Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(Error::internal)?.map_err(failed)
}

#[async_trait]
impl Objects for Folder {
    async fn put(&self, name: &ObjectName, bytes: Bytes) -> Result<()> {
        let path = self.path(name);
        let aside = self.root.join(format!("{}.part", self.ids.uuid().as_simple()));
        blocking(move || {
            let whole = fs::metadata(&path).is_ok_and(|found| found.len() == bytes.len() as u64);
            if whole {
                return Ok(());
            }
            if let Some(root) = aside.parent() {
                fs::create_dir_all(root)?;
            }
            write_durably(&path, &aside, &bytes)
        })
        .await
    }

    async fn get(&self, name: &ObjectName) -> Result<Option<Bytes>> {
        let path = self.path(name);
        blocking(move || match fs::read(&path) {
            Ok(bytes) => Ok(Some(Bytes::from(bytes))),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        })
        .await
    }
}
