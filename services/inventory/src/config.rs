//! The section `[services.inventory]` and its defaults.

use std::time::Duration;

use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The longest that a reservation may hold stock, whatever the command asks for, counted from its beginning.
    pub reservation_max_s: u64,
    /// The most of one sku that one order may have, all its lines of that sku together.
    pub line_quantity_max: i64,
    /// The threshold of a sku that is new.
    pub low_stock_threshold: i64,
    /// How many reservations one turn of the expiry job ends at most.
    pub expiry_batch: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self { reservation_max_s: 3_600, line_quantity_max: 50, low_stock_threshold: 5, expiry_batch: 200 }
    }
}

impl Config {
    pub(crate) fn reservation_max(&self) -> Duration {
        Duration::from_secs(self.reservation_max_s)
    }
}

impl host::Section for Config {
    const LIVE: &'static [&'static str] =
        &["reservation_max_s", "line_quantity_max", "low_stock_threshold", "expiry_batch"];

    fn check(&self) -> Result<(), String> {
        let refuse = |key: &str, rule: &str| Err(format!("{key} {rule}"));
        if !(1..=3_600).contains(&self.reservation_max_s) {
            return refuse("reservation_max_s", "must be 1 to 3600");
        }
        if self.line_quantity_max < 1 {
            return refuse("line_quantity_max", "must be at least 1");
        }
        if self.low_stock_threshold < 0 {
            return refuse("low_stock_threshold", "must not be negative");
        }
        if !(1..=10_000).contains(&self.expiry_batch) {
            return refuse("expiry_batch", "must be 1 to 10000");
        }
        Ok(())
    }
}
