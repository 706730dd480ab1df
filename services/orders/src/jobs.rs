//! Work beside the requests: steps that have waited too long are told so, and checkouts under way are counted.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use contracts::OrderId;
use db::{Db, Tx};
use host::Live;
use kernel::{Clock, Error};
use messaging::{Job, Progress};

use crate::config::OrdersConfig;
use crate::saga::{Input, Runner};
use crate::settled::Tally;
use crate::trouble;

const BATCH_MAX: u32 = 100;

/// A look that others rely on at every moment, so that it is never put off: a pump that fails is turned more and more rarely,
/// and this one has to be there when the database is back. That it fails is told once.
pub struct Steady<J> {
    name: &'static str,
    look: J,
    failing: AtomicBool,
}

impl<J> Steady<J> {
    pub const fn new(name: &'static str, look: J) -> Self {
        Self { name, look, failing: AtomicBool::new(false) }
    }
}

#[async_trait]
impl<J: Job> Job for Steady<J> {
    async fn run(&self) -> kernel::Result<Progress> {
        let looked = self.look.run().await;
        match (&looked, self.failing.swap(looked.is_err(), Ordering::Relaxed)) {
            (Err(error), false) => {
                tracing::warn!(look = self.name, error = %error.chain(), "a look fails; what is known stays");
            }
            (Ok(_), true) => tracing::info!(look = self.name, "a look succeeds again"),
            _ => {}
        }
        Ok(looked.unwrap_or(Progress::Idle))
    }
}

/// Where other processes have the same database, one of them may take an order's last step: nobody signals it here.
pub struct SettledElsewhere {
    pub db: Db,
    pub tally: Arc<Tally>,
}

#[async_trait]
impl Job for SettledElsewhere {
    async fn run(&self) -> kernel::Result<Progress> {
        self.tally.look(&self.db).await?;
        Ok(Progress::Idle)
    }
}

/// So many checkouts in a row that fail for a reason that passes mean that the database does.
const PASSING_MAX: u32 = 3;

pub struct Deadlines {
    pub db: Db,
    pub runner: Runner,
    pub clock: Arc<dyn Clock>,
}

fn step(tx: &mut Tx<'_>, runner: &Runner, id: &str) -> kernel::Result<()> {
    let order = id.parse::<OrderId>().map_err(Error::internal)?;
    runner.advance(tx, order, &Input::Deadline, None).map(drop)
}

impl Deadlines {
    /// One by one: what is wrong with one is written down, and holds up no other.
    async fn advance_each(&self, due: Vec<String>) -> kernel::Result<()> {
        let mut passing = 0;
        let mut failed = Ok(());
        for id in due {
            let (runner, order) = (self.runner.clone(), id.clone());
            match self.db.write(move |tx| step(tx, &runner, &order)).await {
                Ok(()) => passing = 0,
                Err(error) if error.kind().is_transient() => {
                    passing += 1;
                    failed = Err(error);
                    if passing == PASSING_MAX {
                        break;
                    }
                }
                Err(error) => {
                    passing = 0;
                    let (reason, now, order) = (error.chain(), self.clock.now(), id.clone());
                    let noted = reason.clone();
                    let failures = self.db.write(move |tx| trouble::note(tx, &order, &noted, now)).await?;
                    tracing::error!(order = %id, %reason, failures, "a checkout cannot be taken further");
                }
            }
        }
        failed
    }
}

#[async_trait]
impl Job for Deadlines {
    async fn run(&self) -> kernel::Result<Progress> {
        let runner = self.runner.clone();
        let due = self.db.look_up(move |tx| runner.overdue(tx, BATCH_MAX)).await?;
        if due.is_empty() {
            return Ok(Progress::Idle);
        }
        tracing::info!(orders = due.len(), "steps past their deadline");
        let (runner, all) = (self.runner.clone(), due.clone());
        let together = move |tx: &mut Tx<'_>| -> kernel::Result<()> {
            all.iter().try_for_each(|id| step(tx, &runner, id))?;
            trouble::prune(tx)?;
            Ok(())
        };
        if let Err(error) = self.db.write(together).await {
            tracing::warn!(%error, "deadlines are met one by one");
            self.advance_each(due).await?;
        }
        Ok(Progress::Worked)
    }
}

/// How full this service is: checkouts under way, as they were last counted, and those that were begun since. What is accepted
/// beyond what can be ended in time would only be undone later.
///
/// Invariant: a checkout is never missing from it from its first moment on; between two looks one may be in it twice.
pub struct InFlight {
    state: Mutex<State>,
    config: Live<OrdersConfig>,
}

#[derive(Default)]
struct State {
    /// As they were last counted.
    count: u32,
    /// Placements under way: what becomes of them is not known yet.
    under_way: u32,
    /// Placements that left an order behind: ever, and those of them that the last count has counted.
    placed: u64,
    counted: u64,
}

impl State {
    fn level(&self) -> u64 {
        u64::from(self.count) + u64::from(self.under_way) + (self.placed - self.counted)
    }
}

/// A placement under way, until it is known what became of it, or nobody is left who could know.
pub struct Placing {
    in_flight: Arc<InFlight>,
    has_ended: AtomicBool,
}

impl Placing {
    /// There is an order, or may be one: it counts until the checkouts are counted again.
    pub fn placed(&self) {
        self.end(1);
    }

    /// There is none, unless it was said before that there is: a repetition, a refusal, a failure.
    pub fn ended(&self) {
        self.end(0);
    }

    fn end(&self, placed: u64) {
        if !self.has_ended.swap(true, Ordering::SeqCst) {
            let mut state = self.in_flight.state();
            state.under_way -= 1;
            state.placed += placed;
        }
    }
}

impl Drop for Placing {
    fn drop(&mut self) {
        self.ended();
    }
}

impl InFlight {
    pub fn new(config: Live<OrdersConfig>) -> Arc<Self> {
        Arc::new(Self { state: Mutex::default(), config })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn max(&self) -> u32 {
        self.config.get().in_flight_max
    }

    /// One more is being placed: it counts at once, not only when somebody looks. `None` where there is no room for it.
    pub fn place(self: &Arc<Self>) -> Option<Placing> {
        let max = u64::from(self.max());
        let mut state = self.state();
        if state.level() >= max {
            return None;
        }
        state.under_way += 1;
        Some(Placing { in_flight: self.clone(), has_ended: AtomicBool::new(false) })
    }

    /// 1 is full.
    pub fn pressure(&self) -> f64 {
        self.state().level() as f64 / f64::from(self.max())
    }
}

pub struct CountInFlight {
    pub db: Db,
    pub in_flight: Arc<InFlight>,
}

#[async_trait]
impl Job for CountInFlight {
    async fn run(&self) -> kernel::Result<Progress> {
        let max = self.in_flight.max();
        // What is placed by now is in the count; what is placed while it is counted may be, and counts twice rather than not
        // at all.
        let placed = self.in_flight.state().placed;
        let count =
            self.db.read(move |tx| messaging::saga::count_waiting(tx, crate::saga::KIND, max)).await?;
        let mut state = self.in_flight.state();
        (state.count, state.counted) = (count, placed);
        Ok(Progress::Idle)
    }
}

#[cfg(test)]
mod tests;
