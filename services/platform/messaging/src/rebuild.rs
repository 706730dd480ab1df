//! Rebuilds: a read model is filled anew from the log while its service goes on.
//!
//! Invariants:
//! - a projection has one row with its stage, and every transaction that handles its messages holds that row: those of
//!   the group share it, those of a rebuild have it alone. While a rebuild is under way no message of the group takes
//!   effect, whichever replica has it; it is delivered again afterwards, and the inbox knows what the rebuild has read;
//! - the end up to which the log is read is looked up after the group has stopped, so all that had taken effect before
//!   is read again;
//! - a position moves in the transaction of the messages that it passes, from where it was: of several replicas that
//!   read the same place one goes on, and a crash at any point loses and repeats nothing;
//! - a model that is filled in place is emptied only where the log still has its beginning.

use std::collections::HashMap;
use std::str::FromStr;
use std::sync::Arc;

use bus::{Bus, Delivery};
use contracts::topics::Topic;
use db::{Db, Tx, params};
use kernel::{Error, Timestamp};
use serde::{Deserialize, Serialize};

use crate::Progress;
use crate::consumer::{BATCH_MAX, Consumer, ConsumerPump, HandlerFn, Incoming, Taken};

type TableFn = Box<dyn Fn(&mut Tx<'_>) -> kernel::Result<()> + Send + Sync>;
type SwapFn = Box<dyn Fn(&mut Tx<'_>, Extent) -> kernel::Result<()> + Send + Sync>;

/// What of a topic's history a rebuild could read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// All of it: what was not read was never there.
    Whole,
    /// What the retention has left: what was not read may be older.
    Tail,
}

/// How a consumer's tables are filled anew.
pub(crate) struct Projection {
    /// Empties what the rebuild writes.
    clear: TableFn,
    /// `None` where it writes into the tables that are read.
    aside: Option<Aside>,
}

struct Aside {
    handlers: HashMap<&'static str, HandlerFn>,
    swap: SwapFn,
}

impl Projection {
    pub(crate) fn in_place(clear: TableFn) -> Self {
        Self { clear, aside: None }
    }

    pub(crate) fn aside(handlers: HashMap<&'static str, HandlerFn>, clear: TableFn, swap: SwapFn) -> Self {
        Self { clear, aside: Some(Aside { handlers, swap }) }
    }

    /// Those that write where the rebuild writes, if that is elsewhere.
    pub(crate) fn handlers(&self) -> Option<&HashMap<&'static str, HandlerFn>> {
        self.aside.as_ref().map(|aside| &aside.handlers)
    }

    fn way(&self) -> &'static str {
        if self.aside.is_some() { ASIDE } else { IN_PLACE }
    }
}

const ASIDE: &str = "aside";
const IN_PLACE: &str = "in_place";
/// How many inbox rows go in one transaction.
const FORGET_MAX: u32 = 1_000;

/// How far a rebuild is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// None is under way: messages are handled as they come.
    Live,
    /// An operator wants one; from here on the group's messages wait.
    Requested,
    /// Its inbox is being forgotten.
    Emptying,
    /// The log is read.
    Reading,
}

impl Stage {
    pub const fn as_str(self) -> &'static str {
        match self {
            Stage::Live => "live",
            Stage::Requested => "requested",
            Stage::Emptying => "emptying",
            Stage::Reading => "reading",
        }
    }
}

impl FromStr for Stage {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        [Stage::Live, Stage::Requested, Stage::Emptying, Stage::Reading]
            .into_iter()
            .find(|stage| stage.as_str() == text)
            .ok_or_else(|| format!("not a stage of a rebuild: {text:?}"))
    }
}

/// A read model that can be rebuilt, as an operator sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct ProjectionView {
    pub consumer: String,
    pub topics: Vec<String>,
    pub stage: Stage,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requested_at: Option<Timestamp>,
    /// Places of the log that the rebuild has passed, of `places`. Both are zero where none is under way.
    pub passed: i64,
    pub places: i64,
}

/// A piece of one partition, read in a rebuild.
#[derive(Debug, Clone)]
pub(crate) struct Slice {
    pub topic: Arc<str>,
    pub partition: u32,
    pub from: i64,
    pub next: i64,
}

/// Where a message that is handled comes from.
#[derive(Debug, Clone)]
pub(crate) enum Origin {
    Group,
    Log(Slice),
}

