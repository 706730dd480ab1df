//! The embedded log: topics in one SQLite file, the recent tail of every partition in memory.
//!
//! Invariants: a message is visible to consumers only after the commit that made it durable; offsets rise, and may
//! have gaps; every committed message with an offset of at least a tail's floor is in that tail.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use async_trait::async_trait;
use contracts::topics::{self, Topic};
use db::{Db, Migration, Migrations, params};
use kernel::{Clock, Timestamp};
use tokio::sync::Notify;

use crate::{Bus, Delivery, Error, GroupLag, Message, PartitionInfo, Start, Subscription, partition_of};

/// How much of each partition stays in memory: enough that a consumer which keeps up never reads the file.
const TAIL_MAX: usize = 1_024;

static MIGRATIONS: &[Migrations] = &[Migrations {
    component: "bus",
    steps: &[Migration {
        version: 1,
        name: "log and group offsets",
        sql: "CREATE TABLE messages (
                topic VARCHAR(64) NOT NULL, part INTEGER NOT NULL, pos BIGINT NOT NULL,
                published_at BIGINT NOT NULL, payload TEXT NOT NULL,
                PRIMARY KEY (topic, part, pos)
              ) WITHOUT ROWID;
              CREATE TABLE group_offsets (
                grp VARCHAR(64) NOT NULL, topic VARCHAR(64) NOT NULL, part INTEGER NOT NULL, pos BIGINT NOT NULL,
                PRIMARY KEY (grp, topic, part)
              ) WITHOUT ROWID;",
    }],
}];

/// Deletes the old ones among the first thousand of a partition: it reads no further than what goes.
const SWEEP: &str = "DELETE FROM messages WHERE topic = ? AND part = ? AND pos IN (SELECT pos FROM \
    (SELECT pos, published_at FROM messages WHERE topic = ? AND part = ? ORDER BY pos LIMIT 1000) oldest \
    WHERE published_at < ?)";

type PartitionKey = (Arc<str>, u32);

#[derive(Default)]
struct Tail {
    floor: i64,
    messages: VecDeque<Delivery>,
}

struct State {
    /// The next offset to give out, per partition.
    next: HashMap<PartitionKey, i64>,
    tails: HashMap<PartitionKey, Tail>,
    subscribers: Vec<(Vec<Arc<str>>, Weak<Notify>)>,
}

