//! A cache in this process.
//!
//! Invariants: a hit takes no lock and copies no bytes; everything else of a key is serialized by the key's own lock;
//! time is the runtime's and not the platform's clock, which may be set back.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use moka::ops::compute::Op;
use tokio::time::Instant;

use crate::{Cache, Count, LEASE_FOR, Lease, Lookup, Metrics, Reach, VALUE_BYTES_MAX};

/// What an entry costs beside its key and value.
const ENTRY_BYTES: usize = 256;
const COUNTERS_MAX: u64 = 100_000;
const BYTES_MAX: u64 = 64 * 1024 * 1024;

#[derive(Clone)]
enum Held {
    Value(Bytes),
    Lease(Lease),
}

#[derive(Clone)]
struct Slot {
    held: Held,
    until: Instant,
}

#[derive(Clone, Copy)]
struct Counter {
    total: u64,
    until: Instant,
}

/// Values by key, within a bound on their size, and counters.
pub struct Memory {
    slots: moka::sync::Cache<String, Slot>,
    counters: moka::sync::Cache<String, Counter>,
    leases: AtomicU64,
    metrics: Metrics,
}

impl Default for Memory {
    /// 64 MiB of values.
    fn default() -> Self {
        Self::new(BYTES_MAX)
    }
}

impl Memory {
    /// `bytes_max`: for all values together.
    pub fn new(bytes_max: u64) -> Self {
        let slots = moka::sync::Cache::builder()
            .max_capacity(bytes_max)
            .weigher(|key: &String, slot: &Slot| {
                let value = match &slot.held {
                    Held::Value(bytes) => bytes.len(),
                    Held::Lease(_) => 0,
                };
                u32::try_from(key.len() + value + ENTRY_BYTES).unwrap_or(u32::MAX)
            })
            .build();
        let counters = moka::sync::Cache::new(COUNTERS_MAX);
        Self { slots, counters, leases: AtomicU64::new(0), metrics: Metrics::default() }
    }

    /// Forgets everything.
    pub fn clear(&self) {
        self.slots.invalidate_all();
        self.counters.invalidate_all();
    }

    fn look(&self, key: &str) -> Lookup {
        let now = Instant::now();
        if let Some(Slot { held: Held::Value(value), until }) = self.slots.get(key)
            && now < until
        {
            return Lookup::Hit(value);
        }
        let lease = Lease::new(u128::from(self.leases.fetch_add(1, Ordering::Relaxed)));
        let slot = self.slots.entry_by_ref(key).and_compute_with(|found| match found {
            Some(entry) if now < entry.value().until => Op::Nop,
            _ => Op::Put(Slot { held: Held::Lease(lease), until: now + LEASE_FOR }),
        });
        match slot.into_entry().map(moka::Entry::into_value) {
            Some(Slot { held: Held::Value(value), .. }) => Lookup::Hit(value),
            Some(Slot { held: Held::Lease(lease), .. }) => Lookup::Miss(lease),
            None => Lookup::Miss(Lease::VOID),
        }
    }
}

#[async_trait]
impl Cache for Memory {
    fn reach(&self) -> Reach {
        Reach::Process
    }

    async fn get(&self, key: &str) -> Lookup {
        let found = self.look(key);
        match &found {
            Lookup::Hit(_) => self.metrics.hit(),
            Lookup::Miss(_) => self.metrics.miss(),
        }
        found
    }

    async fn put(&self, key: &str, lease: Lease, value: Bytes, ttl: Duration) {
        if lease == Lease::VOID || value.len() > VALUE_BYTES_MAX {
            return;
        }
        let now = Instant::now();
        let slot = Slot { held: Held::Value(value), until: now + ttl };
        self.slots.entry_by_ref(key).and_compute_with(|found| match found.map(moka::Entry::into_value) {
            Some(Slot { held: Held::Lease(given), until }) if given == lease && now < until => Op::Put(slot),
            _ => Op::Nop,
        });
    }

    async fn remove(&self, key: &str) {
        self.slots.entry_by_ref(key).and_compute_with(|_| Op::Remove);
    }

    async fn add(&self, key: &str, n: u32, ttl: Duration) -> Option<Count> {
        let now = Instant::now();
        let counter = self.counters.entry_by_ref(key).and_compute_with(|found| {
            let running = found.map(moka::Entry::into_value).filter(|counter| now < counter.until);
            let before = running.unwrap_or(Counter { total: 0, until: now + ttl });
            Op::Put(Counter { total: before.total.saturating_add(u64::from(n)), ..before })
        });
        let counter = counter.into_entry()?.into_value();
        Some(Count { total: counter.total, resets_in: counter.until.saturating_duration_since(now) })
    }

    fn metrics(&self) -> &Metrics {
        &self.metrics
    }
}
