//! Operations on money, each inside one transaction: look at the log, check, move, post, note.
//!
//! Invariants: what is decided by is locked until the transaction ends (`rows`); the result is in the log in the same
//! transaction, so a second call with the key changes nothing and is told the same.

use db::{Tx, params};
use kernel::{Currency, Money, Timestamp};

use super::ledger::{House, LedgerAccount, PostingSet};
use super::rows::{self, Balance, Held, Logged};
use super::schema::AMOUNT_MAX;
use super::{Action, Done, HoldId, HoldRequest, HoldState, OnHold, Refusal, Reply};

/// What the bank charges and how long it holds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Terms {
    pub hold_for: std::time::Duration,
    /// Of what is captured, taken from the merchant.
    pub fee_basis_points: i64,
}

/// One operation under way.
struct Operation<'a> {
    key: &'a str,
    action: Action,
    hold_key: &'a str,
    asked: Option<i64>,
    at: Timestamp,
}

impl<'a> Operation<'a> {
    /// What is asked about money that is held.
    fn on_hold(request: &'a OnHold, action: Action, at: Timestamp) -> Self {
        Self { key: &request.key, action, hold_key: &request.hold_key, asked: request.amount_minor, at }
    }

    fn note(&self, tx: &mut Tx<'_>, result: Result<Done, Refusal>) -> Result<Reply, db::Error> {
        tx.keep_new(Logged {
            key: self.key.to_owned(),
            action: self.action,
            hold_key: self.hold_key.to_owned(),
            asked: self.asked,
            result,
            at: self.at,
        })?;
        Ok(Reply { result, replayed: false })
    }

    fn post(
        &self,
        tx: &mut Tx<'_>,
        currency: Currency,
        entries: impl IntoIterator<Item = (LedgerAccount, i64)>,
    ) -> Result<(), db::Error> {
        let set = PostingSet::new(currency, entries).map_err(|error| db::Error::Other(error.to_string()))?;
        set.post(tx, self.key, self.action, self.hold_key, self.at);
        Ok(())
    }
}

/// The answer that was given to this key before.
fn before(tx: &mut Tx<'_>, operation: &Operation<'_>) -> Result<Option<Reply>, db::Error> {
    let logged = rows::logged(tx, operation.key)?;
    Ok(logged.map(|logged| logged.again(operation.action, operation.hold_key, operation.asked)))
}

pub(crate) fn status(tx: &mut Tx<'_>, key: &str) -> Result<Option<Reply>, db::Error> {
    let logged = rows::logged(tx, key)?;
    Ok(logged.map(|logged| Reply { result: logged.result, replayed: true }))
}

pub(crate) fn hold(
    tx: &mut Tx<'_>,
    request: &HoldRequest,
    id: HoldId,
    terms: Terms,
    at: Timestamp,
) -> Result<Reply, db::Error> {
    let amount = request.amount.minor;
    let operation = Operation {
        key: &request.key,
        action: Action::Hold,
        hold_key: &request.hold_key,
        asked: Some(amount),
        at,
    };
    if let Some(reply) = before(tx, &operation)? {
        return Ok(reply);
    }
    let (currency, account) = (request.amount.currency, request.account.as_deref());
    let Some(balance) = rows::charged(tx, request.owner, currency, account)? else {
        return operation.note(tx, Err(Refusal::AccountNotFound));
    };
    match rows::held(tx, &request.hold_key)?.map(|held| held.state) {
        Some(HoldState::Released) => return operation.note(tx, Err(Refusal::HoldReleased)),
        Some(_) => return operation.note(tx, Err(Refusal::HoldConflict)),
        None => {}
    }
    if !(0..=AMOUNT_MAX).contains(&amount) {
        return operation.note(tx, Err(Refusal::AmountInvalid));
    }
    if balance.available < amount {
        return operation.note(tx, Err(Refusal::InsufficientFunds));
    }
    let number = balance.number.clone();
    tx.keep(Balance { available: balance.available - amount, held: balance.held + amount, ..balance });
    tx.keep_new(Held {
        hold_key: request.hold_key.clone(),
        id,
        account: Some(number.clone()),
        currency,
        amount,
        captured: 0,
        refunded: 0,
        state: HoldState::Pending,
        expires_at: at.plus(terms.hold_for),
        created_at: at,
    })?;
    let entries = [(LedgerAccount::Customer(number), -amount), (LedgerAccount::House(House::Hold), amount)];
    operation.post(tx, currency, entries)?;
    operation.note(tx, Ok(Done { hold_id: Some(id), amount_minor: amount }))
}

