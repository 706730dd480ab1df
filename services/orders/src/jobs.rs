//! Work beside the requests: steps that have waited too long are told so, and checkouts under way are counted.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use async_trait::async_trait;
use db::Db;
use host::Live;
use messaging::{Job, Progress};

use crate::config::OrdersConfig;
use crate::saga::{Input, Runner};
use crate::settled::Tally;

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

pub struct Deadlines {
    pub db: Db,
    pub runner: Runner,
}

#[async_trait]
impl Job for Deadlines {
    async fn run(&self) -> kernel::Result<Progress> {
        let runner = self.runner.clone();
        let asked = runner.clone();
        let due = self.db.look_up(move |tx| asked.overdue(tx, BATCH_MAX)).await?;
        if due.is_empty() {
            return Ok(Progress::Idle);
        }
        tracing::info!(orders = due.len(), "steps past their deadline");
        let count = due.len();
        self.db
            .write(move |tx| -> kernel::Result<()> {
                for order in &due {
                    runner.advance(tx, *order, &Input::Deadline, None)?;
                }
                Ok(())
            })
            .await?;
        Ok(Progress::from_count(count))
    }
}

/// How full this service is: checkouts under way, as they were last counted. What is accepted beyond what can be ended
/// in time would only be undone later.
pub struct InFlight {
    count: AtomicU32,
    config: Live<OrdersConfig>,
}

impl InFlight {
    pub fn new(config: Live<OrdersConfig>) -> Arc<Self> {
        Arc::new(Self { count: AtomicU32::new(0), config })
    }

    fn max(&self) -> u32 {
        self.config.get().in_flight_max
    }

    /// 1 is full.
    pub fn pressure(&self) -> f64 {
        f64::from(self.count.load(Ordering::Relaxed)) / f64::from(self.max())
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
        let count =
            self.db.read(move |tx| messaging::saga::count_waiting(tx, crate::saga::KIND, max)).await?;
        self.in_flight.count.store(count, Ordering::Relaxed);
        Ok(Progress::Idle)
    }
}
