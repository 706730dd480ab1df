//! Publishing: batches to partitions, answered when all of a batch is acknowledged.
//!
//! Why the order of a key holds although publications fail in the middle. A publication writes the messages of one
//! partition in their order and without a gap: what reaches the log of it is a prefix. Three things see to that. The
//! producer is idempotent, so that retries inside it neither repeat nor overtake. An error that would leave a gap is
//! fatal for it (`enable.gapless.guarantee`). Time-outs would not be: librdkafka lets messages time out one by one,
//! and a broker that comes back between two of them would take the later one. So none does
//! (`message.timeout.ms=0`); the deadline here is the publication's, and when it has passed the producer is shut: it
//! takes nothing more, what it still holds is thrown away partition by partition, and the next publication has a new
//! one.
//!
//! The caller publishes again from the same first message on. What the old producer still had on the wire may land
//! before, between or after those: each is a run in order and without a gap, beginning where all before it is
//! durable. So in whatever way such runs are mixed, before the first copy of a message come copies of all before it,
//! and the copies that follow are known to the inbox.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use bus::{Error, Message, partition_of};
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::producer::{
    BaseRecord, DeliveryResult, NoCustomPartitioner, Producer, ProducerContext, PurgeConfig, ThreadedProducer,
};
use rdkafka::statistics::Statistics;
use rdkafka::{ClientContext, Message as _};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use crate::client::{self, Watch, blocking, lock};
use crate::reader::Seen;
use crate::{Settings, known, wire};

/// What may be under way at once, in KiB. Who has more waits.
const ROOM_KIB: usize = 32 * 1024;

/// One call of publish.
struct Round {
    outstanding: AtomicUsize,
    failure: Mutex<Option<KafkaError>>,
    /// Nothing is outstanding, or something failed.
    settled: Notify,
}

impl Round {
    fn fail(&self, error: KafkaError) {
        lock(&self.failure).get_or_insert(error);
        self.settled.notify_one();
    }
}

/// What a message carries until it is acknowledged: whose it is, and its room.
struct Ticket {
    round: Arc<Round>,
    _room: OwnedSemaphorePermit,
}

struct Reports {
    watch: Watch,
    seen: Arc<Seen>,
}

impl ClientContext for Reports {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        Watch::log(level, facility, line);
    }

    fn stats(&self, _: Statistics) {}

    fn error(&self, error: KafkaError, reason: &str) {
        self.watch.note(&error, reason);
    }
}

impl ProducerContext<NoCustomPartitioner> for Reports {
    type DeliveryOpaque = Box<Ticket>;

