//! Layers read back by `tar`, and layouts that fail.

use std::cell::Cell;
use std::collections::BTreeMap;

use tempfile::TempDir;

use super::*;
use crate::tree::{Owner, READ, ROOT, RUN};

fn layout() -> (TempDir, Layout) {
    let folder = tempfile::tempdir().unwrap();
    let layout = Layout::create(folder.path().join("layout")).unwrap();
    (folder, layout)
}

fn packing(compression: Compression) -> Packing {
    Packing { compression, epoch: 1_700_000_000 }
}

fn tree(application: &Path) -> Tree {
    let mut tree = Tree::default();
    let user = Owner { uid: 65_532, gid: 3_000_000 };
    tree.file("/usr/local/bin/rtcd", RUN, ROOT, Source::File(application.to_owned())).unwrap();
    tree.directory("/tmp", 0o1777, user).unwrap();
    tree.link("/lib", "usr/lib").unwrap();
    let long = format!("/{}/{}", "f".repeat(200), "n".repeat(120));
    tree.file(&long, READ, user, Source::Bytes(b"long".to_vec())).unwrap();
    tree.link("/far", &"../t".repeat(60)).unwrap();
    tree.complete(&[]).unwrap();
    tree
}

fn unpacked(layout: &Layout, layer: &Layer) -> Vec<u8> {
    let file = layout.open_blob(&layer.descriptor.digest).unwrap();
    let mut bytes = Vec::new();
    match media::compression(&layer.descriptor.media_type).unwrap() {
        Compression::None => (&file).read_to_end(&mut bytes).unwrap(),
        Compression::Gzip => flate2::read::MultiGzDecoder::new(file).read_to_end(&mut bytes).unwrap(),
        Compression::Zstd => zstd::Decoder::new(file).unwrap().read_to_end(&mut bytes).unwrap(),
    };
    bytes
}

#[test]
fn what_was_packed_is_read_back_by_tar() {
    let (folder, layout) = layout();
    let application = folder.path().join("rtcd");
    let content: Vec<u8> = (0..3_000_000_u32).map(|index| (index / 1_000) as u8).collect();
    std::fs::write(&application, &content).unwrap();
    for compression in [Compression::None, Compression::Gzip, Compression::Zstd] {
        let read = Cell::new(0);
        let count = |bytes| read.set(read.get() + bytes);
        let mut kept = Kept::of(&layout);
        let layer = pack(&tree(&application), packing(compression), &layout, &mut kept, &count).unwrap();
        assert_eq!(read.get(), content.len() as u64);
        let bytes = unpacked(&layout, &layer);
        assert_eq!(Digest::of(&bytes), layer.diff_id);
        let mut archive = tar::Archive::new(bytes.as_slice());
        let mut found = BTreeMap::new();
        for entry in archive.entries().unwrap() {
            let mut entry = entry.unwrap();
            let header = entry.header();
            assert_eq!(header.mtime().unwrap(), 1_700_000_000);
            assert_eq!(header.username_bytes().unwrap_or_default(), b"");
            let facts = (header.mode().unwrap(), header.uid().unwrap(), header.gid().unwrap());
            let path = String::from_utf8(entry.path_bytes().into_owned()).unwrap();
            let target =
                entry.link_name_bytes().map(|target| String::from_utf8(target.into_owned()).unwrap());
            let mut content = Vec::new();
            entry.read_to_end(&mut content).unwrap();
            found.insert(path, (facts, target, content));
        }
        assert_eq!(found["usr/local/bin/rtcd"], ((0o555, 0, 0), None, content.clone()));
        assert_eq!(found["tmp/"].0, (0o1777, 65_532, 3_000_000));
        assert_eq!(found["lib"].1.as_deref(), Some("usr/lib"));
        assert_eq!(found["far"].1.as_deref(), Some("../t".repeat(60).as_str()));
        assert_eq!(found[&format!("{}/{}", "f".repeat(200), "n".repeat(120))].2, b"long");
        assert_eq!(found["usr/local/"].0, (0o755, 0, 0));
    }
}

#[test]
fn a_layer_that_lies_there_is_not_packed_again() {
    let (folder, layout) = layout();
    let application = folder.path().join("rtcd");
    std::fs::write(&application, b"one").unwrap();
    let pack = || {
        super::pack(&tree(&application), packing(Compression::Gzip), &layout, &mut Kept::of(&layout), &|_| {})
            .unwrap()
    };
    let first = pack();
    let second = pack();
    assert_eq!((first.origin, second.origin), (Origin::Packed, Origin::Kept));
    assert_eq!(first.descriptor, second.descriptor);

    std::fs::write(&application, b"two").unwrap();
    let third = pack();
    assert_eq!(third.origin, Origin::Packed, "of the same length, but another content");
    assert_ne!(third.descriptor.digest, first.descriptor.digest);

    std::fs::remove_file(layout.blob_path(&third.descriptor.digest)).unwrap();
    assert_eq!(pack().origin, Origin::Packed, "its blob is gone");
    std::fs::write(layout.root().join(".layers.json"), b"no notes").unwrap();
    let last = pack();
    assert_eq!((last.origin, last.descriptor), (Origin::Packed, third.descriptor));
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    let (folder, layout) = layout();
    let absent = folder.path().join("absent");
    let packed = pack(&tree(&absent), packing(Compression::Gzip), &layout, &mut Kept::of(&layout), &|_| {});
    assert!(matches!(packed, Err(Error::Unreadable { path, .. }) if path == absent));
}

