//! The totals of sources: written a batch at a time, read as they are.

use std::collections::BTreeMap;

use db::{Param, Row, ToParam, Tx, params};
use kernel::{Currency, Money};

use super::rows;
use crate::domain::tumble::Size;
use crate::domain::{Deltas, Gross, LineSum as Sum, Minutes, Source};

/// What the source's sums have used of their range, for the currencies asked for.
pub fn gross(
    tx: &mut Tx<'_>,
    source: &Source,
    currencies: impl IntoIterator<Item = Currency>,
) -> Result<Gross, db::Error> {
    let sql = "SELECT gross_quantity FROM sources WHERE source = ?";
    let quantity = tx.query_opt(sql, params![source.as_str()], |row| row.get(0))?.unwrap_or(0);
    let mut amounts = BTreeMap::new();
    for currency in currencies {
        let sql = "SELECT gross_amount FROM source_totals WHERE source = ? AND currency = ?";
        if let Some(gross) = tx.query_opt(sql, params![source.as_str(), currency], |row| row.get(0))? {
            amounts.insert(currency, gross);
        }
    }
    Ok(Gross { quantity, amounts })
}

const ADD: &str = "line_count = line_count + excluded.line_count, amount = amount + excluded.amount";

/// Adds a batch to all totals of its source: a handful of statements whatever the number of lines.
pub fn add(tx: &mut Tx<'_>, source: &Source, deltas: &Deltas<'_>) -> Result<(), db::Error> {
    if deltas.lines == 0 {
        return Ok(());
    }
    let source = source.as_str();
    let values: Vec<_> = deltas
        .currencies
        .iter()
        .flat_map(|(currency, sum)| {
            let Sum { lines, amount, gross } = sum;
            [source.to_param(), currency.to_param(), lines.to_param(), amount.to_param(), gross.to_param()]
        })
        .collect();
    rows::insert(
        tx,
        "INSERT INTO source_totals (source, currency, line_count, amount, gross_amount)",
        &format!(
            "ON CONFLICT (source, currency) DO UPDATE SET {ADD}, \
             gross_amount = gross_amount + excluded.gross_amount"
        ),
        5,
        &values,
    )?;

    let values: Vec<_> = deltas
        .months
        .iter()
        .flat_map(|((month, currency), sum)| sums(source, month.to_param(), currency, sum))
        .collect();
    rows::insert(
        tx,
        "INSERT INTO month_totals (source, month, currency, line_count, amount)",
        &format!("ON CONFLICT (source, month, currency) DO UPDATE SET {ADD}"),
        5,
        &values,
    )?;

    let values: Vec<_> = deltas
        .windows
        .iter()
        .flat_map(|((size, start, currency), sum)| {
            [
                source.to_param(),
                size.as_str().to_param(),
                start.to_param(),
                currency.to_param(),
                sum.lines.to_param(),
                sum.amount.to_param(),
            ]
        })
        .collect();
    rows::insert(
        tx,
        "INSERT INTO source_windows (source, window_size, starts_at, currency, line_count, amount)",
        &format!("ON CONFLICT (source, window_size, starts_at, currency) DO UPDATE SET {ADD}"),
        6,
        &values,
    )?;

    let values: Vec<_> = deltas
        .categories
        .iter()
        .flat_map(|((category, currency), sum)| sums(source, category.to_param(), currency, sum))
        .collect();
    rows::insert(
        tx,
        "INSERT INTO category_totals (source, category, currency, line_count, amount)",
        &format!("ON CONFLICT (source, category, currency) DO UPDATE SET {ADD}"),
        5,
        &values,
    )?;

    add_products(tx, source, deltas)?;
    add_counts(tx, source, deltas)
}

fn sums<'a>(source: &'a str, key: Param<'a>, currency: &'a Currency, sum: &'a Sum) -> [Param<'a>; 5] {
    [source.to_param(), key, currency.to_param(), sum.lines.to_param(), sum.amount.to_param()]
}

