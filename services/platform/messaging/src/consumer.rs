//! Consumers: a batch of messages, one transaction, each message once.
//!
//! A batch that fails is handled again message by message, so that one bad message does not hold up the others. A
//! transient failure leaves the offset where it is and is tried again later: a database that is down fills no dead
//! letters.

use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bus::{Bus, Delivery, Subscription};
use contracts::topics::Topic;
use db::{Db, Tx};
use kernel::envelope::Event;
use kernel::{Clock, Envelope, Timestamp};
use tokio::sync::{Mutex, Notify};
use tokio::time::Instant;

use crate::dead_letters::{self, DeadLetterState, Parked};
use crate::inbox;
use crate::rebuild::{self, Origin, Projection};
use crate::{Progress, Pump};

pub(crate) const BATCH_MAX: usize = 256;
/// After so many steps with messages it is looked for dead letters that are to be replayed.
const REPLAY_EVERY: u32 = 16;
/// How often it is looked there where a look is a question to a server.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How long messages gather that nobody waits for, where a transaction costs questions to a server.
const GATHER_FOR: Duration = Duration::from_millis(100);
/// How often a message that fails for a reason of its own is tried before it is parked.
const ATTEMPTS_MAX: u32 = 3;
/// The longest subject and the longest type of a message.
const NAME_CHARS_MAX: usize = 128;

