//! What sales lines add up to: lines, invoices, cancellations, stock codes and money by currency.
//!
//! Invariant: these are the platform's own definitions (`GET /api/v1/analytics/totals`), so that the two can be compared
//! to the penny: a cancellation is an invoice whose number begins with `C`, a stock code counts as it is spelled.

use std::collections::{BTreeMap, HashSet};

use kernel::{Currency, Money};

use super::Transaction;

/// Counts transactions; memory grows with different invoices and stock codes, not with lines.
#[derive(Debug, Default)]
pub struct Tally {
    lines: u64,
    invoices: HashSet<Box<str>>,
    cancellations: u64,
    stock_codes: HashSet<Box<str>>,
    totals: BTreeMap<Currency, i128>,
}

impl Tally {
    pub fn add(&mut self, transaction: &Transaction) {
        self.lines += 1;
        if !self.invoices.contains(transaction.invoice.as_str()) {
            self.invoices.insert(transaction.invoice.as_str().into());
            self.cancellations += u64::from(transaction.invoice.starts_with('C'));
        }
        if !self.stock_codes.contains(transaction.sku.as_str()) {
            self.stock_codes.insert(transaction.sku.as_str().into());
        }
        *self.totals.entry(transaction.amount.currency).or_default() += i128::from(transaction.amount.minor);
    }

    pub fn lines(&self) -> u64 {
        self.lines
    }

    pub fn invoices(&self) -> u64 {
        self.invoices.len() as u64
    }

    pub fn cancellations(&self) -> u64 {
        self.cancellations
    }

    pub fn stock_codes(&self) -> u64 {
        self.stock_codes.len() as u64
    }

    /// One sum a currency; a sum that leaves 64 bits is given as the nearest that does not.
    pub fn totals(&self) -> Vec<Money> {
        let clamped = |sum: i128| i64::try_from(sum).unwrap_or(if sum < 0 { i64::MIN } else { i64::MAX });
        self.totals.iter().map(|(&currency, &sum)| Money::new(clamped(sum), currency)).collect()
    }
}
