//! Operations on money, each inside one transaction: look at the log, check, move, post, note.
//!
//! Invariants: every change of a balance is one conditional UPDATE, never read–modify–write; the result is in the
//! log in the same transaction, so a second call with the key changes nothing and is told the same.

use db::{Late, Param, Row, ToParam, Tx, params};
use kernel::{Currency, Money, Timestamp};

use super::ledger::{House, LedgerAccount, PostingSet};
use super::schema::AMOUNT_MAX;
use super::{Action, Done, HoldId, HoldRequest, HoldState, OnHold, Refusal, Reply};

/// What the bank charges and how long it holds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Terms {
    pub hold_for: std::time::Duration,
    /// Of what is captured, taken from the merchant.
    pub fee_basis_points: i64,
}

/// A row of the log.
struct Logged {
    action: Action,
    hold_key: String,
    asked: Option<i64>,
    reply: Reply,
}

/// The columns of the log, in the order in which [`Logged::read`] wants them.
const LOG: &str = "o.action, o.hold_key, o.asked, o.outcome, o.amount, o.hold_id";

impl Logged {
    /// `None` where a LEFT JOIN found no operation.
    fn read(row: &Row<'_>, first: usize) -> Result<Option<Self>, db::Error> {
        if row.get::<Option<String>>(first)?.is_none() {
            return Ok(None);
        }
        let outcome: String = row.get(first + 3)?;
        let result = if outcome == "done" {
            Ok(Done { hold_id: row.parse_opt(first + 5)?, amount_minor: row.get(first + 4)? })
        } else {
            Err(row.parse::<Refusal>(first + 3)?)
        };
        Ok(Some(Self {
            action: row.parse(first)?,
            hold_key: row.get(first + 1)?,
            asked: row.get(first + 2)?,
            reply: Reply { result, replayed: true },
        }))
    }

    /// The kept answer, where the key is used for the same thing again.
    fn again(self, action: Action, hold_key: &str, asked: Option<i64>) -> Reply {
        if self.action == action && self.hold_key == hold_key && self.asked == asked {
            return self.reply;
        }
        Reply::refused(Refusal::KeyReused)
    }
}

/// A row of the log on its way. Of two with one key the second is refused, with all that its transaction has done, and finds
/// the first when it is run again.
struct Noted {
    key: String,
    action: Action,
    hold_key: String,
    asked: Option<i64>,
    outcome: &'static str,
    amount: i64,
    hold_id: Option<String>,
    at: Timestamp,
}

impl Late for Noted {
    fn write(noted: Vec<Self>, tx: &mut Tx<'_>) -> Result<(), db::Error> {
        fn values(noted: &Noted) -> [Param<'_>; 8] {
            [
                noted.key.to_param(),
                noted.action.as_str().to_param(),
                noted.hold_key.to_param(),
                noted.asked.to_param(),
                noted.outcome.to_param(),
                noted.amount.to_param(),
                noted.hold_id.to_param(),
                noted.at.to_param(),
            ]
        }
        let into =
            "INSERT INTO bank_operations (op_key, action, hold_key, asked, outcome, amount, hold_id, at)";
        tx.insert_rows(into, 8, &noted.iter().flat_map(values).collect::<Vec<_>>(), "")
    }
}

/// A new hold on its way: who reads it has been told of it, after the commit.
struct Pending {
    hold_key: String,
    id: HoldId,
    account: String,
    amount: Money,
    expires_at: Timestamp,
    at: Timestamp,
}

impl Late for Pending {
    fn write(holds: Vec<Self>, tx: &mut Tx<'_>) -> Result<(), db::Error> {
        fn values(hold: &Pending) -> [Param<'_>; 10] {
            [
                hold.hold_key.to_param(),
                Param::Text(hold.id.to_string().into()),
                hold.account.to_param(),
                hold.amount.currency.to_param(),
                hold.amount.minor.to_param(),
                Param::Int(0),
                Param::Int(0),
                HoldState::Pending.as_str().to_param(),
                hold.expires_at.to_param(),
                hold.at.to_param(),
            ]
        }
        let into = "INSERT INTO bank_holds (hold_key, id, account, currency, amount, captured, refunded, state, \
                    expires_at, created_at)";
        tx.insert_rows(into, 10, &holds.iter().flat_map(values).collect::<Vec<_>>(), "")
    }
}

/// One operation under way.
struct Operation<'a> {
    key: &'a str,
    action: Action,
    hold_key: &'a str,
    asked: Option<i64>,
    at: Timestamp,
}

