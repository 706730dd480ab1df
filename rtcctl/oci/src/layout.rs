//! An OCI image layout: a folder of blobs by digest and an `index.json` that names some of them.
//!
//! Invariants:
//! - a file under a digest is complete and was hashed while it was written: it appears by a rename;
//! - a blob that is there is not written again;
//! - `index.json` is replaced in one piece, by one process at a time;
//! - the mark `oci-layout` is written when all else is there, and neither it nor an `index.json` that is there is
//!   written by who makes a layout: of many who make one at once, all have the same.

mod sweep;
mod writer;

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::document::{self, Descriptor, Document, Index, REF_NAME};
use crate::error::io;
use crate::{Digest, Error, Result};

pub use sweep::{Busy, Swept};
pub use writer::BlobWriter;
pub(crate) use writer::bare;
use writer::{complete, keep, temporary};

pub(crate) const MARK: &str = "oci-layout";
pub(crate) const INDEX: &str = "index.json";
pub(crate) const BLOBS: &str = "blobs/sha256";
/// What the names of unfinished files begin with.
const WRITING: &str = ".writing-";
const YOUNG: Duration = Duration::from_secs(60);
const VERSION: &str = "1.0.0";
/// Registries take manifests up to 4 MiB; a configuration or an index may be somewhat larger.
pub const DOCUMENT_BYTES_MAX: u64 = 16 * 1024 * 1024;

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Mark {
    image_layout_version: String,
}

/// Content that lies in a layout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Blob {
    pub digest: Digest,
    /// In bytes.
    pub size: u64,
}

impl Blob {
    pub fn descriptor(self, media_type: impl Into<String>) -> Descriptor {
        Descriptor::new(media_type, self.digest, self.size)
    }
}

#[derive(Debug, Clone)]
pub struct Layout {
    root: PathBuf,
}

