//! What an operator and a test ask of the durable rows: does I14 hold, and how many are in which state.

use db::{Db, Tx, params};
use host::Verdict;
use serde::Serialize;

/// Notifications by state, and how often it is not known whether a provider took one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Counts {
    /// Due or waiting for its next attempt.
    pub queued: i64,
    /// Waiting for a recipient who is not known yet.
    pub waiting: i64,
    pub sending: i64,
    pub sent: i64,
    pub failed: i64,
    pub suppressed: i64,
    /// Attempts with an outcome that nobody knows.
    pub ambiguous: i64,
}

impl Counts {
    /// Notifications on which nothing will be done any more.
    pub fn finished(&self) -> i64 {
        self.sent + self.failed + self.suppressed
    }
}

pub async fn counts(db: &Db) -> kernel::Result<Counts> {
    Ok(db.read(count).await?)
}

fn count(tx: &mut Tx<'_>) -> Result<Counts, db::Error> {
    let sql =
        "SELECT state, next_attempt_at IS NULL, COUNT(*), SUM(ambiguous) FROM notifications GROUP BY 1, 2";
    let rows: Vec<(String, bool, i64, i64)> =
        tx.query(sql, params![], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)))?;
    let mut counts = Counts::default();
    for (state, idle, number, ambiguous) in rows {
        counts.ambiguous += ambiguous;
        match (state.as_str(), idle) {
            ("queued", true) => counts.waiting += number,
            ("queued", false) => counts.queued += number,
            ("sending", _) => counts.sending += number,
            ("sent", _) => counts.sent += number,
            ("failed", _) => counts.failed += number,
            _ => counts.suppressed += number,
        }
    }
    Ok(counts)
}

/// I14 for transactional mail: every (event, recipient, channel) once, and handed to the provider or not final yet.
/// A code that expired before it could be sent is left out on purpose; a letter that has failed breaks the promise.
pub async fn i14(db: &Db) -> kernel::Result<Verdict> {
    let mut verdict =
        Verdict::new("I14", "every transactional notification is sent at least once, or not final yet");
    let (rows, doubled, broken) = db
        .read(|tx| -> Result<_, db::Error> {
            let rows: i64 =
                tx.query_one("SELECT COUNT(*) FROM notifications", params![], |row| row.get(0))?;
            let doubled: Vec<String> = tx.query(
                "SELECT event_id, recipient, channel, COUNT(*) FROM notifications
                 GROUP BY event_id, recipient, channel HAVING COUNT(*) > 1 LIMIT 20",
                params![],
                |row| {
                    let (event, to, channel): (String, String, String) =
                        (row.get(0)?, row.get(1)?, row.get(2)?);
                    Ok(format!("{event} has {} rows for {to} by {channel}", row.get::<i64>(3)?))
                },
            )?;
            let broken: Vec<String> = tx.query(
                "SELECT event_id, recipient, kind, state, last_error FROM notifications
                 WHERE state = 'failed' OR (state = 'sent' AND (provider_id IS NULL OR attempts = 0))
                    OR (state = 'suppressed' AND kind <> 'verification') LIMIT 20",
                params![],
                |row| {
                    let (event, to, kind): (String, String, String) = (row.get(0)?, row.get(1)?, row.get(2)?);
                    let (state, error): (String, Option<String>) = (row.get(3)?, row.get(4)?);
                    Ok(format!("{kind} of {event} for {to} is {state}: {}", error.unwrap_or_default()))
                },
            )?;
            Ok((rows, doubled, broken))
        })
        .await?;
    verdict.checked = u64::try_from(rows).unwrap_or(0);
    verdict.violations = doubled.into_iter().chain(broken).collect();
    Ok(verdict)
}