/// A durable log on this machine.
#[derive(Clone)]
pub struct EmbeddedLog {
    db: Db,
    clock: Arc<dyn Clock>,
    state: Arc<Mutex<State>>,
    published: Arc<Notify>,
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

fn known(topic: &str) -> Result<Topic, Error> {
    topics::by_name(topic).ok_or_else(|| Error::UnknownTopic(topic.to_owned()))
}

impl EmbeddedLog {
    /// `db` belongs to the log alone.
    pub async fn open(db: Db, clock: Arc<dyn Clock>) -> Result<Self, db::Error> {
        db.migrate(MIGRATIONS).await?;
        let ends: Vec<(String, u32, i64)> = db
            .read(|tx| -> Result<_, db::Error> {
                let sql = "SELECT topic, part, MAX(pos) FROM group_offsets GROUP BY topic, part";
                let mut ends = tx.query(sql, params![], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
                for topic in topics::ALL {
                    for partition in 0..topic.partitions {
                        let sql = "SELECT MAX(pos) FROM messages WHERE topic = ? AND part = ?";
                        let last: Option<i64> =
                            tx.query_one(sql, params![topic.name, partition], |row| row.get(0))?;
                        ends.extend(last.map(|last| (topic.name.to_owned(), partition, last + 1)));
                    }
                }
                Ok(ends)
            })
            .await?;
        let mut next: HashMap<PartitionKey, i64> = HashMap::new();
        for (topic, partition, end) in ends {
            // A group's offset counts too: the messages before it may have been swept away.
            let entry = next.entry((topic.into(), partition)).or_insert(0);
            *entry = (*entry).max(end);
        }
        let tails = next
            .iter()
            .map(|(key, floor)| (key.clone(), Tail { floor: *floor, messages: VecDeque::new() }))
            .collect();
        let state = State { next, tails, subscribers: Vec::new() };
        Ok(Self { db, clock, state: Arc::new(Mutex::new(state)), published: Arc::new(Notify::new()) })
    }

    pub fn db(&self) -> &Db {
        &self.db
    }

    fn end(&self, topic: &str, partition: u32) -> i64 {
        lock(&self.state).next.get(&(Arc::from(topic), partition)).copied().unwrap_or(0)
    }
}

/// Makes committed messages visible and wakes who waits for their topics.
fn show(state: &Mutex<State>, published: &Notify, batch: Vec<Delivery>) {
    let mut state = lock(state);
    let mut topics: Vec<Arc<str>> = Vec::new();
    for delivery in batch {
        if !topics.contains(&delivery.topic) {
            topics.push(delivery.topic.clone());
        }
        let tail = state.tails.entry((delivery.topic.clone(), delivery.partition)).or_default();
        tail.messages.push_back(delivery);
        if tail.messages.len() > TAIL_MAX
            && let Some(oldest) = tail.messages.pop_front()
        {
            tail.floor = oldest.offset + 1;
        }
    }
    state.subscribers.retain(|(wanted, wake)| {
        let Some(wake) = wake.upgrade() else { return false };
        if wanted.iter().any(|topic| topics.contains(topic)) {
            wake.notify_one();
        }
        true
    });
    drop(state);
    published.notify_waiters();
}

fn read_rows(
    db: &Db,
    topic: &Arc<str>,
    partition: u32,
    offset: i64,
    limit: usize,
) -> Result<Vec<Delivery>, db::Error> {
    db.read_now(|tx| {
        tx.query(
            "SELECT pos, published_at, payload FROM messages WHERE topic = ? AND part = ? AND pos >= ? \
             ORDER BY pos LIMIT ?",
            params![&**topic, partition, offset, i64::try_from(limit).unwrap_or(i64::MAX)],
            |row| {
                let payload: String = row.get(2)?;
                Ok(Delivery {
                    topic: topic.clone(),
                    partition,
                    offset: row.get(0)?,
                    published_at: row.get(1)?,
                    payload: payload.into(),
                })
            },
        )
    })
}

#[async_trait]
impl Bus for EmbeddedLog {
    async fn publish(&self, messages: Vec<Message>) -> Result<(), Error> {
        for message in &messages {
            known(&message.topic)?;
            message.check()?;
        }
        let (state, published, clock) = (self.state.clone(), self.published.clone(), self.clock.clone());
        self.db
            .write(move |tx| -> Result<(), Error> {
                let at = clock.now();
                let mut batch = Vec::with_capacity(messages.len());
                for message in &messages {
                    let partition = partition_of(&message.key, known(&message.topic)?.partitions);
                    // An offset that a rollback leaves unused is a gap, and gaps are allowed.
                    let offset = {
                        let mut state = lock(&state);
                        let next = state.next.entry((message.topic.clone(), partition)).or_insert(0);
                        *next += 1;
                        *next - 1
                    };
                    tx.execute(
                        "INSERT INTO messages (topic, part, pos, published_at, payload) VALUES (?, ?, ?, ?, ?)",
                        params![&*message.topic, partition, offset, at, &*message.payload],
                    )?;
                    batch.push(Delivery {
                        topic: message.topic.clone(),
                        partition,
                        offset,
                        published_at: at,
                        payload: message.payload.clone(),
                    });
                }
                let (state, published) = (state.clone(), published.clone());
                tx.after_commit(move || show(&state, &published, batch));
                Ok(())
            })
            .await
    }

