//! A bank that misbehaves by a seed (R33), around one that does not.
//!
//! Invariants: a decline is decided by the seed and the key, so that every call and every question with that key
//! hears the same; no fault invents or loses an effect of the bank behind it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use kernel::id::SplitMix;
use kernel::{Clock, Timestamp};
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

use super::{Action, Bank, BankError, HoldFacts, HoldRequest, OnHold, Refusal, Reply, StatementLine};

/// How the bank misbehaves, in percent of its calls. All zero: not at all.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Faults {
    pub seed: u64,
    /// Holds that are declined.
    pub declines: u64,
    /// Calls that take `latency_ms` longer.
    pub slow: u64,
    pub latency_ms: u64,
    /// Calls that take effect and whose answer is lost.
    pub timeouts_after: u64,
    /// Calls that never arrive.
    pub timeouts_before: u64,
    /// Calls that time out and arrive later, up to an hour.
    pub late_arrivals: u64,
    /// 5xx, before or after the effect.
    pub server_errors: u64,
    /// Connection resets, before or after the effect.
    pub resets: u64,
    /// Effects that are also told by call-back.
    pub callbacks: u64,
    /// Call-backs that come twice.
    pub duplicate_callbacks: u64,
    /// Call-backs that come late, up to an hour, and so out of order.
    pub late_callbacks: u64,
    /// The bank's clock is off by up to five minutes either way.
    pub clock_skew: bool,
}

impl Faults {
    pub fn any(&self) -> bool {
        *self != Faults { seed: self.seed, latency_ms: self.latency_ms, ..Faults::default() }
    }
}

const LATE_MAX_MS: u64 = 3_600_000;
const SKEW_MAX_MS: u64 = 300_000;

/// A clock that is off by a fixed time.
#[derive(Debug)]
pub(crate) struct SkewedClock {
    clock: Arc<dyn Clock>,
    offset_ms: i64,
}

impl SkewedClock {
    pub(crate) fn new(clock: Arc<dyn Clock>, faults: &Faults) -> Self {
        let draw = SplitMix(faults.seed ^ 0x5ce3).below(2 * SKEW_MAX_MS + 1);
        let offset_ms = if faults.clock_skew { draw as i64 - SKEW_MAX_MS as i64 } else { 0 };
        Self { clock, offset_ms }
    }
}

impl Clock for SkewedClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.clock.now().as_millis().saturating_add(self.offset_ms))
    }
}

/// What the bank tells of its own accord.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Callback {
    /// The key of the operation; empty where the bank acted by itself (expiry).
    pub key: String,
    pub hold_key: String,
    pub action: Action,
    pub reply: Reply,
}

/// Call-backs on their way. Lost in a crash, as call-backs are: whoever needs to know asks by key.
pub struct Callbacks {
    queue: Mutex<Vec<(Timestamp, Callback)>>,
    pub(crate) wake: Arc<Notify>,
}

impl Default for Callbacks {
    fn default() -> Self {
        Self { queue: Mutex::default(), wake: Arc::new(Notify::new()) }
    }
}

impl Callbacks {
    pub(crate) fn send(&self, at: Timestamp, callback: Callback) {
        lock(&self.queue).push((at, callback));
        self.wake.notify_one();
    }

