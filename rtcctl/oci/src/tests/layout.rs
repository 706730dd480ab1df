//! Layouts on disk.

use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::time::Duration;

use tempfile::TempDir;

use super::image;
use crate::document::encode;
use crate::{Descriptor, Digest, Error, Index, Layout, Manifest, media};

fn layout() -> (TempDir, Layout) {
    let folder = TempDir::new().unwrap();
    let layout = Layout::create(folder.path().join("image")).unwrap();
    (folder, layout)
}

fn files(layout: &Layout) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(layout.root().join("blobs/sha256"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn a_new_layout_is_what_the_specification_says() {
    let (_folder, layout) = layout();
    let read = |name: &str| fs::read_to_string(layout.root().join(name)).unwrap();
    assert_eq!(read("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#);
    assert_eq!(
        read("index.json"),
        r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}"#
    );
    assert!(Layout::open(layout.root()).is_ok());
    assert!(Layout::create(layout.root()).is_ok());
}

#[test]
fn a_folder_of_something_else_is_not_taken() {
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("notes"), "x").unwrap();
    assert!(matches!(Layout::create(folder.path()), Err(Error::NotALayout { .. })));
    assert!(matches!(Layout::open(folder.path()), Err(Error::NotALayout { .. })));
    assert!(matches!(Layout::open(folder.path().join("notes")), Err(Error::NotALayout { .. })));
    assert!(matches!(Layout::create(folder.path().join("notes/x")), Err(Error::Io { .. })));
    fs::write(folder.path().join("oci-layout"), r#"{"imageLayoutVersion":"2.0.0"}"#).unwrap();
    assert!(
        matches!(Layout::open(folder.path()), Err(Error::NotALayout { reason, .. }) if reason.contains("2.0.0"))
    );
}

#[test]
fn a_blob_is_hashed_while_it_is_written_and_readable_by_all() {
    let (_folder, layout) = layout();
    let mut writer = layout.write_blob().unwrap();
    writer.write_all(b"hello ").unwrap();
    writer.write_all(b"world").unwrap();
    let blob = writer.finish().unwrap();
    assert_eq!((blob.digest, blob.size), (Digest::of(b"hello world"), 11));
    let metadata = fs::metadata(layout.blob_path(&blob.digest)).unwrap();
    assert_eq!(metadata.permissions().mode() & 0o777, 0o644);
    assert_eq!(files(&layout), [blob.digest.hex()]);
}

#[test]
fn a_blob_that_is_there_is_not_written_again() {
    let (_folder, layout) = layout();
    let blob = layout.put_blob(b"content").unwrap();
    let inode = || fs::metadata(layout.blob_path(&blob.digest)).unwrap().ino();
    let first = inode();
    layout.put_blob(b"content").unwrap();
    let mut writer = layout.write_blob().unwrap();
    writer.write_all(b"content").unwrap();
    writer.finish().unwrap();
    assert_eq!(inode(), first);
    // One that was cut off is.
    fs::write(layout.blob_path(&blob.digest), "cont").unwrap();
    layout.put_blob(b"content").unwrap();
    assert_eq!(layout.blob_size(&blob.digest).unwrap(), Some(7));
}

#[test]
fn what_was_not_finished_leaves_nothing() {
    let (_folder, layout) = layout();
    let mut writer = layout.write_blob().unwrap();
    writer.write_all(b"half").unwrap();
    drop(writer);
    let mut writer = layout.write_blob().unwrap();
    writer.write_all(b"other").unwrap();
    let expected = Descriptor::of("", b"known");
    assert!(matches!(writer.finish_as(&expected), Err(Error::DigestMismatch { .. })));
    let mut writer = layout.write_blob().unwrap();
    writer.write_all(b"long one").unwrap();
    let wrong = writer.finish_as(&expected);
    assert!(matches!(wrong, Err(Error::SizeMismatch { expected: 5, actual: 8, .. })));
    assert!(files(&layout).is_empty());
}

#[test]
fn errors_of_the_disk_name_the_file() {
    let (_folder, layout) = layout();
    let blob = layout.put_blob(b"x").unwrap();
    fs::remove_dir_all(layout.root().join("blobs")).unwrap();
    fs::write(layout.root().join("blobs"), "a file where a folder should be").unwrap();
    let error = layout.put_blob(b"y").unwrap_err().to_string();
    assert!(error.contains("blobs"), "{error}");
    assert!(
        matches!(layout.open_blob(&blob.digest), Err(Error::Io { path, .. }) if path.ends_with(blob.digest.hex()))
    );
    // The disk that is always full.
    let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let folder = TempDir::new().unwrap();
    let good = Layout::create(folder.path()).unwrap();
    let image = image(&good, b"layer");
    good.tag(&image, "v1").unwrap();
    let failed = crate::archive::write(&good, "/dev/full".as_ref(), full).unwrap_err();
    assert!(
        matches!(&failed, Error::Io { path, source } if path == std::path::Path::new("/dev/full")
            && source.kind() == std::io::ErrorKind::StorageFull),
        "{failed:?}"
    );
}

#[test]
fn a_document_is_verified_when_it_is_read() {
    let (_folder, layout) = layout();
    let descriptor = image(&layout, b"layer");
    assert!(layout.document(&descriptor).is_ok());
    let path = layout.blob_path(&descriptor.digest);
    let bytes = fs::read_to_string(&path).unwrap();
    fs::write(&path, bytes.replace("amd64", "arm64").replace("tar", "rat")).unwrap();
    assert!(matches!(layout.document(&descriptor), Err(Error::DigestMismatch { .. })));
    fs::write(&path, format!("{bytes} ")).unwrap();
    assert!(matches!(layout.document(&descriptor), Err(Error::SizeMismatch { .. })));
    let absent = Descriptor::of(media::MANIFEST, b"absent");
    assert!(matches!(layout.document(&absent), Err(Error::NotFound { .. })));
    let huge = Descriptor::new(media::MANIFEST, absent.digest, u64::MAX);
    assert!(matches!(layout.document(&huge), Err(Error::Invalid { .. })));
}

#[test]
fn a_name_is_one_images_and_takes_what_refers_to_the_old_one_with_it() {
    let (_folder, layout) = layout();
    let (old, new) = (image(&layout, b"old"), image(&layout, b"new"));
    layout.tag(&old, "v1").unwrap();
    let mut sbom = Manifest::new(Descriptor::of(media::EMPTY, b"{}"), Vec::new());
    sbom.subject = Some(old.clone());
    let sbom = layout.put_document(media::MANIFEST, &sbom).unwrap();
    layout.list(&sbom).unwrap();
    layout.list(&sbom).unwrap();
    assert_eq!(layout.referrers(&old.digest).unwrap().len(), 1);
    assert_eq!(layout.index().unwrap().manifests.len(), 2);
    assert_eq!(layout.find(None).unwrap().digest, old.digest);

    layout.tag(&new, "v1").unwrap();
    let index = layout.index().unwrap();
    assert_eq!(index.manifests.len(), 1);
    assert_eq!(layout.find(Some("v1")).unwrap().digest, new.digest);
    layout.tag(&new, "v1").unwrap();
    assert_eq!(layout.index().unwrap(), index);

    layout.tag(&new, "v2").unwrap();
    assert_eq!(layout.find(None).unwrap().digest, new.digest);
    layout.tag(&old, "v1").unwrap();
    assert_eq!(layout.find(Some(&new.digest.to_string())).unwrap().ref_name(), Some("v2"));
    assert!(matches!(layout.find(None), Err(Error::Invalid { .. })));
    assert!(matches!(layout.find(Some("v3")), Err(Error::NotFound { .. })));
}

#[test]
fn what_an_index_reaches_is_there_once_and_after_its_parts() {
    let (_folder, layout) = layout();
    let one = image(&layout, b"same");
    let two = image(&layout, b"same");
    let index = layout.put_document(media::INDEX, &Index::new(vec![one.clone(), two])).unwrap();
    let reached = layout.reachable(std::slice::from_ref(&index)).unwrap();
    let kinds: Vec<&str> = reached.iter().map(|descriptor| descriptor.media_type.as_str()).collect();
    assert_eq!(kinds, [media::CONFIG, media::LAYER, media::MANIFEST, media::INDEX]);
    fs::remove_file(layout.blob_path(&Digest::of(b"same"))).unwrap();
    assert!(matches!(layout.reachable(&[one]), Err(Error::NotFound { .. })));
    assert!(!encode(&layout.index().unwrap()).is_empty());
}

#[test]
fn many_who_name_at_once_lose_no_name() {
    let (_folder, layout) = layout();
    let descriptor = image(&layout, b"layer");
    std::thread::scope(|scope| {
        for number in 0..16 {
            let (layout, descriptor) = (&layout, &descriptor);
            scope.spawn(move || layout.tag(descriptor, &format!("v{number}")).unwrap());
        }
    });
    assert_eq!(layout.index().unwrap().manifests.len(), 16);
}

#[test]
fn many_who_make_a_layout_at_once_have_the_same() {
    for _ in 0..20 {
        let folder = TempDir::new().unwrap();
        let root = folder.path().join("image");
        let begun = std::sync::Barrier::new(8);
        std::thread::scope(|scope| {
            for number in 0..8 {
                let (root, begun) = (&root, &begun);
                scope.spawn(move || {
                    begun.wait();
                    let layout = Layout::create(root).unwrap();
                    let made = image(&layout, format!("layer {number}").as_bytes());
                    layout.tag(&made, &format!("v{number}")).unwrap();
                });
            }
        });
        assert_eq!(Layout::open(&root).unwrap().index().unwrap().manifests.len(), 8);
    }
}

#[test]
fn a_layout_that_was_left_half_made_is_finished() {
    let folder = TempDir::new().unwrap();
    fs::create_dir_all(folder.path().join("blobs/sha256")).unwrap();
    fs::write(folder.path().join(".writing-x"), "{\"sche").unwrap();
    let layout = Layout::create(folder.path()).unwrap();
    let made = image(&layout, b"layer");
    layout.tag(&made, "v1").unwrap();
    // The mark is the last: what was named before it is kept.
    fs::remove_file(folder.path().join("oci-layout")).unwrap();
    let layout = Layout::create(folder.path()).unwrap();
    assert_eq!(layout.find(Some("v1")).unwrap().digest, made.digest);

    let strange = TempDir::new().unwrap();
    fs::write(strange.path().join("index.json"), "[1]").unwrap();
    assert!(matches!(Layout::create(strange.path()), Err(Error::NotALayout { .. })));
    assert_eq!(fs::read_to_string(strange.path().join("index.json")).unwrap(), "[1]");
    assert_eq!(fs::read_dir(strange.path()).unwrap().count(), 1);
}

#[test]
fn what_refers_to_a_platform_goes_with_the_last_index_that_has_it() {
    let (_folder, layout) = layout();
    let [kept, gone, new] = [&b"kept"[..], b"gone", b"new"].map(|content| image(&layout, content));
    let of = |parts: [&Descriptor; 2]| {
        layout.put_document(media::INDEX, &Index::new(parts.map(Clone::clone).to_vec())).unwrap()
    };
    layout.tag(&of([&kept, &gone]), "v1").unwrap();
    for subject in [&kept, &gone] {
        let mut bill = Manifest::new(Descriptor::of(media::EMPTY, b"{}"), Vec::new());
        bill.subject = Some(subject.clone());
        layout.list(&layout.put_document(media::MANIFEST, &bill).unwrap()).unwrap();
    }
    layout.tag(&of([&kept, &new]), "v1").unwrap();
    assert_eq!(layout.referrers(&kept.digest).unwrap().len(), 1);
    assert_eq!(layout.referrers(&gone.digest).unwrap().len(), 0);
}

#[test]
fn what_killed_writers_left_goes_and_what_the_living_write_stays() {
    let (_folder, layout) = layout();
    let blobs = layout.root().join("blobs/sha256");
    let long_ago =
        File::open(&blobs).unwrap().metadata().unwrap().modified().unwrap() - Duration::from_secs(3_600);
    let left = |name: &str| {
        let file = File::create(blobs.join(name)).unwrap();
        file.set_modified(long_ago).unwrap();
        file
    };
    drop(left(".writing-dead"));
    let living = left(".writing-living");
    living.lock().unwrap();
    drop(File::create(blobs.join(".writing-young")).unwrap());
    drop(left("something-else"));
    Layout::create(layout.root()).unwrap();
    assert_eq!(files(&layout), [".writing-living", ".writing-young", "something-else"]);
}

#[test]
fn what_nothing_names_any_more_is_deleted_when_nobody_is_at_work() {
    let (_folder, layout) = layout();
    let (old, new) = (image(&layout, b"old"), image(&layout, b"new"));
    layout.tag(&old, "v1").unwrap();
    layout.tag(&new, "v2").unwrap();
    fs::write(layout.root().join("blobs/sha256/notes"), "not a blob").unwrap();
    assert_eq!(layout.sweep().unwrap().unwrap().blobs, 0, "both are named");
    layout.keep_only(&[new.digest]).unwrap();
    let busy = layout.busy().unwrap();
    assert_eq!(layout.sweep().unwrap(), None, "somebody is at work");
    drop(busy);
    // Layer, configuration and manifest.
    assert_eq!(layout.sweep().unwrap().unwrap().blobs, 3);
    assert_eq!(files(&layout).len(), 4);
    assert_eq!(layout.find(Some("v2")).unwrap().digest, new.digest);
    assert!(layout.reachable(&[new]).is_ok());
    assert!(layout.find(Some("v1")).is_err());
}

#[test]
fn nothing_is_deleted_where_a_named_document_cannot_be_read() {
    let (_folder, layout) = layout();
    let (kept, loose) = (image(&layout, b"kept"), image(&layout, b"loose"));
    layout.tag(&kept, "v1").unwrap();
    fs::write(layout.blob_path(&kept.digest), "damaged").unwrap();
    assert!(layout.sweep().is_err());
    assert!(layout.blob_path(&loose.digest).exists());
}
