//! What waits in a service's database to be delivered, and what its consumers have not come to yet.
//!
//! Invariant: nothing is counted beyond [`COUNT_MAX`] rows: a table that has grown must not be slowed down by being
//! looked at.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bus::Bus;
use db::{Db, Tx, params};
use kernel::{Clock, Timestamp};

use super::{GroupLabel, LagLabels, Measures, Observer, OperationLabels, ServiceLabel};

/// How long brokers are asked for lag: less than a look may last, so that their silence is written down.
const LAG_MAX: Duration = Duration::from_millis(3_500);
/// Rows are counted up to here.
const COUNT_MAX: u32 = 100_000;

/// Looks at one service's outbox, dead letters and database.
pub(crate) struct DeliveryObserver {
    pub service: &'static str,
    pub name: String,
    pub db: Db,
    pub clock: Arc<dyn Clock>,
    pub measures: Measures,
    /// Of the service's consumers.
    pub groups: Vec<String>,
    /// Where the database is a file of this process.
    pub file: Option<PathBuf>,
    /// Groups whose dead letters were told, those included that are no more.
    pub told: Mutex<BTreeSet<String>>,
}

struct Waiting {
    depth: i64,
    oldest: Option<Timestamp>,
    dead: BTreeMap<String, i64>,
}

fn waiting(tx: &mut Tx<'_>) -> Result<Waiting, db::Error> {
    let count = "SELECT COUNT(*) FROM (SELECT 1 FROM outbox LIMIT ?) waiting";
    let depth = tx.query_one(count, params![COUNT_MAX], |row| row.get(0))?;
    let oldest = "SELECT created_at FROM outbox ORDER BY id LIMIT 1";
    let oldest = tx.query_opt(oldest, params![], |row| row.get(0))?;
    let dead =
        "SELECT consumer, COUNT(*) FROM (SELECT consumer FROM dead_letters LIMIT ?) parked GROUP BY consumer";
    let dead = tx.query(dead, params![COUNT_MAX], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(Waiting { depth, oldest, dead: dead.into_iter().collect() })
}

#[async_trait]
impl Observer for DeliveryObserver {
    fn name(&self) -> &str {
        &self.name
    }

    async fn observe(&self) -> kernel::Result<()> {
        let label = ServiceLabel { service: self.service };
        let (stats, m) = (self.db.stats(), &self.measures);
        m.db_queued.get_or_create(&label).set(i64::try_from(stats.queued).unwrap_or(i64::MAX));
        m.db_commands.get_or_create(&label).inner().store(stats.commands, Ordering::Relaxed);
        m.db_commits.get_or_create(&label).inner().store(stats.commits, Ordering::Relaxed);
        for operation in ["read", "write"] {
            drop(m.db_duration.get_or_create(&OperationLabels { service: self.service, operation }));
        }
        if let Some(file) = &self.file {
            let size = |path: PathBuf| std::fs::metadata(path).map_or(0, |data| data.len());
            let bytes = size(file.clone()) + size(file.with_extension("db-wal"));
            m.db_size.get_or_create(&label).set(i64::try_from(bytes).unwrap_or(i64::MAX));
        }
        let found = self.db.read(waiting).await.map_err(kernel::Error::from)?;
        m.outbox_depth.get_or_create(&label).set(found.depth);
        let age = found.oldest.map_or(0.0, |oldest| self.clock.now().since(oldest).as_secs_f64());
        m.outbox_lag.get_or_create(&label).set(age);
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        told.extend(self.groups.iter().chain(found.dead.keys()).cloned());
        for group in told.iter() {
            let count = found.dead.get(group).copied().unwrap_or(0);
            m.dead.get_or_create(&GroupLabel { group: group.clone() }).set(count);
        }
        Ok(())
    }

    fn forget(&self) {
        let label = ServiceLabel { service: self.service };
        self.measures.outbox_depth.remove(&label);
        self.measures.outbox_lag.remove(&label);
        for group in self.told.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            self.measures.dead.remove(&GroupLabel { group: group.clone() });
        }
    }
}

/// Looks how far the consumer groups of this process are.
pub(crate) struct LagObserver {
    pub bus: Arc<dyn Bus>,
    pub measures: Measures,
    /// The groups of the consumers here, and their topics.
    pub groups: Arc<Mutex<BTreeSet<(String, &'static str)>>>,
}

#[async_trait]
impl Observer for LagObserver {
    fn name(&self) -> &str {
        "bus.lag"
    }

    async fn observe(&self) -> kernel::Result<()> {
        let groups = self.groups.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let names = groups.iter().map(|(group, _)| group.clone()).collect();
        // Brokers that are away take longer to say so than a look may last.
        let found = tokio::time::timeout(LAG_MAX, self.bus.lag_of(&names)).await.unwrap_or_else(|_| {
            Err(bus::Error::Unavailable("the brokers do not say how far groups are".to_owned()))
        });
        self.measures.bus_up.set(i64::from(found.is_ok()));
        let mut lags: BTreeMap<(String, &str), i64> = groups.into_iter().map(|of| (of, 0)).collect();
        let found = found?;
        for one in &found {
            if let Some(lag) = lags.get_mut(&(one.group.clone(), one.topic.as_str())) {
                *lag += one.lag;
            }
        }
        for ((group, topic), lag) in lags {
            self.measures.lag.get_or_create(&LagLabels { group, topic: topic.to_owned() }).set(lag);
        }
        Ok(())
    }

    fn forget(&self) {
        self.measures.lag.clear();
    }
}
