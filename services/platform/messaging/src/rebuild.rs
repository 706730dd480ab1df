//! Rebuilds: a read model is filled anew from the log while its service goes on.
//!
//! Invariants:
//! - a projection has one row with its stage, and every transaction that handles its messages holds that row: those of
//!   the group share it, those of a rebuild have it alone. While a rebuild is under way no message of the group takes
//!   effect, whichever replica has it; it is delivered again afterwards, and the inbox knows what the rebuild has read;
//! - the end up to which the log is read is looked up after the group has stopped, so all that had taken effect before
//!   is read again. Nothing is taken for read because a look at the log came back with nothing: the log has to say that it
//!   holds nothing there;
//! - a position moves in the transaction of the messages that it passes, from where it was: of several replicas that
//!   read the same place one goes on, and a crash at any point loses and repeats nothing;
//! - a model that is filled in place is emptied only where the log still has its beginning;
//! - what a rebuild handles and parks is written down beside what the group has, under a name of its own, and joined with
//!   it at the end. Until a model is emptied in place, or put in the place of the old one, it can be abandoned and nothing
//!   has happened;
//! - a parked message that the log has let go of stays parked;
//! - no transaction changes more rows than [`PORTION_MAX`] of what a model or an inbox holds, where the model's owner keeps to
//!   it too.

mod steps;

use std::collections::HashMap;
use std::str::FromStr;
use std::sync::Arc;

use bus::Bus;
use contracts::topics::Topic;
use db::{Db, Tx, params};
use kernel::{Error, Timestamp};
use serde::{Deserialize, Serialize};

use crate::consumer::{Consumer, HandlerFn};

type ClearFn = Box<dyn Fn(&mut Tx<'_>) -> kernel::Result<Cleared> + Send + Sync>;
type SwapFn = Box<dyn Fn(&mut Tx<'_>, Extent, Option<&str>) -> kernel::Result<Swapped> + Send + Sync>;

/// How many rows of a table one transaction of a rebuild changes.
pub const PORTION_MAX: u32 = 1_000;

/// What of a topic's history a rebuild could read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// All of it: what was not read was never there.
    Whole,
    /// What the retention has left: what was not read may be older.
    Tail,
}

/// How far emptying is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cleared {
    /// There may be more: it is called again, in a transaction of its own.
    Partly,
    Wholly,
}

impl From<()> for Cleared {
    fn from((): ()) -> Self {
        Cleared::Wholly
    }
}

/// How far putting the new in the place of the old is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Swapped {
    /// There may be more: it is called again with this, in a transaction of its own. At most 255 characters.
    Upto(String),
    Wholly,
}

impl From<()> for Swapped {
    fn from((): ()) -> Self {
        Swapped::Wholly
    }
}

/// Deletes some rows of a table, in the order of a column of texts.
pub fn clear_portion(tx: &mut Tx<'_>, table: &str, key: &str) -> Result<Cleared, db::Error> {
    let sql = format!("SELECT {key} FROM {table} ORDER BY {key} LIMIT 1 OFFSET ?");
    let bound: Option<String> = tx.unlocked().query_opt(&sql, params![PORTION_MAX], |row| row.get(0))?;
    match &bound {
        Some(bound) => tx.execute(&format!("DELETE FROM {table} WHERE {key} < ?"), params![*bound])?,
        None => tx.execute(&format!("DELETE FROM {table}"), params![])?,
    };
    Ok(if bound.is_some() { Cleared::Partly } else { Cleared::Wholly })
}

/// How a consumer's tables are filled anew.
pub(crate) struct Projection {
    /// Empties what the rebuild writes.
    clear: ClearFn,
    /// `None` where it writes into the tables that are read.
    aside: Option<Aside>,
}

struct Aside {
    handlers: HashMap<&'static str, HandlerFn>,
    swap: SwapFn,
}

impl Projection {
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

/// Under which name a rebuild writes down what it has handled and parked.
pub(crate) fn beside(consumer: &str) -> String {
    format!("{consumer}~")
}

/// How far a rebuild is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// None is under way: messages are handled as they come.
    Live,
    /// An operator wants one; from here on the group's messages wait.
    Requested,
    /// What an earlier one has left behind goes.
    Emptying,
    /// The model in use goes, which cannot be called back.
    Clearing,
    /// The log is read.
    Reading,
    /// The new takes the place of the old, which cannot be called back.
    Swapping,
    /// The group is told what was read.
    Settling,
}

impl Stage {
    const ALL: [Stage; 7] = [
        Stage::Live,
        Stage::Requested,
        Stage::Emptying,
        Stage::Clearing,
        Stage::Reading,
        Stage::Swapping,
        Stage::Settling,
    ];

    pub const fn as_str(self) -> &'static str {
        match self {
            Stage::Live => "live",
            Stage::Requested => "requested",
            Stage::Emptying => "emptying",
            Stage::Clearing => "clearing",
            Stage::Reading => "reading",
            Stage::Swapping => "swapping",
            Stage::Settling => "settling",
        }
    }

    /// Whether nothing has happened yet to the model in use.
    fn can_be_abandoned(self, way: &str) -> bool {
        match self {
            Stage::Requested | Stage::Emptying => true,
            Stage::Reading => way == ASIDE,
            Stage::Live | Stage::Clearing | Stage::Swapping | Stage::Settling => false,
        }
    }
}

