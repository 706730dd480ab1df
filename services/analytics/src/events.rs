//! What the orders service says, folded into minutes.
//!
//! Invariant: three statements an order, the inbox's among them; the inbox makes a second delivery change nothing. While
//! the minutes are rebuilt they count what is read of the log so far.

use contracts::orders::{OrderCancelled, OrderConfirmed, OrderRejected};
use contracts::topics;
use kernel::{Error, Money};
use messaging::Consumer;

use crate::store::orders::{self, Ending};

pub fn orders() -> Consumer {
    Consumer::new("analytics.orders", &[topics::ORDERS])
        .on::<OrderConfirmed>(|tx, event, envelope| {
            orders::add(tx, event.order.placed_at, 1, event.order.total, envelope.time)
        })
        .on::<OrderRejected>(|tx, event, envelope| {
            let reason = reason(&event.reason);
            orders::count_ending(tx, Ending::Rejected, reason, event.order.placed_at, envelope.time)
        })
        .on::<OrderCancelled>(|tx, event, envelope| {
            if event.was_confirmed {
                let order = &event.order;
                orders::add(tx, order.placed_at, -1, negated(order.total)?, envelope.time)?;
            }
            let reason = reason(&event.reason);
            orders::count_ending(tx, Ending::Cancelled, reason, envelope.time, envelope.time)
        })
        .rebuilds(|tx| Ok(orders::clear(tx)?))
}

fn negated(money: Money) -> Result<Money, Error> {
    Money::zero(money.currency)
        .minus(money)
        .map_err(|error| Error::conflict("total_overflow", error.to_string()))
}

/// Reasons are few and short; one that is neither must not make the table wide.
fn reason(text: &str) -> &str {
    if (1..=64).contains(&text.len()) { text } else { "other" }
}