impl Operation<'_> {
    fn note(&self, tx: &mut Tx<'_>, result: Result<Done, Refusal>) -> Result<Reply, db::Error> {
        let (outcome, amount, hold_id) = match &result {
            Ok(done) => ("done", done.amount_minor, done.hold_id.map(|id| id.to_string())),
            Err(refusal) => (refusal.as_str(), 0, None),
        };
        tx.at_the_end(Noted {
            key: self.key.to_owned(),
            action: self.action,
            hold_key: self.hold_key.to_owned(),
            asked: self.asked,
            outcome,
            amount,
            hold_id,
            at: self.at,
        });
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

/// A conditional UPDATE must have hit its row: what was read in this transaction still holds.
fn expect_one(changed: usize) -> Result<(), db::Error> {
    if changed == 1 { Ok(()) } else { Err(db::Error::Busy) }
}

pub(crate) fn status(tx: &mut Tx<'_>, key: &str) -> Result<Option<Reply>, db::Error> {
    let sql = format!("SELECT {LOG} FROM bank_operations o WHERE o.op_key = ?");
    Ok(tx.query_opt(&sql, params![key], |row| Logged::read(row, 0))?.flatten().map(|logged| logged.reply))
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
    let by_number = if request.account.is_some() { "AND a.number = ?" } else { "AND ? IS NULL" };
    let sql = format!(
        "SELECT a.number, h.state, {LOG} FROM bank_accounts a LEFT JOIN bank_operations o ON o.op_key = ? \
         LEFT JOIN bank_holds h ON h.hold_key = ? WHERE a.owner_id = ? AND a.currency = ? {by_number} \
         ORDER BY a.id LIMIT 1"
    );
    let owner = request.owner.to_string();
    let values = params![request.key, request.hold_key, owner, request.amount.currency, request.account];
    let found = tx.query_opt(&sql, values, |row| {
        Ok((row.get::<String>(0)?, row.parse_opt::<HoldState>(1)?, Logged::read(row, 2)?))
    })?;
    let logged_without_account = |tx: &mut Tx<'_>| -> Result<Option<Logged>, db::Error> {
        let sql = format!("SELECT {LOG} FROM bank_operations o WHERE o.op_key = ?");
        Ok(tx.query_opt(&sql, params![request.key], |row| Logged::read(row, 0))?.flatten())
    };
    let Some((number, hold, logged)) = found else {
        return match logged_without_account(tx)? {
            Some(logged) => Ok(logged.again(Action::Hold, &request.hold_key, Some(amount))),
            None => operation.note(tx, Err(Refusal::AccountNotFound)),
        };
    };
    if let Some(logged) = logged {
        return Ok(logged.again(Action::Hold, &request.hold_key, Some(amount)));
    }
    match hold {
        Some(HoldState::Released) => return operation.note(tx, Err(Refusal::HoldReleased)),
        Some(_) => return operation.note(tx, Err(Refusal::HoldConflict)),
        None => {}
    }
    if !(0..=AMOUNT_MAX).contains(&amount) {
        return operation.note(tx, Err(Refusal::AmountInvalid));
    }
    let taken = tx.execute(
        "UPDATE bank_accounts SET available = available - ?, held = held + ? WHERE number = ? AND available >= ?",
        params![amount, amount, number, amount],
    )?;
    if taken == 0 {
        return operation.note(tx, Err(Refusal::InsufficientFunds));
    }
    tx.at_the_end(Pending {
        hold_key: request.hold_key.clone(),
        id,
        account: number.clone(),
        amount: request.amount,
        expires_at: at.plus(terms.hold_for),
        at,
    });
    let entries = [(LedgerAccount::Customer(number), -amount), (LedgerAccount::House(House::Hold), amount)];
    operation.post(tx, request.amount.currency, entries)?;
    operation.note(tx, Ok(Done { hold_id: Some(id), amount_minor: amount }))
}

/// A hold's row.
struct Held {
    id: HoldId,
    /// Absent where a release came before the hold.
    account: Option<String>,
    currency: Currency,
    amount: i64,
    captured: i64,
    refunded: i64,
    state: HoldState,
    expires_at: Timestamp,
}

