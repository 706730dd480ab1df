//! Layers made by hand, as other builders make them.

use std::io::Write as _;

use tempfile::TempDir;

use super::*;

fn layout() -> (TempDir, Layout) {
    let folder = tempfile::tempdir().unwrap();
    let layout = Layout::create(folder.path()).unwrap();
    (folder, layout)
}

/// A tar of entries: a name that ends in a slash is a folder, `a -> b` a symlink, `a => b` a hard link.
fn tar(entries: &[(&str, &str)]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, content) in entries {
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o644);
        header.set_size(0);
        if let Some((name, target)) = name.split_once(" -> ") {
            header.set_entry_type(EntryType::Symlink);
            builder.append_link(&mut header, name, target).unwrap();
        } else if let Some((name, target)) = name.split_once(" => ") {
            header.set_entry_type(EntryType::Link);
            builder.append_link(&mut header, name, target).unwrap();
        } else {
            let folder = name.ends_with('/');
            header.set_entry_type(if folder { EntryType::Directory } else { EntryType::Regular });
            header.set_size(content.len() as u64);
            // Written as it is, since a builder would refuse what a hostile one does not.
            header.as_gnu_mut().unwrap().name[..name.len()].copy_from_slice(name.as_bytes());
            header.set_cksum();
            builder.append(&header, content.as_bytes()).unwrap();
        }
    }
    builder.into_inner().unwrap()
}

fn put(layout: &Layout, bytes: &[u8], media_type: &str) -> Descriptor {
    layout.put_blob(bytes).unwrap().descriptor(media_type)
}

fn plain(layout: &Layout, entries: &[(&str, &str)]) -> Descriptor {
    put(layout, &tar(entries), media::LAYER)
}

fn paths(files: &Files) -> Vec<&str> {
    files.keys().map(String::as_str).collect()
}

#[test]
fn every_packing_is_read() {
    let (_folder, layout) = layout();
    let tar =
        tar(&[("./", ""), ("./etc/", ""), ("./etc/hosts", "localhost"), ("/abs", "1"), ("l -> ../x", "")]);
    let (first, second) = tar.split_at(tar.len() / 2);
    let mut gzip = Vec::new();
    for part in [first, second] {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(part).unwrap();
        gzip.extend(encoder.finish().unwrap());
    }
    let zstd = zstd::encode_all(tar.as_slice(), 1).unwrap();
    let expected = layer(&layout, &put(&layout, &tar, media::LAYER)).unwrap();
    assert_eq!(paths(&expected.items), ["abs", "etc", "etc/hosts", "l"]);
    assert_eq!(expected.items["l"].what, What::Link("../x".to_owned()));
    assert_eq!(expected.items["etc/hosts"].what, What::File { digest: Digest::of(b"localhost"), size: 9 });
    assert_eq!(expected.size(), 10);
    for (bytes, media_type) in
        [(&gzip, media::LAYER_GZIP), (&gzip, media::DOCKER_LAYER), (&zstd, media::LAYER_ZSTD)]
    {
        assert_eq!(layer(&layout, &put(&layout, bytes, media_type)).unwrap(), expected, "{media_type}");
    }
}

#[test]
fn whiteouts_take_away_what_is_below_and_not_what_is_beside() {
    let (_folder, layout) = layout();
    let below = plain(
        &layout,
        &[
            ("a/", ""),
            ("a/x", "1"),
            ("a/y", "1"),
            ("a.b", "1"),
            ("b/", ""),
            ("b/old", "1"),
            ("c/", ""),
            ("c/d", "1"),
        ],
    );
    let above = plain(&layout, &[("a/.wh.x", ""), ("b/.wh..wh..opq", ""), ("b/new", "2"), (".wh.c", "")]);
    let listing = layer(&layout, &above).unwrap();
    assert_eq!(listing.removed, BTreeSet::from(["a/x".to_owned(), "c".to_owned()]));
    assert_eq!(listing.emptied, BTreeSet::from(["b".to_owned()]));
    let config = Descriptor::of(media::CONFIG, b"{}");
    let files = image(&layout, &Manifest::new(config, vec![below, above])).unwrap();
    assert_eq!(paths(&files), ["a", "a.b", "a/y", "b", "b/new"]);
}

#[test]
fn a_file_in_the_place_of_a_folder_takes_its_place() {
    let (_folder, layout) = layout();
    let below = plain(&layout, &[("a/", ""), ("a/x", "1"), ("lib/", ""), ("lib/y", "1"), ("lib0", "1")]);
    let above = plain(&layout, &[("a", "now a file"), ("lib -> usr/lib", "")]);
    let config = Descriptor::of(media::CONFIG, b"{}");
    let files = image(&layout, &Manifest::new(config, vec![below, above])).unwrap();
    assert_eq!(paths(&files), ["a", "lib", "lib0"]);
    assert_eq!(files["a"].size(), 10);
}

#[test]
fn a_second_name_is_told_as_such() {
    let (_folder, layout) = layout();
    let listing = layer(&layout, &plain(&layout, &[("a", "1"), ("b => ./a", "")])).unwrap();
    assert_eq!(listing.items["b"].what, What::Hard("a".to_owned()));
}

#[test]
fn a_layer_that_is_broken_is_refused() {
    let (_folder, layout) = layout();
    let good = tar(&[("a", "1")]);
    let refused = |bytes: &[u8], media_type: &str| {
        let listed = layer(&layout, &put(&layout, bytes, media_type));
        assert!(matches!(listed, Err(Error::Layer { .. })), "{media_type}: {listed:?}");
    };
    refused(&good, "application/json");
    refused(&good, media::LAYER_GZIP);
    refused(&good, media::LAYER_ZSTD);
    refused(&[7; 2_000], media::LAYER);
    refused(&tar(&[("a/../../etc/passwd", "root")]), media::LAYER);
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(&good).unwrap();
    let gzip = encoder.finish().unwrap();
    refused(&gzip[..gzip.len() - 20], media::LAYER_GZIP);
}

#[test]
fn another_blob_than_the_digest_says_is_found_out() {
    let (_folder, layout) = layout();
    let descriptor = plain(&layout, &[("a", "1")]);
    std::fs::write(layout.blob_path(&descriptor.digest), tar(&[("a", "2")])).unwrap();
    let listed = layer(&layout, &descriptor);
    assert!(matches!(listed, Err(Error::Layout(oci::Error::DigestMismatch { .. }))), "{listed:?}");
    std::fs::remove_file(layout.blob_path(&descriptor.digest)).unwrap();
    assert!(matches!(layer(&layout, &descriptor), Err(Error::Layout(oci::Error::NotFound { .. }))));
}
