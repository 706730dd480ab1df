//! A member of a consumer group.
//!
//! Invariants:
//! - rebalances are served inside `poll`, never between a poll and the commit of what it gave: a partition is handed
//!   over after its batch. Heartbeats go on meanwhile, in librdkafka's own thread; a member that handles for longer
//!   than `handling_timeout` loses its partitions and joins again at its next poll;
//! - what `poll` collected from a partition that is revoked during the same call is not handed out;
//! - a member that joins when it is dropped first finishes that, for a while: some brokers wait for good for one that
//!   left amid its first rebalance (README.md);
//! - a member whose group does not settle is told of, and after longer than a rebalance may take joins anew (`rest`);
//! - a member whose password was refused, and is another one by now, joins anew too (`sign_in`);
//! - a commit that the brokers refuse or lose is repeated at the next poll while the partition is still ours. A thread
//!   of the member's waits for the answers; what is committed meanwhile goes together in the next.
//!
//! Memory is bounded by librdkafka's queue, which stops fetching at 2 MiB: a member that nobody polls holds that much.

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use async_trait::async_trait;
use bus::{Delivery, Error, Subscription};
use contracts::topics::Topic;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer, ConsumerContext, Rebalance};
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::{ClientContext, Message as _, Offset, TopicPartitionList};
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::client::{self, BATCH_BYTES_MAX, Watch, blocking, lock};
use crate::reader::Seen;
use crate::rest::{self, Rest, Verdict};
use crate::share::Share;
use crate::{Settings, wire};

/// How long commits are gathered after one was made: each is a question to the brokers, and what it tells them is needed by
/// whoever takes over without a goodbye.
const COMMIT_REST: Duration = Duration::from_millis(250);

/// How long going back may take. It is settled inside librdkafka, without the brokers.
const SEEK_TIMEOUT: Duration = Duration::from_secs(5);

/// A successor waits so long for its predecessor's goodbye: two in the group for a moment are one rebalance too many.
const GOODBYE_TIMEOUT: Duration = Duration::from_secs(3);
const GOODBYE_STEP: Duration = Duration::from_millis(5);

/// How long one that leaves may take to finish joining. A first rebalance takes 3 s on Kafka.
const SETTLES_WITHIN: Duration = Duration::from_secs(8);
const SETTLE_STEP: Duration = Duration::from_millis(50);

/// How long the last handle of a bus waits for members who are leaving.
pub(crate) const LEFT_WITHIN: Duration = Duration::from_secs(10);

type Place = (String, i32);

/// Where a partition stands in this member.
#[derive(Debug, Clone, Copy)]
struct Standing {
    /// What a rewind goes back to: all before it is committed.
    back: i64,
    /// What is delivered next.
    next: i64,
}

#[derive(Default)]
struct Books {
    standings: HashMap<Place, Standing>,
    /// To be committed, or refused and to be committed again.
    owed: HashMap<Place, i64>,
    /// Taken away since the poll last looked.
    revoked: Vec<Place>,
}

/// What librdkafka tells a member while it polls.
pub(crate) struct Ledger {
    group: String,
    watch: Watch,
    rest: Mutex<Rest>,
    /// As far as it has been told: joining, and that its brokers can be reached.
    is_joining: AtomicBool,
    share: Mutex<Share>,
    /// It has waited for its group in vain.
    is_given_up: AtomicBool,
    /// The thread that commits has been told that something is owed.
    is_told: AtomicBool,
    /// Events served: a poll that gave nothing and served nothing found nothing.
    served: AtomicU64,
    books: Mutex<Books>,
}

impl Ledger {
    fn new(group: &str, settings: &Settings, watch: Watch) -> Self {
        let (session, handling) = (settings.options.session_timeout, settings.options.handling_timeout);
        Self {
            group: group.to_owned(),
            watch,
            rest: Mutex::new(Rest::new(session, handling, rest::some_share())),
            is_joining: AtomicBool::new(true),
            share: Mutex::new(Share::new(client::heartbeat(session))),
            is_given_up: AtomicBool::new(false),
            is_told: AtomicBool::new(false),
            served: AtomicU64::new(0),
            books: Mutex::default(),
        }
    }

