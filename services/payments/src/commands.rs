//! Commands from `rtc.payments.commands`: the intent of a step is stored with the command, the bank is called later.

use std::sync::Arc;

use contracts::payments::{
    CapturePayment, HoldPayment, PaymentCaptureRefused, PaymentCaptured, PaymentDeclined, PaymentHeld,
    PaymentRefunded, PaymentReleased, RefundPayment, ReleasePayment,
};
use contracts::{OrderId, topics};
use db::Tx;
use kernel::{Clock, Envelope, IdSource, Money};
use messaging::{Consumer, Outbox};
use tokio::sync::Notify;
use trace::Spot;

use crate::domain::{Answer, Command, Decision, Payment, Say, State, Trigger, decide};
use crate::metrics::{Metrics, Moved};
use crate::store;

/// Turns commands and the bank's answers into changes and events, in the caller's transaction.
#[derive(Clone)]
pub(crate) struct Desk {
    pub outbox: Outbox,
    pub clock: Arc<dyn Clock>,
    pub ids: IdSource,
    /// Wakes the driver.
    pub wake: Arc<Notify>,
    pub metrics: Metrics,
}

pub(crate) fn consumer(desk: &Desk) -> Consumer {
    let (hold, capture, release, refund) = (desk.clone(), desk.clone(), desk.clone(), desk.clone());
    Consumer::new("payments.commands", &[topics::PAYMENTS_COMMANDS])
        .ahead(|tx, commands| {
            let orders = commands.iter().filter_map(|command| command.subject.parse().ok());
            Ok(store::look_ahead(tx, orders)?)
        })
        .on::<HoldPayment>(move |tx, command, envelope| hold.hold(tx, command, envelope))
        .on::<CapturePayment>(move |tx, command, envelope| {
            capture.take(tx, command.order_id, Command::Capture, envelope)
        })
        .on::<ReleasePayment>(move |tx, command, envelope| {
            release.take(tx, command.order_id, Command::Release, envelope)
        })
        .on::<RefundPayment>(move |tx, command, envelope| {
            refund.take(tx, command.order_id, Command::Refund, envelope)
        })
}

impl Desk {
    fn hold(&self, tx: &mut Tx<'_>, command: &HoldPayment, envelope: &Envelope) -> kernel::Result<()> {
        if command.amount.minor < 0 {
            return Err(kernel::Error::invalid("amount_invalid", "a hold is of zero or more"));
        }
        // The usual case: the order is new.
        let mut payment = Payment::requested(command, self.ids.next(), self.clock.now());
        payment.traceparent = Spot::current().traceparent();
        if store::insert(tx, &payment)? {
            self.wake_after(tx);
            return Ok(());
        }
        self.take(tx, command.order_id, Command::Hold, envelope)
    }

    fn wake_after(&self, tx: &mut Tx<'_>) {
        let wake = self.wake.clone();
        tx.once_it_may_be_stored(move || wake.notify_one());
    }

    fn take(
        &self,
        tx: &mut Tx<'_>,
        order_id: OrderId,
        command: Command,
        cause: &Envelope,
    ) -> kernel::Result<()> {
        let now = self.clock.now();
        let Some(mut payment) = store::find(tx, order_id)? else {
            let decision = decide(None, Trigger::Command(command));
            let state = if let Decision::Move { to, .. } = decision { to } else { State::Expired };
            let payment = Payment::new(order_id, self.ids.next(), state, now);
            if matches!(decision, Decision::Move { .. }) && !store::insert(tx, &payment)? {
                return Err(kernel::Error::unavailable("payment_changed", "the payment came meanwhile"));
            }
            return self.finish(tx, &payment, decision, Some(cause));
        };
        let decision = payment.obey(command, now);
        if matches!(decision, Decision::Move { .. }) {
            payment.traceparent = Spot::current().traceparent().or(payment.traceparent);
            // This transaction has just read it, and nobody else changes it until it ends.
            if !store::save(tx, &payment)? {
                return Err(kernel::Error::unavailable("payment_changed", "the payment changed meanwhile"));
            }
            if payment.next_attempt_at.is_some() {
                self.wake_after(tx);
            }
        }
        self.finish(tx, &payment, decision, Some(cause))
    }

