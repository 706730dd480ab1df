//! A tree of files as a layer: one tar stream, hashed as it is and packed on its way into the layout.
//!
//! Invariants:
//! - the same tree gives the same bytes on every machine: sorted, with the owners and modes of the tree and one time,
//!   without names of users, device numbers and extended attributes;
//! - a file is read in pieces, so that memory does not grow with it;
//! - a file that changes while it is read spoils no layer: the build fails, and what is told of it is what was read;
//! - the blob of a layer is what its name says: one that lay there is read before it is believed.

use std::fs::File;
use std::io::{self, BufWriter, Read, Write};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use oci::media::{self, Compression};
use oci::{BlobWriter, Descriptor, Digest, Hasher, Layout};
use tar::{Builder, EntryType, Header};

use crate::contents::{Contents, Stamp};
use crate::error::{Error, Result};
use crate::gzip::{self, Gzip};
use crate::kept::{Kept, Shape};
use crate::tree::{Entry, Kind, Source, Tree};

/// Of zstd: above it memory grows faster than layers shrink.
pub const ZSTD_LEVEL: i32 = 9;
const BUFFER_BYTES: usize = 256 << 10;
/// Compressors that differ do so on this much.
const SAMPLE_BYTES: u32 = 64 << 10;

/// How a layer came to be in the layout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// It was packed now.
    Packed,
    /// It lay there from an earlier build, and was not packed again.
    Kept,
    /// It is of the base.
    Base,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layer {
    pub descriptor: Descriptor,
    /// Of the tar stream before it is packed.
    pub diff_id: Digest,
    pub origin: Origin,
    /// What was read for it; nothing for a layer of the base.
    pub contents: Contents,
}

/// How layers are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Packing {
    pub compression: Compression,
    /// The time of every file, in seconds since 1970: `SOURCE_DATE_EPOCH`.
    pub epoch: u64,
}

/// Puts a tree into the layout; `read` is told how many bytes of files were read.
///
/// Errors: [`Error::Unreadable`], [`Error::ChangedMeanwhile`], [`Error::Full`], [`Error::Write`].
pub fn pack(
    tree: &Tree,
    packing: Packing,
    layout: &Layout,
    kept: &mut Kept,
    read: &dyn Fn(u64),
) -> Result<Layer> {
    let shape = Shape::of(tree, packing)?;
    if let Some(known) = kept.find(&shape, layout)? {
        // Only the content can still differ, and reading is much faster than packing.
        let mut hasher = Hashing { hasher: Hasher::default(), to: io::sink() };
        let contents = write_tar(tree, packing.epoch, &mut hasher, read)?;
        if hasher.hasher.finish() == known.diff_id {
            if is_sound(layout, &known.descriptor) {
                return Ok(Layer { origin: Origin::Kept, contents, ..known });
            }
            remove(layout, &known.descriptor.digest)?;
        }
    }
    let layer = match write(tree, packing, layout, read)? {
        (layer, Place::Taken) if !is_sound(layout, &layer.descriptor) => {
            remove(layout, &layer.descriptor.digest)?;
            write(tree, packing, layout, read)?.0
        }
        (layer, _) => layer,
    };
    kept.keep(shape, &layer)?;
    Ok(layer)
}

/// Whether a blob is what its name says. One that cannot be read is not.
fn is_sound(layout: &Layout, descriptor: &Descriptor) -> bool {
    let blob = layout.open_blob(&descriptor.digest).ok();
    blob.and_then(|blob| Digest::read(blob).ok()) == Some((descriptor.digest, descriptor.size))
}

/// Makes room for a blob: the layout writes none where one of its length lies.
fn remove(layout: &Layout, damaged: &Digest) -> Result<()> {
    match std::fs::remove_file(layout.blob_path(damaged)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Error::write(error)),
        _ => Ok(()),
    }
}

/// Where a layer was put.
enum Place {
    Free,
    /// Another file of its name and length was there, and stays.
    Taken,
}

fn write(tree: &Tree, packing: Packing, layout: &Layout, read: &dyn Fn(u64)) -> Result<(Layer, Place)> {
    let packer = Packer::new(layout.write_blob()?, packing.compression).map_err(Error::write)?;
    let mut tar = Hashing { hasher: Hasher::default(), to: packer };
    let contents = write_tar(tree, packing.epoch, &mut tar, read)?;
    let diff_id = tar.hasher.finish();
    let media_type = match packing.compression {
        Compression::None => media::LAYER,
        Compression::Gzip => media::LAYER_GZIP,
        Compression::Zstd => media::LAYER_ZSTD,
    };
    let writer = tar.to.finish().map_err(Error::write)?;
    let file = |path: &Path| {
        let metadata = std::fs::metadata(path);
        metadata.map(|metadata| (metadata.dev(), metadata.ino())).map_err(Error::write)
    };
    let written = file(writer.path())?;
    let blob = writer.finish()?;
    let place = if file(&layout.blob_path(&blob.digest))? == written { Place::Free } else { Place::Taken };
    let descriptor = blob.descriptor(media_type);
    Ok((Layer { descriptor, diff_id, origin: Origin::Packed, contents }, place))
}

