//! The driver: takes the stored intents to the bank, many at once, and applies those answers together that have come
//! together.
//!
//! Invariants:
//! - a call is made only for an intent that is on disk, under a key that is the same at every try;
//! - an order has one call under way at most, and a slow one holds up neither the answers to others nor new intents;
//! - after an unknown outcome the bank is asked by key before anything is called again (R23);
//! - a bank that is down is asked less and less often: the wait is in the row, so a restart does not forget it.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use contracts::OrderId;
use db::Db;
use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesUnordered, StreamExt};
use host::Live;
use messaging::{Progress, Pump};
use tokio::sync::{Mutex, Notify};
use tokio::time::{Instant, timeout_at};

use crate::bank::{Bank, BankError, HoldRequest, OnHold, Reply};
use crate::commands::Desk;
use crate::config::PaymentsConfig;
use crate::domain::{Answer, Fact, Payment, Step, key_of};
use crate::metrics::Metrics;
use crate::store;

/// How often it is looked for what another process has taken in, ms.
const LOOK_MS: u64 = 25;
/// The most intents that are taken up in one step.
const BATCH_MAX: usize = 256;
/// The most calls under way: a bank that hangs fills this and no more.
const CALLS_MAX: usize = 1_024;
/// How long an answer waits for others while calls are under way.
const LINGER: Duration = Duration::from_millis(2);
/// How long to wait where nothing is pending: only a safety net, the commands wake the driver.
const IDLE: Duration = Duration::from_secs(5);

/// A payment as it was when the bank was asked, and what the bank said. `None`: the outcome is not known.
type Asked = (Payment, Option<Answer>);

/// The calls under way. They move only while a step waits for them.
#[derive(Default)]
struct Calls {
    running: FuturesUnordered<BoxFuture<'static, Asked>>,
    orders: HashSet<OrderId>,
}

impl Calls {
    /// How many more intents may be taken up now.
    fn room(&self) -> usize {
        CALLS_MAX.saturating_sub(self.orders.len()).min(BATCH_MAX)
    }

    fn begin(&mut self, teller: &Arc<Teller>, payment: Payment) {
        self.orders.insert(payment.order_id);
        let teller = teller.clone();
        self.running.push(Box::pin(async move {
            let answer = teller.ask(&payment).await;
            (payment, answer)
        }));
    }

    /// Answers that come within [`LINGER`] of the first are applied together with it: one commit for many.
    async fn gather(&mut self, first: Asked) -> Vec<Asked> {
        let mut asked = vec![first];
        let until = Instant::now() + LINGER;
        while let Ok(Some(next)) = timeout_at(until, self.running.next()).await {
            asked.push(next);
        }
        for (payment, _) in &asked {
            self.orders.remove(&payment.order_id);
        }
        asked
    }
}

/// Asks the bank, one payment at a time.
struct Teller {
    bank: Arc<dyn Bank>,
    timeout: Duration,
    metrics: Metrics,
}

pub(crate) struct Driver {
    db: Db,
    teller: Arc<Teller>,
    desk: Desk,
    config: Live<PaymentsConfig>,
    /// Held by the step under way, so that no intent is taken to the bank twice at once.
    calls: Mutex<Calls>,
    /// Milliseconds until the next intent is due.
    next_due_ms: AtomicI64,
}

impl Teller {
    async fn call(&self, payment: &Payment, step: Step) -> Result<Reply, BankError> {
        let key = key_of(payment.order_id, step);
        if payment.attempts > 0
            && let Some(reply) = self.bank.status(&key).await?
        {
            return Ok(reply);
        }
        let hold_key = payment.order_id.to_string();
        let whole = |key, hold_key| OnHold { key, hold_key, amount_minor: None };
        match step {
            Step::Hold => {
                let (Some(owner), Some(amount)) = (payment.user_id, payment.amount) else {
                    return Err(BankError::Failed("the payment has no amount".to_owned()));
                };
                let account = payment.account.clone();
                self.bank.hold(HoldRequest { key, hold_key, owner, account, amount }).await
            }
            Step::Capture => self.bank.capture(whole(key, hold_key)).await,
            Step::Release | Step::Void => self.bank.release(whole(key, hold_key)).await,
            Step::Refund => {
                let amount_minor = Some(payment.captured_minor - payment.refunded_minor);
                self.bank.refund(OnHold { key, hold_key, amount_minor }).await
            }
        }
    }

