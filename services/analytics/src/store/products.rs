//! Products of the shop: all of them exactly, those of windows with few counters, and their stock.

use std::collections::BTreeMap;

use contracts::inventory::StockLevel;
use db::{Error, Param, ToParam, Tx, params};
use kernel::{Currency, Money, Timestamp};
use messaging::{Cleared, clear_portion};

use super::totals::Rank;
use crate::domain::top::Stored;
use crate::domain::tumble::Size;

/// What a batch adds to one product in one currency.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Part {
    pub units: i64,
    pub amount: i64,
    /// The name by which it was last sold, and when; of two at one time the greater, whatever their order.
    pub named: (Timestamp, String),
}

pub fn add(tx: &mut Tx<'_>, products: &BTreeMap<(String, Currency), Part>) -> Result<(), Error> {
    let values: Vec<Param<'_>> = products
        .iter()
        .flat_map(|((sku, currency), part)| {
            [
                sku.to_param(),
                currency.to_param(),
                part.units.to_param(),
                part.amount.to_param(),
                part.named.0.to_param(),
                part.named.1.to_param(),
            ]
        })
        .collect();
    // The name is set before the time that decides on it.
    tx.insert_rows(
        "INSERT INTO shop_products (sku, currency, units, amount, named_at, name)",
        6,
        &values,
        "ON CONFLICT (sku, currency) DO UPDATE SET units = units + excluded.units, amount = amount + excluded.amount, \
         name = CASE WHEN excluded.named_at > named_at OR (excluded.named_at = named_at AND excluded.name > name) \
         THEN excluded.name ELSE name END, \
         named_at = CASE WHEN excluded.named_at > named_at THEN excluded.named_at ELSE named_at END",
    )
}

/// One product and what was sold of it.
#[derive(Debug, Clone)]
pub struct Product {
    pub sku: String,
    pub name: String,
    pub units: i64,
    pub revenue: Money,
}

/// The products with the most, the greatest first; of two with the same the lesser sku.
pub fn greatest(tx: &mut Tx<'_>, currency: Currency, by: Rank, limit: u32) -> Result<Vec<Product>, Error> {
    let column = match by {
        Rank::Revenue => "amount",
        Rank::Quantity => "units",
    };
    let sql = format!(
        "SELECT sku, name, units, amount, currency FROM shop_products WHERE currency = ? \
         ORDER BY {column} DESC, sku LIMIT ?"
    );
    tx.query(&sql, params![currency, limit], |row| {
        Ok(Product { sku: row.get(0)?, name: row.get(1)?, units: row.get(2)?, revenue: row.money(3)? })
    })
}

/// The name of a product.
pub fn name(tx: &mut Tx<'_>, sku: &str, currency: Currency) -> Result<Option<String>, Error> {
    let sql = "SELECT name FROM shop_products WHERE sku = ? AND currency = ?";
    tx.query_opt(sql, params![sku, currency], |row| row.get(0))
}

// ---- counters of windows --------------------------------------------------------------------------------------

/// What counters are of: a window, or everything ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stretch {
    Window(Size, i64),
    Ever,
}

impl Stretch {
    const fn key(self) -> (&'static str, i64) {
        match self {
            Stretch::Window(size, start) => (size.as_str(), start),
            Stretch::Ever => ("*", 0),
        }
    }
}

/// The counters of a stretch, where it has any.
pub fn top(tx: &mut Tx<'_>, stretch: Stretch, currency: Currency) -> Result<Option<Stored>, Error> {
    let (size, start) = stretch.key();
    let sql = "SELECT counters FROM window_tops WHERE window_size = ? AND starts_at = ? AND currency = ?";
    tx.query_opt(sql, params![size, start, currency], |row| row.json(0))
}

pub fn insert_top(
    tx: &mut Tx<'_>,
    stretch: Stretch,
    currency: Currency,
    stored: &Stored,
) -> Result<(), Error> {
    // Plainly: where another replica has begun the same window meanwhile this fails, and is done again.
    let sql = "INSERT INTO window_tops (window_size, starts_at, currency, counters) VALUES (?, ?, ?, ?)";
    let (size, start) = stretch.key();
    tx.execute(sql, params![size, start, currency, json(stored)?]).map(drop)
}

