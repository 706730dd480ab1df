//! All SQL of payments proper. The bank's tables are not touched here.
//!
//! Payments are written at the end of the transaction: each once, those of a batch together.
//!
//! Invariant: a payment is saved only on the version that it was read at, which is compared under its row's lock.

use contracts::OrderId;
use db::{Db, Kept, Migration, Migrations, Param, Row, ToParam, Tx, params};
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
    }, Migration {
        version: 2,
        name: "trace contexts of payments",
        sql: "ALTER TABLE payments ADD COLUMN traceparent VARCHAR(64);",
    }],
};

const COLUMNS: &str = "order_id, payment_id, user_id, amount, currency, account, state, code, held, captured, \
                       refunded, attempts, next_attempt_at, version, created_at, updated_at, traceparent";
const WIDTH: usize = 17;

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
        traceparent: row.get(16)?,
    })
}

/// In the order of [`COLUMNS`].
fn values(payments: &[Payment]) -> Vec<Param<'_>> {
    let mut values = Vec::with_capacity(payments.len() * WIDTH);
    for payment in payments {
        values.extend([
            Param::Text(payment.order_id.to_string().into()),
            Param::Text(payment.payment_id.to_string().into()),
            payment.user_id.map_or(Param::Null, |id| Param::Text(id.to_string().into())),
            payment.amount.map_or(Param::Null, |amount| Param::Int(amount.minor)),
            payment.amount.as_ref().map_or(Param::Null, |amount| amount.currency.to_param()),
            payment.account.to_param(),
            payment.state.as_str().to_param(),
            payment.code.to_param(),
            payment.held_minor.to_param(),
            payment.captured_minor.to_param(),
            payment.refunded_minor.to_param(),
            payment.attempts.to_param(),
            payment.next_attempt_at.to_param(),
            payment.version.to_param(),
            payment.created_at.to_param(),
            payment.updated_at.to_param(),
            payment.traceparent.to_param(),
        ]);
    }
    values
}

impl Kept for Payment {
    type Key = OrderId;

    fn key(&self) -> OrderId {
        self.order_id
    }

    fn write(new: Vec<Self>, changed: Vec<Self>, tx: &mut Tx<'_>) -> Result<(), db::Error> {
        let into = format!("INSERT INTO payments ({COLUMNS})");
        tx.insert_rows(&into, WIDTH, &values(&new), "")?;
        tx.insert_rows(
            &into,
            WIDTH,
            &values(&changed),
            "ON CONFLICT (order_id) DO UPDATE SET state = excluded.state, code = excluded.code, held = excluded.held, \
             captured = excluded.captured, refunded = excluded.refunded, attempts = excluded.attempts, \
             next_attempt_at = excluded.next_attempt_at, version = excluded.version, updated_at = excluded.updated_at, \
             traceparent = excluded.traceparent",
        )
    }
}

/// Reads payments that are about to change, so that [`find`] finds them there.
pub(crate) fn look_ahead(
    tx: &mut Tx<'_>,
    orders: impl IntoIterator<Item = OrderId>,
) -> Result<(), db::Error> {
    let orders: Vec<String> = tx.unknown::<Payment>(orders).iter().map(ToString::to_string).collect();
    let keys: Vec<Param<'_>> = orders.iter().map(ToParam::to_param).collect();
    let mut found = Vec::with_capacity(keys.len());
    tx.for_each_portion(&keys, |tx, portion| {
        let places = vec!["?"; portion.len()].join(", ");
        let sql = format!("SELECT {COLUMNS} FROM payments WHERE order_id IN ({places}) ORDER BY order_id");
        found.extend(tx.query(&sql, portion, read)?);
        Ok(())
    })?;
    // That an order has none is known too: its payment is inserted plainly.
    for order in orders.iter().filter_map(|order| order.parse().ok()) {
        tx.note::<Payment>(order, None);
    }
    found.into_iter().for_each(|payment| tx.note(payment.order_id, Some(payment)));
    Ok(())
}

/// `false` where the order has a payment already.
pub(crate) fn insert(tx: &mut Tx<'_>, payment: &Payment) -> Result<bool, db::Error> {
    if find(tx, payment.order_id)?.is_some() {
        return Ok(false);
    }
    tx.keep_new(payment.clone())?;
    Ok(true)
}

/// Saves what was read at the version before this one. `false` where somebody else was faster.
pub(crate) fn save(tx: &mut Tx<'_>, payment: &Payment) -> Result<bool, db::Error> {
    let stands = find(tx, payment.order_id)?.is_some_and(|stored| stored.version == payment.version - 1);
    if stands {
        tx.keep(payment.clone());
    }
    Ok(stands)
}

pub(crate) fn find(tx: &mut Tx<'_>, order_id: OrderId) -> Result<Option<Payment>, db::Error> {
    if let Some(known) = tx.kept::<Payment>(&order_id) {
        return Ok(known);
    }
    let sql = format!("SELECT {COLUMNS} FROM payments WHERE order_id = ?");
    let found = tx.query_opt(&sql, params![order_id.to_string()], read)?;
    tx.note(order_id, found.clone());
    Ok(found)
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
