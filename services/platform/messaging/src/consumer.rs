//! Consumers: a batch of messages, one transaction, each message once.
//!
//! A batch that fails is handled again message by message, so that one bad message does not hold up the others. A
//! transient failure leaves the offset where it is and is tried again later: a database that is down fills no dead
//! letters.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bus::{Bus, Delivery, Subscription};
use contracts::topics::Topic;
use db::{Db, Tx, params};
use kernel::envelope::Event;
use kernel::{Clock, Envelope, Timestamp};
use tokio::sync::{Mutex, Notify};

use crate::dead_letters::{self, DeadLetterState, Parked};
use crate::rebuild::{self, Origin, Projection};
use crate::{Progress, Pump};

pub(crate) const BATCH_MAX: usize = 256;
/// How often a message that fails for a reason of its own is tried before it is parked.
const ATTEMPTS_MAX: u32 = 3;
/// The longest subject and the longest type of a message.
const NAME_CHARS_MAX: usize = 128;

pub(crate) type HandlerFn = Box<dyn Fn(&mut Tx<'_>, &Envelope) -> kernel::Result<()> + Send + Sync>;

/// Forgets event ids handled before `horizon`, a bounded number at a time; answers how many went. Ids are UUIDv7, so the
/// oldest of a consumer come first in its key: no more is read than goes.
pub fn sweep_inbox(tx: &mut Tx<'_>, horizon: Timestamp) -> Result<usize, db::Error> {
    let mut swept = 0;
    let mut consumer = String::new();
    loop {
        let next = "SELECT MIN(consumer) FROM inbox WHERE consumer > ?";
        let Some(found) =
            tx.unlocked().query_one(next, params![consumer], |row| row.get::<Option<String>>(0))?
        else {
            return Ok(swept);
        };
        // Looked for without a lock, then deleted by key: a subquery would read, and lock, all that the consumer has.
        let oldest = "SELECT event_id FROM (SELECT event_id, handled_at FROM inbox WHERE consumer = ? \
                      ORDER BY event_id LIMIT 1000) oldest WHERE handled_at < ?";
        let old: Vec<String> = tx.unlocked().query(oldest, params![found, horizon], |row| row.get(0))?;
        for event in old {
            let sql = "DELETE FROM inbox WHERE consumer = ? AND event_id = ?";
            swept += tx.execute(sql, params![found, event])?;
        }
        consumer = found;
    }
}

/// What a service does with messages of some topics. Types that it does not name pass by.
pub struct Consumer {
    group: String,
    topics: Vec<Topic>,
    pub(crate) handlers: HashMap<&'static str, HandlerFn>,
    pub(crate) projection: Option<Projection>,
}

impl Consumer {
    /// `group` is the consumer group, and the inbox's name for it: `<service>.<what>`.
    pub fn new(group: impl Into<String>, topics: &[Topic]) -> Self {
        Self { group: group.into(), topics: topics.to_vec(), handlers: HashMap::new(), projection: None }
    }

    /// Handles one type of message inside the transaction that also marks it as handled.
    #[must_use]
    pub fn on<E: Event>(
        mut self,
        handle: impl Fn(&mut Tx<'_>, &E, &Envelope) -> kernel::Result<()> + Send + Sync + 'static,
    ) -> Self {
        let handler = move |tx: &mut Tx<'_>, envelope: &Envelope| {
            let event: E = envelope.decode().map_err(|error| {
                kernel::Error::invalid("event_unreadable", format!("data does not fit {}: {error}", E::TYPE))
            })?;
            handle(tx, &event, envelope)
        };
        self.handlers.insert(E::TYPE, Box::new(handler));
        self
    }

    /// A pump that joins the group at its first step and leaves it at its end.
    pub fn start(self, db: Db, bus: Arc<dyn Bus>, clock: Arc<dyn Clock>) -> ConsumerPump {
        ConsumerPump {
            name: self.group.clone(),
            topics: self.topics,
            shared: Arc::new(Shared {
                group: self.group,
                handlers: self.handlers,
                projection: self.projection,
                clock,
            }),
            db,
            bus,
            subscription: Mutex::new(None),
            wake: Arc::new(Notify::new()),
        }
    }
}

pub(crate) struct Shared {
    pub group: String,
    pub fn group(&self) -> &str {
        &self.group
    }

    pub fn topics(&self) -> &[Topic] {
        &self.topics
    }

    handlers: HashMap<&'static str, HandlerFn>,
    /// Set where the consumer fills a read model that can be rebuilt.
    pub projection: Option<Projection>,
    clock: Arc<dyn Clock>,
}

/// A consumer at work.
pub struct ConsumerPump {
    name: String,
    pub(crate) shared: Arc<Shared>,
    pub(crate) topics: Vec<Topic>,
    pub(crate) db: Db,
    pub(crate) bus: Arc<dyn Bus>,
    /// `None` until the first step: who only looks at a service joins no group.
    subscription: Mutex<Option<Box<dyn Subscription>>>,
    wake: Arc<Notify>,
}

/// A message, read or unreadable.
pub(crate) struct Incoming {
    pub delivery: Delivery,
    envelope: Result<Envelope, String>,
}

/// What became of messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Taken {
    Done,
    /// It is not their turn: nothing was done.
    Held,
}

