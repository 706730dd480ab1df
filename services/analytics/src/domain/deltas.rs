//! What one batch adds to the totals of its source, added up before anything is written.
//!
//! Invariant: the sum of the absolute amounts of a source and currency ([`Gross`]) fits 64 bits, and every total is a sum
//! over some of the same lines, so no total can leave that range: one check covers them all.

use std::collections::{BTreeMap, BTreeSet};

use kernel::{Currency, Timestamp};

use super::calendar::month_of;
use super::transaction::{Transaction, TransactionInput};
use super::tumble::Size;

/// Absolute amounts by currency and absolute quantities of one source, those of the batch under way included.
#[derive(Debug, Default)]
pub struct Gross {
    pub quantity: i64,
    pub amounts: BTreeMap<Currency, i64>,
}

impl Gross {
    /// Adds a line; `false`, and nothing changed, where a total could overflow.
    #[must_use]
    pub fn take(&mut self, line: &Transaction) -> bool {
        let line = line.fields();
        let amount = self.amounts.get(&line.currency).copied().unwrap_or(0);
        let quantity = line.quantity.unwrap_or(0);
        let (Some(amount), Some(quantity)) = (add(amount, line.amount), add(self.quantity, quantity)) else {
            return false;
        };
        self.amounts.insert(line.currency, amount);
        self.quantity = quantity;
        true
    }

    /// Takes back what [`Gross::take`] added: the line turned out not to be new.
    pub fn give_back(&mut self, line: &Transaction) {
        let line = line.fields();
        if let Some(amount) = self.amounts.get_mut(&line.currency) {
            *amount -= absolute(line.amount).unwrap_or(0);
        }
        self.quantity -= absolute(line.quantity.unwrap_or(0)).unwrap_or(0);
    }
}

fn absolute(value: i64) -> Option<i64> {
    i64::try_from(value.unsigned_abs()).ok()
}

fn add(gross: i64, value: i64) -> Option<i64> {
    gross.checked_add(absolute(value)?)
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Sum {
    pub lines: i64,
    pub amount: i64,
    pub gross: i64,
}

impl Sum {
    fn add(&mut self, line: &TransactionInput) {
        self.lines += 1;
        self.amount += line.amount;
        self.gross += absolute(line.amount).unwrap_or(0);
    }
}

/// A product's part. Its description is that of its latest line, and of two at one time the greater text, so that it
/// does not depend on the order in which lines arrive.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Product<'a> {
    pub sum: Sum,
    pub quantity: i64,
    pub described: (Timestamp, &'a str),
}

/// The additions of one batch, each table's in the order of its key.
#[derive(Debug, Default)]
pub struct Deltas<'a> {
    pub lines: i64,
    pub gross_quantity: i64,
    pub currencies: BTreeMap<Currency, Sum>,
    pub months: BTreeMap<(i64, Currency), Sum>,
    /// Hours and days of Seoul, by size and beginning.
    pub windows: BTreeMap<(Size, i64, Currency), Sum>,
    pub categories: BTreeMap<(&'a str, Currency), Sum>,
    pub products: BTreeMap<(Currency, &'a str), Product<'a>>,
    pub skus: BTreeSet<&'a str>,
    pub invoices: BTreeSet<&'a str>,
}

impl<'a> Deltas<'a> {
    /// Adds a line for which [`Gross`] has room.
    pub fn add(&mut self, line: &'a Transaction) {
        let line = line.fields();
        let quantity = line.quantity.unwrap_or(0);
        self.lines += 1;
        self.gross_quantity += absolute(quantity).unwrap_or(0);
        self.currencies.entry(line.currency).or_default().add(line);
        self.months.entry((month_of(line.occurred_at), line.currency)).or_default().add(line);
        for size in [Size::Hour, Size::Day] {
            let key = (size, size.start_of(line.occurred_at), line.currency);
            self.windows.entry(key).or_default().add(line);
        }
        self.categories.entry((&line.category, line.currency)).or_default().add(line);
        self.invoices.extend(line.invoice.as_deref());
        if let Some(sku) = &line.sku {
            self.skus.insert(sku);
            let product = self.products.entry((line.currency, sku)).or_default();
            product.sum.add(line);
            product.quantity += quantity;
            product.described = product.described.max((line.occurred_at, &line.description));
        }
    }
}
