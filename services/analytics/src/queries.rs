//! Reads: rows as views. Every answer is one snapshot.

use db::Tx;
use kernel::{Currency, Error, Money, Result, Timestamp};
use serde::Serialize;

use crate::domain::{Minutes, Source, Window, ZONE, average, minute_start};
use crate::store::orders::{self, Ending};
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

/// How many, and why.
#[derive(Debug, Clone, Serialize, schemars::JsonSchema)]
pub struct ReasonView {
    pub reason: String,
    pub count: i64,
}

/// One window of the summary.
#[derive(Debug, Serialize, schemars::JsonSchema)]
pub struct PeriodView {
    pub from: Timestamp,
    /// Not part of the window.
    pub to: Timestamp,
    /// Confirmed orders that were placed in the window and are not cancelled.
    pub orders: i64,
    /// What they are worth, by currency.
    pub revenue: Vec<Money>,
    /// Revenue ÷ orders by currency, rounded half up to minor units.
    pub average_order_value: Vec<Money>,
    /// Orders cancelled within the window.
    pub cancellations: i64,
    /// Orders that were placed in the window and rejected.
    pub rejected: Vec<ReasonView>,
    /// Lines from outside that were taken in within the window.
    pub external_transactions: i64,
    /// Lines from outside that came again.
    pub external_duplicates: i64,
    /// Lines from outside that were not taken.
    pub external_rejected: Vec<ReasonView>,
}

#[derive(Debug, Serialize, schemars::JsonSchema)]
pub struct SummaryView {
    pub window: Window,
    /// The zone of days and months; windows are whole minutes and need none.
    pub zone: &'static str,
    /// When these numbers were read.
    pub as_of: Timestamp,
    /// The time of the latest order event in them; absent where there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_event_at: Option<Timestamp>,
    /// Ends with the running minute.
    pub current: PeriodView,
    pub previous: PeriodView,
}

pub fn summary(tx: &mut Tx<'_>, window: Window, now: Timestamp) -> Result<SummaryView> {
    let mut last_event_at = None;
    let current = period(tx, &window.current(now), &mut last_event_at)?;
    let previous = period(tx, &window.previous(now), &mut last_event_at)?;
    Ok(SummaryView { window, zone: ZONE, as_of: now, last_event_at, current, previous })
}

fn period(tx: &mut Tx<'_>, minutes: &Minutes, last: &mut Option<Timestamp>) -> Result<PeriodView> {
    let mut sums: std::collections::BTreeMap<Currency, (i64, Money)> = std::collections::BTreeMap::new();
    for minute in orders::minutes(tx, minutes)? {
        let currency = minute.revenue.currency;
        let (orders, revenue) = sums.entry(currency).or_insert((0, Money::zero(currency)));
        *orders += minute.orders;
        *revenue = revenue
            .plus(minute.revenue)
            .map_err(|error| Error::conflict("total_overflow", error.to_string()))?;
        *last = (*last).max(Some(minute.last_event_at));
    }
    let mut ended = |ending| -> Result<Vec<ReasonView>> {
        let rows = orders::endings(tx, ending, minutes)?;
        *last = rows.iter().map(|(_, _, at)| *at).max().max(*last);
        Ok(rows.into_iter().map(|(reason, count, _)| ReasonView { reason, count }).collect())
    };
    let cancelled = ended(Ending::Cancelled)?;
    let rejected = ended(Ending::Rejected)?;
    let ingest = totals::ingest_counts(tx, minutes)?;
    let ingested = |wanted: &str| {
        ingest.iter().filter(|(result, _)| result == wanted).map(|(_, count)| *count).sum::<i64>()
    };
    let average_of = |(orders, revenue): &(i64, Money)| {
        average(revenue.minor, *orders).map(|minor| Money::new(minor, revenue.currency))
    };
    Ok(PeriodView {
        from: minute_start(minutes.start),
        to: minute_start(minutes.end),
        orders: sums.values().map(|(orders, _)| orders).sum(),
        revenue: sums.values().map(|(_, revenue)| *revenue).collect(),
        average_order_value: sums.values().filter_map(average_of).collect(),
        cancellations: cancelled.iter().map(|row| row.count).sum(),
        rejected,
        external_transactions: ingested("accepted"),
        external_duplicates: ingested("duplicate"),
        external_rejected: ingest
            .iter()
            .filter(|(result, _)| result != "accepted" && result != "duplicate")
            .map(|(result, count)| ReasonView { reason: result.clone(), count: *count })
            .collect(),
    })
}
