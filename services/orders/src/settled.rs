//! How many orders are in each state, and who waits for one to settle.
//!
//! Both follow commits: a count or a wake-up never runs ahead of what is on disk.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use contracts::OrderId;
use db::{Db, params};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use tokio::sync::oneshot;

use crate::domain::OrderState;
use crate::store;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    state: &'static str,
}

pub struct Tally {
    by_state: Family<Labels, Gauge>,
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
        let tally = Self { by_state: Family::default(), waiting: Mutex::default() };
        for (state, count) in counts {
            tally.gauge(state).set(count);
        }
        Ok(tally)
    }

    pub fn register(&self, registry: &mut Registry) {
        registry.register("rtc_orders_by_state", "Orders in each state", self.by_state.clone());
    }

    fn gauge(&self, state: OrderState) -> Gauge {
        self.by_state.get_or_create(&Labels { state: state.as_str() }).clone()
    }

    pub fn count(&self, state: OrderState) -> i64 {
        self.gauge(state).get()
    }

    pub fn entered(&self, state: OrderState) {
        self.gauge(state).inc();
    }

    pub fn moved(&self, order: OrderId, from: OrderState, to: OrderState) {
        self.gauge(from).dec();
        self.gauge(to).inc();
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

    /// Resolves once the order settles. Ask for it before looking whether it already has.
    pub fn settles(&self, order: OrderId) -> oneshot::Receiver<()> {
        let (waiter, settled) = oneshot::channel();
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let waiters = waiting.entry(order).or_default();
        waiters.retain(|waiter| !waiter.is_closed());
        waiters.push(waiter);
        settled
    }

    /// Drops the waiters of an order that nobody waits for any more.
    pub fn forget(&self, order: OrderId) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(waiters) = waiting.get_mut(&order) {
            waiters.retain(|waiter| !waiter.is_closed());
            if waiters.is_empty() {
                waiting.remove(&order);
            }
        }
    }
}
