//! Reading outside any group, for whoever builds a view anew or looks into a topic.
//!
//! Invariant: a few clients serve all readers; one that goes on where it stopped finds its messages read ahead.

use std::collections::HashMap;
use std::convert::identity;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bus::{Delivery, Error, PartitionInfo, Start};
use contracts::topics::Topic;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::{Message as _, Offset, TopicPartitionList};
use tokio::sync::Semaphore;

use crate::client::{self, ASK_TIMEOUT, BATCH_BYTES_MAX, Watch, blocking, lock};
use crate::desk::Desk;
use crate::{Settings, wire};

const READERS_MAX: usize = 4;
/// How often the desk finds a reader unused before it is closed: half a minute.
const IDLE_TURNS: u32 = 60;
const POLL: Duration = Duration::from_millis(100);

struct Reader {
    client: BaseConsumer<Watch>,
    /// The partition that it is assigned to, and what it gives next.
    at: Option<(Topic, u32, i64)>,
    idle_turns: u32,
}

pub(crate) struct Readers {
    settings: Arc<Settings>,
    desk: Arc<Desk>,
    seen: Arc<Seen>,
    idle: Mutex<Vec<Reader>>,
    turns: Semaphore,
}

fn number(partition: u32) -> i32 {
    i32::try_from(partition).unwrap_or(i32::MAX)
}

/// What this process has seen of each partition, written or read: brokers answer with less for the end of a partition
/// when they count in batches.
#[derive(Default)]
pub(crate) struct Seen {
    next: Mutex<HashMap<(&'static str, u32), i64>>,
}

impl Seen {
    pub fn saw(&self, topic: Topic, partition: u32, offset: i64) {
        let mut next = lock(&self.next);
        let next = next.entry((topic.name, partition)).or_default();
        *next = (*next).max(offset + 1);
    }

    /// The offsets that a partition holds: from the first to the one that comes next.
    pub fn bounds(
        &self,
        desk: &BaseConsumer<Watch>,
        topic: Topic,
        partition: u32,
    ) -> Result<(i64, i64), Error> {
        let (begin, end) = desk
            .fetch_watermarks(topic.name, number(partition), ASK_TIMEOUT)
            .map_err(|error| desk.context().explain("offsets cannot be had", &error))?;
        desk.context().recovered();
        let seen = lock(&self.next).get(&(topic.name, partition)).copied().unwrap_or(0);
        Ok((begin, end.max(seen)))
    }
}

pub(crate) fn offset_of(
    desk: &BaseConsumer<Watch>,
    seen: &Seen,
    topic: Topic,
    partition: u32,
    start: Start,
) -> Result<i64, Error> {
    let (begin, end) = seen.bounds(desk, topic, partition)?;
    let at = match start {
        Start::Earliest => return Ok(begin),
        Start::Latest => return Ok(end),
        Start::At(at) => at,
    };
    let explain = |error: KafkaError| desk.context().explain("offsets cannot be had", &error);
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(topic.name, number(partition), Offset::Offset(at.as_millis().max(0)))
        .map_err(explain)?;
    let found = desk.offsets_for_times(list, ASK_TIMEOUT).map_err(explain)?;
    let element = found.elements().into_iter().next();
    if let Some(element) = &element {
        element.error().map_err(explain)?;
    }
    Ok(match element.map(|element| element.offset()) {
        Some(Offset::Offset(offset)) => offset,
        _ => end,
    })
}

impl Readers {
    pub fn new(settings: Arc<Settings>, desk: Arc<Desk>, seen: Arc<Seen>) -> Self {
        Self { settings, desk, seen, idle: Mutex::default(), turns: Semaphore::new(READERS_MAX) }
    }

    /// Closes what nobody used for a while, and what signs in with an old password. Called about twice a second.
    pub fn drop_idle(&self) {
        let mut idle = lock(&self.idle);
        idle.iter_mut().for_each(|reader| reader.idle_turns += 1);
        let is_old = |reader: &mut Reader| reader.idle_turns > IDLE_TURNS || reader.client.context().is_old();
        let old: Vec<Reader> = idle.extract_if(.., is_old).collect();
        drop(idle);
        drop(old);
    }

    /// One that stands where reading goes on, or any, or a new one.
    fn take(&self, at: (Topic, u32, i64)) -> Result<Reader, Error> {
        let mut idle = lock(&self.idle);
        if let Some(index) = idle.iter().position(|reader| reader.at == Some(at)) {
            return Ok(idle.swap_remove(index));
        }
        if idle.len() >= READERS_MAX {
            return Ok(idle.swap_remove(0));
        }
        drop(idle);
        let client = client::create(&self.settings, &client::reader(&self.settings)?, identity)?;
        Ok(Reader { client, at: None, idle_turns: 0 })
    }

