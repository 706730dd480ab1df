//! Rows of users.

use contracts::{Role, UserId};
use db::{Error, Row, Tx, params};
use kernel::Timestamp;

/// A user as stored: `email`, `name`, `phone` and `address` are sealed.
#[derive(Debug, Clone)]
pub(crate) struct UserRow {
    pub id: UserId,
    pub email: String,
    pub name: String,
    pub phone: Option<String>,
    pub address: Option<String>,
    pub locale: String,
    /// Absent for those who cannot sign in.
    pub password_hash: Option<String>,
    pub role: Role,
    pub verified_at: Option<Timestamp>,
    /// Access tokens issued before are no longer good.
    pub tokens_valid_from: Timestamp,
    pub created_at: Timestamp,
    pub version: i64,
}

const SELECT: &str = "SELECT id, email, name, phone, address, locale, password_hash, role, verified_at, \
                      tokens_valid_from, created_at, version FROM users";

fn read(row: &Row<'_>) -> Result<UserRow, Error> {
    Ok(UserRow {
        id: row.parse(0)?,
        email: row.get(1)?,
        name: row.get(2)?,
        phone: row.get(3)?,
        address: row.get(4)?,
        locale: row.get(5)?,
        password_hash: row.get(6)?,
        role: row.parse(7)?,
        verified_at: row.get(8)?,
        tokens_valid_from: row.get(9)?,
        created_at: row.get(10)?,
        version: row.get(11)?,
    })
}

pub(crate) fn by_id(tx: &mut Tx<'_>, id: UserId) -> Result<Option<UserRow>, Error> {
    tx.query_opt(&format!("{SELECT} WHERE id = ?"), params![id.to_string()], read)
}

pub(crate) fn by_email(tx: &mut Tx<'_>, email_index: &str) -> Result<Option<UserRow>, Error> {
    tx.query_opt(&format!("{SELECT} WHERE email_index = ?"), params![email_index], read)
}

/// [`Error::Unique`] where the address is taken.
pub(crate) fn insert(tx: &mut Tx<'_>, user: &UserRow, email_index: &str) -> Result<(), Error> {
    let sql = "INSERT INTO users (id, email_index, email, name, phone, address, locale, password_hash, role, \
               verified_at, tokens_valid_from, created_at, version) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";
    tx.execute(
        sql,
        params![
            user.id.to_string(),
            email_index,
            user.email,
            user.name,
            user.phone,
            user.address,
            user.locale,
            user.password_hash,
            user.role.as_str(),
            user.verified_at,
            user.tokens_valid_from,
            user.created_at,
            user.version
        ],
    )?;
    Ok(())
}

/// Writes what may change; the caller has raised `version`.
pub(crate) fn update(tx: &mut Tx<'_>, user: &UserRow) -> Result<(), Error> {
    let sql = "UPDATE users SET name = ?, phone = ?, address = ?, locale = ?, role = ?, verified_at = ?, \
               tokens_valid_from = ?, version = ? WHERE id = ?";
    let changed = tx.execute(
        sql,
        params![
            user.name,
            user.phone,
            user.address,
            user.locale,
            user.role.as_str(),
            user.verified_at,
            user.tokens_valid_from,
            user.version,
            user.id.to_string()
        ],
    )?;
    if changed == 1 { Ok(()) } else { Err(Error::NoRow) }
}

/// Replaces a hash by a stronger one of the same password; nothing where the password was changed in between.
pub(crate) fn strengthen(tx: &mut Tx<'_>, id: UserId, old: &str, new: &str) -> Result<(), Error> {
    let sql = "UPDATE users SET password_hash = ? WHERE id = ? AND password_hash = ?";
    tx.execute(sql, params![new, id.to_string(), old])?;
    Ok(())
}

pub(crate) fn count_with_role(tx: &mut Tx<'_>, role: Role) -> Result<i64, Error> {
    tx.query_one("SELECT COUNT(*) FROM users WHERE role = ?", params![role.as_str()], |row| row.get(0))
}

/// Oldest first, or newest first; `after` is the last one of the page before.
pub(crate) fn page(
    tx: &mut Tx<'_>,
    order: crate::queries::Order,
    after: Option<(Timestamp, UserId)>,
    limit: u32,
) -> Result<Vec<UserRow>, Error> {
    let (sign, direction) = match order {
        crate::queries::Order::OldestFirst => (">", "ASC"),
        crate::queries::Order::NewestFirst => ("<", "DESC"),
    };
    let tail = format!("ORDER BY created_at {direction}, id {direction} LIMIT ?");
    match after {
        None => tx.query(&format!("{SELECT} {tail}"), params![limit], read),
        Some((at, id)) => tx.query(
            &format!("{SELECT} WHERE created_at {sign} ? OR (created_at = ? AND id {sign} ?) {tail}"),
            params![at, at, id.to_string(), limit],
            read,
        ),
    }
}

/// Whose rights changed since: what a process must know before it trusts a token.
pub(crate) fn changed_rights_since(
    tx: &mut Tx<'_>,
    since: Timestamp,
) -> Result<Vec<(UserId, Timestamp)>, Error> {
    let sql = "SELECT id, tokens_valid_from FROM users WHERE tokens_valid_from > ?";
    tx.query(sql, params![since], |row| Ok((row.parse(0)?, row.get(1)?)))
}
