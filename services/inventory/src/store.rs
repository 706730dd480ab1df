//! All SQL of the service.
//!
//! Invariants: stock is taken by one conditional UPDATE, never by a read and a write; a reservation is saved only over
//! the state that it was read in; every change of `on_hand` is followed by its movement in the same transaction.

use contracts::OrderId;
use db::{Error, Migration, Migrations, Row, Tx, params};
use kernel::Timestamp;

use crate::domain::{Item, Line, Mode, MovementKind, Reservation, State};

pub(crate) static MIGRATIONS: &[Migrations] = &[
    messaging::MIGRATIONS,
    web::IDEMPOTENCY_MIGRATIONS,
    Migrations {
        component: "inventory",
        steps: &[Migration {
            version: 1,
            name: "stock items, reservations, movements",
            sql: "CREATE TABLE stock_items (
                    sku VARCHAR(64) NOT NULL PRIMARY KEY, on_hand BIGINT NOT NULL, reserved BIGINT NOT NULL,
                    low_stock_threshold BIGINT NOT NULL, mode VARCHAR(20) NOT NULL, version BIGINT NOT NULL,
                    CHECK (on_hand >= 0), CHECK (reserved >= 0), CHECK (on_hand >= reserved),
                    CHECK (low_stock_threshold >= 0), CHECK (mode IN ('none', 'track_only', 'reserve_on_order'))
                  ) WITHOUT ROWID;
                  CREATE TABLE reservations (
                    order_id VARCHAR(40) NOT NULL PRIMARY KEY, state VARCHAR(16) NOT NULL, lines_json TEXT NOT NULL,
                    shortages_json TEXT NOT NULL, expires_at BIGINT NOT NULL, created_at BIGINT NOT NULL,
                    CHECK (state IN ('held', 'committed', 'released', 'expired', 'returned', 'refused', 'lapsed'))
                  ) WITHOUT ROWID;
                  CREATE INDEX reservations_by_expiry ON reservations (state, expires_at);
                  CREATE TABLE stock_movements (
                    sku VARCHAR(64) NOT NULL, stock_version BIGINT NOT NULL, delta BIGINT NOT NULL,
                    on_hand BIGINT NOT NULL, kind VARCHAR(16) NOT NULL, reference VARCHAR(40) NOT NULL,
                    reason VARCHAR(200) NOT NULL, moved_at BIGINT NOT NULL, PRIMARY KEY (sku, stock_version),
                    CHECK (delta <> 0), CHECK (on_hand >= 0), CHECK (kind IN ('adjusted', 'committed', 'returned'))
                  ) WITHOUT ROWID;",
        }],
    },
];

/// One change of `on_hand`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Movement {
    /// The item's version that it led to: also its place in the sku's history.
    pub stock_version: i64,
    pub delta: i64,
    /// What was on hand after it.
    pub on_hand: i64,
    pub kind: MovementKind,
    /// The order, or the user who adjusted.
    pub reference: String,
    pub reason: String,
    pub moved_at: Timestamp,
}

// ---- items ----------------------------------------------------------------------------------------------------

fn item_of(row: &Row<'_>) -> Result<Item, Error> {
    Ok(Item {
        sku: row.get(0)?,
        on_hand: row.get(1)?,
        reserved: row.get(2)?,
        low_stock_threshold: row.get(3)?,
        mode: row.parse(4)?,
        version: row.get(5)?,
    })
}

pub(crate) fn item(tx: &mut Tx<'_>, sku: &str) -> Result<Option<Item>, Error> {
    let sql =
        "SELECT sku, on_hand, reserved, low_stock_threshold, mode, version FROM stock_items WHERE sku = ?";
    tx.query_opt(sql, params![sku], item_of)
}

/// Items after `after`, by sku.
pub(crate) fn items(tx: &mut Tx<'_>, after: &str, limit: u32) -> Result<Vec<Item>, Error> {
    let sql = "SELECT sku, on_hand, reserved, low_stock_threshold, mode, version FROM stock_items \
               WHERE sku > ? ORDER BY sku LIMIT ?";
    tx.query(sql, params![after, limit], item_of)
}

pub(crate) fn insert_item(tx: &mut Tx<'_>, item: &Item) -> Result<(), Error> {
    let sql = "INSERT INTO stock_items (sku, on_hand, reserved, low_stock_threshold, mode, version) \
               VALUES (?, ?, ?, ?, ?, ?)";
    tx.execute(
        sql,
        params![
            item.sku,
            item.on_hand,
            item.reserved,
            item.low_stock_threshold,
            item.mode.as_str(),
            item.version
        ],
    )?;
    Ok(())
}