/// Ends a pending hold: `taken` goes to the merchant, the rest back to the customer.
fn end(
    tx: &mut Tx<'_>,
    operation: &Operation<'_>,
    held: &Held,
    to: HoldState,
    taken: i64,
    fee: i64,
) -> Result<(), db::Error> {
    let Some(account) = &held.account else { return Err(db::Error::NoRow) };
    let balance = rows::balance(tx, account)?.ok_or(db::Error::NoRow)?;
    let rest = held.amount - taken;
    tx.keep(Held { state: to, captured: taken, ..held.clone() });
    tx.keep(Balance { available: balance.available + rest, held: balance.held - held.amount, ..balance });
    let entries = [
        (LedgerAccount::House(House::Hold), -held.amount),
        (LedgerAccount::House(House::Merchant), taken - fee),
        (LedgerAccount::House(House::Fee), fee),
        (LedgerAccount::Customer(account.clone()), rest),
    ];
    operation.post(tx, held.currency, entries)
}

pub(crate) fn capture(
    tx: &mut Tx<'_>,
    request: &OnHold,
    terms: Terms,
    at: Timestamp,
) -> Result<Reply, db::Error> {
    let operation = Operation::on_hold(request, Action::Capture, at);
    if let Some(reply) = before(tx, &operation)? {
        return Ok(reply);
    }
    let held = rows::held(tx, operation.hold_key)?;
    // Not noted: a hold that is still under way may make this key good.
    let Some(held) = held else { return Ok(Reply::refused(Refusal::HoldNotFound)) };
    if held.state == HoldState::Pending && held.expires_at <= at {
        expire_one(tx, operation.hold_key, &held, at)?;
        return operation.note(tx, Err(Refusal::HoldExpired));
    }
    let taken = request.amount_minor.unwrap_or(held.amount);
    let refusal = match held.state {
        HoldState::Released => Some(Refusal::HoldReleased),
        HoldState::Expired => Some(Refusal::HoldExpired),
        HoldState::Captured => Some(Refusal::HoldCaptured),
        HoldState::Pending if taken < 0 => Some(Refusal::AmountInvalid),
        HoldState::Pending if taken > held.amount => Some(Refusal::AmountTooLarge),
        HoldState::Pending => None,
    };
    if let Some(refusal) = refusal {
        return operation.note(tx, Err(refusal));
    }
    let fee = Money::new(taken, held.currency).basis_points(terms.fee_basis_points);
    let fee = fee.map_err(|error| db::Error::Other(error.to_string()))?.minor;
    end(tx, &operation, &held, HoldState::Captured, taken, fee)?;
    operation.note(tx, Ok(Done { hold_id: Some(held.id), amount_minor: taken }))
}

pub(crate) fn release(
    tx: &mut Tx<'_>,
    request: &OnHold,
    mark: HoldId,
    at: Timestamp,
) -> Result<Reply, db::Error> {
    let operation = Operation::on_hold(request, Action::Release, at);
    if let Some(reply) = before(tx, &operation)? {
        return Ok(reply);
    }
    let held = rows::held(tx, operation.hold_key)?;
    let Some(held) = held else {
        tx.keep_new(Held {
            hold_key: request.hold_key.clone(),
            id: mark,
            account: None,
            currency: Currency::NONE,
            amount: 0,
            captured: 0,
            refunded: 0,
            state: HoldState::Released,
            expires_at: at,
            created_at: at,
        })?;
        return operation.note(tx, Ok(Done { hold_id: None, amount_minor: 0 }));
    };
    match held.state {
        HoldState::Pending => {
            end(tx, &operation, &held, HoldState::Released, 0, 0)?;
            operation.note(tx, Ok(Done { hold_id: Some(held.id), amount_minor: held.amount }))
        }
        HoldState::Released | HoldState::Expired => {
            operation.note(tx, Ok(Done { hold_id: Some(held.id), amount_minor: 0 }))
        }
        HoldState::Captured => operation.note(tx, Err(Refusal::HoldCaptured)),
    }
}

