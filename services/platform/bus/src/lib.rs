//! The event bus port: topics with partitions and keys, consumer groups, offsets committed by the consumer.
//!
//! Invariants of every adapter: [`Bus::publish`] answers once the messages are durable; messages of one key stay in
//! the order in which they were published; a message is delivered again until its offset is committed.

mod embedded;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::sync::Arc;

use async_trait::async_trait;
use contracts::topics::Topic;
use kernel::{Envelope, Timestamp};
use tokio::sync::Notify;

pub use embedded::EmbeddedLog;

/// The largest message that every adapter takes, key and payload together.
pub const MESSAGE_BYTES_MAX: usize = 1024 * 1024;

#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    #[error("no topic is called {0:?}")]
    UnknownTopic(String),
    /// It will not take this message, now or later: it is too large.
    #[error("the event bus refuses a message: {0}")]
    Refused(String),
    /// It is set up in another way than this program needs; trying again does not help, somebody has to act.
    #[error("the event bus cannot be used: {0}")]
    Misconfigured(String),
    /// The bus does not take or give messages right now; nothing is lost, try again.
    #[error("the event bus is not available: {0}")]
    Unavailable(String),
}

impl From<db::Error> for Error {
    fn from(error: db::Error) -> Self {
        Error::Unavailable(error.to_string())
    }
}

impl From<Error> for kernel::Error {
    fn from(error: Error) -> Self {
        match error {
            Error::UnknownTopic(_) => kernel::Error::not_found("unknown_topic", error.to_string()),
            Error::Refused(_) => kernel::Error::invalid("message_refused", error.to_string()),
            Error::Unavailable(_) | Error::Misconfigured(_) => {
                kernel::Error::unavailable("bus_unavailable", "the event bus does not answer")
                    .with_source(error)
            }
        }
    }
}

/// A message to publish: the envelope as JSON text, and the key that decides its partition.
#[derive(Debug, Clone)]
pub struct Message {
    pub topic: Arc<str>,
    pub key: String,
    pub payload: Arc<str>,
}

impl Message {
    /// Whether it is small enough to be published.
    pub fn check(&self) -> Result<(), Error> {
        let bytes = self.key.len() + self.payload.len();
        if bytes > MESSAGE_BYTES_MAX {
            let (topic, key) = (&self.topic, &self.key[..self.key.floor_char_boundary(128)]);
            return Err(Error::Refused(format!(
                "{bytes} bytes of {key:?} for {topic}, of at most {MESSAGE_BYTES_MAX}"
            )));
        }
        Ok(())
    }
}

/// A message from a partition.
#[derive(Debug, Clone)]
pub struct Delivery {
    pub topic: Arc<str>,
    pub partition: u32,
    pub offset: i64,
    pub published_at: Timestamp,
    /// The envelope as JSON text, as it was published.
    pub payload: Arc<str>,
}

impl Delivery {
    pub fn envelope(&self) -> Result<Envelope, serde_json::Error> {
        serde_json::from_str(&self.payload)
    }
}

/// Where reading starts that is not part of a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    Earliest,
    Latest,
    At(Timestamp),
}

/// What one partition holds: offsets `begin..end`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PartitionInfo {
    pub partition: u32,
    pub begin: i64,
    pub end: i64,
    pub messages: i64,
    pub first_at: Option<Timestamp>,
    pub last_at: Option<Timestamp>,
}

/// How far one group is in one partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupLag {
    pub group: String,
    pub topic: String,
    pub partition: u32,
    /// The offset that is delivered next.
    pub committed: i64,
    pub end: i64,
    /// Messages not yet committed.
    pub lag: i64,
}

#[async_trait]
pub trait Bus: Send + Sync {
    /// Durable when it answers. [`Error::Refused`]: none of them was taken. After any other error some may be durable
    /// all the same: publish all of them again, beginning with the same first message, and before any later message
    /// of their keys. Then the first delivery of each message of a key comes in their order, whatever came twice.
    async fn publish(&self, messages: Vec<Message>) -> Result<(), Error>;

    /// Joins a consumer group, which begins at the earliest message where it has no offset yet. `wake` is signalled
    /// when a poll may find something. The member leaves the group when it is dropped.
    async fn subscribe(
        &self,
        group: &str,
        topics: &[Topic],
        wake: Arc<Notify>,
    ) -> Result<Box<dyn Subscription>, Error>;

    async fn partitions(&self, topic: &str) -> Result<Vec<PartitionInfo>, Error>;

    /// How far every group is, whoever is in it: for an operator. It may cost a question a group.
    async fn lag(&self) -> Result<Vec<GroupLag>, Error>;

    /// How far these groups are. Fails where the bus does not answer, also where it is asked for none.
    async fn lag_of(&self, groups: &BTreeSet<String>) -> Result<Vec<GroupLag>, Error> {
        let all = self.lag().await?;
        Ok(all.into_iter().filter(|one| groups.contains(&one.group)).collect())
    }

    /// Whether this process has its place in each of these groups, and none of them is being divided anew. Always, where
    /// members need not agree with those of other processes.
    fn has_settled(&self, _groups: &BTreeSet<String>) -> bool {
        true
    }

    /// The offset in `partition` at which reading from `start` begins.
    async fn offset_of(&self, topic: &str, partition: u32, start: Start) -> Result<i64, Error>;

    /// Reads outside any group: at most `limit` messages from `offset` on. Fewer do not mean that there are no more,
    /// none does.
    async fn read(
        &self,
        topic: &str,
        partition: u32,
        offset: i64,
        limit: usize,
    ) -> Result<Vec<Delivery>, Error>;

    /// Deletes what is older than its topic's retention; answers how many messages went.
    async fn sweep(&self, now: Timestamp) -> Result<u64, Error>;

    /// Signalled when messages are published in this process. Whoever follows what others publish looks by himself too.
    fn published(&self) -> Arc<Notify>;
}

/// A member of a consumer group.
#[async_trait]
pub trait Subscription: Send {
    /// What is there now, at most `max` messages; empty when there is nothing new. Never waits for messages.
    async fn poll(&mut self, max: usize) -> Result<Vec<Delivery>, Error>;

    /// Says that these and all before them in their partitions are handled. May become durable a little later: what
    /// is lost in a crash is delivered again.
    async fn commit(&mut self, handled: &[Delivery]) -> Result<(), Error>;

    /// Goes back to what is committed: the messages polled since are delivered again.
    async fn rewind(&mut self) -> Result<(), Error>;
}

/// The partition of a key: FNV-1a, the same on every machine and in every version.
pub fn partition_of(key: &str, partitions: u32) -> u32 {
    let hash = key.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    u32::try_from(hash % u64::from(partitions.max(1))).unwrap_or(0)
}