    /// `None`: the outcome is not known.
    async fn ask(&self, payment: &Payment) -> Option<Answer> {
        let step = payment.state.step()?;
        let called = tokio::time::timeout(self.timeout, self.call(payment, step)).await;
        let reason = match called {
            Ok(Ok(reply)) => {
                let answer = Answer::new(step, &reply);
                if answer.fact != Fact::RefundRefused {
                    return Some(answer);
                }
                tracing::error!(order_id = %payment.order_id, ?reply, "the bank refuses a refund that is owed");
                return None;
            }
            Ok(Err(error)) => error,
            Err(_) => BankError::Timeout,
        };
        self.metrics.outcome_unknown();
        tracing::debug!(order_id = %payment.order_id, step = %step, error = %reason, "outcome unknown");
        None
    }
}

impl Driver {
    pub(crate) fn new(db: Db, bank: Arc<dyn Bank>, desk: Desk, config: Live<PaymentsConfig>) -> Self {
        let timeout = Duration::from_millis(config.get().bank_timeout_ms);
        let teller = Arc::new(Teller { bank, timeout, metrics: desk.metrics.clone() });
        Self { db, teller, desk, config, calls: Mutex::default(), next_due_ms: AtomicI64::new(0) }
    }

    /// Begins a call for each intent that is due and has none under way.
    async fn take_up(&self, calls: &mut Calls) -> kernel::Result<()> {
        let room = calls.room();
        if room == 0 {
            self.next_due_in(IDLE);
            return Ok(());
        }
        let now = self.desk.clock.now();
        // Those under way are still in the rows, before all that became due later.
        let limit = u32::try_from(calls.orders.len() + room).unwrap_or(u32::MAX);
        let mut waiting = self.db.look_up(move |tx| store::waiting(tx, limit)).await?;
        waiting.retain(|payment| !calls.orders.contains(&payment.order_id));
        let is_due = |payment: &Payment| payment.next_attempt_at.is_some_and(|at| at <= now);
        let (due, later): (Vec<_>, Vec<_>) = waiting.into_iter().partition(is_due);
        let next = later.iter().filter_map(|payment| payment.next_attempt_at).min();
        // A full batch has left some behind that are due already.
        let is_full = due.len() >= room;
        let wait = next.map_or(IDLE, |at| at.since(now).min(IDLE));
        self.next_due_in(if is_full { Duration::ZERO } else { wait });
        for payment in due.into_iter().take(room) {
            calls.begin(&self.teller, payment);
        }
        Ok(())
    }

    async fn apply(&self, asked: Vec<Asked>) -> kernel::Result<()> {
        let desk = self.desk.clone();
        let now = desk.clock.now();
        let config = self.config.get();
        let asked: Vec<_> = asked
            .into_iter()
            .map(|(payment, answer)| {
                let delay = config.delay(payment.attempts, desk.ids.random_u64());
                (payment, answer, delay)
            })
            .collect();
        self.db
            .write(move |tx| -> kernel::Result<()> {
                store::look_ahead(tx, asked.iter().map(|(payment, ..)| payment.order_id))?;
                for (payment, answer, delay) in &asked {
                    match answer {
                        Some(answer) => desk.learn(tx, payment.order_id, Some(payment), answer)?,
                        None => {
                            let mut waiting = payment.clone();
                            waiting.wait(*delay, now);
                            // Where a command or a call-back was faster, its intent stands.
                            store::save(tx, &waiting)?;
                        }
                    }
                }
                Ok(())
            })
            .await
    }

    fn next_due_in(&self, wait: Duration) {
        self.next_due_ms.store(i64::try_from(wait.as_millis()).unwrap_or(i64::MAX), Ordering::Release);
    }
}

#[async_trait]
impl Pump for Driver {
    fn name(&self) -> &str {
        "payments.driver"
    }

    async fn step(&self) -> kernel::Result<Progress> {
        let mut calls = self.calls.lock().await;
        self.take_up(&mut calls).await?;
        let first = tokio::select! {
            biased;
            first = calls.running.next() => first,
            // The next step takes up what has come, beside the calls under way.
            () = self.desk.wake.notified() => return Ok(Progress::Worked),
            () = tokio::time::sleep(self.interval()) => return Ok(Progress::Worked),
        };
        let Some(first) = first else { return Ok(Progress::Idle) };
        let asked = calls.gather(first).await;
        self.apply(asked).await?;
        Ok(Progress::Worked)
    }

    fn wake(&self) -> Arc<Notify> {
        self.desk.wake.clone()
    }

    fn interval(&self) -> Duration {
        let ms = u64::try_from(self.next_due_ms.load(Ordering::Acquire)).unwrap_or(0);
        // What another process has taken in gives no signal here.
        let at_most = if self.db.is_commit_ordered() { u64::MAX } else { LOOK_MS };
        Duration::from_millis(ms.max(10).min(at_most))
    }

    fn follows_commits(&self) -> bool {
        true
    }

    /// Calls under way are given up: whoever goes on, also this one after a step that panicked, asks the bank by their keys.
    async fn finish(&self) {
        *self.calls.lock().await = Calls::default();
    }
}
