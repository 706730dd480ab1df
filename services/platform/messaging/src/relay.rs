//! The relay: takes rows from the outbox to the bus, in order.
//!
//! Invariant: a row is deleted only after the bus has it durably. A crash in between publishes it a second time,
//! which the inboxes of the consumers absorb.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bus::{Bus, Message};
use db::{Db, Param, Tx, params};
use tokio::sync::Notify;

use crate::{Outbox, Progress, Pump};

const BATCH_MAX: i64 = 512;

/// Publishes one service's outbox. One of them runs at a time: in one process, or by lease.
pub struct Relay {
    name: String,
    db: Db,
    bus: Arc<dyn Bus>,
    wake: Arc<Notify>,
    /// The last row that the bus has. Its row may still be there: deletes go with a later commit.
    published_to: AtomicI64,
    turn: tokio::sync::Mutex<()>,
}

impl Relay {
    pub fn new(service: &str, db: Db, bus: Arc<dyn Bus>, outbox: &Outbox) -> Self {
        Self {
            name: format!("{service}.relay"),
            db,
            bus,
            wake: outbox.wake(),
            published_to: AtomicI64::new(0),
            turn: tokio::sync::Mutex::new(()),
        }
    }
}

#[async_trait]
impl Pump for Relay {
    fn name(&self) -> &str {
        &self.name
    }

    async fn step(&self) -> kernel::Result<Progress> {
        let _turn = self.turn.lock().await;
        let after = self.published_to.load(Ordering::Acquire);
        let rows = self.db.look_up(move |tx| rows_after(tx, after)).await?;
        let Some(last) = rows.last().map(|(id, _)| *id) else { return Ok(Progress::Idle) };
        let (ids, messages): (Vec<i64>, Vec<Message>) = rows.into_iter().unzip();
        self.bus.publish(messages).await?;
        if self.db.is_commit_ordered() {
            self.published_to.store(last, Ordering::Release);
            self.db.write_lazily(move |tx| {
                tx.execute("DELETE FROM outbox WHERE id <= ?", params![last]).map(drop)
            });
        } else {
            // By their ids and not up to the last: a row with a smaller id may have been committed in the meantime.
            self.db.write(move |tx| delete(tx, &ids)).await?;
        }
        Ok(Progress::Worked)
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

/// Rows of one subject become visible in the order of their ids, because a transaction holds the subject's sequence
/// until it commits; rows of different subjects may come in any order.
fn rows_after(tx: &mut Tx<'_>, after: i64) -> Result<Vec<(i64, Message)>, db::Error> {
    let sql = "SELECT id, topic, subject, payload FROM outbox WHERE id > ? ORDER BY id LIMIT ?";
    tx.query(sql, params![after, BATCH_MAX], |row| {
        let message = Message {
            topic: row.get::<String>(1)?.into(),
            key: row.get(2)?,
            payload: row.get::<String>(3)?.into(),
        };
        Ok((row.get(0)?, message))
    })
}

fn delete(tx: &mut Tx<'_>, ids: &[i64]) -> Result<(), db::Error> {
    let places = vec!["?"; ids.len()].join(", ");
    let ids: Vec<Param<'_>> = ids.iter().map(|id| Param::Int(*id)).collect();
    tx.execute(&format!("DELETE FROM outbox WHERE id IN ({places})"), &ids).map(drop)
}