    fn serve(&self) {
        self.served.fetch_add(1, Ordering::Relaxed);
    }

    fn has_settled(&self) -> bool {
        lock(&self.share).has_settled() && !self.is_joining.load(Ordering::Relaxed)
    }

    fn stands(&self, place: rest::Place) {
        self.is_joining.store(place == rest::Place::Joining, Ordering::Relaxed);
        let group = &self.group;
        match lock(&self.rest).observe(place, Instant::now()) {
            Verdict::Fine => {}
            Verdict::Tell(rested) => {
                tracing::warn!(group, ?rested, "kafka: the group does not settle, its messages rest");
            }
            Verdict::GoesOn(rested) => tracing::info!(group, ?rested, "kafka: the group has settled"),
            Verdict::JoinAnew(rested) => {
                tracing::warn!(group, ?rested, "kafka: the group does not settle and is joined anew");
                self.is_given_up.store(true, Ordering::Relaxed);
            }
        }
    }
}

fn places(list: &TopicPartitionList) -> Vec<Place> {
    list.elements().iter().map(|element| (element.topic().to_owned(), element.partition())).collect()
}

impl ClientContext for Ledger {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        self.serve();
        Watch::log(level, facility, line);
    }

    fn stats_raw(&self, statistics: &[u8]) {
        self.serve();
        if let Some(place) = rest::Place::read(statistics) {
            self.stands(place);
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.serve();
        self.watch.note(&error, reason);
    }
}

impl ConsumerContext for Ledger {
    fn pre_rebalance(&self, client: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        self.serve();
        match rebalance {
            Rebalance::Assign(list) => {
                tracing::debug!(partitions = ?places(list), "kafka: assigned");
                lock(&self.share).takes(list.count());
            }
            Rebalance::Revoke(list) => {
                let gone = places(list);
                tracing::debug!(partitions = ?gone, "kafka: revoked");
                lock(&self.share).lets_go(gone.len());
                let mut handled = TopicPartitionList::new();
                let mut books = lock(&self.books);
                for place in &gone {
                    books.owed.remove(place);
                    if let Some(standing) = books.standings.remove(place) {
                        let _ =
                            handled.add_partition_offset(&place.0, place.1, Offset::Offset(standing.back));
                    }
                }
                books.revoked.extend(gone);
                drop(books);
                // Sent before the partitions are let go: who gets them begins after it.
                if handled.count() > 0 && !client.assignment_lost() {
                    let _ = client.commit(&handled, CommitMode::Async);
                }
            }
            Rebalance::Error(error) => tracing::warn!(%error, "kafka: rebalance failed"),
        }
    }

    fn post_rebalance(&self, _: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        if matches!(rebalance, Rebalance::Assign(_)) {
            self.is_joining.store(false, Ordering::Relaxed);
        }
    }
}

type MemberClient = BaseConsumer<Ledger>;

/// The members of this process, and those that are saying goodbye.
#[derive(Default)]
pub(crate) struct Members {
    clients: Mutex<Vec<(String, Weak<MemberClient>)>>,
    /// All that were joined here, also those that nobody here is in any more.
    groups: Mutex<BTreeSet<String>>,
    goodbyes: Mutex<Vec<(String, JoinHandle<()>)>>,
}

impl Members {
    pub fn groups(&self) -> BTreeSet<String> {
        lock(&self.groups).clone()
    }

    /// A client of the group, if somebody here is in it. Held for a moment only: it keeps the member from leaving.
    pub fn client_of(&self, group: &str) -> Option<Arc<MemberClient>> {
        let mut clients = lock(&self.clients);
        clients.retain(|(_, client)| client.strong_count() > 0);
        clients.iter().find(|(of, _)| of == group)?.1.upgrade()
    }

    /// Whether somebody here has a place in each of the groups, and has had it for a while.
    pub fn have_settled(&self, groups: &BTreeSet<String>) -> bool {
        let has_settled = |client: Arc<MemberClient>| client.context().has_settled();
        groups.iter().all(|group| self.client_of(group).is_some_and(has_settled))
    }

