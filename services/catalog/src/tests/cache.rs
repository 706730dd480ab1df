//! The cache of products: fresh after every change, filled once, gone without loss.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use ::cache::Memory;
use contracts::ProductId;
use db::params;
use kernel::Error;
use serde_json::json;
use tokio::sync::oneshot;

use super::*;
use crate::cache::{ProductCache, Rendered, Seen};

fn seen(version: i64) -> Seen {
    Seen::Product(Rendered { version, body: format!("v{version}").into() })
}

fn id() -> ProductId {
    format!("prd_{}1", "0".repeat(31)).parse().unwrap()
}

fn cache() -> ProductCache {
    ProductCache::new(Arc::new(Memory::default()))
}

/// What the cache gives without loading.
async fn known(cache: &ProductCache) -> Option<Seen> {
    cache.get_or_load(id(), async { Err(Error::internal("nothing is known")) }).await.ok()
}

/// A reader that has begun to load version 1 and goes on when it is told to.
async fn slow_reader(
    cache: &ProductCache,
) -> (oneshot::Sender<()>, tokio::task::JoinHandle<kernel::Result<Seen>>) {
    let (release, released) = oneshot::channel::<()>();
    let (started, has_started) = oneshot::channel::<()>();
    let cache = cache.clone();
    let reader = tokio::spawn(async move {
        let load = async {
            started.send(()).unwrap();
            released.await.unwrap();
            Ok(seen(1))
        };
        cache.get_or_load(id(), load).await
    });
    has_started.await.unwrap();
    (release, reader)
}

#[tokio::test]
async fn what_was_read_before_a_change_is_not_kept_after_it() {
    let cache = cache();
    let (release, slow) = slow_reader(&cache).await;
    // The change commits while the old row is in the reader's hands.
    cache.remove(id()).await;
    let after = cache.get_or_load(id(), async { Ok(seen(2)) }).await.unwrap();
    assert_eq!(after, seen(2));
    release.send(()).unwrap();
    assert_eq!(slow.await.unwrap().unwrap(), seen(1));
    assert_eq!(known(&cache).await, Some(seen(2)));
}

#[tokio::test]
async fn nobody_waits_for_a_fill_that_began_before_another_process_changed_the_product() {
    let shared = Arc::new(Memory::default());
    let (here, there) = (ProductCache::new(shared.clone()), ProductCache::new(shared));
    let (release, slow) = slow_reader(&here).await;
    there.remove(id()).await;
    let after = here.get_or_load(id(), async { Ok(seen(2)) });
    let after = tokio::time::timeout(Duration::from_secs(10), after).await.expect("it does not wait");
    assert_eq!(after.unwrap(), seen(2));
    release.send(()).unwrap();
    assert_eq!(slow.await.unwrap().unwrap(), seen(1));
    for cache in [&here, &there] {
        assert_eq!(known(cache).await, Some(seen(2)));
    }
}

#[tokio::test]
async fn a_change_whose_caller_is_gone_is_removed_all_the_same() {
    let cache = cache();
    cache.get_or_load(id(), async { Ok(seen(1)) }).await.unwrap();
    cache.remove_soon(id());
    tokio::task::yield_now().await;
    assert_eq!(known(&cache).await, None);
}