/// Makes the row that stands for the projection.
pub(crate) async fn enrol(
    db: &Db,
    consumer: &str,
    topics: &[Topic],
    projection: &Projection,
) -> Result<(), db::Error> {
    let names: Vec<&str> = topics.iter().map(|topic| topic.name).collect();
    let (consumer, topics, way) = (consumer.to_owned(), names.join(","), projection.way());
    db.write(move |tx| {
        let sql = "INSERT INTO projections (consumer, topics, way, stage) VALUES (?, ?, ?, 'live') \
                   ON CONFLICT (consumer) DO UPDATE SET topics = excluded.topics, way = excluded.way";
        tx.execute(sql, params![consumer, topics, way]).map(drop)
    })
    .await
}

fn stage(tx: &mut Tx<'_>, consumer: &str) -> Result<Stage, db::Error> {
    tx.query_one("SELECT stage FROM projections WHERE consumer = ?", params![consumer], |row| row.parse(0))
}

/// Whether messages of the group may take effect, until the transaction ends.
pub(crate) fn is_live(tx: &mut Tx<'_>, consumer: &str) -> Result<bool, db::Error> {
    Ok(stage(&mut tx.shared(), consumer)? == Stage::Live)
}

/// Moves the position over the slice; `false` where the rebuild is elsewhere by now.
pub(crate) fn pass(tx: &mut Tx<'_>, consumer: &str, slice: &Slice) -> Result<bool, db::Error> {
    if stage(tx, consumer)? != Stage::Reading {
        return Ok(false);
    }
    let sql =
        "UPDATE projection_positions SET pos = ? WHERE consumer = ? AND topic = ? AND part = ? AND pos = ?";
    let moved = tx.execute(sql, params![slice.next, consumer, &*slice.topic, slice.partition, slice.from])?;
    Ok(moved == 1)
}

fn set_stage(tx: &mut Tx<'_>, consumer: &str, stage: Stage) -> Result<(), db::Error> {
    let sql = "UPDATE projections SET stage = ? WHERE consumer = ?";
    tx.execute(sql, params![stage.as_str(), consumer]).map(drop)
}

/// The read models of a service that can be rebuilt. A consumer is among them once it has run.
pub async fn projections(db: &Db) -> Result<Vec<ProjectionView>, db::Error> {
    db.read(|tx| {
        let sql = "SELECT p.consumer, p.topics, p.stage, p.requested_at, \
                   (SELECT SUM(o.pos - o.began) FROM projection_positions o WHERE o.consumer = p.consumer), \
                   (SELECT SUM(o.upto - o.began) FROM projection_positions o WHERE o.consumer = p.consumer) \
                   FROM projections p ORDER BY p.consumer";
        tx.query(sql, params![], |row| {
            let (passed, places): (Option<i64>, Option<i64>) = (row.get(4)?, row.get(5)?);
            let places = places.unwrap_or(0);
            Ok(ProjectionView {
                consumer: row.get(0)?,
                topics: row.get::<String>(1)?.split(',').map(str::to_owned).collect(),
                stage: row.parse(2)?,
                requested_at: row.get(3)?,
                passed: passed.unwrap_or(0).min(places),
                places,
            })
        })
    })
    .await
}

/// What of `topic` the log has lost: its partitions that do not begin at their beginning.
fn lost(topic: &str, partitions: &[bus::PartitionInfo]) -> Option<Error> {
    let gone = partitions.iter().find(|info| info.begin > 0)?;
    let text = format!(
        "{topic}/{} begins at {}: what it held before is past its retention, and a read model without it would be wrong",
        gone.partition, gone.begin
    );
    Some(Error::conflict("log_too_short", text))
}

