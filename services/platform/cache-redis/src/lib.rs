//! The cache port on Redis (6.2 or later, one primary).
//!
//! Invariants:
//! - no call takes longer than its deadline, and after a few that failed none is sent until Redis has answered a probe
//!   in the background: Redis down, slow or emptied costs time within that bound and never an error;
//! - what was removed while Redis was away is removed before anything is read from it again: this process never gives
//!   out what it knows to be out of date. Others may, for the value's time to live;
//! - one line of log an outage;
//! - where the address says TLS, nothing is said before the server has proved its name.
//!
//! A value's key holds `V` and the value, or `L` and the number of a lease; counters have keys of their own.

mod address;
mod link;
#[cfg(test)]
mod tests;
mod tls;
mod wire;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use aws_lc_rs::rand;
use bytes::{BufMut, Bytes, BytesMut};
use cache::{Cache, Count, LEASE_FOR, Lease, Lookup, Metrics, Reach, VALUE_BYTES_MAX};
use redis::{Script, aio::MultiplexedConnection};
use std::sync::atomic::{AtomicU64, Ordering};

use address::Address;
use link::Link;

/// Gives the password for each new connection; `None` where there is none.
pub type Password =
    Arc<dyn Fn() -> Result<Option<String>, Box<dyn std::error::Error + Send + Sync>> + Send + Sync>;

#[derive(Clone)]
pub struct Options {
    /// Goes before the password of the URL.
    pub password: Password,
    /// What all keys begin with.
    pub prefix: String,
    /// How long a call may take.
    pub deadline: Duration,
    /// After so many failures in a row nothing is sent any more.
    pub failures_max: u32,
    /// How long it is left alone between probes.
    pub pause: Duration,
    /// How long connecting and everything that is asked then may take.
    pub connect_timeout: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            password: Arc::new(|| Ok(None)),
            prefix: "rtc:".to_owned(),
            deadline: Duration::from_millis(50),
            failures_max: 3,
            pause: Duration::from_secs(1),
            connect_timeout: Duration::from_secs(1),
        }
    }
}

/// Why a cache is not opened: what no waiting mends.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("not the address of a redis: {0}")]
    Url(String),
    #[error("redis does not take the password: {0}")]
    Password(String),
    #[error("the password of redis cannot be read: {0}")]
    NoPassword(String),
    #[error("redis is {found}, and 6.2 is the oldest that will do")]
    TooOld { found: String },
    #[error("the authorities that redis is trusted by cannot be had: {0}")]
    NoAuthorities(String),
    #[error("the certificate of redis is not trusted: {0}")]
    Untrusted(String),
    #[error("redis proves another name than that of the address: {0}")]
    WrongName(String),
    #[error("redis speaks in the open there, and the address says TLS (rediss://)")]
    InTheOpen,
    #[error("redis speaks TLS there, and the address says that it speaks in the open (redis://)")]
    Encrypted,
    #[error("redis and this program come to no terms about TLS: {0}")]
    Handshake(String),
}

/// Opens a cache on `redis://[user@]host:port[/db]`, or with TLS on `rediss://[user@]host:port[/db][?ca=/path]`, where an
/// authority of the machine or one of the file (PEM) has to vouch for the host. One that cannot be reached is no reason not
/// to start: a warning says so, and it is used as soon as it is there.
pub async fn open(url: &str, options: Options) -> Result<Arc<dyn Cache>, OpenError> {
    let address = Address::parse(url)?;
    let mut own = [0; 8];
    rand::fill(&mut own)
        .map_err(|_| OpenError::NoPassword("the machine gives no random numbers".to_owned()))?;
    let link = Link::open(address, options.clone()).await?;
    Ok(Arc::new(Redis {
        link,
        prefix: options.prefix,
        keep: Script::new(KEEP),
        own: u64::from_be_bytes(own),
        leases: AtomicU64::new(0),
    }))
}

/// Keeps a value where the lease still stands. Only the first bytes are looked at: there may be a large value.
const KEEP: &str = "if redis.call('GETRANGE', KEYS[1], 0, 16) == ARGV[1] then \
                    redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3]) return 1 end return 0";
const VALUE: u8 = b'V';
const LEASE: u8 = b'L';

struct Redis {
    link: Link,
    prefix: String,
    keep: Script,
    /// Random: what makes this process's leases its own.
    own: u64,
    leases: AtomicU64,
}

