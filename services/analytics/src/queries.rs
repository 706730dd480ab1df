//! Reads of what came from outside: rows as views. Every answer is one snapshot.

use db::Tx;
use kernel::{Currency, Money, Result, Timestamp};
use serde::Serialize;

use crate::domain::Source;
use crate::store::totals::{self, Rank, Total};
use crate::store::transactions::Stored;

/// A stored transaction, with the fields under which it was sent.
#[derive(Debug, Clone, Serialize, schemars::JsonSchema)]
pub struct TransactionView {
    pub source: String,
    pub external_id: String,
    pub occurred_at: Timestamp,
    /// Minor units of `currency`.
    pub amount: i64,
    pub currency: Currency,
    pub description: String,
    pub category: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub customer_ref: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sku: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quantity: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub invoice: Option<String>,
    pub received_at: Timestamp,
    /// Its place among lines of one time; part of the cursor, not of the answer.
    #[serde(skip)]
    pub id: i64,
}

impl From<Stored> for TransactionView {
    fn from(stored: Stored) -> Self {
        let Stored { id, source, line, received_at } = stored;
        Self {
            source,
            external_id: line.external_id,
            occurred_at: line.occurred_at,
            amount: line.amount,
            currency: line.currency,
            description: line.description,
            category: line.category,
            customer_ref: line.customer_ref,
            sku: line.sku,
            quantity: line.quantity,
            invoice: line.invoice,
            received_at,
            id,
        }
    }
}

/// All that a source has sent. Zeros where it has sent nothing.
#[derive(Debug, Serialize, schemars::JsonSchema)]
pub struct TotalsView {
    pub source: String,
    pub lines: i64,
    /// Different invoices.
    pub invoices: i64,
    /// Those among them whose number begins with `C`.
    pub cancellations: i64,
    /// Different skus.
    pub stock_codes: i64,
    pub totals: Vec<Money>,
}

pub fn source_totals(tx: &mut Tx<'_>, source: &Source) -> Result<TotalsView> {
    let [lines, invoices, cancellations, stock_codes] = totals::counts(tx, source)?;
    Ok(TotalsView {
        source: source.as_str().to_owned(),
        lines,
        invoices,
        cancellations,
        stock_codes,
        totals: totals::amounts(tx, source)?,
    })
}

/// One month in one currency. Months are those of Asia/Seoul.
#[derive(Debug, Clone, Serialize, schemars::JsonSchema)]
pub struct MonthView {
    /// `2010-12`.
    pub month: String,
    pub lines: i64,
    pub total: Money,
    #[serde(skip)]
    pub key: i64,
}

impl From<Total<i64>> for MonthView {
    fn from(row: Total<i64>) -> Self {
        let month = format!("{:04}-{:02}", row.key / 100, row.key % 100);
        Self { month, lines: row.lines, total: row.total, key: row.key }
    }
}

/// One category in one currency.
#[derive(Debug, Clone, Serialize, schemars::JsonSchema)]
pub struct CategoryView {
    pub category: String,
    pub lines: i64,
    pub total: Money,
}

impl From<Total<String>> for CategoryView {
    fn from(row: Total<String>) -> Self {
        Self { category: row.key, lines: row.lines, total: row.total }
    }
}

#[derive(Debug, Clone, Serialize, schemars::JsonSchema)]
pub struct ProductView {
    pub rank: u32,
    pub sku: String,
    /// That of the latest line.
    pub description: String,
    pub lines: i64,
    pub quantity: i64,
    pub revenue: Money,
}

/// The products of a source with the most, in one currency.
#[derive(Debug, Serialize, schemars::JsonSchema)]
pub struct TopProductsView {
    pub source: String,
    pub by: Rank,
    /// The one asked for, or the one with the most lines; absent where the source has sent nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub currency: Option<Currency>,
    pub data: Vec<ProductView>,
}

pub fn top_products(
    tx: &mut Tx<'_>,
    source: &Source,
    currency: Option<Currency>,
    by: Rank,
    limit: u32,
) -> Result<TopProductsView> {
    let currency = match currency {
        Some(currency) => Some(currency),
        None => totals::main_currency(tx, source)?,
    };
    let products = match currency {
        Some(currency) => totals::top_products(tx, source, currency, by, limit)?,
        None => Vec::new(),
    };
    let data = (1..)
        .zip(products)
        .map(|(rank, product)| ProductView {
            rank,
            sku: product.sku,
            description: product.description,
            lines: product.lines,
            quantity: product.quantity,
            revenue: product.revenue,
        })
        .collect();
    Ok(TopProductsView { source: source.as_str().to_owned(), by, currency, data })
}
