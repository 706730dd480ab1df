//! Which layers lie in a layout already, so that what did not change is not packed again.
//!
//! A layer is found by the shape of its files, all that can be known without reading them, and believed when the
//! digest of their content is the one noted and their blob is what its name says. A file of notes that is lost or broken costs time and nothing else.

use std::collections::BTreeMap;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use oci::{Descriptor, Digest, Hasher, Layout};
use serde::{Deserialize, Serialize};

use crate::contents::Contents;
use crate::error::{Error, Result};
use crate::layer::{Layer, Origin, Packing, packer};
use crate::tree::{Kind, Source, Tree};

/// Beside the blobs of a layout. Tools that read layouts pass it over.
const NAME: &str = ".layers.json";
/// Shapes that nobody asks for any more are forgotten, the one noted first before the others.
const NOTES_MAX: usize = 64;

/// Everything about the files of a layer but their content, and how they are packed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shape(Digest);

impl Shape {
    /// Errors: [`Error::Unreadable`].
    pub fn of(tree: &Tree, packing: Packing) -> Result<Shape> {
        Shape::packed_by(&packer(packing.compression)?, tree, packing)
    }

    fn packed_by(packer: &str, tree: &Tree, packing: Packing) -> Result<Shape> {
        let mut hasher = Hasher::default();
        // Another version may write another tar.
        let version = env!("CARGO_PKG_VERSION");
        hasher.update(format!("{version}\0{packer}\0{}\n", packing.epoch).as_bytes());
        for (path, entry) in tree.iter() {
            let kind = match &entry.kind {
                Kind::Directory => "folder".to_owned(),
                Kind::Link(target) => format!("link\0{target}"),
                Kind::File(Source::Bytes(bytes)) => format!("file\0{}", bytes.len()),
                Kind::File(Source::File(source)) => {
                    let metadata = std::fs::metadata(source)
                        .map_err(|error| Error::Unreadable { path: source.clone(), source: error })?;
                    format!("file\0{}", metadata.len())
                }
            };
            let line =
                format!("{path}\0{:o}\0{}\0{}\0{kind}\n", entry.mode, entry.owner.uid, entry.owner.gid);
            hasher.update(line.as_bytes());
        }
        Ok(Shape(hasher.finish()))
    }
}

/// Whether something was built into a layout here before.
pub fn are_in(layout: &Layout) -> bool {
    layout.root().join(NAME).exists()
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Note {
    diff_id: Digest,
    descriptor: Descriptor,
    /// Grows with each note.
    order: u64,
}

#[derive(Debug)]
pub struct Kept {
    path: PathBuf,
    notes: BTreeMap<String, Note>,
}

impl Kept {
    /// The notes of a layout; none if they cannot be read.
    pub fn of(layout: &Layout) -> Kept {
        let path = layout.root().join(NAME);
        let notes = std::fs::read(&path).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
        Kept { path, notes: notes.unwrap_or_default() }
    }

    /// A layer of that shape, if a blob of its length still lies in the layout. Whether it is that blob is not known.
    pub fn find(&self, shape: &Shape, layout: &Layout) -> Result<Option<Layer>> {
        let Some(note) = self.notes.get(&shape.0.hex()) else { return Ok(None) };
        let size = layout.blob_size(&note.descriptor.digest)?;
        Ok((size == Some(note.descriptor.size)).then(|| Layer {
            descriptor: note.descriptor.clone(),
            diff_id: note.diff_id,
            origin: Origin::Kept,
            contents: Contents::default(),
        }))
    }

    /// Errors: [`Error::Full`], [`Error::Write`].
    pub fn keep(&mut self, shape: Shape, layer: &Layer) -> Result<()> {
        let order = self.notes.values().map(|note| note.order + 1).max().unwrap_or_default();
        let note = Note { diff_id: layer.diff_id, descriptor: layer.descriptor.clone(), order };
        self.notes.insert(shape.0.hex(), note);
        while self.notes.len() > NOTES_MAX {
            let oldest = self.notes.iter().min_by_key(|(_, note)| note.order).map(|(shape, _)| shape.clone());
            oldest.map(|shape| self.notes.remove(&shape));
        }
        self.save().map_err(Error::write)
    }

    fn save(&self) -> io::Result<()> {
        let folder = self.path.parent().unwrap_or(Path::new("."));
        let mut file = tempfile::Builder::new().prefix(".writing-").tempfile_in(folder)?;
        file.write_all(&oci::document::encode(&self.notes))?;
        file.persist(&self.path).map(drop).map_err(|error| error.error)
    }
}

#[cfg(test)]
mod tests {
    use oci::media::Compression;

    use super::*;
    use crate::tree::{READ, ROOT};

    #[test]
    fn what_another_compressor_packed_has_another_shape() {
        let mut tree = Tree::default();
        tree.file("/etc/x", READ, ROOT, Source::Bytes(b"x".to_vec())).unwrap();
        let mut shapes = Vec::new();
        for compression in [Compression::None, Compression::Gzip, Compression::Zstd] {
            let packing = Packing { compression, epoch: 0 };
            let this = packer(compression).unwrap();
            let shape = Shape::of(&tree, packing).unwrap();
            assert_eq!(shape, Shape::packed_by(&this, &tree, packing).unwrap());
            assert_ne!(shape, Shape::packed_by(&format!("{this}.1"), &tree, packing).unwrap());
            assert!(!shapes.contains(&shape), "{this}");
            shapes.push(shape);
        }
    }
}