/// Reserves, where the sku is reserved at all and has enough.
pub(crate) fn hold(tx: &mut Tx<'_>, sku: &str, quantity: i64) -> Result<bool, Error> {
    let sql = "UPDATE stock_items SET reserved = reserved + ?, version = version + 1 \
               WHERE sku = ? AND on_hand - reserved >= ? AND mode = 'reserve_on_order'";
    Ok(tx.execute(sql, params![quantity, sku, quantity])? == 1)
}

/// Gives back what is reserved.
pub(crate) fn let_go(tx: &mut Tx<'_>, sku: &str, quantity: i64) -> Result<bool, Error> {
    let sql = "UPDATE stock_items SET reserved = reserved - ?, version = version + 1 \
               WHERE sku = ? AND reserved >= ?";
    Ok(tx.execute(sql, params![quantity, sku, quantity])? == 1)
}

/// What is reserved leaves the shelf.
pub(crate) fn sell_held(tx: &mut Tx<'_>, sku: &str, quantity: i64) -> Result<bool, Error> {
    let sql = "UPDATE stock_items SET on_hand = on_hand - ?, reserved = reserved - ?, version = version + 1 \
               WHERE sku = ? AND reserved >= ?";
    Ok(tx.execute(sql, params![quantity, quantity, sku, quantity])? == 1)
}

/// Changes what is on hand, where that leaves enough for what is reserved.
pub(crate) fn change_on_hand(tx: &mut Tx<'_>, sku: &str, delta: i64) -> Result<bool, Error> {
    let sql = "UPDATE stock_items SET on_hand = on_hand + ?, version = version + 1 \
               WHERE sku = ? AND on_hand - reserved + ? >= 0";
    Ok(tx.execute(sql, params![delta, sku, delta])? == 1)
}

/// Changes how the sku is counted, where it is still at `version`.
pub(crate) fn configure(
    tx: &mut Tx<'_>,
    sku: &str,
    version: i64,
    threshold: i64,
    mode: Mode,
) -> Result<bool, Error> {
    let sql = "UPDATE stock_items SET low_stock_threshold = ?, mode = ?, version = version + 1 \
               WHERE sku = ? AND version = ?";
    Ok(tx.execute(sql, params![threshold, mode.as_str(), sku, version])? == 1)
}

// ---- movements ------------------------------------------------------------------------------------------------

/// Appends the movement of the change of `on_hand` that was just made.
pub(crate) fn append_movement(
    tx: &mut Tx<'_>,
    sku: &str,
    delta: i64,
    kind: MovementKind,
    reference: &str,
    reason: &str,
    now: Timestamp,
) -> Result<(), Error> {
    let sql = "INSERT INTO stock_movements \
               (sku, stock_version, delta, on_hand, kind, reference, reason, moved_at) \
               SELECT sku, version, ?, on_hand, ?, ?, ?, ? FROM stock_items WHERE sku = ?";
    match tx.execute(sql, params![delta, kind.as_str(), reference, reason, now, sku])? {
        1 => Ok(()),
        _ => Err(Error::NoRow),
    }
}

/// The newest movements of a sku that are older than the item's version `before`.
pub(crate) fn movements(tx: &mut Tx<'_>, sku: &str, before: i64, limit: u32) -> Result<Vec<Movement>, Error> {
    let sql = "SELECT stock_version, delta, on_hand, kind, reference, reason, moved_at FROM stock_movements \
               WHERE sku = ? AND stock_version < ? ORDER BY stock_version DESC LIMIT ?";
    tx.query(sql, params![sku, before, limit], |row| {
        Ok(Movement {
            stock_version: row.get(0)?,
            delta: row.get(1)?,
            on_hand: row.get(2)?,
            kind: row.parse(3)?,
            reference: row.get(4)?,
            reason: row.get(5)?,
            moved_at: row.get(6)?,
        })
    })
}

// ---- reservations ---------------------------------------------------------------------------------------------

fn reservation_of(row: &Row<'_>) -> Result<Reservation, Error> {
    Ok(Reservation {
        order_id: row.parse(0)?,
        state: row.parse(1)?,
        lines: row.json(2)?,
        shortages: row.json(3)?,
        expires_at: row.get(4)?,
        created_at: row.get(5)?,
    })
}

