//! The rows that operations decide by: balances, holds and the log's, read under their locks, changed in memory and saved
//! together at the end of the transaction.
//!
//! Invariants:
//! - balances and holds are changed here and by no statement elsewhere: it would be overwritten;
//! - a hold and a row of the log that were not there are inserted plainly: of two the key lets one through;
//! - a balance that would leave its range is refused by the table, with all that its transaction has done.

use contracts::UserId;
use db::{Ahead, Kept, Param, Row, ToParam, Tx, params};
use kernel::{Currency, Timestamp};

use super::{Action, Done, HoldId, HoldState, Refusal, Reply};

// ---- balances -------------------------------------------------------------------------------------------------

/// What a customer's account has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Balance {
    pub number: String,
    pub owner: UserId,
    pub currency: Currency,
    pub available: i64,
    pub held: i64,
}

const BALANCE: &str = "number, owner_id, currency, available, held";

impl Balance {
    fn read(row: &Row<'_>) -> Result<Self, db::Error> {
        Ok(Self {
            number: row.get(0)?,
            owner: row.parse(1)?,
            currency: row.parse(2)?,
            available: row.get(3)?,
            held: row.get(4)?,
        })
    }
}

impl Kept for Balance {
    type Key = String;

    fn key(&self) -> String {
        self.number.clone()
    }

    fn write(_: Vec<Self>, changed: Vec<Self>, tx: &mut Tx<'_>) -> Result<(), db::Error> {
        fn values(one: &Balance) -> [Param<'_>; 3] {
            [one.number.to_param(), one.available.to_param(), one.held.to_param()]
        }
        let values: Vec<Param<'_>> = changed.iter().flat_map(values).collect();
        let saved = tx.update_rows("bank_accounts", "number", &["available", "held"], &values)?;
        if saved == changed.len() { Ok(()) } else { Err(db::Error::NoRow) }
    }
}

pub(super) fn balance(tx: &mut Tx<'_>, number: &str) -> Result<Option<Balance>, db::Error> {
    if let Some(Some(known)) = tx.kept::<Balance>(&number.to_owned()) {
        return Ok(Some(known));
    }
    let sql = format!("SELECT {BALANCE} FROM bank_accounts WHERE number = ?");
    let found = tx.query_opt(&sql, params![number], Balance::read)?;
    if let Some(found) = &found {
        tx.note(found.key(), Some(found.clone()));
    }
    Ok(found)
}

/// What an account has after all that this transaction has done so far.
pub(super) fn known_balance(tx: &mut Tx<'_>, number: &str) -> Option<Balance> {
    tx.kept::<Balance>(&number.to_owned()).flatten()
}

/// The accounts of an owner, the oldest first. Known for one transaction and never written.
#[derive(Debug, Clone)]
struct Owned {
    owner: UserId,
    accounts: Vec<(Currency, String)>,
}

impl Kept for Owned {
    type Key = UserId;

    fn key(&self) -> UserId {
        self.owner
    }

    fn write(_: Vec<Self>, _: Vec<Self>, _: &mut Tx<'_>) -> Result<(), db::Error> {
        Ok(())
    }
}

/// The account that is charged: the one that is named, or the owner's oldest in the currency.
pub(super) fn charged(
    tx: &mut Tx<'_>,
    owner: UserId,
    currency: Currency,
    account: Option<&str>,
) -> Result<Option<Balance>, db::Error> {
    if let Some(number) = account {
        let fits = |found: &Balance| found.owner == owner && found.currency == currency;
        return Ok(balance(tx, number)?.filter(fits));
    }
    let owned = tx.kept::<Owned>(&owner).flatten();
    let known = owned.and_then(|owned| owned.accounts.into_iter().find(|(of, _)| *of == currency));
    let number = match known {
        Some((_, number)) => Some(number),
        None => {
            let sql =
                "SELECT number FROM bank_accounts WHERE owner_id = ? AND currency = ? ORDER BY id LIMIT 1";
            tx.unlocked().query_opt(sql, params![owner.to_string(), currency], |row| row.get(0))?
        }
    };
    // Locked by its number, as everybody does: by two indexes two would wait for each other.
    number.map_or(Ok(None), |number: String| balance(tx, &number))
}

// ---- holds ----------------------------------------------------------------------------------------------------

/// A hold's row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Held {
    pub hold_key: String,
    pub id: HoldId,
    /// Absent where a release came before the hold.
    pub account: Option<String>,
    pub currency: Currency,
    pub amount: i64,
    pub captured: i64,
    pub refunded: i64,
    pub state: HoldState,
    pub expires_at: Timestamp,
    pub created_at: Timestamp,
}

const HELD: &str =
    "hold_key, id, account, currency, amount, captured, refunded, state, expires_at, created_at";