    fn delivery(&self, result: &DeliveryResult<'_>, ticket: Box<Ticket>) {
        match result {
            Ok(message) => {
                self.watch.recovered();
                let partition = u32::try_from(message.partition()).ok();
                if let (Ok(topic), Some(partition)) = (known(message.topic()), partition) {
                    self.seen.saw(topic, partition, message.offset());
                }
                if ticket.round.outstanding.fetch_sub(1, Ordering::AcqRel) == 1 {
                    ticket.round.settled.notify_one();
                }
            }
            Err((error, _)) => ticket.round.fail(error.clone()),
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Gate {
    Open,
    Shut,
}

/// A producer while it is good.
///
/// Closing one waits for librdkafka's threads, and the last who holds it may be whoever publishes: it is closed by a
/// thread of its own.
struct Live {
    /// `None` once it is being closed.
    producer: Option<ThreadedProducer<Reports>>,
    /// Held while a message is handed over: after it is shut none follows.
    gate: Mutex<Gate>,
}

impl Live {
    fn gives_way(&self) -> bool {
        self.producer.as_ref().is_some_and(|producer| producer.client().context().watch.gives_way())
    }

    fn send(&self, message: &Message, partition: u32, ticket: Ticket) -> Result<(), KafkaError> {
        let gate = lock(&self.gate);
        if *gate == Gate::Shut {
            return Err(KafkaError::MessageProduction(Code::PurgeQueue));
        }
        let record = BaseRecord::with_opaque_to(&message.topic, Box::new(ticket))
            .key(message.key.as_bytes())
            .payload(message.payload.as_bytes())
            .partition(i32::try_from(partition).unwrap_or(0))
            .headers(wire::headers(&message.payload));
        match &self.producer {
            Some(producer) => producer.send(record).map_err(|(error, _)| error),
            None => Err(KafkaError::Canceled),
        }
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        if let Some(producer) = self.producer.take() {
            let close = move || drop(producer);
            // Without a thread it is closed here and now.
            let _ = std::thread::Builder::new().name("kafka-close".to_owned()).spawn(close);
        }
    }
}

pub(crate) struct Publisher {
    settings: Arc<Settings>,
    seen: Arc<Seen>,
    room: Arc<Semaphore>,
    live: Mutex<Option<Arc<Live>>>,
    /// Held while one is made: whoever finds none meanwhile waits for it. On threads that may wait.
    making: Mutex<()>,
}

impl Publisher {
    pub fn new(settings: Arc<Settings>, seen: Arc<Seen>) -> Result<Self, Error> {
        let room = Arc::new(Semaphore::new(ROOM_KIB));
        let publisher = Self { settings, seen, room, live: Mutex::new(None), making: Mutex::new(()) };
        publisher.make()?;
        Ok(publisher)
    }

    fn live(&self) -> Option<Arc<Live>> {
        lock(&self.live).clone()
    }

    /// Asks for the password: not on a thread of the runtime.
    fn make(&self) -> Result<Arc<Live>, Error> {
        let _making = lock(&self.making);
        if let Some(live) = self.live() {
            return Ok(live);
        }
        let config = client::producer(&self.settings)?;
        let reports = |watch| Reports { watch, seen: self.seen.clone() };
        let producer = Some(client::create(&self.settings, &config, reports)?);
        let fresh = Arc::new(Live { producer, gate: Mutex::new(Gate::Open) });
        *lock(&self.live) = Some(fresh.clone());
        Ok(fresh)
    }

    /// A producer that gives way is abandoned: what is under way fails now, not after its time, and is published again.
    pub fn renew(&self) {
        if let Some(refused) = self.live().filter(|live| live.gives_way()) {
            self.abandon(refused);
        }
    }

    /// The producer takes nothing more, and what it holds is thrown away.
    fn abandon(&self, bad: Arc<Live>) {
        let mut live = lock(&self.live);
        if live.as_ref().is_some_and(|live| Arc::ptr_eq(live, &bad)) {
            *live = None;
        }
        drop(live);
        let mut gate = lock(&bad.gate);
        let was = std::mem::replace(&mut *gate, Gate::Shut);
        drop(gate);
        if was == Gate::Open {
            tracing::warn!("kafka: the producer is replaced, what it had not delivered is published again");
            let purge = move || {
                if let Some(producer) = &bad.producer {
                    producer.purge(PurgeConfig::default().queue().inflight());
                }
            };
            // Purging waits for librdkafka's threads.
            let _ = std::thread::Builder::new().name("kafka-purge".to_owned()).spawn(purge);
        }
    }

    pub async fn publish(self: &Arc<Self>, messages: &[Message]) -> Result<(), Error> {
        let mut partitions = Vec::with_capacity(messages.len());
        for message in messages {
            partitions.push(partition_of(&message.key, known(&message.topic)?.partitions));
            message.check()?;
        }
        if messages.is_empty() {
            return Ok(());
        }
        let live = match self.live() {
            Some(live) => live,
            None => {
                let publisher = self.clone();
                blocking(move || publisher.make()).await?
            }
        };
        let round = Arc::new(Round {
            outstanding: AtomicUsize::new(messages.len()),
            failure: Mutex::new(None),
            settled: Notify::new(),
        });
        let deadline = Instant::now() + self.settings.options.delivery_timeout;
        let sending = self.send_all(&live, &round, messages, &partitions);
        let outcome = tokio::time::timeout_at(deadline, sending).await;
        let error = match outcome {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(error)) => error,
            Err(_) => KafkaError::MessageProduction(Code::MessageTimedOut),
        };
        let explained = self.explain(&live, &round, &error, messages.len());
        self.abandon(live);
        Err(explained)
    }

    async fn send_all(
        &self,
        live: &Live,
        round: &Arc<Round>,
        messages: &[Message],
        partitions: &[u32],
    ) -> Result<(), KafkaError> {
        for (message, partition) in messages.iter().zip(partitions) {
            let kib = (message.key.len() + message.payload.len()) / 1024 + 1;
            let room = self.room.clone().acquire_many_owned(u32::try_from(kib).unwrap_or(u32::MAX));
            let room = room.await.map_err(|_| KafkaError::Canceled)?;
            live.send(message, *partition, Ticket { round: round.clone(), _room: room })?;
        }
        loop {
            if let Some(error) = lock(&round.failure).clone() {
                return Err(error);
            }
            if round.outstanding.load(Ordering::Acquire) == 0 {
                return Ok(());
            }
            round.settled.notified().await;
        }
    }

    fn explain(&self, live: &Live, round: &Round, error: &KafkaError, count: usize) -> Error {
        let left = round.outstanding.load(Ordering::Acquire);
        let doing = format!("{left} of {count} messages are not acknowledged");
        let Some(client) = live.producer.as_ref().map(|producer| producer.client()) else {
            return Error::Unavailable(format!("{doing}: {error}"));
        };
        let watch = &client.context().watch;
        match error.rdkafka_error_code() {
            Some(Code::MessageSizeTooLarge | Code::InvalidMessageSize | Code::InvalidRecord) => {
                Error::Refused(format!("the broker took one of {count} messages for wrong: {error}"))
            }
            Some(Code::Fatal) => match client.fatal_error() {
                Some((code, reason)) => {
                    watch.explain(&format!("{doing}: {reason}"), &KafkaError::Global(code))
                }
                None => watch.explain(&doing, error),
            },
            _ => watch.explain(&doing, error),
        }
    }
}
