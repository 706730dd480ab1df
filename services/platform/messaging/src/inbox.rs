//! The inbox: which messages a consumer has handled.
//!
//! Invariant: a mark and the effect of its message are one transaction, and marks are inserted plainly: where another
//! member has handled the message in the meantime its key is taken, and nothing of the transaction takes effect.

use std::collections::HashSet;

use db::{Late, Param, ToParam, Tx, params};
use kernel::{Envelope, Timestamp};

/// How many one transaction of a sweep deletes: others may share it, and wait for its end.
const SWEPT_MAX: usize = 256;

/// Forgets event ids handled before `horizon`, a bounded number at a time; answers how many went: none where there are no
/// more. Ids are UUIDv7, so the oldest of a consumer come first in its key: no more is read than goes.
pub fn sweep_inbox(tx: &mut Tx<'_>, horizon: Timestamp) -> Result<usize, db::Error> {
    let mut swept = 0;
    let mut consumer = String::new();
    while swept < SWEPT_MAX {
        let next = "SELECT MIN(consumer) FROM inbox WHERE consumer > ?";
        let Some(found) =
            tx.unlocked().query_one(next, params![consumer], |row| row.get::<Option<String>>(0))?
        else {
            return Ok(swept);
        };
        // Looked for without a lock, then deleted by key: a subquery would read, and lock, all that the consumer has.
        let oldest = "SELECT event_id FROM (SELECT event_id, handled_at FROM inbox WHERE consumer = ? \
                      ORDER BY event_id LIMIT ?) oldest WHERE handled_at < ?";
        let room = (SWEPT_MAX - swept) as i64;
        let old: Vec<String> =
            tx.unlocked().query(oldest, params![found, room, horizon], |row| row.get(0))?;
        let keys: Vec<Param<'_>> =
            old.iter().flat_map(|event| [found.to_param(), event.to_param()]).collect();
        swept += tx.delete_rows("inbox", &["consumer", "event_id"], &keys)?;
        consumer = found;
    }
    Ok(swept)
}

/// Which of these messages `consumer` has handled before. Nobody handles one of them meanwhile, or the marks collide.
pub(crate) fn handled(
    tx: &mut Tx<'_>,
    consumer: &str,
    envelopes: &[&Envelope],
) -> Result<HashSet<String>, db::Error> {
    let ids: Vec<String> = envelopes.iter().map(|envelope| envelope.id.to_string()).collect();
    let keys: Vec<Param<'_>> = ids.iter().map(ToParam::to_param).collect();
    let mut handled = HashSet::new();
    tx.for_each_portion(&keys, |tx, portion| {
        let places = vec!["?"; portion.len()].join(", ");
        let sql = format!("SELECT event_id FROM inbox WHERE consumer = ? AND event_id IN ({places})");
        let mut params = vec![consumer.to_param()];
        params.extend_from_slice(portion);
        handled.extend(tx.unlocked().query(&sql, &params, |row| row.get::<String>(0))?);
        Ok(())
    })?;
    Ok(handled)
}

/// Marks a message as handled.
pub(crate) fn mark(tx: &mut Tx<'_>, consumer: &str, event: &str, at: Timestamp) {
    tx.at_the_end(Handled { consumer: consumer.to_owned(), event: event.to_owned(), at });
}

/// A mark on its way: those of a batch are inserted together.
struct Handled {
    consumer: String,
    event: String,
    at: Timestamp,
}

impl Late for Handled {
    fn write(handled: Vec<Self>, tx: &mut Tx<'_>) -> Result<(), db::Error> {
        let values: Vec<Param<'_>> = handled
            .iter()
            .flat_map(|one| [one.consumer.to_param(), one.event.to_param(), one.at.to_param()])
            .collect();
        tx.insert_rows("INSERT INTO inbox (consumer, event_id, handled_at)", 3, &values, "")
    }
}
