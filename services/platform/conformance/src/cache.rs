//! What every cache must do. Keys are under a name of the caller's, so that suites may share an engine.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cache::{Cache, Lease, Lookup, VALUE_BYTES_MAX};

const LONG: Duration = Duration::from_secs(60);
const SHORT: Duration = Duration::from_millis(40);
/// What an engine may be late with an expiry.
const SLACK: Duration = Duration::from_millis(60);

/// Everything below. `name` makes the keys this run's own.
pub async fn all(cache: &Arc<dyn Cache>, name: &str) {
    nothing_is_known_at_first(cache.as_ref(), name).await;
    what_is_kept_is_found_until_it_is_removed(cache.as_ref(), name).await;
    values_are_bytes_of_any_kind_and_size(cache.as_ref(), name).await;
    a_value_ends_with_its_time(cache.as_ref(), name).await;
    a_lease_is_good_once_and_for_its_key(cache.as_ref(), name).await;
    readers_that_miss_together_share_a_lease(cache.as_ref(), name).await;
    no_interleaving_leaves_a_value_that_is_out_of_date(cache.as_ref(), name).await;
    a_counter_counts_and_begins_anew(cache.as_ref(), name).await;
    no_addition_is_lost(cache, name).await;
}

async fn lease(cache: &dyn Cache, key: &str) -> Lease {
    match cache.get(key).await {
        Lookup::Miss(lease) => lease,
        Lookup::Hit(value) => panic!("{key} is known: {} bytes", value.len()),
    }
}

async fn keep(cache: &dyn Cache, key: &str, value: impl Into<Bytes>, ttl: Duration) {
    let lease = lease(cache, key).await;
    cache.put(key, lease, value.into(), ttl).await;
}

async fn known(cache: &dyn Cache, key: &str) -> Option<Bytes> {
    cache.get(key).await.hit()
}

pub async fn nothing_is_known_at_first(cache: &dyn Cache, name: &str) {
    let key = format!("{name}/never");
    assert_ne!(lease(cache, &key).await, Lease::VOID, "a cache that answers gives a lease");
    cache.remove(&format!("{name}/never-either")).await;
    assert_eq!(known(cache, &format!("{name}/never-either")).await, None);
}

pub async fn what_is_kept_is_found_until_it_is_removed(cache: &dyn Cache, name: &str) {
    let (one, other) = (format!("{name}/kept"), format!("{name}/kept2"));
    keep(cache, &one, "first", LONG).await;
    keep(cache, &other, "second", LONG).await;
    assert_eq!(known(cache, &one).await.as_deref(), Some(b"first".as_slice()));
    assert_eq!(known(cache, &one).await.as_deref(), Some(b"first".as_slice()));
    cache.remove(&one).await;
    assert_eq!(known(cache, &one).await, None);
    assert_eq!(known(cache, &other).await.as_deref(), Some(b"second".as_slice()));
}

pub async fn values_are_bytes_of_any_kind_and_size(cache: &dyn Cache, name: &str) {
    let every_byte: Vec<u8> = (0..=255).cycle().take(1_024).collect();
    let values = [
        Bytes::new(),
        Bytes::from_static(b"\0"),
        Bytes::from_static(b"\r\n$-1\r\n"),
        Bytes::from_static("값 VL".as_bytes()),
        Bytes::from(every_byte),
        Bytes::from(vec![0x5a; 1024 * 1024]),
    ];
    for (n, value) in values.into_iter().enumerate() {
        let key = format!("{name}/value{n}");
        keep(cache, &key, value.clone(), LONG).await;
        assert!(known(cache, &key).await == Some(value), "value {n} came back as another");
        cache.remove(&key).await;
    }
    let key = format!("{name}/too-large");
    keep(cache, &key, vec![1; VALUE_BYTES_MAX + 1], LONG).await;
    assert_eq!(known(cache, &key).await, None);
}

pub async fn a_value_ends_with_its_time(cache: &dyn Cache, name: &str) {
    let (short, long) = (format!("{name}/short"), format!("{name}/long"));
    keep(cache, &long, "v", LONG).await;
    keep(cache, &short, "v", SHORT).await;
    assert!(known(cache, &short).await.is_some());
    tokio::time::sleep(SHORT + SLACK).await;
    assert_eq!(known(cache, &short).await, None);
    assert!(known(cache, &long).await.is_some());
    keep(cache, &short, "w", LONG).await;
    assert_eq!(known(cache, &short).await.as_deref(), Some(b"w".as_slice()));
}

