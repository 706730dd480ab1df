//! Takes checkouts through their steps: state, history, commands and events of a step in one transaction.

use std::sync::Arc;

use contracts::orders::{OrderCancelled, OrderConfirmed, OrderFulfilled, OrderPlaced, OrderRejected};
use contracts::{OrderId, inventory, payments, topics};
use db::Tx;
use host::Live;
use kernel::{Clock, Envelope, Error, Timestamp};
use messaging::{Outbox, saga};

use super::checkout::{Checkout, Decision, Effect, Input, Policy, next};
use crate::config::OrdersConfig;
use crate::domain::{EndReason, OrderState};
use crate::metrics::{Counted, Metrics};
use crate::settled::Tally;
use crate::store::{self, OrderRow};

pub const KIND: &str = "checkout";

/// What became of an input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Advanced {
    Done,
    AlreadyDone,
    Refused {
        code: &'static str,
        message: &'static str,
    },
    /// No order of ours: somebody else's reservation or payment.
    Unknown,
}

#[derive(Clone)]
pub struct Runner {
    config: Live<OrdersConfig>,
    clock: Arc<dyn Clock>,
    outbox: Outbox,
    tally: Arc<Tally>,
    metrics: Metrics,
}

/// A step under way: the order as it will be saved.
struct Step<'a> {
    runner: &'a Runner,
    order: OrderRow,
    began_in: Option<OrderState>,
    cause: Option<&'a Envelope>,
    now: Timestamp,
    counted: Counted,
}

impl Runner {
    pub fn new(
        config: Live<OrdersConfig>,
        clock: Arc<dyn Clock>,
        outbox: Outbox,
        tally: Arc<Tally>,
        metrics: Metrics,
    ) -> Self {
        Self { config, clock, outbox, tally, metrics }
    }

    pub fn tally(&self) -> &Arc<Tally> {
        &self.tally
    }

    fn policy(&self) -> Policy {
        Policy { attempts_max: self.config.get().attempts_max }
    }

    fn deadline(&self, state: &Checkout, now: Timestamp) -> Option<Timestamp> {
        state.waits().then(|| now.plus(self.config.get().patience(state.attempt)))
    }

    /// Begins the checkout of an order that was inserted as placed in the same transaction.
    pub fn start(&self, tx: &mut Tx<'_>, order: OrderRow) -> kernel::Result<()> {
        let now = self.clock.now();
        let id = order.id.to_string();
        let (state, effects) = Checkout::start();
        let counted = Counted { entered: vec![order.state], ..Counted::default() };
        let step = Step { runner: self, order, began_in: None, cause: None, now, counted };
        step.run(tx, effects)?;
        saga::insert(tx, KIND, &id, &state, self.deadline(&state, now))
    }

    /// Takes an order one step further, or finds that there is nothing to do.
    pub fn advance(
        &self,
        tx: &mut Tx<'_>,
        order_id: OrderId,
        input: &Input,
        cause: Option<&Envelope>,
    ) -> kernel::Result<Advanced> {
        let id = order_id.to_string();
        let Some(stored) = saga::load::<Checkout>(tx, KIND, &id)? else { return Ok(Advanced::Unknown) };
        // The step that was overdue may have been answered since somebody looked, and another one has begun.
        if matches!(input, Input::Deadline) && stored.deadline_at.is_none_or(|at| at > self.clock.now()) {
            return Ok(Advanced::AlreadyDone);
        }
        let (state, effects) = match next(&stored.state, input, self.policy()) {
            Decision::Advance { state, effects } => (state, effects),
            Decision::AlreadyDone => return Ok(Advanced::AlreadyDone),
            Decision::Refused { code, message } => return Ok(Advanced::Refused { code, message }),
        };
        let now = self.clock.now();
        if !effects.is_empty() {
            let order = store::find(tx, order_id)?.ok_or(db::Error::NoRow)?;
            let began_in = Some(order.state);
            let counted = Counted::default();
            Step { runner: self, order, began_in, cause, now, counted }.run(tx, effects)?;
        }
        saga::save(tx, KIND, &id, &state, stored.version, self.deadline(&state, now))?;
        Ok(Advanced::Done)
    }

    /// Reads the orders that are about to be taken further, with few statements where each would have been read by itself.
    pub fn look_ahead(&self, tx: &mut Tx<'_>, orders: &[OrderId]) -> Result<(), db::Error> {
        let ids: Vec<String> = orders.iter().map(ToString::to_string).collect();
        saga::look_ahead(tx, KIND, &ids)?;
        store::look_ahead(tx, orders)
    }

    /// The orders whose step has waited too long.
    pub fn overdue(&self, tx: &mut Tx<'_>, limit: u32) -> kernel::Result<Vec<String>> {
        Ok(saga::due(tx, KIND, self.clock.now(), limit)?)
    }
}