fn add_products(tx: &mut Tx<'_>, source: &str, deltas: &Deltas<'_>) -> Result<(), db::Error> {
    let values: Vec<_> = deltas
        .products
        .iter()
        .flat_map(|((currency, sku), product)| {
            [
                source.to_param(),
                currency.to_param(),
                sku.to_param(),
                product.sum.lines.to_param(),
                product.quantity.to_param(),
                product.sum.amount.to_param(),
                product.described.0.to_param(),
                product.described.1.to_param(),
            ]
        })
        .collect();
    // The description is set before the time that decides on it.
    rows::insert(
        tx,
        "INSERT INTO product_totals (source, currency, sku, line_count, quantity, amount, described_at, description)",
        &format!(
            "ON CONFLICT (source, currency, sku) DO UPDATE SET {ADD}, quantity = quantity + excluded.quantity, \
             description = CASE WHEN excluded.described_at > described_at \
             OR (excluded.described_at = described_at AND excluded.description > description) \
             THEN excluded.description ELSE description END, \
             described_at = CASE WHEN excluded.described_at > described_at \
             THEN excluded.described_at ELSE described_at END"
        ),
        8,
        &values,
    )?;
    Ok(())
}

fn add_counts(tx: &mut Tx<'_>, source: &str, deltas: &Deltas<'_>) -> Result<(), db::Error> {
    let mut distinct = |table: &str, column: &str, keys: &mut dyn Iterator<Item = &&str>| {
        let values: Vec<Param<'_>> = keys.flat_map(|key| [source.to_param(), key.to_param()]).collect();
        let head = format!("INSERT OR IGNORE INTO {table} (source, {column})");
        rows::insert(tx, &head, "", 2, &values).map(|new| i64::try_from(new).unwrap_or(i64::MAX))
    };
    let is_cancellation = |invoice: &&&str| invoice.starts_with('C');
    let stock_codes = distinct("source_skus", "sku", &mut deltas.skus.iter())?;
    let cancellations =
        distinct("source_invoices", "invoice", &mut deltas.invoices.iter().filter(is_cancellation))?;
    let sales = distinct(
        "source_invoices",
        "invoice",
        &mut deltas.invoices.iter().filter(|invoice| !is_cancellation(invoice)),
    )?;
    tx.execute(
        "INSERT INTO sources (source, line_count, invoices, cancellations, stock_codes, gross_quantity) \
         VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (source) DO UPDATE SET \
         line_count = line_count + excluded.line_count, invoices = invoices + excluded.invoices, \
         cancellations = cancellations + excluded.cancellations, \
         stock_codes = stock_codes + excluded.stock_codes, \
         gross_quantity = gross_quantity + excluded.gross_quantity",
        params![
            source,
            deltas.lines,
            sales + cancellations,
            cancellations,
            stock_codes,
            deltas.gross_quantity
        ],
    )?;
    Ok(())
}

/// Counts what became of a batch's lines in the minute in which they came.
pub fn count_ingest(
    tx: &mut Tx<'_>,
    minute: i64,
    results: &BTreeMap<&'static str, i64>,
) -> Result<(), db::Error> {
    let values: Vec<_> = results
        .iter()
        .flat_map(|(result, lines)| [minute.to_param(), result.to_param(), lines.to_param()])
        .collect();
    rows::insert(
        tx,
        "INSERT INTO ingest_minutes (minute, result, line_count)",
        "ON CONFLICT (minute, result) DO UPDATE SET line_count = line_count + excluded.line_count",
        3,
        &values,
    )?;
    Ok(())
}

/// Lines by what became of them.
pub fn ingest_counts(tx: &mut Tx<'_>, minutes: &Minutes) -> Result<Vec<(String, i64)>, db::Error> {
    let sql = "SELECT result, SUM(line_count) FROM ingest_minutes WHERE minute >= ? AND minute < ? \
               GROUP BY result ORDER BY result";
    tx.query(sql, params![minutes.start, minutes.end], |row| Ok((row.get(0)?, row.get(1)?)))
}

/// Lines, invoices, cancellations and stock codes of a source; zeros where it has sent nothing.
pub fn counts(tx: &mut Tx<'_>, source: &Source) -> Result<[i64; 4], db::Error> {
    let sql = "SELECT line_count, invoices, cancellations, stock_codes FROM sources WHERE source = ?";
    let found = tx.query_opt(sql, params![source.as_str()], |row| {
        Ok([row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?])
    })?;
    Ok(found.unwrap_or([0; 4]))
}

