//! The outbox: messages as rows in the transaction of the change (R88).
//!
//! Invariant: the messages of one subject are numbered 1, 2, 3 … without a gap, in the order of their commits.

use std::sync::Arc;

use contracts::topics::Topic;
use db::{Db, Tx, params};
use kernel::envelope::Event;
use kernel::{Clock, Envelope, EventId, IdSource};
use tokio::sync::Notify;

/// What every bus takes: Kafka's brokers refuse more than 1 MiB with their headers unless they are told otherwise.
pub const MESSAGE_BYTES_MAX: usize = 1_000_000;

/// Writes messages of one service. Cheap to clone.
#[derive(Clone)]
pub struct Outbox {
    source: &'static str,
    clock: Arc<dyn Clock>,
    ids: IdSource,
    wake: Arc<Notify>,
}

impl Outbox {
    pub fn new(source: &'static str, clock: Arc<dyn Clock>, ids: IdSource) -> Self {
        Self { source, clock, ids, wake: Arc::new(Notify::new()) }
    }

    /// Signalled after the commit of a transaction that sent something.
    pub fn wake(&self) -> Arc<Notify> {
        self.wake.clone()
    }

    /// Sends `event` with `subject` as its key. `cause` is the message that is being handled, if one is.
    pub fn send<E: Event>(
        &self,
        tx: &mut Tx<'_>,
        topic: Topic,
        subject: &str,
        event: &E,
        cause: Option<&Envelope>,
    ) -> kernel::Result<EventId> {
        let data = serde_json::value::to_raw_value(event).map_err(kernel::Error::internal)?;
        let correlation =
            cause.and_then(|cause| cause.correlation_id.clone()).unwrap_or_else(|| subject.to_owned());
        let envelope = Envelope {
            id: self.ids.next(),
            event_type: E::TYPE.to_owned(),
            source: self.source.to_owned(),
            subject: subject.to_owned(),
            sequence: next_sequence(tx, subject)?,
            time: self.clock.now(),
            correlation_id: Some(correlation),
            causation_id: cause.map(|cause| cause.id),
            traceparent: cause.and_then(|cause| cause.traceparent.clone()),
            data,
        };
        let payload = serde_json::to_string(&envelope).map_err(kernel::Error::internal)?;
        if payload.len() > MESSAGE_BYTES_MAX {
            // Refused here, where the command can fail: in the outbox it would stop all that come after it.
            return Err(kernel::Error::invalid(
                "message_too_large",
                format!("{} of {} bytes, at most {MESSAGE_BYTES_MAX}", E::TYPE, payload.len()),
            ));
        }
        tx.execute(
            "INSERT INTO outbox (topic, subject, created_at, payload) VALUES (?, ?, ?, ?)",
            params![topic.name, subject, envelope.time, payload],
        )?;
        let wake = self.wake.clone();
        tx.after_commit(move || wake.notify_one());
        Ok(envelope.id)
    }
}

fn next_sequence(tx: &mut Tx<'_>, subject: &str) -> Result<i64, db::Error> {
    let select = "SELECT last_sequence FROM outbox_sequences WHERE subject = ?";
    let last: Option<i64> = tx.query_opt(select, params![subject], |row| row.get(0))?;
    match last {
        Some(last) => {
            let sql = "UPDATE outbox_sequences SET last_sequence = ? WHERE subject = ?";
            tx.execute(sql, params![last + 1, subject])?;
            Ok(last + 1)
        }
        None => {
            let sql = "INSERT INTO outbox_sequences (subject, last_sequence) VALUES (?, 1)";
            tx.execute(sql, params![subject])?;
            Ok(1)
        }
    }
}

/// How many messages wait for the relay.
pub async fn depth(db: &Db) -> Result<i64, db::Error> {
    db.read(|tx| tx.query_one("SELECT COUNT(*) FROM outbox", params![], |row| row.get(0))).await
}

/// The last number given to each subject: what an oracle compares with the log (I12).
pub async fn sequences(db: &Db) -> Result<Vec<(String, i64)>, db::Error> {
    db.read(|tx| {
        let sql = "SELECT subject, last_sequence FROM outbox_sequences ORDER BY subject";
        tx.query(sql, params![], |row| Ok((row.get(0)?, row.get(1)?)))
    })
    .await
}
