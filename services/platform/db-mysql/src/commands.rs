//! Commands: a few workers, each with a connection. Commands that wait together share a transaction: one commit, and one
//! statement for what they leave to its end.
//!
//! One worker is at work as long as that is enough: what comes meanwhile waits for it, and is together then. Others join where
//! somebody has waited for [`crate::queue::JOIN_AFTER`], as when the one waits for a lock. Where commands come faster than one
//! by one, a transaction begins no sooner than a while after the one before it: fewer and larger ones cost less.
//!
//! Invariants:
//! - commands that share a transaction share its fate. Where one of them wants its changes undone, or the transaction
//!   cannot be committed, all are run again, each in a transaction of its own;
//! - nobody waits long for a row that another one needs. A command that has waited a second for a lock is put aside: those
//!   that came with it go on without it, and it waits alone, on a connection that nobody else needs;
//! - a command is run again only where it is certain that nothing of it was committed;
//! - it is finished exactly once;
//! - nobody waits without end: the queue is bounded, and so are the tries of one command.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use db::{Error, Job, Stats, Verdict, Wish, Work};
use tokio::time::Instant;

use crate::connect::{Connector, LockWait, Purpose};
use crate::failure::Failure;
use crate::queue::{Group, Queue, Taken, Waiting};
use crate::session::Session;

/// Commands that may wait for a worker; beyond that they are refused at once (R91).
const QUEUE_MAX: usize = 8_192;
/// How long a worker stays without work before it gives up its connection.
const IDLE_MAX: Duration = Duration::from_secs(30);
/// How often one command is run where others are in its way, for each way of being in it.
const DEADLOCKS_MAX: u32 = 40;
/// How often several are run together before each is run by itself.
const GROUP_DEADLOCKS_MAX: u32 = 3;
const LOCK_TIMEOUTS_MAX: u32 = 2;
const LOST_MAX: u32 = 3;
/// The longest pause between two tries.
const PAUSE_MAX_MICROS: u64 = 50_000;

/// Why a command has not been committed.
enum Stop {
    /// Somebody holds a lock that it needs, and others need its worker.
    Held,
    Failed(Error),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Stop::Failed(error)
    }
}

/// What came of a transaction of several.
enum Together {
    Ended(Result<(), Error>),
    /// Nothing was changed: this one waited for a lock.
    Held(usize),
    /// Nothing was changed: others were in the way of some of its locks.
    Deadlocked,
    /// Nothing was changed, and each has to be run by itself.
    Apart,
}

pub(crate) struct Commands {
    connector: Arc<Connector>,
    queue: Mutex<Queue>,
    arrived: Condvar,
    threads: Mutex<Vec<std::thread::JoinHandle<()>>>,
    commands: AtomicU64,
    commits: AtomicU64,
    random: AtomicU64,
}

/// A worker's place among those at work, until it is dropped.
struct AtWork<'a> {
    commands: &'a Commands,
    is_patient: bool,
    since: Instant,
}

