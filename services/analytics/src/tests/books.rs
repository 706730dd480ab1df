//! The totals' tables, and the same made anew from the stored lines.
//!
//! Invariant: nothing here uses the code that keeps the totals.

use std::collections::{BTreeMap, BTreeSet};

use db::{Db, Row, params};

/// All totals, each as `table|key` → numbers.
pub type Books = BTreeMap<String, Vec<i64>>;

fn numbers(row: &Row<'_>, columns: std::ops::Range<usize>) -> Result<Vec<i64>, db::Error> {
    columns.map(|column| row.get(column)).collect()
}

/// What the tables say.
pub fn kept(db: &Db) -> Books {
    let queries = [
        ("source", "SELECT source, '', '', line_count, invoices, cancellations, stock_codes FROM sources", 4),
        ("currency", "SELECT source, currency, '', line_count, amount, gross_amount FROM source_totals", 3),
        ("month", "SELECT source, CAST(month AS TEXT), currency, line_count, amount FROM month_totals", 2),
        ("category", "SELECT source, category, currency, line_count, amount FROM category_totals", 2),
        ("product", "SELECT source, sku, currency, line_count, quantity, amount FROM product_totals", 3),
    ];
    let mut books = Books::new();
    for (table, sql, width) in queries {
        let rows = db.read_now(|tx| {
            tx.query(sql, params![], |row| {
                let key: [String; 3] = [row.get(0)?, row.get(1)?, row.get(2)?];
                Ok((format!("{table}|{}", key.join("|")), numbers(row, 3..3 + width)?))
            })
        });
        books.extend(rows.unwrap_or_else(|error: db::Error| panic!("{error}")));
    }
    books
}

struct Line {
    source: String,
    occurred_at: i64,
    amount: i64,
    currency: String,
    category: String,
    sku: Option<String>,
    quantity: i64,
    invoice: Option<String>,
}

/// What the stored lines add up to.
pub fn made_anew(db: &Db) -> Books {
    let sql = "SELECT source, occurred_at, amount, currency, category, sku, COALESCE(quantity, 0), invoice \
               FROM transactions";
    let lines = db.read_now(|tx| {
        tx.query(sql, params![], |row| {
            Ok(Line {
                source: row.get(0)?,
                occurred_at: row.get(1)?,
                amount: row.get(2)?,
                currency: row.get(3)?,
                category: row.get(4)?,
                sku: row.get(5)?,
                quantity: row.get(6)?,
                invoice: row.get(7)?,
            })
        })
    });
    let lines: Vec<Line> = lines.unwrap_or_else(|error: db::Error| panic!("{error}"));
    let mut books = Books::new();
    let mut add = |key: String, values: &[i64]| {
        let row = books.entry(key).or_insert_with(|| vec![0; values.len()]);
        row.iter_mut().zip(values).for_each(|(sum, value)| *sum += value);
    };
    let mut seen = BTreeSet::new();
    for line in &lines {
        let Line { source, occurred_at, amount, currency, category, quantity, .. } = line;
        // Korea has kept one offset since 1988.
        let local = kernel::Timestamp::from_millis(occurred_at + 9 * 3_600_000).to_string();
        let month = format!("{}{}", &local[0..4], &local[5..7]);
        let mut first = |kind: &'static str, key: &Option<String>| {
            let key = key.as_ref().map(|key| (kind, source.clone(), key.clone()));
            i64::from(key.is_some_and(|key| seen.insert(key)))
        };
        let new_invoice = first("invoice", &line.invoice);
        let new_cancellation =
            first("cancellation", &line.invoice.clone().filter(|invoice| invoice.starts_with('C')));
        let new_sku = first("sku", &line.sku);
        add(format!("source|{source}||"), &[1, new_invoice, new_cancellation, new_sku]);
        add(format!("currency|{source}|{currency}|"), &[1, *amount, amount.abs()]);
        add(format!("month|{source}|{month}|{currency}"), &[1, *amount]);
        add(format!("category|{source}|{category}|{currency}"), &[1, *amount]);
        if let Some(sku) = &line.sku {
            add(format!("product|{source}|{sku}|{currency}"), &[1, *quantity, *amount]);
        }
    }
    books
}

/// The totals are those of the lines.
#[track_caller]
pub fn assert_balanced(db: &Db) {
    assert_eq!(kept(db), made_anew(db));
}
