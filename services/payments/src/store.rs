//! All SQL of payments proper. The bank's tables are not touched here.
//!
//! Invariant: a payment is saved only on the version that it was read at.

use contracts::OrderId;
use db::{Db, Migration, Migrations, Row, Tx, params};
use kernel::Timestamp;

use crate::domain::Payment;

pub(crate) const MIGRATIONS: Migrations = Migrations {
    component: "payments",
    steps: &[Migration {
        version: 1,
        name: "payments",
        sql: "CREATE TABLE payments (
                order_id VARCHAR(64) NOT NULL PRIMARY KEY, payment_id VARCHAR(64) NOT NULL, user_id VARCHAR(64),
                amount BIGINT CHECK (amount IS NULL OR amount >= 0), currency VARCHAR(3), account VARCHAR(32),
                state VARCHAR(16) NOT NULL, code VARCHAR(64), held BIGINT NOT NULL, captured BIGINT NOT NULL,
                refunded BIGINT NOT NULL, attempts INTEGER NOT NULL, next_attempt_at BIGINT,
                version BIGINT NOT NULL, created_at BIGINT NOT NULL, updated_at BIGINT NOT NULL,
                CHECK (refunded BETWEEN 0 AND captured)
              ) WITHOUT ROWID;
              CREATE INDEX payments_by_next_attempt ON payments (next_attempt_at)
                WHERE next_attempt_at IS NOT NULL;",
    }],
};

const COLUMNS: &str = "order_id, payment_id, user_id, amount, currency, account, state, code, held, captured, \
                       refunded, attempts, next_attempt_at, version, created_at, updated_at";

fn read(row: &Row<'_>) -> Result<Payment, db::Error> {
    let amount = match row.get::<Option<i64>>(3)? {
        Some(_) => Some(row.money(3)?),
        None => None,
    };
    Ok(Payment {
        order_id: row.parse(0)?,
        payment_id: row.parse(1)?,
        user_id: row.parse_opt(2)?,
        amount,
        account: row.get(5)?,
        state: row.parse(6)?,
        code: row.get(7)?,
        held_minor: row.get(8)?,
        captured_minor: row.get(9)?,
        refunded_minor: row.get(10)?,
        attempts: row.get(11)?,
        next_attempt_at: row.get(12)?,
        version: row.get(13)?,
        created_at: row.get(14)?,
        updated_at: row.get(15)?,
    })
}

/// `false` where the order has a payment already.
pub(crate) fn insert(tx: &mut Tx<'_>, payment: &Payment) -> Result<bool, db::Error> {
    let sql = "INSERT OR IGNORE INTO payments (order_id, payment_id, user_id, amount, currency, account, state, \
               code, held, captured, refunded, attempts, next_attempt_at, version, created_at, updated_at) \
               VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";
    let inserted = tx.execute(
        sql,
        params![
            payment.order_id.to_string(),
            payment.payment_id.to_string(),
            payment.user_id.map(|id| id.to_string()),
            payment.amount.map(|amount| amount.minor),
            payment.amount.map(|amount| amount.currency),
            payment.account,
            payment.state.as_str(),
            payment.code,
            payment.held_minor,
            payment.captured_minor,
            payment.refunded_minor,
            payment.attempts,
            payment.next_attempt_at,
            payment.version,
            payment.created_at,
            payment.updated_at
        ],
    )?;
    Ok(inserted == 1)
}

/// Saves what was read at the version before this one. `false` where somebody else was faster.
pub(crate) fn save(tx: &mut Tx<'_>, payment: &Payment) -> Result<bool, db::Error> {
    let sql = "UPDATE payments SET state = ?, code = ?, held = ?, captured = ?, refunded = ?, attempts = ?, \
               next_attempt_at = ?, version = ?, updated_at = ? WHERE order_id = ? AND version = ?";
    let saved = tx.execute(
        sql,
        params![
            payment.state.as_str(),
            payment.code,
            payment.held_minor,
            payment.captured_minor,
            payment.refunded_minor,
            payment.attempts,
            payment.next_attempt_at,
            payment.version,
            payment.updated_at,
            payment.order_id.to_string(),
            payment.version - 1
        ],
    )?;
    Ok(saved == 1)
}

pub(crate) fn find(tx: &mut Tx<'_>, order_id: OrderId) -> Result<Option<Payment>, db::Error> {
    let sql = format!("SELECT {COLUMNS} FROM payments WHERE order_id = ?");
    tx.query_opt(&sql, params![order_id.to_string()], read)
}

/// The payments that wait for the bank, those first that are due first.
pub(crate) fn waiting(tx: &mut Tx<'_>, limit: u32) -> Result<Vec<Payment>, db::Error> {
    let sql = format!(
        "SELECT {COLUMNS} FROM payments WHERE next_attempt_at IS NOT NULL ORDER BY next_attempt_at LIMIT ?"
    );
    tx.query(&sql, params![limit], read)
}

/// A page of all payments that had come to rest by `before`, in the order of their orders.
pub(crate) async fn page(
    db: &Db,
    after: String,
    before: Timestamp,
    limit: u32,
) -> Result<(Vec<Payment>, Option<String>), db::Error> {
    db.read(move |tx| {
        let sql = format!("SELECT {COLUMNS} FROM payments WHERE order_id > ? ORDER BY order_id LIMIT ?");
        let all = tx.query(&sql, params![after, limit], read)?;
        let next = (all.len() == limit as usize).then(|| all.last().map(|last| last.order_id.to_string()));
        let at_rest = all.into_iter().filter(|one| one.next_attempt_at.is_none() && one.updated_at <= before);
        Ok((at_rest.collect(), next.flatten()))
    })
    .await
}
