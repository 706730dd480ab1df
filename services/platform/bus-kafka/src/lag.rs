//! How far groups are: ours, in this process and in others.
//!
//! Invariants:
//! - a group of ours is known by its prefix. Where the brokers do not list groups, those of this process are all that is known;
//! - what a process asks for itself is about its own groups, by their members' clients: it lists nothing, and makes a client
//!   only for a group that nobody here is in any more.

use std::collections::{BTreeSet, HashMap};
use std::convert::identity;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bus::{Error, GroupLag};
use contracts::topics;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::KafkaResult;
use rdkafka::{Offset, TopicPartitionList};
use tokio::time::Instant;

use crate::Settings;
use crate::client::{self, ASK_TIMEOUT, Watch, lock};
use crate::member::Members;
use crate::reader::Seen;

/// Offsets by topic and partition.
type Committed = HashMap<(&'static str, u32), i64>;

/// How long the list of groups may take. It is an extra.
const LIST_TIMEOUT: Duration = Duration::from_secs(3);
/// After a failure it is not asked for again so soon: brokers that do not know the question let it time out.
const LIST_PAUSE: Duration = Duration::from_secs(60);

/// How often the desk finds an observer unused before it is closed: half a minute.
const IDLE_TURNS: u32 = 60;

/// Asks for the offsets of a group that nobody here is in.
struct Observer {
    group: String,
    client: BaseConsumer<Watch>,
    idle_turns: u32,
}

/// The groups that the brokers list, and who asks for them. An observer has to find its group's coordinator first, so
/// it is kept while somebody asks now and then.
#[derive(Default)]
pub(crate) struct Listing {
    failed_at: Mutex<Option<Instant>>,
    observers: Mutex<Vec<Observer>>,
}

impl Listing {
    /// Closes what nobody used for a while, and what signs in with an old password. Called about twice a second.
    pub fn drop_idle(&self) {
        let mut observers = lock(&self.observers);
        observers.iter_mut().for_each(|observer| observer.idle_turns += 1);
        let is_old = |one: &mut Observer| one.idle_turns > IDLE_TURNS || one.client.context().is_old();
        let old: Vec<Observer> = observers.extract_if(.., is_old).collect();
        drop(observers);
        drop(old);
    }

    fn observe(&self, settings: &Settings, group: &str) -> Result<KafkaResult<Committed>, Error> {
        let mut observers = lock(&self.observers);
        let known = observers.iter().position(|observer| observer.group == group);
        let known = known.map(|index| observers.swap_remove(index));
        drop(observers);
        let observer = match known {
            Some(observer) => Observer { idle_turns: 0, ..observer },
            None => {
                let client = client::create(settings, &client::observer(settings, group)?, identity)?;
                Observer { group: group.to_owned(), client, idle_turns: 0 }
            }
        };
        let found = committed(&observer.client);
        // Its log and errors, which nobody else takes.
        while observer.client.poll(Duration::ZERO).is_some() {}
        if found.is_ok() {
            lock(&self.observers).push(observer);
        }
        Ok(found)
    }

    /// Ours, without their prefix.
    fn groups(&self, desk: &BaseConsumer<Watch>, prefix: &str) -> Vec<String> {
        if lock(&self.failed_at).is_some_and(|at| at.elapsed() < LIST_PAUSE) {
            return Vec::new();
        }
        match desk.fetch_group_list(None, LIST_TIMEOUT) {
            Ok(list) => {
                let ours = list.groups().iter().filter_map(|group| group.name().strip_prefix(prefix));
                ours.map(str::to_owned).collect()
            }
            Err(error) => {
                *lock(&self.failed_at) = Some(Instant::now());
                tracing::warn!(%error, "kafka: the brokers do not list groups, lag is that of this process alone");
                Vec::new()
            }
        }
    }
}

/// How long a process may ask about its own groups: it asks again every few seconds.
const OWN_WITHIN: Duration = ASK_TIMEOUT;
/// How long an operator's question may take, which is about all groups.
const ALL_WITHIN: Duration = Duration::from_secs(60);

/// Whom lag is asked of.
pub(crate) struct Teller {
    pub settings: Arc<Settings>,
    pub listing: Arc<Listing>,
    pub desk: Arc<BaseConsumer<Watch>>,
    pub members: Arc<Members>,
    pub seen: Arc<Seen>,
}

impl Teller {
    /// Of all groups that are ours, in whatever process: each of others costs a client.
    pub fn all(&self) -> Result<Vec<GroupLag>, Error> {
        let mut groups = self.members.groups();
        groups.extend(self.listing.groups(&self.desk, &self.settings.options.group_prefix));
        self.tell(groups, Instant::now() + ALL_WITHIN)
    }

    /// Of these groups alone. Where there are none, whether brokers answer.
    pub fn of(&self, groups: BTreeSet<String>) -> Result<Vec<GroupLag>, Error> {
        if groups.is_empty() {
            let any = self.desk.fetch_metadata(Some(topics::ORDERS.name), ASK_TIMEOUT);
            any.map_err(|error| self.desk.context().explain("the brokers do not answer", &error))?;
            self.desk.context().recovered();
        }
        self.tell(groups, Instant::now() + OWN_WITHIN)
    }

    /// Nothing more is asked once it is `until`.
    fn tell(&self, groups: BTreeSet<String>, until: Instant) -> Result<Vec<GroupLag>, Error> {
        let in_time = || match Instant::now() < until {
            true => Ok(()),
            false => Err(Error::Unavailable("brokers take too long to say how far groups are".to_owned())),
        };
        let mut ends: HashMap<(&str, u32), (i64, i64)> = HashMap::new();
        let mut lags = Vec::new();
        for group in groups {
            in_time()?;
            let committed = match self.members.client_of(&group) {
                Some(member) => committed(&member),
                None => self.listing.observe(&self.settings, &group)?,
            };
            let committed = committed
                .map_err(|error| self.desk.context().explain("a group's offsets cannot be had", &error))?;
            for topic in topics::ALL {
                for partition in 0..topic.partitions {
                    let Some(&committed) = committed.get(&(topic.name, partition)) else { continue };
                    let (begin, end) = match ends.get(&(topic.name, partition)) {
                        Some(bounds) => *bounds,
                        None => {
                            in_time()?;
                            self.seen.bounds(&self.desk, topic, partition)?
                        }
                    };
                    ends.insert((topic.name, partition), (begin, end));
                    lags.push(GroupLag {
                        group: group.clone(),
                        topic: topic.name.to_owned(),
                        partition,
                        committed,
                        end: end.max(committed),
                        lag: (end - committed.max(begin)).max(0),
                    });
                }
            }
        }
        Ok(lags)
    }
}

/// What the group of this client has committed, where it has.
fn committed<C: ConsumerContext>(client: &BaseConsumer<C>) -> KafkaResult<Committed> {
    let mut list = TopicPartitionList::new();
    for topic in topics::ALL {
        let last = i32::try_from(topic.partitions).unwrap_or(1) - 1;
        list.add_partition_range(topic.name, 0, last);
    }
    let list = client.committed_offsets(list, ASK_TIMEOUT)?;
    let mut found = HashMap::new();
    for element in list.elements() {
        let (Offset::Offset(offset), Some(topic), Ok(partition)) =
            (element.offset(), topics::by_name(element.topic()), u32::try_from(element.partition()))
        else {
            continue;
        };
        found.insert((topic.name, partition), offset);
    }
    Ok(found)
}
