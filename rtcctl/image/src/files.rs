//! What layers hold, read as they lie in a layout, and what is left when they are put on each other.
//!
//! Invariants: content passes through and is not kept; what describes it is kept up to limits, and a layer beyond them
//! is refused; a layer is believed when its digest has been seen.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::fs::File;
use std::io::{self, Read};

use oci::media::{self, Compression};
use oci::{Descriptor, Digest, Hasher, Layout, Manifest};
use tar::EntryType;

use crate::error::{Error, Result};
use crate::links::follow;

/// What a layer may make us remember. Beyond it is no layer, but an attempt at our memory.
#[derive(Debug, Clone, Copy)]
struct Limits {
    entries: usize,
    /// All paths and targets of links together, in bytes.
    text: usize,
}

/// Several times what the largest images have: a layer at both limits takes some 400 MB.
const LIMITS: Limits = Limits { entries: 1_000_000, text: 128 << 20 };
/// Names, targets and attributes that stand before one entry (GNU's `L` and `K`, `x` and `g` of pax), in bytes. No
/// system has paths a hundredth as long.
const DESCRIPTION_BYTES_MAX: u64 = 1 << 20;
/// What else tar has between two contents: padding, and a header for each of those.
const HEADERS_BYTES_MAX: u64 = 16 << 10;
const BUFFER_BYTES: usize = 256 << 10;
/// What is in front of a name that a layer takes away.
const WHITEOUT: &str = ".wh.";
/// The name that empties a folder of everything below.
const OPAQUE: &str = ".wh..wh..opq";

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    File {
        digest: Digest,
        /// In bytes.
        size: u64,
    },
    Directory,
    /// A symlink, with its target.
    Link(String),
    /// A second name of the file at a path.
    Hard(String),
    /// A device or a pipe.
    Special,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    pub what: What,
    pub mode: u32,
    pub uid: u64,
    pub gid: u64,
}

impl Item {
    /// In bytes; nothing but a file has any.
    pub fn size(&self) -> u64 {
        match self.what {
            What::File { size, .. } => size,
            _ => 0,
        }
    }
}

/// Files by path, without a slash in front.
pub type Files = BTreeMap<String, Item>;

/// What one layer does.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Listing {
    pub items: Files,
    /// Paths of lower layers that it takes away.
    pub removed: BTreeSet<String>,
    /// Folders of which it takes away everything that lower layers put there.
    pub emptied: BTreeSet<String>,
}

impl Listing {
    /// In bytes, as they are unpacked.
    pub fn size(&self) -> u64 {
        self.items.values().map(Item::size).sum()
    }

    /// Puts the layer on top of others.
    pub fn apply(&self, files: &mut Files) {
        for folder in &self.emptied {
            clear(files, folder);
        }
        for path in &self.removed {
            clear(files, path);
            files.remove(path);
        }
        for (path, item) in &self.items {
            let old = files.insert(path.clone(), item.clone());
            if item.what != What::Directory && old.is_some_and(|old| old.what == What::Directory) {
                clear(files, path);
            }
        }
    }
}

/// Removes everything under a folder, the root among them.
fn clear(files: &mut Files, folder: &str) {
    if folder.is_empty() {
        return files.clear();
    }
    // '0' comes directly after '/'.
    let mut rest = files.split_off(&format!("{folder}/"));
    let mut after = rest.split_off(&format!("{folder}0"));
    files.append(&mut after);
}

/// The files of an image: all of its layers on each other.
///
/// Errors: as [`layer`].
pub fn image(layout: &Layout, manifest: &Manifest) -> Result<Files> {
    let mut files = Files::new();
    for descriptor in &manifest.layers {
        layer(layout, descriptor)?.apply(&mut files);
    }
    Ok(files)
}

/// Where a path leads through links; `None` if nothing is there. A folder that no layer tells of may be on the way.
pub(crate) fn real(files: &Files, path: &str) -> Option<String> {
    let target_of = |at: &str| -> std::result::Result<_, Infallible> {
        Ok(match files.get(at) {
            Some(Item { what: What::Link(target), .. }) => Some(target.clone()),
            _ => None,
        })
    };
    let real = follow(path, target_of).ok().flatten()?;
    files.contains_key(&real).then_some(real)
}

/// What a layer does.
///
/// Errors: [`Error::Layer`] if it is packed in an unknown way, is no tar, has paths that lead out of it, or more of them
/// than is remembered;
/// [`Error::Layout`] if it is not in the layout, or another than its digest says.
pub fn layer(layout: &Layout, descriptor: &Descriptor) -> Result<Listing> {
    let invalid = |reason: String| Error::Layer { layer: descriptor.digest.to_string(), reason };
    let compression = media::compression(&descriptor.media_type)
        .ok_or_else(|| invalid(format!("{} is no layer", descriptor.media_type)))?;
    let mut blob = Hashing { hasher: Hasher::default(), from: layout.open_blob(&descriptor.digest)? };
    let listed = match compression {
        Compression::None => list(&mut blob, LIMITS),
        Compression::Gzip => list(flate2::read::MultiGzDecoder::new(&mut blob), LIMITS),
        Compression::Zstd => zstd::Decoder::new(&mut blob).and_then(|tar| list(tar, LIMITS)),
    };
    // What is broken because it is another blob is told as another blob.
    io::copy(&mut blob, &mut io::sink()).map_err(|error| invalid(error.to_string()))?;
    let what = format!("layer {}", descriptor.digest);
    descriptor.digest.expect(blob.hasher.finish(), &what)?;
    listed.map_err(|error| invalid(error.to_string()))
}

