//! How many orders are in each state, and who waits for one to settle.
//!
//! Both follow commits: a count or a wake-up never runs ahead of what is on disk.

use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use contracts::OrderId;
use db::{Db, params};
use tokio::sync::oneshot;

use crate::domain::OrderState;
use crate::store;

pub struct Tally {
    by_state: [AtomicI64; OrderState::ALL.len()],
    waiting: Mutex<HashMap<OrderId, Vec<oneshot::Sender<()>>>>,
}

impl Tally {
    /// Counts what is there.
    pub async fn load(db: &Db) -> Result<Self, db::Error> {
        let counts: Vec<(OrderState, i64)> = db
            .read(|tx| {
                let sql = "SELECT state, COUNT(*) FROM orders GROUP BY state";
                tx.query(sql, params![], |row| Ok((row.parse(0)?, row.get(1)?)))
            })
            .await?;
        let tally = Self { by_state: Default::default(), waiting: Mutex::default() };
        for (state, count) in counts {
            tally.of(state).store(count, Ordering::Relaxed);
        }
        Ok(tally)
    }

    fn of(&self, state: OrderState) -> &AtomicI64 {
        &self.by_state[state as usize]
    }

    pub fn count(&self, state: OrderState) -> i64 {
        self.of(state).load(Ordering::Relaxed)
    }

    pub fn entered(&self, state: OrderState) {
        self.of(state).fetch_add(1, Ordering::Relaxed);
    }

    pub fn moved(&self, order: OrderId, from: OrderState, to: OrderState) {
        self.of(from).fetch_sub(1, Ordering::Relaxed);
        self.of(to).fetch_add(1, Ordering::Relaxed);
        if to.is_settled() {
            self.settled(order);
        }
    }

    fn settled(&self, order: OrderId) {
        let waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner).remove(&order);
        for waiter in waiting.into_iter().flatten() {
            // Nobody listens any more: the request has timed out.
            let _ = waiter.send(());
        }
    }

    /// Wakes who waits for orders that another process has settled.
    pub async fn look(&self, db: &Db) -> Result<(), db::Error> {
        let waiting: Vec<String> = {
            let waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
            waiting.keys().map(ToString::to_string).collect()
        };
        if waiting.is_empty() {
            return Ok(());
        }
        for order in db.read(move |tx| store::settled_of(tx, &waiting)).await? {
            self.settled(order);
        }
        Ok(())
    }

    /// Resolves once the order settles. Ask for it before the order can have settled, or look afterwards whether it has.
    pub fn settling(self: &Arc<Self>, order: OrderId) -> Settling {
        let (waiter, settled) = oneshot::channel();
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.entry(order).or_default().push(waiter);
        Settling { tally: self.clone(), order, settled: Some(settled) }
    }

    /// Drops the waiters of an order that nobody waits for any more.
    fn forget(&self, order: OrderId) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(waiters) = waiting.get_mut(&order) {
            waiters.retain(|waiter| !waiter.is_closed());
            if waiters.is_empty() {
                waiting.remove(&order);
            }
        }
    }
}

/// Somebody who waits for an order to settle. Dropped, it waits no more.
pub struct Settling {
    tally: Arc<Tally>,
    order: OrderId,
    settled: Option<oneshot::Receiver<()>>,
}

impl Settling {
    pub const fn order(&self) -> OrderId {
        self.order
    }

    pub async fn settled(mut self) {
        if let Some(settled) = &mut self.settled {
            // It ends either way: with the news, or because nobody can bring them any more.
            let _ = settled.await;
        }
    }
}

impl Drop for Settling {
    fn drop(&mut self) {
        self.settled = None;
        self.tally.forget(self.order);
    }
}