type AheadFn = Box<dyn Fn(&mut Tx<'_>, &[&Envelope]) -> kernel::Result<()> + Send + Sync>;

pub(crate) type HandlerFn = Box<dyn Fn(&mut Tx<'_>, &Envelope) -> kernel::Result<()> + Send + Sync>;

/// What a service does with messages of some topics. Types that it does not name pass by.
pub struct Consumer {
    group: String,
    topics: Vec<Topic>,
    pub(crate) handlers: HashMap<&'static str, HandlerFn>,
    ahead: Option<AheadFn>,
    gathers: bool,
    pub(crate) projection: Option<Projection>,
}

impl Consumer {
    /// `group` is the consumer group, and the inbox's name for it: `<service>.<what>`.
    pub fn new(group: impl Into<String>, topics: &[Topic]) -> Self {
        Self {
            group: group.into(),
            topics: topics.to_vec(),
            handlers: HashMap::new(),
            ahead: None,
            gathers: false,
            projection: None,
        }
    }

    /// Nobody waits for what these messages lead to: they are gathered for a moment, and handled in fewer transactions.
    #[must_use]
    pub fn gathering(mut self) -> Self {
        self.gathers = true;
        self
    }

    /// Looks ahead at the messages that are about to be handled in one transaction: reads what they need with few statements
    /// ([`Tx::note`]) where each would have read it by itself. Their handlers do not depend on it.
    #[must_use]
    pub fn ahead(
        mut self,
        look: impl Fn(&mut Tx<'_>, &[&Envelope]) -> kernel::Result<()> + Send + Sync + 'static,
    ) -> Self {
        self.ahead = Some(Box::new(look));
        self
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

    pub fn group(&self) -> &str {
        &self.group
    }

    pub fn topics(&self) -> &[Topic] {
        &self.topics
    }

    /// A pump that joins the group at its first step and leaves it at its end.
    pub fn start(self, db: Db, bus: Arc<dyn Bus>, clock: Arc<dyn Clock>) -> ConsumerPump {
        ConsumerPump {
            name: self.group.clone(),
            topics: self.topics,
            shared: Arc::new(Shared {
                beside: rebuild::beside(&self.group),
                group: self.group,
                handlers: self.handlers,
                ahead: self.ahead,
                projection: self.projection,
                clock,
            }),
            db,
            bus,
            joined: Mutex::new(None),
            wake: Arc::new(Notify::new()),
            steps: AtomicU32::new(0),
            gathers: self.gathers,
            times: Mutex::default(),
        }
    }
}

pub(crate) struct Shared {
    pub group: String,
    /// The name of what a rebuild does.
    beside: String,
    handlers: HashMap<&'static str, HandlerFn>,
    ahead: Option<AheadFn>,
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
    joined: Mutex<Option<Joined>>,
    wake: Arc<Notify>,
    /// Steps that found messages.
    steps: AtomicU32,
    gathers: bool,
    times: Mutex<Times>,
}

/// A place in the group.
struct Joined {
    subscription: Box<dyn Subscription>,
    /// What it gave last is neither handled nor given back: whatever ended the step, the next one begins by giving it back.
    is_ahead: bool,
}

/// When what was done last, where doing it often is dear.
#[derive(Default)]
struct Times {
    /// Messages were taken, and those were all that there were.
    took: Option<Instant>,
    looked_for_letters: Option<Instant>,
    looked_for_rebuild: Option<Instant>,
}

/// Whether it is time again; if so, the time is noted.
fn is_time(last: &mut Option<Instant>) -> bool {
    let is_due = last.is_none_or(|last| last.elapsed() >= LOOK_EVERY);
    if is_due {
        *last = Some(Instant::now());
    }
    is_due
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

/// The messages of one transaction on their way to their handlers.
struct Round<'a> {
    origin: &'a Origin,
    now: Timestamp,
    some_parked: bool,
    /// Handled before, or in this round.
    handled: HashSet<String>,
}

impl Shared {
    /// Under which name messages from there are marked as handled, or parked.
    fn name(&self, origin: &Origin) -> &str {
        match origin {
            Origin::Group => &self.group,
            Origin::Log(_) => &self.beside,
        }
    }

    /// Whether any message is parked that others may have to wait behind.
    fn some_parked(&self, tx: &mut Tx<'_>, origin: &Origin) -> Result<bool, db::Error> {
        Ok(dead_letters::any(tx, self.name(origin))?
            || matches!(origin, Origin::Log(_)) && dead_letters::any(tx, &self.group)?)
    }

    /// Whether an earlier message of this key is parked, or this very one.
    fn is_parked(&self, tx: &mut Tx<'_>, key: &str, origin: &Origin) -> Result<bool, db::Error> {
        Ok(dead_letters::is_parked(tx, self.name(origin), key)?
            || matches!(origin, Origin::Log(_)) && dead_letters::is_kept(tx, &self.group, key)?)
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
        topic: &str,
        envelope: &Envelope,
        round: &mut Round<'_>,
    ) -> kernel::Result<()> {
        let Some(handler) = self.handler(&envelope.event_type, round.origin) else { return Ok(()) };
        let event = envelope.id.to_string();
        if round.handled.contains(&event) {
            return Ok(());
        }
        let message = trace::Message {
            topic,
            event_type: &envelope.event_type,
            id: &event,
            traceparent: envelope.traceparent.as_deref(),
        };
        let spot = trace::process(self.name(round.origin), &message);
        let inside = spot.enter();
        let handled = handler(tx, envelope);
        drop(inside);
        if let Err(error) = &handled {
            spot.failed(error.code());
        }
        spot.end();
        handled?;
        inbox::mark(tx, self.name(round.origin), &event, round.now);
        round.handled.insert(event);
        Ok(())
    }

    /// Handles messages that came from `origin`, all or none of them.
    fn take_some(&self, tx: &mut Tx<'_>, some: &[Incoming], origin: &Origin) -> kernel::Result<Taken> {
        if !self.admit(tx, origin)? {
            return Ok(Taken::Held);
        }
        let some_parked = self.some_parked(tx, origin)?;
        let is_wanted = |envelope: &&Envelope| self.handler(&envelope.event_type, origin).is_some();
        let wanted: Vec<&Envelope> =
            some.iter().filter_map(|incoming| incoming.envelope.as_ref().ok()).filter(is_wanted).collect();
        let handled = inbox::handled(tx, self.name(origin), &wanted)?;
        if let (Some(ahead), Origin::Group) = (&self.ahead, origin) {
            let is_new = |envelope: &&Envelope| !handled.contains(&envelope.id.to_string());
            let new: Vec<&Envelope> = wanted.into_iter().filter(is_new).collect();
            if new.len() > 1 {
                ahead(tx, &new)?;
            }
        }
        let mut round = Round { origin, now: self.clock.now(), some_parked, handled };
        some.iter().try_for_each(|incoming| self.take(tx, incoming, &mut round))?;
        Ok(Taken::Done)
    }

    fn park(
        &self,
        tx: &mut Tx<'_>,
        incoming: &Incoming,
        origin: &Origin,
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
            consumer: self.name(origin),
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
    fn take(&self, tx: &mut Tx<'_>, incoming: &Incoming, round: &mut Round<'_>) -> kernel::Result<()> {
        let now = round.now;
        match &incoming.envelope {
            Err(error) => Ok(self.park(
                tx,
                incoming,
                round.origin,
                DeadLetterState::Dead,
                &format!("not an envelope: {error}"),
                now,
            )?),
            Ok(envelope) => {
                let wanted = self.handler(&envelope.event_type, round.origin).is_some();
                if wanted && round.some_parked && self.is_parked(tx, &envelope.subject, round.origin)? {
                    return Ok(self.park(
                        tx,
                        incoming,
                        round.origin,
                        DeadLetterState::Waiting,
                        "waits behind a parked message",
                        now,
                    )?);
                }
                self.handle(tx, &incoming.delivery.topic, envelope, round)
            }
        }
    }
}

impl ConsumerPump {
    pub(crate) async fn take_all(&self, batch: &Arc<Vec<Incoming>>, origin: Origin) -> kernel::Result<Taken> {
        self.take_range(batch, 0..batch.len(), origin).await
    }

    async fn take_range(
        &self,
        batch: &Arc<Vec<Incoming>>,
        range: Range<usize>,
        origin: Origin,
    ) -> kernel::Result<Taken> {
        let (shared, batch) = (self.shared.clone(), batch.clone());
        let take = move |tx: &mut Tx<'_>| {
            shared.take_some(tx, batch.get(range.clone()).unwrap_or_default(), &origin)
        };
        self.db.write(take).await
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
            let taken = self.take_range(batch, index..index + 1, origin.clone()).await;
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
                        shared.park(tx, incoming, &origin, DeadLetterState::Dead, &reason, now)?;
                    }
                    Ok(Taken::Done)
                })
                .await;
        }
    }

    /// As [`Self::replay_one`], if it is time to look for one. Where a look costs nothing it always is, once there is nothing
    /// else to do.
    async fn replay(&self, times: &mut Times, is_idle: bool) -> kernel::Result<Progress> {
        let is_due = match (self.db.is_commit_ordered(), is_idle) {
            (true, true) => true,
            // Also where there is always something to do, an operator does not wait for ever.
            (true, false) => self.steps.fetch_add(1, Ordering::Relaxed).is_multiple_of(REPLAY_EVERY),
            (false, _) => is_time(&mut times.looked_for_letters),
        };
        if !is_due {
            return Ok(Progress::Idle);
        }
        let progress = self.replay_one().await?;
        if progress == Progress::Worked {
            times.looked_for_letters = None;
        }
        Ok(progress)
    }

    /// A piece of the rebuild that is under way, if one is. One that has just begun is found within [`LOOK_EVERY`], or by the
    /// first message that is held for it.
    async fn rebuild(&self, times: &mut Times) -> kernel::Result<Option<Progress>> {
        if !self.db.is_commit_ordered() && !is_time(&mut times.looked_for_rebuild) {
            return Ok(None);
        }
        let progress = self.rebuild_step().await;
        if !matches!(progress, Ok(None)) {
            times.looked_for_rebuild = None;
        }
        progress
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
                let handled = inbox::handled(tx, &shared.group, &[&envelope])?;
                let mut round =
                    Round { origin: &Origin::Group, now: shared.clock.now(), some_parked: true, handled };
                shared.handle(tx, &again.topic, &envelope, &mut round)?;
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
        let mut joined = self.joined.lock().await;
        let Joined { subscription, is_ahead } = match &mut *joined {
            Some(joined) => joined,
            None => {
                if let Some(projection) = &self.shared.projection {
                    rebuild::enrol(&self.db, &self.shared.group, &self.topics, projection).await?;
                }
                let member = self.bus.subscribe(&self.shared.group, &self.topics, self.wake.clone()).await?;
                joined.insert(Joined { subscription: member, is_ahead: false })
            }
        };
        if *is_ahead {
            subscription.rewind().await?;
            *is_ahead = false;
        }
        let times = &mut *self.times.lock().await;
        if let Some(progress) = self.rebuild(times).await? {
            return Ok(progress);
        }
        if let Some(took) = times.took.filter(|_| self.gathers && !self.db.is_commit_ordered()) {
            tokio::time::sleep_until(took + GATHER_FOR).await;
        }
        *is_ahead = true;
        let polled = subscription.poll(BATCH_MAX).await?;
        if polled.is_empty() {
            *is_ahead = false;
            times.took = None;
            return self.replay(times, true).await;
        }
        self.replay(times, false).await?;
        times.took = (polled.len() < BATCH_MAX).then(Instant::now);
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
            times.looked_for_rebuild = None;
            // Held: a rebuild has begun, and these come again when it is done.
            return taken.map(|_| Progress::Worked);
        }
        let handled: Vec<Delivery> = batch.iter().map(|incoming| incoming.delivery.clone()).collect();
        subscription.commit(&handled).await?;
        *is_ahead = false;
        Ok(Progress::Worked)
    }

    /// Leaves the group, so that another member goes on at once.
    async fn finish(&self) {
        self.joined.lock().await.take();
    }

    fn wake(&self) -> Arc<Notify> {
        self.wake.clone()
    }

    fn interval(&self) -> Duration {
        Duration::from_secs(1)
    }
}