fn tagged(tag: u8, rest: &[u8]) -> Bytes {
    let mut bytes = BytesMut::with_capacity(rest.len() + 1);
    bytes.put_u8(tag);
    bytes.put_slice(rest);
    bytes.freeze()
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX).max(1)
}

impl Redis {
    fn value_key(&self, key: &str) -> String {
        format!("{}v:{key}", self.prefix)
    }

    fn counter_key(&self, key: &str) -> String {
        format!("{}n:{key}", self.prefix)
    }

    fn next_lease(&self) -> u128 {
        u128::from(self.own) << 64 | u128::from(self.leases.fetch_add(1, Ordering::Relaxed))
    }
}

fn read(found: &Bytes) -> Lookup {
    match found.split_first() {
        Some((&VALUE, _)) => Lookup::Hit(found.slice(1..)),
        Some((&LEASE, number)) => {
            let number = number.try_into().ok().map(u128::from_be_bytes);
            Lookup::Miss(number.map_or(Lease::VOID, Lease::new))
        }
        _ => Lookup::Miss(Lease::VOID),
    }
}

async fn look(mut redis: MultiplexedConnection, key: String, lease: u128) -> redis::RedisResult<Lookup> {
    let found: Option<Bytes> = redis::cmd("GET").arg(&key).query_async(&mut redis).await?;
    if let Some(found) = found {
        return Ok(read(&found));
    }
    let mine = tagged(LEASE, &lease.to_be_bytes());
    let mut set = redis::cmd("SET");
    set.arg(&key).arg(mine.as_ref()).arg("NX").arg("PX").arg(millis(LEASE_FOR));
    let is_mine: Option<String> = set.query_async(&mut redis).await?;
    if is_mine.is_some() {
        return Ok(Lookup::Miss(Lease::new(lease)));
    }
    // Somebody came between.
    let found: Option<Bytes> = redis::cmd("GET").arg(&key).query_async(&mut redis).await?;
    Ok(found.map_or(Lookup::Miss(Lease::VOID), |found| read(&found)))
}

#[async_trait]
impl Cache for Redis {
    fn reach(&self) -> Reach {
        Reach::Shared
    }

    async fn get(&self, key: &str) -> Lookup {
        let (key, lease) = (self.value_key(key), self.next_lease());
        let found = self.link.call(|redis| look(redis, key, lease)).await;
        let metrics = self.link.metrics();
        match &found {
            Some(Lookup::Hit(_)) => metrics.hit(),
            Some(Lookup::Miss(_)) => metrics.miss(),
            None => metrics.unanswered(),
        }
        found.unwrap_or(Lookup::Miss(Lease::VOID))
    }

    async fn put(&self, key: &str, lease: Lease, value: Bytes, ttl: Duration) {
        let Some(number) = lease.number().filter(|_| value.len() <= VALUE_BYTES_MAX) else { return };
        let key = self.value_key(key);
        let keep = &self.keep;
        self.link
            .call(|mut redis| async move {
                let lease = tagged(LEASE, &number.to_be_bytes());
                let value = tagged(VALUE, &value);
                let mut keep = keep.prepare_invoke();
                keep.key(key).arg(lease.as_ref()).arg(value.as_ref()).arg(millis(ttl));
                keep.invoke_async::<()>(&mut redis).await
            })
            .await;
    }

    async fn remove(&self, key: &str) {
        self.link.remove(self.value_key(key)).await;
    }

    async fn add(&self, key: &str, n: u32, ttl: Duration) -> Option<Count> {
        let key = self.counter_key(key);
        let counted = self.link.call(|mut redis| async move {
            let mut together = redis::pipe();
            together.atomic();
            together.cmd("SET").arg(&key).arg(0).arg("NX").arg("PX").arg(millis(ttl)).ignore();
            together.cmd("INCRBY").arg(&key).arg(n);
            together.cmd("PTTL").arg(&key);
            together.query_async::<(u64, i64)>(&mut redis).await
        });
        let (total, resets_in_ms) = counted.await?;
        let resets_in = Duration::from_millis(u64::try_from(resets_in_ms).unwrap_or(0));
        Some(Count { total, resets_in: resets_in.min(ttl) })
    }

    fn metrics(&self) -> &Metrics {
        self.link.metrics()
    }
}
