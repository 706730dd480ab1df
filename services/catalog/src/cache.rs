//! Products as the bytes that shoppers are sent: a hit costs no database and no thread.
//!
//! Invariants:
//! - what was read before a change is never kept after it: a fill is registered before it reads, a change strikes the
//!   registration out, and only a registered fill is kept;
//! - one fill an entry at a time, whoever else wants it waits for that one;
//! - an entry is used for 30 s at most, "there is none" for 5 s, whatever else goes wrong.

use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::http::HeaderValue;
use bytes::Bytes;
use contracts::ProductId;
use kernel::{Clock, Result, Timestamp};
use tokio::sync::OnceCell;

const FOUND_FOR: Duration = Duration::from_secs(30);
const ABSENT_FOR: Duration = Duration::from_secs(5);
const BYTES_MAX: u64 = 64 * 1024 * 1024;
/// What an entry costs beside its body.
const ENTRY_BYTES: usize = 256;

/// A product, ready to be sent.
#[derive(Debug, PartialEq, Eq)]
pub struct Rendered {
    pub version: i64,
    pub etag: HeaderValue,
    pub body: Bytes,
}

/// What shoppers see under an id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    Product(Arc<Rendered>),
    Nothing,
}

#[derive(Clone)]
struct Entry {
    seen: Seen,
    fresh_until: Timestamp,
}

type Fill = OnceCell<Seen>;

pub struct ProductCache {
    entries: moka::sync::Cache<ProductId, Entry>,
    fills: Mutex<HashMap<ProductId, Arc<Fill>>>,
    clock: Arc<dyn Clock>,
}

impl ProductCache {
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        let entries = moka::sync::Cache::builder()
            .max_capacity(BYTES_MAX)
            .weigher(|_: &ProductId, entry: &Entry| {
                let body = match &entry.seen {
                    Seen::Product(rendered) => rendered.body.len(),
                    Seen::Nothing => 0,
                };
                u32::try_from(body + ENTRY_BYTES).unwrap_or(u32::MAX)
            })
            .build();
        Self { entries, fills: Mutex::default(), clock }
    }

    fn fills(&self) -> MutexGuard<'_, HashMap<ProductId, Arc<Fill>>> {
        self.fills.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is known and fresh.
    pub fn get(&self, id: ProductId) -> Option<Seen> {
        let entry = self.entries.get(&id)?;
        (self.clock.now() < entry.fresh_until).then_some(entry.seen)
    }

    /// What is known, or what `load` finds. `load` runs only where nobody else is loading the same.
    pub async fn get_or_load(&self, id: ProductId, load: impl Future<Output = Result<Seen>>) -> Result<Seen> {
        if let Some(seen) = self.get(id) {
            return Ok(seen);
        }
        let fill = self.fills().entry(id).or_default().clone();
        let place = Place { cache: self, id, fill };
        let seen = place.fill.get_or_try_init(|| load).await?.clone();
        place.keep(&seen);
        Ok(seen)
    }

    /// Forgets a product: call it after the commit of every change to it.
    pub fn invalidate(&self, id: ProductId) {
        let mut fills = self.fills();
        fills.remove(&id);
        // Under the same lock as keeping, so that no fill slips in between.
        self.entries.invalidate(&id);
    }
}

/// Somebody's place in a fill; the last to leave an unfinished one takes it away.
struct Place<'a> {
    cache: &'a ProductCache,
    id: ProductId,
    fill: Arc<Fill>,
}

impl Place<'_> {
    fn keep(&self, seen: &Seen) {
        let mut fills = self.cache.fills();
        if !fills.get(&self.id).is_some_and(|fill| Arc::ptr_eq(fill, &self.fill)) {
            return;
        }
        let fresh_for = match seen {
            Seen::Product(_) => FOUND_FOR,
            Seen::Nothing => ABSENT_FOR,
        };
        let entry = Entry { seen: seen.clone(), fresh_until: self.cache.clock.now().plus(fresh_for) };
        self.cache.entries.insert(self.id, entry);
        fills.remove(&self.id);
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut fills = self.cache.fills();
        let is_ours = fills.get(&self.id).is_some_and(|fill| Arc::ptr_eq(fill, &self.fill));
        // The map's and ours: nobody else waits.
        if is_ours && Arc::strong_count(&self.fill) == 2 {
            fills.remove(&self.id);
        }
    }
}
