//! Verdicts over durable rows alone: is money conserved (I5), did each payment key have one effect (I7).

use std::collections::HashMap;

use contracts::OrderId;
use db::{Db, Tx, params};
use host::Verdict;

use crate::domain::State;

/// What the payments service says of one order's money, in minor units.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PaymentFacts {
    /// As in [`crate::domain::State`]: `captured`, `released` …
    pub state: String,
    pub held: i64,
    pub captured: i64,
    pub refunded: i64,
}

/// Every order's payment.
pub async fn payments(db: &Db) -> Result<HashMap<OrderId, PaymentFacts>, db::Error> {
    db.read(|tx| {
        let rows =
            tx.query("SELECT order_id, state, held, captured, refunded FROM payments", params![], |row| {
                let facts = PaymentFacts {
                    state: row.get(1)?,
                    held: row.get(2)?,
                    captured: row.get(3)?,
                    refunded: row.get(4)?,
                };
                Ok((row.parse(0)?, facts))
            })?;
        Ok(rows.into_iter().collect())
    })
    .await
}

/// I5 and I7.
pub async fn verdicts(db: &Db) -> Result<Vec<Verdict>, db::Error> {
    db.read(|tx| Ok(vec![money_is_conserved(tx)?, one_effect_a_key(tx)?])).await
}

/// Looks at every row of `sql`, whose columns are a name, what is, and what should be.
fn compare(tx: &mut Tx<'_>, verdict: &mut Verdict, what: &str, sql: &str) -> Result<(), db::Error> {
    let rows =
        tx.query(sql, params![], |row| Ok((row.get::<String>(0)?, row.get::<i64>(1)?, row.get::<i64>(2)?)))?;
    for (name, found, wanted) in rows {
        look(verdict, what, &name, found, wanted);
    }
    Ok(())
}

fn look(verdict: &mut Verdict, what: &str, name: &str, found: i64, wanted: i64) {
    verdict.look((found != wanted).then(|| format!("{name}: {what} is {found}, should be {wanted}")));
}

/// `wanted` gives a name and what should be; `found` a name and what is, 0 where it has no such row. They are joined here: the tables
/// have no index for it, and a server would look at every pair.
fn compare_with(
    tx: &mut Tx<'_>,
    verdict: &mut Verdict,
    what: &str,
    wanted: &str,
    found: &str,
) -> Result<(), db::Error> {
    let mut figures: HashMap<String, i64> = HashMap::new();
    tx.query_while(found, params![], |row| {
        figures.insert(row.get(0)?, row.get(1)?);
        Ok(true)
    })?;
    tx.query_while(wanted, params![], |row| {
        let name: String = row.get(0)?;
        look(verdict, what, &name, figures.get(&name).copied().unwrap_or(0), row.get(1)?);
        Ok(true)
    })
}

fn money_is_conserved(tx: &mut Tx<'_>) -> Result<Verdict, db::Error> {
    let mut verdict = Verdict::new("I5", "money is conserved");
    for (what, sql) in [
        ("the sum of all postings", "SELECT currency, SUM(amount), 0 FROM bank_postings GROUP BY currency"),
        ("the sum of the set", "SELECT op_key, SUM(amount), 0 FROM bank_postings GROUP BY op_key"),
        (
            "what the ledger holds",
            "SELECT p.currency, SUM(p.amount), COALESCE((SELECT SUM(h.amount) FROM bank_holds h \
             WHERE h.state = 'pending' AND h.currency = p.currency), 0) FROM bank_postings p \
             WHERE p.account LIKE 'hold:%' GROUP BY p.currency",
        ),
        (
            "accounts below their floor",
            "SELECT number, CASE WHEN available < 0 OR held < 0 THEN 1 ELSE 0 END, 0 FROM bank_accounts",
        ),
        (
            "captured beyond what was authorised, or refunded beyond what was captured",
            "SELECT hold_key, CASE WHEN captured > amount OR refunded > captured OR captured < 0 OR refunded < 0 \
             THEN 1 ELSE 0 END, 0 FROM bank_holds",
        ),
    ] {
        compare(tx, &mut verdict, what, sql)?;
    }
    for (what, wanted, found) in [
        (
            "available by the postings",
            "SELECT number, available FROM bank_accounts",
            "SELECT account, SUM(amount) FROM bank_postings GROUP BY account",
        ),
        (
            "held by the holds",
            "SELECT number, held FROM bank_accounts",
            "SELECT account, SUM(amount) FROM bank_holds WHERE state = 'pending' AND account IS NOT NULL \
             GROUP BY account",
        ),
        (
            "captured by the log",
            "SELECT hold_key, captured FROM bank_holds",
            "SELECT hold_key, SUM(amount) FROM bank_operations WHERE action = 'capture' AND outcome = 'done' \
             GROUP BY hold_key",
        ),
        (
            "refunded by the log",
            "SELECT hold_key, refunded FROM bank_holds",
            "SELECT hold_key, SUM(amount) FROM bank_operations WHERE action = 'refund' AND outcome = 'done' \
             GROUP BY hold_key",
        ),
    ] {
        compare_with(tx, &mut verdict, what, wanted, found)?;
    }
    Ok(verdict)
}

