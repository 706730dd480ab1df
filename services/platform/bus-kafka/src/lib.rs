//! The event bus port on Kafka, by librdkafka.
//!
//! Invariants:
//! - `publish` answers when every message is acknowledged by all in-sync replicas (`producer`, which also says why the
//!   order of a key holds when a publication that failed in the middle is published again);
//! - a member holds a partition until what it polled is committed or rewound: a rebalance is served inside `poll` and
//!   nowhere else (`member`);
//! - no call waits for longer than its time-out, and none blocks a thread of the runtime on the network.

mod address;
mod client;
mod desk;
mod lag;
mod member;
mod opening;
mod producer;
mod reader;
mod rest;
mod share;
mod sign_in;
#[cfg(test)]
mod tests;
mod topics;
mod trust;
mod wire;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bus::{Bus, Delivery, Error, GroupLag, Message, PartitionInfo, Start, Subscription};
use contracts::topics::{self as contracted, Topic};
use kernel::Timestamp;
use tokio::sync::Notify;

pub use crate::opening::OpenError;

use crate::address::Address;
use crate::client::blocking;
use crate::desk::Desk;
use crate::lag::{Listing, Teller};
use crate::member::{Member, Members};
use crate::producer::Publisher;
use crate::reader::{Readers, Seen};
use crate::sign_in::SignIn;

/// Gives the password when a client is made and after brokers have refused it, so that it is in no configuration and no URL.
pub type Password = Arc<dyn Fn() -> Result<String, String> + Send + Sync>;

/// What the URL does not say.
#[derive(Clone)]
pub struct Options {
    /// How this process is called in the broker's logs and quotas.
    pub client_id: String,
    /// Group ids begin with this on the broker: it tells our groups from other people's.
    pub group_prefix: String,
    /// How long opening tries.
    pub open_timeout: Duration,
    /// How long a publication tries before it fails with its outcome unknown.
    pub delivery_timeout: Duration,
    /// After which silence a member counts as dead, and its partitions go to others. The URL may say otherwise.
    pub session_timeout: Duration,
    /// How long a member may take over what it polled before its partitions go to others.
    pub handling_timeout: Duration,
    pub password: Option<Password>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            client_id: "rtc".to_owned(),
            group_prefix: "rtc.".to_owned(),
            open_timeout: Duration::from_secs(15),
            delivery_timeout: Duration::from_secs(120),
            session_timeout: Duration::from_secs(10),
            handling_timeout: Duration::from_secs(300),
            password: None,
        }
    }
}

/// Where the brokers are and how to speak with them.
pub(crate) struct Settings {
    pub address: Address,
    pub options: Options,
    pub sign_in: Arc<SignIn>,
}

/// Connects, creates topics that are missing, and checks those that are there. README.md says what the URL may hold.
pub async fn open(url: &str, options: Options) -> Result<Arc<dyn Bus>, OpenError> {
    let address = Address::parse(url).map_err(OpenError::Address)?;
    let session_timeout = address.session_timeout.unwrap_or(options.session_timeout);
    let sign_in = SignIn::new(options.password.clone());
    let settings = Arc::new(Settings { address, options: Options { session_timeout, ..options }, sign_in });
    let connecting = tokio::task::spawn_blocking(move || Kafka::connect(settings)).await;
    let bus = connecting.unwrap_or_else(|error| Err(Error::Unavailable(error.to_string()).into()))?;
    Ok(Arc::new(bus))
}

struct Kafka {
    settings: Arc<Settings>,
    desk: Arc<Desk>,
    publisher: Arc<Publisher>,
    readers: Arc<Readers>,
    members: Arc<Members>,
    listing: Arc<Listing>,
    seen: Arc<Seen>,
    published: Arc<Notify>,
}

impl Kafka {
    fn connect(settings: Arc<Settings>) -> Result<Self, OpenError> {
        opening::check(&settings)?;
        let desk = Desk::open(settings.clone());
        let desk = Arc::new(desk.map_err(|error| opening::of_the_address(&settings, error))?);
        topics::ensure(&settings, &desk.client())
            .map_err(|error| opening::told(&settings, &desk.client(), error))?;
        let seen: Arc<Seen> = Arc::default();
        let readers = Arc::new(Readers::new(settings.clone(), desk.clone(), seen.clone()));
        let publisher = Arc::new(Publisher::new(settings.clone(), seen.clone())?);
        let listing: Arc<Listing> = Arc::default();
        desk::turn(
            settings.clone(),
            Arc::downgrade(&desk),
            Arc::downgrade(&publisher),
            Arc::downgrade(&readers),
            Arc::downgrade(&listing),
        )?;
        Ok(Self {
            settings,
            desk,
            publisher,
            readers,
            members: Arc::default(),
            listing,
            seen,
            published: Arc::new(Notify::new()),
        })
    }

