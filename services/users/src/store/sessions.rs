//! Rows of sessions and of their refresh tokens.

use contracts::users::SessionEnd;
use contracts::{SessionId, UserId};
use db::{Error, Param, Row, ToParam, Tx, params};
use kernel::Timestamp;

use super::SWEEP_BATCH;
use crate::domain::refresh::RefreshToken;

#[derive(Debug, Clone)]
pub(crate) struct SessionRow {
    pub id: SessionId,
    pub user_id: UserId,
    /// When its last access token was issued, and when that expires.
    pub issued_at: Timestamp,
    pub tokens_until: Timestamp,
    pub refresh_until: Timestamp,
    /// Access tokens of this session issued before are no longer good.
    pub valid_from: Timestamp,
    pub ended_at: Option<Timestamp>,
}

const SELECT: &str =
    "SELECT id, user_id, issued_at, tokens_until, refresh_until, valid_from, ended_at FROM sessions";

fn read(row: &Row<'_>) -> Result<SessionRow, Error> {
    Ok(SessionRow {
        id: row.parse(0)?,
        user_id: row.parse(1)?,
        issued_at: row.get(2)?,
        tokens_until: row.get(3)?,
        refresh_until: row.get(4)?,
        valid_from: row.get(5)?,
        ended_at: row.get(6)?,
    })
}

pub(crate) fn insert(tx: &mut Tx<'_>, session: &SessionRow) -> Result<(), Error> {
    let sql = "INSERT INTO sessions (id, user_id, created_at, issued_at, tokens_until, refresh_until, valid_from) \
               VALUES (?, ?, ?, ?, ?, ?, ?)";
    tx.execute(
        sql,
        params![
            session.id.to_string(),
            session.user_id.to_string(),
            session.issued_at,
            session.issued_at,
            session.tokens_until,
            session.refresh_until,
            session.valid_from
        ],
    )?;
    Ok(())
}

pub(crate) fn by_id(tx: &mut Tx<'_>, id: SessionId) -> Result<Option<SessionRow>, Error> {
    tx.query_opt(&format!("{SELECT} WHERE id = ?"), params![id.to_string()], read)
}

/// Notes that tokens were issued.
pub(crate) fn update(tx: &mut Tx<'_>, session: &SessionRow) -> Result<(), Error> {
    let sql =
        "UPDATE sessions SET issued_at = ?, tokens_until = ?, refresh_until = ?, valid_from = ? WHERE id = ?";
    tx.execute(
        sql,
        params![
            session.issued_at,
            session.tokens_until,
            session.refresh_until,
            session.valid_from,
            session.id.to_string()
        ],
    )?;
    Ok(())
}

/// Answers whether it was this call that ended it.
pub(crate) fn end(tx: &mut Tx<'_>, id: SessionId, reason: SessionEnd, now: Timestamp) -> Result<bool, Error> {
    let reason = match reason {
        SessionEnd::SignedOut => "signed_out",
        SessionEnd::RefreshTokenReused => "refresh_token_reused",
        SessionEnd::ByAdmin => "by_admin",
    };
    let sql = "UPDATE sessions SET ended_at = ?, end_reason = ? WHERE id = ? AND ended_at IS NULL";
    Ok(tx.execute(sql, params![now, reason, id.to_string()])? == 1)
}

/// When the newest access token of a user was issued.
pub(crate) fn last_issued_at(tx: &mut Tx<'_>, user: UserId) -> Result<Option<Timestamp>, Error> {
    let sql = "SELECT MAX(issued_at) FROM sessions WHERE user_id = ?";
    tx.query_one(sql, params![user.to_string()], |row| row.get(0))
}

/// Ended sessions, and those with replaced tokens, whose tokens have not all expired by themselves.
pub(crate) fn restricted(tx: &mut Tx<'_>, now: Timestamp) -> Result<Vec<SessionRow>, Error> {
    let sql = format!("{SELECT} WHERE tokens_until > ? AND (ended_at IS NOT NULL OR valid_from > 0)");
    tx.query(&sql, params![now], read)
}

