//! Work by the clock: call-backs that have arrived, holds that have stood too long, late requests, reconciliation.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use db::Db;
use messaging::{Job, Progress};

use crate::bank::faulty::{Callback, Callbacks, FaultyBank};
use crate::bank::mock::MockBank;
use crate::bank::{Action, Bank, Done, HoldState, Reply, StatementLine};
use crate::commands::Desk;
use crate::domain::{Answer, Payment, State, read_key};
use crate::store;

/// Applies call-backs by the same table as answers (R32).
pub(crate) struct TakeCallbacks {
    pub db: Db,
    pub desk: Desk,
    pub callbacks: Arc<Callbacks>,
}

fn meaning(callback: &Callback) -> Option<(contracts::OrderId, Answer)> {
    if callback.action == Action::Expire {
        return Some((callback.hold_key.parse().ok()?, Answer::expired()));
    }
    let (order_id, step) = read_key(&callback.key)?;
    Some((order_id, Answer::new(step, &callback.reply)))
}

#[async_trait]
impl Job for TakeCallbacks {
    async fn run(&self) -> kernel::Result<Progress> {
        // Those about holds made at the counter concern no payment.
        let due = self.callbacks.take_due(self.desk.clock.now());
        let due: Vec<_> = due.iter().filter_map(meaning).collect();
        if due.is_empty() {
            return Ok(Progress::Idle);
        }
        let desk = self.desk.clone();
        self.db
            .write(move |tx| -> kernel::Result<()> {
                due.iter().try_for_each(|(order_id, answer)| desk.learn(tx, *order_id, None, answer))
            })
            .await?;
        Ok(Progress::Worked)
    }
}

/// Lets old holds go, and tells of it by call-back.
pub(crate) struct ExpireHolds {
    pub bank: MockBank,
    pub callbacks: Arc<Callbacks>,
    pub desk: Desk,
}

#[async_trait]
impl Job for ExpireHolds {
    async fn run(&self) -> kernel::Result<Progress> {
        let expired = self.bank.expire().await?;
        let count = expired.len();
        for hold_key in expired {
            let result = Ok(Done { hold_id: None, amount_minor: 0 });
            let reply = Reply { result, replayed: false };
            let callback = Callback { key: String::new(), hold_key, action: Action::Expire, reply };
            self.callbacks.send(self.desk.clock.now(), callback);
        }
        Ok(Progress::from_count(count))
    }
}

/// Requests of a faulty bank that arrive only now.
pub(crate) struct DeliverLate(pub Arc<FaultyBank>);

#[async_trait]
impl Job for DeliverLate {
    async fn run(&self) -> kernel::Result<Progress> {
        Ok(Progress::from_count(self.0.deliver_late().await?))
    }
}

/// Compares the bank's statement with the payments (R35).
pub(crate) struct Reconcile {
    pub db: Db,
    pub bank: Arc<dyn Bank>,
    pub desk: Desk,
    pub place: Mutex<Place>,
}

/// How far the comparison has come: the statement goes forward, the payments round and round.
#[derive(Debug, Clone, Default)]
pub(crate) struct Place {
    statement: i64,
    payments: String,
}

/// What is younger may still be under way. More than the worst skew of the bank's clock.
const GRACE: Duration = Duration::from_secs(600);
const PAGE: u32 = 2_000;
/// Pages a run: bounds what a run after a long pause costs.
const PAGES_MAX: usize = 200;

/// What is wrong between an operation that was done and its payment.
fn compare_line(line: &StatementLine, payment: Option<&Payment>) -> Option<String> {
    let order = &line.hold_key;
    let Some(payment) = payment else { return Some(format!("{order}: {} without a payment", line.action)) };
    let told = match line.action {
        Action::Capture => payment.captured_minor,
        Action::Refund => payment.refunded_minor,
        Action::Hold | Action::Release | Action::Expire | Action::Deposit => return None,
    };
    (told != line.amount_minor).then(|| {
        format!("{order}: the bank's {} is {}, the payment's {told}", line.action, line.amount_minor)
    })
}

