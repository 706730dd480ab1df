//! The relay: takes rows from the outbox to the bus, in order.
//!
//! Invariants:
//! - a row is deleted only after the bus has it durably. A crash in between publishes it a second time, which the inboxes of
//!   the consumers absorb;
//! - the rows of a partition are published one publication after the other, in their order. Where partitions can be away by
//!   themselves, one that is holds up no other;
//! - a step reads no more than [`ROWS_MAX`] rows and, but for the last of them, [`BYTES_MAX`] bytes.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bus::{Bus, Message, partition_of};
use contracts::topics;
use db::{Db, Error, Param, Tx, params};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesUnordered, StreamExt};
use kernel::{Clock, Timestamp};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use rtc_metrics::RELAY_LAG;
use tokio::sync::{Mutex, Notify};
use tokio::time::{Instant, timeout_at};

use crate::{Outbox, Progress, Pump};

const ROWS_MAX: usize = 512;
const BYTES_MAX: usize = 8 * 1024 * 1024;
/// How many rows of partitions that are away are passed over in one step.
const PASSED_OVER_MAX: usize = 16 * ROWS_MAX;
/// How long a step waits for a partition before it leaves it alone.
const PATIENCE: Duration = Duration::from_millis(500);

// ---- how long it takes ----------------------------------------------------------------------------------------

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    service: String,
}

/// How long messages wait: from their command to the bus's acknowledgement.
#[derive(Clone)]
pub struct RelayLag(Family<Labels, Histogram>);

impl RelayLag {
    pub fn register(registry: &mut Registry) -> Self {
        let buckets = || Histogram::new(RELAY_LAG.buckets.iter().copied());
        let lag = Self(Family::new_with_constructor(buckets as fn() -> Histogram));
        registry.register(RELAY_LAG.family(), RELAY_LAG.help, lag.0.clone());
        lag
    }

    fn of(&self, service: &str) -> Histogram {
        self.0.get_or_create(&Labels { service: service.to_owned() }).clone()
    }
}

// ---- rows -----------------------------------------------------------------------------------------------------

/// A partition of a topic.
type Lane = (Arc<str>, u32);

struct Outgoing {
    id: i64,
    sent_at: Timestamp,
    message: Message,
}

/// A topic that is not ours is the bus's to refuse.
fn lane_of(message: &Message) -> Lane {
    let partitions = topics::by_name(&message.topic).map_or(1, |topic| topic.partitions);
    (message.topic.clone(), partition_of(&message.key, partitions))
}

/// The first rows after `after` whose lanes are not `busy`. Rows of one subject become visible in the order of their ids,
/// because a transaction holds the subject's sequence until it commits; rows of different subjects may come in any order.
fn rows_after(tx: &mut Tx<'_>, after: i64, busy: &HashSet<Lane>) -> Result<Vec<Outgoing>, Error> {
    let sql = "SELECT id, topic, subject, created_at, payload FROM outbox WHERE id > ? ORDER BY id LIMIT ?";
    let (mut rows, mut bytes) = (Vec::new(), 0);
    let (mut last, mut passed_over) = (after, 0);
    loop {
        let mut seen = 0;
        let mut is_full = false;
        let from = last;
        tx.query_while(sql, params![from, ROWS_MAX as i64], |row| {
            seen += 1;
            last = row.get(0)?;
            let message = Message {
                topic: row.get::<String>(1)?.into(),
                key: row.get(2)?,
                payload: row.get::<String>(4)?.into(),
            };
            if busy.contains(&lane_of(&message)) {
                passed_over += 1;
            } else {
                bytes += message.payload.len();
                rows.push(Outgoing { id: last, sent_at: row.get(3)?, message });
            }
            is_full = rows.len() >= ROWS_MAX || bytes >= BYTES_MAX;
            Ok(!is_full)
        })?;
        // Where nothing is passed over, one look is all there is to see.
        if is_full || seen < ROWS_MAX || passed_over == 0 || passed_over >= PASSED_OVER_MAX {
            return Ok(rows);
        }
    }
}

fn delete(tx: &mut Tx<'_>, ids: &[i64]) -> Result<(), Error> {
    let ids: Vec<Param<'_>> = ids.iter().map(|id| Param::Int(*id)).collect();
    tx.for_each_portion(&ids, |tx, portion| {
        let places = vec!["?"; portion.len()].join(", ");
        tx.execute(&format!("DELETE FROM outbox WHERE id IN ({places})"), portion).map(drop)
    })
}

// ---- lanes ----------------------------------------------------------------------------------------------------

/// What a publication came to.
struct Landed {
    lane: Lane,
    rows: Vec<(i64, Timestamp)>,
    outcome: Result<(), bus::Error>,
}

/// Publications under way, one a partition at most. They move only while a step waits for them.
#[derive(Default)]
struct Lanes {
    running: FuturesUnordered<BoxFuture<'static, Landed>>,
    busy: HashSet<Lane>,
}

impl Lanes {
    fn begin(&mut self, bus: &Arc<dyn Bus>, rows: Vec<Outgoing>) {
        let mut by_lane: BTreeMap<Lane, Vec<Outgoing>> = BTreeMap::new();
        for row in rows {
            by_lane.entry(lane_of(&row.message)).or_default().push(row);
        }
        for (lane, rows) in by_lane {
            self.busy.insert(lane.clone());
            let bus = bus.clone();
            self.running.push(Box::pin(async move {
                let (rows, messages): (Vec<_>, Vec<_>) =
                    rows.into_iter().map(|row| ((row.id, row.sent_at), row.message)).unzip();
                Landed { lane, rows, outcome: bus.publish(messages).await }
            }));
        }
    }