    fn teller(&self) -> Teller {
        Teller {
            settings: self.settings.clone(),
            listing: self.listing.clone(),
            desk: self.desk.client(),
            members: self.members.clone(),
            seen: self.seen.clone(),
        }
    }
}

pub(crate) fn known(topic: &str) -> Result<Topic, Error> {
    contracted::by_name(topic).ok_or_else(|| Error::UnknownTopic(topic.to_owned()))
}

fn known_partition(topic: &str, partition: u32) -> Result<Topic, Error> {
    let topic = known(topic)?;
    if partition >= topic.partitions {
        return Err(Error::UnknownTopic(format!("{}/{partition}", topic.name)));
    }
    Ok(topic)
}

#[async_trait]
impl Bus for Kafka {
    async fn publish(&self, messages: Vec<Message>) -> Result<(), Error> {
        self.publisher.publish(&messages).await?;
        self.published.notify_waiters();
        Ok(())
    }

    async fn subscribe(
        &self,
        group: &str,
        topics: &[Topic],
        wake: Arc<Notify>,
    ) -> Result<Box<dyn Subscription>, Error> {
        let (settings, members) = (self.settings.clone(), self.members.clone());
        let (group, topics) = (group.to_owned(), topics.to_vec());
        let (published, seen) = (self.published.clone(), self.seen.clone());
        let member =
            blocking(move || Member::join(settings, members, group, topics, wake, published, seen)).await?;
        Ok(Box::new(member))
    }

    async fn partitions(&self, topic: &str) -> Result<Vec<PartitionInfo>, Error> {
        let topic = known(topic)?;
        let mut found = Vec::new();
        for partition in 0..topic.partitions {
            found.push(self.readers.describe(topic, partition).await?);
        }
        Ok(found)
    }

    async fn lag(&self) -> Result<Vec<GroupLag>, Error> {
        let teller = self.teller();
        blocking(move || teller.all()).await
    }

    fn has_settled(&self, groups: &BTreeSet<String>) -> bool {
        self.members.have_settled(groups)
    }

    async fn lag_of(&self, groups: &BTreeSet<String>) -> Result<Vec<GroupLag>, Error> {
        let (teller, groups) = (self.teller(), groups.clone());
        blocking(move || teller.of(groups)).await
    }

    async fn offset_of(&self, topic: &str, partition: u32, start: Start) -> Result<i64, Error> {
        let topic = known_partition(topic, partition)?;
        let ask = |start| {
            let (desk, seen) = (self.desk.clone(), self.seen.clone());
            blocking(move || reader::offset_of(&desk.client(), &seen, topic, partition, start))
        };
        let found = ask(start).await?;
        let Start::At(at) = start else { return Ok(found) };
        // Some brokers name the first message of a batch, or the first of all where nothing is so young.
        let (mut low, mut high) = (found, found + 1);
        while low < high {
            let middle = low + (high - low) / 2;
            match self.readers.read(topic, partition, middle, 1).await?.first() {
                Some(delivery) if delivery.published_at < at => {
                    if low == found {
                        high = ask(Start::Latest).await?;
                    }
                    low = delivery.offset + 1;
                }
                _ => high = middle,
            }
        }
        Ok(low)
    }

    async fn read(
        &self,
        topic: &str,
        partition: u32,
        offset: i64,
        limit: usize,
    ) -> Result<Vec<Delivery>, Error> {
        self.readers.read(known_partition(topic, partition)?, partition, offset, limit).await
    }

    /// Nothing: retention is the brokers' work.
    async fn sweep(&self, _: Timestamp) -> Result<u64, Error> {
        Ok(0)
    }

    fn published(&self) -> Arc<Notify> {
        self.published.clone()
    }
}

impl Drop for Kafka {
    /// Members that were dropped say goodbye in threads of their own. Unless the brokers hear it, their partitions rest
    /// until the session times out.
    fn drop(&mut self) {
        self.members.wait_for_goodbyes(None, member::LEFT_WITHIN);
    }
}
