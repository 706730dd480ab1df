//! The steps of a rebuild, each a bounded piece that any replica may take.

use std::sync::Arc;

use bus::{Delivery, PartitionInfo};
use db::{Param, Tx, params};
use kernel::Error;

use super::{
    Cleared, Extent, Origin, PORTION_MAX, Slice, Stage, Swapped, beside, go_live, lost, note_trouble,
    set_stage, stage,
};
use crate::Progress;
use crate::consumer::{BATCH_MAX, ConsumerPump, Incoming, Taken};

/// The id up to which a portion of an inbox goes; `None` where it is the last.
fn inbox_bound(tx: &mut Tx<'_>, consumer: &str) -> Result<Option<String>, db::Error> {
    let sql = "SELECT event_id FROM inbox WHERE consumer = ? ORDER BY event_id LIMIT 1 OFFSET ?";
    tx.unlocked().query_opt(sql, params![consumer, PORTION_MAX], |row| row.get(0))
}

/// Forgets a portion of an inbox.
fn forget(tx: &mut Tx<'_>, consumer: &str) -> Result<Cleared, db::Error> {
    match inbox_bound(tx, consumer)? {
        Some(bound) => {
            let sql = "DELETE FROM inbox WHERE consumer = ? AND event_id < ?";
            tx.execute(sql, params![consumer, bound])?;
            Ok(Cleared::Partly)
        }
        None => {
            tx.execute("DELETE FROM inbox WHERE consumer = ?", params![consumer])?;
            Ok(Cleared::Wholly)
        }
    }
}

/// Tells the group of a portion of what the rebuild has handled.
fn hand_over(tx: &mut Tx<'_>, group: &str, beside: &str) -> Result<Cleared, db::Error> {
    let bound = inbox_bound(tx, beside)?;
    // No id is greater: they are hexadecimal digits after a prefix of lower case.
    let below = bound.as_deref().unwrap_or("~");
    let sql = "SELECT event_id, handled_at FROM inbox WHERE consumer = ? AND event_id < ?";
    let rows: Vec<(String, i64)> =
        tx.query(sql, params![beside, below], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let told = |(event, handled_at): &'_ (String, i64)| {
        [Param::Text(group.into()), Param::Text(event.clone().into()), Param::Int(*handled_at)]
    };
    let values: Vec<Param<'_>> = rows.iter().flat_map(told).collect();
    tx.insert_rows("INSERT OR IGNORE INTO inbox (consumer, event_id, handled_at)", 3, &values, "")?;
    tx.execute("DELETE FROM inbox WHERE consumer = ? AND event_id < ?", params![beside, below])?;
    Ok(if bound.is_some() { Cleared::Partly } else { Cleared::Wholly })
}

/// What the rebuild has parked takes the place of what the group had from the same places of the log.
fn hand_over_letters(tx: &mut Tx<'_>, group: &str, beside: &str) -> Result<(), db::Error> {
    let sql = "SELECT topic, part, began FROM projection_positions WHERE consumer = ?";
    let read: Vec<(String, u32, i64)> =
        tx.query(sql, params![group], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
    for (topic, partition, began) in &read {
        let sql = "DELETE FROM dead_letters WHERE consumer = ? AND topic = ? AND part = ? AND pos >= ?";
        tx.execute(sql, params![group, *topic, *partition, *began])?;
    }
    tx.execute("UPDATE dead_letters SET consumer = ? WHERE consumer = ?", params![group, beside]).map(drop)
}

/// Where reading goes on, and where it ends there.
fn next_place(tx: &mut Tx<'_>, consumer: &str) -> Result<Option<(String, u32, i64, i64)>, db::Error> {
    let sql = "SELECT topic, part, pos, upto FROM projection_positions WHERE consumer = ? AND pos < upto \
               ORDER BY topic, part LIMIT 1";
    let read = |row: &db::Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?));
    tx.unlocked().query_opt(sql, params![consumer], read)
}