/// A source's totals, by currency.
pub fn amounts(tx: &mut Tx<'_>, source: &Source) -> Result<Vec<Money>, db::Error> {
    let sql = "SELECT amount, currency FROM source_totals WHERE source = ? ORDER BY currency";
    tx.query(sql, params![source.as_str()], |row| row.money(0))
}

/// The currency in which a source has the most lines.
pub fn main_currency(tx: &mut Tx<'_>, source: &Source) -> Result<Option<Currency>, db::Error> {
    let sql =
        "SELECT currency FROM source_totals WHERE source = ? ORDER BY line_count DESC, currency LIMIT 1";
    tx.query_opt(sql, params![source.as_str()], |row| row.parse(0))
}

/// One row of a list of totals: its key, its lines, its sum.
#[derive(Debug, Clone)]
pub struct Total<K> {
    pub key: K,
    pub lines: i64,
    pub total: Money,
}

fn read_total<K: db::FromValue>(row: &Row<'_>) -> Result<Total<K>, db::Error> {
    Ok(Total { key: row.get(0)?, lines: row.get(1)?, total: row.money(2)? })
}

/// Months (`201012`) within `range` after the place (month, currency), in their order.
pub fn months(
    tx: &mut Tx<'_>,
    source: &Source,
    range: std::ops::RangeInclusive<i64>,
    after: &Option<(i64, String)>,
    limit: u32,
) -> Result<Vec<Total<i64>>, db::Error> {
    let (month, currency) = after.as_ref().map_or((0, ""), |(month, currency)| (*month, currency.as_str()));
    let sql = "SELECT month, line_count, amount, currency FROM month_totals WHERE source = ? AND month >= ? \
               AND month <= ? AND (month > ? OR currency > ?) ORDER BY month, currency LIMIT ?";
    let from = month.max(*range.start());
    tx.query(sql, params![source.as_str(), from, *range.end(), month, currency, limit], read_total)
}

/// A source's windows that begin within `from..to`, in their order.
pub fn windows(
    tx: &mut Tx<'_>,
    source: &Source,
    size: Size,
    from: i64,
    to: i64,
) -> Result<Vec<Total<i64>>, db::Error> {
    let sql = "SELECT starts_at, line_count, amount, currency FROM source_windows WHERE source = ? \
               AND window_size = ? AND starts_at >= ? AND starts_at < ? ORDER BY starts_at, currency";
    tx.query(sql, params![source.as_str(), size.as_str(), from, to], read_total)
}

/// Categories after the place (category, currency), in their order.
pub fn categories(
    tx: &mut Tx<'_>,
    source: &Source,
    after: &Option<(String, String)>,
    limit: u32,
) -> Result<Vec<Total<String>>, db::Error> {
    let (category, currency) = after.as_ref().map_or(("", ""), |(category, currency)| (category, currency));
    let sql = "SELECT category, line_count, amount, currency FROM category_totals WHERE source = ? \
               AND category >= ? AND (category > ? OR currency > ?) ORDER BY category, currency LIMIT ?";
    tx.query(sql, params![source.as_str(), category, category, currency, limit], read_total)
}

#[derive(Debug, Clone)]
pub struct ProductTotal {
    pub sku: String,
    pub description: String,
    pub lines: i64,
    pub quantity: i64,
    pub revenue: Money,
}

/// What products are ranked by.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Rank {
    #[default]
    Revenue,
    Quantity,
}

/// The products with the most, the greatest first; of two with the same the lesser sku.
pub fn top_products(
    tx: &mut Tx<'_>,
    source: &Source,
    currency: Currency,
    by: Rank,
    limit: u32,
) -> Result<Vec<ProductTotal>, db::Error> {
    let column = match by {
        Rank::Revenue => "amount",
        Rank::Quantity => "quantity",
    };
    let sql = format!(
        "SELECT sku, description, line_count, quantity, amount, currency FROM product_totals \
         WHERE source = ? AND currency = ? ORDER BY {column} DESC, sku LIMIT ?"
    );
    tx.query(&sql, params![source.as_str(), currency, limit], |row| {
        Ok(ProductTotal {
            sku: row.get(0)?,
            description: row.get(1)?,
            lines: row.get(2)?,
            quantity: row.get(3)?,
            revenue: row.money(4)?,
        })
    })
}
