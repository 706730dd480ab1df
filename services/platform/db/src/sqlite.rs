//! SQLite: one writer thread with group commit, a pool of readers; and an engine in memory for tests.
//!
//! Invariants:
//! - every write goes through the one writer, in `BEGIN IMMEDIATE`; an answer is sent after COMMIT has returned, and with
//!   `synchronous=FULL` that means after the fsync of the write-ahead log;
//! - nobody waits for a reader: a query that may take its time has its turn before it has a thread, and one by key, on a thread
//!   that drives others' work, has a reader at once.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rusqlite::types::{ToSqlOutput, Value, ValueRef as SqlValue};
use rusqlite::{CachedStatement, Connection as Sqlite, params_from_iter};

use crate::engine::{Connection, Engine, Job, Reads, Stats, Verdict};
use crate::{Asker, Error, Param, Row, RowSource, Turn, Turns, ValueRef, Waiting, Work};

/// How many commands share a transaction at most: bounds the memory of one commit and the wait of the first.
const GROUP_MAX: usize = 512;
/// How long a lazy command waits for company.
const LAZY_WAIT: Duration = Duration::from_millis(25);
/// Queries at once, of those that wait for their turn, and readers that are kept. Bounds file descriptors and page caches.
const READERS_MAX: usize = 8;
/// Commands that may wait for the writer; beyond that they are refused at once (R91).
const QUEUE_MAX: usize = 8_192;

fn configure(connection: &Sqlite) -> Result<(), Error> {
    connection.set_prepared_statement_cache_capacity(256);
    connection.busy_timeout(Duration::from_secs(5))?;
    connection
        .execute_batch("PRAGMA foreign_keys = ON; PRAGMA temp_store = MEMORY; PRAGMA cache_size = -4000;")?;
    Ok(())
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[derive(Default)]
struct Counters {
    commands: AtomicU64,
    commits: AtomicU64,
}

// ---- the connection -------------------------------------------------------------------------------------------

struct Handle<'a>(&'a Sqlite, Work);

impl rusqlite::ToSql for Param<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(match self {
            Param::Null => ToSqlOutput::Owned(Value::Null),
            Param::Int(int) => ToSqlOutput::Owned(Value::Integer(*int)),
            Param::Text(text) => ToSqlOutput::Borrowed(SqlValue::Text(text.as_bytes())),
            Param::Blob(bytes) => ToSqlOutput::Borrowed(SqlValue::Blob(bytes)),
        })
    }
}

struct SqliteRow<'a, 'stmt>(&'a rusqlite::Row<'stmt>);

impl RowSource for SqliteRow<'_, '_> {
    fn value(&self, column: usize) -> Result<ValueRef<'_>, Error> {
        let decode = |problem: String| Error::Decode { column, problem };
        Ok(match self.0.get_ref(column).map_err(|error| decode(error.to_string()))? {
            SqlValue::Null => ValueRef::Null,
            SqlValue::Integer(int) => ValueRef::Int(int),
            SqlValue::Real(real) => ValueRef::Real(real),
            SqlValue::Text(bytes) => {
                ValueRef::Text(std::str::from_utf8(bytes).map_err(|error| decode(error.to_string()))?)
            }
            SqlValue::Blob(bytes) => ValueRef::Blob(bytes),
        })
    }
}

impl<'a> Handle<'a> {
    fn new(connection: &'a Sqlite) -> Self {
        Self(connection, Work::default())
    }

    fn statement(&self, sql: &str) -> Result<CachedStatement<'_>, Error> {
        Ok(self.0.prepare_cached(sql)?)
    }
}

