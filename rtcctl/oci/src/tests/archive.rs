//! Layouts as one file.

use std::fs;

use tempfile::TempDir;

use super::image;
use crate::{Error, Layout, archive};

#[test]
fn an_archive_does_not_tell_who_made_it_or_what_else_was_there() {
    let folder = TempDir::new().unwrap();
    let save = |name: &str, others: &[&[u8]]| {
        let layout = Layout::create(folder.path().join(name)).unwrap();
        for other in others {
            image(&layout, other);
        }
        let descriptor = image(&layout, b"layer");
        layout.tag(&descriptor, "v1").unwrap();
        let path = folder.path().join(format!("{name}.tar"));
        archive::save(&layout, &path).unwrap();
        fs::read(path).unwrap()
    };
    let one = save("one", &[]);
    assert_eq!(one, save("two", &[b"left over", b"from before"]));
    assert_eq!(one.len() % 512, 0);
}

#[test]
fn an_archive_comes_back_as_the_layout_that_it_was() {
    let folder = TempDir::new().unwrap();
    let layout = Layout::create(folder.path().join("from")).unwrap();
    let descriptor = image(&layout, &[7; 100_000]);
    layout.tag(&descriptor, "v1").unwrap();
    layout.tag(&descriptor, "latest").unwrap();
    let path = folder.path().join("image.tar");
    archive::save(&layout, &path).unwrap();
    let again = archive::load(&path, &folder.path().join("to")).unwrap();
    assert_eq!(again.index().unwrap(), layout.index().unwrap());
    assert_eq!(again.reachable(&[descriptor]).unwrap().len(), 3);
}

fn tarball(folder: &TempDir, entries: &[(&str, &[u8])]) -> std::path::PathBuf {
    let path = folder.path().join("strange.tar");
    let mut builder = tar::Builder::new(fs::File::create(&path).unwrap());
    for (name, content) in entries {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        // Set by hand: the library refuses to write names that go up.
        header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
        header.set_cksum();
        builder.append(&header, *content).unwrap();
    }
    builder.finish().unwrap();
    path
}

#[test]
fn an_archive_of_something_else_is_refused_and_writes_nowhere_else() {
    let folder = TempDir::new().unwrap();
    let index = br#"{"schemaVersion":2,"manifests":[]}"#;
    let zeros = format!("blobs/sha256/{}", "0".repeat(64));
    for (number, entries) in [
        &[("etc/passwd", &b"x"[..])][..],
        &[("../index.json", index)],
        &[("blobs/sha256/../../x", b"x")],
        &[("index.json", b"<html>")],
        &[(&zeros, b"not what its name says"), ("index.json", index)],
        &[("oci-layout", b"{}")],
    ]
    .iter()
    .enumerate()
    {
        let path = tarball(&folder, entries);
        let into = folder.path().join(format!("into-{number}"));
        let error = archive::load(&path, &into).unwrap_err();
        assert!(
            matches!(error, Error::Invalid { .. } | Error::DigestMismatch { .. } | Error::Digest { .. }),
            "{number}: {error:?}"
        );
    }
    assert!(!folder.path().join("index.json").exists());
    let not_tar = folder.path().join("text");
    fs::write(&not_tar, "x".repeat(600)).unwrap();
    assert!(matches!(archive::load(&not_tar, &folder.path().join("text-into")), Err(Error::Io { .. })));
}

#[test]
fn a_device_is_written_and_not_replaced() {
    let folder = tempfile::TempDir::new().unwrap();
    let layout = Layout::create(folder.path().join("image")).unwrap();
    layout.tag(&super::image(&layout, b"content"), "v1").unwrap();
    let full = archive::save(&layout, std::path::Path::new("/dev/full"));
    assert!(
        matches!(&full, Err(Error::Io { source, .. }) if source.kind() == std::io::ErrorKind::StorageFull),
        "{full:?}"
    );
    use std::os::unix::fs::FileTypeExt as _;
    assert!(std::fs::metadata("/dev/full").unwrap().file_type().is_char_device());
}