    /// Leaving a group waits for the brokers, and nobody here has to. `wake` hears when it is done.
    fn leave(&self, group: &str, client: Arc<MemberClient>, wake: Arc<Notify>) {
        let leave = move || {
            // Whoever commits or asks for a moment longer is waited for: the last holder closes the client.
            for _ in 0..2_000 {
                if Arc::strong_count(&client) == 1 {
                    break;
                }
                std::thread::park_timeout(GOODBYE_STEP);
            }
            finish_joining(&client);
            drop(client);
            wake.notify_one();
        };
        let leaving = std::thread::Builder::new().name("kafka-leave".to_owned()).spawn(leave);
        let mut goodbyes = lock(&self.goodbyes);
        goodbyes.retain(|(_, goodbye)| !goodbye.is_finished());
        goodbyes.extend(leaving.ok().map(|leaving| (group.to_owned(), leaving)));
    }

    fn is_leaving(&self, group: Option<&str>) -> bool {
        let is_meant = |of: &String| group.is_none_or(|group| group == of);
        lock(&self.goodbyes).iter().any(|(of, goodbye)| is_meant(of) && !goodbye.is_finished())
    }

    /// Until those who leave `group`, or any group, are gone.
    pub fn wait_for_goodbyes(&self, group: Option<&str>, at_most: Duration) {
        let mut left = at_most;
        while self.is_leaving(group) && !left.is_zero() {
            std::thread::park_timeout(GOODBYE_STEP);
            left = left.saturating_sub(GOODBYE_STEP);
        }
    }
}

/// What it is given meanwhile is not committed: it comes again, to others.
fn finish_joining(client: &MemberClient) {
    let begun = Instant::now();
    while client.context().is_joining.load(Ordering::Relaxed) && begun.elapsed() < SETTLES_WITHIN {
        drop(client.poll(SETTLE_STEP));
    }
}

pub(crate) struct Member {
    settings: Arc<Settings>,
    members: Arc<Members>,
    group: String,
    topics: Vec<(Topic, Arc<str>)>,
    wake: Arc<Notify>,
    published: Arc<Notify>,
    seen: Arc<Seen>,
    /// `None` after an error that it does not survive: the next poll joins anew.
    client: Option<Arc<MemberClient>>,
    /// Tells the thread that commits.
    committer: Option<mpsc::Sender<()>>,
}

impl Member {
    pub fn join(
        settings: Arc<Settings>,
        members: Arc<Members>,
        group: String,
        topics: Vec<Topic>,
        wake: Arc<Notify>,
        published: Arc<Notify>,
        seen: Arc<Seen>,
    ) -> Result<Self, Error> {
        let topics = topics.into_iter().map(|topic| (topic, Arc::from(topic.name))).collect();
        let mut member =
            Self { settings, members, group, topics, wake, published, seen, client: None, committer: None };
        member.members.wait_for_goodbyes(Some(&member.group), GOODBYE_TIMEOUT);
        let config = client::member(&member.settings, &member.group)?;
        member.connect(&config)?;
        Ok(member)
    }

    fn connect(&mut self, config: &ClientConfig) -> Result<Arc<MemberClient>, Error> {
        let ledger = |watch| Ledger::new(&self.group, &self.settings, watch);
        let mut fresh: MemberClient = client::create(&self.settings, config, ledger)?;
        let wake = self.wake.clone();
        fresh.set_nonempty_callback(move || wake.notify_one());
        let names: Vec<&str> = self.topics.iter().map(|(topic, _)| topic.name).collect();
        fresh
            .subscribe(&names)
            .map_err(|error| fresh.context().watch.explain("the group cannot be joined", &error))?;
        let fresh = Arc::new(fresh);
        lock(&self.members.groups).insert(self.group.clone());
        lock(&self.members.clients).push((self.group.clone(), Arc::downgrade(&fresh)));
        let (committer, told) = mpsc::channel();
        let client = Arc::downgrade(&fresh);
        let commit = move || commit_for(&client, &told);
        let thread = std::thread::Builder::new().name("kafka-commit".to_owned()).spawn(commit);
        thread.map_err(|error| Error::Unavailable(format!("no thread for Kafka: {error}")))?;
        self.committer = Some(committer);
        self.client = Some(fresh.clone());
        self.wake.notify_one();
        Ok(fresh)
    }