pub(crate) fn reservation(tx: &mut Tx<'_>, order_id: OrderId) -> Result<Option<Reservation>, Error> {
    let sql = "SELECT order_id, state, lines_json, shortages_json, expires_at, created_at FROM reservations \
               WHERE order_id = ?";
    tx.query_opt(sql, params![order_id.to_string()], reservation_of)
}

fn json<T: serde::Serialize>(value: &T) -> Result<String, Error> {
    serde_json::to_string(value).map_err(|error| Error::Other(error.to_string()))
}

pub(crate) fn insert_reservation(tx: &mut Tx<'_>, reservation: &Reservation) -> Result<(), Error> {
    let sql = "INSERT INTO reservations (order_id, state, lines_json, shortages_json, expires_at, created_at) \
               VALUES (?, ?, ?, ?, ?, ?)";
    tx.execute(
        sql,
        params![
            reservation.order_id.to_string(),
            reservation.state.as_str(),
            json(&reservation.lines)?,
            json(&reservation.shortages)?,
            reservation.expires_at,
            reservation.created_at
        ],
    )?;
    Ok(())
}

/// Saves a reservation that was read in state `from`; `false` where somebody else has moved it on.
pub(crate) fn save_reservation(
    tx: &mut Tx<'_>,
    reservation: &Reservation,
    from: State,
) -> Result<bool, Error> {
    let sql = "UPDATE reservations SET state = ?, lines_json = ?, shortages_json = ?, expires_at = ? \
               WHERE order_id = ? AND state = ?";
    Ok(tx.execute(
        sql,
        params![
            reservation.state.as_str(),
            json(&reservation.lines)?,
            json(&reservation.shortages)?,
            reservation.expires_at,
            reservation.order_id.to_string(),
            from.as_str()
        ],
    )? == 1)
}

/// Held reservations whose time is over, the longest over first.
pub(crate) fn due(tx: &mut Tx<'_>, now: Timestamp, limit: u32) -> Result<Vec<Reservation>, Error> {
    let sql = "SELECT order_id, state, lines_json, shortages_json, expires_at, created_at FROM reservations \
               WHERE state = 'held' AND expires_at <= ? ORDER BY expires_at, order_id LIMIT ?";
    tx.query(sql, params![now, limit], reservation_of)
}

pub(crate) fn any_due(tx: &mut Tx<'_>, now: Timestamp) -> Result<bool, Error> {
    let sql = "SELECT 1 FROM reservations WHERE state = 'held' AND expires_at <= ? LIMIT 1";
    Ok(tx.query_opt(sql, params![now], |_| Ok(()))?.is_some())
}

// ---- everything, for the oracle -------------------------------------------------------------------------------

pub(crate) fn each_item(
    tx: &mut Tx<'_>,
    mut each: impl FnMut(Item) -> Result<(), Error>,
) -> Result<(), Error> {
    let sql = "SELECT sku, on_hand, reserved, low_stock_threshold, mode, version FROM stock_items";
    tx.query(sql, params![], |row| each(item_of(row)?))?;
    Ok(())
}

/// All movements, sku by sku, each sku's in their order.
pub(crate) fn each_movement(
    tx: &mut Tx<'_>,
    mut each: impl FnMut(&str, i64, i64, MovementKind, &str) -> Result<(), Error>,
) -> Result<(), Error> {
    let sql = "SELECT sku, delta, on_hand, kind, reference FROM stock_movements ORDER BY sku, stock_version";
    tx.query(sql, params![], |row| {
        let (sku, reference): (String, String) = (row.get(0)?, row.get(4)?);
        each(&sku, row.get(1)?, row.get(2)?, row.parse(3)?, &reference)
    })?;
    Ok(())
}

pub(crate) fn each_reservation(
    tx: &mut Tx<'_>,
    mut each: impl FnMut(OrderId, State, Vec<Line>) -> Result<(), Error>,
) -> Result<(), Error> {
    let sql = "SELECT order_id, state, lines_json FROM reservations";
    tx.query(sql, params![], |row| each(row.parse(0)?, row.parse(1)?, row.json(2)?))?;
    Ok(())
}

pub(crate) fn each_state(tx: &mut Tx<'_>, mut each: impl FnMut(OrderId, State)) -> Result<(), Error> {
    let sql = "SELECT order_id, state FROM reservations";
    tx.query(sql, params![], |row| {
        each(row.parse(0)?, row.parse(1)?);
        Ok(())
    })?;
    Ok(())
}
