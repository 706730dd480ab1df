//! Work beside the requests: steps that have waited too long are told so, and checkouts under way are counted.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

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
pub struct InFlight {
    count: AtomicU32,
    /// Placements that were ever begun, those of them that are under way, and those that had ended when it was last counted.
    begun: AtomicU32,
    under_way: AtomicU32,
    counted: AtomicU32,
    config: Live<OrdersConfig>,
}

/// A placement under way, until it is dropped.
pub struct Placing<'a>(&'a InFlight);

impl Drop for Placing<'_> {
    fn drop(&mut self) {
        self.0.under_way.fetch_sub(1, Ordering::SeqCst);
    }
}

impl InFlight {
    pub fn new(config: Live<OrdersConfig>) -> Arc<Self> {
        Arc::new(Self {
            count: AtomicU32::new(0),
            begun: AtomicU32::new(0),
            under_way: AtomicU32::new(0),
            counted: AtomicU32::new(0),
            config,
        })
    }

    fn max(&self) -> u32 {
        self.config.get().in_flight_max
    }

    /// One more is being placed: it counts at once, not only when somebody looks.
    pub fn place(&self) -> Placing<'_> {
        self.under_way.fetch_add(1, Ordering::SeqCst);
        self.begun.fetch_add(1, Ordering::SeqCst);
        Placing(self)
    }

    /// 1 is full.
    pub fn pressure(&self) -> f64 {
        let since = self.begun.load(Ordering::SeqCst).wrapping_sub(self.counted.load(Ordering::SeqCst));
        (f64::from(self.count.load(Ordering::Relaxed)) + f64::from(since)) / f64::from(self.max())
    }

    /// How many had ended by now: what is counted after this counts them.
    fn ended(&self) -> u32 {
        // Whoever begins in between is under way, and counts twice rather than not at all.
        let begun = self.begun.load(Ordering::SeqCst);
        begun.wrapping_sub(self.under_way.load(Ordering::SeqCst))
    }
}

pub struct CountInFlight {
    pub db: Db,
    pub in_flight: Arc<InFlight>,
}

#[async_trait]
impl Job for CountInFlight {
    async fn run(&self) -> kernel::Result<Progress> {
        let (max, ended) = (self.in_flight.max(), self.in_flight.ended());
        let count =
            self.db.read(move |tx| messaging::saga::count_waiting(tx, crate::saga::KIND, max)).await?;
        self.in_flight.count.store(count, Ordering::Relaxed);
        self.in_flight.counted.store(ended, Ordering::SeqCst);
        Ok(Progress::Idle)
    }
}
