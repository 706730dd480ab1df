//! F11: the cache emptied or away, the store of objects away: degraded, and correct.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use ::cache::{Cache, Count, Lease, Lookup, Memory, Metrics, Reach};
use ::objects::{Error, Folder, Key, Listed, Object, Objects};
use async_trait::async_trait;
use bytes::Bytes;
use contracts::ProductId;
use serde_json::json;
use tokio::sync::oneshot;

use super::images::{PNG, form, stored_files, upload};
use super::*;
use crate::cache::{ProductCache, Rendered, Seen};

/// A cache that knows nothing.
#[derive(Default)]
struct Away(Metrics);

#[async_trait]
impl Cache for Away {
    fn reach(&self) -> Reach {
        Reach::Shared
    }

    async fn get(&self, _: &str) -> Lookup {
        Lookup::Miss(Lease::VOID)
    }

    async fn put(&self, _: &str, lease: Lease, _: Bytes, _: Duration) {
        panic!("{lease:?}: nothing may be kept");
    }

    async fn remove(&self, _: &str) {}

    async fn add(&self, _: &str, _: u32, _: Duration) -> Option<Count> {
        None
    }

    fn metrics(&self) -> &Metrics {
        &self.0
    }
}

/// Two who read while there is no cache, and between them a change by another process, which this one does not hear of.
#[tokio::test]
async fn without_a_cache_nobody_is_given_what_was_read_before_he_came() {
    let cache = ProductCache::new(Arc::new(Away::default()));
    let id: ProductId = format!("prd_{}1", "0".repeat(31)).parse().unwrap();
    let seen = |version| Seen::Product(Rendered { version, body: format!("v{version}").into() });
    let (release, released) = oneshot::channel::<()>();
    let (started, has_started) = oneshot::channel::<()>();
    let early = {
        let cache = cache.clone();
        let load = async move {
            started.send(()).unwrap();
            released.await.unwrap();
            Ok(seen(1))
        };
        tokio::spawn(async move { cache.get_or_load(id, load).await })
    };
    has_started.await.unwrap();
    let loads = Arc::new(AtomicUsize::new(0));
    let late: Vec<_> = (0..20)
        .map(|_| {
            let (cache, loads) = (cache.clone(), loads.clone());
            let load = async move {
                loads.fetch_add(1, Ordering::SeqCst);
                Ok(seen(2))
            };
            tokio::spawn(async move { cache.get_or_load(id, load).await })
        })
        .collect();
    tokio::task::yield_now().await;
    release.send(()).unwrap();
    assert_eq!(early.await.unwrap().unwrap(), seen(1));
    for reader in late {
        assert_eq!(reader.await.unwrap().unwrap(), seen(2));
    }
    assert_eq!(loads.load(Ordering::SeqCst), 1, "one read for all who came meanwhile");
    // Nothing is left of it: who comes now reads for himself, also after somebody who failed or gave up.
    assert!(cache.get_or_load(id, async { Err(kernel::Error::unavailable("x", "x")) }).await.is_err());
    let gone = tokio::time::timeout(Duration::ZERO, cache.get_or_load(id, std::future::pending())).await;
    assert!(gone.is_err());
    assert_eq!(cache.get_or_load(id, async { Ok(seen(3)) }).await.unwrap(), seen(3));
    assert!(cache.is_at_rest());
}

/// A folder that can be told to answer nothing.
pub struct Moody {
    folder: Folder,
    pub is_away: AtomicBool,
}

impl Moody {
    fn available(&self) -> Result<&Folder, Error> {
        if self.is_away.load(Ordering::SeqCst) {
            return Err(Error::Unavailable("503 SlowDown".to_owned()));
        }
        Ok(&self.folder)
    }
}

#[async_trait]
impl Objects for Moody {
    async fn put(&self, key: &Key, bytes: Bytes, content_type: &str) -> Result<(), Error> {
        self.available()?.put(key, bytes, content_type).await
    }

    async fn get(&self, key: &Key) -> Result<Option<Object>, Error> {
        self.available()?.get(key).await
    }

    async fn exists(&self, key: &Key) -> Result<bool, Error> {
        self.available()?.exists(key).await
    }

    async fn remove(&self, key: &Key) -> Result<(), Error> {
        self.available()?.remove(key).await
    }

    async fn list(&self, prefix: &str, after: Option<&Key>, limit: usize) -> Result<Vec<Listed>, Error> {
        self.available()?.list(prefix, after, limit).await
    }
}

