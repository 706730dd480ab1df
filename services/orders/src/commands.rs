//! What changes orders from outside: placing, cancelling, fulfilling. One function, one transaction each.

use contracts::{OrderId, UserId};
use db::Tx;
use kernel::{Error, Timestamp};

use crate::domain::{OrderState, RequestedLine, check_line_count, price};
use crate::projections::products;
use crate::saga::{Advanced, Input, Runner};
use crate::store::{self, OrderRow};

/// A request to order something. `delivery` is sealed already.
pub struct PlaceOrder {
    pub id: OrderId,
    pub user_id: UserId,
    pub lines: Vec<RequestedLine>,
    pub account: Option<String>,
    pub delivery: Option<String>,
}

/// Accepts an order and begins its checkout. Answers it as it was placed.
pub fn place(
    tx: &mut Tx<'_>,
    runner: &Runner,
    now: Timestamp,
    request: &PlaceOrder,
) -> kernel::Result<OrderRow> {
    // Before anything is looked up: a look-up a line on the only writer must stay affordable.
    check_line_count(request.lines.len())?;
    let products = products::find(tx, request.lines.iter().map(|line| line.product_id))?;
    let (lines, total) = price(&request.lines, &products)?;
    let order = OrderRow {
        id: request.id,
        user_id: request.user_id,
        state: OrderState::Placed,
        reason: None,
        detail: None,
        lines,
        total,
        account: request.account.clone(),
        version: 1,
        placed_at: now,
        updated_at: now,
    };
    store::insert(tx, &order, request.delivery.as_deref())?;
    runner.start(tx, order.clone())?;
    Ok(order)
}

/// Cancels an order. One that is being captured is cancelled right after: the answer says `compensating` or `paid`.
pub fn cancel(tx: &mut Tx<'_>, runner: &Runner, id: OrderId) -> kernel::Result<OrderRow> {
    change(tx, runner, id, &Input::Cancel)
}

/// Says that the goods were handed over.
pub fn fulfil(tx: &mut Tx<'_>, runner: &Runner, id: OrderId) -> kernel::Result<OrderRow> {
    change(tx, runner, id, &Input::Fulfil)
}

fn change(tx: &mut Tx<'_>, runner: &Runner, id: OrderId, input: &Input) -> kernel::Result<OrderRow> {
    match runner.advance(tx, id, input, None)? {
        Advanced::Done | Advanced::AlreadyDone => Ok(store::find(tx, id)?.ok_or(db::Error::NoRow)?),
        Advanced::Refused { code, message } => Err(Error::conflict(code, message)),
        Advanced::Unknown => Err(not_found()),
    }
}

pub fn not_found() -> Error {
    Error::not_found("order_not_found", "there is no such order")
}
