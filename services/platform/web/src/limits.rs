//! Rate limits (R6): token buckets on the platform's clock, per caller and per address.
//!
//! Our own and not a crate's, because the clock must be the one that is passed in and the answer must tell what is
//! left (`RateLimit`, `RateLimit-Policy`: draft-ietf-httpapi-ratelimit-headers).

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use axum::http::{HeaderMap, HeaderValue};
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

struct Bucket {
    /// In thousandths, so that slow refills do not round to nothing.
    tokens_milli: i64,
    refilled_at_ms: i64,
    /// From then on it is as good as a new one.
    full_at_ms: i64,
}

/// How many buckets are kept; whoever comes beyond them shares one.
const BUCKETS_MAX: usize = 100_000;

/// All buckets of one process.
pub struct Limits {
    clock: Arc<dyn Clock>,
    overrides: HashMap<String, u32>,
    buckets: Mutex<Buckets>,
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

impl Limits {
    /// `overrides` sets quotas by the name of the limit; 0 switches one off.
    pub fn new(clock: Arc<dyn Clock>, overrides: HashMap<String, u32>) -> Self {
        Self { clock, overrides, buckets: Mutex::default() }
    }

    /// Takes one token. `None` where the limit is off or there is nobody to count it against.
    pub fn take(
        &self,
        mut limit: Limit,
        address: Option<IpAddr>,
        caller: Option<UserId>,
    ) -> Result<Option<Left>, Box<(Error, Left)>> {
        limit.quota = self.overrides.get(limit.name).copied().unwrap_or(limit.quota);
        if limit.quota == 0 {
            return Ok(None);
        }
        let who = match (limit.scope, address, caller) {
            (Scope::Caller, _, Some(user)) => Who::Caller(user),
            (_, Some(address), _) => Who::Address(address),
            (_, None, _) => Who::Unknown,
        };
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
        if bucket.tokens_milli < 1_000 {
            let missing = 1_000 - bucket.tokens_milli;
            let wait_s =
                u32::try_from((missing * per_token_ms + 999_999) / 1_000_000).unwrap_or(u32::MAX).max(1);
            let error = Error::new(
                Kind::TooMany,
                "rate_limited",
                format!("the limit {} is used up: try again in {wait_s} s", limit.name),
            );
            let left = Left { limit, remaining: 0, reset_s: wait_s };
            return Err(Box::new((error.with_retry_after(wait_s), left)));
        }
        bucket.tokens_milli -= 1_000;
        bucket.full_at_ms = now + (full - bucket.tokens_milli) * per_token_ms / 1_000;
        let remaining = u32::try_from(bucket.tokens_milli / 1_000).unwrap_or(0);
        let until_full = (full - bucket.tokens_milli) * per_token_ms / 1_000_000;
        Ok(Some(Left { limit, remaining, reset_s: u32::try_from(until_full).unwrap_or(u32::MAX) }))
    }
}
