//! What layers hold, read as they lie in a layout, and what is left when they are put on each other.
//!
//! Invariants: content passes through and is not kept; a layer is believed when its digest has been seen.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Read};

use oci::media::{self, Compression};
use oci::{Descriptor, Digest, Hasher, Layout, Manifest};
use tar::EntryType;

use crate::error::{Error, Result};

/// More entries than this are no layer, but an attempt at our memory.
const ENTRIES_MAX: usize = 4_000_000;
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

/// What a layer does.
///
/// Errors: [`Error::Layer`] if it is packed in an unknown way, is no tar, or has paths that lead out of it;
/// [`Error::Layout`] if it is not in the layout, or another than its digest says.
pub fn layer(layout: &Layout, descriptor: &Descriptor) -> Result<Listing> {
    let invalid = |reason: String| Error::Layer { layer: descriptor.digest.to_string(), reason };
    let compression = media::compression(&descriptor.media_type)
        .ok_or_else(|| invalid(format!("{} is no layer", descriptor.media_type)))?;
    let mut blob = Hashing { hasher: Hasher::default(), from: layout.open_blob(&descriptor.digest)? };
    let listed = match compression {
        Compression::None => list(&mut blob),
        Compression::Gzip => list(flate2::read::MultiGzDecoder::new(&mut blob)),
        Compression::Zstd => zstd::Decoder::new(&mut blob).and_then(list),
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

fn list(from: impl Read) -> io::Result<Listing> {
    let mut archive = tar::Archive::new(io::BufReader::with_capacity(BUFFER_BYTES, from));
    let mut listing = Listing::default();
    for (count, entry) in archive.entries()?.enumerate() {
        let mut entry = entry?;
        if count >= ENTRIES_MAX {
            return Err(broken(format!("more than {ENTRIES_MAX} entries")));
        }
        let path = plain(&entry.path_bytes())?;
        let (folder, name) = path.rsplit_once('/').unwrap_or(("", &path));
        if name == OPAQUE {
            listing.emptied.insert(folder.to_owned());
            continue;
        }
        if let Some(hidden) = name.strip_prefix(WHITEOUT) {
            let parent = if folder.is_empty() { String::new() } else { format!("{folder}/") };
            listing.removed.insert(format!("{parent}{hidden}"));
            continue;
        }
        // The root itself, which some builders write.
        if path.is_empty() {
            continue;
        }
        let target = |entry: &tar::Entry<'_, _>| match entry.link_name_bytes() {
            Some(target) => text(&target),
            None => Err(broken(format!("{path} is a link without a target"))),
        };
        let what = match entry.header().entry_type() {
            EntryType::Directory => What::Directory,
            EntryType::Symlink => What::Link(target(&entry)?),
            EntryType::Link => What::Hard(plain(target(&entry)?.as_bytes())?),
            EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => {
                let (digest, size) = Digest::read(&mut entry)?;
                What::File { digest, size }
            }
            _ => What::Special,
        };
        let header = entry.header();
        // A number that was left empty is none, for all who read tar.
        let [uid, gid] = [header.uid(), header.gid()].map(Result::unwrap_or_default);
        let item = Item { what, mode: header.mode().unwrap_or_default() & 0o7777, uid, gid };
        listing.items.insert(path, item);
    }
    Ok(listing)
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