impl Connection for Handle<'_> {
    fn work(&mut self) -> &mut Work {
        &mut self.1
    }

    fn execute(&mut self, sql: &str, params: &[Param<'_>]) -> Result<usize, Error> {
        Ok(self.statement(sql)?.execute(params_from_iter(params))?)
    }

    fn execute_batch(&mut self, sql: &str) -> Result<(), Error> {
        if sql.contains(';') {
            return Ok(self.0.execute_batch(sql)?);
        }
        self.statement(sql)?.execute(())?;
        Ok(())
    }

    fn query(
        &mut self,
        sql: &str,
        params: &[Param<'_>],
        _reads: Reads,
        each: &mut dyn FnMut(&Row<'_>) -> Result<bool, Error>,
    ) -> Result<(), Error> {
        let mut statement = self.statement(sql)?;
        let mut rows = statement.query(params_from_iter(params))?;
        while let Some(row) = rows.next()? {
            if !each(&Row::new(&SqliteRow(row)))? {
                break;
            }
        }
        Ok(())
    }
}

// ---- one group of commands ------------------------------------------------------------------------------------

/// Runs one command in a savepoint. `Err` where SQLite has given up the whole transaction.
fn run_in_savepoint(connection: &Sqlite, job: &mut dyn Job) -> Result<(), Error> {
    let mut handle = Handle::new(connection);
    handle.execute_batch("SAVEPOINT command")?;
    let verdict = catch_unwind(AssertUnwindSafe(|| job.run(&mut handle)));
    // A full disk or an I/O error can end the transaction behind the command's back.
    if connection.is_autocommit() {
        return Err(Error::Full);
    }
    if !matches!(verdict, Ok(Verdict::Keep)) {
        handle.execute_batch("ROLLBACK TO SAVEPOINT command")?;
    }
    handle.execute_batch("RELEASE SAVEPOINT command")
}

/// Commits one group; every job is finished exactly once.
fn run_group(
    connection: &Sqlite,
    counters: &Counters,
    first: Vec<Box<dyn Job>>,
    mut more: impl FnMut() -> Option<Box<dyn Job>>,
) {
    let mut done: Vec<Box<dyn Job>> = Vec::with_capacity(first.len());
    let mut waiting: VecDeque<Box<dyn Job>> = first.into();
    let result = (|| {
        Handle::new(connection).execute_batch("BEGIN IMMEDIATE")?;
        while let Some(mut job) =
            waiting.pop_front().or_else(|| (done.len() < GROUP_MAX).then(&mut more).flatten())
        {
            let ran = run_in_savepoint(connection, job.as_mut());
            done.push(job);
            ran?;
        }
        Handle::new(connection).execute_batch("COMMIT")
    })();
    if result.is_err() && !connection.is_autocommit() {
        // The connection is good for the next group only when this one is really gone.
        if let Err(error) = Handle::new(connection).execute_batch("ROLLBACK") {
            tracing::error!(%error, "rollback failed");
        }
    }
    counters.commits.fetch_add(1, Ordering::Relaxed);
    counters.commands.fetch_add(done.len() as u64, Ordering::Relaxed);
    for job in done.into_iter().chain(waiting) {
        let outcome = result.clone();
        if catch_unwind(AssertUnwindSafe(|| job.finish(outcome))).is_err() {
            tracing::error!("a hook after a commit panicked");
        }
    }
}

// ---- a file ---------------------------------------------------------------------------------------------------

#[derive(Default)]
struct Queue {
    jobs: VecDeque<Box<dyn Job>>,
    lazy: Vec<Box<dyn Job>>,
    closed: bool,
}

#[derive(Default)]
struct Inbox {
    queue: Mutex<Queue>,
    arrived: Condvar,
}

impl Inbox {
    /// Waits for work. `None` when closed and empty.
    fn next_group(&self) -> Option<Vec<Box<dyn Job>>> {
        let mut queue = lock(&self.queue);
        loop {
            if let Some(job) = queue.jobs.pop_front() {
                let mut group: Vec<_> = std::mem::take(&mut queue.lazy);
                group.push(job);
                return Some(group);
            }
            if queue.closed {
                let rest = std::mem::take(&mut queue.lazy);
                return (!rest.is_empty()).then_some(rest);
            }
            if queue.lazy.is_empty() {
                queue = self.arrived.wait(queue).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            let (guard, timeout) =
                self.arrived.wait_timeout(queue, LAZY_WAIT).unwrap_or_else(PoisonError::into_inner);
            queue = guard;
            if timeout.timed_out() && queue.jobs.is_empty() {
                return Some(std::mem::take(&mut queue.lazy));
            }
        }
    }

    fn try_next(&self) -> Option<Box<dyn Job>> {
        lock(&self.queue).jobs.pop_front()
    }
}

/// A database file with a writer thread of its own.
pub(crate) struct FileEngine {
    path: PathBuf,
    inbox: Arc<Inbox>,
    counters: Arc<Counters>,
    readers: Readers,
    turns: Arc<Turns>,
    writer: Option<std::thread::JoinHandle<()>>,
}

impl FileEngine {
    pub(crate) fn open(path: &Path) -> Result<Self, Error> {
        let connection = Sqlite::open(path)?;
        configure(&connection)?;
        connection.execute_batch(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA wal_autocheckpoint = 4000; \
             PRAGMA journal_size_limit = 67108864;",
        )?;
        let inbox = Arc::new(Inbox::default());
        let counters = Arc::new(Counters::default());
        let name = path.file_stem().map_or("db".into(), |stem| stem.to_string_lossy().into_owned());
        let writer = std::thread::Builder::new()
            .name(format!("db-{name}"))
            .spawn({
                let (inbox, counters) = (inbox.clone(), counters.clone());
                move || {
                    while let Some(group) = inbox.next_group() {
                        run_group(&connection, &counters, group, || inbox.try_next());
                    }
                }
            })
            .map_err(|error| Error::Io(error.to_string()))?;
        let (readers, turns) = (Readers::default(), Turns::new(READERS_MAX));
        Ok(Self { path: path.to_owned(), inbox, counters, readers, turns, writer: Some(writer) })
    }

    fn open_reader(&self) -> Result<Sqlite, Error> {
        let connection = Sqlite::open(&self.path)?;
        configure(&connection)?;
        connection.execute_batch("PRAGMA query_only = ON")?;
        Ok(connection)
    }
}

/// The readers that nobody has.
#[derive(Default)]
struct Readers(Mutex<Vec<Sqlite>>);

/// A reader on loan. It comes back when it is dropped, unless it is not clean, or enough are there.
struct Loan<'a> {
    readers: &'a Readers,
    connection: Option<Sqlite>,
    is_clean: bool,
}

impl Readers {
    /// Whoever finds none opens one. There are no more than queries that have their turn, and threads that look up by key.
    fn lend(&self, open: impl FnOnce() -> Result<Sqlite, Error>) -> Result<Loan<'_>, Error> {
        let idle = lock(&self.0).pop();
        let connection = idle.map_or_else(open, Ok)?;
        Ok(Loan { readers: self, connection: Some(connection), is_clean: false })
    }
}

impl Drop for Loan<'_> {
    fn drop(&mut self) {
        if !self.is_clean {
            return;
        }
        let mut idle = lock(&self.readers.0);
        if idle.len() < READERS_MAX {
            idle.extend(self.connection.take());
        }
    }
}

