//! The shop's own orders, by the minute.
//!
//! Invariant: an order counts in the minute in which it was placed, and its cancellation takes it out of that minute
//! again; a cancellation itself counts in the minute in which it happened.

use db::{Tx, params};
use kernel::{Error, Money, Timestamp};

use crate::domain::{Minutes, minute_of};

/// Adds `orders` (1, or -1 to take one back) and their revenue to the minute in which they were placed.
pub fn add(
    tx: &mut Tx<'_>,
    placed_at: Timestamp,
    orders: i64,
    revenue: Money,
    event_at: Timestamp,
) -> Result<(), Error> {
    let minute = minute_of(placed_at);
    // Read first: SQL would turn a sum beyond 64 bits into a number that is not exact.
    let sql = "SELECT orders, revenue, last_event_at FROM order_minutes WHERE minute = ? AND currency = ?";
    let found: Option<(i64, i64, Timestamp)> =
        tx.query_opt(sql, params![minute, revenue.currency], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?))
        })?;
    let Some((count, sum, last_event_at)) = found else {
        let sql = "INSERT INTO order_minutes (minute, currency, orders, revenue, last_event_at) \
                   VALUES (?, ?, ?, ?, ?)";
        tx.execute(sql, params![minute, revenue.currency, orders, revenue.minor, event_at])?;
        return Ok(());
    };
    let sum = Money::new(sum, revenue.currency)
        .plus(revenue)
        .map_err(|error| Error::conflict("total_overflow", error.to_string()))?;
    let sql = "UPDATE order_minutes SET orders = ?, revenue = ?, last_event_at = ? \
               WHERE minute = ? AND currency = ?";
    let last = last_event_at.max(event_at);
    tx.execute(sql, params![count + orders, sum.minor, last, minute, revenue.currency])?;
    Ok(())
}

/// Forgets all minutes.
pub fn clear(tx: &mut Tx<'_>) -> Result<(), db::Error> {
    tx.execute("DELETE FROM order_minutes", params![])?;
    tx.execute("DELETE FROM order_endings", params![]).map(drop)
}

/// How an order ended that is not to be filled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    Rejected,
    Cancelled,
}

impl Ending {
    const fn as_str(self) -> &'static str {
        match self {
            Ending::Rejected => "rejected",
            Ending::Cancelled => "cancelled",
        }
    }
}

/// Counts one order that ended so in `minute_at`.
pub fn count_ending(
    tx: &mut Tx<'_>,
    ending: Ending,
    reason: &str,
    minute_at: Timestamp,
    event_at: Timestamp,
) -> Result<(), Error> {
    tx.execute(
        "INSERT INTO order_endings (minute, ending, reason, orders, last_event_at) VALUES (?, ?, ?, 1, ?) \
         ON CONFLICT (minute, ending, reason) DO UPDATE SET orders = orders + excluded.orders, \
         last_event_at = CASE WHEN excluded.last_event_at > last_event_at \
         THEN excluded.last_event_at ELSE last_event_at END",
        params![minute_of(minute_at), ending.as_str(), reason, event_at],
    )?;
    Ok(())
}

/// One minute of one currency.
#[derive(Debug, Clone, Copy)]
pub struct OrderMinute {
    pub orders: i64,
    pub revenue: Money,
    pub last_event_at: Timestamp,
}

pub fn minutes(tx: &mut Tx<'_>, minutes: &Minutes) -> Result<Vec<OrderMinute>, db::Error> {
    let sql = "SELECT orders, revenue, currency, last_event_at FROM order_minutes \
               WHERE minute >= ? AND minute < ? ORDER BY minute, currency";
    tx.query(sql, params![minutes.start, minutes.end], |row| {
        Ok(OrderMinute { orders: row.get(0)?, revenue: row.money(1)?, last_event_at: row.get(3)? })
    })
}

/// Orders that ended so, by reason, and the time of the last event among them.
pub fn endings(
    tx: &mut Tx<'_>,
    ending: Ending,
    minutes: &Minutes,
) -> Result<Vec<(String, i64, Timestamp)>, db::Error> {
    let sql = "SELECT reason, SUM(orders), MAX(last_event_at) FROM order_endings \
               WHERE minute >= ? AND minute < ? AND ending = ? GROUP BY reason ORDER BY reason";
    tx.query(sql, params![minutes.start, minutes.end, ending.as_str()], |row| {
        Ok((row.get(0)?, row.get(1)?, row.get(2)?))
    })
}