struct Hashing {
    hasher: Hasher,
    from: File,
}

impl Read for Hashing {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.from.read(buffer)?;
        self.hasher.update(&buffer[..read]);
        Ok(read)
    }
}

/// Counts what is read while something is `left`, and ends it when that is used up.
struct Counted<'a, R> {
    from: R,
    left: &'a Cell<Option<u64>>,
}

impl<R: Read> Read for Counted<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.from.read(buffer)?;
        if let Some(left) = self.left.get() {
            let rest = left.checked_sub(read as u64).ok_or_else(too_much_description)?;
            self.left.set(Some(rest));
        }
        Ok(read)
    }
}

fn too_much_description() -> io::Error {
    broken(format!("names and attributes of an entry are longer than {DESCRIPTION_BYTES_MAX} bytes"))
}

fn list(from: impl Read, limits: Limits) -> io::Result<Listing> {
    let left = Cell::new(None);
    let from = Counted { from: io::BufReader::with_capacity(BUFFER_BYTES, from), left: &left };
    let mut archive = tar::Archive::new(from);
    let mut entries = archive.entries()?;
    let mut listing = Listing::default();
    let (mut count, mut text) = (0, 0);
    loop {
        // What describes the next entry is read into memory before it is given out; all of the last one has been read.
        left.set(Some(DESCRIPTION_BYTES_MAX + HEADERS_BYTES_MAX));
        let Some(entry) = entries.next() else { return Ok(listing) };
        left.set(None);
        let mut entry = entry?;
        count += 1;
        if count > limits.entries {
            return Err(broken(format!("more than {} entries", limits.entries)));
        }
        text += entry.path_bytes().len() + entry.link_name_bytes().map_or(0, |target| target.len());
        if text > limits.text {
            return Err(broken(format!("paths of more than {} bytes", limits.text)));
        }
        note(&mut entry, &mut listing)?;
        io::copy(&mut entry, &mut io::sink())?;
    }
}

/// Notes what an entry does; its content need not be read to its end.
fn note<R: Read>(entry: &mut tar::Entry<'_, R>, listing: &mut Listing) -> io::Result<()> {
    // It is no file, but describes all that follow.
    if entry.header().entry_type().is_pax_global_extensions() {
        return match entry.size() > DESCRIPTION_BYTES_MAX {
            true => Err(too_much_description()),
            false => Ok(()),
        };
    }
    let path = plain(&entry.path_bytes())?;
    let (folder, name) = path.rsplit_once('/').unwrap_or(("", &path));
    if name == OPAQUE {
        listing.emptied.insert(folder.to_owned());
        return Ok(());
    }
    if let Some(hidden) = name.strip_prefix(WHITEOUT) {
        let parent = if folder.is_empty() { String::new() } else { format!("{folder}/") };
        listing.removed.insert(format!("{parent}{hidden}"));
        return Ok(());
    }
    // The root itself, which some builders write.
    if path.is_empty() {
        return Ok(());
    }
    let target = |entry: &tar::Entry<'_, R>| match entry.link_name_bytes() {
        Some(target) => text(&target),
        None => Err(broken(format!("{path} is a link without a target"))),
    };
    let what = match entry.header().entry_type() {
        EntryType::Directory => What::Directory,
        EntryType::Symlink => What::Link(target(entry)?),
        EntryType::Link => What::Hard(plain(target(entry)?.as_bytes())?),
        EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => {
            let (digest, size) = Digest::read(&mut *entry)?;
            What::File { digest, size }
        }
        _ => What::Special,
    };
    let header = entry.header();
    // A number that was left empty is none, for all who read tar.
    let [uid, gid] = [header.uid(), header.gid()].map(Result::unwrap_or_default);
    let item = Item { what, mode: header.mode().unwrap_or_default() & 0o7777, uid, gid };
    listing.items.insert(path, item);
    Ok(())
}

fn broken(reason: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason)
}

fn text(bytes: &[u8]) -> io::Result<String> {
    // A name need not be text, and must not be lost.
    Ok(String::from_utf8_lossy(bytes).into_owned())
}

/// A path without `./` and slashes at its ends.
fn plain(bytes: &[u8]) -> io::Result<String> {
    let path = text(bytes)?;
    let mut parts = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => return Err(broken(format!("the path {path} leads out of it"))),
            part => parts.push(part),
        }
    }
    Ok(parts.join("/"))
}

#[cfg(test)]
mod tests;
