//! All SQL of the service, but the products' (see projections).

use contracts::orders::{OrderSummary, OrderedLine};
use contracts::{OrderId, UserId};
use db::{Error, Param, Row, ToParam, Tx, params};
use kernel::{Money, Timestamp};

use crate::domain::OrderState;

pub const SCHEMA: &str = "
CREATE TABLE orders (
  id VARCHAR(64) NOT NULL PRIMARY KEY, user_id VARCHAR(64) NOT NULL, state VARCHAR(16) NOT NULL,
  reason VARCHAR(32), detail VARCHAR(255),
  items TEXT NOT NULL, total BIGINT NOT NULL CHECK (total >= 0), currency VARCHAR(3) NOT NULL,
  account VARCHAR(32), delivery TEXT, version BIGINT NOT NULL, placed_at BIGINT NOT NULL, updated_at BIGINT NOT NULL
) WITHOUT ROWID;
CREATE INDEX orders_by_user ON orders (user_id, id);
CREATE TABLE order_history (
  order_id VARCHAR(64) NOT NULL, sequence BIGINT NOT NULL, state VARCHAR(16) NOT NULL, reason VARCHAR(32),
  entered_at BIGINT NOT NULL, PRIMARY KEY (order_id, sequence)
) WITHOUT ROWID;
CREATE TABLE products (
  id VARCHAR(64) NOT NULL PRIMARY KEY, sku VARCHAR(64) NOT NULL, name VARCHAR(255) NOT NULL,
  category VARCHAR(64) NOT NULL, price BIGINT NOT NULL, currency VARCHAR(3) NOT NULL, status VARCHAR(16) NOT NULL,
  version BIGINT NOT NULL
) WITHOUT ROWID;";

/// What is sealed for as long as it is there.
pub static SEALED: &[host::SealedRows] =
    &[host::SealedRows { table: "orders", key: "id", columns: &["delivery"] }];

/// Where the products are put together while they are rebuilt.
pub const PRODUCTS_ASIDE: &str = "
CREATE TABLE products_aside (
  id VARCHAR(64) NOT NULL PRIMARY KEY, sku VARCHAR(64) NOT NULL, name VARCHAR(255) NOT NULL,
  category VARCHAR(64) NOT NULL, price BIGINT NOT NULL, currency VARCHAR(3) NOT NULL, status VARCHAR(16) NOT NULL,
  version BIGINT NOT NULL
) WITHOUT ROWID;";

/// An order as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrderRow {
    pub id: OrderId,
    pub user_id: UserId,
    pub state: OrderState,
    pub reason: Option<String>,
    pub detail: Option<String>,
    pub lines: Vec<OrderedLine>,
    pub total: Money,
    pub account: Option<String>,
    /// The number of the last entry in the history.
    pub version: i64,
    pub placed_at: Timestamp,
    pub updated_at: Timestamp,
}

const COLUMNS: &str =
    "id, user_id, state, reason, detail, items, total, currency, account, version, placed_at, updated_at";

fn read(row: &Row<'_>) -> Result<OrderRow, Error> {
    Ok(OrderRow {
        id: row.parse(0)?,
        user_id: row.parse(1)?,
        state: row.parse(2)?,
        reason: row.get(3)?,
        detail: row.get(4)?,
        lines: row.json(5)?,
        total: row.money(6)?,
        account: row.get(8)?,
        version: row.get(9)?,
        placed_at: row.get(10)?,
        updated_at: row.get(11)?,
    })
}

impl OrderRow {
    pub fn summary(&self) -> OrderSummary {
        OrderSummary {
            order_id: self.id,
            user_id: self.user_id,
            lines: self.lines.clone(),
            total: self.total,
            placed_at: self.placed_at,
        }
    }
}

