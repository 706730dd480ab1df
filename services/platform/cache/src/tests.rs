//! What is particular to the cache in memory; what every cache does is told by the conformance suite.

use super::*;

const SECOND: Duration = Duration::from_secs(1);

async fn keep(cache: &Memory, key: &str, value: impl Into<Bytes>) {
    if let Lookup::Miss(lease) = cache.get(key).await {
        cache.put(key, lease, value.into(), SECOND).await;
    }
}

#[tokio::test]
async fn what_is_kept_stays_within_its_bound() {
    let cache = Memory::new(1024 * 1024);
    for n in 0..2_000 {
        keep(&cache, &format!("k{n}"), vec![7; 4_096]).await;
    }
    let mut found = 0;
    for n in 0..2_000 {
        found += usize::from(cache.get(&format!("k{n}")).await.hit().is_some());
    }
    assert!((1..=256).contains(&found), "{found} of 2000 values of 4 KiB in 1 MiB");
}

#[tokio::test]
async fn what_is_too_large_is_not_kept() {
    let cache = Memory::new(1024 * 1024 * 1024);
    keep(&cache, "fits", vec![1; VALUE_BYTES_MAX]).await;
    keep(&cache, "large", vec![1; VALUE_BYTES_MAX + 1]).await;
    assert!(cache.get("fits").await.hit().is_some());
    assert_eq!(cache.get("large").await.hit(), None);
}

#[tokio::test]
async fn a_hit_copies_no_bytes() {
    let cache = Memory::new(1024 * 1024);
    let value = Bytes::from(vec![7; 1_000]);
    keep(&cache, "k", value.clone()).await;
    assert_eq!(cache.get("k").await.hit().unwrap().as_ptr(), value.as_ptr());
}

#[tokio::test]
async fn what_was_asked_is_counted() {
    let cache = Memory::new(1024 * 1024);
    keep(&cache, "k", "v").await;
    cache.get("k").await;
    cache.clear();
    cache.get("k").await;
    assert_eq!(cache.metrics().lookups(), (1, 2, 0));
    let mut registry = prometheus_client::registry::Registry::default();
    cache.metrics().register(&mut registry);
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
    assert!(text.contains("rtc_cache_lookups_total{result=\"miss\"} 2"), "{text}");
    assert!(text.contains("rtc_cache_up 1"), "{text}");
}