    fn tell(&self) {
        let (Some(committer), Some(client)) = (&self.committer, &self.client) else { return };
        let ledger = client.context();
        if !lock(&ledger.books).owed.is_empty() && !ledger.is_told.swap(true, Ordering::AcqRel) {
            // Its thread ends after this member.
            let _ = committer.send(());
        }
    }

    fn disconnect(&mut self) {
        self.committer = None;
        if let Some(client) = self.client.take() {
            self.members.leave(&self.group, client, self.wake.clone());
        }
    }

    fn collect(&mut self, client: &MemberClient, max: usize) -> Result<Vec<Delivery>, Error> {
        let ledger = client.context();
        let mut batch: Vec<Delivery> = Vec::new();
        let mut bytes = 0;
        let mut failure = None;
        let found = loop {
            if batch.len() >= max || bytes >= BATCH_BYTES_MAX {
                break true;
            }
            let before = ledger.served.load(Ordering::Relaxed);
            match client.poll(Duration::ZERO) {
                Some(Ok(message)) => {
                    let Some((topic, name)) =
                        self.topics.iter().find(|(topic, _)| topic.name == message.topic())
                    else {
                        continue;
                    };
                    ledger.watch.recovered();
                    bytes += message.payload_len();
                    let place = (message.topic().to_owned(), message.partition());
                    let (offset, next) = (message.offset(), message.offset() + 1);
                    let mut books = lock(&ledger.books);
                    books.standings.entry(place).or_insert(Standing { back: offset, next }).next = next;
                    drop(books);
                    let delivery = wire::delivery(name, &message);
                    self.seen.saw(*topic, delivery.partition, offset);
                    batch.push(delivery);
                }
                Some(Err(error)) => {
                    failure = self.judge(ledger, error);
                    if failure.is_some() {
                        break false;
                    }
                }
                None if ledger.served.load(Ordering::Relaxed) == before => break false,
                None => {}
            }
            let revoked = std::mem::take(&mut lock(&ledger.books).revoked);
            if !revoked.is_empty() {
                batch.retain(|delivery| {
                    let is_gone = |(topic, partition): &Place| {
                        **topic == *delivery.topic && u32::try_from(*partition) == Ok(delivery.partition)
                    };
                    !revoked.iter().any(is_gone)
                });
            }
        };
        if found {
            // The signal comes when the queue fills, not while it is full.
            self.wake.notify_one();
        }
        match failure {
            Some(error) if batch.is_empty() => Err(error),
            _ => Ok(batch),
        }
    }

    /// What of the client's troubles ends a poll. Of most it recovers by itself.
    fn judge(&mut self, ledger: &Ledger, error: KafkaError) -> Option<Error> {
        let explained = ledger.watch.explain("the group's messages cannot be had", &error);
        match error {
            KafkaError::MessageConsumptionFatal(_) => {
                self.disconnect();
                Some(explained)
            }
            KafkaError::MessageConsumption(Code::AllBrokersDown) => Some(explained),
            KafkaError::MessageConsumption(Code::PollExceeded) => {
                tracing::warn!(
                    group = self.group,
                    "kafka: handling took too long, the group is joined again"
                );
                None
            }
            _ if matches!(explained, Error::Misconfigured(_)) => Some(explained),
            _ => None,
        }
    }
}

/// Commits what is owed and waits for the answer: librdkafka tells nobody how a commit ended that nobody waited for.
fn settle(client: &MemberClient) {
    let owed = std::mem::take(&mut lock(&client.context().books).owed);
    if owed.is_empty() {
        return;
    }
    let mut list = TopicPartitionList::with_capacity(owed.len());
    for ((topic, partition), offset) in &owed {
        // Only an offset below zero is refused.
        let _ = list.add_partition_offset(topic, *partition, Offset::Offset(*offset));
    }
    let committed = client.commit(&list, CommitMode::Sync);
    if committed.is_ok() {
        client.context().watch.recovered();
    }
    if let Err(error) = committed {
        tracing::debug!(%error, "kafka: a commit failed");
        let mut books = lock(&client.context().books);
        let Books { standings, owed: now_owed, .. } = &mut *books;
        for (place, offset) in owed {
            if standings.contains_key(&place) {
                now_owed.entry(place).or_insert(offset);
            }
        }
    }
}

