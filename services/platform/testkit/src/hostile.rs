//! A bus in memory that does, by a seed, what a bus may do: deliver twice, late, in another order across keys, and
//! forget what a crashed consumer had not committed.
//!
//! Invariant: what every adapter promises it keeps: no message is lost, and those of one key are first delivered in
//! their order.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bus::{Bus, Delivery, Error, GroupLag, Message, PartitionInfo, Start, Subscription, partition_of};
use contracts::topics::{self, Topic};
use kernel::id::SplitMix;
use kernel::{Clock, Timestamp};
use tokio::sync::Notify;

/// How hostile it is, in percent. All zero: a well-behaved bus.
#[derive(Debug, Clone, Copy, Default)]
pub struct Faults {
    /// A delivered message is delivered again later, although it was committed.
    pub duplicate: u64,
    /// A message is held back while those of other keys go ahead.
    pub delay: u64,
    /// A commit is lost: the consumer is as if it had crashed between its database and the bus.
    pub lose_commit: u64,
    /// Publishing fails after the messages were taken: the answer is lost, and they are published again.
    pub lose_answer: u64,
}

struct Queue {
    /// By key, in their order: the front is delivered next.
    waiting: BTreeMap<String, VecDeque<Delivery>>,
    /// Delivered and not committed.
    pending: Vec<Delivery>,
}

struct State {
    random: SplitMix,
    faults: Faults,
    log: HashMap<Arc<str>, Vec<Delivery>>,
    groups: HashMap<(String, Arc<str>), Queue>,
    wakes: Vec<Arc<Notify>>,
}

/// Shared by all who publish and consume in one house.
#[derive(Clone)]
pub struct HostileBus {
    clock: Arc<dyn Clock>,
    state: Arc<Mutex<State>>,
    published: Arc<Notify>,
}

impl HostileBus {
    pub fn new(clock: Arc<dyn Clock>, seed: u64, faults: Faults) -> Self {
        let state = State {
            random: SplitMix(seed),
            faults,
            log: HashMap::new(),
            groups: HashMap::new(),
            wakes: Vec::new(),
        };
        Self { clock, state: Arc::new(Mutex::new(state)), published: Arc::new(Notify::new()) }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on it behaves: what is still under way arrives.
    pub fn calm(&self) {
        self.lock().faults = Faults::default();
    }

    /// Messages that some group has not committed.
    pub fn undelivered(&self) -> usize {
        let state = self.lock();
        let count =
            |queue: &Queue| queue.pending.len() + queue.waiting.values().map(VecDeque::len).sum::<usize>();
        state.groups.values().map(count).sum()
    }

    /// All messages of a topic, in the order in which they were published.
    pub fn log(&self, topic: &str) -> Vec<Delivery> {
        self.lock().log.get(topic).cloned().unwrap_or_default()
    }
}

fn key_of(delivery: &Delivery) -> String {
    delivery
        .envelope()
        .map_or_else(|_| format!("unreadable-{}", delivery.offset), |envelope| envelope.subject)
}

#[async_trait]
impl Bus for HostileBus {
    async fn publish(&self, messages: Vec<Message>) -> Result<(), Error> {
        let mut state = self.lock();
        let at = self.clock.now();
        for message in messages {
            let topic =
                topics::by_name(&message.topic).ok_or(Error::UnknownTopic(message.topic.to_string()))?;
            let log = state.log.entry(message.topic.clone()).or_default();
            let delivery = Delivery {
                topic: message.topic.clone(),
                partition: partition_of(&message.key, topic.partitions),
                offset: i64::try_from(log.len()).unwrap_or(i64::MAX),
                published_at: at,
                payload: message.payload,
            };
            log.push(delivery.clone());
            for ((_, wanted), queue) in &mut state.groups {
                if *wanted == message.topic {
                    queue.waiting.entry(message.key.clone()).or_default().push_back(delivery.clone());
                }
            }
        }
        for wake in &state.wakes {
            wake.notify_one();
        }
        let lost = state.faults.lose_answer;
        if state.random.chance(lost) {
            return Err(Error::Unavailable("the answer was lost".to_owned()));
        }
        Ok(())
    }

