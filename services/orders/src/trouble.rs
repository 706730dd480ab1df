//! Checkouts that cannot be taken further: what is wrong with each, and when it is tried again.
//!
//! Invariants: a checkout in trouble holds up no other; it is tried again after a pause that doubles up to
//! [`PAUSE_MAX`]; it is out of trouble once anything has taken it further.

use std::time::Duration;

use axum::extract::State;
use axum::routing::get;
use axum::{Json, Router};
use db::{Db, Migration, Migrations, Tx, params};
use kernel::Timestamp;
use serde::Serialize;

use crate::saga::KIND;

pub const MIGRATIONS: Migrations = Migrations {
    component: "orders_trouble",
    steps: &[Migration {
        version: 1,
        name: "checkouts in trouble",
        // `version`: the saga's, when it failed.
        sql: "CREATE TABLE troubled_checkouts (
                id VARCHAR(64) NOT NULL PRIMARY KEY, version BIGINT NOT NULL, failures INTEGER NOT NULL,
                error TEXT NOT NULL, since BIGINT NOT NULL, failed_at BIGINT NOT NULL
              ) WITHOUT ROWID;",
    }],
};

const PAUSE_MIN: Duration = Duration::from_secs(2);
const PAUSE_MAX: Duration = Duration::from_secs(300);
const ERROR_CHARS_MAX: usize = 1_000;
const LISTED_MAX: u32 = 1_000;

/// A checkout that cannot be taken further.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Troubled {
    pub order_id: String,
    pub failures: u32,
    pub error: String,
    pub since: Timestamp,
    pub failed_at: Timestamp,
}

fn pause(failures: u32) -> Duration {
    PAUSE_MIN.saturating_mul(1_u32.checked_shl(failures.saturating_sub(1)).unwrap_or(u32::MAX)).min(PAUSE_MAX)
}

/// Writes down that a checkout failed, and puts off its deadline. Does nothing where it has been taken further meanwhile, and
/// is not due any more. Answers after how many failures.
pub fn note(tx: &mut Tx<'_>, id: &str, error: &str, now: Timestamp) -> Result<Option<u32>, db::Error> {
    messaging::saga::put_off(tx, KIND, id, now, |tx, version| {
        let failures = count(tx, id, version, error, now)?;
        Ok((failures, now.plus(pause(failures))))
    })
}

/// Counts a failure of a checkout at `version`; answers the how many-th it is.
fn count(tx: &mut Tx<'_>, id: &str, version: i64, error: &str, now: Timestamp) -> Result<u32, db::Error> {
    let before = "SELECT failures, since FROM troubled_checkouts WHERE id = ? AND version = ?";
    let before: Option<(u32, Timestamp)> =
        tx.query_opt(before, params![id, version], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let (failures, since) = before.map_or((1, now), |(failures, since)| (failures.saturating_add(1), since));
    let error: String = error.chars().take(ERROR_CHARS_MAX).collect();
    tx.execute("DELETE FROM troubled_checkouts WHERE id = ?", params![id])?;
    tx.execute(
        "INSERT INTO troubled_checkouts (id, version, failures, error, since, failed_at) VALUES (?, ?, ?, ?, ?, ?)",
        params![id, version, failures, error, since, now],
    )?;
    Ok(failures)
}

/// Forgets those that something has taken further.
pub fn prune(tx: &mut Tx<'_>) -> Result<usize, db::Error> {
    let over = "SELECT t.id FROM troubled_checkouts t WHERE NOT EXISTS \
                (SELECT 1 FROM sagas s WHERE s.kind = ? AND s.id = t.id AND s.version = t.version)";
    let over: Vec<String> = tx.unlocked().query(over, params![KIND], |row| row.get(0))?;
    for id in &over {
        tx.execute("DELETE FROM troubled_checkouts WHERE id = ?", params![*id])?;
    }
    Ok(over.len())
}

pub async fn list(db: &Db) -> Result<Vec<Troubled>, db::Error> {
    db.read(|tx| {
        let sql = "SELECT t.id, t.failures, t.error, t.since, t.failed_at FROM troubled_checkouts t \
                   JOIN sagas s ON s.kind = ? AND s.id = t.id AND s.version = t.version ORDER BY t.since LIMIT ?";
        tx.query(sql, params![KIND, LISTED_MAX], |row| {
            Ok(Troubled {
                order_id: row.get(0)?,
                failures: row.get(1)?,
                error: row.get(2)?,
                since: row.get(3)?,
                failed_at: row.get(4)?,
            })
        })
    })
    .await
}

/// `GET /admin/orders/troubled`
pub fn operator_routes(db: Db) -> Router {
    let show = async |State(db): State<Db>| -> web::ApiResult<Json<serde_json::Value>> {
        let troubled = list(&db).await.map_err(kernel::Error::from)?;
        Ok(Json(serde_json::json!({ "data": troubled })))
    };
    Router::new().route("/orders/troubled", get(show)).with_state(db)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_a_bound() {
        let seconds: Vec<u64> =
            [1, 2, 3, 8, 9, 40, u32::MAX].map(|failures| pause(failures).as_secs()).to_vec();
        assert_eq!(seconds, [2, 4, 8, 256, 300, 300, 300]);
    }
}