impl Engine for FileEngine {
    fn write(&self, job: Box<dyn Job>) {
        let mut queue = lock(&self.inbox.queue);
        if queue.jobs.len() >= QUEUE_MAX {
            drop(queue);
            return job.finish(Err(Error::Busy));
        }
        queue.jobs.push_back(job);
        drop(queue);
        self.inbox.arrived.notify_one();
    }

    fn write_lazily(&self, job: Box<dyn Job>) {
        let mut queue = lock(&self.inbox.queue);
        queue.lazy.push(job);
        // The writer must begin to count; while commands run they take the lazy ones along.
        let wake = queue.lazy.len() == 1 && queue.jobs.is_empty();
        drop(queue);
        if wake {
            self.inbox.arrived.notify_one();
        }
    }

    fn turn(&self, asker: Asker) -> Waiting<'_> {
        Box::pin(async move { self.turns.take(asker).await.map(Turn::of) })
    }

    fn read(&self, query: &mut dyn FnMut(&mut dyn Connection)) -> Result<(), Error> {
        let mut loan = self.readers.lend(|| self.open_reader())?;
        let Some(connection) = &loan.connection else { return Err(Error::Closed) };
        let mut handle = Handle::new(connection);
        handle.execute_batch("BEGIN")?;
        query(&mut handle);
        handle.execute_batch("COMMIT")?;
        loan.is_clean = true;
        Ok(())
    }

    fn reads_inline(&self) -> bool {
        false
    }

    fn is_commit_ordered(&self) -> bool {
        true
    }

    fn stats(&self) -> Stats {
        Stats {
            commands: self.counters.commands.load(Ordering::Relaxed),
            commits: self.counters.commits.load(Ordering::Relaxed),
            queued: lock(&self.inbox.queue).jobs.len() as u64,
        }
    }
}

impl Drop for FileEngine {
    fn drop(&mut self) {
        lock(&self.inbox.queue).closed = true;
        self.inbox.arrived.notify_one();
        if let Some(writer) = self.writer.take() {
            // The last handle may be dropped by a hook on the writer thread itself.
            if writer.thread().id() != std::thread::current().id() {
                let _ = writer.join();
            }
        }
    }
}

// ---- in memory ------------------------------------------------------------------------------------------------

/// Runs everything at once on the calling thread. A hook may write again: it is queued behind the running group.
pub(crate) struct MemoryEngine {
    connection: Mutex<Sqlite>,
    queue: Mutex<VecDeque<Box<dyn Job>>>,
    counters: Counters,
}

impl MemoryEngine {
    pub(crate) fn open() -> Result<Self, Error> {
        let connection = Sqlite::open_in_memory()?;
        configure(&connection)?;
        Ok(Self {
            connection: Mutex::new(connection),
            queue: Mutex::default(),
            counters: Counters::default(),
        })
    }
}

impl MemoryEngine {
    /// Runs what waits. Whoever holds the connection runs the queue, and looks at it again after letting go, so that
    /// a job which came in between is not forgotten; a nested call leaves its job to the one around it.
    fn drain(&self) {
        while !lock(&self.queue).is_empty() {
            let Ok(connection) = self.connection.try_lock() else { return };
            let job = lock(&self.queue).pop_front();
            run_group(&connection, &self.counters, job.into_iter().collect(), || None);
        }
    }
}

impl Engine for MemoryEngine {
    fn write(&self, job: Box<dyn Job>) {
        lock(&self.queue).push_back(job);
        self.drain();
    }

    fn write_lazily(&self, job: Box<dyn Job>) {
        self.write(job);
    }

    fn read(&self, query: &mut dyn FnMut(&mut dyn Connection)) -> Result<(), Error> {
        query(&mut Handle::new(&lock(&self.connection)));
        // A write that came meanwhile was left to whoever held the connection.
        self.drain();
        Ok(())
    }

    fn reads_inline(&self) -> bool {
        true
    }

    fn is_commit_ordered(&self) -> bool {
        true
    }

    fn stats(&self) -> Stats {
        Stats {
            commands: self.counters.commands.load(Ordering::Relaxed),
            commits: self.counters.commits.load(Ordering::Relaxed),
            queued: 0,
        }
    }
}
