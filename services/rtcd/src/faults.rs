//! A process that dies at a chosen step: between a change and its commit, a commit and its answer, a message and the
//! offset behind it.
//!
//! Invariants: it takes a variable of the environment that is no setting, and an installation that is not in production;
//! without them nothing of this is on the way of a command or a message. Steps are counted from the first command of
//! the orders after the process is ready, so that the same work has the same steps.

use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use bus::{Bus, Delivery, Error, GroupLag, Message, PartitionInfo, Start, Subscription};
use cache::Cache;
use contracts::topics::Topic;
use db::{Connection, Db, Dialect, Engine, Job, Migrations, Stats, Verdict};
use host::{Adapters, Config, Profile, StartError};
use kernel::Timestamp;
use objects::Objects;
use tokio::sync::Notify;

/// The step at which the process dies; 0 for none, where the steps are only to be written down.
const CRASH_AT: &str = "RTC_TEST_CRASH_AT";
/// The file to which the name of each step is added, a line each.
const STEPS: &str = "RTC_TEST_STEPS";
/// Counting begins with the first command on this database.
const FIRST: &str = "orders";

/// The steps of this process.
pub struct Steps {
    crash_at: u64,
    taken: AtomicU64,
    begun: AtomicBool,
    ready: Mutex<Option<Arc<AtomicBool>>>,
    names: Mutex<Option<File>>,
}

impl Steps {
    /// `None` unless the environment asks for it.
    #[expect(clippy::disallowed_methods, reason = "a test's own knobs, not configuration")]
    pub fn of(config: &Config) -> Result<Option<Arc<Self>>, StartError> {
        let Ok(crash_at) = std::env::var(CRASH_AT) else { return Ok(None) };
        let wrong = |reason: String| StartError::Config(format!("{CRASH_AT}: {reason}"));
        if config.profile != Profile::Embedded {
            return Err(wrong("in production no process dies on purpose".to_owned()));
        }
        let crash_at = crash_at.parse().map_err(|_| wrong(format!("{crash_at:?} is no number")))?;
        let names =
            std::env::var_os(STEPS).map(|path| OpenOptions::new().create(true).append(true).open(path));
        let names = names.transpose().map_err(|error| wrong(format!("{STEPS}: {error}")))?;
        tracing::warn!(crash_at, "FAULTS: this process was told to die at a step of its work ({CRASH_AT})");
        Ok(Some(Arc::new(Self {
            crash_at,
            taken: AtomicU64::new(0),
            begun: AtomicBool::new(false),
            ready: Mutex::default(),
            names: Mutex::new(names),
        })))
    }

    /// Where to see that the process is ready.
    pub fn follow(&self, ready: Arc<AtomicBool>) {
        *self.ready.lock().unwrap_or_else(PoisonError::into_inner) = Some(ready);
    }

    fn is_ready(&self) -> bool {
        let ready = self.ready.lock().unwrap_or_else(PoisonError::into_inner);
        ready.as_ref().is_some_and(|ready| ready.load(Ordering::Acquire))
    }

    /// Takes a step, which may be the last.
    fn take(&self, place: &str, what: &str) {
        if !self.begun.load(Ordering::Acquire) {
            return;
        }
        // One after the other: what is written down is the order in which they were counted.
        let mut names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        let step = self.taken.fetch_add(1, Ordering::AcqRel) + 1;
        if let Some(names) = &mut *names {
            let _ = names.write_all(format!("{place}: {what}\n").as_bytes());
        }
        if step == self.crash_at {
            std::process::abort();
        }
    }

    /// A command was given to the database `name`.
    fn see(&self, name: &str) {
        if name == FIRST && !self.begun.load(Ordering::Acquire) && self.is_ready() {
            self.begun.store(true, Ordering::Release);
        }
    }
}

/// `adapters`, whose databases take steps.
pub fn around(steps: &Arc<Steps>, adapters: Arc<dyn Adapters>) -> Arc<dyn Adapters> {
    Arc::new(Stepping { steps: steps.clone(), adapters })
}

/// `bus`, whose messages take steps.
pub fn around_bus(steps: &Arc<Steps>, bus: Arc<dyn Bus>) -> Arc<dyn Bus> {
    Arc::new(SteppingBus { steps: steps.clone(), bus })
}

struct Stepping {
    steps: Arc<Steps>,
    adapters: Arc<dyn Adapters>,
}

#[async_trait]
impl Adapters for Stepping {
    async fn database(&self, service: &str, url: &str) -> Result<Db, db::Error> {
        self.adapters.database(service, url).await
    }

    async fn bus(&self, url: &str) -> Result<Arc<dyn Bus>, StartError> {
        self.adapters.bus(url).await
    }

    async fn cache(&self, url: &str) -> Result<Arc<dyn Cache>, StartError> {
        self.adapters.cache(url).await
    }

    async fn objects(&self, url: &str) -> Result<Arc<dyn Objects>, StartError> {
        self.adapters.objects(url).await
    }

    fn around(&self, name: &str, db: Db) -> Db {
        let steps = self.steps.clone();
        self.adapters
            .around(name, db)
            .around(|engine| Arc::new(SteppingEngine { name: Arc::from(name), steps, engine }))
    }
}