/// Inserts an order as placed, with its first entry in the history. `delivery` is sealed.
pub fn insert(tx: &mut Tx<'_>, order: &OrderRow, delivery: Option<&str>) -> kernel::Result<()> {
    let lines = serde_json::to_string(&order.lines).map_err(kernel::Error::internal)?;
    tx.execute(
        "INSERT INTO orders (id, user_id, state, items, total, currency, account, delivery, version, placed_at, \
         updated_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        params![
            order.id.to_string(),
            order.user_id.to_string(),
            order.state.as_str(),
            lines,
            order.total.minor,
            order.total.currency,
            order.account,
            delivery,
            order.version,
            order.placed_at,
            order.updated_at
        ],
    )?;
    append(tx, order.id, order.version, order.state, None, order.placed_at)?;
    Ok(())
}

/// Adds an entry to an order's history.
pub fn append(
    tx: &mut Tx<'_>,
    id: OrderId,
    sequence: i64,
    state: OrderState,
    reason: Option<&str>,
    at: Timestamp,
) -> Result<(), Error> {
    let sql =
        "INSERT INTO order_history (order_id, sequence, state, reason, entered_at) VALUES (?, ?, ?, ?, ?)";
    tx.execute(sql, params![id.to_string(), sequence, state.as_str(), reason, at]).map(drop)
}

/// Saves state, reason and version. The history has been appended.
pub fn update(tx: &mut Tx<'_>, order: &OrderRow) -> Result<(), Error> {
    let sql = "UPDATE orders SET state = ?, reason = ?, detail = ?, version = ?, updated_at = ? WHERE id = ?";
    tx.execute(
        sql,
        params![
            order.state.as_str(),
            order.reason,
            order.detail,
            order.version,
            order.updated_at,
            order.id.to_string()
        ],
    )
    .map(drop)
}

pub fn find(tx: &mut Tx<'_>, id: OrderId) -> Result<Option<OrderRow>, Error> {
    tx.query_opt(&format!("SELECT {COLUMNS} FROM orders WHERE id = ?"), params![id.to_string()], read)
}

/// One entry of an order's history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistoryRow {
    pub sequence: i64,
    pub state: OrderState,
    pub reason: Option<String>,
    pub entered_at: Timestamp,
}

/// Those of `orders` that have settled.
pub fn settled_of(tx: &mut Tx<'_>, orders: &[String]) -> Result<Vec<OrderId>, Error> {
    let ids: Vec<Param<'_>> = orders.iter().map(ToParam::to_param).collect();
    let mut settled = Vec::new();
    tx.for_each_portion(&ids, |tx, portion| {
        let places = vec!["?"; portion.len()].join(", ");
        let sql = format!("SELECT id, state FROM orders WHERE id IN ({places})");
        let found =
            tx.query(&sql, portion, |row| Ok((row.parse::<OrderId>(0)?, row.parse::<OrderState>(1)?)))?;
        settled.extend(found.into_iter().filter(|(_, state)| state.is_settled()).map(|(id, _)| id));
        Ok(())
    })?;
    Ok(settled)
}

pub fn history(tx: &mut Tx<'_>, id: OrderId) -> Result<Vec<HistoryRow>, Error> {
    let sql =
        "SELECT sequence, state, reason, entered_at FROM order_history WHERE order_id = ? ORDER BY sequence";
    tx.query(sql, params![id.to_string()], |row| {
        Ok(HistoryRow {
            sequence: row.get(0)?,
            state: row.parse(1)?,
            reason: row.get(2)?,
            entered_at: row.get(3)?,
        })
    })
}

/// Orders, the newest first, before `before`. `user`: only theirs.
pub fn list(
    tx: &mut Tx<'_>,
    user: Option<UserId>,
    state: Option<OrderState>,
    before: Option<OrderId>,
    limit: u32,
) -> Result<Vec<OrderRow>, Error> {
    let before = before.map_or("ord_~".to_owned(), |id| id.to_string());
    let state = state.map(OrderState::as_str);
    let tail = "AND (? IS NULL OR state = ?) AND id < ? ORDER BY id DESC LIMIT ?";
    match user {
        Some(user) => {
            let sql = format!("SELECT {COLUMNS} FROM orders WHERE user_id = ? {tail}");
            tx.query(&sql, params![user.to_string(), state, state, before, limit], read)
        }
        None => {
            let sql = format!("SELECT {COLUMNS} FROM orders WHERE 1 = 1 {tail}");
            tx.query(&sql, params![state, state, before, limit], read)
        }
    }
}
