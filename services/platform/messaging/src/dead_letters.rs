//! Dead letters: messages that a consumer could not handle, and the messages of the same key that wait behind them
//! (R90).
//!
//! Invariant: while a key has a parked message, no later message of that key takes effect; a replay handles them in
//! their order.

use std::str::FromStr;

use bus::Delivery;
use db::{Db, Tx, params};
use kernel::Timestamp;
use serde::{Deserialize, Serialize};

/// Why a message is parked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DeadLetterState {
    /// It failed.
    Dead,
    /// An earlier message of its key is parked.
    Waiting,
    /// An operator wants it handled again.
    Ready,
}

impl DeadLetterState {
    pub const fn as_str(self) -> &'static str {
        match self {
            DeadLetterState::Dead => "dead",
            DeadLetterState::Waiting => "waiting",
            DeadLetterState::Ready => "ready",
        }
    }
}

impl FromStr for DeadLetterState {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "dead" => Ok(DeadLetterState::Dead),
            "waiting" => Ok(DeadLetterState::Waiting),
            "ready" => Ok(DeadLetterState::Ready),
            other => Err(format!("not a state of a dead letter: {other:?}")),
        }
    }
}

/// A parked message, as an operator sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct DeadLetter {
    pub id: i64,
    pub consumer: String,
    pub topic: String,
    pub partition: u32,
    pub offset: i64,
    pub key: String,
    pub event_id: String,
    pub event_type: String,
    pub error: String,
    pub attempts: u32,
    pub parked_at: Timestamp,
    pub state: DeadLetterState,
    #[serde(skip)]
    pub payload: String,
}

const COLUMNS: &str = "id, consumer, topic, part, pos, subject, event_id, event_type, error, attempts, parked_at, state, payload";

fn read(row: &db::Row<'_>) -> Result<DeadLetter, db::Error> {
    Ok(DeadLetter {
        id: row.get(0)?,
        consumer: row.get(1)?,
        topic: row.get(2)?,
        partition: row.get(3)?,
        offset: row.get(4)?,
        key: row.get(5)?,
        event_id: row.get(6)?,
        event_type: row.get(7)?,
        error: row.get(8)?,
        attempts: row.get(9)?,
        parked_at: row.get(10)?,
        state: row.parse(11)?,
        payload: row.get(12)?,
    })
}

/// What is known of a message when it is parked; a payload that is no envelope has only its place.
pub(crate) struct Parked<'a> {
    pub consumer: &'a str,
    pub delivery: &'a Delivery,
    pub key: &'a str,
    pub event_id: &'a str,
    pub event_type: &'a str,
    pub error: &'a str,
    pub attempts: u32,
    pub state: DeadLetterState,
    pub at: Timestamp,
}

/// Parking the same place twice changes nothing: a redelivery after a crash.
pub(crate) fn park(tx: &mut Tx<'_>, parked: &Parked<'_>) -> Result<(), db::Error> {
    tx.execute(
        "INSERT OR IGNORE INTO dead_letters (consumer, topic, part, pos, subject, event_id, event_type, payload, \
         error, attempts, parked_at, state) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        params![
            parked.consumer,
            &*parked.delivery.topic,
            parked.delivery.partition,
            parked.delivery.offset,
            parked.key,
            parked.event_id,
            parked.event_type,
            &*parked.delivery.payload,
            parked.error,
            parked.attempts,
            parked.at,
            parked.state.as_str()
        ],
    )?;
    Ok(())
}

/// Whether an earlier message of this key is parked, or this very one.
pub(crate) fn is_parked(tx: &mut Tx<'_>, consumer: &str, key: &str) -> Result<bool, db::Error> {
    let sql = "SELECT 1 FROM dead_letters WHERE consumer = ? AND subject = ? LIMIT 1";
    // Nobody may take it away meanwhile; others may look as well.
    Ok(tx.shared().query_opt(sql, params![consumer, key], |_| Ok(()))?.is_some())
}

/// Whether a message of this key is parked that the rebuild under way does not read again: the log has let go of it.
pub(crate) fn is_kept(tx: &mut Tx<'_>, consumer: &str, key: &str) -> Result<bool, db::Error> {
    let sql = "SELECT 1 FROM dead_letters d WHERE d.consumer = ? AND d.subject = ? AND d.pos < (SELECT o.began \
               FROM projection_positions o WHERE o.consumer = d.consumer AND o.topic = d.topic AND o.part = d.part) \
               LIMIT 1";
    Ok(tx.unlocked().query_opt(sql, params![consumer, key], |_| Ok(()))?.is_some())
}

pub(crate) fn any(tx: &mut Tx<'_>, consumer: &str) -> Result<bool, db::Error> {
    let sql = "SELECT 1 FROM dead_letters WHERE consumer = ? LIMIT 1";
    // An answer that is a moment old costs a look; a lock would make every batch wait for every other.
    Ok(tx.unlocked().query_opt(sql, params![consumer], |_| Ok(()))?.is_some())
}