/// Names longer than any of ours are nobody's, and would not fit where they are kept.
fn fitting(envelope: Envelope) -> Result<Envelope, String> {
    for (what, name) in [("subject", &envelope.subject), ("type", &envelope.event_type)] {
        let length = name.chars().count();
        if length > NAME_CHARS_MAX {
            return Err(format!("a {what} of {length} characters, of at most {NAME_CHARS_MAX}"));
        }
    }
    Ok(envelope)
}

impl Incoming {
    pub fn read(delivery: Delivery) -> Self {
        let envelope = delivery.envelope().map_err(|error| error.to_string()).and_then(fitting);
        Self { delivery, envelope }
    }
}

impl Shared {
    /// Marks the message as handled; `false` where it was handled before.
    fn receive(&self, tx: &mut Tx<'_>, envelope: &Envelope, now: Timestamp) -> Result<bool, db::Error> {
        let sql = "INSERT OR IGNORE INTO inbox (consumer, event_id, handled_at) VALUES (?, ?, ?)";
        Ok(tx.execute(sql, params![self.group, envelope.id.to_string(), now])? == 1)
    }

    /// Whether it is the turn of messages that come from there, until the transaction ends.
    fn admit(&self, tx: &mut Tx<'_>, origin: &Origin) -> Result<bool, db::Error> {
        match origin {
            Origin::Group if self.projection.is_none() => Ok(true),
            Origin::Group => rebuild::is_live(tx, &self.group),
            Origin::Log(slice) => rebuild::pass(tx, &self.group, slice),
        }
    }

    fn handler(&self, event_type: &str, origin: &Origin) -> Option<&HandlerFn> {
        let aside = match origin {
            Origin::Group => None,
            Origin::Log(_) => self.projection.as_ref().and_then(Projection::handlers),
        };
        aside.unwrap_or(&self.handlers).get(event_type)
    }

    fn handle(
        &self,
        tx: &mut Tx<'_>,
        envelope: &Envelope,
        origin: &Origin,
        now: Timestamp,
    ) -> kernel::Result<()> {
        let Some(handler) = self.handler(&envelope.event_type, origin) else { return Ok(()) };
        if self.receive(tx, envelope, now)? {
            handler(tx, envelope)?;
        }
        Ok(())
    }

    fn park(
        &self,
        tx: &mut Tx<'_>,
        incoming: &Incoming,
        state: DeadLetterState,
        error: &str,
        now: Timestamp,
    ) -> Result<(), db::Error> {
        let (key, event_id, event_type) = match &incoming.envelope {
            Ok(envelope) => (envelope.subject.clone(), envelope.id.to_string(), envelope.event_type.as_str()),
            // Without an envelope there is no key: nothing waits behind this place.
            Err(_) => {
                let place = &incoming.delivery;
                (format!("{}/{}/{}", place.topic, place.partition, place.offset), String::new(), "")
            }
        };
        let parked = Parked {
            consumer: &self.group,
            delivery: &incoming.delivery,
            key: &key,
            event_id: &event_id,
            event_type,
            error,
            attempts: if state == DeadLetterState::Dead { ATTEMPTS_MAX } else { 0 },
            state,
            at: now,
        };
        dead_letters::park(tx, &parked)
    }

    /// One message with all its ways out, apart from failing.
    fn take(
        &self,
        tx: &mut Tx<'_>,
        incoming: &Incoming,
        origin: &Origin,
        some_parked: bool,
    ) -> kernel::Result<()> {
        let now = self.clock.now();
        match &incoming.envelope {
            Err(error) => Ok(self.park(
                tx,
                incoming,
                DeadLetterState::Dead,
                &format!("not an envelope: {error}"),
                now,
            )?),
            Ok(envelope) => {
                let wanted = self.handler(&envelope.event_type, origin).is_some();
                if wanted && some_parked && dead_letters::is_parked(tx, &self.group, &envelope.subject)? {
                    return Ok(self.park(
                        tx,
                        incoming,
                        DeadLetterState::Waiting,
                        "waits behind a parked message",
                        now,
                    )?);
                }
                self.handle(tx, envelope, origin, now)
            }
        }
    }
}

impl ConsumerPump {
    pub(crate) async fn take_all(&self, batch: &Arc<Vec<Incoming>>, origin: Origin) -> kernel::Result<Taken> {
        let (shared, batch) = (self.shared.clone(), batch.clone());
        self.db
            .write(move |tx| -> kernel::Result<Taken> {
                if !shared.admit(tx, &origin)? {
                    return Ok(Taken::Held);
                }
                let some_parked = dead_letters::any(tx, &shared.group)?;
                batch.iter().try_for_each(|incoming| shared.take(tx, incoming, &origin, some_parked))?;
                Ok(Taken::Done)
            })
            .await
    }

