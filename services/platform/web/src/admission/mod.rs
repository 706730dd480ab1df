//! Admission (R94): when there is more to do than can be done, the most important is done and the rest refused at once.
//!
//! Invariants:
//! - the work in progress is bounded, and so is the queue before it;
//! - who is refused is refused before anything was done for them, and the least important first;
//! - while there is no overload, a request costs a few uncontended atomics and no lock;
//! - under overload those who are let in are worked for by threads of their own, so that whoever is refused does not wait
//!   behind them: what reads requests and answers refusals has nothing else to do.

mod controller;
#[cfg(test)]
mod flood;
mod lanes;
#[cfg(test)]
mod tests;
mod workers;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};
use std::time::Duration;

use axum::http::Method;
use kernel::Error;
use tokio::sync::oneshot;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use controller::{Controller, Interval};
use lanes::{Lanes, Pushed};
pub(crate) use workers::NotDone;
use workers::Workers;

/// What a request is worth; the last one the most.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Priority {
    Analytics = 0,
    Read = 1,
    Order = 2,
    Bid = 3,
    Pay = 4,
}

const LEVELS: usize = 5;
/// Into how many parts the requests of one priority are divided, so that some of them can be let in.
const GRAIN: u32 = 128;

impl Priority {
    /// Where a route says nothing of it.
    pub(crate) fn usual(service: &str, method: &Method) -> Self {
        match service {
            "analytics" => Priority::Analytics,
            _ if method.is_safe() => Priority::Read,
            "payments" => Priority::Pay,
            "auctions" => Priority::Bid,
            _ => Priority::Order,
        }
    }
}

#[derive(Debug, Clone, Copy)]
pub struct AdmissionConfig {
    /// How many requests are worked on at once.
    pub work_max: usize,
    /// How many more wait for a place, and for how long.
    pub queue_max: usize,
    pub queue_wait: Duration,
    /// Work that nobody gets begun sooner than after this is overload.
    pub delay_target: Duration,
}

impl Default for AdmissionConfig {
    fn default() -> Self {
        Self {
            work_max: 4_096,
            queue_max: 256,
            queue_wait: Duration::from_millis(100),
            delay_target: Duration::from_millis(30),
        }
    }
}

/// How often it is looked how long work waits.
const PROBE: Duration = Duration::from_millis(5);
const INTERVAL: Duration = Duration::from_millis(100);
/// A flood is not watched for a whole interval.
const INTERVAL_MIN: Duration = Duration::from_millis(20);
const FLOOD: u32 = 4;
/// So many intervals after the last refusal there is no overload any more.
const CALM: u32 = 100;

/// Gathers what probes see until it is time to steer by it.
struct Watch {
    target: Duration,
    shortest: Duration,
    passed: Duration,
}

impl Watch {
    fn new(target: Duration) -> Self {
        Self { target, shortest: Duration::MAX, passed: Duration::ZERO }
    }

    /// `delay` is what a probe waited, `passed` the time since the one before. The shortest delay of the interval,
    /// where that is over.
    fn saw(&mut self, delay: Duration, passed: Duration) -> Option<Duration> {
        self.shortest = self.shortest.min(delay);
        self.passed += passed;
        let flood = delay > self.target * FLOOD && self.passed >= INTERVAL_MIN;
        if self.passed < INTERVAL && !flood {
            return None;
        }
        let shortest = self.shortest;
        *self = Self::new(self.target);
        Some(if flood { delay } else { shortest })
    }
}

type Pressure = Arc<dyn Fn() -> f64 + Send + Sync>;

/// The one gate of a process.
pub struct Gate {
    config: AdmissionConfig,
    work_max: AtomicUsize,
    /// The floor in the upper half, the work in progress in the lower one: one operation takes a place and reads both.
    state: AtomicU64,
    offered: [AtomicU32; LEVELS],
    shed: AtomicU32,
    draw: AtomicU32,
    waiting: AtomicUsize,
    lanes: Mutex<Lanes<Waiter>>,
    /// The shortest wait in the queue since the last look, in microseconds.
    queued_micros: AtomicU64,
    controller: Mutex<Steering>,
    pressures: RwLock<HashMap<&'static str, Pressure>>,
    workers: OnceLock<Workers>,
    /// There is overload, or was a moment ago: it comes and goes, and must not come back to where requests are read.
    work_there: AtomicBool,
}

struct Steering {
    controller: Controller,
    work_before: u32,
    /// How many intervals in a row everybody was let in.
    calm: u32,
}

struct Waiter {
    place: oneshot::Sender<Place>,
    since: Instant,
}

/// A place that was handed to one who waits. Whoever went away meanwhile gives it on.
struct Place(Option<Arc<Gate>>);

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(gate) = self.0.take() {
            gate.leave();
        }
    }
}