    /// Those that have arrived by now, in the order of their arrival.
    pub(crate) fn take_due(&self, now: Timestamp) -> Vec<Callback> {
        let mut queue = lock(&self.queue);
        let (mut due, rest): (Vec<_>, Vec<_>) = queue.drain(..).partition(|(at, _)| *at <= now);
        *queue = rest;
        due.sort_by_key(|(at, _)| *at);
        due.into_iter().map(|(_, callback)| callback).collect()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[derive(Debug, Clone)]
enum Request {
    Hold(HoldRequest),
    Capture(OnHold),
    Release(OnHold),
    Refund(OnHold),
}

impl Request {
    fn key(&self) -> (&str, &str, Action) {
        match self {
            Request::Hold(hold) => (&hold.key, &hold.hold_key, Action::Hold),
            Request::Capture(on) => (&on.key, &on.hold_key, Action::Capture),
            Request::Release(on) => (&on.key, &on.hold_key, Action::Release),
            Request::Refund(on) => (&on.key, &on.hold_key, Action::Refund),
        }
    }
}

/// What happens to one call.
enum Fate {
    Normal,
    /// The effect happens, the answer is this.
    After(BankError),
    Before(BankError),
    Late(Timestamp),
}

struct State {
    random: SplitMix,
    /// Requests that are still under way, and when they arrive.
    late: Vec<(Timestamp, Request)>,
}

/// Wraps a bank and misbehaves.
pub struct FaultyBank {
    inner: Arc<dyn Bank>,
    faults: Faults,
    clock: Arc<dyn Clock>,
    callbacks: Arc<Callbacks>,
    state: Mutex<State>,
}

impl FaultyBank {
    pub fn new(
        inner: Arc<dyn Bank>,
        faults: Faults,
        clock: Arc<dyn Clock>,
        callbacks: Arc<Callbacks>,
    ) -> Self {
        let state = State { random: SplitMix(faults.seed), late: Vec::new() };
        Self { inner, faults, clock, callbacks, state: Mutex::new(state) }
    }

    /// The same for every call with this key.
    fn declines(&self, key: &str) -> bool {
        let mixed = key.bytes().fold(self.faults.seed ^ 0xdec1, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        SplitMix(mixed).chance(self.faults.declines)
    }

    fn fate(&self) -> (Fate, Option<Duration>) {
        let faults = &self.faults;
        let random = &mut lock(&self.state).random;
        let slow = random.chance(faults.slow).then(|| Duration::from_millis(faults.latency_ms));
        let either = |random: &mut SplitMix, error| {
            if random.chance(50) { Fate::After(error) } else { Fate::Before(error) }
        };
        let fate = if random.chance(faults.timeouts_after) {
            Fate::After(BankError::Timeout)
        } else if random.chance(faults.timeouts_before) {
            Fate::Before(BankError::Timeout)
        } else if random.chance(faults.late_arrivals) {
            Fate::Late(self.clock.now().plus(Duration::from_millis(random.below(LATE_MAX_MS))))
        } else if random.chance(faults.server_errors) {
            either(random, BankError::Failed("503".to_owned()))
        } else if random.chance(faults.resets) {
            either(random, BankError::Reset)
        } else {
            Fate::Normal
        };
        (fate, slow)
    }

    fn tell(&self, request: &Request, reply: &Reply) {
        let faults = &self.faults;
        let mut state = lock(&self.state);
        if !state.random.chance(faults.callbacks) {
            return;
        }
        let copies = 1 + usize::from(state.random.chance(faults.duplicate_callbacks));
        let (key, hold_key, action) = request.key();
        for _ in 0..copies {
            let late = if state.random.chance(faults.late_callbacks) { LATE_MAX_MS } else { 2_000 };
            let at = self.clock.now().plus(Duration::from_millis(state.random.below(late)));
            let (key, hold_key) = (key.to_owned(), hold_key.to_owned());
            self.callbacks.send(at, Callback { key, hold_key, action, reply: reply.clone() });
        }
    }

    async fn perform(&self, request: Request) -> Result<Reply, BankError> {
        let reply = match request.clone() {
            Request::Hold(hold) if self.declines(&hold.key) => Ok(Reply::refused(Refusal::Declined)),
            Request::Hold(hold) => self.inner.hold(hold).await,
            Request::Capture(on) => self.inner.capture(on).await,
            Request::Release(on) => self.inner.release(on).await,
            Request::Refund(on) => self.inner.refund(on).await,
        }?;
        self.tell(&request, &reply);
        Ok(reply)
    }

    async fn call(&self, request: Request) -> Result<Reply, BankError> {
        let (fate, slow) = self.fate();
        if let Some(latency) = slow {
            tokio::time::sleep(latency).await;
        }
        match fate {
            Fate::Normal => self.perform(request).await,
            Fate::After(error) => {
                self.perform(request).await?;
                Err(error)
            }
            Fate::Before(error) => Err(error),
            Fate::Late(at) => {
                lock(&self.state).late.push((at, request));
                Err(BankError::Timeout)
            }
        }
    }

    /// Performs requests that arrive only now; answers how many.
    pub(crate) async fn deliver_late(&self) -> Result<usize, BankError> {
        let now = self.clock.now();
        let due: Vec<Request> = {
            let mut state = lock(&self.state);
            let (due, rest): (Vec<_>, Vec<_>) = state.late.drain(..).partition(|(at, _)| *at <= now);
            state.late = rest;
            due.into_iter().map(|(_, request)| request).collect()
        };
        let count = due.len();
        for request in due {
            self.perform(request).await?;
        }
        Ok(count)
    }
}

#[async_trait]
impl Bank for FaultyBank {
    async fn hold(&self, request: HoldRequest) -> Result<Reply, BankError> {
        self.call(Request::Hold(request)).await
    }

    async fn capture(&self, request: OnHold) -> Result<Reply, BankError> {
        self.call(Request::Capture(request)).await
    }

    async fn release(&self, request: OnHold) -> Result<Reply, BankError> {
        self.call(Request::Release(request)).await
    }

    async fn refund(&self, request: OnHold) -> Result<Reply, BankError> {
        self.call(Request::Refund(request)).await
    }

    async fn status(&self, key: &str) -> Result<Option<Reply>, BankError> {
        // A question has no effect, so only its answer can fail.
        match self.fate().0 {
            Fate::After(error) | Fate::Before(error) => Err(error),
            Fate::Normal | Fate::Late(_) => self.inner.status(key).await,
        }
    }

    async fn statement(
        &self,
        after: i64,
        until: Timestamp,
        limit: u32,
    ) -> Result<Vec<StatementLine>, BankError> {
        self.inner.statement(after, until, limit).await
    }

    async fn holds(&self, hold_keys: Vec<String>) -> Result<HashMap<String, HoldFacts>, BankError> {
        self.inner.holds(hold_keys).await
    }
}