    /// `Err` only where trying later may help; a message that is at fault itself is parked.
    pub(crate) async fn take_one(
        &self,
        batch: &Arc<Vec<Incoming>>,
        index: usize,
        origin: Origin,
    ) -> kernel::Result<Taken> {
        let mut attempt = 1;
        loop {
            let (shared, all, from) = (self.shared.clone(), batch.clone(), origin.clone());
            let taken = self
                .db
                .write(move |tx| -> kernel::Result<Taken> {
                    if !shared.admit(tx, &from)? {
                        return Ok(Taken::Held);
                    }
                    let some_parked = dead_letters::any(tx, &shared.group)?;
                    if let Some(incoming) = all.get(index) {
                        shared.take(tx, incoming, &from, some_parked)?;
                    }
                    Ok(Taken::Done)
                })
                .await;
            let error = match taken {
                Ok(taken) => return Ok(taken),
                Err(error) => error,
            };
            if error.kind().is_transient() {
                return Err(error);
            }
            if attempt < ATTEMPTS_MAX {
                attempt += 1;
                continue;
            }
            let reason = error.chain();
            tracing::error!(consumer = %self.name, %reason, "message parked as a dead letter");
            let (shared, all) = (self.shared.clone(), batch.clone());
            return self
                .db
                .write(move |tx| -> kernel::Result<Taken> {
                    if !shared.admit(tx, &origin)? {
                        return Ok(Taken::Held);
                    }
                    let now = shared.clock.now();
                    if let Some(incoming) = all.get(index) {
                        shared.park(tx, incoming, DeadLetterState::Dead, &reason, now)?;
                    }
                    Ok(Taken::Done)
                })
                .await;
        }
    }

    /// Handles one dead letter that an operator wants replayed.
    async fn replay_one(&self) -> kernel::Result<Progress> {
        let group = self.shared.group.clone();
        let letter = self
            .db
            .look_up(move |tx| dead_letters::next_ready(tx, &group).map_err(kernel::Error::from))
            .await?;
        let Some(letter) = letter else { return Ok(Progress::Idle) };
        let (shared, again) = (self.shared.clone(), letter.clone());
        let replayed = self
            .db
            .write(move |tx| -> kernel::Result<()> {
                if !shared.admit(tx, &Origin::Group)? {
                    return Ok(());
                }
                let envelope: Envelope = serde_json::from_str(&again.payload)
                    .map_err(|error| kernel::Error::invalid("event_unreadable", error.to_string()))?;
                shared.handle(tx, &envelope, &Origin::Group, shared.clock.now())?;
                Ok(dead_letters::remove(tx, &again)?)
            })
            .await;
        if let Err(error) = replayed {
            if error.kind().is_transient() {
                return Err(error);
            }
            let reason = error.chain();
            self.db.write(move |tx| dead_letters::fail_again(tx, &letter, &reason)).await?;
        }
        Ok(Progress::Worked)
    }
}

#[async_trait]
impl Pump for ConsumerPump {
    fn name(&self) -> &str {
        &self.name
    }

    async fn step(&self) -> kernel::Result<Progress> {
        let mut joined = self.subscription.lock().await;
        let subscription = match &mut *joined {
            Some(subscription) => subscription,
            None => {
                if let Some(projection) = &self.shared.projection {
                    rebuild::enrol(&self.db, &self.shared.group, &self.topics, projection).await?;
                }
                let member = self.bus.subscribe(&self.shared.group, &self.topics, self.wake.clone()).await?;
                joined.insert(member)
            }
        };
        if let Some(progress) = self.rebuild_step().await? {
            return Ok(progress);
        }
        if self.replay_one().await? == Progress::Worked {
            return Ok(Progress::Worked);
        }
        let polled = match subscription.poll(BATCH_MAX).await {
            Ok(polled) => polled,
            Err(error) => {
                subscription.rewind().await?;
                return Err(error.into());
            }
        };
        if polled.is_empty() {
            return Ok(Progress::Idle);
        }
        let batch: Arc<Vec<Incoming>> = Arc::new(polled.into_iter().map(Incoming::read).collect());
        let mut taken = self.take_all(&batch, Origin::Group).await;
        if taken.is_err() {
            for index in 0..batch.len() {
                taken = self.take_one(&batch, index, Origin::Group).await;
                if !matches!(taken, Ok(Taken::Done)) {
                    break;
                }
            }
        }
        if !matches!(taken, Ok(Taken::Done)) {
            subscription.rewind().await?;
            // Held: a rebuild has begun, and these come again when it is done.
            return taken.map(|_| Progress::Worked);
        }
        let handled: Vec<Delivery> = batch.iter().map(|incoming| incoming.delivery.clone()).collect();
        subscription.commit(&handled).await?;
        Ok(Progress::Worked)
    }

    /// Leaves the group, so that another member goes on at once.
    async fn finish(&self) {
        self.subscription.lock().await.take();
    }

    fn wake(&self) -> Arc<Notify> {
        self.wake.clone()
    }

    fn interval(&self) -> Duration {
        Duration::from_secs(1)
    }
}
