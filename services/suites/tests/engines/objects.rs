//! The store of objects on a server that speaks S3: what every store does, and what is wrong at the start.

use std::time::Duration;

use objects::{Error, Key};
use objects_s3::{OpenError, Options};
use suites::platform::Platform;

use crate::support::{Engine, Engines, Shopper};

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

const PICTURE: &[u8] = b"\x89PNG\r\n\x1a\nrest of a picture";

/// Uploads a picture and answers the status and the product.
async fn upload(base: &str, token: &str, product: &str, bytes: &[u8]) -> (u16, serde_json::Value) {
    let head = b"--b\r\ncontent-disposition: form-data; name=\"image\"; filename=\"a.png\"\r\n\r\n";
    let body = [head.as_slice(), bytes, b"\r\n--b--\r\n"].concat();
    let client = reqwest::Client::builder().timeout(Duration::from_secs(60)).build().unwrap();
    let request = client.post(format!("{base}{product}/images")).bearer_auth(token).body(body);
    let answer = request.header("content-type", "multipart/form-data; boundary=b").send().await.unwrap();
    (answer.status().as_u16(), answer.json().await.unwrap_or_default())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_shop_goes_on_without_pictures_while_s3_stands_still() {
    let engines = Engines::start(&[Engine::S3]).await;
    let directory = crate::faults::shop::seeded(&engines).await;
    let data = directory.path().join("data");
    let platform = Platform::spawn(engines.rtcd(&data, &[]), &data).await;
    let base = platform.run["api_url"].as_str().expect("an address").to_owned();
    let (shopper, admin) = (Shopper::demo(&platform).await, Shopper::admin(&platform).await);
    let products = shopper.get("/api/v1/products?limit=1").await.expect(200);
    let product = format!("/api/v1/products/{}", products["data"][0]["id"].as_str().expect("a product"));
    let (status, view) = upload(&base, &admin.token, &product, PICTURE).await;
    assert_eq!(status, 201, "{view}");
    let image = view["images"].as_array().and_then(|images| images.last()).expect("a picture").clone();
    let image = format!("{base}{}", image.as_str().expect("an address"));
    let client = reqwest::Client::builder().timeout(Duration::from_secs(60)).build().unwrap();
    let shown = async || client.get(&image).send().await.unwrap();
    assert_eq!(shown().await.bytes().await.unwrap().as_ref(), PICTURE);
    assert!(!data.join("objects").exists(), "pictures are not in a folder");

    engines.pause(Engine::S3).await;
    assert_eq!(shopper.get(&product).await.expect(200), view);
    let refused = shown().await;
    assert_eq!(refused.status(), 503);
    assert!(refused.headers().contains_key("retry-after"));
    let (status, problem) = upload(&base, &admin.token, &product, &[PICTURE, b"2"].concat()).await;
    assert_eq!((status, problem["code"].as_str()), (503, Some("objects_unavailable")), "{problem}");
    assert_eq!(shopper.get(&product).await.expect(200), view, "a refused upload changes nothing");
    engines.resume(Engine::S3).await;

    assert_eq!(shown().await.bytes().await.unwrap().as_ref(), PICTURE);
    let (status, _) = upload(&base, &admin.token, &product, &[PICTURE, b"2"].concat()).await;
    assert_eq!(status, 201);
    platform.invariants_hold().await;
    assert_eq!(platform.stop().await, 0);
}
