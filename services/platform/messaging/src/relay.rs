//! The relay: takes rows from the outbox to the bus, in order.
//!
//! Invariants:
//! - a row is deleted only after the bus has it durably. A crash in between publishes it a second time, which the inboxes of
//!   the consumers absorb;
//! - the rows of a partition are published one publication after the other, in their order. Where partitions can be away by
//!   themselves, one that is holds up no other, however much waits for it;
//! - a partition that refuses rests, for more steps each time, while the others go on. Steps and not time: a test that turns
//!   the pump by hand sees the same each time;
//! - a step reads no more than twice [`ROWS_MAX`] rows and, but for the last of them, [`BYTES_MAX`] bytes.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bus::{Bus, Message};
use db::{Db, Error, Param, Row, Tx, params};
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

use crate::{Outbox, Progress, Pump, outbox};

const ROWS_MAX: usize = 512;
const BYTES_MAX: usize = 8 * 1024 * 1024;
/// For how many steps a partition rests that has refused: once at first, then twice as often up to this.
const REST_MAX: u64 = 64;
/// How soon it is looked again where a partition rests or keeps silent.
const LOOK_AGAIN: Duration = Duration::from_millis(200);
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

fn lane_of(message: &Message) -> Lane {
    (message.topic.clone(), outbox::partition(&message.topic, &message.key))
}

/// What a look at the outbox has found.
#[derive(Default)]
struct Found {
    rows: Vec<Outgoing>,
    bytes: usize,
    /// How many rows were seen, and how many of them were passed over.
    seen: usize,
    passed_over: usize,
    /// The last row that was seen.
    last: i64,
}

impl Found {
    /// Takes a row; `false` where there is room for no more.
    fn take(&mut self, row: &Row<'_>, out: &HashSet<Lane>) -> Result<bool, Error> {
        self.seen += 1;
        self.last = row.get(0)?;
        let message = Message {
            topic: row.get::<String>(1)?.into(),
            key: row.get(2)?,
            payload: row.get::<String>(4)?.into(),
        };
        if out.contains(&lane_of(&message)) {
            self.passed_over += 1;
        } else {
            self.bytes += message.payload.len();
            self.rows.push(Outgoing { id: self.last, sent_at: row.get(3)?, message });
        }
        Ok(!self.is_full())
    }

    fn is_full(&self) -> bool {
        self.rows.len() >= ROWS_MAX || self.bytes >= BYTES_MAX
    }
}

const COLUMNS: &str = "id, topic, subject, created_at, payload";

/// The first rows after `after`, but for those whose lanes are `out`. Rows of one subject become visible in the order of their
/// ids, because a transaction holds the subject's sequence until it commits; rows of different subjects may come in any order.
/// So each lane is read from its first row on, by one statement.
fn rows_after(tx: &mut Tx<'_>, after: i64, out: &HashSet<Lane>) -> Result<Found, Error> {
    let mut found = Found::default();
    let sql = format!("SELECT {COLUMNS} FROM outbox WHERE id > ? ORDER BY id LIMIT ?");
    tx.query_while(&sql, params![after, ROWS_MAX as i64], |row| found.take(row, out))?;
    // Where nothing is passed over, or all has been seen, one look is all there is to see.
    if found.passed_over > 0 && found.seen >= ROWS_MAX && !found.is_full() {
        beyond(tx, after, out, &mut found)?;
    }
    Ok(found)
}