impl Held {
    /// By the identifier that it was given; nothing is kept of it.
    pub(crate) fn by_id(tx: &mut Tx<'_>, id: HoldId) -> Result<Option<Self>, db::Error> {
        tx.query_opt(
            &format!("SELECT {HELD} FROM bank_holds WHERE id = ?"),
            params![id.to_string()],
            Self::read,
        )
    }

    fn read(row: &Row<'_>) -> Result<Self, db::Error> {
        Ok(Self {
            hold_key: row.get(0)?,
            id: row.parse(1)?,
            account: row.get(2)?,
            currency: row.parse(3)?,
            amount: row.get(4)?,
            captured: row.get(5)?,
            refunded: row.get(6)?,
            state: row.parse(7)?,
            expires_at: row.get(8)?,
            created_at: row.get(9)?,
        })
    }
}

impl Kept for Held {
    type Key = String;

    fn key(&self) -> String {
        self.hold_key.clone()
    }

    fn write(new: Vec<Self>, changed: Vec<Self>, tx: &mut Tx<'_>) -> Result<(), db::Error> {
        fn values(hold: &Held) -> [Param<'_>; 10] {
            [
                hold.hold_key.to_param(),
                Param::Text(hold.id.to_string().into()),
                hold.account.to_param(),
                hold.currency.to_param(),
                hold.amount.to_param(),
                hold.captured.to_param(),
                hold.refunded.to_param(),
                hold.state.as_str().to_param(),
                hold.expires_at.to_param(),
                hold.created_at.to_param(),
            ]
        }
        fn change(hold: &Held) -> [Param<'_>; 4] {
            let (captured, refunded) = (hold.captured.to_param(), hold.refunded.to_param());
            [hold.hold_key.to_param(), captured, refunded, hold.state.as_str().to_param()]
        }
        let into = format!("INSERT INTO bank_holds ({HELD})");
        tx.insert_rows(&into, 10, &new.iter().flat_map(values).collect::<Vec<_>>(), "")?;
        let changes: Vec<Param<'_>> = changed.iter().flat_map(change).collect();
        let saved = tx.update_rows("bank_holds", "hold_key", &["captured", "refunded", "state"], &changes)?;
        if saved == changed.len() { Ok(()) } else { Err(db::Error::NoRow) }
    }
}

pub(super) fn held(tx: &mut Tx<'_>, hold_key: &str) -> Result<Option<Held>, db::Error> {
    let key = hold_key.to_owned();
    if let Some(known) = tx.kept::<Held>(&key) {
        return Ok(known);
    }
    let sql = format!("SELECT {HELD} FROM bank_holds WHERE hold_key = ?");
    let found = tx.query_opt(&sql, params![hold_key], Held::read)?;
    tx.note(key, found.clone());
    Ok(found)
}

// ---- the log --------------------------------------------------------------------------------------------------

/// A row of the log: an operation and what came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Logged {
    pub key: String,
    pub action: Action,
    pub hold_key: String,
    pub asked: Option<i64>,
    pub result: Result<Done, Refusal>,
    pub at: Timestamp,
}

const LOG: &str = "op_key, action, hold_key, asked, outcome, amount, hold_id, at";

impl Logged {
    fn read(row: &Row<'_>) -> Result<Self, db::Error> {
        let outcome: String = row.get(4)?;
        let result = if outcome == "done" {
            Ok(Done { hold_id: row.parse_opt(6)?, amount_minor: row.get(5)? })
        } else {
            Err(row.parse::<Refusal>(4)?)
        };
        Ok(Self {
            key: row.get(0)?,
            action: row.parse(1)?,
            hold_key: row.get(2)?,
            asked: row.get(3)?,
            result,
            at: row.get(7)?,
        })
    }

    /// The kept answer, where the key is used for the same thing again.
    pub fn again(self, action: Action, hold_key: &str, asked: Option<i64>) -> Reply {
        if self.action == action && self.hold_key == hold_key && self.asked == asked {
            return Reply { result: self.result, replayed: true };
        }
        Reply::refused(Refusal::KeyReused)
    }

    /// What can only come after something else comes after it in the log too.
    const fn rank(&self) -> u8 {
        match self.action {
            Action::Deposit => 0,
            Action::Hold => 1,
            Action::Capture | Action::Release | Action::Expire => 2,
            Action::Refund => 3,
        }
    }
}

impl Kept for Logged {
    type Key = String;

    fn key(&self) -> String {
        self.key.clone()
    }

