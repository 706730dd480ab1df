//! What others' messages lead to: who has which address, and what is to be told.

use std::sync::Arc;

use contracts::UserId;
use contracts::orders::{OrderCancelled, OrderConfirmed, OrderFulfilled, OrderRejected};
use contracts::topics;
use contracts::users::{UserRegistered, VerificationRequested};
use db::Tx;
use kernel::{Clock, Envelope};
use messaging::Consumer;

use crate::notice::Notice;
use crate::sender::Due;
use crate::store;

/// Queues and, after the commit, lets the sender know.
#[derive(Clone)]
pub(crate) struct Desk {
    pub clock: Arc<dyn Clock>,
    pub due: Arc<Due>,
}

impl Desk {
    fn queue(&self, tx: &mut Tx<'_>, envelope: &Envelope, to: UserId, notice: &Notice) -> kernel::Result<()> {
        let now = self.clock.now();
        store::queue(tx, &envelope.id.to_string(), to, notice, now)?;
        self.raise_after_commit(tx);
        Ok(())
    }

    fn raise_after_commit(&self, tx: &mut Tx<'_>) {
        let (due, now) = (self.due.clone(), self.clock.now());
        tx.after_commit(move || due.raise(now));
    }

    fn keep_contact(&self, tx: &mut Tx<'_>, event: &UserRegistered) -> kernel::Result<()> {
        let now = self.clock.now();
        if store::put_contact(tx, event.user_id, &event.email, &event.name, &event.locale, now)? {
            self.raise_after_commit(tx);
        }
        Ok(())
    }
}

/// `rtc.users`: contacts, and codes to verify an address.
pub(crate) fn of_users(desk: Desk) -> Consumer {
    let verification = desk.clone();
    Consumer::new("notifications.users", &[topics::USERS])
        .on::<UserRegistered>(move |tx, event, _| desk.keep_contact(tx, event))
        .on::<VerificationRequested>(move |tx, event, envelope| {
            let notice = Notice::Verification {
                email: event.email.clone(),
                code: event.code.clone(),
                expires_at: event.expires_at,
                locale: event.locale.clone(),
            };
            verification.queue(tx, envelope, event.user_id, &notice)
        })
}

/// `rtc.orders`: what became of an order.
pub(crate) fn of_orders(desk: Desk) -> Consumer {
    let (confirmed, rejected, cancelled, fulfilled) = (desk.clone(), desk.clone(), desk.clone(), desk);
    Consumer::new("notifications.orders", &[topics::ORDERS])
        .gathering()
        .on::<OrderConfirmed>(move |tx, event, envelope| {
            let notice = Notice::OrderConfirmed { order: event.order.clone() };
            confirmed.queue(tx, envelope, event.order.user_id, &notice)
        })
        .on::<OrderRejected>(move |tx, event, envelope| {
            let notice = Notice::OrderRejected { order: event.order.clone(), reason: event.reason.clone() };
            rejected.queue(tx, envelope, event.order.user_id, &notice)
        })
        .on::<OrderCancelled>(move |tx, event, envelope| {
            let notice = Notice::OrderCancelled {
                order: event.order.clone(),
                reason: event.reason.clone(),
                was_confirmed: event.was_confirmed,
            };
            cancelled.queue(tx, envelope, event.order.user_id, &notice)
        })
        .on::<OrderFulfilled>(move |tx, event, envelope| {
            fulfilled.queue(tx, envelope, event.user_id, &Notice::OrderFulfilled { order_id: event.order_id })
        })
}