/// Asks for a rebuild of `consumer`; its pump begins at its next step, in whichever process.
pub async fn rebuild(db: &Db, bus: &dyn Bus, consumer: &str, now: Timestamp) -> kernel::Result<()> {
    let name = consumer.to_owned();
    let sql = "SELECT topics, way FROM projections WHERE consumer = ?";
    let found: Option<(String, String)> = db
        .read(move |tx| tx.query_opt(sql, params![name], |row| Ok((row.get(0)?, row.get(1)?))))
        .await
        .map_err(|error: db::Error| Error::from(error))?;
    let Some((topics, way)) = found else {
        let text = format!("no read model is filled by a consumer {consumer:?}");
        return Err(Error::not_found("no_such_projection", text));
    };
    if way == IN_PLACE {
        for topic in topics.split(',') {
            if let Some(error) = lost(topic, &bus.partitions(topic).await?) {
                return Err(error);
            }
        }
    }
    let name = consumer.to_owned();
    db.write(move |tx| -> kernel::Result<()> {
        if stage(tx, &name)? != Stage::Live {
            return Err(Error::conflict("rebuild_under_way", format!("{name} is being rebuilt")));
        }
        let sql = "UPDATE projections SET stage = ?, requested_at = ? WHERE consumer = ?";
        tx.execute(sql, params![Stage::Requested.as_str(), now, name])?;
        Ok(())
    })
    .await
}

/// Forgets some of the inbox; `true` where nothing is left of it.
fn forget(tx: &mut Tx<'_>, consumer: &str) -> Result<bool, db::Error> {
    let sql = "SELECT event_id FROM inbox WHERE consumer = ? ORDER BY event_id LIMIT 1 OFFSET ?";
    let bound: Option<String> =
        tx.unlocked().query_opt(sql, params![consumer, FORGET_MAX], |row| row.get(0))?;
    match &bound {
        Some(bound) => {
            let sql = "DELETE FROM inbox WHERE consumer = ? AND event_id < ?";
            tx.execute(sql, params![consumer, *bound])?;
        }
        None => {
            tx.execute("DELETE FROM inbox WHERE consumer = ?", params![consumer])?;
        }
    }
    Ok(bound.is_none())
}

/// Where reading goes on, and where it ends there.
fn next_place(tx: &mut Tx<'_>, consumer: &str) -> Result<Option<(String, u32, i64, i64)>, db::Error> {
    let sql = "SELECT topic, part, pos, upto FROM projection_positions WHERE consumer = ? AND pos < upto \
               ORDER BY topic, part LIMIT 1";
    let read = |row: &db::Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?));
    tx.unlocked().query_opt(sql, params![consumer], read)
}

impl ConsumerPump {
    /// One bounded piece of a rebuild; `None` where none is under way.
    pub(crate) async fn rebuild_step(&self) -> kernel::Result<Option<Progress>> {
        if self.shared.projection.is_none() {
            return Ok(None);
        }
        let group = self.shared.group.clone();
        let stage = self.db.look_up(move |tx| stage(tx, &group)).await?;
        match stage {
            Stage::Live => Ok(None),
            Stage::Requested => self.open_log().await.map(Some),
            Stage::Emptying => self.empty().await.map(Some),
            Stage::Reading => self.read_log().await.map(Some),
        }
    }

