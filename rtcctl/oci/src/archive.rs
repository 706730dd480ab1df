//! A layout as one tar file, which `skopeo`, `podman` and `docker load` read as `oci-archive`.
//!
//! Invariant: equal images give equal archives. Only what `index.json` reaches is in it, sorted, without times,
//! owners or the modes of this machine.

use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Write};
use std::path::{Component, Path};

use tar::{EntryType, Header};

use crate::error::io;
use crate::layout::{BLOBS, INDEX, MARK};
use crate::{Digest, Error, Layout, Result, document};

const BUFFER_BYTES: usize = 256 * 1024;

/// Writes a layout as an archive. `path` is what `to` is called in errors.
///
/// # Errors
/// [`Error::Io`] of either side, [`Error::NotFound`] if the layout lacks something that it names, and those of
/// [`Layout::document`].
pub fn write(layout: &Layout, path: &Path, to: impl Write) -> Result<()> {
    let index = layout.index()?;
    let mut blobs: Vec<Digest> =
        layout.reachable(&index.manifests)?.into_iter().map(|descriptor| descriptor.digest).collect();
    blobs.sort_unstable();
    let mut archive = tar::Builder::new(to);
    let mut add = |header: &mut Header, name: &str, content: &mut dyn Read| {
        archive.append_data(header, name, content).map_err(io(path))
    };
    for folder in ["blobs/", "blobs/sha256/"] {
        add(&mut header(EntryType::Directory, 0), folder, &mut std::io::empty())?;
    }
    for digest in blobs {
        let file = layout.open_blob(&digest)?;
        let size = file.metadata().map_err(io(layout.blob_path(&digest)))?.len();
        // A blob that grows meanwhile must not run into the next entry.
        let mut content = BufReader::with_capacity(BUFFER_BYTES, file.take(size));
        add(&mut header(EntryType::Regular, size), &format!("{BLOBS}/{}", digest.hex()), &mut content)?;
    }
    let mark = std::fs::read(layout.root().join(MARK)).map_err(io(layout.root().join(MARK)))?;
    for (name, bytes) in [(INDEX, document::encode(&index)), (MARK, mark)] {
        add(&mut header(EntryType::Regular, bytes.len() as u64), name, &mut bytes.as_slice())?;
    }
    archive.into_inner().and_then(|mut to| to.flush()).map_err(io(path))
}

fn header(kind: EntryType, size: u64) -> Header {
    let mut header = Header::new_ustar();
    header.set_entry_type(kind);
    header.set_size(size);
    header.set_mode(if kind == EntryType::Directory { 0o755 } else { 0o644 });
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header
}

/// Writes a layout to a file that appears when it is complete. A pipe or a device is written as it is.
///
/// # Errors
/// Those of [`write`].
pub fn save(layout: &Layout, path: &Path) -> Result<()> {
    if std::fs::metadata(path).is_ok_and(|metadata| !metadata.is_file() && !metadata.is_dir()) {
        let file = File::options().write(true).open(path).map_err(io(path))?;
        return write(layout, path, BufWriter::with_capacity(BUFFER_BYTES, file));
    }
    let folder = match path.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    };
    let file = tempfile::Builder::new().prefix(".writing-").tempfile_in(folder).map_err(io(path))?;
    write(layout, path, BufWriter::with_capacity(BUFFER_BYTES, file.as_file()))?;
    use std::os::unix::fs::PermissionsExt as _;
    file.as_file().set_permissions(std::fs::Permissions::from_mode(0o644)).map_err(io(path))?;
    file.persist(path).map(drop).map_err(|error| io(path)(error.error))
}

/// Unpacks an archive into a layout at `folder`. Every blob must be what its name says.
///
/// # Errors
/// [`Error::Invalid`]: it holds something that layouts do not. [`Error::DigestMismatch`], [`Error::Io`].
pub fn load(path: &Path, folder: &Path) -> Result<Layout> {
    let file = File::open(path).map_err(io(path))?;
    let layout = Layout::create(folder)?;
    let mut archive = tar::Archive::new(BufReader::with_capacity(BUFFER_BYTES, file));
    let mut index = None;
    for entry in archive.entries().map_err(io(path))? {
        let mut entry = entry.map_err(io(path))?;
        let name = entry.path().map_err(io(path))?.into_owned();
        let parts: Vec<&str> = name
            .components()
            .filter(|part| *part != Component::CurDir)
            .map(|part| part.as_os_str().to_str().unwrap_or_default())
            .collect();
        let invalid = |reason: &str| Error::Invalid {
            what: path.display().to_string(),
            reason: format!("{}: {reason}", name.display()),
        };
        match (entry.header().entry_type(), parts.as_slice()) {
            (EntryType::Directory, _) | (_, [MARK]) => {}
            (EntryType::Regular, [INDEX]) => {
                crate::layout::check_document_size(&path.display().to_string(), entry.size())?;
                let mut bytes = Vec::new();
                entry.read_to_end(&mut bytes).map_err(io(path))?;
                index = Some(document::read::<document::Index>(&path.display().to_string(), &bytes)?);
            }
            (EntryType::Regular, ["blobs", "sha256", hex]) => {
                let expected: Digest = format!("sha256:{hex}").parse()?;
                let size = entry.size();
                let mut writer = layout.write_blob()?;
                std::io::copy(&mut entry, &mut writer).map_err(io(path))?;
                writer.finish_as(&crate::Descriptor::new("", expected, size))?;
            }
            _ => return Err(invalid("an image layout does not have that")),
        }
    }
    let index = index.ok_or_else(|| Error::Invalid {
        what: path.display().to_string(),
        reason: format!("it is no archive of an image: it has no {INDEX}"),
    })?;
    for descriptor in &index.manifests {
        match descriptor.ref_name() {
            Some(name) => layout.tag(descriptor, name)?,
            None => layout.list(descriptor)?,
        }
    }
    Ok(layout)
}
