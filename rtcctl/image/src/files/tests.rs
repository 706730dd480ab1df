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

/// An entry of any type, written as it is.
fn entry(builder: &mut tar::Builder<Vec<u8>>, kind: EntryType, name: &str, content: &[u8]) {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(kind);
    header.as_gnu_mut().unwrap().name[..name.len()].copy_from_slice(name.as_bytes());
    header.set_mode(0o644);
    header.set_size(content.len() as u64);
    header.set_cksum();
    builder.append(&header, content).unwrap();
}

/// A file behind a description of `length` bytes, and a file after it.
fn described(kind: EntryType, length: usize) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    let description = match kind {
        EntryType::XHeader | EntryType::XGlobalHeader => {
            let start = format!("{length} comment=");
            format!("{start}{}\n", "c".repeat(length - start.len() - 1)).into_bytes()
        }
        _ => vec![b'n'; length],
    };
    entry(&mut builder, kind, "described", &description);
    entry(&mut builder, EntryType::Regular, "file", b"1");
    entry(&mut builder, EntryType::Regular, "last", b"2");
    builder.into_inner().unwrap()
}

#[test]
fn names_and_attributes_that_would_fill_the_memory_are_refused() {
    let (_folder, layout) = layout();
    let kinds =
        [EntryType::GNULongName, EntryType::GNULongLink, EntryType::XHeader, EntryType::XGlobalHeader];
    for kind in kinds {
        let bytes = described(kind, DESCRIPTION_BYTES_MAX as usize);
        let listed = layer(&layout, &put(&layout, &bytes, media::LAYER)).unwrap();
        assert_eq!(listed.items.len(), 2, "{kind:?}: {:?}", listed.items.values());
        let bytes = described(kind, DESCRIPTION_BYTES_MAX as usize + (64 << 10));
        let zstd = zstd::encode_all(bytes.as_slice(), 1).unwrap();
        assert!(zstd.len() < 10_000, "it is small where it lies");
        match layer(&layout, &put(&layout, &zstd, media::LAYER_ZSTD)) {
            Err(Error::Layer { reason, .. }) => {
                assert!(reason.contains("longer than 1048576 bytes"), "{kind:?}: {reason}");
            }
            other => panic!("{kind:?}: {:?}", other.map(|listed| listed.items.len())),
        }
    }
}

#[test]
fn content_of_any_length_stands_between_two_descriptions() {
    let content = vec![7; 3 << 20];
    let mut builder = tar::Builder::new(Vec::new());
    let long = "n".repeat(300);
    for kind in [EntryType::Regular, EntryType::Directory, EntryType::new(b'V'), EntryType::Fifo] {
        entry(&mut builder, EntryType::GNULongName, "described", long.as_bytes());
        entry(&mut builder, kind, "x", &content);
    }
    entry(&mut builder, EntryType::Regular, ".wh.gone", &content);
    entry(&mut builder, EntryType::Regular, "last", b"");
    let listing = list(builder.into_inner().unwrap().as_slice(), LIMITS).unwrap();
    assert_eq!(paths(&listing.items), ["last", long.as_str()]);
}

#[test]
fn more_entries_or_longer_paths_than_are_remembered_are_refused() {
    let tar = tar(&[("aaaa", "1"), ("bbbb -> cccc", ""), (".wh.dddd", "")]);
    let listed = |entries: usize, text: usize| list(tar.as_slice(), Limits { entries, text });
    assert!(listed(3, 20).is_ok());
    assert_eq!(listed(2, 20).unwrap_err().to_string(), "more than 2 entries");
    assert_eq!(listed(3, 19).unwrap_err().to_string(), "paths of more than 19 bytes");
}

#[test]
fn a_path_is_found_through_links_that_stay_in_the_image() {
    let (_folder, layout) = layout();
    let layer = plain(
        &layout,
        &[
            ("lib64 -> usr/lib64", ""),
            ("lib -> /usr/lib", ""),
            ("usr/lib64/ld.so -> ../../../lib/triplet/ld.so", ""),
            ("usr/lib/triplet/ld.so", "1"),
            ("gone -> usr/absent", ""),
            ("one -> two", ""),
            ("two -> one", ""),
        ],
    );
    let config = Descriptor::of(media::CONFIG, b"{}");
    let files = image(&layout, &Manifest::new(config, vec![layer])).unwrap();
    for path in ["/lib64/ld.so", "/usr/lib64/./ld.so", "lib/triplet/ld.so"] {
        assert_eq!(real(&files, path).as_deref(), Some("usr/lib/triplet/ld.so"), "{path}");
    }
    for path in ["/gone", "/one", "/one/x", "/lib64/other", "/usr/lib64/ld.so/x"] {
        assert_eq!(real(&files, path), None, "{path}");
    }
}