    /// The group has stopped: what its messages have changed lies before the ends that the log has now.
    async fn open_log(&self) -> kernel::Result<Progress> {
        let mut places: Vec<(&'static str, u32, i64, i64)> = Vec::new();
        let mut refused = None;
        for topic in &self.topics {
            let partitions = self.bus.partitions(topic.name).await?;
            refused = refused.or_else(|| lost(topic.name, &partitions));
            places.extend(partitions.iter().map(|info| (topic.name, info.partition, info.begin, info.end)));
        }
        let shared = self.shared.clone();
        let refused = refused.filter(|_| shared.projection.as_ref().is_some_and(|kind| kind.aside.is_none()));
        if let Some(error) = &refused {
            tracing::error!(consumer = %shared.group, reason = %error, "the read model stays as it is");
        }
        let next = if refused.is_some() { Stage::Live } else { Stage::Emptying };
        self.db
            .write(move |tx| -> kernel::Result<()> {
                if stage(tx, &shared.group)? != Stage::Requested {
                    return Ok(());
                }
                for (topic, partition, begin, end) in places.iter().filter(|_| next == Stage::Emptying) {
                    let sql = "INSERT INTO projection_positions (consumer, topic, part, began, pos, upto) \
                               VALUES (?, ?, ?, ?, ?, ?)";
                    tx.execute(sql, params![shared.group, *topic, *partition, *begin, *begin, *end])?;
                }
                Ok(set_stage(tx, &shared.group, next)?)
            })
            .await?;
        Ok(Progress::Worked)
    }

    async fn empty(&self) -> kernel::Result<Progress> {
        let shared = self.shared.clone();
        self.db
            .write(move |tx| -> kernel::Result<()> {
                if stage(tx, &shared.group)? != Stage::Emptying || !forget(tx, &shared.group)? {
                    return Ok(());
                }
                tx.execute("DELETE FROM dead_letters WHERE consumer = ?", params![shared.group])?;
                if let Some(projection) = &shared.projection {
                    (projection.clear)(tx)?;
                }
                Ok(set_stage(tx, &shared.group, Stage::Reading)?)
            })
            .await?;
        Ok(Progress::Worked)
    }

    async fn read_log(&self) -> kernel::Result<Progress> {
        let group = self.shared.group.clone();
        let place = self.db.look_up(move |tx| next_place(tx, &group)).await?;
        let Some((topic, partition, from, upto)) = place else { return self.go_live().await };
        let found = self.bus.read(&topic, partition, from, BATCH_MAX).await?;
        // Nothing there means that nothing comes: what is published meanwhile is the group's.
        let next = found.last().map_or(upto, |last| last.offset + 1);
        let slice = Slice { topic: topic.into(), partition, from, next };
        let batch: Arc<Vec<Incoming>> = Arc::new(found.into_iter().map(Incoming::read).collect());
        let taken = match self.take_all(&batch, Origin::Log(slice.clone())).await {
            Ok(taken) => taken,
            Err(error) if batch.is_empty() => return Err(error),
            Err(_) => self.pass_one_by_one(&batch, slice).await?,
        };
        // Another replica has gone on from here: let it.
        Ok(if taken == Taken::Done { Progress::Worked } else { Progress::Idle })
    }

    async fn pass_one_by_one(&self, batch: &Arc<Vec<Incoming>>, whole: Slice) -> kernel::Result<Taken> {
        let mut from = whole.from;
        for (index, incoming) in batch.iter().enumerate() {
            let Delivery { offset, .. } = incoming.delivery;
            let slice = Slice { from, next: offset + 1, ..whole.clone() };
            from = slice.next;
            if self.take_one(batch, index, Origin::Log(slice)).await? == Taken::Held {
                return Ok(Taken::Held);
            }
        }
        Ok(Taken::Done)
    }

    /// All is read: the group's messages go on.
    async fn go_live(&self) -> kernel::Result<Progress> {
        let shared = self.shared.clone();
        let is_done = self
            .db
            .write(move |tx| -> kernel::Result<bool> {
                if stage(tx, &shared.group)? != Stage::Reading || next_place(tx, &shared.group)?.is_some() {
                    return Ok(false);
                }
                if let Some(Projection { aside: Some(aside), .. }) = &shared.projection {
                    let sql = "SELECT COUNT(*) FROM projection_positions WHERE consumer = ? AND began > 0";
                    let cut: i64 = tx.unlocked().query_one(sql, params![shared.group], |row| row.get(0))?;
                    (aside.swap)(tx, if cut == 0 { Extent::Whole } else { Extent::Tail })?;
                }
                tx.execute("DELETE FROM projection_positions WHERE consumer = ?", params![shared.group])?;
                set_stage(tx, &shared.group, Stage::Live)?;
                Ok(true)
            })
            .await?;
        if is_done {
            tracing::info!(consumer = %self.shared.group, "the read model is rebuilt");
        }
        Ok(Progress::Worked)
    }
}

impl Consumer {
    /// Declares that this consumer fills a read model, and nothing else: it can be emptied by `clear` and filled from the
    /// log again. Until that is done whoever reads it sees a part.
    #[must_use]
    pub fn rebuilds(
        mut self,
        clear: impl Fn(&mut Tx<'_>) -> kernel::Result<()> + Send + Sync + 'static,
    ) -> Self {
        self.projection = Some(Projection::in_place(Box::new(clear)));
        self
    }

    /// Declares that this consumer fills a read model that may not be seen half full: a rebuild goes through the handlers
    /// of `aside` into other tables, which `clear` empties first, and `swap` puts them in the place of the ones in use.
    #[must_use]
    pub fn rebuilds_aside(
        mut self,
        aside: Consumer,
        clear: impl Fn(&mut Tx<'_>) -> kernel::Result<()> + Send + Sync + 'static,
        swap: impl Fn(&mut Tx<'_>, Extent) -> kernel::Result<()> + Send + Sync + 'static,
    ) -> Self {
        self.projection = Some(Projection::aside(aside.handlers, Box::new(clear), Box::new(swap)));
        self
    }
}