    async fn subscribe(
        &self,
        group: &str,
        topics: &[Topic],
        wake: Arc<Notify>,
    ) -> Result<Box<dyn Subscription>, Error> {
        let mut state = self.lock();
        for topic in topics {
            let name: Arc<str> = Arc::from(topic.name);
            let so_far = state.log.get(&name).cloned().unwrap_or_default();
            let queue = state.groups.entry((group.to_owned(), name)).or_insert_with(|| {
                let mut waiting: BTreeMap<String, VecDeque<Delivery>> = BTreeMap::new();
                for delivery in so_far {
                    waiting.entry(key_of(&delivery)).or_default().push_back(delivery);
                }
                Queue { waiting, pending: Vec::new() }
            });
            // The member before this one is gone: what it had not committed is delivered again.
            for delivery in std::mem::take(&mut queue.pending).into_iter().rev() {
                queue.waiting.entry(key_of(&delivery)).or_default().push_front(delivery);
            }
        }
        state.wakes.push(wake);
        let topics = topics.iter().map(|topic| Arc::from(topic.name)).collect();
        Ok(Box::new(Member { bus: self.clone(), group: group.to_owned(), topics }))
    }

    async fn partitions(&self, topic: &str) -> Result<Vec<PartitionInfo>, Error> {
        let end = i64::try_from(self.log(topic).len()).unwrap_or(i64::MAX);
        Ok(vec![PartitionInfo { partition: 0, begin: 0, end, messages: end, first_at: None, last_at: None }])
    }

    async fn lag(&self) -> Result<Vec<GroupLag>, Error> {
        Ok(Vec::new())
    }

    async fn offset_of(&self, topic: &str, _: u32, start: Start) -> Result<i64, Error> {
        let log = self.log(topic);
        Ok(match start {
            Start::Earliest => 0,
            Start::Latest => i64::try_from(log.len()).unwrap_or(i64::MAX),
            Start::At(at) => {
                let before = log.iter().filter(|delivery| delivery.published_at < at).count();
                i64::try_from(before).unwrap_or(i64::MAX)
            }
        })
    }

    async fn read(&self, topic: &str, _: u32, offset: i64, limit: usize) -> Result<Vec<Delivery>, Error> {
        let log = self.log(topic);
        Ok(log.into_iter().filter(|delivery| delivery.offset >= offset).take(limit).collect())
    }

    async fn sweep(&self, _: Timestamp) -> Result<u64, Error> {
        Ok(0)
    }

    fn published(&self) -> Arc<Notify> {
        self.published.clone()
    }
}

struct Member {
    bus: HostileBus,
    group: String,
    topics: Vec<Arc<str>>,
}

#[async_trait]
impl Subscription for Member {
    async fn poll(&mut self, max: usize) -> Result<Vec<Delivery>, Error> {
        let mut state = self.bus.lock();
        let State { random, faults, groups, .. } = &mut *state;
        let mut batch = Vec::new();
        for topic in &self.topics {
            let Some(queue) = groups.get_mut(&(self.group.clone(), topic.clone())) else { continue };
            let mut keys: Vec<String> = queue.waiting.keys().cloned().collect();
            // Across keys any order is allowed.
            for index in (1..keys.len()).rev() {
                keys.swap(index, usize::try_from(random.below(index as u64 + 1)).unwrap_or(0));
            }
            for key in keys {
                if random.chance(faults.delay) {
                    continue;
                }
                let Some(waiting) = queue.waiting.get_mut(&key) else { continue };
                while batch.len() < max
                    && let Some(delivery) = waiting.pop_front()
                {
                    queue.pending.push(delivery.clone());
                    batch.push(delivery);
                }
                if waiting.is_empty() {
                    queue.waiting.remove(&key);
                }
            }
        }
        Ok(batch)
    }

    async fn commit(&mut self, handled: &[Delivery]) -> Result<(), Error> {
        let mut state = self.bus.lock();
        let State { random, faults, groups, .. } = &mut *state;
        let lost = random.chance(faults.lose_commit);
        for topic in &self.topics {
            let Some(queue) = groups.get_mut(&(self.group.clone(), topic.clone())) else { continue };
            let is_handled = |delivery: &Delivery| {
                handled.iter().any(|one| one.topic == delivery.topic && one.offset == delivery.offset)
            };
            let (done, rest): (Vec<_>, Vec<_>) = queue.pending.drain(..).partition(is_handled);
            queue.pending = rest;
            for delivery in done.into_iter().rev() {
                if lost || random.chance(faults.duplicate) {
                    queue.waiting.entry(key_of(&delivery)).or_default().push_front(delivery);
                }
            }
        }
        Ok(())
    }

    async fn rewind(&mut self) -> Result<(), Error> {
        let mut state = self.bus.lock();
        for topic in &self.topics {
            let Some(queue) = state.groups.get_mut(&(self.group.clone(), topic.clone())) else { continue };
            for delivery in std::mem::take(&mut queue.pending).into_iter().rev() {
                queue.waiting.entry(key_of(&delivery)).or_default().push_front(delivery);
            }
        }
        Ok(())
    }
}