    fn write(mut new: Vec<Self>, _: Vec<Self>, tx: &mut Tx<'_>) -> Result<(), db::Error> {
        fn values(logged: &Logged) -> [Param<'_>; 8] {
            let (outcome, amount, hold_id) = match &logged.result {
                Ok(done) => ("done", done.amount_minor, done.hold_id),
                Err(refusal) => (refusal.as_str(), 0, None),
            };
            [
                logged.key.to_param(),
                logged.action.as_str().to_param(),
                logged.hold_key.to_param(),
                logged.asked.to_param(),
                outcome.to_param(),
                Param::Int(amount),
                hold_id.map_or(Param::Null, |id| Param::Text(id.to_string().into())),
                logged.at.to_param(),
            ]
        }
        new.sort_by_key(Logged::rank);
        let into = format!("INSERT INTO bank_operations ({LOG})");
        tx.insert_rows(&into, 8, &new.iter().flat_map(values).collect::<Vec<_>>(), "")
    }
}

pub(super) fn logged(tx: &mut Tx<'_>, key: &str) -> Result<Option<Logged>, db::Error> {
    if let Some(known) = tx.kept::<Logged>(&key.to_owned()) {
        return Ok(known);
    }
    let sql = format!("SELECT {LOG} FROM bank_operations WHERE op_key = ?");
    tx.query_opt(&sql, params![key], Logged::read)
}

// ---- reading ahead --------------------------------------------------------------------------------------------

/// What one operation decides by.
#[derive(Debug, Clone)]
pub(super) struct Wanted {
    pub key: String,
    pub hold_key: String,
    /// Whose oldest account is charged, where none is named.
    pub owner: Option<UserId>,
    pub account: Option<String>,
}

/// Rows of one table by one column, with few statements.
fn by_keys<T>(
    tx: &mut Tx<'_>,
    select: &str,
    order: &str,
    keys: &[String],
    read: impl Fn(&Row<'_>) -> Result<T, db::Error>,
) -> Result<Vec<T>, db::Error> {
    let keys: Vec<Param<'_>> = keys.iter().map(ToParam::to_param).collect();
    let mut found = Vec::with_capacity(keys.len());
    tx.for_each_portion(&keys, |tx, portion| {
        let places = vec!["?"; portion.len()].join(", ");
        found.extend(tx.query(&format!("{select} IN ({places}) ORDER BY {order}"), portion, &read)?);
        Ok(())
    })?;
    Ok(found)
}

impl Ahead for Wanted {
    fn look(all: Vec<Self>, tx: &mut Tx<'_>) -> Result<(), db::Error> {
        let keys = tx.unknown::<Logged>(all.iter().map(|one| one.key.clone()));
        let select = format!("SELECT {LOG} FROM bank_operations WHERE op_key");
        let log = by_keys(tx, &select, "op_key", &keys, Logged::read)?;
        // That there is none is known too: it is inserted plainly.
        keys.into_iter().for_each(|key| tx.note::<Logged>(key, None));
        log.into_iter().for_each(|logged| tx.note(logged.key(), Some(logged)));

        let keys = tx.unknown::<Held>(all.iter().map(|one| one.hold_key.clone()));
        let select = format!("SELECT {HELD} FROM bank_holds WHERE hold_key");
        let holds = by_keys(tx, &select, "hold_key", &keys, Held::read)?;
        let mut numbers: Vec<String> = holds.iter().filter_map(|hold| hold.account.clone()).collect();
        keys.into_iter().for_each(|key| tx.note::<Held>(key, None));
        holds.into_iter().for_each(|hold| tx.note(hold.key(), Some(hold)));

        // All accounts last and in the order of their numbers, so that two that do so wait for each other and never in a circle.
        let owners = tx.unknown::<Owned>(all.iter().filter_map(|one| one.owner));
        let texts: Vec<String> = owners.iter().map(ToString::to_string).collect();
        let select = "SELECT owner_id, currency, number FROM bank_accounts WHERE owner_id";
        let accounts = by_keys(&mut tx.unlocked(), select, "id", &texts, |row| {
            Ok((row.parse::<UserId>(0)?, row.parse::<Currency>(1)?, row.get::<String>(2)?))
        })?;
        for owner in owners {
            let of = accounts.iter().filter(|(of, ..)| *of == owner);
            let accounts: Vec<_> = of.map(|(_, currency, number)| (*currency, number.clone())).collect();
            tx.note(owner, Some(Owned { owner, accounts }));
        }
        numbers.extend(accounts.into_iter().map(|(_, _, number)| number));
        numbers.extend(all.into_iter().filter_map(|one| one.account));
        let numbers = tx.unknown::<Balance>(numbers);
        let select = format!("SELECT {BALANCE} FROM bank_accounts WHERE number");
        for balance in by_keys(tx, &select, "number", &numbers, Balance::read)? {
            tx.note(balance.key(), Some(balance));
        }
        Ok(())
    }
}
