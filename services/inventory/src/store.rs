//! All SQL of the service.
//!
//! Items and reservations are read under the transaction's lock, change in memory, and are written at its end: each once,
//! those of a batch together.
//!
//! Invariants: no change goes below what the conditions of the functions here allow, and the CHECK constraints hold the same;
//! a reservation is saved only over the state that it was read in; every change of `on_hand` is followed by its movement
//! in the same transaction.

use contracts::OrderId;
use db::{Error, Kept, Late, Migration, Migrations, Param, Row, ToParam, Tx, params};
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

const ITEM: &str = "sku, on_hand, reserved, low_stock_threshold, mode, version";

impl Kept for Item {
    type Key = String;

    fn key(&self) -> String {
        self.sku.clone()
    }

    fn write(new: Vec<Self>, changed: Vec<Self>, tx: &mut Tx<'_>) -> Result<(), Error> {
        fn values(item: &Item) -> [Param<'_>; 6] {
            [
                item.sku.to_param(),
                item.on_hand.to_param(),
                item.reserved.to_param(),
                item.low_stock_threshold.to_param(),
                item.mode.as_str().to_param(),
                item.version.to_param(),
            ]
        }
        let into = format!("INSERT INTO stock_items ({ITEM})");
        tx.insert_rows(&into, 6, &new.iter().flat_map(values).collect::<Vec<_>>(), "")?;
        tx.insert_rows(
            &into,
            6,
            &changed.iter().flat_map(values).collect::<Vec<_>>(),
            "ON CONFLICT (sku) DO UPDATE SET on_hand = excluded.on_hand, reserved = excluded.reserved, \
             low_stock_threshold = excluded.low_stock_threshold, mode = excluded.mode, version = excluded.version",
        )
    }
}

pub(crate) fn item(tx: &mut Tx<'_>, sku: &str) -> Result<Option<Item>, Error> {
    let key = sku.to_owned();
    if let Some(known) = tx.kept::<Item>(&key) {
        return Ok(known);
    }
    let found =
        tx.query_opt(&format!("SELECT {ITEM} FROM stock_items WHERE sku = ?"), params![sku], item_of)?;
    tx.note(key, found.clone());
    Ok(found)
}

/// Reads what commands about these orders and skus need, always in the same order: who does so waits for others, and never
/// in a circle.
pub(crate) fn look_ahead(tx: &mut Tx<'_>, orders: Vec<OrderId>, mut skus: Vec<String>) -> Result<(), Error> {
    let orders = tx.unknown::<Reservation>(orders);
    let ids: Vec<String> = orders.iter().map(ToString::to_string).collect();
    let keys: Vec<Param<'_>> = ids.iter().map(ToParam::to_param).collect();
    let mut reservations = Vec::with_capacity(keys.len());
    tx.for_each_portion(&keys, |tx, portion| {
        let places = vec!["?"; portion.len()].join(", ");
        let sql =
            format!("SELECT {RESERVATION} FROM reservations WHERE order_id IN ({places}) ORDER BY order_id");
        reservations.extend(tx.query(&sql, portion, reservation_of)?);
        Ok(())
    })?;
    // That an order has none is known too: its reservation is inserted plainly.
    orders.into_iter().for_each(|order| tx.note::<Reservation>(order, None));
    for reservation in reservations {
        skus.extend(reservation.lines.iter().map(|line| line.sku.clone()));
        tx.note(reservation.order_id, Some(reservation));
    }
    let skus = tx.unknown::<Item>(skus);
    let keys: Vec<Param<'_>> = skus.iter().map(ToParam::to_param).collect();
    let mut items = Vec::with_capacity(keys.len());
    tx.for_each_portion(&keys, |tx, portion| {
        let places = vec!["?"; portion.len()].join(", ");
        let sql = format!("SELECT {ITEM} FROM stock_items WHERE sku IN ({places}) ORDER BY sku");
        items.extend(tx.query(&sql, portion, item_of)?);
        Ok(())
    })?;
    items.into_iter().for_each(|item| tx.note(item.sku.clone(), Some(item)));
    Ok(())
}

/// Changes an item, where `change` finds that it may; `false` where it may not or is not there.
fn change(
    tx: &mut Tx<'_>,
    sku: &str,
    change: impl FnOnce(&Item) -> Option<(i64, i64)>,
) -> Result<bool, Error> {
    let Some(item) = item(tx, sku)? else { return Ok(false) };
    let Some((on_hand, reserved)) = change(&item) else { return Ok(false) };
    tx.keep(Item { on_hand, reserved, version: item.version + 1, ..item });
    Ok(true)
}