/// Of these, what became so at `since` or later.
pub(crate) fn restricted_since(
    tx: &mut Tx<'_>,
    now: Timestamp,
    since: Timestamp,
) -> Result<Vec<SessionRow>, Error> {
    // Two statements, each with an index of its own: there is nothing to find most of the time.
    let ended = format!("{SELECT} WHERE ended_at >= ? AND tokens_until > ?");
    let mut sessions = tx.query(&ended, params![since, now], read)?;
    let replaced = format!("{SELECT} WHERE valid_from >= ? AND tokens_until > ? AND ended_at IS NULL");
    sessions.extend(tx.query(&replaced, params![since, now], read)?);
    Ok(sessions)
}

pub(crate) fn insert_token(
    tx: &mut Tx<'_>,
    session: SessionId,
    hash: &str,
    token: &RefreshToken,
) -> Result<(), Error> {
    let sql = "INSERT INTO refresh_tokens (token_hash, session_id, generation, parent, expires_at) \
               VALUES (?, ?, ?, ?, ?)";
    tx.execute(sql, params![hash, session.to_string(), token.generation, token.parent, token.expires_at])?;
    Ok(())
}

fn read_token(row: &Row<'_>) -> Result<RefreshToken, Error> {
    Ok(RefreshToken {
        generation: row.get(0)?,
        parent: row.get(1)?,
        expires_at: row.get(2)?,
        used_at: row.get(3)?,
        revoked_at: row.get(4)?,
    })
}

pub(crate) fn token(tx: &mut Tx<'_>, hash: &str) -> Result<Option<(SessionId, RefreshToken)>, Error> {
    let sql = "SELECT generation, parent, expires_at, used_at, revoked_at, session_id FROM refresh_tokens \
               WHERE token_hash = ?";
    tx.query_opt(sql, params![hash], |row| Ok((row.parse(5)?, read_token(row)?)))
}

/// The token that this one gave and that nobody revoked.
pub(crate) fn successor(
    tx: &mut Tx<'_>,
    session: SessionId,
    generation: i64,
) -> Result<Option<RefreshToken>, Error> {
    let sql = "SELECT generation, parent, expires_at, used_at, revoked_at FROM refresh_tokens \
               WHERE session_id = ? AND parent = ? AND revoked_at IS NULL ORDER BY generation DESC LIMIT 1";
    tx.query_opt(sql, params![session.to_string(), generation], read_token)
}

pub(crate) fn newest_generation(tx: &mut Tx<'_>, session: SessionId) -> Result<i64, Error> {
    let sql = "SELECT MAX(generation) FROM refresh_tokens WHERE session_id = ?";
    tx.query_one(sql, params![session.to_string()], |row| row.get(0))
}

pub(crate) fn mark_used(
    tx: &mut Tx<'_>,
    session: SessionId,
    generation: i64,
    now: Timestamp,
) -> Result<(), Error> {
    let sql = "UPDATE refresh_tokens SET used_at = ? WHERE session_id = ? AND generation = ?";
    tx.execute(sql, params![now, session.to_string(), generation])?;
    Ok(())
}

pub(crate) fn mark_revoked(
    tx: &mut Tx<'_>,
    session: SessionId,
    generation: i64,
    now: Timestamp,
) -> Result<(), Error> {
    let sql = "UPDATE refresh_tokens SET revoked_at = ? WHERE session_id = ? AND generation = ?";
    tx.execute(sql, params![now, session.to_string(), generation])?;
    Ok(())
}

/// Deletes sessions of which no token is good any more; answers how many went.
pub(crate) fn sweep(tx: &mut Tx<'_>, now: Timestamp) -> Result<usize, Error> {
    let sql = "SELECT id FROM sessions WHERE refresh_until < ? AND tokens_until < ? LIMIT ?";
    let old: Vec<String> = tx.query(sql, params![now, now, SWEEP_BATCH], |row| row.get(0))?;
    let ids: Vec<Param<'_>> = old.iter().map(ToParam::to_param).collect();
    tx.delete_rows("refresh_tokens", &["session_id"], &ids)?;
    tx.delete_rows("sessions", &["id"], &ids)?;
    Ok(old.len())
}
