//! Transactions, line by line.

use db::{Param, Row, ToParam, Tx, params};
use kernel::{Error, Timestamp};

use crate::domain::{Source, Transaction, TransactionInput};

const FIELDS: &str =
    "external_id, occurred_at, amount, currency, description, category, customer_ref, sku, quantity, invoice";

/// `true` where the line is new.
pub fn insert(
    tx: &mut Tx<'_>,
    source: &Source,
    line: &Transaction,
    received_at: Timestamp,
) -> Result<bool, db::Error> {
    let line = line.fields();
    let inserted = tx.execute(
        "INSERT OR IGNORE INTO transactions (source, external_id, occurred_at, amount, currency, description, \
         category, customer_ref, sku, quantity, invoice, received_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        params![
            source.as_str(),
            line.external_id,
            line.occurred_at,
            line.amount,
            line.currency,
            line.description,
            line.category,
            line.customer_ref,
            line.sku,
            line.quantity,
            line.invoice,
            received_at
        ],
    )?;
    Ok(inserted == 1)
}

fn read(row: &Row<'_>, first: usize) -> Result<TransactionInput, db::Error> {
    Ok(TransactionInput {
        external_id: row.get(first)?,
        occurred_at: row.get(first + 1)?,
        amount: row.get(first + 2)?,
        currency: row.parse(first + 3)?,
        description: row.get(first + 4)?,
        category: row.get(first + 5)?,
        customer_ref: row.get(first + 6)?,
        sku: row.get(first + 7)?,
        quantity: row.get(first + 8)?,
        invoice: row.get(first + 9)?,
    })
}

/// What is stored under an external id.
pub fn find(
    tx: &mut Tx<'_>,
    source: &Source,
    external_id: &str,
) -> Result<Option<TransactionInput>, db::Error> {
    let sql = format!("SELECT {FIELDS} FROM transactions WHERE source = ? AND external_id = ?");
    tx.query_opt(&sql, params![source.as_str(), external_id], |row| read(row, 0))
}

/// A stored line with its place in the order of the list.
#[derive(Debug, Clone)]
pub struct Stored {
    pub id: i64,
    pub source: String,
    pub line: TransactionInput,
    pub received_at: Timestamp,
}

/// Which lines a list shows.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    pub source: Option<Source>,
    pub category: Option<String>,
    /// From this instant on.
    pub from: Option<Timestamp>,
    /// Before this instant.
    pub to: Option<Timestamp>,
}

/// At most `limit` lines after the place (occurred_at, id), the newest first.
pub fn list(
    tx: &mut Tx<'_>,
    filter: &Filter,
    after: Option<(i64, i64)>,
    limit: u32,
) -> Result<Vec<Stored>, Error> {
    let mut conditions: Vec<&str> = Vec::new();
    let mut values: Vec<Param<'_>> = Vec::new();
    if let Some(source) = &filter.source {
        conditions.push("source = ?");
        values.push(source.as_str().to_param());
    }
    if let Some(category) = &filter.category {
        conditions.push("category = ?");
        values.push(category.to_param());
    }
    if let Some(from) = &filter.from {
        conditions.push("occurred_at >= ?");
        values.push(from.to_param());
    }
    if let Some(to) = &filter.to {
        conditions.push("occurred_at < ?");
        values.push(to.to_param());
    }
    if let Some((at, id)) = after {
        // The first half alone bounds the scan of an index; the second makes it exact.
        conditions.push("occurred_at <= ? AND (occurred_at < ? OR id < ?)");
        values.extend([Param::Int(at), Param::Int(at), Param::Int(id)]);
    }
    let filtered =
        if conditions.is_empty() { String::new() } else { format!("WHERE {} ", conditions.join(" AND ")) };
    values.push(Param::Int(i64::from(limit)));
    let sql = format!(
        "SELECT id, source, received_at, {FIELDS} FROM transactions {filtered}\
         ORDER BY occurred_at DESC, id DESC LIMIT ?"
    );
    let rows = tx.query(&sql, &values, |row| {
        Ok(Stored { id: row.get(0)?, source: row.get(1)?, received_at: row.get(2)?, line: read(row, 3)? })
    })?;
    Ok(rows)
}