// ---- databases ------------------------------------------------------------------------------------------------

struct SteppingEngine {
    name: Arc<str>,
    steps: Arc<Steps>,
    engine: Arc<dyn Engine>,
}

impl SteppingEngine {
    fn stepping(&self, job: Box<dyn Job>) -> Box<dyn Job> {
        self.steps.see(&self.name);
        Box::new(SteppingJob { name: self.name.clone(), steps: self.steps.clone(), job, changes: false })
    }
}

impl Engine for SteppingEngine {
    fn write(&self, job: Box<dyn Job>) {
        self.engine.write(self.stepping(job));
    }

    fn write_lazily(&self, job: Box<dyn Job>) {
        self.engine.write_lazily(self.stepping(job));
    }

    fn turn(&self, asker: db::Asker) -> db::Waiting<'_> {
        self.engine.turn(asker)
    }

    fn read(&self, query: &mut dyn FnMut(&mut dyn Connection)) -> Result<(), db::Error> {
        self.engine.read(query)
    }

    fn look_up(&self, query: &mut dyn FnMut(&mut dyn Connection)) -> Result<(), db::Error> {
        self.engine.look_up(query)
    }

    fn reads_inline(&self) -> bool {
        self.engine.reads_inline()
    }

    fn is_commit_ordered(&self) -> bool {
        self.engine.is_commit_ordered()
    }

    fn dialect(&self) -> Dialect {
        self.engine.dialect()
    }

    fn migrate(&self, migrations: &'static [Migrations]) -> Option<Result<Vec<String>, db::Error>> {
        self.engine.migrate(migrations)
    }

    fn stats(&self) -> Stats {
        self.engine.stats()
    }
}

struct SteppingJob {
    name: Arc<str>,
    steps: Arc<Steps>,
    job: Box<dyn Job>,
    /// It wants its changes kept: what changes nothing is no step.
    changes: bool,
}

impl Job for SteppingJob {
    fn run(&mut self, connection: &mut dyn Connection) -> Verdict {
        let verdict = self.job.run(connection);
        self.changes = verdict == Verdict::Keep;
        if self.changes {
            self.steps.take(&self.name, "before the commit");
        }
        verdict
    }

    fn finish(self: Box<Self>, commit: Result<(), db::Error>) {
        if self.changes && commit.is_ok() {
            self.steps.take(&self.name, "after the commit");
        }
        self.job.finish(commit);
    }
}

// ---- the bus --------------------------------------------------------------------------------------------------

struct SteppingBus {
    steps: Arc<Steps>,
    bus: Arc<dyn Bus>,
}

#[async_trait]
impl Bus for SteppingBus {
    async fn publish(&self, messages: Vec<Message>) -> Result<(), Error> {
        let topic = messages.first().map_or_else(|| Arc::from(""), |message| message.topic.clone());
        self.steps.take(&topic, "before the publication");
        self.bus.publish(messages).await?;
        self.steps.take(&topic, "after the publication");
        Ok(())
    }

    async fn subscribe(
        &self,
        group: &str,
        topics: &[Topic],
        wake: Arc<Notify>,
    ) -> Result<Box<dyn Subscription>, Error> {
        let subscription = self.bus.subscribe(group, topics, wake).await?;
        Ok(Box::new(SteppingSubscription {
            group: group.to_owned(),
            steps: self.steps.clone(),
            subscription,
        }))
    }

    async fn partitions(&self, topic: &str) -> Result<Vec<PartitionInfo>, Error> {
        self.bus.partitions(topic).await
    }

    async fn lag(&self) -> Result<Vec<GroupLag>, Error> {
        self.bus.lag().await
    }

    fn has_settled(&self, groups: &BTreeSet<String>) -> bool {
        self.bus.has_settled(groups)
    }

    async fn lag_of(&self, groups: &BTreeSet<String>) -> Result<Vec<GroupLag>, Error> {
        self.bus.lag_of(groups).await
    }

    async fn offset_of(&self, topic: &str, partition: u32, start: Start) -> Result<i64, Error> {
        self.bus.offset_of(topic, partition, start).await
    }

    async fn read(
        &self,
        topic: &str,
        partition: u32,
        offset: i64,
        limit: usize,
    ) -> Result<Vec<Delivery>, Error> {
        self.bus.read(topic, partition, offset, limit).await
    }

    async fn sweep(&self, now: Timestamp) -> Result<u64, Error> {
        self.bus.sweep(now).await
    }

    fn published(&self) -> Arc<Notify> {
        self.bus.published()
    }
}

struct SteppingSubscription {
    group: String,
    steps: Arc<Steps>,
    subscription: Box<dyn Subscription>,
}

#[async_trait]
impl Subscription for SteppingSubscription {
    async fn poll(&mut self, max: usize) -> Result<Vec<Delivery>, Error> {
        self.subscription.poll(max).await
    }

    async fn commit(&mut self, handled: &[Delivery]) -> Result<(), Error> {
        self.steps.take(&self.group, "before its offsets");
        self.subscription.commit(handled).await?;
        self.steps.take(&self.group, "after its offsets");
        Ok(())
    }

    async fn rewind(&mut self) -> Result<(), Error> {
        self.subscription.rewind().await
    }
}