#[test]
fn a_file_that_shrinks_or_grows_while_it_is_packed_is_found_out() {
    let (folder, _) = layout();
    let application = folder.path().join("rtcd");
    for length in [100_000_u64, 900_000] {
        std::fs::write(&application, vec![7; 500_000]).unwrap();
        let change = |_| {
            std::fs::OpenOptions::new().write(true).open(&application).unwrap().set_len(length).unwrap();
        };
        let written = write_tar(&tree(&application), 0, io::sink(), &change);
        assert!(
            matches!(&written, Err(Error::ChangedMeanwhile { path }) if *path == application),
            "{written:?}"
        );
    }
}

#[test]
fn a_file_that_is_written_while_it_is_packed_is_found_out_at_the_same_length_too() {
    let (folder, _) = layout();
    let application = folder.path().join("rtcd");
    std::fs::write(&application, vec![7; 500_000]).unwrap();
    // Clocks of files are coarse: what was written at the same moment would look unchanged.
    let long_ago = std::fs::FileTimes::new().set_modified(std::time::SystemTime::UNIX_EPOCH);
    let open = || std::fs::OpenOptions::new().write(true).open(&application).unwrap();
    open().set_times(long_ago).unwrap();
    let same = write_tar(&tree(&application), 0, io::sink(), &|_| {}).unwrap();
    assert_eq!(same.sha256(&application).unwrap(), Digest::of(&vec![7; 500_000]).hex());

    // A name more is no other content.
    let link = Cell::new(0);
    let name = |_| {
        link.set(link.get() + 1);
        std::fs::hard_link(&application, folder.path().join(link.get().to_string())).unwrap();
    };
    assert!(write_tar(&tree(&application), 0, io::sink(), &name).is_ok());

    let change = |_| open().write_all(b"8").unwrap();
    let written = write_tar(&tree(&application), 0, io::sink(), &change);
    assert!(matches!(&written, Err(Error::ChangedMeanwhile { path }) if *path == application), "{written:?}");
}

#[test]
fn a_full_disk_is_told_as_such() {
    let folder = tempfile::tempdir().unwrap();
    let application = folder.path().join("rtcd");
    std::fs::write(&application, vec![7; 500_000]).unwrap();
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let written = write_tar(&tree(&application), 0, full, &|_| {});
    assert!(matches!(written, Err(Error::Full { .. })), "{written:?}");
}

#[test]
fn nothing_half_written_stays_in_the_layout() {
    let (folder, layout) = layout();
    let absent = folder.path().join("absent");
    let application = folder.path().join("zz");
    std::fs::write(&application, b"").unwrap();
    let mut tree = tree(&application);
    tree.file("/zzz", READ, ROOT, Source::File(application.clone())).unwrap();
    let mut kept = Kept::of(&layout);
    // It is there when the shape is taken, and gone when it is read.
    let gone = |_| std::fs::rename(&application, &absent).unwrap();
    std::fs::write(&application, b"1").unwrap();
    let packed = pack(&tree, packing(Compression::Zstd), &layout, &mut kept, &gone);
    assert!(matches!(packed, Err(Error::Unreadable { .. })), "{packed:?}");
    assert_eq!(std::fs::read_dir(layout.root().join("blobs/sha256")).unwrap().count(), 0);
}

#[test]
fn a_damaged_blob_is_packed_again_and_replaced() {
    let (folder, layout) = layout();
    let application = folder.path().join("rtcd");
    std::fs::write(&application, b"one").unwrap();
    for compression in [Compression::None, Compression::Gzip, Compression::Zstd] {
        let pack = || {
            let mut kept = Kept::of(&layout);
            super::pack(&tree(&application), packing(compression), &layout, &mut kept, &|_| {}).unwrap()
        };
        let first = pack();
        let path = layout.blob_path(&first.descriptor.digest);
        let good = std::fs::read(&path).unwrap();
        let mut damaged = good.clone();
        damaged[good.len() / 2] ^= 1;
        for bytes in [&damaged[..], &good[..good.len() - 1]] {
            for notes in ["known", "lost"] {
                std::fs::write(&path, bytes).unwrap();
                if notes == "lost" {
                    std::fs::remove_file(layout.root().join(".layers.json")).unwrap();
                }
                let again = pack();
                assert_eq!(again, first, "{notes}");
                assert!(std::fs::read(&path).unwrap() == good, "{compression:?}, notes {notes}");
            }
        }
        assert_eq!(pack().origin, Origin::Kept);
    }
}
