//! Accounts at the counter: open, look up, deposit, list entries and holds.
//!
//! Invariant: numbers come from a sequence in the transaction that opens the account, so no two are alike.

use contracts::UserId;
use db::{Row, Tx, params};
use kernel::{Currency, Error, Money, Timestamp};

use super::{Action, operations, rows};

const PER_OWNER_MAX: i64 = 20;
const NUMBER_MAX: i64 = 9_999_999;

/// An account of a customer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Account {
    pub id: i64,
    pub number: String,
    pub owner: UserId,
    pub currency: Currency,
    pub available: i64,
    pub held: i64,
    pub has_pin: bool,
    pub opened_at: Timestamp,
}

const COLUMNS: &str = "id, number, owner_id, currency, available, held, pin_hash, opened_at";

fn read(row: &Row<'_>) -> Result<Account, db::Error> {
    Ok(Account {
        id: row.get(0)?,
        number: row.get(1)?,
        owner: row.parse(2)?,
        currency: row.parse(3)?,
        available: row.get(4)?,
        held: row.get(5)?,
        has_pin: row.get::<Option<String>>(6)?.is_some(),
        opened_at: row.get(7)?,
    })
}

/// With what operations of this transaction have done to it.
fn up_to_date(tx: &mut Tx<'_>, account: Account) -> Account {
    match rows::known_balance(tx, &account.number) {
        Some(known) => Account { available: known.available, held: known.held, ..account },
        None => account,
    }
}

pub(crate) fn find(tx: &mut Tx<'_>, number: &str) -> Result<Option<Account>, db::Error> {
    let sql = format!("SELECT {COLUMNS} FROM bank_accounts WHERE number = ?");
    let found = tx.query_opt(&sql, params![number], read)?;
    Ok(found.map(|account| up_to_date(tx, account)))
}

/// The oldest account of the owner in a currency: the one that is charged where none is named.
pub(crate) fn oldest(
    tx: &mut Tx<'_>,
    owner: UserId,
    currency: Currency,
) -> Result<Option<Account>, db::Error> {
    let sql = format!(
        "SELECT {COLUMNS} FROM bank_accounts WHERE owner_id = ? AND currency = ? ORDER BY id LIMIT 1"
    );
    let found = tx.query_opt(&sql, params![owner.to_string(), currency], read)?;
    Ok(found.map(|account| up_to_date(tx, account)))
}

pub(crate) fn list(
    tx: &mut Tx<'_>,
    owner: UserId,
    after: i64,
    limit: u32,
) -> Result<Vec<Account>, db::Error> {
    let sql =
        format!("SELECT {COLUMNS} FROM bank_accounts WHERE owner_id = ? AND id > ? ORDER BY id LIMIT ?");
    tx.query(&sql, params![owner.to_string(), after, limit], read)
}

pub(crate) fn open(
    tx: &mut Tx<'_>,
    owner: UserId,
    currency: Currency,
    pin_hash: Option<&str>,
    now: Timestamp,
) -> Result<Account, Error> {
    // First of all: its row is the lock behind which the owner's accounts are counted.
    tx.execute("UPDATE bank_counters SET next_value = next_value + 1 WHERE name = 'account'", params![])?;
    let sql = "SELECT COUNT(*) FROM bank_accounts WHERE owner_id = ?";
    let count: i64 = tx.query_one(sql, params![owner.to_string()], |row| row.get(0))?;
    if count >= PER_OWNER_MAX {
        return Err(Error::conflict(
            "too_many_accounts",
            format!("a user has at most {PER_OWNER_MAX} accounts"),
        ));
    }
    let sql = "SELECT next_value - 1 FROM bank_counters WHERE name = 'account'";
    let sequence: i64 = tx.query_one(sql, params![], |row| row.get(0))?;
    if sequence > NUMBER_MAX {
        return Err(Error::unavailable("account_numbers_used_up", "the bank has no account numbers left"));
    }
    let number = format!("1002-200-{sequence:07}");
    tx.execute(
        "INSERT INTO bank_accounts (number, owner_id, currency, available, held, pin_hash, pin_failures, opened_at) \
         VALUES (?, ?, ?, 0, 0, ?, 0, ?)",
        params![number, owner.to_string(), currency, pin_hash, now],
    )?;
    Ok(find(tx, &number)?.ok_or(db::Error::NoRow)?)
}

/// Puts test money on an account. `key` is the operation's, unused so far.
pub(crate) fn deposit(
    tx: &mut Tx<'_>,
    key: &str,
    account: &Account,
    amount: Money,
    now: Timestamp,
) -> Result<Account, Error> {
    if amount.currency != account.currency {
        let detail = format!("this account is in {}", account.currency);
        return Err(Error::field("/amount/currency", "currency_mismatch", detail));
    }
    if !(1..=super::schema::AMOUNT_MAX).contains(&amount.minor) {
        return Err(Error::field("/amount/amount", "out_of_range", "a deposit is more than zero"));
    }
    if !operations::deposit(tx, key, &account.number, amount, now)? {
        return Err(Error::field("/amount/amount", "out_of_range", "the account cannot take that much"));
    }
    Ok(find(tx, &account.number)?.ok_or(db::Error::NoRow)?)
}

/// A posting on a customer's account: what became available (positive) or ceased to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub id: i64,
    pub amount: Money,
    pub action: Action,
    pub hold_key: String,
    pub at: Timestamp,
}

/// Newest first, older than `before`.
pub(crate) fn entries(
    tx: &mut Tx<'_>,
    number: &str,
    before: i64,
    limit: u32,
) -> Result<Vec<Entry>, db::Error> {
    let sql = "SELECT id, amount, currency, action, hold_key, at FROM bank_postings \
               WHERE account = ? AND id < ? ORDER BY id DESC LIMIT ?";
    tx.query(sql, params![number, before, limit], |row| {
        Ok(Entry {
            id: row.get(0)?,
            amount: row.money(1)?,
            action: row.parse(3)?,
            hold_key: row.get(4)?,
            at: row.get(5)?,
        })
    })
}