/// A place at work, given back when it is dropped.
pub(crate) struct Permit<'a>(&'a Arc<Gate>);

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        self.0.leave();
    }
}

/// What the gate says at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Entry {
    In,
    Full,
    Shed,
}

fn work(state: u64) -> u32 {
    (state & u64::from(u32::MAX)) as u32
}

fn floor(state: u64) -> u32 {
    (state >> 32) as u32
}

pub(crate) fn overloaded() -> Error {
    Error::unavailable("overloaded", "too much is going on: try again in a moment")
}

impl Gate {
    pub fn new(config: AdmissionConfig) -> Arc<Self> {
        let controller = Controller::new(config.delay_target);
        Arc::new(Self {
            config,
            work_max: AtomicUsize::new(config.work_max),
            state: AtomicU64::new(0),
            offered: Default::default(),
            shed: AtomicU32::new(0),
            draw: AtomicU32::new(0),
            waiting: AtomicUsize::new(0),
            lanes: Mutex::new(Lanes::new(config.queue_max)),
            queued_micros: AtomicU64::new(u64::MAX),
            controller: Mutex::new(Steering { controller, work_before: 0, calm: CALM }),
            pressures: RwLock::default(),
            workers: OnceLock::new(),
            work_there: AtomicBool::new(false),
        })
    }

    /// Where fewer are let in than are at work, those finish and nobody follows them.
    pub(crate) fn set_work_max(self: &Arc<Self>, work_max: usize) {
        self.work_max.store(work_max, Ordering::Relaxed);
        self.hand_out();
    }