/// Items after `after`, by sku.
pub(crate) fn items(tx: &mut Tx<'_>, after: &str, limit: u32) -> Result<Vec<Item>, Error> {
    let sql = "SELECT sku, on_hand, reserved, low_stock_threshold, mode, version FROM stock_items \
               WHERE sku > ? ORDER BY sku LIMIT ?";
    tx.query(sql, params![after, limit], item_of)
}

pub(crate) fn insert_item(tx: &mut Tx<'_>, item: &Item) -> Result<(), Error> {
    tx.keep_new(item.clone())
}

/// Reserves, where the sku is reserved at all and has enough.
pub(crate) fn hold(tx: &mut Tx<'_>, sku: &str, quantity: i64) -> Result<bool, Error> {
    change(tx, sku, |item| {
        let may = item.mode == Mode::ReserveOnOrder && item.available() >= quantity;
        may.then(|| (item.on_hand, item.reserved + quantity))
    })
}

/// Gives back what is reserved.
pub(crate) fn let_go(tx: &mut Tx<'_>, sku: &str, quantity: i64) -> Result<bool, Error> {
    change(tx, sku, |item| (item.reserved >= quantity).then(|| (item.on_hand, item.reserved - quantity)))
}

/// What is reserved leaves the shelf.
pub(crate) fn sell_held(tx: &mut Tx<'_>, sku: &str, quantity: i64) -> Result<bool, Error> {
    change(tx, sku, |item| {
        (item.reserved >= quantity).then(|| (item.on_hand - quantity, item.reserved - quantity))
    })
}

/// Changes what is on hand, where that leaves enough for what is reserved.
pub(crate) fn change_on_hand(tx: &mut Tx<'_>, sku: &str, delta: i64) -> Result<bool, Error> {
    change(tx, sku, |item| {
        let on_hand = item.on_hand.checked_add(delta).filter(|on_hand| *on_hand >= item.reserved);
        on_hand.map(|on_hand| (on_hand, item.reserved))
    })
}

/// Changes how the sku is counted, where it is still at `version`.
pub(crate) fn configure(
    tx: &mut Tx<'_>,
    sku: &str,
    version: i64,
    threshold: i64,
    mode: Mode,
) -> Result<bool, Error> {
    let Some(item) = item(tx, sku)?.filter(|item| item.version == version) else { return Ok(false) };
    tx.keep(Item { low_stock_threshold: threshold, mode, version: version + 1, ..item });
    Ok(true)
}

// ---- movements ------------------------------------------------------------------------------------------------

/// A movement on its way.
struct Moved {
    sku: String,
    movement: Movement,
}

impl Late for Moved {
    fn write(moved: Vec<Self>, tx: &mut Tx<'_>) -> Result<(), Error> {
        fn values(moved: &Moved) -> [Param<'_>; 8] {
            let movement = &moved.movement;
            [
                moved.sku.to_param(),
                movement.stock_version.to_param(),
                movement.delta.to_param(),
                movement.on_hand.to_param(),
                movement.kind.as_str().to_param(),
                movement.reference.to_param(),
                movement.reason.to_param(),
                movement.moved_at.to_param(),
            ]
        }
        let into = "INSERT INTO stock_movements \
                    (sku, stock_version, delta, on_hand, kind, reference, reason, moved_at)";
        tx.insert_rows(into, 8, &moved.iter().flat_map(values).collect::<Vec<_>>(), "")
    }
}

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
    let item = item(tx, sku)?.ok_or(Error::NoRow)?;
    let movement = Movement {
        stock_version: item.version,
        delta,
        on_hand: item.on_hand,
        kind,
        reference: reference.to_owned(),
        reason: reason.to_owned(),
        moved_at: now,
    };
    tx.at_the_end(Moved { sku: item.sku, movement });
    Ok(())
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

const RESERVATION: &str = "order_id, state, lines_json, shortages_json, expires_at, created_at";

fn json<T: serde::Serialize>(value: &T) -> Result<Param<'static>, Error> {
    let text = serde_json::to_string(value).map_err(|error| Error::Other(error.to_string()))?;
    Ok(Param::Text(text.into()))
}