pub async fn a_lease_is_good_once_and_for_its_key(cache: &dyn Cache, name: &str) {
    let (key, other) = (format!("{name}/lease"), format!("{name}/lease2"));
    let first = lease(cache, &key).await;
    lease(cache, &other).await;
    cache.put(&other, first, "by another's lease".into(), LONG).await;
    assert_eq!(known(cache, &other).await, None);
    cache.put(&key, Lease::VOID, "by none".into(), LONG).await;
    assert_eq!(known(cache, &key).await, None);
    cache.put(&key, first, "one".into(), LONG).await;
    cache.put(&key, first, "two".into(), LONG).await;
    assert_eq!(known(cache, &key).await.as_deref(), Some(b"one".as_slice()));
    cache.remove(&key).await;
    cache.put(&key, first, "three".into(), LONG).await;
    assert_eq!(known(cache, &key).await, None);
    // Struck out is struck out, also where somebody has a newer one.
    let second = lease(cache, &key).await;
    cache.put(&key, first, "four".into(), LONG).await;
    assert_eq!(known(cache, &key).await, None);
    cache.put(&key, second, "five".into(), LONG).await;
    assert_eq!(known(cache, &key).await.as_deref(), Some(b"five".as_slice()));
}

pub async fn readers_that_miss_together_share_a_lease(cache: &dyn Cache, name: &str) {
    let key = format!("{name}/together");
    let (first, second) = (lease(cache, &key).await, lease(cache, &key).await);
    assert_eq!(first, second);
    // The first may have died; the second keeps what it read.
    cache.put(&key, second, "v".into(), LONG).await;
    assert!(known(cache, &key).await.is_some());
}

/// Every order in which the steps of these actors can happen: `steps[n]` is how many the n-th takes.
fn schedules(steps: &[usize]) -> Vec<Vec<usize>> {
    if steps.iter().all(|left| *left == 0) {
        return vec![Vec::new()];
    }
    let mut all = Vec::new();
    for actor in 0..steps.len() {
        if steps[actor] == 0 {
            continue;
        }
        let mut left = steps.to_vec();
        left[actor] -= 1;
        all.extend(schedules(&left).into_iter().map(|mut rest| {
            rest.insert(0, actor);
            rest
        }));
    }
    all
}

#[derive(Clone, Copy)]
enum Reader {
    Fresh,
    Missed(Lease),
    Read(Lease, u8),
    Done,
}

/// Readers look, read the source and keep; writers change the source and remove. In every order of these steps nobody
/// finds a value that was out of date when the last removal of a change before it was done.
///
/// # Panics
/// With the order in which it happened otherwise.
pub async fn no_interleaving_leaves_a_value_that_is_out_of_date(cache: &dyn Cache, name: &str) {
    for (readers, writers) in [(2, 1), (1, 2)] {
        if let Some(order) = first_stale_interleaving(cache, &format!("{name}/walk"), readers, writers).await
        {
            panic!(
                "a value that is out of date after {order:?} of {readers} readers, then {writers} writers"
            );
        }
    }
}

/// The first order of steps after which somebody is given what is out of date.
pub async fn first_stale_interleaving(
    cache: &dyn Cache,
    name: &str,
    readers: usize,
    writers: usize,
) -> Option<Vec<usize>> {
    let mut steps = vec![3; readers];
    steps.extend(vec![2; writers]);
    for (n, schedule) in schedules(&steps).into_iter().enumerate() {
        let key = format!("{name}/{readers}-{writers}/{n}");
        let mut states = vec![Reader::Fresh; readers];
        let mut changes: Vec<Option<u8>> = vec![None; writers];
        let (mut source, mut removed) = (0_u8, 0_u8);
        for actor in &schedule {
            if *actor >= readers {
                let change = &mut changes[actor - readers];
                match *change {
                    None => {
                        source += 1;
                        *change = Some(source);
                    }
                    Some(version) => {
                        cache.remove(&key).await;
                        removed = removed.max(version);
                    }
                }
                continue;
            }
            let state = &mut states[*actor];
            *state = match *state {
                Reader::Fresh => match cache.get(&key).await {
                    Lookup::Hit(value) if value[0] < removed => return Some(schedule),
                    Lookup::Hit(_) => Reader::Done,
                    Lookup::Miss(lease) => Reader::Missed(lease),
                },
                Reader::Missed(lease) => Reader::Read(lease, source),
                Reader::Read(lease, value) => {
                    cache.put(&key, lease, Bytes::copy_from_slice(&[value]), LONG).await;
                    Reader::Done
                }
                Reader::Done => Reader::Done,
            };
        }
        if cache.get(&key).await.hit().is_some_and(|value| value[0] != source) {
            return Some(schedule);
        }
        cache.remove(&key).await;
    }
    None
}