/// Adds the first rows of lanes that were not seen yet, because too many rows of those that are `out` lie before theirs.
fn beyond(tx: &mut Tx<'_>, after: i64, out: &HashSet<Lane>, found: &mut Found) -> Result<(), Error> {
    let known: HashSet<Lane> = found.rows.iter().map(|row| lane_of(&row.message)).collect();
    let mut lanes = Vec::new();
    let mut topic = String::new();
    loop {
        let next = "SELECT MIN(topic) FROM outbox WHERE topic > ?";
        let Some(name) = tx.query_one(next, params![topic], |row| row.get::<Option<String>>(0))? else {
            break;
        };
        // Of rows from before partitions were noted it is not known which lanes they are of: they go first.
        let unknown = "SELECT 1 FROM outbox WHERE topic = ? AND part IS NULL LIMIT 1";
        if tx.query_opt(unknown, params![name], |_| Ok(()))?.is_none() {
            let (shared, partitions) = (Arc::<str>::from(name.as_str()), outbox::partitions(&name));
            lanes.extend((0..partitions).map(|partition| (shared.clone(), partition)));
        }
        topic = name;
    }
    lanes.retain(|lane| !out.contains(lane) && !known.contains(lane));
    let share = (ROWS_MAX / lanes.len().max(1)).max(1) as i64;
    let sql =
        format!("SELECT {COLUMNS} FROM outbox WHERE topic = ? AND part = ? AND id > ? ORDER BY id LIMIT ?");
    for (topic, partition) in &lanes {
        if found.is_full() {
            break;
        }
        tx.query_while(&sql, params![&**topic, *partition, after, share], |row| found.take(row, out))?;
    }
    Ok(())
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

/// A lane that has refused what it was given.
#[derive(Debug, Clone, Copy)]
struct Rest {
    /// The step in which it is tried again.
    until: u64,
    steps: u64,
}

/// Publications under way, one a partition at most. They move only while a step waits for them.
#[derive(Default)]
struct Lanes {
    running: FuturesUnordered<BoxFuture<'static, Landed>>,
    busy: HashSet<Lane>,
    resting: HashMap<Lane, Rest>,
    step: u64,
}

impl Lanes {
    /// Those that are left alone in this step.
    fn out(&self) -> HashSet<Lane> {
        let resting = self.resting.iter().filter(|(_, rest)| rest.until > self.step);
        self.busy.iter().chain(resting.map(|(lane, _)| lane)).cloned().collect()
    }

    fn refused(&mut self, lane: Lane) {
        let rest = self.resting.entry(lane).or_insert(Rest { until: 0, steps: 0 });
        rest.steps = (rest.steps * 2).clamp(1, REST_MAX);
        rest.until = self.step + 1 + rest.steps;
    }

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
    /// Some partition rests or keeps silent.
    is_out: AtomicBool,
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
            is_out: AtomicBool::new(false),
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

    async fn read(&self, out: HashSet<Lane>) -> Result<Found, Error> {
        let after = self.published_to.load(Ordering::Acquire);
        self.db.look_up(move |tx| rows_after(tx, after, &out)).await
    }

    /// All that waits in one publication, where rows are committed in the order of their ids.
    async fn step_in_order(&self) -> kernel::Result<Progress> {
        let rows = self.read(HashSet::new()).await?.rows;
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

    /// A publication for each partition that has none under way and does not rest. One that refuses is no failure of the step:
    /// the others would have to wait for it.
    async fn step_by_lane(&self, lanes: &mut Lanes) -> kernel::Result<Progress> {
        lanes.step += 1;
        let stuck = lanes.running.len();
        let found = self.read(lanes.out()).await?;
        if found.seen == 0 && stuck == 0 {
            lanes.resting.clear();
            self.is_troubled.store(false, Ordering::Release);
            return Ok(Progress::Idle);
        }
        let is_new = !found.rows.is_empty();
        lanes.begin(&self.bus, found.rows);
        let (mut published, mut some_refused) = (Vec::new(), false);
        for landed in lanes.gather(stuck).await {
            match landed.outcome {
                Ok(()) => {
                    lanes.resting.remove(&landed.lane);
                    published.extend(landed.rows);
                }
                Err(error) => {
                    let (topic, partition) = &landed.lane;
                    tracing::warn!(relay = %self.name, %topic, partition, %error, "a partition takes nothing");
                    some_refused = true;
                    lanes.refused(landed.lane);
                }
            }
        }
        if published.is_empty() {
            return Ok(if is_new && !some_refused { Progress::Worked } else { Progress::Idle });
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
        let done = self.step_by_lane(&mut lanes).await;
        self.is_out.store(!lanes.resting.is_empty() || !lanes.running.is_empty(), Ordering::Release);
        done
    }

    fn wake(&self) -> Arc<Notify> {
        self.wake.clone()
    }

    fn interval(&self) -> Duration {
        if self.is_out.load(Ordering::Acquire) { LOOK_AGAIN } else { Duration::from_secs(1) }
    }

    /// What is under way is given up, and published again by whoever goes on: also by this one, after a step that panicked.
    async fn finish(&self) {
        *self.lanes.lock().await = Lanes::default();
        self.is_out.store(false, Ordering::Release);
    }

    /// Not where much may wait for a partition: every look would read it again.
    fn follows_commits(&self) -> bool {
        !self.is_out.load(Ordering::Acquire)
    }
}