    /// Takes a place at work, after a short wait if need be.
    pub(crate) async fn enter(self: &Arc<Self>, priority: Priority) -> Result<Permit<'_>, Error> {
        match self.try_enter(priority) {
            Entry::In => Ok(Permit(self)),
            Entry::Shed => Err(overloaded()),
            Entry::Full => self.wait(priority).await,
        }
    }

    fn try_enter(self: &Arc<Self>, priority: Priority) -> Entry {
        self.offered[priority as usize].fetch_add(1, Ordering::Relaxed);
        let before = self.state.fetch_add(1, Ordering::SeqCst);
        let entry = if floor(before) > 0 && self.rank(priority, floor(before)) < floor(before) {
            self.shed.fetch_add(1, Ordering::Relaxed);
            Entry::Shed
        } else if work(before) as usize >= self.work_max.load(Ordering::Relaxed) {
            Entry::Full
        } else {
            return Entry::In;
        };
        self.leave();
        entry
    }

    /// Drawn only where it decides.
    fn rank(&self, priority: Priority, floor: u32) -> u32 {
        let lowest = priority as u32 * GRAIN;
        if floor <= lowest || floor >= lowest + GRAIN {
            return lowest + GRAIN - 1;
        }
        // The golden ratio's multiples are spread evenly over the whole range.
        lowest + self.draw.fetch_add(0x9e37_79b9, Ordering::Relaxed) / (u32::MAX / GRAIN + 1)
    }

    /// Takes a place where there is one.
    fn take_place(&self) -> bool {
        let max = self.work_max.load(Ordering::Relaxed);
        let take = |state: u64| ((work(state) as usize) < max).then_some(state + 1);
        self.state.fetch_update(Ordering::SeqCst, Ordering::SeqCst, take).is_ok()
    }

    async fn wait(self: &Arc<Self>, priority: Priority) -> Result<Permit<'_>, Error> {
        let (place, mut handed) = oneshot::channel();
        {
            let mut lanes = self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
            if lanes.len() >= self.config.queue_max {
                lanes.retain(|waiter| !waiter.place.is_closed());
            }
            let pushed = lanes.push(priority, Waiter { place, since: Instant::now() });
            self.waiting.store(lanes.len(), Ordering::SeqCst);
            if let Pushed::Full(_) = pushed {
                self.shed.fetch_add(1, Ordering::Relaxed);
                return Err(overloaded());
            }
        }
        // Whoever left before it was seen that somebody waits has woken nobody.
        self.hand_out();
        match tokio::time::timeout(self.config.queue_wait, &mut handed).await {
            Ok(Ok(mut place)) => {
                // From here on it is the permit that gives it back.
                place.0 = None;
                Ok(Permit(self))
            }
            Ok(Err(_)) | Err(_) => {
                self.shed.fetch_add(1, Ordering::Relaxed);
                Err(overloaded())
            }
        }
    }

    fn leave(self: &Arc<Self>) {
        self.state.fetch_sub(1, Ordering::SeqCst);
        if self.waiting.load(Ordering::SeqCst) > 0 {
            self.hand_out();
        }
    }

    /// Gives free places to those who wait.
    fn hand_out(self: &Arc<Self>) {
        loop {
            let waiter = {
                let mut lanes = self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
                if lanes.len() == 0 || !self.take_place() {
                    return;
                }
                let waiter = lanes.pop();
                self.waiting.store(lanes.len(), Ordering::SeqCst);
                waiter
            };
            // Handed over outside the lock: whoever went away gives the place back, and that may hand out again.
            let place = Place(Some(self.clone()));
            if let Some(waiter) = waiter {
                let micros = u64::try_from(waiter.since.elapsed().as_micros()).unwrap_or(u64::MAX);
                self.queued_micros.fetch_min(micros, Ordering::Relaxed);
                let _ = waiter.place.send(place);
            }
        }
    }

    /// What is known of an interval decides who is let in during the next one.
    fn steer(&self, delay: Duration) {
        let mut steering = self.controller.lock().unwrap_or_else(PoisonError::into_inner);
        let offered = [0, 1, 2, 3, 4].map(|level: usize| self.offered[level].swap(0, Ordering::Relaxed));
        let shed = self.shed.swap(0, Ordering::Relaxed);
        let work_now = work(self.state.load(Ordering::Relaxed));
        let let_in = offered.iter().sum::<u32>().saturating_sub(shed);
        let done = (let_in + steering.work_before).saturating_sub(work_now);
        steering.work_before = work_now;
        let queued = Duration::from_micros(match self.queued_micros.swap(u64::MAX, Ordering::Relaxed) {
            u64::MAX => 0,
            micros => micros,
        });
        let queued = queued.max(self.workers.get().map_or(Duration::ZERO, Workers::waited));
        let before = floor(self.state.load(Ordering::Relaxed));
        let after = steering.controller.next(&Interval { offered, done, delay: delay.max(queued) });
        steering.calm = if after > 0 { 0 } else { steering.calm.saturating_add(1) };
        self.work_there.store(steering.calm < CALM, Ordering::Relaxed);
        if before == after {
            return;
        }
        if before == 0 || after == 0 {
            let delay_ms = delay.as_millis();
            tracing::warn!(
                floor = after,
                delay_ms,
                "requests are shed: {}",
                if after > 0 { "some" } else { "none" }
            );
        }
        let set = |state: u64| Some((u64::from(after) << 32) | u64::from(work(state)));
        let _ = self.state.fetch_update(Ordering::SeqCst, Ordering::SeqCst, set);
    }

    /// Threads that work under overload; so many, or as many as the machine can run at once.
    pub fn hire(&self, threads: Option<usize>) -> std::io::Result<()> {
        if self.workers.get().is_none() {
            let _ = self.workers.set(Workers::hire(threads)?);
        }
        Ok(())
    }

    /// The runtime of the threads that were [hired](Self::hire), as it is now.
    pub fn work_runtime(&self) -> Option<tokio::runtime::RuntimeMetrics> {
        self.workers.get().and_then(Workers::runtime)
    }

    /// Somebody who was let in could not be worked for after all.
    pub(crate) fn turned_away(&self) {
        self.shed.fetch_add(1, Ordering::Relaxed);
    }

    #[cfg(test)]
    pub(crate) fn send_to_work(&self) {
        self.work_there.store(true, Ordering::Relaxed);
    }

    /// Where work is to be done, if it is not to be done here.
    pub(crate) fn workers(&self) -> Option<&Workers> {
        self.workers.get().filter(|_| self.work_there.load(Ordering::Relaxed))
    }

    /// Looks how long work waits, and steers by it. Without it nothing but the bounds holds.
    pub async fn run(self: Arc<Self>, stop: CancellationToken) {
        let mut watch = Watch::new(self.config.delay_target);
        let beats = self.workers.get().map(|workers| workers.beat(PROBE, stop.clone()));
        while !stop.is_cancelled() {
            let asleep = Instant::now();
            tokio::time::sleep(PROBE).await;
            let passed = asleep.elapsed();
            let theirs = beats.as_ref().map_or(Duration::ZERO, |beats| beats.late(PROBE));
            if let Some(delay) = watch.saw(passed.saturating_sub(PROBE).max(theirs), passed) {
                self.steer(delay);
            }
        }
    }

    pub(crate) fn set_pressure(&self, name: &'static str, source: Pressure) {
        self.pressures.write().unwrap_or_else(PoisonError::into_inner).insert(name, source);
    }

    /// Refuses what yields to a pressure that is at its limit.
    pub(crate) fn check_pressure(&self, name: &'static str) -> Result<(), Error> {
        let source = self.pressures.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned();
        match source {
            Some(source) if source() >= 1.0 => Err(overloaded()),
            _ => Ok(()),
        }
    }
}