#[tokio::test]
async fn many_misses_are_one_fill() {
    let cache = cache();
    let loads = Arc::new(AtomicUsize::new(0));
    let (release, released) = tokio::sync::watch::channel(false);
    let readers: Vec<_> = (0..50)
        .map(|_| {
            let (cache, loads, mut released) = (cache.clone(), loads.clone(), released.clone());
            tokio::spawn(async move {
                let load = async {
                    loads.fetch_add(1, Ordering::SeqCst);
                    released.wait_for(|free| *free).await.unwrap();
                    Ok(seen(1))
                };
                cache.get_or_load(id(), load).await.unwrap()
            })
        })
        .collect();
    tokio::task::yield_now().await;
    release.send(true).unwrap();
    for reader in readers {
        assert_eq!(reader.await.unwrap(), seen(1));
    }
    assert_eq!(loads.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_failed_or_abandoned_fill_is_not_remembered() {
    let cache = cache();
    let failed = cache.get_or_load(id(), async { Err(Error::unavailable("x", "x")) }).await;
    assert!(failed.is_err());
    let abandoned = tokio::time::timeout(Duration::ZERO, cache.get_or_load(id(), std::future::pending()));
    assert!(abandoned.await.is_err());
    assert_eq!(cache.get_or_load(id(), async { Ok(seen(3)) }).await.unwrap(), seen(3));
}

#[tokio::test(start_paused = true)]
async fn entries_age_out() {
    let cache = cache();
    cache.get_or_load(id(), async { Ok(seen(1)) }).await.unwrap();
    tokio::time::advance(Duration::from_millis(29_999)).await;
    assert_eq!(known(&cache).await, Some(seen(1)));
    tokio::time::advance(Duration::from_millis(1)).await;
    assert_eq!(known(&cache).await, None);
    cache.get_or_load(id(), async { Ok(Seen::Nothing) }).await.unwrap();
    tokio::time::advance(Duration::from_millis(4_999)).await;
    assert_eq!(known(&cache).await, Some(Seen::Nothing));
    tokio::time::advance(Duration::from_millis(1)).await;
    assert_eq!(known(&cache).await, None);
}

/// Changes the row behind the service's back: what is still answered as before came from the cache.
#[tokio::test]
async fn a_hit_does_not_ask_the_database() {
    let house = house().await;
    let product = create(&house, &tea("TEA-1")).await;
    // Twice: the first may meet the removal that follows the commit.
    show(&house, &product).await.expect(200);
    show(&house, &product).await.expect(200);
    house
        .service("catalog")
        .db
        .write(|tx| tx.execute("UPDATE products SET name = 'changed by hand'", params![]))
        .await
        .unwrap();
    assert_eq!(show(&house, &product).await.expect(200)["name"], "제주 녹차");
    let staff = house.get(&format!("/api/v1/products/{product}")).token(&seller(&house)).send().await;
    assert_eq!(staff.expect(200)["name"], "changed by hand");
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(30)).await;
    tokio::time::resume();
    assert_eq!(show(&house, &product).await.expect(200)["name"], "changed by hand");
    house.settle().await;
}

#[tokio::test]
async fn a_product_that_was_missing_appears_at_once() {
    let house = house().await;
    let product = create(&house, &with(tea("TEA-1"), &json!({"status": "draft"}))).await;
    show(&house, &product).await.expect_problem(404, "product_not_found");
    patch(&house, &product, 1, &json!({"status": "active"})).await.expect(200);
    show(&house, &product).await.expect(200);
    archive(&house, &product, 2).await.expect(204);
    show(&house, &product).await.expect_problem(404, "product_not_found");
    house.settle().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nobody_reads_an_older_version_than_one_already_answered() {
    let directory = tempfile::tempdir().unwrap();
    let house = Arc::new(house_in(directory.path()).await);
    let product = create(&house, &tea("TEA-1")).await;
    let answered = Arc::new(std::sync::atomic::AtomicI64::new(1));
    let readers: Vec<_> = (0..3)
        .map(|_| {
            let (house, product, answered) = (house.clone(), product.clone(), answered.clone());
            tokio::spawn(async move {
                for _ in 0..400 {
                    let at_least = answered.load(Ordering::SeqCst);
                    let version = show(&house, &product).await.expect(200)["version"].as_i64().unwrap();
                    assert!(version >= at_least, "read {version} after {at_least} was answered");
                    tokio::task::yield_now().await;
                }
            })
        })
        .collect();
    for version in 1..100 {
        patch(&house, &product, version, &json!({"name": format!("차 {version}")})).await.expect(200);
        answered.store(version + 1, Ordering::SeqCst);
    }
    for reader in readers {
        reader.await.unwrap();
    }
    settle_files(&house).await;
}
