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
        verdict.look((found != wanted).then(|| format!("{name}: {what} is {found}, should be {wanted}")));
    }
    Ok(())
}

fn money_is_conserved(tx: &mut Tx<'_>) -> Result<Verdict, db::Error> {
    let mut verdict = Verdict::new("I5", "money is conserved");
    let checks = [
        ("the sum of all postings", "SELECT currency, SUM(amount), 0 FROM bank_postings GROUP BY currency"),
        ("the sum of the set", "SELECT op_key, SUM(amount), 0 FROM bank_postings GROUP BY op_key"),
        (
            "available",
            "SELECT a.number, a.available, COALESCE(p.total, 0) FROM bank_accounts a LEFT JOIN \
             (SELECT account, SUM(amount) total FROM bank_postings GROUP BY account) p ON p.account = a.number",
        ),
        (
            "held",
            "SELECT a.number, a.held, COALESCE(h.total, 0) FROM bank_accounts a LEFT JOIN (SELECT account, \
             SUM(amount) total FROM bank_holds WHERE state = 'pending' GROUP BY account) h ON h.account = a.number",
        ),
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
        (
            "captured by the log",
            "SELECT h.hold_key, COALESCE(SUM(o.amount), 0), h.captured FROM bank_holds h LEFT JOIN bank_operations o \
             ON o.hold_key = h.hold_key AND o.action = 'capture' AND o.outcome = 'done' \
             GROUP BY h.hold_key, h.captured",
        ),
        (
            "refunded by the log",
            "SELECT h.hold_key, COALESCE(SUM(o.amount), 0), h.refunded FROM bank_holds h LEFT JOIN bank_operations o \
             ON o.hold_key = h.hold_key AND o.action = 'refund' AND o.outcome = 'done' \
             GROUP BY h.hold_key, h.refunded",
        ),
    ];
    for (what, sql) in checks {
        compare(tx, &mut verdict, what, sql)?;
    }
    Ok(verdict)
}

fn one_effect_a_key(tx: &mut Tx<'_>) -> Result<Verdict, db::Error> {
    let mut verdict = Verdict::new("I7", "one effect at the bank for each payment key");
    let checks = [
        // Every effect that moved money has one set of postings, and no set is without its operation.
        (
            "postings of the operation to one account",
            "SELECT op_key, MAX(n), 1 FROM (SELECT op_key, account, COUNT(*) n FROM bank_postings \
             GROUP BY op_key, account) one GROUP BY op_key",
        ),
        (
            "operations behind the postings",
            "SELECT p.op_key, COUNT(DISTINCT o.id), 1 FROM bank_postings p LEFT JOIN bank_operations o \
             ON o.op_key = p.op_key AND o.outcome = 'done' GROUP BY p.op_key",
        ),
        (
            "postings behind the operation",
            "SELECT o.op_key, CASE WHEN COUNT(p.id) > 0 THEN 1 ELSE 0 END, 1 FROM bank_operations o \
             LEFT JOIN bank_postings p ON p.op_key = o.op_key WHERE o.outcome = 'done' AND o.amount <> 0 \
             GROUP BY o.op_key",
        ),
        // A hold is made once and ends at most once.
        (
            "holds for one key",
            "SELECT hold_key, COUNT(*), 1 FROM bank_operations WHERE action = 'hold' AND outcome = 'done' \
             GROUP BY hold_key",
        ),
        (
            "ends of the hold",
            "SELECT h.hold_key, COUNT(o.id), CASE WHEN h.state = 'pending' THEN 0 ELSE 1 END FROM bank_holds h \
             LEFT JOIN bank_operations o ON o.hold_key = h.hold_key AND o.outcome = 'done' AND o.amount <> 0 AND \
             o.action IN ('capture', 'release', 'expire') WHERE h.amount > 0 AND NOT (h.state = 'captured' AND \
             h.captured = 0) GROUP BY h.hold_key, h.state",
        ),
    ];
    for (what, sql) in checks {
        compare(tx, &mut verdict, what, sql)?;
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