impl Drop for AtWork<'_> {
    fn drop(&mut self) {
        let mut queue = lock(&self.commands.queue);
        match self.is_patient {
            true => queue.patient -= 1,
            false => {
                queue.working -= 1;
                queue.took = self.since.elapsed();
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Writes what was left to the end. A panic there is a failure like one of a command.
fn finish(session: &mut Session) -> Result<(), Error> {
    catch_unwind(AssertUnwindSafe(|| Work::finish(session))).unwrap_or(Err(Error::Panicked))
}

impl Commands {
    pub fn new(connector: Arc<Connector>) -> Arc<Self> {
        Arc::new(Self {
            connector,
            queue: Mutex::default(),
            arrived: Condvar::new(),
            threads: Mutex::default(),
            commands: AtomicU64::new(0),
            commits: AtomicU64::new(0),
            random: AtomicU64::new(0x9e37_79b9_7f4a_7c15),
        })
    }

    pub fn take(self: &Arc<Self>, job: Box<dyn Job>) {
        let mut queue = lock(&self.queue);
        if queue.closed || queue.waiting() >= QUEUE_MAX {
            let error = if queue.closed { Error::Closed } else { Error::Busy };
            drop(queue);
            return job.finish(Err(error));
        }
        queue.jobs.push_back(Waiting { job, since: Instant::now() });
        self.wake(queue);
    }

    /// What comes when too many wait is lost, as it may be.
    pub fn take_lazily(self: &Arc<Self>, job: Box<dyn Job>) {
        let mut queue = lock(&self.queue);
        if queue.closed || queue.lazy.len() >= QUEUE_MAX {
            drop(queue);
            return job.finish(Err(Error::Busy));
        }
        queue.lazy.push_back(job);
        self.wake(queue);
    }

    /// Wakes a worker where nobody is at work, or nobody sees to it that those who wait are taken in time; makes one where all
    /// that are there do something else and there may be more.
    fn wake(self: &Arc<Self>, queue: MutexGuard<'_, Queue>) {
        if queue.working > 0 && queue.is_watched || queue.is_gathering && !queue.is_full() {
            return;
        }
        if queue.idle > 0
            || queue.is_watched
            || queue.is_gathering
            || queue.workers >= self.connector.address.pool
        {
            drop(queue);
            self.arrived.notify_one();
            return;
        }
        self.hire(queue);
    }

    fn hire(self: &Arc<Self>, mut queue: MutexGuard<'_, Queue>) {
        let worker = self.clone();
        let spawned = std::thread::Builder::new()
            .name(format!("db-{}", self.connector.address.schema))
            .spawn(move || worker.work());
        match spawned {
            Ok(thread) => {
                queue.workers += 1;
                drop(queue);
                let mut threads = lock(&self.threads);
                threads.retain(|thread| !thread.is_finished());
                threads.push(thread);
            }
            Err(error) if queue.workers == 0 => {
                let stranded: Vec<_> = queue.jobs.drain(..).collect();
                drop(queue);
                for waiting in stranded {
                    waiting.job.finish(Err(Error::Io(error.to_string())));
                }
            }
            Err(_) => {}
        }
    }

    /// Lets others go on where this one waits for a lock.
    fn put_aside(self: &Arc<Self>, job: Box<dyn Job>) {
        let mut queue = lock(&self.queue);
        queue.aside.push_back(Waiting { job, since: Instant::now() });
        if queue.idle > 0 {
            drop(queue);
            self.arrived.notify_one();
        } else if queue.workers < self.connector.address.pool {
            self.hire(queue);
        }
    }

    /// Waits for jobs. `None` when there is nothing more to do for this worker.
    fn next(&self) -> Option<Taken> {
        let pool = self.connector.address.pool;
        let mut queue = lock(&self.queue);
        loop {
            if let Some(aside) = queue.take_aside(pool, false) {
                return Some(aside);
            }
            let patience = queue.patience();
            let is_free = queue.working == 0 && !queue.is_gathering;
            if !queue.is_idle() && (is_free || queue.closed || patience.is_zero()) {
                let gathers_for = queue.gathers_for().min(patience);
                if !gathers_for.is_zero() {
                    queue.is_gathering = true;
                    let waited = self.arrived.wait_timeout(queue, gathers_for);
                    queue = waited.unwrap_or_else(PoisonError::into_inner).0;
                    queue.is_gathering = false;
                    continue;
                }
                queue.working += 1;
                let group = queue.take_group();
                if !queue.jobs.is_empty() && !queue.is_watched {
                    self.arrived.notify_one();
                }
                return Some(Taken::Group(group));
            }
            if queue.closed && queue.is_empty() {
                queue.workers -= 1;
                return None;
            }
            if !queue.jobs.is_empty() && !queue.is_watched {
                queue.is_watched = true;
                let waited = self.arrived.wait_timeout(queue, patience);
                queue = waited.unwrap_or_else(PoisonError::into_inner).0;
                queue.is_watched = false;
                continue;
            }
            if let Some(aside) = queue.take_aside(pool, true) {
                return Some(aside);
            }
            queue.idle += 1;
            let (guard, timeout) =
                self.arrived.wait_timeout(queue, IDLE_MAX).unwrap_or_else(PoisonError::into_inner);
            queue = guard;
            queue.idle -= 1;
            if timeout.timed_out() && queue.is_empty() {
                queue.workers -= 1;
                return None;
            }
        }
    }

    fn work(self: &Arc<Self>) {
        let mut session = None;
        while let Some(taken) = self.next() {
            let served = catch_unwind(AssertUnwindSafe(|| self.serve(&mut session, taken)));
            if served.is_err() {
                // Whatever it was doing is undone with its connection.
                session = None;
                tracing::error!("a worker panicked outside of its commands");
            }
        }
    }

    fn serve(self: &Arc<Self>, session: &mut Option<Session>, taken: Taken) {
        let is_patient = matches!(taken, Taken::Aside(_));
        let _at_work = AtWork { commands: self, is_patient, since: Instant::now() };
        match taken {
            Taken::Group(group) => self.serve_group(session, group),
            Taken::Aside(job) => self.serve_one(session, job, LockWait::Long),
        }
    }

    /// Runs all together as long as that goes well. Where one has waited for a lock, those before it, who have not, are
    /// committed at once; then come those after it.
    fn serve_group(self: &Arc<Self>, session: &mut Option<Session>, group: Group) {
        let mut groups = VecDeque::from([group]);
        let mut deadlocks = 0;
        while let Some(mut group) = groups.pop_front() {
            let together = match group.len() {
                0 | 1 => Together::Apart,
                _ => self.run_together(session, &mut group),
            };
            match together {
                Together::Ended(outcome) => {
                    group.into_iter().for_each(|job| self.finish(job, outcome.clone()));
                }
                Together::Held(index) => {
                    groups.push_front(group.split_off(index + 1));
                    group.pop().into_iter().for_each(|held| self.put_aside(held));
                    groups.push_front(group);
                }
                // One by one they would cost much more, and be in others' way for longer.
                Together::Deadlocked if deadlocks < GROUP_DEADLOCKS_MAX => {
                    deadlocks += 1;
                    self.pause(deadlocks);
                    groups.push_front(group);
                }
                Together::Deadlocked | Together::Apart => {
                    group.into_iter().for_each(|job| self.serve_one(session, job, LockWait::Short));
                }
            }
        }
    }

    fn serve_one(self: &Arc<Self>, session: &mut Option<Session>, mut job: Box<dyn Job>, wait: LockWait) {
        match self.run(session, job.as_mut(), wait) {
            Ok(()) => self.finish(job, Ok(())),
            Err(Stop::Failed(error)) => self.finish(job, Err(error)),
            Err(Stop::Held) => self.put_aside(job),
        }
    }

    fn finish(&self, job: Box<dyn Job>, outcome: Result<(), Error>) {
        self.commands.fetch_add(1, Ordering::Relaxed);
        if catch_unwind(AssertUnwindSafe(|| job.finish(outcome))).is_err() {
            tracing::error!("a hook after a commit panicked");
        }
    }

    /// A connection at the beginning of a transaction, which waits so long for locks.
    fn begin(&self, slot: &mut Option<Session>, wait: LockWait) -> Result<Session, Error> {
        if let Some(mut session) = slot.take()
            && session.begin_with(wait).is_ok()
        {
            return Ok(session);
        }
        let mut session = Session::open(&self.connector, Purpose::Commands)?;
        session.begin_with(wait).map_err(|failure| failure.error())?;
        Ok(session)
    }

    /// Runs all in one transaction.
    fn run_together(&self, slot: &mut Option<Session>, group: &mut Group) -> Together {
        let mut session = match self.begin(slot, LockWait::Short) {
            Ok(session) => session,
            Err(error) => return Together::Ended(Err(error)),
        };
        let wishes = group.iter().filter_map(|job| job.wish()).collect();
        let looked = catch_unwind(AssertUnwindSafe(|| Wish::look(wishes, &mut session)));
        let mut panicked = looked.is_err();
        if !matches!(looked, Ok(Ok(()))) {
            let is_deadlock = matches!(session.trouble(), Some(Failure::Deadlock));
            if !panicked && session.rollback().is_ok() {
                *slot = Some(session);
            }
            return if is_deadlock { Together::Deadlocked } else { Together::Apart };
        }
        let stopped = group.iter_mut().position(|job| {
            let before = session.changes();
            let verdict = catch_unwind(AssertUnwindSafe(|| job.run(&mut session)));
            panicked |= verdict.is_err();
            let is_good = match verdict {
                Ok(Verdict::Keep) => true,
                // It only looked, and has seen what the others commit with it.
                Ok(Verdict::Undo) => session.changes() == before,
                Err(_) => false,
            };
            !is_good || session.trouble().is_some()
        });
        let held = stopped.filter(|_| matches!(session.trouble(), Some(Failure::LockTimeout)));
        let mut is_deadlock = false;
        if stopped.is_none() && finish(&mut session).is_ok() && session.trouble().is_none() {
            match session.commit() {
                Ok(()) => {
                    self.commits.fetch_add(1, Ordering::Relaxed);
                    *slot = Some(session);
                    return Together::Ended(Ok(()));
                }
                // The server says that it did not.
                Err(Failure::Deadlock) => is_deadlock = true,
                Err(failure) => {
                    tracing::warn!(error = %failure.error(), "the outcome of a commit is not known");
                    return Together::Ended(Err(Error::OutcomeUnknown));
                }
            }
        }
        is_deadlock |= matches!(session.trouble(), Some(Failure::Deadlock));
        // Whoever panicked may have left an answer unread.
        if !panicked && session.rollback().is_ok() {
            *slot = Some(session);
        }
        match held {
            Some(index) => Together::Held(index),
            None if is_deadlock => Together::Deadlocked,
            None => Together::Apart,
        }
    }

    /// Runs one command until it is committed, undone, or has no chance.
    fn run(&self, slot: &mut Option<Session>, job: &mut dyn Job, wait: LockWait) -> Result<(), Stop> {
        let (mut deadlocks, mut timeouts, mut lost, mut duplicates) = (0, 0, 0, 0);
        loop {
            let mut session = self.begin(slot, wait)?;
            let verdict = catch_unwind(AssertUnwindSafe(|| job.run(&mut session)));
            let ended = match &verdict {
                Ok(Verdict::Keep) => finish(&mut session),
                _ => Ok(()),
            };
            let verdict = if ended.is_ok() { verdict } else { Ok(Verdict::Undo) };
            let trouble = match (session.trouble(), &verdict) {
                (Some(trouble), _) => Some(trouble.clone()),
                (None, Ok(Verdict::Keep)) => match session.commit() {
                    Ok(()) => None,
                    // The server says that it did not.
                    Err(Failure::Deadlock) => Some(Failure::Deadlock),
                    Err(failure) => {
                        tracing::warn!(error = %failure.error(), "the outcome of a commit is not known");
                        return Err(Error::OutcomeUnknown.into());
                    }
                },
                (None, _) => None,
            };
            match trouble {
                None if matches!(verdict, Ok(Verdict::Keep)) => {
                    self.commits.fetch_add(1, Ordering::Relaxed);
                    *slot = Some(session);
                    return Ok(());
                }
                None => {
                    let met_duplicate = session.met_duplicate();
                    // Whoever panicked may have left an answer unread.
                    if verdict.is_ok() && session.rollback().is_ok() {
                        *slot = Some(session);
                    }
                    // The row came between the look and the insert: this time it is seen. A panic is not tried again.
                    if !met_duplicate || duplicates > 0 || verdict.is_err() {
                        return ended.map_err(Stop::Failed);
                    }
                    duplicates += 1;
                }
                Some(Failure::Deadlock) => {
                    deadlocks += 1;
                    self.again(slot, session, deadlocks, DEADLOCKS_MAX)?;
                    self.pause(deadlocks);
                }
                Some(Failure::LockTimeout) if wait == LockWait::Short => {
                    if session.rollback().is_ok() {
                        *slot = Some(session);
                    }
                    return Err(Stop::Held);
                }
                Some(Failure::LockTimeout) => {
                    timeouts += 1;
                    self.again(slot, session, timeouts, LOCK_TIMEOUTS_MAX)?;
                }
                Some(Failure::Lost(reason)) => {
                    lost += 1;
                    if lost >= LOST_MAX {
                        return Err(Error::Unreachable(reason).into());
                    }
                }
                // Another server may be the one that writes now: the next command connects anew.
                Some(Failure::ReadOnly) => return Err(Error::ReadOnly.into()),
                Some(Failure::Statement(error)) => return Err(error.into()),
            }
        }
    }

    /// Ends a transaction that is to be run again, if it may be.
    fn again(
        &self,
        slot: &mut Option<Session>,
        mut session: Session,
        tried: u32,
        tries_max: u32,
    ) -> Result<(), Error> {
        if session.rollback().is_ok() {
            *slot = Some(session);
        }
        if tried >= tries_max { Err(Error::Deadlock) } else { Ok(()) }
    }

    /// Longer with every try, and never the same as that of the others.
    fn pause(&self, tried: u32) {
        let mut seed = self.random.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
        seed = (seed ^ (seed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        seed = (seed ^ (seed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let bound = (500_u64 << tried.min(7)).min(PAUSE_MAX_MICROS);
        std::thread::park_timeout(Duration::from_micros(seed % bound));
    }

    pub fn stats(&self) -> Stats {
        Stats {
            commands: self.commands.load(Ordering::Relaxed),
            commits: self.commits.load(Ordering::Relaxed),
            queued: lock(&self.queue).waiting() as u64,
        }
    }

    /// Lets the workers do what waits, and then end.
    pub fn close(&self) {
        lock(&self.queue).closed = true;
        self.arrived.notify_all();
        let threads = std::mem::take(&mut *lock(&self.threads));
        for thread in threads {
            // The last handle may be dropped by a hook on a worker itself.
            if thread.thread().id() != std::thread::current().id() {
                let _ = thread.join();
            }
        }
    }
}

#[cfg(test)]
mod tests;
