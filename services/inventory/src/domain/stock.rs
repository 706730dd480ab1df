//! A sku's stock, how it is counted, and when it is low.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use contracts::inventory::StockLine;
use serde::{Deserialize, Serialize};

/// How a sku's stock is counted (R13).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// Not at all: every order is accepted and nothing moves.
    None,
    /// Every order is accepted; what there is leaves the shelf when the order is committed.
    TrackOnly,
    /// An order holds its stock first, and is refused where there is too little.
    ReserveOnOrder,
}

impl Mode {
    pub const ALL: [Mode; 3] = [Mode::None, Mode::TrackOnly, Mode::ReserveOnOrder];

    pub const fn as_str(self) -> &'static str {
        match self {
            Mode::None => "none",
            Mode::TrackOnly => "track_only",
            Mode::ReserveOnOrder => "reserve_on_order",
        }
    }
}

impl FromStr for Mode {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mode = Mode::ALL.into_iter().find(|mode| mode.as_str() == text);
        mode.ok_or_else(|| format!("not a mode of stock: {text:?}"))
    }
}

/// Why `on_hand` changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum MovementKind {
    /// A person received, counted or wrote off stock.
    Adjusted,
    /// An order's reservation became final.
    Committed,
    /// A committed order was cancelled.
    Returned,
}

impl MovementKind {
    pub const ALL: [MovementKind; 3] =
        [MovementKind::Adjusted, MovementKind::Committed, MovementKind::Returned];

    pub const fn as_str(self) -> &'static str {
        match self {
            MovementKind::Adjusted => "adjusted",
            MovementKind::Committed => "committed",
            MovementKind::Returned => "returned",
        }
    }
}

impl FromStr for MovementKind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let kind = MovementKind::ALL.into_iter().find(|kind| kind.as_str() == text);
        kind.ok_or_else(|| format!("not a kind of movement: {text:?}"))
    }
}

impl fmt::Display for MovementKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The stock of one sku.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    pub sku: String,
    pub on_hand: i64,
    pub reserved: i64,
    pub low_stock_threshold: i64,
    pub mode: Mode,
    /// Rises by one with every change.
    pub version: i64,
}

impl Item {
    pub const fn available(&self) -> i64 {
        self.on_hand - self.reserved
    }

    /// What may run low: a sku that is not counted never does.
    const fn is_low(&self) -> bool {
        !matches!(self.mode, Mode::None) && self.available() <= self.low_stock_threshold
    }
}

/// Whether this change is the one that crossed the threshold downwards: it was above before and is not now.
pub const fn fell_low(before: &Item, after: &Item) -> bool {
    !before.is_low() && after.is_low()
}

/// One line a sku, in the order of the skus: so that two lines of one sku are checked together, and locks are taken
/// in one order (R10).
pub fn sum_per_sku(lines: &[StockLine]) -> Vec<StockLine> {
    let mut sums: BTreeMap<&str, i64> = BTreeMap::new();
    for line in lines {
        let sum = sums.entry(&line.sku).or_insert(0);
        // A line that takes nothing must not make room for another one.
        *sum = if *sum < 0 || line.quantity < 1 { -1 } else { sum.saturating_add(line.quantity) };
    }
    sums.into_iter().map(|(sku, quantity)| StockLine { sku: sku.to_owned(), quantity }).collect()
}