impl Layout {
    /// A layout that is there.
    ///
    /// # Errors
    /// [`Error::NotALayout`]: there is none, or one of another version. [`Error::Io`]: it cannot be read.
    pub fn open(root: impl Into<PathBuf>) -> Result<Self> {
        let root = root.into();
        let mark = root.join(MARK);
        let refuse = |reason: String| Error::NotALayout { path: root.clone(), reason };
        let bytes = match fs::read(&mark) {
            Ok(bytes) => bytes,
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                return Err(refuse(format!("it has no file {MARK}")));
            }
            Err(error) => return Err(io(&mark)(error)),
        };
        let read: Mark =
            serde_json::from_slice(&bytes).map_err(|error| refuse(format!("{MARK}: {error}")))?;
        if !read.image_layout_version.starts_with("1.") {
            return Err(refuse(format!("its version is {}, and 1 is read", read.image_layout_version)));
        }
        Ok(Self { root })
    }

    /// A layout in a folder that is new, empty, a layout already, or was becoming one.
    ///
    /// # Errors
    /// [`Error::NotALayout`]: the folder holds something else. [`Error::Io`]: it cannot be made or written.
    pub fn create(root: impl Into<PathBuf>) -> Result<Self> {
        let root = root.into();
        if root.join(MARK).exists() {
            let layout = Self::open(root)?;
            layout.clear();
            return Ok(layout);
        }
        fs::create_dir_all(&root).map_err(io(&root))?;
        check_is_begun(&root)?;
        let layout = Self { root };
        if layout.root.join(INDEX).exists() && layout.index().is_err() {
            let reason = format!("it holds something else as {INDEX}");
            return Err(Error::NotALayout { path: layout.root, reason });
        }
        let blobs = layout.root.join(BLOBS);
        fs::create_dir_all(&blobs).map_err(io(&blobs))?;
        layout.begin(INDEX, &document::encode(&Index::new(Vec::new())))?;
        let mark = Mark { image_layout_version: VERSION.to_owned() };
        layout.begin(MARK, &document::encode(&mark))?;
        Self::open(layout.root)
    }

    /// Deletes what writers left that were killed. A living one holds the lock of its file; one that has just made its
    /// file and not locked it yet is too young.
    fn clear(&self) {
        for folder in [self.root.clone(), self.root.join(BLOBS)] {
            for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
                let is_old = || {
                    let age = entry.metadata().ok()?.modified().ok()?.elapsed().ok()?;
                    Some(age > YOUNG)
                };
                if entry.file_name().to_string_lossy().starts_with(WRITING)
                    && is_old().unwrap_or(false)
                    && File::open(entry.path()).is_ok_and(|file| file.try_lock().is_ok())
                {
                    let _ = fs::remove_file(entry.path());
                }
            }
        }
    }

    /// Writes a file that is not there. Others may do the same, and may have gone on with it.
    fn begin(&self, name: &str, bytes: &[u8]) -> Result<()> {
        let path = self.root.join(name);
        let mut file = temporary(&self.root)?;
        file.write_all(bytes).map_err(io(&path))?;
        complete(&file, &path)?;
        match file.persist_noclobber(&path) {
            Err(error) if error.error.kind() != io::ErrorKind::AlreadyExists => Err(io(&path)(error.error)),
            _ => Ok(()),
        }
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    pub fn blob_path(&self, digest: &Digest) -> PathBuf {
        self.root.join(BLOBS).join(digest.hex())
    }

    /// How long a blob is; `None` when it is not there.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn blob_size(&self, digest: &Digest) -> Result<Option<u64>> {
        let path = self.blob_path(digest);
        match fs::metadata(&path) {
            Ok(metadata) => Ok(Some(metadata.len())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(io(path)(error)),
        }
    }

    /// # Errors
    /// [`Error::NotFound`], [`Error::Io`].
    pub fn open_blob(&self, digest: &Digest) -> Result<File> {
        let path = self.blob_path(digest);
        File::open(&path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => self.absent(digest),
            _ => io(path)(error),
        })
    }

    fn absent(&self, digest: &Digest) -> Error {
        Error::NotFound { what: format!("blob {digest} in {}", self.root.display()) }
    }

    /// The bytes of a small blob, verified.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Io`], [`Error::SizeMismatch`], [`Error::DigestMismatch`]; [`Error::Invalid`] if
    /// it is larger than documents are.
    pub fn read_blob(&self, descriptor: &Descriptor) -> Result<Vec<u8>> {
        let path = self.blob_path(&descriptor.digest);
        let what = path.display().to_string();
        check_document_size(&what, descriptor.size)?;
        let file = self.open_blob(&descriptor.digest)?;
        let mut bytes = Vec::new();
        // One more than it should have shows that it has too many.
        file.take(descriptor.size + 1).read_to_end(&mut bytes).map_err(io(&path))?;
        let actual = bytes.len() as u64;
        if actual != descriptor.size {
            let actual = self.blob_size(&descriptor.digest)?.unwrap_or(actual);
            return Err(Error::SizeMismatch { what, expected: descriptor.size, actual });
        }
        descriptor.digest.verify(&bytes, &what)?;
        Ok(bytes)
    }

    /// The manifest or index that a descriptor names, verified.
    ///
    /// # Errors
    /// Those of [`Layout::read_blob`] and [`Document::parse`].
    pub fn document(&self, descriptor: &Descriptor) -> Result<Document> {
        let bytes = self.read_blob(descriptor)?;
        Document::parse(&descriptor.digest.to_string(), &descriptor.media_type, &bytes)
    }

    /// Keeps bytes under their digest.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn put_blob(&self, bytes: &[u8]) -> Result<Blob> {
        let blob = Blob { digest: Digest::of(bytes), size: bytes.len() as u64 };
        if self.blob_size(&blob.digest)? == Some(blob.size) {
            return Ok(blob);
        }
        let mut writer = self.write_blob()?;
        let path = writer.path().to_owned();
        writer.write_all(bytes).map_err(|error| bare(&path, error))?;
        writer.finish()
    }

    /// Keeps a document and describes it.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn put_document<T: Serialize>(&self, media_type: &str, document: &T) -> Result<Descriptor> {
        Ok(self.put_blob(&document::encode(document))?.descriptor(media_type))
    }

    /// A blob whose digest is known when it has been written.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn write_blob(&self) -> Result<BlobWriter> {
        let folder = self.root.join(BLOBS);
        fs::create_dir_all(&folder).map_err(io(&folder))?;
        let file = temporary(&folder)?;
        Ok(BlobWriter::new(self.clone(), file))
    }

    /// What the layout names.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Invalid`].
    pub fn index(&self) -> Result<Index> {
        let path = self.root.join(INDEX);
        let bytes = fs::read(&path).map_err(io(&path))?;
        document::read(&path.display().to_string(), &bytes)
    }

    /// Names a document. Another that had the name is listed no more, nor is what refers to it or to
    /// one of its platforms; their blobs stay.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Invalid`].
    pub fn tag(&self, descriptor: &Descriptor, name: &str) -> Result<()> {
        let named = descriptor.clone().with_annotation(REF_NAME, name);
        self.change(|index| {
            let (replaced, kept): (Vec<_>, Vec<_>) = std::mem::take(&mut index.manifests)
                .into_iter()
                .partition(|old| old.ref_name() == Some(name) && old.digest != named.digest);
            let (gone, staying) =
                (self.documents_in(&replaced), self.documents_in(kept.iter().chain([&named])));
            let is_gone = |subject: Digest| gone.contains(&subject) && !staying.contains(&subject);
            index.manifests = kept
                .iter()
                .filter(|old| old.digest != named.digest || old.ref_name().is_some_and(|other| other != name))
                .filter(|old| !self.subject(old).is_some_and(is_gone))
                .cloned()
                .collect();
            index.manifests.push(named);
        })
    }

    /// Documents and those that they are made of, as far as they can be read.
    fn documents_in<'a>(&self, listed: impl IntoIterator<Item = &'a Descriptor>) -> HashSet<Digest> {
        let mut found = HashSet::new();
        let mut open: Vec<Descriptor> = listed.into_iter().cloned().collect();
        while let Some(descriptor) = open.pop() {
            if found.insert(descriptor.digest)
                && crate::media::is_index(&descriptor.media_type)
                && let Ok(document) = self.document(&descriptor)
            {
                open.extend(document.parts().into_iter().cloned());
            }
        }
        found
    }

    /// The listed documents that refer to another, an image's SBOM for one.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Invalid`].
    pub fn referrers(&self, subject: &Digest) -> Result<Vec<Descriptor>> {
        let mut found = self.index()?.manifests;
        found.retain(|descriptor| self.subject(descriptor) == Some(*subject));
        Ok(found)
    }

    fn subject(&self, descriptor: &Descriptor) -> Option<Digest> {
        Some(self.document(descriptor).ok()?.subject()?.digest)
    }

    /// Lists a document without a name, as one that refers to another has none.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Invalid`].
    pub fn list(&self, descriptor: &Descriptor) -> Result<()> {
        self.change(|index| {
            if !index.manifests.iter().any(|old| old.digest == descriptor.digest) {
                index.manifests.push(descriptor.clone());
            }
        })
    }

    /// The document of a name, a digest, or the only one (`name` is `None`).
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::Invalid`] if there are several and none was named.
    pub fn find(&self, name: Option<&str>) -> Result<Descriptor> {
        let index = self.index()?;
        let Some(name) = name else {
            let mut tagged: Vec<Descriptor> = index.manifests;
            if tagged.len() > 1 {
                tagged.retain(|descriptor| descriptor.ref_name().is_some());
            }
            let mut seen = Vec::new();
            tagged.retain(|descriptor| {
                let new = !seen.contains(&descriptor.digest);
                seen.push(descriptor.digest);
                new
            });
            return match tagged.len() {
                1 => Ok(tagged.remove(0)),
                0 => Err(Error::NotFound { what: format!("image in {}", self.root.display()) }),
                many => Err(Error::Invalid {
                    what: self.root.display().to_string(),
                    reason: format!("it has {many} images and none was named"),
                }),
            };
        };
        let digest = name.parse::<Digest>().ok();
        index
            .manifests
            .into_iter()
            .find(|descriptor| descriptor.ref_name() == Some(name) || Some(descriptor.digest) == digest)
            .ok_or_else(|| Error::NotFound { what: format!("{name} in {}", self.root.display()) })
    }

    /// Everything that documents are made of, themselves included, each once: parts come before what has them.
    ///
    /// # Errors
    /// Those of [`Layout::document`] for any of them.
    pub fn reachable(&self, from: &[Descriptor]) -> Result<Vec<Descriptor>> {
        let mut found: Vec<Descriptor> = Vec::new();
        for descriptor in from {
            self.reach(descriptor, &mut found)?;
        }
        Ok(found)
    }

    fn reach(&self, descriptor: &Descriptor, found: &mut Vec<Descriptor>) -> Result<()> {
        if found.iter().any(|known| known.digest == descriptor.digest) {
            return Ok(());
        }
        let media_type = &descriptor.media_type;
        if crate::media::is_manifest(media_type) || crate::media::is_index(media_type) {
            for part in self.document(descriptor)?.parts() {
                self.reach(part, found)?;
            }
        } else if self.blob_size(&descriptor.digest)?.is_none() {
            return Err(self.absent(&descriptor.digest));
        }
        found.push(descriptor.clone());
        Ok(())
    }

    fn change(&self, how: impl FnOnce(&mut Index)) -> Result<()> {
        let mark = self.root.join(MARK);
        let lock = File::open(&mark).map_err(io(&mark))?;
        lock.lock().map_err(io(&mark))?;
        let mut index = self.index()?;
        how(&mut index);
        self.replace(INDEX, &document::encode(&index))
    }

    fn replace(&self, name: &str, bytes: &[u8]) -> Result<()> {
        let mut file = temporary(&self.root)?;
        let path = self.root.join(name);
        file.write_all(bytes).map_err(io(&path))?;
        keep(file, &path)
    }
}

/// # Errors
/// [`Error::Invalid`]: no document is as large as that.
pub(crate) fn check_document_size(what: &str, size: u64) -> Result<()> {
    match size <= DOCUMENT_BYTES_MAX {
        true => Ok(()),
        false => Err(Error::Invalid {
            what: what.to_owned(),
            reason: format!("{size} bytes are more than a document has ({DOCUMENT_BYTES_MAX})"),
        }),
    }
}

/// Whether a folder has nothing in it but what belongs to a layout.
fn check_is_begun(root: &Path) -> Result<()> {
    for entry in fs::read_dir(root).map_err(io(root))? {
        let name = entry.map_err(io(root))?.file_name();
        let is_known = [MARK, INDEX, "blobs"].iter().any(|known| name == *known);
        if !is_known && !name.as_encoded_bytes().starts_with(WRITING.as_bytes()) {
            let reason = format!("it holds something else: {}", name.display());
            return Err(Error::NotALayout { path: root.to_owned(), reason });
        }
    }
    Ok(())
}
