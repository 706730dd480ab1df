//! Rate limits (R6), per caller and per address: token buckets on the platform's clock, or, where processes share a
//! cache, windows that they count together. While that cache is away each counts for itself again.
//!
//! Invariant: in no span as long as the window are more than twice the quota let through, in buckets as in windows.
//!
//! Our own and not a crate's, because the clock must be the one that is passed in and the answer must tell what is
//! left (`RateLimit`, `RateLimit-Policy`: draft-ietf-httpapi-ratelimit-headers).

use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::http::{HeaderMap, HeaderValue};
use cache::{Cache, Count, Reach};
use contracts::UserId;
use kernel::{Clock, Error, Kind};

/// Whose requests share a bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    Address,
    Caller,
}

/// `quota` requests in `window_s` seconds, all of them at once if need be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit {
    pub name: &'static str,
    pub scope: Scope,
    pub quota: u32,
    pub window_s: u32,
}

impl Limit {
    pub const fn per_address(name: &'static str, quota: u32, window_s: u32) -> Self {
        Self { name, scope: Scope::Address, quota, window_s }
    }

    pub const fn per_caller(name: &'static str, quota: u32, window_s: u32) -> Self {
        Self { name, scope: Scope::Caller, quota, window_s }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Who {
    Address(IpAddr),
    Caller(UserId),
    Unknown,
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Who::Address(address) => address.fmt(f),
            Who::Caller(user) => user.fmt(f),
            Who::Unknown => f.write_str("unknown"),
        }
    }
}

struct Bucket {
    /// In thousandths, so that slow refills do not round to nothing.
    tokens_milli: i64,
    refilled_at_ms: i64,
    /// From then on it is as good as a new one.
    full_at_ms: i64,
}

/// How many buckets are kept; whoever comes beyond them shares one.
const BUCKETS_MAX: usize = 100_000;

/// Quotas by the name of a limit, instead of those that routes ask for; 0 switches one off.
pub type Quotas = HashMap<String, u32>;

/// All limits of one process, or of all that share a cache.
pub struct Limits {
    clock: Arc<dyn Clock>,
    quotas: Arc<Quotas>,
    buckets: Mutex<Buckets>,
    shared: Option<Arc<dyn Cache>>,
}

#[derive(Default)]
struct Buckets {
    by_key: HashMap<(&'static str, Who), Bucket>,
    swept_at_ms: i64,
}

impl Buckets {
    /// Forgets buckets that are full again, at most once a second: a flood of addresses must not make every request
    /// look at all of them.
    fn make_room(&mut self, now: i64) {
        if self.by_key.len() >= BUCKETS_MAX && now - self.swept_at_ms >= 1_000 {
            self.swept_at_ms = now;
            self.by_key.retain(|_, bucket| bucket.full_at_ms > now);
        }
    }
}

/// What is left after a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Left {
    pub limit: Limit,
    pub remaining: u32,
    pub reset_s: u32,
}

impl Left {
    pub fn write(self, headers: &mut HeaderMap) {
        let Left { limit, remaining, reset_s } = self;
        let policy = format!("\"{}\";q={};w={}", limit.name, limit.quota, limit.window_s);
        let state = format!("\"{}\";r={remaining};t={reset_s}", limit.name);
        if let (Ok(policy), Ok(state)) = (HeaderValue::from_str(&policy), HeaderValue::from_str(&state)) {
            headers.insert("ratelimit-policy", policy);
            headers.insert("ratelimit", state);
        }
    }
}

/// What a request was answered that came too soon, and what its headers say.
type Refused = Box<(Error, Left)>;

fn refused(limit: Limit, wait_s: u32) -> Refused {
    let error = Error::new(
        Kind::TooMany,
        "rate_limited",
        format!("the limit {} is used up: try again in {wait_s} s", limit.name),
    );
    Box::new((error.with_retry_after(wait_s), Left { limit, remaining: 0, reset_s: wait_s }))
}

/// What the count of a window leaves.
fn judge(limit: Limit, count: Count) -> Result<Left, Refused> {
    let reset_s = u32::try_from(count.resets_in.as_millis().div_ceil(1_000)).unwrap_or(u32::MAX).max(1);
    match u64::from(limit.quota).checked_sub(count.total) {
        Some(remaining) => Ok(Left { limit, remaining: u32::try_from(remaining).unwrap_or(0), reset_s }),
        None => Err(refused(limit, reset_s)),
    }
}

