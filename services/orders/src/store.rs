//! All SQL of the service, but the products' (see projections).
//!
//! Orders and their history are written at the end of the transaction: those of a batch together, each order once.

use contracts::orders::{OrderSummary, OrderedLine};
use contracts::{OrderId, UserId};
use db::{Error, Kept, Late, Param, Row, ToParam, Tx, params};
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

/// An order in a transaction.
#[derive(Debug, Clone)]
struct Entry {
    order: OrderRow,
    /// Sealed; only of an order that is new, it never changes.
    delivery: Option<String>,
}

impl Kept for Entry {
    type Key = OrderId;

    fn key(&self) -> OrderId {
        self.order.id
    }

    fn write(new: Vec<Self>, changed: Vec<Self>, tx: &mut Tx<'_>) -> Result<(), Error> {
        let new = new.iter().map(Texts::of).collect::<Result<Vec<_>, _>>()?;
        let values: Vec<Param<'_>> = new
            .iter()
            .flat_map(|texts| texts.values().into_iter().chain([texts.entry.delivery.to_param()]))
            .collect();
        tx.insert_rows(&format!("INSERT INTO orders ({COLUMNS}, delivery)"), 13, &values, "")?;
        let changed = changed.iter().map(Texts::of).collect::<Result<Vec<_>, _>>()?;
        let values: Vec<Param<'_>> = changed.iter().flat_map(Texts::values).collect();
        tx.insert_rows(
            &format!("INSERT INTO orders ({COLUMNS})"),
            12,
            &values,
            "ON CONFLICT (id) DO UPDATE SET state = excluded.state, reason = excluded.reason, \
             detail = excluded.detail, version = excluded.version, updated_at = excluded.updated_at",
        )
    }
}

/// An entry with the texts of what is no text.
struct Texts<'a> {
    entry: &'a Entry,
    id: String,
    user: String,
    lines: String,
}

impl<'a> Texts<'a> {
    fn of(entry: &'a Entry) -> Result<Self, Error> {
        let lines =
            serde_json::to_string(&entry.order.lines).map_err(|error| Error::Other(error.to_string()))?;
        Ok(Self { entry, id: entry.order.id.to_string(), user: entry.order.user_id.to_string(), lines })
    }

    /// In the order of [`COLUMNS`].
    fn values(&self) -> [Param<'_>; 12] {
        let order = &self.entry.order;
        [
            self.id.to_param(),
            self.user.to_param(),
            order.state.as_str().to_param(),
            order.reason.to_param(),
            order.detail.to_param(),
            self.lines.to_param(),
            order.total.minor.to_param(),
            order.total.currency.to_param(),
            order.account.to_param(),
            order.version.to_param(),
            order.placed_at.to_param(),
            order.updated_at.to_param(),
        ]
    }
}

/// An entry of an order's history on its way.
struct Appended {
    order: String,
    sequence: i64,
    state: OrderState,
    reason: Option<String>,
    at: Timestamp,
}

impl Late for Appended {
    fn write(entries: Vec<Self>, tx: &mut Tx<'_>) -> Result<(), Error> {
        fn values(entry: &Appended) -> [Param<'_>; 5] {
            [
                entry.order.to_param(),
                entry.sequence.to_param(),
                entry.state.as_str().to_param(),
                entry.reason.to_param(),
                entry.at.to_param(),
            ]
        }
        let into = "INSERT INTO order_history (order_id, sequence, state, reason, entered_at)";
        tx.insert_rows(into, 5, &entries.iter().flat_map(values).collect::<Vec<_>>(), "")
    }
}

/// Inserts an order as placed, with its first entry in the history. `delivery` is sealed.
pub fn insert(tx: &mut Tx<'_>, order: &OrderRow, delivery: Option<&str>) -> Result<(), Error> {
    tx.keep_new(Entry { order: order.clone(), delivery: delivery.map(str::to_owned) })?;
    append(tx, order.id, order.version, order.state, None, order.placed_at);
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
) {
    let (order, reason) = (id.to_string(), reason.map(str::to_owned));
    tx.at_the_end(Appended { order, sequence, state, reason, at });
}

/// Saves state, reason and version. The history has been appended.
pub fn update(tx: &mut Tx<'_>, order: &OrderRow) {
    let delivery = tx.kept::<Entry>(&order.id).flatten().and_then(|entry| entry.delivery);
    tx.keep(Entry { order: order.clone(), delivery });
}

pub fn find(tx: &mut Tx<'_>, id: OrderId) -> Result<Option<OrderRow>, Error> {
    if let Some(Some(entry)) = tx.kept::<Entry>(&id) {
        return Ok(Some(entry.order));
    }
    let sql = format!("SELECT {COLUMNS} FROM orders WHERE id = ?");
    let found = tx.query_opt(&sql, params![id.to_string()], read)?;
    if let Some(order) = &found {
        tx.note(id, Some(Entry { order: order.clone(), delivery: None }));
    }
    Ok(found)
}

/// Reads orders that are about to change, so that [`find`] finds them there.
pub fn look_ahead(tx: &mut Tx<'_>, ids: &[OrderId]) -> Result<(), Error> {
    let ids: Vec<String> = tx.unknown::<Entry>(ids.iter().copied()).iter().map(ToString::to_string).collect();
    let keys: Vec<Param<'_>> = ids.iter().map(ToParam::to_param).collect();
    let mut found = Vec::with_capacity(keys.len());
    tx.for_each_portion(&keys, |tx, portion| {
        let places = vec!["?"; portion.len()].join(", ");
        let sql = format!("SELECT {COLUMNS} FROM orders WHERE id IN ({places}) ORDER BY id");
        found.extend(tx.query(&sql, portion, read)?);
        Ok(())
    })?;
    found.into_iter().for_each(|order| tx.note(order.id, Some(Entry { order, delivery: None })));
    Ok(())
}

/// An order with its history, as it was at one moment.
pub fn with_history(tx: &mut Tx<'_>, id: OrderId) -> Result<Option<(OrderRow, Vec<HistoryRow>)>, Error> {
    Ok(with_histories(tx, &[id])?.pop())
}

/// Orders with their histories, each as it was at one moment.
pub fn with_histories(tx: &mut Tx<'_>, ids: &[OrderId]) -> Result<Vec<(OrderRow, Vec<HistoryRow>)>, Error> {
    let columns = COLUMNS.split(", ").map(|column| format!("o.{column}")).collect::<Vec<_>>().join(", ");
    let ids: Vec<String> = ids.iter().map(ToString::to_string).collect();
    let keys: Vec<Param<'_>> = ids.iter().map(ToParam::to_param).collect();
    let mut orders: Vec<(OrderRow, Vec<HistoryRow>)> = Vec::with_capacity(ids.len());
    tx.for_each_portion(&keys, |tx, portion| {
        let places = vec!["?"; portion.len()].join(", ");
        let sql = format!(
            "SELECT {columns}, h.sequence, h.state, h.reason, h.entered_at FROM orders o \
             JOIN order_history h ON h.order_id = o.id WHERE o.id IN ({places}) ORDER BY o.id, h.sequence"
        );
        tx.query_while(&sql, portion, |row| {
            let id: OrderId = row.parse(0)?;
            if orders.last().is_none_or(|(order, _)| order.id != id) {
                orders.push((read(row)?, Vec::new()));
            }
            if let Some((_, history)) = orders.last_mut() {
                history.push(HistoryRow {
                    sequence: row.get(12)?,
                    state: row.parse(13)?,
                    reason: row.get(14)?,
                    entered_at: row.get(15)?,
                });
            }
            Ok(true)
        })
    })?;
    Ok(orders)
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