impl FromStr for Stage {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL
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
    /// Whether it can be abandoned now without a trace.
    pub can_be_abandoned: bool,
    /// Why the last one came to nothing, or is not whole.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trouble: Option<String>,
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

fn note_trouble(tx: &mut Tx<'_>, consumer: &str, trouble: &str) -> Result<(), db::Error> {
    let trouble: String = trouble.chars().take(255).collect();
    let sql = "UPDATE projections SET trouble = ? WHERE consumer = ?";
    tx.execute(sql, params![trouble, consumer]).map(drop)
}

/// The group goes on; nothing is under way any more.
fn go_live(tx: &mut Tx<'_>, consumer: &str) -> Result<(), db::Error> {
    tx.execute("DELETE FROM projection_positions WHERE consumer = ?", params![consumer])?;
    tx.execute("UPDATE projections SET reached = NULL WHERE consumer = ?", params![consumer])?;
    set_stage(tx, consumer, Stage::Live)
}

/// The read models of a service that can be rebuilt. A consumer is among them once it has run.
pub async fn projections(db: &Db) -> Result<Vec<ProjectionView>, db::Error> {
    db.read(|tx| {
        let sql = "SELECT p.consumer, p.topics, p.stage, p.requested_at, \
                   (SELECT SUM(o.pos - o.began) FROM projection_positions o WHERE o.consumer = p.consumer), \
                   (SELECT SUM(o.upto - o.began) FROM projection_positions o WHERE o.consumer = p.consumer), \
                   p.way, p.trouble FROM projections p ORDER BY p.consumer";
        tx.query(sql, params![], |row| {
            let (passed, places): (Option<i64>, Option<i64>) = (row.get(4)?, row.get(5)?);
            let places = places.unwrap_or(0).max(0);
            let (stage, way): (Stage, String) = (row.parse(2)?, row.get(6)?);
            Ok(ProjectionView {
                consumer: row.get(0)?,
                topics: row.get::<String>(1)?.split(',').map(str::to_owned).collect(),
                stage,
                requested_at: row.get(3)?,
                passed: passed.unwrap_or(0).clamp(0, places),
                places,
                can_be_abandoned: stage.can_be_abandoned(&way),
                trouble: row.get(7)?,
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

/// The topics of a read model, and its way.
async fn find(db: &Db, consumer: &str) -> kernel::Result<(String, String)> {
    let name = consumer.to_owned();
    let sql = "SELECT topics, way FROM projections WHERE consumer = ?";
    let found: Option<(String, String)> = db
        .read(move |tx| tx.query_opt(sql, params![name], |row| Ok((row.get(0)?, row.get(1)?))))
        .await
        .map_err(|error: db::Error| Error::from(error))?;
    let unknown = || {
        let text = format!("no read model is filled by a consumer {consumer:?}");
        Error::not_found("no_such_projection", text)
    };
    found.ok_or_else(unknown)
}

/// Asks for a rebuild of `consumer`; its pump begins at its next step, in whichever process.
pub async fn rebuild(db: &Db, bus: &dyn Bus, consumer: &str, now: Timestamp) -> kernel::Result<()> {
    let (topics, way) = find(db, consumer).await?;
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
        let sql = "UPDATE projections SET stage = ?, requested_at = ?, trouble = NULL WHERE consumer = ?";
        tx.execute(sql, params![Stage::Requested.as_str(), now, name])?;
        Ok(())
    })
    .await
}

/// Calls a rebuild back: the model stays as it was, and the group's messages go on at once. What was put beside it goes
/// when the next one begins.
pub async fn abandon_rebuild(db: &Db, consumer: &str) -> kernel::Result<()> {
    let (_, way) = find(db, consumer).await?;
    let name = consumer.to_owned();
    db.write(move |tx| -> kernel::Result<()> {
        let stage = stage(tx, &name)?;
        if stage == Stage::Live {
            return Err(Error::conflict("no_rebuild_under_way", format!("{name} is not being rebuilt")));
        }
        if !stage.can_be_abandoned(&way) {
            let text = format!("{name} is {}: the model that was there before is gone", stage.as_str());
            return Err(Error::conflict("rebuild_too_far", text));
        }
        tx.execute("DELETE FROM dead_letters WHERE consumer = ?", params![beside(&name)])?;
        note_trouble(tx, &name, "abandoned")?;
        Ok(go_live(tx, &name)?)
    })
    .await
}

impl Consumer {
    /// Declares that this consumer fills a read model, and nothing else: it can be emptied by `clear` and filled from the
    /// log again. Until that is done whoever reads it sees a part. `clear` answers nothing, or how far it has come.
    #[must_use]
    pub fn rebuilds<C: Into<Cleared>>(
        mut self,
        clear: impl Fn(&mut Tx<'_>) -> kernel::Result<C> + Send + Sync + 'static,
    ) -> Self {
        let clear: ClearFn = Box::new(move |tx| clear(tx).map(Into::into));
        self.projection = Some(Projection { clear, aside: None });
        self
    }

    /// Declares that this consumer fills a read model that may not be seen half full: a rebuild goes through the handlers
    /// of `aside` into other tables, which `clear` empties first, and `swap` puts them in the place of the ones in use.
    ///
    /// Where `swap` does a part, the model is as good with it as without; it is called again with how far it came.
    #[must_use]
    pub fn rebuilds_aside<C: Into<Cleared>, S: Into<Swapped>>(
        mut self,
        aside: Consumer,
        clear: impl Fn(&mut Tx<'_>) -> kernel::Result<C> + Send + Sync + 'static,
        swap: impl Fn(&mut Tx<'_>, Extent, Option<&str>) -> kernel::Result<S> + Send + Sync + 'static,
    ) -> Self {
        let clear: ClearFn = Box::new(move |tx| clear(tx).map(Into::into));
        let swap: SwapFn = Box::new(move |tx, extent, reached| swap(tx, extent, reached).map(Into::into));
        self.projection = Some(Projection { clear, aside: Some(Aside { handlers: aside.handlers, swap }) });
        self
    }
}