impl Limits {
    /// `quotas` are those that hold until the edge is [told of others](crate::Edge::reconfigure).
    pub fn new(clock: Arc<dyn Clock>, quotas: Quotas) -> Self {
        Self { clock, quotas: Arc::new(quotas), buckets: Mutex::default(), shared: None }
    }

    /// Counts together with all who have the same cache. One that only this process sees changes nothing.
    #[must_use]
    pub fn sharing(mut self, cache: Arc<dyn Cache>) -> Self {
        self.shared = (cache.reach() == Reach::Shared).then_some(cache);
        self
    }

    pub(crate) fn quotas(&self) -> Arc<Quotas> {
        self.quotas.clone()
    }

    /// Takes one token. `None` where the limit is off or there is nobody to count it against.
    pub async fn take(
        &self,
        limit: Limit,
        address: Option<IpAddr>,
        caller: Option<UserId>,
    ) -> Result<Option<Left>, Refused> {
        self.take_of(&self.quotas, limit, address, caller).await
    }

    /// [`take`](Self::take) with the quotas of the moment.
    pub(crate) async fn take_of(
        &self,
        quotas: &Quotas,
        mut limit: Limit,
        address: Option<IpAddr>,
        caller: Option<UserId>,
    ) -> Result<Option<Left>, Refused> {
        limit.quota = quotas.get(limit.name).copied().unwrap_or(limit.quota);
        if limit.quota == 0 {
            return Ok(None);
        }
        let who = match (limit.scope, address, caller) {
            (Scope::Caller, _, Some(user)) => Who::Caller(user),
            (_, Some(address), _) => Who::Address(address),
            (_, None, _) => Who::Unknown,
        };
        if let Some(cache) = &self.shared {
            let key = format!("limit/{}/{}/{who}", limit.name, limit.window_s);
            let window = Duration::from_secs(u64::from(limit.window_s));
            if let Some(count) = cache.add(&key, 1, window).await {
                return judge(limit, count).map(Some);
            }
        }
        self.take_here(limit, who).map(Some)
    }

