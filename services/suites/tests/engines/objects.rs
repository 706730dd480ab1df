//! The store of objects on a server that speaks S3: what every store does, and what is wrong at the start.

use std::time::Duration;

use objects::{Error, Key};
use objects_s3::{OpenError, Options};

use crate::support::{Engine, Engines};

fn under(url: &str, prefix: &str) -> String {
    let (bucket, query) = url.split_once('?').expect("an address with an endpoint");
    format!("{bucket}/{prefix}?{query}")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s3_does_all_that_a_store_of_objects_does() {
    let engines = Engines::shared();
    let own = format!("test-{}", std::process::id());
    for (url, prefix) in [(under(&engines.s3(), &own), "suite/"), (engines.s3(), "suite/without/prefix/")] {
        let store = objects_s3::open(&url, Options::default()).await.unwrap();
        conformance::objects::all(&store, &format!("{prefix}{own}/")).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn prefixes_of_one_bucket_are_stores_of_their_own() {
    let engines = Engines::shared();
    let own = format!("own-{}", std::process::id());
    let one = objects_s3::open(&under(&engines.s3(), &format!("{own}/a")), Options::default()).await.unwrap();
    let other =
        objects_s3::open(&under(&engines.s3(), &format!("{own}/b")), Options::default()).await.unwrap();
    let key = Key::new("k").unwrap();
    one.put(&key, "one".into(), "text/plain").await.unwrap();
    assert_eq!(other.get(&key).await.unwrap(), None);
    assert_eq!(other.list("", None, 10).await.unwrap(), []);
    assert_eq!(one.list("", None, 10).await.unwrap()[0].key, key);
    one.remove(&key).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_goes_on_where_the_server_cut_it() {
    let engines = Engines::shared();
    let url = under(&engines.s3(), &format!("many-{}", std::process::id()));
    let store = objects_s3::open(&url, Options::default()).await.unwrap();
    let keys: Vec<Key> = (0..1_105).map(|n| Key::new(format!("k{n:04}")).unwrap()).collect();
    for key in &keys {
        store.put(key, "v".into(), "text/plain").await.unwrap();
    }
    let first = store.list("", None, 5_000).await.unwrap();
    assert_eq!(first.len(), objects::LIST_MAX);
    let rest = store.list("", first.last().map(|last| &last.key), 5_000).await.unwrap();
    let listed: Vec<Key> = first.into_iter().chain(rest).map(|one| one.key).collect();
    assert!(listed == keys, "{} of {} objects are listed", listed.len(), keys.len());
    for key in &keys {
        store.remove(key).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bucket_is_not_made_but_missed() {
    let engines = Engines::shared();
    let url = engines.s3().replacen("s3://", "s3://not-", 1);
    match objects_s3::open(&url, Options::default()).await {
        Err(OpenError::Refused(reason)) => assert!(reason.contains("an operator has to make it"), "{reason}"),
        Err(error) => panic!("{error}"),
        Ok(_) => panic!("a bucket that nobody made was opened"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_dies_and_returns_is_used_again() {
    let engines = Engines::start(&[Engine::S3]).await;
    let hurried = Options { deadline: Duration::from_secs(2), ..Options::default() };
    let store = objects_s3::open(&engines.s3(), hurried.clone()).await.unwrap();
    let key = Key::new("k").unwrap();
    store.put(&key, "v".into(), "text/plain").await.unwrap();
    engines.kill(Engine::S3).await;
    assert!(matches!(store.get(&key).await, Err(Error::Unavailable(_))));
    assert!(matches!(store.put(&key, "w".into(), "text/plain").await, Err(Error::Unavailable(_))));
    // Away at the start is no reason not to start.
    let late = objects_s3::open(&engines.s3(), hurried).await.unwrap();
    engines.revive(Engine::S3).await;
    for store in [store, late] {
        store.put(&key, "x".into(), "text/plain").await.unwrap();
        assert_eq!(store.get(&key).await.unwrap().unwrap().bytes.as_ref(), b"x");
    }
}
