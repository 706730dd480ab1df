//! The outbox: messages as rows in the transaction of the change (R88).
//!
//! Invariant: the messages of one subject are numbered 1, 2, 3 … without a gap, in the order of their commits.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use contracts::topics::{self, Topic};
use db::{Db, Late, Param, ToParam, Tx, params};
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

    pub(crate) fn clock(&self) -> Arc<dyn Clock> {
        self.clock.clone()
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
        if data.get().len() + ATTRIBUTES_BYTES > MESSAGE_BYTES_MAX {
            // Refused here, where the command can fail: in the outbox it would stop all that come after it.
            return Err(kernel::Error::invalid(
                "message_too_large",
                format!("{} of {} bytes, at most {MESSAGE_BYTES_MAX}", E::TYPE, data.get().len()),
            ));
        }
        let id: EventId = self.ids.next();
        let inherited = cause.and_then(|cause| cause.traceparent.as_deref());
        let traceparent = if trace::is_on() {
            let (topic, event_type, id) = (topic.name, E::TYPE, &id.to_string());
            trace::send(&trace::Message { topic, event_type, id, traceparent: inherited })
        } else {
            inherited.map(str::to_owned)
        };
        let envelope = Envelope {
            id,
            event_type: E::TYPE.to_owned(),
            source: self.source.to_owned(),
            subject: subject.to_owned(),
            sequence: 0,
            time: self.clock.now(),
            correlation_id: Some(correlation),
            causation_id: cause.map(|cause| cause.id),
            traceparent,
            data,
        };
        tx.at_the_end(Sent { topic: topic.name, envelope });
        let wake = self.wake.clone();
        // A look for nothing costs little; a message that nobody looks for waits.
        tx.once_it_may_be_stored(move || wake.notify_one());
        Ok(id)
    }
}

/// What an envelope has beside its data, at most.
const ATTRIBUTES_BYTES: usize = 2_000;

/// A message that its command has sent. It gets its number, and its row, when the command has succeeded.
struct Sent {
    topic: &'static str,
    envelope: Envelope,
}

impl Late for Sent {
    fn write(mut sent: Vec<Self>, tx: &mut Tx<'_>) -> Result<(), db::Error> {
        number(tx, &mut sent)?;
        let mut payloads = Vec::with_capacity(sent.len());
        for one in &sent {
            let payload = serde_json::to_string(&one.envelope);
            payloads.push(payload.map_err(|error| db::Error::Other(error.to_string()))?);
        }
        let values: Vec<Param<'_>> = sent
            .iter()
            .zip(&payloads)
            .flat_map(|(one, payload)| {
                let envelope = &one.envelope;
                [
                    one.topic.to_param(),
                    Param::Int(i64::from(partition(one.topic, &envelope.subject))),
                    envelope.subject.to_param(),
                    envelope.time.to_param(),
                    payload.to_param(),
                ]
            })
            .collect();
        tx.insert_rows("INSERT INTO outbox (topic, part, subject, created_at, payload)", 5, &values, "")
    }
}

/// Of how many partitions a topic is. One that is not ours is the bus's to refuse.
pub(crate) fn partitions(topic: &str) -> u32 {
    topics::by_name(topic).map_or(1, |topic| topic.partitions)
}

/// Where the bus will have a message.
pub(crate) fn partition(topic: &str, key: &str) -> u32 {
    bus::partition_of(key, partitions(topic))
}

/// Gives each message the next number of its subject. The rows of the subjects are locked, in an order that is the same
/// for all, until the commit.
fn number(tx: &mut Tx<'_>, sent: &mut [Sent]) -> Result<(), db::Error> {
    let mut last: BTreeMap<String, i64> = sent.iter().map(|one| (one.envelope.subject.clone(), 0)).collect();
    let subjects: Vec<String> = last.keys().cloned().collect();
    let params: Vec<Param<'_>> = subjects.iter().map(ToParam::to_param).collect();
    tx.for_each_portion(&params, |tx, portion| {
        let places = vec!["?"; portion.len()].join(", ");
        let sql = format!(
            "SELECT subject, last_sequence FROM outbox_sequences WHERE subject IN ({places}) ORDER BY subject"
        );
        let found = tx.query(&sql, portion, |row| Ok((row.get::<String>(0)?, row.get::<i64>(1)?)))?;
        last.extend(found);
        Ok(())
    })?;
    let known: BTreeSet<String> =
        last.iter().filter(|(_, n)| **n > 0).map(|(subject, _)| subject.clone()).collect();
    for one in sent.iter_mut() {
        let next = last.entry(one.envelope.subject.clone()).or_insert(0);
        *next += 1;
        one.envelope.sequence = *next;
    }
    let rows = |is_known: bool| -> Vec<Param<'_>> {
        let of_kind = last.iter().filter(|(subject, _)| known.contains(*subject) == is_known);
        of_kind.flat_map(|(subject, n)| [subject.to_param(), n.to_param()]).collect()
    };
    let into = "INSERT INTO outbox_sequences (subject, last_sequence)";
    tx.insert_rows(
        into,
        2,
        &rows(true),
        "ON CONFLICT (subject) DO UPDATE SET last_sequence = excluded.last_sequence",
    )?;
    // Plainly: where somebody else has begun the same subject meanwhile, this has to fail and not to overwrite.
    tx.insert_rows(into, 2, &rows(false), "")
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
