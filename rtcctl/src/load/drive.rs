//! Sends what is due, when it is due.
//!
//! Invariants: the dispatcher never waits for an answer; what is under way is bounded, and what comes due beyond the
//! bound is counted as dropped; every request that was due ends in [`Work::end`] exactly once.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep_until};

use super::lane::{Body, Dial, Lane, Reply};
use super::pace::Pace;
use super::{Failure, Measures, Schedule};

/// What the requests are and what becomes of their answers.
pub trait Work {
    type Item;

    /// Decides what request `index` is.
    fn item(&self, index: u64) -> Self::Item;

    fn request(&self, index: u64, item: &Self::Item) -> Request<Full<Bytes>>;

    fn body(&self, item: &Self::Item) -> Body;

    /// Takes the outcome, `after` the intended time, and says what it counts as.
    fn end(
        &self,
        index: u64,
        item: &Self::Item,
        after: Duration,
        outcome: Result<Reply, Failure>,
    ) -> Option<Failure>;
}

#[derive(Debug, Clone, Copy)]
pub struct Limits {
    pub connections: usize,
    /// Requests that were due and have not ended, those that wait for a connection among them.
    pub in_flight: usize,
    /// From the intended time.
    pub timeout: Duration,
}

/// Ends the sending early when it turns true.
#[derive(Debug, Clone)]
pub struct Stop(watch::Receiver<bool>);

impl Stop {
    pub fn when(receiver: watch::Receiver<bool>) -> Self {
        Self(receiver)
    }

    pub async fn asked(&mut self) {
        // A sender that is gone can no longer ask.
        if self.0.wait_for(|stop| *stop).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    pub fn is_asked(&self) -> bool {
        *self.0.borrow()
    }
}

/// Where the run is, once a second.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Tick {
    pub elapsed: Duration,
    pub due: u64,
    pub ended: u64,
    pub total: u64,
    /// Ended in the last second.
    pub per_second: u64,
    /// Of the last second.
    pub p99: Duration,
    pub errors: u64,
    pub in_flight: u64,
}

#[derive(Debug, Clone, Copy)]
struct Job {
    index: u64,
    intended: Instant,
}

struct Seat {
    job: Cell<Option<Job>>,
    wake: Notify,
}

struct Pool<D, W> {
    dial: Rc<D>,
    work: Rc<W>,
    limits: Limits,
    queue: RefCell<VecDeque<Job>>,
    seats: RefCell<Vec<Rc<Seat>>>,
    /// The seat that was used last is used next, so that a fast server is spoken to over few connections.
    idle: RefCell<Vec<usize>>,
    in_flight: Cell<usize>,
    finished: Cell<bool>,
    drained: Notify,
    measures: RefCell<Measures>,
}

/// Sends the whole schedule; returns what was measured and for how long it was sent. Runs inside a `LocalSet`.
pub async fn drive<D: Dial + 'static, W: Work + 'static>(
    schedule: Schedule,
    pace: Pace,
    limits: Limits,
    dial: Rc<D>,
    work: Rc<W>,
    mut stop: Stop,
    mut on_tick: impl FnMut(Tick),
) -> (Measures, Duration) {
    const SECOND: Duration = Duration::from_secs(1);
    let pool = Rc::new(Pool {
        dial,
        work,
        limits,
        queue: RefCell::default(),
        seats: RefCell::default(),
        idle: RefCell::default(),
        in_flight: Cell::new(0),
        finished: Cell::new(false),
        drained: Notify::new(),
        measures: RefCell::default(),
    });
    let start = Instant::now();
    let mut next = 0;
    let mut next_tick = start + SECOND;
    let mut ended_before = 0;
    let mut tick = |due: u64| {
        let mut measures = pool.measures.borrow_mut();
        on_tick(Tick {
            elapsed: start.elapsed(),
            due,
            ended: measures.requests,
            total: schedule.total(),
            per_second: measures.requests - ended_before,
            p99: measures.recent.percentile(99.0),
            errors: measures.errors(),
            in_flight: pool.in_flight.get() as u64,
        });
        ended_before = measures.requests;
        measures.recent.clear();
    };
    while next < schedule.total() {
        let now = Instant::now();
        let due = schedule.due(now - start);
        for index in next..due {
            let intended = start + schedule.at(index);
            pool.measures.borrow_mut().lag.add(now - intended);
            dispatch(&pool, Job { index, intended });
        }
        next = due;
        if now >= next_tick {
            tick(next);
            next_tick = now + SECOND;
        }
        if next == schedule.total() {
            break;
        }
        tokio::select! {
            () = pace.until(next_tick.min(start + schedule.at(next))) => {}
            () = stop.asked() => break,
        }
    }
    let sent_for = if next == schedule.total() { schedule.at(next) } else { start.elapsed() };
    while pool.in_flight.get() > 0 {
        tokio::select! {
            () = pool.drained.notified() => {}
            () = sleep_until(next_tick) => {
                tick(next);
                next_tick += SECOND;
            }
        }
    }
    pool.finished.set(true);
    pool.seats.borrow().iter().for_each(|seat| seat.wake.notify_one());
    (pool.measures.take(), sent_for)
}

fn dispatch<D: Dial + 'static, W: Work + 'static>(pool: &Rc<Pool<D, W>>, job: Job) {
    if pool.in_flight.get() >= pool.limits.in_flight {
        let item = pool.work.item(job.index);
        let failure = pool.work.end(job.index, &item, Duration::ZERO, Err(Failure::Dropped));
        pool.measures.borrow_mut().end(Duration::ZERO, failure);
        return;
    }
    pool.in_flight.set(pool.in_flight.get() + 1);
    if let Some(number) = pool.idle.borrow_mut().pop() {
        let seats = pool.seats.borrow();
        seats[number].job.set(Some(job));
        seats[number].wake.notify_one();
        return;
    }
    pool.queue.borrow_mut().push_back(job);
    let number = pool.seats.borrow().len();
    if number < pool.limits.connections {
        let seat = Rc::new(Seat { job: Cell::new(None), wake: Notify::new() });
        pool.seats.borrow_mut().push(seat.clone());
        tokio::task::spawn_local(serve(pool.clone(), number, seat));
    }
}

async fn serve<D: Dial, W: Work>(pool: Rc<Pool<D, W>>, number: usize, seat: Rc<Seat>) {
    let mut lane = Lane::new(pool.dial.clone());
    loop {
        let queued = seat.job.take().or_else(|| pool.queue.borrow_mut().pop_front());
        let Some(job) = queued else {
            if pool.finished.get() {
                return;
            }
            pool.idle.borrow_mut().push(number);
            seat.wake.notified().await;
            continue;
        };
        pool.measures.borrow_mut().waiting.add(job.intended.elapsed());
        let item = pool.work.item(job.index);
        let deadline = job.intended + pool.limits.timeout;
        let outcome = if Instant::now() >= deadline {
            Err(Failure::TimeoutUnsent)
        } else {
            let request = || pool.work.request(job.index, &item);
            lane.call(deadline, pool.work.body(&item), request).await
        };
        let after = job.intended.elapsed();
        let failure = pool.work.end(job.index, &item, after, outcome);
        pool.measures.borrow_mut().end(after, failure);
        pool.in_flight.set(pool.in_flight.get() - 1);
        if pool.in_flight.get() == 0 {
            pool.drained.notify_one();
        }
    }
}