    async fn subscribe(
        &self,
        group: &str,
        topics: &[Topic],
        wake: Arc<Notify>,
    ) -> Result<Box<dyn Subscription>, Error> {
        let wanted = group.to_owned();
        let committed: Vec<(String, u32, i64)> = self
            .db
            .read(move |tx| {
                let sql = "SELECT topic, part, pos FROM group_offsets WHERE grp = ?";
                tx.query(sql, params![wanted], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
            })
            .await
            .map_err(|error: db::Error| Error::from(error))?;
        let mut positions: BTreeMap<PartitionKey, i64> = BTreeMap::new();
        for topic in topics {
            positions.extend((0..topic.partitions).map(|partition| ((Arc::from(topic.name), partition), 0)));
        }
        for (topic, partition, offset) in committed {
            if let Some(position) = positions.get_mut(&(Arc::from(topic.as_str()), partition)) {
                *position = offset;
            }
        }
        wake.notify_one();
        let names = topics.iter().map(|topic| Arc::from(topic.name)).collect();
        lock(&self.state).subscribers.push((names, Arc::downgrade(&wake)));
        Ok(Box::new(Member {
            log: self.clone(),
            group: group.to_owned(),
            committed: positions.clone(),
            positions,
            wake,
            turn: 0,
        }))
    }

    async fn partitions(&self, topic: &str) -> Result<Vec<PartitionInfo>, Error> {
        let topic = known(topic)?;
        let found: Vec<PartitionInfo> = self
            .db
            .read(move |tx| {
                let sql = "SELECT part, MIN(pos), MAX(pos) + 1, COUNT(*), MIN(published_at), MAX(published_at) \
                           FROM messages WHERE topic = ? GROUP BY part";
                tx.query(sql, params![topic.name], |row| {
                    Ok(PartitionInfo {
                        partition: row.get(0)?,
                        begin: row.get(1)?,
                        end: row.get(2)?,
                        messages: row.get(3)?,
                        first_at: row.get(4)?,
                        last_at: row.get(5)?,
                    })
                })
            })
            .await
            .map_err(|error: db::Error| Error::from(error))?;
        Ok((0..topic.partitions)
            .map(|partition| {
                let end = self.end(topic.name, partition);
                let empty =
                    PartitionInfo { partition, begin: end, end, messages: 0, first_at: None, last_at: None };
                found.iter().copied().find(|info| info.partition == partition).unwrap_or(empty)
            })
            .collect())
    }

    async fn lag(&self) -> Result<Vec<GroupLag>, Error> {
        let rows: Vec<GroupLag> = self
            .db
            .read(|tx| {
                let sql = "SELECT g.grp, g.topic, g.part, g.pos, \
                             (SELECT COUNT(*) FROM messages m \
                              WHERE m.topic = g.topic AND m.part = g.part AND m.pos >= g.pos) \
                           FROM group_offsets g ORDER BY g.grp, g.topic, g.part";
                tx.query(sql, params![], |row| {
                    Ok(GroupLag {
                        group: row.get(0)?,
                        topic: row.get(1)?,
                        partition: row.get(2)?,
                        committed: row.get(3)?,
                        end: 0,
                        lag: row.get(4)?,
                    })
                })
            })
            .await
            .map_err(|error: db::Error| Error::from(error))?;
        Ok(rows
            .into_iter()
            .map(|lag| GroupLag { end: self.end(&lag.topic, lag.partition).max(lag.committed), ..lag })
            .collect())
    }

    async fn offset_of(&self, topic: &str, partition: u32, start: Start) -> Result<i64, Error> {
        let topic = known(topic)?;
        let from = match start {
            Start::Earliest => return Ok(0),
            Start::Latest => return Ok(self.end(topic.name, partition)),
            Start::At(at) => at,
        };
        let found: Option<i64> = self
            .db
            .read(move |tx| {
                let sql = "SELECT MIN(pos) FROM messages WHERE topic = ? AND part = ? AND published_at >= ?";
                tx.query_one(sql, params![topic.name, partition, from], |row| row.get(0))
            })
            .await
            .map_err(|error: db::Error| Error::from(error))?;
        Ok(found.unwrap_or_else(|| self.end(topic.name, partition)))
    }

    async fn read(
        &self,
        topic: &str,
        partition: u32,
        offset: i64,
        limit: usize,
    ) -> Result<Vec<Delivery>, Error> {
        let (db, topic) = (self.db.clone(), Arc::from(known(topic)?.name));
        let rows =
            tokio::task::spawn_blocking(move || read_rows(&db, &topic, partition, offset, limit)).await;
        Ok(rows.map_err(|error| Error::Unavailable(error.to_string()))??)
    }

    async fn sweep(&self, now: Timestamp) -> Result<u64, Error> {
        let mut swept = 0;
        for topic in topics::ALL {
            let age = std::time::Duration::from_secs(u64::from(topic.retention_days) * 86_400);
            let before = now.minus(age);
            for partition in 0..topic.partitions {
                // From the oldest on, a bounded piece at a time: the writer is everybody's.
                loop {
                    let deleted = self
                        .db
                        .write(move |tx| {
                            let place = params![topic.name, partition, topic.name, partition, before];
                            tx.execute(SWEEP, place)
                        })
                        .await?;
                    swept += deleted as u64;
                    if deleted == 0 {
                        break;
                    }
                }
            }
        }
        Ok(swept)
    }

    fn published(&self) -> Arc<Notify> {
        self.published.clone()
    }
}

struct Member {
    log: EmbeddedLog,
    group: String,
    /// The offset delivered next, per partition.
    positions: BTreeMap<PartitionKey, i64>,
    committed: BTreeMap<PartitionKey, i64>,
    wake: Arc<Notify>,
    /// Which partition is asked first: it moves on, so that none starves.
    turn: usize,
}

impl Member {
    /// What the tail holds from `offset` on, or `None` where the file must be asked.
    fn in_tail(&self, key: &PartitionKey, offset: i64, limit: usize) -> Option<Vec<Delivery>> {
        let state = lock(&self.log.state);
        let Some(tail) = state.tails.get(key) else { return Some(Vec::new()) };
        if offset < tail.floor {
            return None;
        }
        let start = tail.messages.partition_point(|message| message.offset < offset);
        Some(tail.messages.iter().skip(start).take(limit).cloned().collect())
    }
}

#[async_trait]
impl Subscription for Member {
    async fn poll(&mut self, max: usize) -> Result<Vec<Delivery>, Error> {
        let keys: Vec<PartitionKey> = self.positions.keys().cloned().collect();
        let mut batch = Vec::new();
        let mut moved = Vec::new();
        for index in 0..keys.len() {
            let key = &keys[(index + self.turn) % keys.len()];
            let room = max - batch.len();
            if room == 0 {
                break;
            }
            let offset = self.positions.get(key).copied().unwrap_or(0);
            let found = match self.in_tail(key, offset, room) {
                Some(found) => found,
                None => self.log.read(&key.0, key.1, offset, room).await?,
            };
            if let Some(last) = found.last() {
                moved.push((key.clone(), last.offset + 1));
            }
            batch.extend(found);
        }
        // Only now: had a read failed, what was found before it would never be delivered.
        self.positions.extend(moved);
        self.turn = self.turn.wrapping_add(1);
        Ok(batch)
    }

    async fn commit(&mut self, handled: &[Delivery]) -> Result<(), Error> {
        let mut moved: BTreeMap<PartitionKey, i64> = BTreeMap::new();
        for delivery in handled {
            let next = moved.entry((delivery.topic.clone(), delivery.partition)).or_insert(0);
            *next = (*next).max(delivery.offset + 1);
        }
        self.committed.extend(moved.clone());
        let group = self.group.clone();
        self.log.db.write_lazily(move |tx| {
            for ((topic, partition), offset) in &moved {
                tx.execute(
                    "INSERT INTO group_offsets (grp, topic, part, pos) VALUES (?, ?, ?, ?) \
                     ON CONFLICT (grp, topic, part) DO UPDATE SET pos = excluded.pos",
                    params![group, &**topic, *partition, *offset],
                )?;
            }
            Ok(())
        });
        Ok(())
    }

    async fn rewind(&mut self) -> Result<(), Error> {
        self.positions = self.committed.clone();
        self.wake.notify_one();
        Ok(())
    }
}
