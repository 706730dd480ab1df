//! What others answer, as inputs of the saga.

use contracts::inventory::{
    Shortage, StockCommitRefused, StockCommitted, StockRefused, StockReleased, StockReserved, StockReturned,
};
use contracts::payments::{
    PaymentCaptureRefused, PaymentCaptured, PaymentDeclined, PaymentHeld, PaymentRefunded, PaymentReleased,
};
use contracts::{OrderId, topics};
use messaging::Consumer;

use crate::saga::{Input, Runner};

/// `TEA-1: 2 asked, 1 there`, for people.
fn shortages(all: &[Shortage]) -> String {
    let one = |shortage: &Shortage| {
        format!("{}: {} asked, {} there", shortage.sku, shortage.requested, shortage.available.max(0))
    };
    all.iter().map(one).collect::<Vec<_>>().join("; ")
}

/// Feeds one type of answer to the saga. What the saga finds already done, or overtaken, is fine.
macro_rules! answer {
    ($consumer:expr, $runner:expr, $event:ty, $input:expr) => {{
        let runner = $runner.clone();
        $consumer.on::<$event>(move |tx, event, envelope| {
            let input = $input;
            runner.advance(tx, event.order_id, &input(event), Some(envelope)).map(drop)
        })
    }};
}

pub fn answers(runner: Runner) -> Consumer {
    let ahead = runner.clone();
    let consumer =
        Consumer::new("orders.saga", &[topics::INVENTORY, topics::PAYMENTS]).ahead(move |tx, all| {
            let orders: Vec<OrderId> =
                all.iter().filter_map(|envelope| envelope.subject.parse().ok()).collect();
            Ok(ahead.look_ahead(tx, &orders)?)
        });
    let consumer = answer!(consumer, runner, StockReserved, |_: &StockReserved| Input::StockReserved);
    let consumer = answer!(consumer, runner, StockRefused, |event: &StockRefused| Input::StockRefused {
        detail: shortages(&event.shortages)
    });
    let consumer = answer!(consumer, runner, StockCommitted, |_: &StockCommitted| Input::StockCommitted);
    let consumer = answer!(consumer, runner, StockCommitRefused, |event: &StockCommitRefused| {
        Input::StockCommitRefused { detail: shortages(&event.shortages) }
    });
    let consumer = answer!(consumer, runner, StockReleased, |_: &StockReleased| Input::StockReleased);
    let consumer = answer!(consumer, runner, StockReturned, |_: &StockReturned| Input::StockReturned);
    let consumer = answer!(consumer, runner, PaymentHeld, |_: &PaymentHeld| Input::PaymentHeld);
    let consumer = answer!(consumer, runner, PaymentDeclined, |event: &PaymentDeclined| {
        Input::PaymentDeclined { code: event.code.clone() }
    });
    let consumer = answer!(consumer, runner, PaymentCaptured, |_: &PaymentCaptured| Input::PaymentCaptured);
    let consumer = answer!(consumer, runner, PaymentCaptureRefused, |event: &PaymentCaptureRefused| {
        Input::PaymentCaptureRefused { code: event.code.clone() }
    });
    let consumer = answer!(consumer, runner, PaymentReleased, |_: &PaymentReleased| Input::PaymentReleased);
    answer!(consumer, runner, PaymentRefunded, |_: &PaymentRefunded| Input::PaymentRefunded)
}