    /// Waits until no more than `stuck` are under way, for as long as there is patience.
    async fn gather(&mut self, stuck: usize) -> Vec<Landed> {
        let until = Instant::now() + PATIENCE;
        let mut landed = Vec::new();
        while self.running.len() > stuck {
            let Ok(Some(one)) = timeout_at(until, self.running.next()).await else { break };
            landed.push(one);
        }
        // Those that were stuck are looked at too.
        while let Some(Some(one)) = self.running.next().now_or_never() {
            landed.push(one);
        }
        for one in &landed {
            self.busy.remove(&one.lane);
        }
        landed
    }
}

// ---- the pump -------------------------------------------------------------------------------------------------

/// Publishes one service's outbox. One of them runs at a time: in one process, or by lease.
pub struct Relay {
    name: String,
    db: Db,
    bus: Arc<dyn Bus>,
    wake: Arc<Notify>,
    clock: Arc<dyn Clock>,
    lag: Option<Histogram>,
    /// The last row that the bus has. Its row may still be there: deletes go with a later commit.
    published_to: AtomicI64,
    /// A publication of several partitions has failed: they are tried one by one.
    is_troubled: AtomicBool,
    lanes: Mutex<Lanes>,
}

impl Relay {
    pub fn new(service: &str, db: Db, bus: Arc<dyn Bus>, outbox: &Outbox) -> Self {
        Self {
            name: format!("{service}.relay"),
            db,
            bus,
            wake: outbox.wake(),
            clock: outbox.clock(),
            lag: None,
            published_to: AtomicI64::new(0),
            is_troubled: AtomicBool::new(false),
            lanes: Mutex::default(),
        }
    }

    /// Tells how long messages wait.
    #[must_use]
    pub fn measured(mut self, lag: &RelayLag) -> Self {
        self.lag = Some(lag.of(self.name.trim_end_matches(".relay")));
        self
    }

    fn observe(&self, sent: impl IntoIterator<Item = Timestamp>) {
        if let Some(lag) = &self.lag {
            let now = self.clock.now();
            sent.into_iter().for_each(|at| lag.observe(now.since(at).as_secs_f64()));
        }
    }

    async fn read(&self, busy: HashSet<Lane>) -> Result<Vec<Outgoing>, Error> {
        let after = self.published_to.load(Ordering::Acquire);
        self.db.look_up(move |tx| rows_after(tx, after, &busy)).await
    }

    /// All that waits in one publication, where rows are committed in the order of their ids.
    async fn step_in_order(&self) -> kernel::Result<Progress> {
        let rows = self.read(HashSet::new()).await?;
        let Some(last) = rows.last().map(|row| row.id) else { return Ok(Progress::Idle) };
        let (sent, messages): (Vec<Timestamp>, Vec<Message>) =
            rows.into_iter().map(|row| (row.sent_at, row.message)).unzip();
        if let Err(error) = self.bus.publish(messages).await {
            self.is_troubled.store(true, Ordering::Release);
            return Err(error.into());
        }
        self.observe(sent);
        self.published_to.store(last, Ordering::Release);
        self.db
            .write_lazily(move |tx| tx.execute("DELETE FROM outbox WHERE id <= ?", params![last]).map(drop));
        Ok(Progress::Worked)
    }

    /// A publication for each partition that has none under way.
    async fn step_by_lane(&self, lanes: &mut Lanes) -> kernel::Result<Progress> {
        let stuck = lanes.running.len();
        let rows = self.read(lanes.busy.clone()).await?;
        if rows.is_empty() && stuck == 0 {
            self.is_troubled.store(false, Ordering::Release);
            return Ok(Progress::Idle);
        }
        let is_new = !rows.is_empty();
        lanes.begin(&self.bus, rows);
        let (mut published, mut failed) = (Vec::new(), None);
        for landed in lanes.gather(stuck).await {
            match landed.outcome {
                Ok(()) => published.extend(landed.rows),
                Err(error) => {
                    let (topic, partition) = &landed.lane;
                    tracing::warn!(relay = %self.name, %topic, partition, %error, "a partition takes nothing");
                    failed = Some(error);
                }
            }
        }
        if published.is_empty() {
            return match failed {
                Some(error) => Err(error.into()),
                None if is_new => Ok(Progress::Worked),
                None => Ok(Progress::Idle),
            };
        }
        self.observe(published.iter().map(|(_, at)| *at));
        // By their ids and not up to the last: a row with a smaller id may have been committed in the meantime.
        let ids: Vec<i64> = published.into_iter().map(|(id, _)| id).collect();
        self.db.write(move |tx| delete(tx, &ids)).await?;
        Ok(Progress::Worked)
    }
}

#[async_trait]
impl Pump for Relay {
    fn name(&self) -> &str {
        &self.name
    }

    async fn step(&self) -> kernel::Result<Progress> {
        let mut lanes = self.lanes.lock().await;
        if self.db.is_commit_ordered() && !self.is_troubled.load(Ordering::Acquire) {
            return self.step_in_order().await;
        }
        self.step_by_lane(&mut lanes).await
    }

    fn wake(&self) -> Arc<Notify> {
        self.wake.clone()
    }

    fn interval(&self) -> Duration {
        Duration::from_secs(1)
    }

    fn follows_commits(&self) -> bool {
        true
    }
}