    /// Applies what the bank said. `seen` is the payment as it was when the bank was asked, where that is known: then
    /// the usual case needs no look.
    pub(crate) fn learn(
        &self,
        tx: &mut Tx<'_>,
        order_id: OrderId,
        seen: Option<&Payment>,
        answer: &Answer,
    ) -> kernel::Result<()> {
        let now = self.clock.now();
        let mut seen = seen.cloned();
        loop {
            let fresh = seen.is_none();
            let mut payment = match seen.take() {
                Some(payment) => payment,
                None => match store::find(tx, order_id)? {
                    Some(payment) => payment,
                    None => {
                        tracing::warn!(order_id = %order_id, "the bank told of an order without a payment");
                        return Ok(());
                    }
                },
            };
            let decision = payment.learn(answer, now);
            if matches!(decision, Decision::Move { .. }) {
                if !store::save(tx, &payment)? {
                    if fresh {
                        return Err(kernel::Error::unavailable("payment_changed", "it changed meanwhile"));
                    }
                    continue;
                }
                if payment.next_attempt_at.is_some() {
                    self.wake_after(tx);
                }
            }
            let _inside = trace::resume(payment.traceparent.as_deref()).enter();
            return self.finish(tx, &payment, decision, None);
        }
    }

    fn finish(
        &self,
        tx: &mut Tx<'_>,
        payment: &Payment,
        decision: Decision,
        cause: Option<&Envelope>,
    ) -> kernel::Result<()> {
        let say = match decision {
            Decision::Move { to, say } => {
                let metrics = self.metrics.clone();
                let moved = Moved {
                    currency: payment.amount.map(|amount| amount.currency),
                    captured_minor: payment.captured_minor,
                    refunded_minor: payment.refunded_minor,
                };
                tx.after_commit(move || metrics.entered(to, &moved));
                say
            }
            Decision::Already(say) => say,
            Decision::Refused { reason, say } => {
                tracing::warn!(order_id = %payment.order_id, state = %payment.state, reason, "refused");
                say
            }
        };
        say.map_or(Ok(()), |say| self.say(tx, payment, say, decision, cause))
    }

    fn say(
        &self,
        tx: &mut Tx<'_>,
        payment: &Payment,
        say: Say,
        decision: Decision,
        cause: Option<&Envelope>,
    ) -> kernel::Result<()> {
        let (order_id, payment_id) = (payment.order_id, payment.payment_id);
        let subject = order_id.to_string();
        let topic = topics::PAYMENTS;
        let code = || match decision {
            Decision::Refused { reason, .. } => payment.code.clone().unwrap_or_else(|| reason.to_owned()),
            _ => payment.code.clone().unwrap_or_else(|| "declined".to_owned()),
        };
        let money = |minor| payment.amount.map(|amount| Money { minor, ..amount });
        match say {
            Say::Held => {
                let Some(amount) = money(payment.held_minor) else { return Ok(()) };
                self.outbox.send(
                    tx,
                    topic,
                    &subject,
                    &PaymentHeld { order_id, payment_id, amount },
                    cause,
                )?;
            }
            Say::Declined => {
                self.outbox.send(tx, topic, &subject, &PaymentDeclined { order_id, code: code() }, cause)?;
            }
            Say::Captured => {
                let Some(amount) = money(payment.captured_minor) else { return Ok(()) };
                let event = PaymentCaptured { order_id, payment_id, amount };
                self.outbox.send(tx, topic, &subject, &event, cause)?;
            }
            Say::CaptureRefused => {
                let event = PaymentCaptureRefused { order_id, code: code() };
                self.outbox.send(tx, topic, &subject, &event, cause)?;
            }
            Say::Released => {
                self.outbox.send(tx, topic, &subject, &PaymentReleased { order_id }, cause)?;
            }
            Say::Refunded => {
                // A mark without a hold has no currency to speak of.
                let Some(amount) = money(payment.refunded_minor) else { return Ok(()) };
                self.outbox.send(tx, topic, &subject, &PaymentRefunded { order_id, amount }, cause)?;
            }
        }
        Ok(())
    }
}