/// All that decides the bytes of a layer beside its tar stream: the compressor, its version, how it is set.
pub(crate) fn packer(compression: Compression) -> Result<String> {
    // Neither all alike nor all different, as programs are.
    let mut state = 1_u32;
    let next = |index: u32| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        if index % 7 < 4 { (index / 900) as u8 } else { (state >> 24) as u8 }
    };
    let sample: Vec<u8> = (0..SAMPLE_BYTES).map(next).collect();
    Ok(match compression {
        Compression::None => "nothing".to_owned(),
        Compression::Gzip => gzip::identity(&sample),
        Compression::Zstd => {
            let made = zstd::encode_all(sample.as_slice(), ZSTD_LEVEL).map_err(Error::write)?;
            let version = zstd::zstd_safe::version_string();
            format!("zstd {version}, level {ZSTD_LEVEL}, {}", Digest::of(&made))
        }
    })
}

struct Hashing<W> {
    hasher: Hasher,
    to: W,
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.to.write(bytes)?;
        self.hasher.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

enum Packer {
    None(BlobWriter),
    Gzip(Box<Gzip<BlobWriter>>),
    Zstd(zstd::Encoder<'static, BlobWriter>),
}

impl Packer {
    fn new(to: BlobWriter, compression: Compression) -> io::Result<Packer> {
        Ok(match compression {
            Compression::None => Packer::None(to),
            Compression::Gzip => Packer::Gzip(Box::new(Gzip::new(to)?)),
            Compression::Zstd => {
                let mut encoder = zstd::Encoder::new(to, ZSTD_LEVEL)?;
                encoder.include_checksum(true)?;
                Packer::Zstd(encoder)
            }
        })
    }

    fn finish(self) -> io::Result<BlobWriter> {
        match self {
            Packer::None(to) => Ok(to),
            Packer::Gzip(gzip) => gzip.finish(),
            Packer::Zstd(encoder) => encoder.finish(),
        }
    }
}

impl Write for Packer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Packer::None(to) => to.write(bytes),
            Packer::Gzip(gzip) => gzip.write(bytes),
            Packer::Zstd(encoder) => encoder.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Writes a tree as a tar stream, and gives what was read for it.
///
/// Errors: as [`pack`].
pub fn write_tar(tree: &Tree, epoch: u64, to: impl Write, read: &dyn Fn(u64)) -> Result<Contents> {
    let mut contents = Contents::default();
    let mut tar = Builder::new(BufWriter::with_capacity(BUFFER_BYTES, to));
    for (path, entry) in tree.iter() {
        append(&mut tar, path, entry, epoch, read, &mut contents)?;
    }
    let finished =
        tar.into_inner().and_then(|buffer| buffer.into_inner().map_err(|error| error.into_error()));
    finished.map_err(Error::write)?;
    Ok(contents)
}

fn append<W: Write>(
    tar: &mut Builder<W>,
    path: &str,
    entry: &Entry,
    epoch: u64,
    read: &dyn Fn(u64),
    contents: &mut Contents,
) -> Result<()> {
    let mut header = Header::new_gnu();
    header.set_mode(entry.mode);
    header.set_uid(entry.owner.uid);
    header.set_gid(entry.owner.gid);
    header.set_mtime(epoch);
    header.set_size(0);
    match &entry.kind {
        Kind::Directory => {
            header.set_entry_type(EntryType::Directory);
            tar.append_data(&mut header, format!("{path}/"), io::empty()).map_err(Error::write)
        }
        Kind::Link(target) => {
            header.set_entry_type(EntryType::Symlink);
            tar.append_link(&mut header, path, target).map_err(Error::write)
        }
        Kind::File(Source::Bytes(bytes)) => {
            header.set_entry_type(EntryType::Regular);
            header.set_size(bytes.len() as u64);
            tar.append_data(&mut header, path, bytes.as_slice()).map_err(Error::write)
        }
        Kind::File(Source::File(source)) => {
            header.set_entry_type(EntryType::Regular);
            let unreadable = |error| Error::Unreadable { path: source.clone(), source: error };
            let file = File::open(source).map_err(unreadable)?;
            let metadata = file.metadata().map_err(unreadable)?;
            if !metadata.is_file() {
                return Err(unreadable(io::Error::other("it is no regular file")));
            }
            header.set_size(metadata.len());
            let before = Stamp::of(&metadata);
            let hasher = Hasher::default();
            let mut reading =
                Reading { path: source, file, left: metadata.len(), failed: None, read, hasher };
            let appended = tar.append_data(&mut header, path, &mut reading);
            match reading.failed {
                Some(error) => Err(error),
                None => {
                    appended.map_err(Error::write)?;
                    contents.note(source, reading.file, before, reading.hasher.finish())
                }
            }
        }
    }
}

/// A file of which exactly as many bytes are read as its header says. What goes wrong with it is told apart from what
/// goes wrong with the layer.
struct Reading<'a> {
    path: &'a Path,
    file: File,
    left: u64,
    failed: Option<Error>,
    read: &'a dyn Fn(u64),
    hasher: Hasher,
}

impl Reading<'_> {
    fn fail(&mut self, error: Error) -> io::Error {
        self.failed = Some(error);
        io::Error::other("the file cannot be read")
    }
}

impl Read for Reading<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let path = || PathBuf::from(self.path);
        let read = match self.file.read(buffer) {
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Err(error),
            Err(source) => {
                let error = Error::Unreadable { path: path(), source };
                return Err(self.fail(error));
            }
        };
        // It ended too early, or goes on where it should have ended.
        if (read == 0 && self.left > 0 && !buffer.is_empty()) || read as u64 > self.left {
            let error = Error::ChangedMeanwhile { path: path() };
            return Err(self.fail(error));
        }
        self.left -= read as u64;
        self.hasher.update(&buffer[..read]);
        if read > 0 {
            (self.read)(read as u64);
        }
        Ok(read)
    }
}

#[cfg(test)]
mod tests;