/// Settles when it is told to, until the member is gone. What is told while it rests is settled together.
fn commit_for(client: &Weak<MemberClient>, told: &mpsc::Receiver<()>) {
    while told.recv().is_ok() {
        let Some(client) = client.upgrade() else { return };
        client.context().is_told.store(false, Ordering::Release);
        settle(&client);
        // A member that leaves is not held up: it says itself how far it is.
        drop(client);
        std::thread::park_timeout(COMMIT_REST);
    }
}

#[async_trait]
impl Subscription for Member {
    async fn poll(&mut self, max: usize) -> Result<Vec<Delivery>, Error> {
        let client = match self.client.clone() {
            Some(client) => client,
            // What was left after an error: the wake comes.
            None if self.members.is_leaving(Some(&self.group)) => return Ok(Vec::new()),
            None => {
                let (settings, group) = (self.settings.clone(), self.group.clone());
                let config = blocking(move || client::member(&settings, &group)).await?;
                self.connect(&config)?
            }
        };
        if client.context().watch.gives_way() {
            tracing::warn!(group = self.group, "kafka: the group is joined again, with another password");
            drop(client);
            self.disconnect();
            return Ok(Vec::new());
        }
        // What failed is tried again.
        self.tell();
        let batch = self.collect(&client, max)?;
        if batch.is_empty() && client.context().is_given_up.load(Ordering::Relaxed) {
            drop(client);
            self.disconnect();
            return Ok(batch);
        }
        if !batch.is_empty() {
            self.published.notify_waiters();
        }
        Ok(batch)
    }

    async fn commit(&mut self, handled: &[Delivery]) -> Result<(), Error> {
        // Nothing is ours any more: it is delivered again.
        let Some(client) = &self.client else { return Ok(()) };
        let mut books = lock(&client.context().books);
        let books_ref = &mut *books;
        for delivery in handled {
            let place = (delivery.topic.to_string(), i32::try_from(delivery.partition).unwrap_or(0));
            let next = delivery.offset + 1;
            if let Some(standing) = books_ref.standings.get_mut(&place)
                && standing.back < next
            {
                standing.back = next;
                books_ref.owed.insert(place, next);
            }
        }
        drop(books);
        self.tell();
        Ok(())
    }

    async fn rewind(&mut self) -> Result<(), Error> {
        let Some(client) = self.client.clone() else { return Ok(()) };
        let mut list = TopicPartitionList::new();
        for ((topic, partition), standing) in &lock(&client.context().books).standings {
            if standing.back < standing.next {
                let _ = list.add_partition_offset(topic, *partition, Offset::Offset(standing.back));
            }
        }
        if list.count() == 0 {
            return Ok(());
        }
        let seeking = client.clone();
        let sought = blocking(move || {
            let explain = |error: &KafkaError| seeking.context().watch.explain("going back failed", error);
            let list = seeking.seek_partitions(list, SEEK_TIMEOUT).map_err(|error| explain(&error))?;
            let failed = list.elements().into_iter().find_map(|element| element.error().err());
            failed.map_or_else(|| Ok(places(&list)), |error| Err(explain(&error)))
        });
        match sought.await {
            Ok(moved) => {
                for place in moved {
                    if let Some(standing) = lock(&client.context().books).standings.get_mut(&place) {
                        standing.next = standing.back;
                    }
                }
            }
            // What is polled and not committed must come again, in whatever way.
            Err(error) => {
                tracing::warn!(%error, group = self.group, "kafka: the group is joined again");
                drop(client);
                self.disconnect();
            }
        }
        self.wake.notify_one();
        Ok(())
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.disconnect();
    }
}
