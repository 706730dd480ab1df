//! What shoppers look at and put into their carts: counted in memory, told once a second.
//!
//! Invariants:
//! - a look costs no database and no commit;
//! - what is told is exact; a process that is killed forgets at most what it has not told yet, which is a second's;
//! - at most [`PRODUCTS_MAX`] products of a second are held: what comes beyond them is not counted, and said so.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use contracts::catalog::{ProductVisits, ProductsVisited};
use contracts::{ProductId, topics};
use db::Db;
use kernel::{Clock, Timestamp};
use messaging::{Outbox, Progress, Pump};
use tokio::sync::Notify;

/// The key of all messages: their order has no meaning.
const SUBJECT: &str = "visits";
/// How many products are counted between two messages.
const PRODUCTS_MAX: usize = 50_000;
/// How many products one message names.
const MESSAGE_MAX: usize = 2_000;
const SECOND_MS: i64 = 1_000;

#[derive(Debug, Clone, Copy)]
pub enum Visit {
    View,
    CartAddition,
}

#[derive(Debug, Default, Clone, Copy)]
struct Count {
    views: i64,
    cart_additions: i64,
}

type Counts = BTreeMap<(Timestamp, ProductId), Count>;

#[derive(Debug, Default)]
struct State {
    counts: Counts,
    uncounted: u64,
}

/// The counts of this process. Cheap to clone.
#[derive(Clone)]
pub struct Visits {
    clock: Arc<dyn Clock>,
    state: Arc<Mutex<State>>,
}

impl Visits {
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, state: Arc::default() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn count(&self, product: ProductId, visit: Visit) {
        let now = self.clock.now().as_millis();
        let second = Timestamp::from_millis(now - now.rem_euclid(SECOND_MS));
        let mut state = self.lock();
        if state.counts.len() >= PRODUCTS_MAX && !state.counts.contains_key(&(second, product)) {
            state.uncounted += 1;
            return;
        }
        let count = state.counts.entry((second, product)).or_default();
        match visit {
            Visit::View => count.views += 1,
            Visit::CartAddition => count.cart_additions += 1,
        }
    }

    /// What was counted since it was last asked for.
    fn take(&self) -> Vec<ProductsVisited> {
        let state = std::mem::take(&mut *self.lock());
        if state.uncounted > 0 {
            tracing::warn!(visits = state.uncounted, "too many products were looked at to count them all");
        }
        let mut messages: Vec<ProductsVisited> = Vec::new();
        for ((second, product_id), Count { views, cart_additions }) in state.counts {
            let visits = ProductVisits { product_id, views, cart_additions };
            match messages.last_mut() {
                Some(last) if last.second == second && last.visits.len() < MESSAGE_MAX => {
                    last.visits.push(visits);
                }
                _ => messages.push(ProductsVisited { second, visits: vec![visits] }),
            }
        }
        messages
    }

    /// They could not be told: they wait for the next time.
    fn put_back(&self, messages: &[ProductsVisited]) {
        let mut state = self.lock();
        for message in messages {
            for ProductVisits { product_id, views, cart_additions } in &message.visits {
                let count = state.counts.entry((message.second, *product_id)).or_default();
                count.views += views;
                count.cart_additions += cart_additions;
            }
        }
    }
}

/// Tells what was counted.
pub struct Teller {
    visits: Visits,
    db: Db,
    outbox: Outbox,
    wake: Arc<Notify>,
}

impl Teller {
    pub fn new(visits: Visits, db: Db, outbox: Outbox) -> Self {
        Self { visits, db, outbox, wake: Arc::default() }
    }
}

#[async_trait]
impl Pump for Teller {
    fn name(&self) -> &str {
        "catalog.visits"
    }

    async fn step(&self) -> kernel::Result<Progress> {
        let messages = Arc::new(self.visits.take());
        if messages.is_empty() {
            return Ok(Progress::Idle);
        }
        let (outbox, told) = (self.outbox.clone(), messages.clone());
        let done = self
            .db
            .write(move |tx| -> kernel::Result<()> {
                told.iter().try_for_each(|message| {
                    outbox.send(tx, topics::CATALOG_VISITS, SUBJECT, message, None).map(drop)
                })
            })
            .await;
        // Where it is not known whether they were stored they count as told: too few rather than twice.
        if let Err(error) = &done
            && error.code() != "storage_outcome_unknown"
        {
            self.visits.put_back(&messages);
        }
        done.map(|()| Progress::Worked)
    }

    fn wake(&self) -> Arc<Notify> {
        self.wake.clone()
    }

    fn interval(&self) -> Duration {
        Duration::from_secs(1)
    }

    async fn finish(&self) {
        if let Err(error) = self.step().await {
            tracing::warn!(reason = %error.chain(), "visits of the last second are lost");
        }
    }
}