    fn take_here(&self, limit: Limit, who: Who) -> Result<Left, Refused> {
        let now = self.clock.now().as_millis();
        let full = i64::from(limit.quota) * 1_000;
        let per_token_ms = (i64::from(limit.window_s) * 1_000 / i64::from(limit.quota)).max(1);
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        buckets.make_room(now);
        let mut key = (limit.name, who);
        if buckets.by_key.len() >= BUCKETS_MAX && !buckets.by_key.contains_key(&key) {
            key.1 = Who::Unknown;
        }
        let fresh = Bucket { tokens_milli: full, refilled_at_ms: now, full_at_ms: now };
        let bucket = buckets.by_key.entry(key).or_insert(fresh);
        let elapsed = (now - bucket.refilled_at_ms).max(0);
        let refill = elapsed.saturating_mul(full) / (i64::from(limit.window_s) * 1_000);
        if refill > 0 {
            bucket.tokens_milli = (bucket.tokens_milli + refill).min(full);
            bucket.refilled_at_ms = now;
        }
        // The quota may have become smaller since.
        bucket.tokens_milli = bucket.tokens_milli.min(full);
        if bucket.tokens_milli < 1_000 {
            let missing = 1_000 - bucket.tokens_milli;
            let wait_s =
                u32::try_from((missing * per_token_ms + 999_999) / 1_000_000).unwrap_or(u32::MAX).max(1);
            return Err(refused(limit, wait_s));
        }
        bucket.tokens_milli -= 1_000;
        bucket.full_at_ms = now + (full - bucket.tokens_milli) * per_token_ms / 1_000;
        let remaining = u32::try_from(bucket.tokens_milli / 1_000).unwrap_or(0);
        let until_full = (full - bucket.tokens_milli) * per_token_ms / 1_000_000;
        Ok(Left { limit, remaining, reset_s: u32::try_from(until_full).unwrap_or(u32::MAX) })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use async_trait::async_trait;
    use bytes::Bytes;
    use cache::{Lease, Lookup, Memory, Metrics};
    use kernel::{ManualClock, Timestamp};

    use super::*;

    /// A cache that several processes have, and that can go away.
    struct Common {
        memory: Memory,
        is_away: AtomicBool,
    }

    #[async_trait]
    impl Cache for Common {
        fn reach(&self) -> Reach {
            Reach::Shared
        }

        async fn get(&self, key: &str) -> Lookup {
            self.memory.get(key).await
        }

        async fn put(&self, key: &str, lease: Lease, value: Bytes, ttl: Duration) {
            self.memory.put(key, lease, value, ttl).await;
        }

        async fn remove(&self, key: &str) {
            self.memory.remove(key).await;
        }

        async fn add(&self, key: &str, n: u32, ttl: Duration) -> Option<Count> {
            if self.is_away.load(Ordering::SeqCst) {
                return None;
            }
            self.memory.add(key, n, ttl).await
        }

        fn metrics(&self) -> &Metrics {
            self.memory.metrics()
        }
    }

    const LIMIT: Limit = Limit::per_address("login", 3, 60);

    fn limits() -> Limits {
        let clock = Arc::new(ManualClock::at(Timestamp::from_millis(1_772_366_400_000)));
        Limits::new(clock, HashMap::from([("off".to_owned(), 0), ("wider".to_owned(), 5)]))
    }

    fn address(last: u8) -> Option<IpAddr> {
        Some(IpAddr::from([10, 0, 0, last]))
    }

    async fn remaining(limits: &Limits, from: Option<IpAddr>) -> Option<u32> {
        limits.take(LIMIT, from, None).await.ok().flatten().map(|left| left.remaining)
    }

    #[tokio::test(start_paused = true)]
    async fn processes_that_share_a_cache_share_a_quota() {
        let common = Arc::new(Common { memory: Memory::new(1_000), is_away: AtomicBool::new(false) });
        let (one, other) = (limits().sharing(common.clone()), limits().sharing(common.clone()));
        assert_eq!(remaining(&one, address(1)).await, Some(2));
        assert_eq!(remaining(&other, address(1)).await, Some(1));
        assert_eq!(remaining(&one, address(2)).await, Some(2), "another address has a quota of its own");
        tokio::time::advance(Duration::from_millis(12_300)).await;
        assert_eq!(remaining(&one, address(1)).await, Some(0));
        let (error, left) = *other.take(LIMIT, address(1), None).await.unwrap_err();
        assert_eq!((error.http_status(), error.retry_after_s()), (429, Some(48)));
        let mut headers = HeaderMap::new();
        left.write(&mut headers);
        assert_eq!(headers["ratelimit-policy"], "\"login\";q=3;w=60");
        assert_eq!(headers["ratelimit"], "\"login\";r=0;t=48");
        // Knocking on does not put the end off.
        tokio::time::advance(Duration::from_secs(48)).await;
        assert_eq!(remaining(&other, address(1)).await, Some(2));
    }

    #[tokio::test(start_paused = true)]
    async fn while_the_cache_is_away_each_counts_for_itself() {
        let common = Arc::new(Common { memory: Memory::new(1_000), is_away: AtomicBool::new(false) });
        let (one, other) = (limits().sharing(common.clone()), limits().sharing(common.clone()));
        for left in [2, 1, 0] {
            assert_eq!(remaining(&one, address(1)).await, Some(left));
        }
        common.is_away.store(true, Ordering::SeqCst);
        for limits in [&one, &other] {
            for left in [Some(2), Some(1), Some(0), None] {
                assert_eq!(remaining(limits, address(1)).await, left);
            }
        }
        common.is_away.store(false, Ordering::SeqCst);
        assert_eq!(remaining(&one, address(1)).await, None, "the window that was used up still is");
    }

    #[tokio::test]
    async fn a_cache_of_this_process_alone_changes_nothing() {
        let memory = Arc::new(Memory::new(1_000));
        let limits = limits().sharing(memory.clone());
        assert_eq!(remaining(&limits, address(1)).await, Some(2));
        assert_eq!(memory.add("limit/login/60/10.0.0.1", 0, Duration::from_secs(1)).await.unwrap().total, 0);
        let off = Limit::per_address("off", 1, 60);
        assert_eq!(limits.take(off, address(1), None).await.unwrap(), None);
        let wider = Limit::per_address("wider", 1, 60);
        assert_eq!(limits.take(wider, address(1), None).await.unwrap().unwrap().remaining, 4);
    }
}