fn one_effect_a_key(tx: &mut Tx<'_>) -> Result<Verdict, db::Error> {
    let mut verdict = Verdict::new("I7", "one effect at the bank for each payment key");
    for (what, sql) in [
        (
            "postings of the operation to one account",
            "SELECT op_key, MAX(n), 1 FROM (SELECT op_key, account, COUNT(*) n FROM bank_postings \
             GROUP BY op_key, account) one GROUP BY op_key",
        ),
        // A hold is made once.
        (
            "holds for one key",
            "SELECT hold_key, COUNT(*), 1 FROM bank_operations WHERE action = 'hold' AND outcome = 'done' \
             GROUP BY hold_key",
        ),
    ] {
        compare(tx, &mut verdict, what, sql)?;
    }
    for (what, wanted, found) in [
        // Every effect that moved money has one set of postings, and no set is without its operation.
        (
            "operations behind the postings",
            "SELECT DISTINCT op_key, 1 FROM bank_postings",
            "SELECT op_key, COUNT(*) FROM bank_operations WHERE outcome = 'done' GROUP BY op_key",
        ),
        (
            "postings behind the operation",
            "SELECT op_key, 1 FROM bank_operations WHERE outcome = 'done' AND amount <> 0",
            "SELECT DISTINCT op_key, 1 FROM bank_postings",
        ),
        // A hold ends at most once.
        (
            "ends of the hold",
            "SELECT hold_key, CASE WHEN state = 'pending' THEN 0 ELSE 1 END FROM bank_holds \
             WHERE amount > 0 AND NOT (state = 'captured' AND captured = 0)",
            "SELECT hold_key, COUNT(*) FROM bank_operations WHERE outcome = 'done' AND amount <> 0 AND \
             action IN ('capture', 'release', 'expire') GROUP BY hold_key",
        ),
    ] {
        compare_with(tx, &mut verdict, what, wanted, found)?;
    }
    payments_match_the_bank(tx, &mut verdict)?;
    Ok(verdict)
}

/// A payment at rest says what the bank's log says.
fn payments_match_the_bank(tx: &mut Tx<'_>, verdict: &mut Verdict) -> Result<(), db::Error> {
    let sql = "SELECT p.order_id, p.state, p.captured, p.refunded, h.state, h.captured, h.refunded FROM payments p \
               LEFT JOIN bank_holds h ON h.hold_key = p.order_id WHERE p.next_attempt_at IS NULL";
    let rows = tx.query(sql, params![], |row| {
        let payment = (row.get::<String>(0)?, row.parse::<State>(1)?, row.get::<i64>(2)?, row.get::<i64>(3)?);
        let bank = (
            row.get::<Option<String>>(4)?,
            row.get::<Option<i64>>(5)?.unwrap_or(0),
            row.get::<Option<i64>>(6)?.unwrap_or(0),
        );
        Ok((payment, bank))
    })?;
    for ((order, state, captured, refunded), (hold, bank_captured, bank_refunded)) in rows {
        let hold = hold.unwrap_or_else(|| "none".to_owned());
        let fits = match state {
            // The bank may have let it go without our having heard of it.
            State::Held => matches!(hold.as_str(), "pending" | "expired"),
            State::Captured | State::Refunded => hold == "captured",
            _ => !matches!(hold.as_str(), "pending" | "captured"),
        };
        let same = (captured, refunded) == (bank_captured, bank_refunded);
        verdict.look((!fits || !same).then(|| {
            format!(
                "{order}: payment {state} {captured}/{refunded}, bank {hold} {bank_captured}/{bank_refunded}"
            )
        }));
    }
    Ok(())
}