fn extent(tx: &mut Tx<'_>, consumer: &str) -> Result<Extent, db::Error> {
    let sql = "SELECT COUNT(*) FROM projection_positions WHERE consumer = ? AND began > 0";
    let cut: i64 = tx.unlocked().query_one(sql, params![consumer], |row| row.get(0))?;
    Ok(if cut == 0 { Extent::Whole } else { Extent::Tail })
}

impl ConsumerPump {
    /// One bounded piece of a rebuild; `None` where none is under way.
    pub(crate) async fn rebuild_step(&self) -> kernel::Result<Option<Progress>> {
        if self.shared.projection.is_none() {
            return Ok(None);
        }
        let group = self.shared.group.to_string();
        let stage = self.db.look_up(move |tx| stage(tx, &group)).await?;
        let done = match stage {
            Stage::Live => return Ok(None),
            Stage::Requested => self.open_log().await,
            Stage::Emptying => self.empty().await,
            Stage::Clearing => self.clear().await,
            Stage::Reading => self.read_log().await,
            Stage::Swapping => self.swap().await,
            Stage::Settling => self.settle().await,
        };
        done.map(Some)
    }

    /// Does a part of a stage, and enters the next one after the last part. Does nothing where the stage is another by
    /// now: another replica was here, or an operator.
    async fn part(
        &self,
        at: Stage,
        mut part: impl FnMut(&mut Tx<'_>) -> kernel::Result<Option<Stage>> + Send + 'static,
    ) -> kernel::Result<Progress> {
        let group = self.shared.group.to_string();
        self.db
            .write(move |tx| -> kernel::Result<()> {
                if stage(tx, &group)? != at {
                    return Ok(());
                }
                match part(tx)? {
                    Some(Stage::Live) => Ok(go_live(tx, &group)?),
                    Some(next) => Ok(set_stage(tx, &group, next)?),
                    None => Ok(()),
                }
            })
            .await?;
        Ok(Progress::Worked)
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
        self.part(Stage::Requested, move |tx| {
            if let Some(error) = &refused {
                note_trouble(tx, &shared.group, &error.to_string())?;
                return Ok(Some(Stage::Live));
            }
            for (topic, partition, begin, end) in &places {
                let sql = "INSERT INTO projection_positions (consumer, topic, part, began, pos, upto) \
                           VALUES (?, ?, ?, ?, ?, ?)";
                tx.execute(sql, params![&*shared.group, *topic, *partition, *begin, *begin, *end])?;
            }
            Ok(Some(Stage::Emptying))
        })
        .await
    }

    /// What one that was abandoned has left.
    async fn empty(&self) -> kernel::Result<Progress> {
        let shared = self.shared.clone();
        self.part(Stage::Emptying, move |tx| {
            let beside = beside(&shared.group);
            if forget(tx, &beside)? == Cleared::Partly {
                return Ok(None);
            }
            tx.execute("DELETE FROM dead_letters WHERE consumer = ?", params![beside])?;
            Ok(match &shared.projection {
                Some(projection) if projection.aside.is_some() => {
                    ((projection.clear)(tx)? == Cleared::Wholly).then_some(Stage::Reading)
                }
                _ => Some(Stage::Clearing),
            })
        })
        .await
    }

    async fn clear(&self) -> kernel::Result<Progress> {
        let shared = self.shared.clone();
        self.part(Stage::Clearing, move |tx| {
            let Some(projection) = &shared.projection else { return Ok(None) };
            Ok(((projection.clear)(tx)? == Cleared::Wholly).then_some(Stage::Reading))
        })
        .await
    }

    async fn read_log(&self) -> kernel::Result<Progress> {
        let group = self.shared.group.to_string();
        let place = self.db.look_up(move |tx| next_place(tx, &group)).await?;
        let Some((topic, partition, from, upto)) = place else { return self.end_reading().await };
        let found = self.bus.read(&topic, partition, from, BATCH_MAX).await?;
        if found.first().is_none_or(|first| first.offset > from) {
            let partitions = self.bus.partitions(&topic).await?;
            let held = partitions.into_iter().find(|info| info.partition == partition);
            if let Some(PartitionInfo { begin, .. }) = held.filter(|info| info.begin > from) {
                return self.skip(topic, partition, from, begin.min(upto)).await;
            }
            if found.is_empty() {
                let text = format!(
                    "{topic}/{partition} was to be read up to {upto}, and at {from} it gives nothing"
                );
                return Err(Error::unavailable("log_gives_nothing", text));
            }
        }
        let next = found.last().map_or(from, |last| last.offset + 1);
        let slice = Slice { topic: topic.into(), partition, from, next };
        let batch: Arc<Vec<Incoming>> = Arc::new(found.into_iter().map(Incoming::read).collect());
        let taken = match self.take_all(&batch, Origin::Log(slice.clone())).await {
            Ok(taken) => taken,
            Err(_) => self.pass_one_by_one(&batch, slice).await?,
        };
        // Another replica has gone on from here: let it.
        Ok(if taken == Taken::Done { Progress::Worked } else { Progress::Idle })
    }

    /// The retention was faster: what it took is not read again, and its dead letters stay.
    async fn skip(&self, topic: String, partition: u32, from: i64, begin: i64) -> kernel::Result<Progress> {
        let shared = self.shared.clone();
        let text = format!("{topic}/{partition} has lost {from} to {begin} while it was read");
        tracing::error!(consumer = %shared.group, reason = %text, "the read model is not whole");
        self.part(Stage::Reading, move |tx| {
            let sql = "UPDATE projection_positions SET pos = ?, began = ? \
                       WHERE consumer = ? AND topic = ? AND part = ? AND pos = ?";
            tx.execute(sql, params![begin, begin, &*shared.group, topic, partition, from])?;
            note_trouble(tx, &shared.group, &text)?;
            Ok(None)
        })
        .await
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

    async fn end_reading(&self) -> kernel::Result<Progress> {
        let shared = self.shared.clone();
        self.part(Stage::Reading, move |tx| {
            if next_place(tx, &shared.group)?.is_some() {
                return Ok(None);
            }
            let is_aside = shared.projection.as_ref().is_some_and(|projection| projection.aside.is_some());
            Ok(Some(if is_aside { Stage::Swapping } else { Stage::Settling }))
        })
        .await
    }

    async fn swap(&self) -> kernel::Result<Progress> {
        let shared = self.shared.clone();
        self.part(Stage::Swapping, move |tx| {
            let Some(aside) = shared.projection.as_ref().and_then(|projection| projection.aside.as_ref())
            else {
                return Ok(Some(Stage::Settling));
            };
            let sql = "SELECT reached FROM projections WHERE consumer = ?";
            let reached: Option<String> = tx.query_one(sql, params![&*shared.group], |row| row.get(0))?;
            let extent = extent(tx, &shared.group)?;
            let (reached, next) = match (aside.swap)(tx, extent, reached.as_deref())? {
                Swapped::Upto(reached) => (Some(reached), None),
                Swapped::Wholly => (None, Some(Stage::Settling)),
            };
            let sql = "UPDATE projections SET reached = ? WHERE consumer = ?";
            tx.execute(sql, params![reached, &*shared.group])?;
            Ok(next)
        })
        .await
    }

    /// The group is told what was read, and goes on.
    async fn settle(&self) -> kernel::Result<Progress> {
        let shared = self.shared.clone();
        self.part(Stage::Settling, move |tx| {
            let (group, beside) = (&shared.group, beside(&shared.group));
            if hand_over(tx, group, &beside)? == Cleared::Partly {
                return Ok(None);
            }
            hand_over_letters(tx, group, &beside)?;
            let group = group.clone();
            tx.after_commit(move || tracing::info!(consumer = %group, "the read model is rebuilt"));
            Ok(Some(Stage::Live))
        })
        .await
    }
}
