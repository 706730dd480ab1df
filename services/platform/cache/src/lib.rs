//! The cache port: what it holds may vanish at any time, and only speed is lost.
//!
//! Invariants of every adapter:
//! - nothing here fails: a cache that is away knows nothing, keeps nothing and counts nothing, within a bounded time;
//! - what was read before a [`Cache::remove`] is never kept after it: a value is kept only under the lease that its
//!   reader was given at the miss, and a removal strikes the lease out (as memcached's leases do). A lease that is
//!   lost in any way counts as struck out;
//! - a value is given out for its time to live at most. Where a change is never followed by a removal (a process dies
//!   between the two), that is how long the value before it can be seen.

mod memory;
mod metrics;
#[cfg(test)]
mod tests;

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

pub use memory::Memory;
pub use metrics::Metrics;

/// How long after a miss its reader may keep what it read.
pub const LEASE_FOR: Duration = Duration::from_secs(10);
/// Larger values are not kept.
pub const VALUE_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Who sees what is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// This process.
    Process,
    /// Every process that has the same engine.
    Shared,
}

/// The right to keep a value under the key that was missed, until somebody removes the key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lease(Option<u128>);

impl Lease {
    /// Of a cache that is away: whatever is put under it is not kept.
    pub const VOID: Lease = Lease(None);

    /// For adapters. A number is never used twice, by any process.
    pub const fn new(number: u128) -> Self {
        Self(Some(number))
    }

    /// For adapters.
    pub const fn number(self) -> Option<u128> {
        self.0
    }
}

/// What a cache knows of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lookup {
    Hit(Bytes),
    Miss(Lease),
}

impl Lookup {
    pub fn hit(self) -> Option<Bytes> {
        match self {
            Lookup::Hit(value) => Some(value),
            Lookup::Miss(_) => None,
        }
    }
}

/// A counter after an addition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Count {
    pub total: u64,
    /// When it begins at zero again.
    pub resets_in: Duration,
}

/// Keys are the caller's: its own name first, the form of the value after it (`catalog/product/1/prd_…`), so that two
/// versions of a program never read each other's values. At most 200 bytes of visible ASCII.
#[async_trait]
pub trait Cache: Send + Sync {
    fn reach(&self) -> Reach;

    async fn get(&self, key: &str) -> Lookup;

    /// Keeps what was read after the miss that gave this lease.
    async fn put(&self, key: &str, lease: Lease, value: Bytes, ttl: Duration);

    /// Forgets a value and strikes out the leases on it: call it after the commit of every change, and before the
    /// change is answered.
    async fn remove(&self, key: &str);

    /// Adds to a counter that begins at zero and ends `ttl` after its first addition; atomic among all who add.
    /// `None` where nobody can count right now. Counters and values have keys of their own.
    async fn add(&self, key: &str, n: u32, ttl: Duration) -> Option<Count>;

    fn metrics(&self) -> &Metrics;
}
