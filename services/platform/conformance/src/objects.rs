//! What every store of objects must do. Keys are under a prefix of the caller's, so that suites may share a bucket.

use std::sync::Arc;

use bytes::Bytes;
use objects::{Key, LIST_MAX, Objects};

/// Everything below. `prefix` ends in `/` and nothing else is under it.
pub async fn all(objects: &Arc<dyn Objects>, prefix: &str) {
    what_is_not_there_is_no_error(objects.as_ref(), prefix).await;
    what_is_put_is_read_back(objects.as_ref(), prefix).await;
    an_object_is_replaced_whole(objects, prefix).await;
    lists_are_in_order_and_paged(objects.as_ref(), prefix).await;
    putting_makes_an_object_as_new_as_now(objects.as_ref(), prefix).await;
}

fn key(prefix: &str, name: &str) -> Key {
    Key::new(format!("{prefix}{name}")).expect("a good key")
}

const BINARY: &str = "application/octet-stream";

pub async fn what_is_not_there_is_no_error(objects: &dyn Objects, prefix: &str) {
    let missing = key(prefix, "missing/one");
    assert_eq!(objects.get(&missing).await.expect("an answer"), None);
    assert!(!objects.exists(&missing).await.expect("an answer"));
    objects.remove(&missing).await.expect("nothing to remove is no error");
    // What is the beginning of a key is no object.
    objects.put(&missing, "v".into(), BINARY).await.expect("put");
    assert_eq!(objects.get(&key(prefix, "missing")).await.expect("an answer"), None);
    assert!(!objects.exists(&key(prefix, "missing")).await.expect("an answer"));
    objects.remove(&missing).await.expect("remove");
    assert!(!objects.exists(&missing).await.expect("an answer"));
    assert_eq!(objects.list(prefix, None, 10).await.expect("a list"), []);
}

pub async fn what_is_put_is_read_back(objects: &dyn Objects, prefix: &str) {
    let every_byte: Vec<u8> = (0..=255).cycle().take(100_000).collect();
    for (n, bytes) in
        [Vec::new(), b"\0".to_vec(), every_byte, vec![7; 5 * 1024 * 1024]].into_iter().enumerate()
    {
        let (key, bytes) = (key(prefix, &format!("read/{n}.bin")), Bytes::from(bytes));
        objects.put(&key, bytes.clone(), BINARY).await.expect("put");
        assert!(objects.exists(&key).await.expect("an answer"));
        let object = objects.get(&key).await.expect("an answer").expect("an object");
        assert!(object.bytes == bytes, "object {n} came back as another");
        let listed = objects.list(key.as_str(), None, 10).await.expect("a list");
        assert_eq!((listed.len(), listed[0].bytes), (1, bytes.len() as u64));
        objects.remove(&key).await.expect("remove");
        assert_eq!(objects.get(&key).await.expect("an answer"), None);
    }
}

pub async fn an_object_is_replaced_whole(objects: &Arc<dyn Objects>, prefix: &str) {
    let key = key(prefix, "replaced");
    let versions: Vec<Bytes> = (1..=8_u8).map(|n| vec![n; usize::from(n) * 10_000].into()).collect();
    objects.put(&key, versions[0].clone(), BINARY).await.expect("put");
    let first = objects.get(&key).await.expect("an answer").expect("an object");
    let writers: Vec<_> = versions
        .iter()
        .map(|version| {
            let (objects, key, version) = (objects.clone(), key.clone(), version.clone());
            tokio::spawn(async move { objects.put(&key, version, BINARY).await })
        })
        .collect();
    for _ in 0..20 {
        let seen = objects.get(&key).await.expect("an answer").expect("never away");
        assert!(versions.contains(&seen.bytes), "parts of two versions were seen");
    }
    for writer in writers {
        writer.await.expect("a writer that ends").expect("put");
    }
    objects.put(&key, "another".into(), BINARY).await.expect("put");
    let last = objects.get(&key).await.expect("an answer").expect("an object");
    assert_eq!(last.bytes.as_ref(), b"another");
    assert_ne!(last.etag, first.etag);
    objects.remove(&key).await.expect("remove");
}

pub async fn lists_are_in_order_and_paged(objects: &dyn Objects, prefix: &str) {
    // In the order of bytes, `-` and `.` come before `/`, which comes before digits.
    let names = [
        "list/A",
        "list/a-b",
        "list/a.b",
        "list/a/1",
        "list/a/b/2",
        "list/a0",
        "list/b/1",
        "list/b/2",
        "lists",
    ];
    for name in names.iter().rev() {
        objects.put(&key(prefix, name), "v".into(), BINARY).await.expect("put");
    }
    let listed = async |under: &str, after: Option<&str>, limit: usize| -> Vec<String> {
        let after = after.map(|after| key(prefix, after));
        let found = objects.list(&format!("{prefix}{under}"), after.as_ref(), limit).await.expect("a list");
        found.into_iter().map(|one| one.key.as_str()[prefix.len()..].to_owned()).collect()
    };
    assert_eq!(listed("", None, 100).await, names);
    assert_eq!(listed("list/", None, 100).await, names[..8]);
    assert_eq!(listed("list/a", None, 100).await, names[1..6]);
    assert_eq!(listed("list/a/", None, 100).await, names[3..5]);
    assert_eq!(listed("list/c", None, 100).await, [""; 0]);
    assert_eq!(listed("list/", None, 0).await, [""; 0]);
    // A key that is not there (any more) is a good place to go on from.
    assert_eq!(listed("list/", Some("list/a/7"), 2).await, names[4..6]);
    for size in 1..=4 {
        let (mut paged, mut after) = (Vec::new(), None);
        loop {
            let page = listed("", after.as_deref(), size).await;
            let is_last = page.len() < size;
            after = page.last().cloned().or(after);
            paged.extend(page);
            if is_last {
                break;
            }
        }
        assert_eq!(paged, names, "in pages of {size}");
    }
    for name in names {
        objects.remove(&key(prefix, name)).await.expect("remove");
    }
    assert_eq!(listed("", None, LIST_MAX + 1).await, [""; 0]);
}

pub async fn putting_makes_an_object_as_new_as_now(objects: &dyn Objects, prefix: &str) {
    let key = key(prefix, "touched");
    let modified_at = async || {
        let listed = objects.list(key.as_str(), None, 1).await.expect("a list");
        listed[0].modified_at
    };
    objects.put(&key, "same".into(), BINARY).await.expect("put");
    let first = modified_at().await;
    // Stores know seconds only.
    tokio::time::sleep(std::time::Duration::from_millis(1_100)).await;
    objects.put(&key, "same".into(), BINARY).await.expect("put");
    assert!(modified_at().await > first);
    objects.remove(&key).await.expect("remove");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_folder_does_all_of_it() {
        let directory = tempfile::tempdir().expect("a directory");
        let clock = Arc::new(kernel::SystemClock);
        let folder = objects::Folder::new(directory.path(), kernel::IdSource::new(clock, 1));
        let folder: Arc<dyn Objects> = Arc::new(folder);
        all(&folder, "suite/").await;
        all(&folder, "again/and/deeper/").await;
    }
}
