//! Products as the bytes that shoppers are sent: a hit costs no database and no thread.
//!
//! Invariants:
//! - what was read before a change is never kept after it, in this process or another: it is kept under the lease of its
//!   reader's miss, and a change strikes leases out;
//! - one fill a lease at a time in a process, whoever else missed under the same lease waits for that one; who was given
//!   a newer lease does not;
//! - without a lease (the cache is away) nobody can tell what has changed since a fill began: whoever comes is given what
//!   was read after that, and one reads for all who wait meanwhile;
//! - an entry is used for 30 s at most, "there is none" for 5 s, whatever else goes wrong: a process that dies between
//!   a commit and the removal leaves what was before it for that long.

use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use cache::{Cache, Lease, Lookup};
use contracts::ProductId;
use kernel::Result;
use tokio::runtime::Handle;
use tokio::sync::OnceCell;

const FOUND_FOR: Duration = Duration::from_secs(30);
const ABSENT_FOR: Duration = Duration::from_secs(5);

/// A product, ready to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rendered {
    pub version: i64,
    pub body: Bytes,
}

/// What shoppers see under an id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    Product(Rendered),
    Nothing,
}

/// The version and the body; nothing at all for "there is none".
fn encode(seen: &Seen) -> Bytes {
    let Seen::Product(rendered) = seen else { return Bytes::new() };
    let mut bytes = BytesMut::with_capacity(size_of::<i64>() + rendered.body.len());
    bytes.put_i64(rendered.version);
    bytes.put_slice(&rendered.body);
    bytes.freeze()
}

fn decode(bytes: &Bytes) -> Option<Seen> {
    if bytes.is_empty() {
        return Some(Seen::Nothing);
    }
    let (version, _) = bytes.split_first_chunk()?;
    let body = bytes.slice(size_of::<i64>()..);
    Some(Seen::Product(Rendered { version: i64::from_be_bytes(*version), body }))
}

/// The number is the form's: another form of the bytes has another.
fn key(id: ProductId) -> String {
    format!("catalog/product/1/{id}")
}

type Fill = OnceCell<Seen>;

/// Those who read without a lease: one after the other, each for all who came before it began.
#[derive(Default)]
struct Line {
    turn: Arc<tokio::sync::Mutex<()>>,
    /// The fill that has not begun yet.
    next: Option<Arc<Fill>>,
}

#[derive(Default)]
struct Fills {
    leased: HashMap<ProductId, (Lease, Arc<Fill>)>,
    lines: HashMap<ProductId, Line>,
}

#[derive(Clone)]
pub struct ProductCache {
    cache: Arc<dyn Cache>,
    fills: Arc<Mutex<Fills>>,
    /// Where removals run that nobody waits for.
    runtime: Handle,
}

impl ProductCache {
    /// To be called on the runtime that the service runs on.
    pub fn new(cache: Arc<dyn Cache>) -> Self {
        Self { cache, fills: Arc::default(), runtime: Handle::current() }
    }

    fn fills(&self) -> MutexGuard<'_, Fills> {
        self.fills.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether nobody waits for anything.
    #[cfg(test)]
    pub fn is_at_rest(&self) -> bool {
        let fills = self.fills();
        fills.leased.is_empty() && fills.lines.is_empty()
    }

    /// What is known, or what `load` finds. `load` runs only where nobody else is loading the same.
    pub async fn get_or_load(&self, id: ProductId, load: impl Future<Output = Result<Seen>>) -> Result<Seen> {
        let key = key(id);
        let lease = match self.cache.get(&key).await {
            Lookup::Hit(bytes) => match decode(&bytes) {
                Some(seen) => return Ok(seen),
                None => Lease::VOID,
            },
            Lookup::Miss(lease) => lease,
        };
        if lease == Lease::VOID {
            return self.load_in_line(id, load).await;
        }
        let place = self.place(id, lease);
        let fill = async {
            let seen = load.await?;
            let ttl = match seen {
                Seen::Product(_) => FOUND_FOR,
                Seen::Nothing => ABSENT_FOR,
            };
            self.cache.put(&key, lease, encode(&seen), ttl).await;
            Ok(seen)
        };
        place.fill.get_or_try_init(|| fill).await.cloned()
    }

    /// A place in the fill under this lease. One under another is left to those who are in it.
    fn place(&self, id: ProductId, lease: Lease) -> Place<'_> {
        let mut fills = self.fills();
        let (of, fill) = fills.leased.entry(id).or_insert_with(|| (lease, Arc::default()));
        if *of != lease {
            (*of, *fill) = (lease, Arc::default());
        }
        Place { cache: self, id, fill: fill.clone() }
    }

    /// Waits for the fill that is next, and does it where nobody else does.
    async fn load_in_line(&self, id: ProductId, load: impl Future<Output = Result<Seen>>) -> Result<Seen> {
        let place = {
            let mut fills = self.fills();
            let line = fills.lines.entry(id).or_default();
            let (fill, turn) = (line.next.get_or_insert_default().clone(), Some(line.turn.clone()));
            InLine { cache: self, id, fill: Some(fill), turn }
        };
        let (Some(fill), Some(turn)) = (&place.fill, &place.turn) else { return load.await };
        let in_turn = async {
            let _turn = turn.lock().await;
            // It begins: who comes from now on waits for the one after it.
            if let Some(line) = self.fills().lines.get_mut(&id) {
                line.next.take_if(|next| Arc::ptr_eq(next, fill));
            }
            load.await
        };
        fill.get_or_try_init(|| in_turn).await.cloned()
    }

    /// Forgets a product, and answers when no cache gives out what was before: call it after every change to it and
    /// before the change is answered.
    pub async fn remove(&self, id: ProductId) {
        self.fills().leased.remove(&id);
        self.cache.remove(&key(id)).await;
    }

    /// The same, without anybody who waits: from the commit itself, whose caller may have gone.
    pub fn remove_soon(&self, id: ProductId) {
        self.fills().leased.remove(&id);
        let cache = self.clone();
        self.runtime.spawn(async move { cache.remove(id).await });
    }
}

/// Somebody's place in a fill; the last to leave takes it away.
struct Place<'a> {
    cache: &'a ProductCache,
    id: ProductId,
    fill: Arc<Fill>,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut fills = self.cache.fills();
        let is_ours = fills.leased.get(&self.id).is_some_and(|(_, fill)| Arc::ptr_eq(fill, &self.fill));
        // The map's and ours: nobody else waits.
        if is_ours && (self.fill.initialized() || Arc::strong_count(&self.fill) == 2) {
            fills.leased.remove(&self.id);
        }
    }
}

/// Somebody's place in a line; the last to leave takes it away.
struct InLine<'a> {
    cache: &'a ProductCache,
    id: ProductId,
    fill: Option<Arc<Fill>>,
    turn: Option<Arc<tokio::sync::Mutex<()>>>,
}

impl Drop for InLine<'_> {
    fn drop(&mut self) {
        let mut fills = self.cache.fills();
        (self.fill, self.turn) = (None, None);
        let Some(line) = fills.lines.get_mut(&self.id) else { return };
        // Only the map's own is left: nobody waits for it.
        line.next.take_if(|next| Arc::strong_count(next) == 1);
        if line.next.is_none() && Arc::strong_count(&line.turn) == 1 {
            fills.lines.remove(&self.id);
        }
    }
}
