//! What the orders service says on `rtc.orders` (key: order id).
//!
//! `order_placed` is published only once stock is committed and the money is held: nobody ever hears of an order
//! that could still turn out impossible to fill.

use kernel::{Money, Timestamp};
use serde::{Deserialize, Serialize};

use crate::{OrderId, ProductId, UserId, events};

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderedLine {
    pub product_id: ProductId,
    pub sku: String,
    pub name: String,
    pub category: String,
    pub quantity: i64,
    pub unit_price: Money,
}

/// An order as others see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderSummary {
    pub order_id: OrderId,
    pub user_id: UserId,
    pub lines: Vec<OrderedLine>,
    pub total: Money,
    pub placed_at: Timestamp,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderPlaced {
    pub order: OrderSummary,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderConfirmed {
    pub order: OrderSummary,
}

/// `reason`: `out_of_stock`, `payment_declined`, `price_changed`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderRejected {
    pub order: OrderSummary,
    pub reason: String,
    pub detail: String,
}

/// `reason`: `by_customer`, `timeout`. `was_confirmed`: money was refunded and stock returned.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderCancelled {
    pub order: OrderSummary,
    pub reason: String,
    pub was_confirmed: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderFulfilled {
    pub order_id: OrderId,
    pub user_id: UserId,
}

events! {
    OrderPlaced => "rtc.orders.order_placed.v1",
    OrderConfirmed => "rtc.orders.order_confirmed.v1",
    OrderRejected => "rtc.orders.order_rejected.v1",
    OrderCancelled => "rtc.orders.order_cancelled.v1",
    OrderFulfilled => "rtc.orders.order_fulfilled.v1",
}