pub(crate) fn refund(tx: &mut Tx<'_>, request: &OnHold, at: Timestamp) -> Result<Reply, db::Error> {
    let operation = Operation::on_hold(request, Action::Refund, at);
    if let Some(reply) = before(tx, &operation)? {
        return Ok(reply);
    }
    let held = rows::held(tx, operation.hold_key)?;
    let Some(held) = held else { return Ok(Reply::refused(Refusal::HoldNotFound)) };
    let amount = request.amount_minor.unwrap_or(held.captured - held.refunded);
    let (HoldState::Captured, Some(account)) = (held.state, &held.account) else {
        return operation.note(tx, Err(Refusal::NotCaptured));
    };
    if amount < 0 {
        return operation.note(tx, Err(Refusal::AmountInvalid));
    }
    if amount > held.captured - held.refunded {
        return operation.note(tx, Err(Refusal::AmountTooLarge));
    }
    let balance = rows::balance(tx, account)?.ok_or(db::Error::NoRow)?;
    tx.keep(Held { refunded: held.refunded + amount, ..held.clone() });
    tx.keep(Balance { available: balance.available + amount, ..balance });
    let entries =
        [(LedgerAccount::House(House::Refund), -amount), (LedgerAccount::Customer(account.clone()), amount)];
    operation.post(tx, held.currency, entries)?;
    operation.note(tx, Ok(Done { hold_id: Some(held.id), amount_minor: amount }))
}

fn expire_one(tx: &mut Tx<'_>, hold_key: &str, held: &Held, at: Timestamp) -> Result<(), db::Error> {
    let key = format!("expire:{}", held.id);
    let operation = Operation { key: &key, action: Action::Expire, hold_key, asked: None, at };
    end(tx, &operation, held, HoldState::Expired, 0, 0)?;
    operation.note(tx, Ok(Done { hold_id: Some(held.id), amount_minor: held.amount })).map(drop)
}

/// Frees holds that have stood too long; answers their keys.
pub(crate) fn expire(tx: &mut Tx<'_>, at: Timestamp, limit: u32) -> Result<Vec<String>, db::Error> {
    let sql = "SELECT hold_key FROM bank_holds WHERE state = 'pending' AND expires_at <= ? \
               ORDER BY expires_at LIMIT ?";
    let keys: Vec<String> = tx.query(sql, params![at, limit], |row| row.get(0))?;
    for hold_key in &keys {
        // It may have ended in this transaction.
        if let Some(held) = rows::held(tx, hold_key)?.filter(|held| held.state == HoldState::Pending) {
            expire_one(tx, hold_key, &held, at)?;
        }
    }
    Ok(keys)
}

/// Puts test money on an account. `false`: the balance would leave its range.
pub(crate) fn deposit(
    tx: &mut Tx<'_>,
    key: &str,
    number: &str,
    amount: Money,
    at: Timestamp,
) -> Result<bool, db::Error> {
    let operation = Operation { key, action: Action::Deposit, hold_key: "", asked: Some(amount.minor), at };
    let Some(balance) = rows::balance(tx, number)?.filter(|found| found.currency == amount.currency) else {
        return Ok(false);
    };
    if balance.available + balance.held > AMOUNT_MAX - amount.minor {
        return Ok(false);
    }
    tx.keep(Balance { available: balance.available + amount.minor, ..balance });
    let customer = LedgerAccount::Customer(number.to_owned());
    let entries = [(LedgerAccount::House(House::External), -amount.minor), (customer, amount.minor)];
    operation.post(tx, amount.currency, entries)?;
    operation.note(tx, Ok(Done { hold_id: None, amount_minor: amount.minor }))?;
    Ok(true)
}
