//! What the shop's services say.
//!
//! Invariant: one consumer hears all of it, so that one rebuild makes all of it anew. While it is rebuilt the windows count
//! what is read of the log so far.

use std::sync::Arc;

use contracts::catalog::ProductsVisited;
use contracts::inventory::{
    StockAdjusted, StockCommitted, StockExpired, StockReleased, StockReserved, StockReturned,
};
use contracts::orders::{OrderCancelled, OrderConfirmed, OrderRejected};
use contracts::payments::{PaymentCaptured, PaymentDeclined, PaymentRefunded};
use contracts::topics::{self, Topic};
use db::Tx;
use kernel::{Envelope, Result};
use messaging::{Cleared, Consumer};

use crate::domain::News;
use crate::projector::Projector;
use crate::store::{products, windows};

/// The consumer group.
pub const GROUP: &str = "analytics.shop";

/// A handler: reads an event, and gives what it says to the projector.
fn heard<E>(
    projector: &Arc<Projector>,
    topic: Topic,
    read: impl Fn(&E, &Envelope) -> Result<News> + Send + Sync + 'static,
) -> impl Fn(&mut Tx<'_>, &E, &Envelope) -> Result<()> + Send + Sync + 'static {
    let projector = projector.clone();
    move |tx: &mut Tx<'_>, event: &E, envelope: &Envelope| {
        let news = read(event, envelope)?;
        projector.take(tx, topic, envelope, news);
        Ok(())
    }
}

pub fn shop(p: &Arc<Projector>) -> Consumer {
    let of = [topics::ORDERS, topics::PAYMENTS, topics::INVENTORY, topics::CATALOG_VISITS];
    let [orders, payments, stock, visits] = of;
    Consumer::new(GROUP, &of)
        .gathering()
        .on(heard(p, orders, |event: &OrderConfirmed, envelope| News::confirmed(&event.order, envelope.time)))
        .on(heard(p, orders, |event: &OrderRejected, envelope| {
            News::rejected(&event.order, &event.reason, envelope.time)
        }))
        .on(heard(p, orders, |event: &OrderCancelled, envelope| {
            News::cancelled(&event.order, &event.reason, event.was_confirmed, envelope.time)
        }))
        .on(heard(p, payments, |event: &PaymentCaptured, envelope| {
            News::captured(event.amount, envelope.time)
        }))
        .on(heard(p, payments, |event: &PaymentRefunded, envelope| {
            News::refunded(event.amount, envelope.time)
        }))
        .on(heard(p, payments, |event: &PaymentDeclined, envelope| {
            Ok(News::declined(&event.code, envelope.time))
        }))
        .on(heard(p, stock, |event: &StockReserved, _| Ok(News::levels(&event.levels))))
        .on(heard(p, stock, |event: &StockCommitted, _| Ok(News::levels(&event.levels))))
        .on(heard(p, stock, |event: &StockReleased, _| Ok(News::levels(&event.levels))))
        .on(heard(p, stock, |event: &StockReturned, _| Ok(News::levels(&event.levels))))
        .on(heard(p, stock, |event: &StockExpired, _| Ok(News::levels(&event.levels))))
        .on(heard(p, stock, |event: &StockAdjusted, _| Ok(News::adjusted(event))))
        .on(heard(p, visits, |event: &ProductsVisited, _| News::visited(event)))
        .rebuilds(|tx| {
            windows::raise_revision(tx)?;
            if windows::clear(tx)? == Cleared::Partly {
                return Ok(Cleared::Partly);
            }
            Ok(products::clear(tx)?)
        })
}