/// The hold and the log's row for the key, in one look.
fn load(tx: &mut Tx<'_>, request: &OnHold) -> Result<(Option<Held>, Option<Logged>), db::Error> {
    let sql = format!(
        "SELECT h.id, h.account, h.currency, h.amount, h.captured, h.refunded, h.state, h.expires_at, {LOG} \
         FROM bank_holds h LEFT JOIN bank_operations o ON o.op_key = ? WHERE h.hold_key = ?"
    );
    let found = tx.query_opt(&sql, params![request.key, request.hold_key], |row| {
        let held = Held {
            id: row.parse(0)?,
            account: row.get(1)?,
            currency: row.parse(2)?,
            amount: row.get(3)?,
            captured: row.get(4)?,
            refunded: row.get(5)?,
            state: row.parse(6)?,
            expires_at: row.get(7)?,
        };
        Ok((held, Logged::read(row, 8)?))
    })?;
    match found {
        Some((held, logged)) => Ok((Some(held), logged)),
        None => {
            let sql = format!("SELECT {LOG} FROM bank_operations o WHERE o.op_key = ?");
            Ok((None, tx.query_opt(&sql, params![request.key], |row| Logged::read(row, 0))?.flatten()))
        }
    }
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
    let ended = tx.execute(
        "UPDATE bank_holds SET state = ?, captured = ? WHERE hold_key = ? AND state = 'pending'",
        params![to.as_str(), taken, operation.hold_key],
    )?;
    expect_one(ended)?;
    let Some(account) = &held.account else { return Err(db::Error::NoRow) };
    let rest = held.amount - taken;
    let moved = tx.execute(
        "UPDATE bank_accounts SET held = held - ?, available = available + ? WHERE number = ? AND held >= ?",
        params![held.amount, rest, account, held.amount],
    )?;
    expect_one(moved)?;
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
    let operation = Operation {
        key: &request.key,
        action: Action::Capture,
        hold_key: &request.hold_key,
        asked: request.amount_minor,
        at,
    };
    let (held, logged) = load(tx, request)?;
    if let Some(logged) = logged {
        return Ok(logged.again(operation.action, operation.hold_key, operation.asked));
    }
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
    let operation = Operation {
        key: &request.key,
        action: Action::Release,
        hold_key: &request.hold_key,
        asked: request.amount_minor,
        at,
    };
    let (held, logged) = load(tx, request)?;
    if let Some(logged) = logged {
        return Ok(logged.again(operation.action, operation.hold_key, operation.asked));
    }
    let Some(held) = held else {
        tx.execute(
            "INSERT INTO bank_holds (hold_key, id, account, currency, amount, captured, refunded, state, \
             expires_at, created_at) VALUES (?, ?, NULL, ?, 0, 0, 0, 'released', ?, ?)",
            params![request.hold_key, mark.to_string(), kernel::Currency::NONE, at, at],
        )?;
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
    let operation = Operation {
        key: &request.key,
        action: Action::Refund,
        hold_key: &request.hold_key,
        asked: request.amount_minor,
        at,
    };
    let (held, logged) = load(tx, request)?;
    if let Some(logged) = logged {
        return Ok(logged.again(operation.action, operation.hold_key, operation.asked));
    }
    let Some(held) = held else { return Ok(Reply::refused(Refusal::HoldNotFound)) };
    let amount = request.amount_minor.unwrap_or(held.captured - held.refunded);
    let (HoldState::Captured, Some(account)) = (held.state, &held.account) else {
        return operation.note(tx, Err(Refusal::NotCaptured));
    };
    if amount < 0 {
        return operation.note(tx, Err(Refusal::AmountInvalid));
    }
    let given = tx.execute(
        "UPDATE bank_holds SET refunded = refunded + ? WHERE hold_key = ? AND refunded + ? <= captured",
        params![amount, request.hold_key, amount],
    )?;
    if given == 0 {
        return operation.note(tx, Err(Refusal::AmountTooLarge));
    }
    let moved = tx.execute(
        "UPDATE bank_accounts SET available = available + ? WHERE number = ?",
        params![amount, account],
    )?;
    expect_one(moved)?;
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
        let wanted = OnHold { key: String::new(), hold_key: hold_key.clone(), amount_minor: None };
        if let (Some(held), _) = load(tx, &wanted)? {
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
    let moved = tx.execute(
        "UPDATE bank_accounts SET available = available + ? WHERE number = ? AND currency = ? \
         AND available + held + ? <= ?",
        params![amount.minor, number, amount.currency, amount.minor, AMOUNT_MAX],
    )?;
    if moved == 0 {
        return Ok(false);
    }
    let customer = LedgerAccount::Customer(number.to_owned());
    let entries = [(LedgerAccount::House(House::External), -amount.minor), (customer, amount.minor)];
    operation.post(tx, amount.currency, entries)?;
    operation.note(tx, Ok(Done { hold_id: None, amount_minor: amount.minor }))?;
    Ok(true)
}
