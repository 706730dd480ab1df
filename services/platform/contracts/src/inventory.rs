//! Commands to inventory on `rtc.inventory.commands` and its events on `rtc.inventory` (key: order id, or sku).

use kernel::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{OrderId, events};

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StockLine {
    pub sku: String,
    pub quantity: i64,
}

/// All lines or none. Idempotent by order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReserveStock {
    pub order_id: OrderId,
    pub lines: Vec<StockLine>,
    pub expires_at: Timestamp,
}

/// Makes the reservation final. A reservation that has expired is taken anew where the stock is still there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommitStock {
    pub order_id: OrderId,
}

/// Gives back what is reserved. Releasing what was never reserved leaves a mark, so that a late reserve is refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReleaseStock {
    pub order_id: OrderId,
}

/// Puts what was committed back on hand: the order was cancelled after it was confirmed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReturnStock {
    pub order_id: OrderId,
}

/// How much of a sku there is after a change. Of two the one with the greater version is the later, whatever the order
/// in which they arrive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StockLevel {
    pub sku: String,
    pub on_hand: i64,
    pub reserved: i64,
    /// Rises with every change of the sku.
    pub version: i64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StockReserved {
    pub order_id: OrderId,
    pub expires_at: Timestamp,
    /// What is left of the skus that it holds.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub levels: Vec<StockLevel>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shortage {
    pub sku: String,
    pub requested: i64,
    pub available: i64,
}

/// Nothing was reserved. Empty `shortages`: the reservation was released before it was asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StockRefused {
    pub order_id: OrderId,
    pub shortages: Vec<Shortage>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StockCommitted {
    pub order_id: OrderId,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub levels: Vec<StockLevel>,
}

/// The reservation had ended and could not be taken anew.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StockCommitRefused {
    pub order_id: OrderId,
    pub shortages: Vec<Shortage>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StockReleased {
    pub order_id: OrderId,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub levels: Vec<StockLevel>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StockReturned {
    pub order_id: OrderId,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub levels: Vec<StockLevel>,
}

/// Available stock fell to the threshold or below it. Key: sku.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StockLow {
    pub sku: String,
    pub available: i64,
    pub threshold: i64,
}

/// On-hand stock changed by an adjustment. Key: sku.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StockAdjusted {
    pub sku: String,
    pub delta: i64,
    pub on_hand: i64,
    pub reserved: i64,
    pub reason: String,
    /// The sku's version after it; 0 in messages from before there was one.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub version: i64,
}

fn is_zero(version: &i64) -> bool {
    *version == 0
}

/// Reservations of the order ran out and gave their stock back. Key: order id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StockExpired {
    pub order_id: OrderId,
    pub levels: Vec<StockLevel>,
}

events! {
    ReserveStock => "rtc.inventory.reserve_stock.v1",
    CommitStock => "rtc.inventory.commit_stock.v1",
    ReleaseStock => "rtc.inventory.release_stock.v1",
    ReturnStock => "rtc.inventory.return_stock.v1",
    StockReserved => "rtc.inventory.stock_reserved.v1",
    StockRefused => "rtc.inventory.stock_refused.v1",
    StockCommitted => "rtc.inventory.stock_committed.v1",
    StockCommitRefused => "rtc.inventory.stock_commit_refused.v1",
    StockReleased => "rtc.inventory.stock_released.v1",
    StockReturned => "rtc.inventory.stock_returned.v1",
    StockLow => "rtc.inventory.stock_low.v1",
    StockAdjusted => "rtc.inventory.stock_adjusted.v1",
    StockExpired => "rtc.inventory.stock_expired.v1",
}
