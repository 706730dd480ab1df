//! The driver: takes the stored intents to the bank, all of a batch at once, and applies the answers in one
//! transaction.
//!
//! Invariants:
//! - a call is made only for an intent that is on disk, under a key that is the same at every try;
//! - after an unknown outcome the bank is asked by key before anything is called again (R23);
//! - a bank that is down is asked less and less often: the wait is in the row, so a restart does not forget it.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use db::Db;
use futures_util::future::join_all;
use kernel::Timestamp;
use messaging::{Progress, Pump};
use tokio::sync::{Mutex, Notify};

use crate::bank::{Bank, BankError, HoldRequest, OnHold, Reply};
use crate::commands::Desk;
use crate::config::PaymentsConfig;
use crate::domain::{Answer, Fact, Payment, Step, key_of};
use crate::store;

const BATCH_MAX: u32 = 256;
/// How long to wait where nothing is pending: only a safety net, the commands wake the driver.
const IDLE: Duration = Duration::from_secs(5);

pub(crate) struct Driver {
    db: Db,
    bank: Arc<dyn Bank>,
    desk: Desk,
    config: PaymentsConfig,
    /// One batch at a time, so that no intent is taken to the bank twice at once.
    turn: Mutex<()>,
    /// Milliseconds until the next intent is due.
    next_due_ms: AtomicI64,
}

impl Driver {
    pub(crate) fn new(db: Db, bank: Arc<dyn Bank>, desk: Desk, config: PaymentsConfig) -> Self {
        Self { db, bank, desk, config, turn: Mutex::new(()), next_due_ms: AtomicI64::new(0) }
    }

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
        let limit = Duration::from_millis(self.config.bank_timeout_ms);
        let called = tokio::time::timeout(limit, self.call(payment, step)).await;
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
        self.desk.metrics.outcome_unknown();
        tracing::debug!(order_id = %payment.order_id, step = %step, error = %reason, "outcome unknown");
        None
    }

    async fn apply(&self, asked: Vec<(Payment, Option<Answer>)>) -> kernel::Result<()> {
        let desk = self.desk.clone();
        let now = desk.clock.now();
        let asked: Vec<_> = asked
            .into_iter()
            .map(|(payment, answer)| {
                let delay = self.config.delay(payment.attempts, desk.ids.random_u64());
                (payment, answer, delay)
            })
            .collect();
        self.db
            .write(move |tx| -> kernel::Result<()> {
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

    fn note_next(&self, waiting: &[Payment], now: Timestamp) {
        let next = waiting.iter().filter_map(|payment| payment.next_attempt_at).min();
        let wait = next.map_or(IDLE, |at| at.since(now).min(IDLE));
        self.next_due_ms.store(i64::try_from(wait.as_millis()).unwrap_or(i64::MAX), Ordering::Release);
    }
}

#[async_trait]
impl Pump for Driver {
    fn name(&self) -> &str {
        "payments.driver"
    }

    async fn step(&self) -> kernel::Result<Progress> {
        let _turn = self.turn.lock().await;
        let now = self.desk.clock.now();
        let waiting = self.db.read_now(|tx| store::waiting(tx, BATCH_MAX))?;
        let is_due = |payment: &Payment| payment.next_attempt_at.is_some_and(|at| at <= now);
        let (due, later): (Vec<_>, Vec<_>) = waiting.into_iter().partition(is_due);
        if due.is_empty() {
            self.note_next(&later, now);
            return Ok(Progress::Idle);
        }
        let answers = join_all(due.iter().map(|payment| self.ask(payment))).await;
        self.apply(due.into_iter().zip(answers).collect()).await?;
        Ok(Progress::Worked)
    }

    fn wake(&self) -> Arc<Notify> {
        self.desk.wake.clone()
    }

    fn interval(&self) -> Duration {
        let ms = u64::try_from(self.next_due_ms.load(Ordering::Acquire)).unwrap_or(0);
        Duration::from_millis(ms.max(10))
    }
}
