//! Messages in and out: the commands that are consumed, and the event that answers each.

use std::sync::Arc;

use contracts::inventory::{
    CommitStock, ReleaseStock, ReserveStock, ReturnStock, StockCommitRefused, StockCommitted, StockLevel,
    StockRefused, StockReleased, StockReserved, StockReturned,
};
use contracts::topics;
use db::Tx;
use kernel::envelope::Event;
use kernel::{Envelope, Result};
use messaging::{Consumer, Outbox};

use crate::Desk;
use crate::commands::Ask;
use crate::domain::{Reply, Reservation, Trigger};
use crate::store;

/// The consumer group that handles commands.
pub(crate) const GROUP: &str = "inventory.commands";

pub(crate) fn consumer(desk: &Arc<Desk>) -> Consumer {
    let [reserve, commit, release, give_back] = [desk.clone(), desk.clone(), desk.clone(), desk.clone()];
    Consumer::new(GROUP, &[topics::INVENTORY_COMMANDS])
        .ahead(look_ahead)
        .on::<ReserveStock>(move |tx, command, cause| {
            let ask = Ask { lines: command.lines.clone(), expires_at: command.expires_at };
            reserve.handle(tx, command.order_id, Trigger::Reserve, &ask, Some(cause))
        })
        .on::<CommitStock>(move |tx, command, cause| {
            commit.handle(tx, command.order_id, Trigger::Commit, &Ask::NOTHING, Some(cause))
        })
        .on::<ReleaseStock>(move |tx, command, cause| {
            release.handle(tx, command.order_id, Trigger::Release, &Ask::NOTHING, Some(cause))
        })
        .on::<ReturnStock>(move |tx, command, cause| {
            give_back.handle(tx, command.order_id, Trigger::Return, &Ask::NOTHING, Some(cause))
        })
}

/// Reads what the commands of a batch are about, with few statements where each would have read its own.
fn look_ahead(tx: &mut Tx<'_>, commands: &[&Envelope]) -> Result<()> {
    let orders = commands.iter().filter_map(|command| command.subject.parse().ok()).collect();
    let reserves = commands.iter().filter(|command| command.event_type == ReserveStock::TYPE);
    let reserves = reserves.filter_map(|command| command.decode::<ReserveStock>().ok());
    let skus = reserves.flat_map(|command| command.lines).map(|line| line.sku).collect();
    Ok(store::look_ahead(tx, orders, skus)?)
}

/// Sends the answer to a command about `reservation`, which is as the command left it, with the `levels` that it has
/// changed.
pub(crate) fn answer(
    outbox: &Outbox,
    tx: &mut Tx<'_>,
    reply: Reply,
    reservation: &Reservation,
    levels: Vec<StockLevel>,
    cause: Option<&Envelope>,
) -> Result<()> {
    let (order_id, topic) = (reservation.order_id, topics::INVENTORY);
    let subject = order_id.to_string();
    let shortages = || reservation.shortages.clone();
    match reply {
        Reply::Reserved => {
            let event = StockReserved { order_id, expires_at: reservation.expires_at, levels };
            outbox.send(tx, topic, &subject, &event, cause)
        }
        Reply::Refused => {
            let event = StockRefused { order_id, shortages: shortages() };
            outbox.send(tx, topic, &subject, &event, cause)
        }
        Reply::Committed => outbox.send(tx, topic, &subject, &StockCommitted { order_id, levels }, cause),
        Reply::CommitRefused => {
            let event = StockCommitRefused { order_id, shortages: shortages() };
            outbox.send(tx, topic, &subject, &event, cause)
        }
        Reply::Released => outbox.send(tx, topic, &subject, &StockReleased { order_id, levels }, cause),
        Reply::Returned => outbox.send(tx, topic, &subject, &StockReturned { order_id, levels }, cause),
    }?;
    Ok(())
}