impl Step<'_> {
    fn run(mut self, tx: &mut Tx<'_>, effects: Vec<Effect>) -> kernel::Result<()> {
        let version = self.order.version;
        for effect in effects {
            self.perform(tx, effect)?;
        }
        if self.order.version != version {
            store::update(tx, &self.order);
            let (tally, id, from, to) =
                (self.runner.tally.clone(), self.order.id, self.began_in, self.order.state);
            let (metrics, counted) = (self.runner.metrics.clone(), self.counted);
            tx.after_commit(move || {
                metrics.count(&counted);
                match from {
                    Some(from) => tally.moved(id, from, to),
                    None => tally.entered(to),
                }
            });
        }
        Ok(())
    }

    fn enter(&mut self, tx: &mut Tx<'_>, state: OrderState) -> kernel::Result<()> {
        if !self.order.state.may_become(state) {
            let wrong = format!("order {} may not go from {} to {state}", self.order.id, self.order.state);
            return Err(Error::internal(wrong));
        }
        self.order.state = state;
        self.counted.entered.push(state);
        if state == OrderState::Confirmed {
            self.settle(state);
        }
        self.order.version += 1;
        self.order.updated_at = self.now;
        store::append(tx, self.order.id, self.order.version, state, self.order.reason.as_deref(), self.now);
        Ok(())
    }

    fn settle(&mut self, outcome: OrderState) {
        self.counted.settled = Some((outcome, self.now.since(self.order.placed_at)));
    }

    fn send<E: kernel::envelope::Event>(
        &self,
        tx: &mut Tx<'_>,
        topic: topics::Topic,
        event: &E,
    ) -> kernel::Result<()> {
        let subject = self.order.id.to_string();
        self.runner.outbox.send(tx, topic, &subject, event, self.cause).map(drop)
    }

    fn perform(&mut self, tx: &mut Tx<'_>, effect: Effect) -> kernel::Result<()> {
        let order_id = self.order.id;
        match effect {
            Effect::Enter(state) => self.enter(tx, state),
            Effect::End { reason, detail, was_confirmed } => self.end(tx, reason, detail, was_confirmed),
            Effect::ReserveStock => {
                let lines = self.order.lines.iter();
                let lines =
                    lines.map(|line| inventory::StockLine { sku: line.sku.clone(), quantity: line.quantity });
                let ttl = std::time::Duration::from_secs(self.runner.config.get().reservation_ttl_s);
                let command = inventory::ReserveStock {
                    order_id,
                    lines: lines.collect(),
                    expires_at: self.now.plus(ttl),
                };
                self.send(tx, topics::INVENTORY_COMMANDS, &command)
            }
            Effect::CommitStock => {
                self.send(tx, topics::INVENTORY_COMMANDS, &inventory::CommitStock { order_id })
            }
            Effect::ReleaseStock => {
                self.send(tx, topics::INVENTORY_COMMANDS, &inventory::ReleaseStock { order_id })
            }
            Effect::ReturnStock => {
                self.send(tx, topics::INVENTORY_COMMANDS, &inventory::ReturnStock { order_id })
            }
            Effect::HoldPayment => {
                let command = payments::HoldPayment {
                    order_id,
                    user_id: self.order.user_id,
                    amount: self.order.total,
                    account: self.order.account.clone(),
                };
                self.send(tx, topics::PAYMENTS_COMMANDS, &command)
            }
            Effect::CapturePayment => {
                self.send(tx, topics::PAYMENTS_COMMANDS, &payments::CapturePayment { order_id })
            }
            Effect::ReleasePayment => {
                self.send(tx, topics::PAYMENTS_COMMANDS, &payments::ReleasePayment { order_id })
            }
            Effect::RefundPayment => {
                self.send(tx, topics::PAYMENTS_COMMANDS, &payments::RefundPayment { order_id })
            }
            Effect::PublishPlaced => {
                let event = OrderPlaced { order: self.order.summary() };
                self.send(tx, topics::ORDERS, &event)
            }
            Effect::PublishConfirmed => {
                let event = OrderConfirmed { order: self.order.summary() };
                self.send(tx, topics::ORDERS, &event)
            }
            Effect::PublishFulfilled => {
                let event = OrderFulfilled { order_id, user_id: self.order.user_id };
                self.send(tx, topics::ORDERS, &event)
            }
        }
    }

    fn end(
        &mut self,
        tx: &mut Tx<'_>,
        reason: EndReason,
        detail: String,
        was_confirmed: bool,
    ) -> kernel::Result<()> {
        self.order.reason = Some(reason.as_str().to_owned());
        self.order.detail = (!detail.is_empty()).then(|| detail.chars().take(255).collect());
        self.enter(tx, reason.end())?;
        self.counted.ended = Some(reason);
        if !was_confirmed {
            self.settle(reason.end());
        }
        let (order, reason) = (self.order.summary(), reason.as_str().to_owned());
        match self.order.state {
            OrderState::Rejected => self.send(tx, topics::ORDERS, &OrderRejected { order, reason, detail }),
            _ => self.send(tx, topics::ORDERS, &OrderCancelled { order, reason, was_confirmed }),
        }
    }
}
