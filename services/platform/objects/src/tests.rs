//! Keys, and what is particular to a folder; what every store does is told by the conformance suite.

use std::sync::Arc;

use kernel::{IdSource, SystemClock};

use super::*;

fn folder(root: &std::path::Path) -> Folder {
    Folder::new(root, IdSource::new(Arc::new(SystemClock), 1))
}

#[test]
fn no_key_leads_out_of_its_store() {
    for text in ["a", "a/b.png", "A-1_2/b..", "0123/abc.def.gh", "-"] {
        assert_eq!(Key::new(text).unwrap().as_str(), text);
    }
    let long = "a".repeat(513);
    for text in [
        "",
        "/",
        "/a",
        "a/",
        "a//b",
        ".",
        "..",
        "../a",
        "a/../b",
        "a/..b",
        "a/..",
        ".aside/x",
        "a\\b",
        "a b",
        "a\0",
        "ä",
        "a%2fb",
        "a?b",
        long.as_str(),
    ] {
        assert!(Key::new(text).is_err(), "{text:?}");
    }
}

#[tokio::test]
async fn nothing_is_left_aside() {
    let directory = tempfile::tempdir().unwrap();
    let store = folder(directory.path());
    let key = Key::new("ab/one").unwrap();
    store.put(&key, "1".into(), "text/plain").await.unwrap();
    store.put(&key, "22".into(), "text/plain").await.unwrap();
    assert_eq!(std::fs::read_dir(directory.path().join(".aside")).unwrap().count(), 0);
    assert_eq!(std::fs::read(directory.path().join("ab/one")).unwrap(), b"22");
}

#[tokio::test]
async fn what_a_dead_process_left_aside_is_cleared_away_and_never_listed() {
    let directory = tempfile::tempdir().unwrap();
    let aside = directory.path().join(".aside");
    std::fs::create_dir_all(&aside).unwrap();
    for (name, age_s) in [("old", 7_200), ("new", 0)] {
        let file = std::fs::File::create(aside.join(name)).unwrap();
        let then = file.metadata().unwrap().modified().unwrap() - std::time::Duration::from_secs(age_s);
        file.set_modified(then).unwrap();
    }
    let store = folder(directory.path());
    assert_eq!((aside.join("old").exists(), aside.join("new").exists()), (false, true));
    assert_eq!(store.list("", None, 10).await.unwrap(), []);
}

#[tokio::test]
async fn the_same_object_again_is_as_new_as_now() {
    let directory = tempfile::tempdir().unwrap();
    let store = folder(directory.path());
    let key = Key::new("ab/one").unwrap();
    store.put(&key, "1".into(), "text/plain").await.unwrap();
    let path = directory.path().join("ab/one");
    let file = std::fs::File::options().write(true).open(&path).unwrap();
    file.set_modified(std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_000)).unwrap();
    let old = store.list("", None, 1).await.unwrap()[0].modified_at;
    assert_eq!(old.as_millis(), 1_000_000);
    store.put(&key, "1".into(), "text/plain").await.unwrap();
    assert!(store.list("", None, 1).await.unwrap()[0].modified_at > old);
}

#[tokio::test]
async fn a_folder_that_cannot_be_written_is_an_error_and_no_panic() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    std::fs::write(&file, "").unwrap();
    let store = folder(&file);
    let key = Key::new("ab/one").unwrap();
    let refused = store.put(&key, "1".into(), "text/plain").await.unwrap_err();
    assert_eq!(kernel::Error::from(refused).http_status(), 503);
    assert_eq!(store.get(&key).await.unwrap(), None);
}
