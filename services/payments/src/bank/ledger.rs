//! The double-entry ledger: sets of postings that sum to zero, written once and never changed.
//!
//! Invariants: a set that does not balance cannot be made; a correction is a new set; the accounts of the house are
//! one a currency, and their balances are the sums of their postings.

use db::{Late, Param, ToParam, Tx};
use kernel::{Currency, Timestamp};

use super::Action;
use crate::words::words;

words! {
    /// The bank's own accounts.
    pub enum House {
        /// Money that is held; its balance is the sum of all pending holds.
        Hold => "hold",
        /// What merchants have taken.
        Merchant => "merchant",
        Fee => "fee",
        /// What was given back; never above zero.
        Refund => "refund",
        /// What belongs to nobody until somebody has looked at it.
        Suspense => "suspense",
        /// Where deposits come from; never above zero.
        External => "external",
    }
}

impl House {
    /// The account's name in the ledger: `merchant:KRW`.
    pub fn in_currency(self, currency: Currency) -> String {
        format!("{}:{currency}", self.as_str())
    }
}

/// One side of a posting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LedgerAccount {
    /// By its number.
    Customer(String),
    House(House),
}

/// Postings that belong together and sum to zero.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PostingSet {
    currency: Currency,
    entries: Vec<(LedgerAccount, i64)>,
}

/// One side of a set on its way: all sets of a transaction are written together.
struct Posting {
    op_key: String,
    account: String,
    currency: Currency,
    amount: i64,
    action: Action,
    hold_key: String,
    at: Timestamp,
}

impl Late for Posting {
    fn write(postings: Vec<Self>, tx: &mut Tx<'_>) -> Result<(), db::Error> {
        fn values(posting: &Posting) -> [Param<'_>; 7] {
            [
                posting.op_key.to_param(),
                posting.account.to_param(),
                posting.currency.to_param(),
                posting.amount.to_param(),
                posting.action.as_str().to_param(),
                posting.hold_key.to_param(),
                posting.at.to_param(),
            ]
        }
        let into = "INSERT INTO bank_postings (op_key, account, currency, amount, action, hold_key, at)";
        tx.insert_rows(into, 7, &postings.iter().flat_map(values).collect::<Vec<_>>(), "")
    }
}

/// The amounts do not sum to zero, or leave the range.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the postings do not balance")]
pub struct Unbalanced;

impl PostingSet {
    /// Amounts of zero are left out.
    pub fn new(
        currency: Currency,
        entries: impl IntoIterator<Item = (LedgerAccount, i64)>,
    ) -> Result<Self, Unbalanced> {
        let entries: Vec<_> = entries.into_iter().filter(|(_, amount)| *amount != 0).collect();
        let sum = entries.iter().try_fold(0_i64, |sum, (_, amount)| sum.checked_add(*amount));
        if sum == Some(0) { Ok(Self { currency, entries }) } else { Err(Unbalanced) }
    }

    /// Adds the set as that of one operation.
    pub(crate) fn post(&self, tx: &mut Tx<'_>, op_key: &str, action: Action, hold_key: &str, at: Timestamp) {
        for (account, amount) in &self.entries {
            tx.at_the_end(Posting {
                op_key: op_key.to_owned(),
                account: self.name(account),
                currency: self.currency,
                amount: *amount,
                action,
                hold_key: hold_key.to_owned(),
                at,
            });
        }
    }

    fn name(&self, account: &LedgerAccount) -> String {
        match account {
            LedgerAccount::Customer(number) => number.clone(),
            LedgerAccount::House(house) => house.in_currency(self.currency),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_that_does_not_sum_to_zero_cannot_be_made() {
        let house = LedgerAccount::House;
        let good = PostingSet::new(Currency::KRW, [(house(House::Hold), -5), (house(House::Merchant), 5)]);
        assert!(good.is_ok());
        for amounts in [[1, 1], [i64::MAX, 1], [-3, 2]] {
            let entries = [(house(House::Hold), amounts[0]), (house(House::Fee), amounts[1])];
            assert_eq!(PostingSet::new(Currency::KRW, entries), Err(Unbalanced));
        }
    }
}