    pub async fn read(
        self: &Arc<Self>,
        topic: Topic,
        partition: u32,
        offset: i64,
        limit: usize,
    ) -> Result<Vec<Delivery>, Error> {
        let _turn = self.turns.acquire().await.map_err(|error| Error::Unavailable(error.to_string()))?;
        let readers = self.clone();
        blocking(move || readers.read_now(topic, partition, offset, limit)).await
    }

    fn read_now(
        &self,
        topic: Topic,
        partition: u32,
        offset: i64,
        limit: usize,
    ) -> Result<Vec<Delivery>, Error> {
        let (begin, end) = self.seen.bounds(&self.desk.client(), topic, partition)?;
        let offset = offset.max(begin);
        if offset > end || limit == 0 {
            return Ok(Vec::new());
        }
        let mut reader = self.take((topic, partition, offset))?;
        let found = reader.read(topic, partition, offset, end, limit)?;
        if let Some(last) = found.last() {
            self.seen.saw(topic, partition, last.offset);
        }
        let mut idle = lock(&self.idle);
        reader.idle_turns = 0;
        idle.push(reader);
        if idle.len() > READERS_MAX {
            let oldest = idle.swap_remove(0);
            drop(idle);
            drop(oldest);
        }
        Ok(found)
    }

    pub async fn describe(self: &Arc<Self>, topic: Topic, partition: u32) -> Result<PartitionInfo, Error> {
        let readers = self.clone();
        let bounds = move || readers.seen.bounds(&readers.desk.client(), topic, partition);
        let (begin, end) = blocking(bounds).await?;
        let first = self.read(topic, partition, begin, 1).await?;
        // The last place may hold the end of a transaction, which is no message.
        let last = self.read(topic, partition, (end - 2).max(begin), 2).await?;
        Ok(PartitionInfo {
            partition,
            begin,
            end,
            messages: end - begin,
            first_at: first.first().map(|delivery| delivery.published_at),
            last_at: last.last().or(first.last()).map(|delivery| delivery.published_at),
        })
    }
}

impl Reader {
    fn assign(&self, topic: Topic, partition: u32, offset: i64) -> KafkaResult<()> {
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(topic.name, number(partition), Offset::Offset(offset))?;
        self.client.assign(&list)
    }

    fn read(
        &mut self,
        topic: Topic,
        partition: u32,
        offset: i64,
        end: i64,
        limit: usize,
    ) -> Result<Vec<Delivery>, Error> {
        let explain = |client: &BaseConsumer<Watch>, error: &KafkaError| {
            client.context().explain("a partition cannot be read", error)
        };
        // The end is said once; whoever may stand there has to ask anew.
        let mut is_fresh = self.at != Some((topic, partition, offset)) || offset >= end;
        if is_fresh {
            self.assign(topic, partition, offset).map_err(|error| explain(&self.client, &error))?;
        }
        let name: Arc<str> = Arc::from(topic.name);
        let (mut found, mut bytes, mut next) = (Vec::new(), 0, offset);
        let mut silence = Duration::ZERO;
        let mut trouble = KafkaError::NoMessageReceived;
        while found.len() < limit && bytes < BATCH_BYTES_MAX && (found.is_empty() || next < end) {
            match self.client.poll(POLL) {
                Some(Ok(message)) => {
                    self.client.context().recovered();
                    next = message.offset() + 1;
                    bytes += message.payload_len();
                    found.push(wire::delivery(&name, &message));
                    silence = Duration::ZERO;
                }
                // Perhaps said before the last messages came: asked again, it says what is so now.
                Some(Err(KafkaError::PartitionEOF(_))) if !is_fresh && found.is_empty() => {
                    is_fresh = true;
                    self.assign(topic, partition, next).map_err(|error| explain(&self.client, &error))?;
                }
                Some(Err(KafkaError::PartitionEOF(_))) => break,
                Some(Err(error)) => trouble = error,
                None => silence += POLL,
            }
            if silence >= ASK_TIMEOUT || self.client.context().gives_way() {
                if found.is_empty() {
                    return Err(explain(&self.client, &trouble));
                }
                break;
            }
        }
        self.at = Some((topic, partition, next));
        Ok(found)
    }
}
