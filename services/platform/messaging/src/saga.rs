//! Sagas: a persisted state and a pure step function (R21–R25).
//!
//! Invariants:
//! - the state, the history and the commands of a step are one transaction: the intent is written before the call;
//! - a row is saved only over the version that was loaded, so of two runners one fails and changes nothing (R24);
//! - a saga that waits has a deadline, and the deadline is in its row.

use db::{Tx, params};
use kernel::Timestamp;
use serde::{Serialize, de::DeserializeOwned};

/// A saga as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored<S> {
    pub state: S,
    pub version: i64,
    pub deadline_at: Option<Timestamp>,
}

pub fn load<S: DeserializeOwned>(
    tx: &mut Tx<'_>,
    kind: &str,
    id: &str,
) -> Result<Option<Stored<S>>, db::Error> {
    let sql = "SELECT state, version, deadline_at FROM sagas WHERE kind = ? AND id = ?";
    tx.query_opt(sql, params![kind, id], |row| {
        Ok(Stored { state: row.json(0)?, version: row.get(1)?, deadline_at: row.get(2)? })
    })
}

pub fn insert<S: Serialize>(
    tx: &mut Tx<'_>,
    kind: &str,
    id: &str,
    state: &S,
    deadline_at: Option<Timestamp>,
) -> kernel::Result<()> {
    let state = serde_json::to_string(state).map_err(kernel::Error::internal)?;
    let sql = "INSERT INTO sagas (kind, id, state, version, deadline_at) VALUES (?, ?, ?, 1, ?)";
    tx.execute(sql, params![kind, id, state, deadline_at])?;
    Ok(())
}

/// Saves over `version`. A conflict means that another runner was faster: load again.
pub fn save<S: Serialize>(
    tx: &mut Tx<'_>,
    kind: &str,
    id: &str,
    state: &S,
    version: i64,
    deadline_at: Option<Timestamp>,
) -> kernel::Result<()> {
    let state = serde_json::to_string(state).map_err(kernel::Error::internal)?;
    let sql = "UPDATE sagas SET state = ?, version = version + 1, deadline_at = ? \
               WHERE kind = ? AND id = ? AND version = ?";
    let saved = tx.execute(sql, params![state, deadline_at, kind, id, version])?;
    if saved != 1 {
        return Err(kernel::Error::unavailable(
            "saga_moved_on",
            "another runner has taken this saga further",
        ));
    }
    Ok(())
}

/// The sagas whose deadline has passed, the most overdue first.
pub fn due(tx: &mut Tx<'_>, kind: &str, now: Timestamp, limit: u32) -> Result<Vec<String>, db::Error> {
    let sql = "SELECT id FROM sagas WHERE deadline_at <= ? AND kind = ? ORDER BY deadline_at LIMIT ?";
    tx.query(sql, params![now, kind, limit], |row| row.get(0))
}

/// How many sagas wait for an answer or their deadline, counted up to `max`.
pub fn count_waiting(tx: &mut Tx<'_>, kind: &str, max: u32) -> Result<u32, db::Error> {
    let sql = "SELECT COUNT(*) FROM (SELECT 1 FROM sagas WHERE deadline_at IS NOT NULL AND kind = ? LIMIT ?) waiting";
    let count: i64 = tx.query_one(sql, params![kind, max], |row| row.get(0))?;
    Ok(u32::try_from(count).unwrap_or(u32::MAX))
}