/// The oldest message that is to be handled again.
pub(crate) fn next_ready(tx: &mut Tx<'_>, consumer: &str) -> Result<Option<DeadLetter>, db::Error> {
    let sql = format!(
        "SELECT {COLUMNS} FROM dead_letters WHERE consumer = ? AND state = 'ready' ORDER BY id LIMIT 1"
    );
    tx.query_opt(&sql, params![consumer], read)
}

/// A replayed message is done with. What came for its key in the meantime waits behind nothing any more.
pub(crate) fn remove(tx: &mut Tx<'_>, letter: &DeadLetter) -> Result<(), db::Error> {
    tx.execute("DELETE FROM dead_letters WHERE id = ?", params![letter.id])?;
    let dead = "SELECT 1 FROM dead_letters WHERE consumer = ? AND subject = ? AND state = 'dead' LIMIT 1";
    if tx.query_opt(dead, params![letter.consumer, letter.key], |_| Ok(()))?.is_none() {
        let free = "UPDATE dead_letters SET state = 'ready' WHERE consumer = ? AND subject = ? AND state = 'waiting'";
        tx.execute(free, params![letter.consumer, letter.key])?;
    }
    Ok(())
}

/// A replay failed: the message is dead again, and those of its key that were ready wait again. Nothing where somebody else has
/// replayed it meanwhile: whoever waited behind it is free.
pub(crate) fn fail_again(tx: &mut Tx<'_>, letter: &DeadLetter, error: &str) -> Result<(), db::Error> {
    let dead = "UPDATE dead_letters SET state = 'dead', error = ?, attempts = attempts + 1 WHERE id = ? AND state = 'ready'";
    if tx.execute(dead, params![error, letter.id])? > 0 {
        tx.execute(
            "UPDATE dead_letters SET state = 'waiting' WHERE consumer = ? AND subject = ? AND state = 'ready'",
            params![letter.consumer, letter.key],
        )?;
    }
    Ok(())
}

/// All parked messages, the oldest first, at most `limit`.
pub async fn list(db: &Db, limit: u32) -> Result<Vec<DeadLetter>, db::Error> {
    db.read(move |tx| {
        let sql = format!("SELECT {COLUMNS} FROM dead_letters ORDER BY id LIMIT ?");
        tx.query(&sql, params![limit], read)
    })
    .await
}

pub async fn count(db: &Db) -> Result<i64, db::Error> {
    db.read(|tx| tx.query_one("SELECT COUNT(*) FROM dead_letters", params![], |row| row.get(0))).await
}

/// Marks messages to be handled again: those named, with all that wait behind them; all where none is named. The
/// consumers take them at their next step. Answers how many.
pub async fn replay(db: &Db, ids: Vec<i64>) -> Result<usize, db::Error> {
    db.write(move |tx| {
        if ids.is_empty() {
            return tx.execute("UPDATE dead_letters SET state = 'ready' WHERE state <> 'ready'", params![]);
        }
        let mut marked = 0;
        for id in &ids {
            marked += tx.execute(
                "UPDATE dead_letters SET state = 'ready' WHERE state <> 'ready' AND (consumer, subject) IN \
                 (SELECT consumer, subject FROM (SELECT consumer, subject FROM dead_letters WHERE id = ?) named)",
                params![*id],
            )?;
        }
        Ok(marked)
    })
    .await
}

/// One parked message, with its payload.
pub async fn find(db: &Db, id: i64) -> Result<Option<DeadLetter>, db::Error> {
    db.read(move |tx| {
        let sql = format!("SELECT {COLUMNS} FROM dead_letters WHERE id = ?");
        tx.query_opt(&sql, params![id], read)
    })
    .await
}

/// Gives messages up for good: they are marked as handled without having been. What waits behind them is handled once
/// nothing dead is left of its key. Answers how many of the ids were parked.
pub async fn discard(db: &Db, ids: Vec<i64>, now: Timestamp) -> Result<usize, db::Error> {
    db.write(move |tx| {
        let mut gone = 0;
        for id in &ids {
            let sql = format!("SELECT {COLUMNS} FROM dead_letters WHERE id = ?");
            let Some(letter) = tx.query_opt(&sql, params![*id], read)? else { continue };
            if !letter.event_id.is_empty() {
                // Whoever delivers it again finds it handled.
                let sql = "INSERT OR IGNORE INTO inbox (consumer, event_id, handled_at) VALUES (?, ?, ?)";
                tx.execute(sql, params![letter.consumer, letter.event_id, now])?;
            }
            remove(tx, &letter)?;
            gone += 1;
        }
        Ok(gone)
    })
    .await
}