/// What the bank's hold must look like for a payment at rest.
fn compare_payment(payment: &Payment, hold: Option<&crate::bank::HoldFacts>) -> Option<String> {
    let found = hold.map(|hold| (hold.state, hold.captured_minor, hold.refunded_minor));
    let fits = match payment.state {
        State::Held => matches!(found, Some((HoldState::Pending | HoldState::Expired, 0, 0))),
        State::Captured | State::Refunded => {
            found == Some((HoldState::Captured, payment.captured_minor, payment.refunded_minor))
        }
        State::Declined | State::Released | State::Voided => {
            !matches!(found, Some((HoldState::Pending | HoldState::Captured, _, _)))
        }
        State::Expired => !matches!(found, Some((HoldState::Pending | HoldState::Captured, _, _))),
        _ => true,
    };
    let bank = found.map_or("none".to_owned(), |(state, _, _)| state.to_string());
    (!fits).then(|| format!("{}: the payment is {}, the bank's hold {bank}", payment.order_id, payment.state))
}

impl Reconcile {
    async fn compare_statement(&self, place: &mut Place, found: &mut Vec<String>) -> kernel::Result<u64> {
        let until = self.desk.clock.now().minus(GRACE);
        let mut checked = 0;
        for _ in 0..PAGES_MAX {
            let lines = self.bank.statement(place.statement, until, PAGE).await?;
            let Some(last) = lines.last().map(|line| line.position) else { break };
            let full = lines.len() == PAGE as usize;
            checked += lines.len() as u64;
            let differences = self.db.read(move |tx| -> Result<Vec<String>, db::Error> {
                let mut differences = Vec::new();
                // Holds made at the counter have keys that are no order's.
                let ours = lines.iter().filter(|line| line.done && line.amount_minor != 0);
                for line in ours {
                    let Ok(order_id) = line.hold_key.parse() else { continue };
                    let payment = store::find(tx, order_id)?;
                    let under_way = payment.as_ref().is_some_and(|payment| payment.next_attempt_at.is_some());
                    if !under_way {
                        differences.extend(compare_line(line, payment.as_ref()));
                    }
                }
                Ok(differences)
            });
            found.extend(differences.await?);
            place.statement = last;
            if !full {
                break;
            }
        }
        Ok(checked)
    }

    async fn compare_payments(&self, place: &mut Place, found: &mut Vec<String>) -> kernel::Result<u64> {
        let until = self.desk.clock.now().minus(GRACE);
        let mut checked = 0;
        for _ in 0..PAGES_MAX {
            let (payments, next) = store::page(&self.db, place.payments.clone(), until, PAGE).await?;
            checked += payments.len() as u64;
            let keys = payments.iter().map(|payment| payment.order_id.to_string()).collect();
            let holds = self.bank.holds(keys).await?;
            for payment in &payments {
                let hold = holds.get(&payment.order_id.to_string());
                found.extend(compare_payment(payment, hold));
                // The call-back of the expiry was lost: not a difference, it is made good here.
                if payment.state == State::Held && hold.is_some_and(|hold| hold.state == HoldState::Expired) {
                    let answer = Answer::expired();
                    let (desk, order_id) = (self.desk.clone(), payment.order_id);
                    self.db.write(move |tx| desk.learn(tx, order_id, None, &answer)).await?;
                }
            }
            place.payments = next.clone().unwrap_or_default();
            if next.is_none() {
                break;
            }
        }
        Ok(checked)
    }

    /// One comparison; answers what was found.
    pub(crate) async fn compare(&self) -> kernel::Result<Vec<String>> {
        let mut place = self.place.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut found = Vec::new();
        let mut checked = self.compare_statement(&mut place, &mut found).await?;
        checked += self.compare_payments(&mut place, &mut found).await?;
        *self.place.lock().unwrap_or_else(PoisonError::into_inner) = place;
        for difference in found.iter().take(20) {
            tracing::error!(difference, "the bank and the payments differ");
        }
        self.desk.metrics.reconciled(checked, found.len());
        Ok(found)
    }
}

#[async_trait]
impl Job for Reconcile {
    async fn run(&self) -> kernel::Result<Progress> {
        self.compare().await?;
        Ok(Progress::Idle)
    }
}
