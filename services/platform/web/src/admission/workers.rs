//! Threads for those who were let in under overload.
//!
//! Invariants: work whose caller has gone is given up; the threads end with the gate and hold up nobody's end.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::runtime::Runtime;
use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::Priority;
use super::lanes::Lanes;

/// So much work waits to be begun at most; the least important goes for the more important.
const LINE_MAX: usize = 256;

pub(crate) struct Workers {
    /// There until the end.
    runtime: Option<Runtime>,
    line: Arc<Line>,
}

impl Drop for Workers {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// Work that was not begun yet. `reply` is closed where nobody waits any more.
struct Job {
    work: Pin<Box<dyn Future<Output = ()> + Send>>,
    is_given_up: Box<dyn Fn() -> bool + Send>,
    since: Instant,
}

/// Work in the order of its importance.
struct Line {
    lanes: Mutex<Lanes<Job>>,
    filled: Notify,
    /// The shortest that work had to wait here since the last look, in microseconds.
    waited_micros: AtomicU64,
}

impl Line {
    fn lanes(&self) -> MutexGuard<'_, Lanes<Job>> {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins one piece of work a turn. Whatever is under way has its turn before the next one is begun: what waits waits
    /// here, where the important overtakes.
    async fn begin_all(self: Arc<Self>) {
        loop {
            let filled = self.filled.notified();
            let job = self.lanes().pop();
            let Some(job) = job else {
                filled.await;
                continue;
            };
            if (job.is_given_up)() {
                continue;
            }
            let micros = u64::try_from(job.since.elapsed().as_micros()).unwrap_or(u64::MAX);
            self.waited_micros.fetch_min(micros, Ordering::Relaxed);
            tokio::spawn(job.work);
            tokio::task::yield_now().await;
        }
    }
}

/// Why work came to no end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NotDone {
    /// It was not begun: there was no room for it, or something more important took its place.
    NotBegun,
    Panicked,
}

/// When the workers last had a moment.
pub(super) struct Beats {
    begun: Instant,
    last_micros: AtomicU64,
}

impl Beats {
    fn now(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    /// How long the next one is overdue, where one comes `every` so often.
    pub(super) fn late(&self, every: Duration) -> Duration {
        let last = self.last_micros.load(Ordering::Relaxed);
        Duration::from_micros(self.now().saturating_sub(last)).saturating_sub(every)
    }
}

impl Workers {
    pub(super) fn hire(threads: Option<usize>) -> std::io::Result<Self> {
        let threads = threads.or_else(|| std::thread::available_parallelism().ok().map(usize::from));
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        let threads = threads.unwrap_or(1).max(1);
        builder.worker_threads(threads).thread_name("rtc-work").enable_all();
        let runtime = builder.build()?;
        let line = Arc::new(Line {
            lanes: Mutex::new(Lanes::new(LINE_MAX)),
            filled: Notify::new(),
            waited_micros: AtomicU64::new(u64::MAX),
        });
        for _ in 0..threads {
            runtime.spawn(line.clone().begin_all());
        }
        Ok(Self { runtime: Some(runtime), line })
    }

    /// Does the work over there and waits for it.
    pub(crate) async fn work<T: Send + 'static>(
        &self,
        priority: Priority,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Result<T, NotDone> {
        let (reply, answer) = oneshot::channel();
        let reply = Arc::new(Mutex::new(Some(reply)));
        let asked = reply.clone();
        let is_given_up = move || {
            asked
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .as_ref()
                .is_none_or(oneshot::Sender::is_closed)
        };
        let is_begun = Arc::new(AtomicBool::new(false));
        let begins = is_begun.clone();
        let work = async move {
            begins.store(true, Ordering::Release);
            let Some(mut reply) = reply.lock().unwrap_or_else(PoisonError::into_inner).take() else { return };
            tokio::select! {
                done = work => drop(reply.send(done)),
                () = reply.closed() => {}
            }
        };
        let job = Job { work: Box::pin(work), is_given_up: Box::new(is_given_up), since: Instant::now() };
        // Whoever had to go for it, or had no room, hears of it by his reply.
        drop(self.line.lanes().push(priority, job));
        self.line.filled.notify_one();
        answer.await.map_err(|_| match is_begun.load(Ordering::Acquire) {
            true => NotDone::Panicked,
            false => NotDone::NotBegun,
        })
    }

    /// The shortest that work had to wait since this was asked last.
    pub(super) fn waited(&self) -> Duration {
        match self.line.waited_micros.swap(u64::MAX, Ordering::Relaxed) {
            u64::MAX => Duration::ZERO,
            micros => Duration::from_micros(micros),
        }
    }

    pub(super) fn runtime(&self) -> Option<tokio::runtime::RuntimeMetrics> {
        self.runtime.as_ref().map(|runtime| runtime.metrics())
    }

    /// Shows how long work waits over there.
    pub(super) fn beat(&self, every: Duration, stop: CancellationToken) -> Arc<Beats> {
        let beats = Arc::new(Beats { begun: Instant::now(), last_micros: AtomicU64::new(0) });
        let shown = beats.clone();
        let beating = async move {
            while !stop.is_cancelled() {
                tokio::time::sleep(every).await;
                shown.last_micros.store(shown.now(), Ordering::Relaxed);
            }
        };
        if let Some(runtime) = &self.runtime {
            runtime.spawn(beating);
        }
        beats
    }
}
