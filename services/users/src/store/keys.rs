//! Rows of the keys that sign access tokens; the private half is sealed.

use db::{Error, Row, Tx, params};
use kernel::Timestamp;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct KeyRow {
    pub kid: String,
    /// The public key, base64url (RFC 8037).
    pub public_x: String,
    pub private_sealed: String,
    pub created_at: Timestamp,
}

/// What a key is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum KeyState {
    /// Signs.
    Current,
    /// Published, so that everybody knows it before it signs.
    Next,
    /// Signs no more; its tokens are good until they expire.
    Old,
}

impl KeyState {
    const fn as_str(self) -> &'static str {
        match self {
            KeyState::Current => "current",
            KeyState::Next => "next",
            KeyState::Old => "old",
        }
    }
}

fn read(row: &Row<'_>) -> Result<KeyRow, Error> {
    Ok(KeyRow {
        kid: row.get(0)?,
        public_x: row.get(1)?,
        private_sealed: row.get(2)?,
        created_at: row.get(3)?,
    })
}

pub(crate) fn insert(tx: &mut Tx<'_>, key: &KeyRow, state: KeyState) -> Result<(), Error> {
    let sql =
        "INSERT INTO signing_keys (kid, public_x, private_sealed, state, created_at) VALUES (?, ?, ?, ?, ?)";
    tx.execute(sql, params![key.kid, key.public_x, key.private_sealed, state.as_str(), key.created_at])?;
    Ok(())
}

/// In the order current, next, old ones.
pub(crate) fn all(tx: &mut Tx<'_>) -> Result<Vec<KeyRow>, Error> {
    let sql = "SELECT kid, public_x, private_sealed, created_at FROM signing_keys ORDER BY state = 'old', \
               state = 'next', created_at";
    tx.query(sql, params![], read)
}

pub(crate) fn in_state(tx: &mut Tx<'_>, state: KeyState) -> Result<Option<KeyRow>, Error> {
    let sql = "SELECT kid, public_x, private_sealed, created_at FROM signing_keys WHERE state = ? \
               ORDER BY created_at, kid LIMIT 1";
    tx.query_opt(sql, params![state.as_str()], read)
}

pub(crate) fn promote(tx: &mut Tx<'_>, kid: &str) -> Result<(), Error> {
    let sql = "UPDATE signing_keys SET state = ? WHERE kid = ?";
    tx.execute(sql, params![KeyState::Current.as_str(), kid])?;
    Ok(())
}

pub(crate) fn retire(tx: &mut Tx<'_>, kid: &str, good_until: Timestamp) -> Result<(), Error> {
    let sql = "UPDATE signing_keys SET state = ?, good_until = ? WHERE kid = ?";
    tx.execute(sql, params![KeyState::Old.as_str(), good_until, kid])?;
    Ok(())
}

/// How many keys are in a state in which there may be one.
pub(crate) fn count_in(tx: &mut Tx<'_>, state: KeyState) -> Result<i64, Error> {
    let sql = "SELECT COUNT(*) FROM signing_keys WHERE state = ?";
    tx.query_one(sql, params![state.as_str()], |row| row.get(0))
}

/// Retires all keys of a state but the one that [`in_state`] finds.
pub(crate) fn retire_surplus(tx: &mut Tx<'_>, state: KeyState, good_until: Timestamp) -> Result<(), Error> {
    let Some(keep) = in_state(tx, state)? else { return Ok(()) };
    let sql = "UPDATE signing_keys SET state = ?, good_until = ? WHERE state = ? AND kid <> ?";
    tx.execute(sql, params![KeyState::Old.as_str(), good_until, state.as_str(), keep.kid])?;
    Ok(())
}

/// Deletes old keys whose last token has died; answers their names.
pub(crate) fn delete_dead(tx: &mut Tx<'_>, now: Timestamp) -> Result<Vec<String>, Error> {
    let sql = "SELECT kid FROM signing_keys WHERE state = 'old' AND good_until < ?";
    let dead: Vec<String> = tx.query(sql, params![now], |row| row.get(0))?;
    for kid in &dead {
        tx.execute("DELETE FROM signing_keys WHERE kid = ?", params![kid])?;
    }
    Ok(dead)
}