pub async fn a_counter_counts_and_begins_anew(cache: &dyn Cache, name: &str) {
    let key = format!("{name}/counter");
    let first = cache.add(&key, 1, LONG).await.expect("a cache that answers counts");
    assert_eq!(first.total, 1);
    assert!(first.resets_in <= LONG && first.resets_in > LONG / 2, "{first:?}");
    assert_eq!(cache.add(&key, 41, LONG).await.map(|count| count.total), Some(42));
    assert_eq!(cache.add(&key, 0, LONG).await.map(|count| count.total), Some(42));
    let short = format!("{name}/counter2");
    let end = SHORT * 3;
    cache.add(&short, 7, end).await;
    tokio::time::sleep(SHORT).await;
    // Additions do not put the end off.
    let second = cache.add(&short, 7, end).await.expect("a count");
    assert_eq!(second.total, 14);
    assert!(second.resets_in <= end - SHORT / 2, "{second:?}");
    tokio::time::sleep(end - SHORT + SLACK).await;
    assert_eq!(cache.add(&short, 1, LONG).await.map(|count| count.total), Some(1));
}

pub async fn no_addition_is_lost(cache: &Arc<dyn Cache>, name: &str) {
    let key = format!("{name}/many");
    let adders: Vec<_> = (0..20)
        .map(|_| {
            let (cache, key) = (cache.clone(), key.clone());
            tokio::spawn(async move {
                let mut seen = Vec::new();
                for _ in 0..50 {
                    seen.push(cache.add(&key, 1, LONG).await.expect("a count").total);
                }
                seen
            })
        })
        .collect();
    let mut seen = Vec::new();
    for adder in adders {
        seen.extend(adder.await.expect("an adder that ends"));
    }
    seen.sort_unstable();
    assert_eq!(seen, (1..=1_000).collect::<Vec<u64>>(), "everybody is given a total of his own");
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use async_trait::async_trait;
    use cache::{Count, Memory, Metrics, Reach};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_cache_in_memory_does_all_of_it() {
        let cache: Arc<dyn Cache> = Arc::new(Memory::new(64 * 1024 * 1024));
        all(&cache, "suite").await;
        assert_eq!(first_stale_interleaving(cache.as_ref(), "more", 2, 2).await, None);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn the_cache_in_memory_loses_no_addition_on_many_threads() {
        let cache: Arc<dyn Cache> = Arc::new(Memory::new(64 * 1024 * 1024));
        no_addition_is_lost(&cache, "threads").await;
    }

    /// Keeps whatever it is given, as caches do that know no leases.
    struct Careless {
        memory: Memory,
        leases: AtomicU64,
    }

    #[async_trait]
    impl Cache for Careless {
        fn reach(&self) -> Reach {
            Reach::Process
        }

        async fn get(&self, key: &str) -> Lookup {
            match self.memory.get(key).await {
                Lookup::Miss(_) => {
                    Lookup::Miss(Lease::new(u128::from(self.leases.fetch_add(1, Ordering::SeqCst))))
                }
                hit => hit,
            }
        }

        async fn put(&self, key: &str, _: Lease, value: Bytes, ttl: Duration) {
            self.memory.remove(key).await;
            if let Lookup::Miss(lease) = self.memory.get(key).await {
                self.memory.put(key, lease, value, ttl).await;
            }
        }

        async fn remove(&self, key: &str) {
            self.memory.remove(key).await;
        }

        async fn add(&self, key: &str, n: u32, ttl: Duration) -> Option<Count> {
            self.memory.add(key, n, ttl).await
        }

        fn metrics(&self) -> &Metrics {
            self.memory.metrics()
        }
    }

    #[tokio::test]
    async fn the_walk_finds_a_cache_without_leases_out() {
        let careless = Careless { memory: Memory::new(1024 * 1024), leases: AtomicU64::new(0) };
        let order = first_stale_interleaving(&careless, "careless", 1, 1).await;
        // The reader looks and reads; the writer changes and removes; the reader keeps.
        assert_eq!(order, Some(vec![0, 0, 1, 1, 0]));
    }
}