fn values_of(reservations: &[Reservation]) -> Result<Vec<Param<'_>>, Error> {
    let mut values = Vec::with_capacity(reservations.len() * 6);
    for reservation in reservations {
        values.extend([
            Param::Text(reservation.order_id.to_string().into()),
            reservation.state.as_str().to_param(),
            json(&reservation.lines)?,
            json(&reservation.shortages)?,
            reservation.expires_at.to_param(),
            reservation.created_at.to_param(),
        ]);
    }
    Ok(values)
}

impl Kept for Reservation {
    type Key = OrderId;

    fn key(&self) -> OrderId {
        self.order_id
    }

    fn write(new: Vec<Self>, changed: Vec<Self>, tx: &mut Tx<'_>) -> Result<(), Error> {
        let into = format!("INSERT INTO reservations ({RESERVATION})");
        tx.insert_rows(&into, 6, &values_of(&new)?, "")?;
        tx.insert_rows(
            &into,
            6,
            &values_of(&changed)?,
            "ON CONFLICT (order_id) DO UPDATE SET state = excluded.state, lines_json = excluded.lines_json, \
             shortages_json = excluded.shortages_json, expires_at = excluded.expires_at",
        )
    }
}

pub(crate) fn reservation(tx: &mut Tx<'_>, order_id: OrderId) -> Result<Option<Reservation>, Error> {
    if let Some(known) = tx.kept::<Reservation>(&order_id) {
        return Ok(known);
    }
    let sql = format!("SELECT {RESERVATION} FROM reservations WHERE order_id = ?");
    let found = tx.query_opt(&sql, params![order_id.to_string()], reservation_of)?;
    tx.note(order_id, found.clone());
    Ok(found)
}

pub(crate) fn insert_reservation(tx: &mut Tx<'_>, reservation: &Reservation) -> Result<(), Error> {
    tx.keep_new(reservation.clone())
}

/// Saves a reservation that was read in state `from`; `false` where somebody else has moved it on.
pub(crate) fn save_reservation(
    tx: &mut Tx<'_>,
    reservation: &Reservation,
    from: State,
) -> Result<bool, Error> {
    let stands = self::reservation(tx, reservation.order_id)?.is_some_and(|stored| stored.state == from);
    if stands {
        tx.keep(reservation.clone());
    }
    Ok(stands)
}

/// How far a transaction has looked for reservations whose time is over: what it has changed is not in the rows yet, and
/// would be found there again and again.
#[derive(Clone)]
struct LookedTo {
    expires_at: Timestamp,
    order_id: OrderId,
}

impl Kept for LookedTo {
    type Key = ();

    fn key(&self) {}

    fn write(_: Vec<Self>, _: Vec<Self>, _: &mut Tx<'_>) -> Result<(), Error> {
        Ok(())
    }
}

/// Held reservations whose time is over, the longest over first, and each once in a transaction: who is given some ends them.
pub(crate) fn due(tx: &mut Tx<'_>, now: Timestamp, limit: u32) -> Result<Vec<Reservation>, Error> {
    let from = format!("SELECT {RESERVATION} FROM reservations WHERE state = 'held' AND expires_at <= ?");
    let order = "ORDER BY expires_at, order_id LIMIT ?";
    let (first, behind) = (
        format!("{from} {order}"),
        format!("{from} AND (expires_at > ? OR (expires_at = ? AND order_id > ?)) {order}"),
    );
    let mut due = Vec::new();
    while (due.len() as u64) < u64::from(limit) {
        let room = limit - due.len() as u32;
        let found = match tx.kept::<LookedTo>(&()).flatten() {
            None => tx.query(&first, params![now, room], reservation_of)?,
            Some(LookedTo { expires_at, order_id }) => {
                let id = order_id.to_string();
                tx.query(&behind, params![now, expires_at, expires_at, id, room], reservation_of)?
            }
        };
        let is_last = (found.len() as u64) < u64::from(room);
        if let Some(last) = found.last() {
            // Kept and not noted: where the part that ends them is undone, they are found again.
            tx.keep(LookedTo { expires_at: last.expires_at, order_id: last.order_id });
        }
        for reservation in found {
            match tx.kept::<Reservation>(&reservation.order_id) {
                Some(known) => due.extend(known.filter(|known| known.is_due(now))),
                None => {
                    tx.note(reservation.order_id, Some(reservation.clone()));
                    due.push(reservation);
                }
            }
        }
        if is_last {
            break;
        }
    }
    Ok(due)
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
