//! Rows of verification codes, of requests for them, and of failed sign-ins.

use std::time::Duration;

use contracts::UserId;
use db::{Error, Param, Tx, params};
use kernel::Timestamp;

use super::SWEEP_BATCH;
use crate::domain::lockout::Lockout;
use crate::domain::verification::StoredCode;

pub(crate) fn code(tx: &mut Tx<'_>, user: UserId) -> Result<Option<StoredCode>, Error> {
    let sql = "SELECT code_hash, expires_at, tries_left FROM verification_codes WHERE user_id = ?";
    tx.query_opt(sql, params![user.to_string()], |row| {
        Ok(StoredCode { hash: row.get(0)?, expires_at: row.get(1)?, tries_left: row.get(2)? })
    })
}

/// The newest code is the only one that is good.
pub(crate) fn put_code(tx: &mut Tx<'_>, user: UserId, code: &StoredCode) -> Result<(), Error> {
    let sql = "INSERT INTO verification_codes (user_id, code_hash, expires_at, tries_left) VALUES (?, ?, ?, ?) \
               ON CONFLICT (user_id) DO UPDATE SET code_hash = excluded.code_hash, \
               expires_at = excluded.expires_at, tries_left = excluded.tries_left";
    tx.execute(sql, params![user.to_string(), code.hash, code.expires_at, code.tries_left])?;
    Ok(())
}

pub(crate) fn delete_code(tx: &mut Tx<'_>, user: UserId) -> Result<(), Error> {
    tx.execute("DELETE FROM verification_codes WHERE user_id = ?", params![user.to_string()])?;
    Ok(())
}

/// When codes were asked for since, oldest first.
pub(crate) fn requests_since(
    tx: &mut Tx<'_>,
    email_index: &str,
    since: Timestamp,
) -> Result<Vec<Timestamp>, Error> {
    let sql = "SELECT requested_at FROM verification_requests WHERE email_index = ? AND requested_at > ? \
               ORDER BY requested_at, id";
    tx.query(sql, params![email_index, since], |row| row.get(0))
}

pub(crate) fn insert_request(tx: &mut Tx<'_>, email_index: &str, now: Timestamp) -> Result<(), Error> {
    let sql = "INSERT INTO verification_requests (email_index, requested_at) VALUES (?, ?)";
    tx.execute(sql, params![email_index, now])?;
    Ok(())
}

/// What was counted of a pair of address and account, or of an account alone: `pair` is the keyed hash of either.
/// Nobody else counts it until this transaction has ended, also where nothing was counted before.
pub(crate) fn lockout(tx: &mut Tx<'_>, pair: &str, now: Timestamp) -> Result<Lockout, Error> {
    if let Some(lockout) = find_lockout(tx, pair)? {
        return Ok(lockout);
    }
    let sql = "INSERT OR IGNORE INTO lockouts (pair, attempts_at, locked_until, touched_at) VALUES (?, '[]', NULL, ?)";
    if tx.execute(sql, params![pair, now])? == 1 {
        return Ok(Lockout::default());
    }
    Ok(find_lockout(tx, pair)?.unwrap_or_default())
}

fn find_lockout(tx: &mut Tx<'_>, pair: &str) -> Result<Option<Lockout>, Error> {
    let sql = "SELECT attempts_at, locked_until FROM lockouts WHERE pair = ?";
    tx.query_opt(sql, params![pair], |row| {
        let millis: Vec<i64> = row.json(0)?;
        let attempts_at = millis.into_iter().map(Timestamp::from_millis).collect();
        Ok(Lockout { attempts_at, locked_until: row.get(1)? })
    })
}

pub(crate) fn put_lockout(
    tx: &mut Tx<'_>,
    pair: &str,
    lockout: &Lockout,
    now: Timestamp,
) -> Result<(), Error> {
    let millis: Vec<i64> = lockout.attempts_at.iter().map(|at| at.as_millis()).collect();
    let attempts = serde_json::to_string(&millis).map_err(|error| Error::Other(error.to_string()))?;
    let sql = "INSERT INTO lockouts (pair, attempts_at, locked_until, touched_at) VALUES (?, ?, ?, ?) \
               ON CONFLICT (pair) DO UPDATE SET attempts_at = excluded.attempts_at, \
               locked_until = excluded.locked_until, touched_at = excluded.touched_at";
    tx.execute(sql, params![pair, attempts, lockout.locked_until, now])?;
    Ok(())
}

pub(crate) fn clear_lockout(tx: &mut Tx<'_>, pair: &str) -> Result<(), Error> {
    tx.execute("DELETE FROM lockouts WHERE pair = ?", params![pair])?;
    Ok(())
}

/// Deletes what has no meaning any more; answers how many rows went. Looked for without a lock, then deleted by key, so
/// that nobody who signs in waits for it.
pub(crate) fn sweep(tx: &mut Tx<'_>, now: Timestamp, lockout_window: Duration) -> Result<usize, Error> {
    let mut swept = 0;
    let codes: Vec<String> = tx.unlocked().query(
        "SELECT user_id FROM verification_codes WHERE expires_at < ? LIMIT ?",
        params![now, SWEEP_BATCH],
        |row| row.get(0),
    )?;
    for user in codes {
        let sql = "DELETE FROM verification_codes WHERE user_id = ? AND expires_at < ?";
        swept += tx.execute(sql, params![user, now])?;
    }
    let requests: Vec<i64> = tx.unlocked().query(
        "SELECT id FROM verification_requests WHERE requested_at < ? LIMIT ?",
        params![now.minus(Duration::from_secs(3_600)), SWEEP_BATCH],
        |row| row.get(0),
    )?;
    let ids: Vec<Param<'_>> = requests.iter().map(|id| Param::Int(*id)).collect();
    swept += tx.delete_rows("verification_requests", &["id"], &ids)?;
    let horizon = now.minus(lockout_window);
    let lockouts: Vec<String> = tx.unlocked().query(
        "SELECT pair FROM lockouts WHERE touched_at < ? LIMIT ?",
        params![horizon, SWEEP_BATCH],
        |row| row.get(0),
    )?;
    for pair in lockouts {
        // Touched again meanwhile: it stays.
        let sql = "DELETE FROM lockouts WHERE pair = ? AND touched_at < ?";
        swept += tx.execute(sql, params![pair, horizon])?;
    }
    Ok(swept)
}