pub fn update_top(
    tx: &mut Tx<'_>,
    stretch: Stretch,
    currency: Currency,
    stored: &Stored,
) -> Result<(), Error> {
    let sql = "UPDATE window_tops SET counters = ? WHERE window_size = ? AND starts_at = ? AND currency = ?";
    let (size, start) = stretch.key();
    tx.execute(sql, params![json(stored)?, size, start, currency]).map(drop)
}

fn json(stored: &Stored) -> Result<String, Error> {
    serde_json::to_string(stored).map_err(|error| Error::Other(error.to_string()))
}

pub fn sweep_tops(tx: &mut Tx<'_>, size: Size, bound: i64) -> Result<usize, Error> {
    tx.execute(
        "DELETE FROM window_tops WHERE window_size = ? AND starts_at < ?",
        params![size.as_str(), bound],
    )
}

// ---- stock ----------------------------------------------------------------------------------------------------

/// Takes levels that are later than those that are kept.
pub fn save_levels(tx: &mut Tx<'_>, levels: &BTreeMap<String, (StockLevel, Timestamp)>) -> Result<(), Error> {
    let available: Vec<i64> = levels.values().map(|(level, _)| level.on_hand - level.reserved).collect();
    let values: Vec<Param<'_>> = levels
        .values()
        .zip(&available)
        .flat_map(|((level, at), available)| {
            [
                level.sku.to_param(),
                level.on_hand.to_param(),
                level.reserved.to_param(),
                available.to_param(),
                at.to_param(),
                level.version.to_param(),
            ]
        })
        .collect();
    let later = |column: &str| {
        format!("{column} = CASE WHEN excluded.version >= version THEN excluded.{column} ELSE {column} END")
    };
    // The version is set last: the others are decided by what it was.
    let columns = ["on_hand", "reserved", "available", "changed_at", "version"].map(later).join(", ");
    tx.insert_rows(
        "INSERT INTO stock_levels (sku, on_hand, reserved, available, changed_at, version)",
        6,
        &values,
        &format!("ON CONFLICT (sku) DO UPDATE SET {columns}"),
    )
}

/// What there is of a sku.
#[derive(Debug, Clone)]
pub struct Level {
    pub sku: String,
    pub on_hand: i64,
    pub reserved: i64,
    pub available: i64,
    pub changed_at: Timestamp,
}

/// The scarcest first, after the place (available, sku).
pub fn levels(tx: &mut Tx<'_>, after: Option<&(i64, String)>, limit: u32) -> Result<Vec<Level>, Error> {
    let (available, sku) = after.map_or((i64::MIN, ""), |(available, sku)| (*available, sku.as_str()));
    let sql = "SELECT sku, on_hand, reserved, available, changed_at FROM stock_levels \
               WHERE available >= ? AND (available > ? OR sku > ?) ORDER BY available, sku LIMIT ?";
    tx.query(sql, params![available, available, sku, limit], |row| {
        Ok(Level {
            sku: row.get(0)?,
            on_hand: row.get(1)?,
            reserved: row.get(2)?,
            available: row.get(3)?,
            changed_at: row.get(4)?,
        })
    })
}

/// How many skus have nothing left, counted up to `most`.
pub fn sold_out(tx: &mut Tx<'_>, most: u32) -> Result<i64, Error> {
    let sql =
        "SELECT COUNT(*) FROM (SELECT sku FROM stock_levels WHERE available <= 0 LIMIT ?) empty_shelves";
    tx.query_one(sql, params![most], |row| row.get(0))
}

/// Forgets products and levels, a portion at a time.
pub fn clear(tx: &mut Tx<'_>) -> Result<Cleared, Error> {
    if clear_portion(tx, "shop_products", "sku")? == Cleared::Partly {
        return Ok(Cleared::Partly);
    }
    clear_portion(tx, "stock_levels", "sku")
}