/// A house whose store of objects can go away.
pub async fn moody_house() -> (House, Arc<Moody>) {
    let mut store = None;
    let house = House::build(&[], async |context| {
        let mut context = context.clone();
        let folder = Folder::new(context.config.data.join("objects"), context.ids.clone());
        let moody = Arc::new(Moody { folder, is_away: AtomicBool::new(false) });
        store = Some(moody.clone());
        context.objects = moody;
        Ok::<_, host::StartError>(vec![crate::service(&context).await?])
    })
    .await;
    (house, store.expect("a store"))
}

async fn house_with(cache: Arc<dyn Cache>) -> House {
    House::build(&[], async |context| {
        let mut context = context.clone();
        context.cache = cache;
        Ok::<_, host::StartError>(vec![crate::service(&context).await?])
    })
    .await
}

#[tokio::test]
async fn without_a_cache_everything_is_answered_and_fresh() {
    let house = house_with(Arc::new(Away::default())).await;
    let product = create(&house, &tea("TEA-1")).await;
    for version in 1..5 {
        assert_eq!(show(&house, &product).await.expect(200)["version"], version);
        patch(&house, &product, version, &json!({"name": format!("차 {version}")})).await.expect(200);
    }
    archive(&house, &product, 5).await.expect(204);
    show(&house, &product).await.expect_problem(404, "product_not_found");
    house.settle().await;
}

#[tokio::test]
async fn a_cache_that_is_emptied_is_filled_again() {
    let cache = Arc::new(Memory::default());
    let house = house_with(cache.clone()).await;
    let product = create(&house, &tea("TEA-1")).await;
    let before = show(&house, &product).await.expect(200);
    cache.clear();
    assert_eq!(show(&house, &product).await.expect(200), before);
    assert_eq!(show(&house, &product).await.expect(200), before);
    let (hits, misses, _) = cache.metrics().lookups();
    assert_eq!((hits, misses), (1, 2));
    house.settle().await;
}

/// Two processes on one database and one cache: what one changes the other shows at once.
#[tokio::test]
async fn two_replicas_show_a_change_at_once() {
    let cache = Arc::new(Memory::default());
    let directory = tempfile::tempdir().unwrap();
    let replica = async || {
        let files = files_in(directory.path());
        House::build(&[], async |context| {
            let mut context = context.clone();
            (context.databases, context.cache) = (files, cache.clone());
            Ok::<_, host::StartError>(vec![crate::service(&context).await?])
        })
        .await
    };
    let (one, other) = (replica().await, replica().await);
    let product = create(&one, &tea("TEA-1")).await;
    for version in 1..20 {
        let (writer, reader) = if version % 2 == 0 { (&one, &other) } else { (&other, &one) };
        show(reader, &product).await.expect(200);
        patch(writer, &product, version, &json!({"name": format!("차 {version}")})).await.expect(200);
        for house in [reader, writer] {
            assert_eq!(show(house, &product).await.expect(200)["version"], version + 1);
        }
    }
    one.leave_unsettled();
    other.leave_unsettled();
}

#[tokio::test]
async fn while_the_store_is_away_products_are_served_and_pictures_answer_503() {
    let (house, store) = moody_house().await;
    let product = create(&house, &tea("TEA-1")).await;
    let view = upload(&house, &product, form("image/png", PNG)).await.expect(201);
    let image = view["images"][0].as_str().unwrap().to_owned();
    let etag = house.get(&image).send().await.header("etag").unwrap().to_owned();
    store.is_away.store(true, Ordering::SeqCst);

    assert_eq!(show(&house, &product).await.expect(200), view);
    house.get("/api/v1/products").send().await.expect(200);
    let refused = house.get(&image).send().await;
    assert_eq!(refused.header("retry-after"), Some("2"));
    refused.expect_problem(503, "objects_unavailable");
    assert_eq!(house.get(&image).header("if-none-match", &etag).send().await.status, 304);

    let another = form("image/png", &[PNG, b"another"].concat());
    upload(&house, &product, another.clone()).await.expect_problem(503, "objects_unavailable");
    assert_eq!(show(&house, &product).await.expect(200), view, "a refused upload changes nothing");
    // What needs no picture goes on.
    patch(&house, &product, 2, &json!({"name": "다른 차"})).await.expect(200);

    store.is_away.store(false, Ordering::SeqCst);
    assert_eq!(house.get(&image).send().await.bytes, PNG);
    let view = upload(&house, &product, another).await.expect(201);
    assert_eq!(view["images"].as_array().unwrap().len(), 2);
    assert_eq!(stored_files(&house).len(), 2);
    house.settle().await;
}
