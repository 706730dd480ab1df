//! The section `[services.analytics]`.

use serde::{Deserialize, Serialize};

/// What is kept of products over all time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProductTotals {
    /// All of them, on disk.
    Exact,
    /// The greatest, in as many counters as a window has: for catalogues of which most products are sold in any hour.
    Bounded,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Streams of transactions at once; beyond that they are refused with 503.
    pub streams_max: usize,
    /// A stream on which nothing arrives for this long is ended.
    pub stream_idle_ms: u64,
    /// How long after its end a window still takes what belongs into it. An order may take 16 minutes to its end.
    pub lateness_ms: i64,
    /// A stream on which nothing has come for this long does not hold the watermark back.
    pub idle_ms: u64,
    /// Products that are counted in each window; of more, the greatest are estimated.
    pub top_capacity: usize,
    /// `exact` or `bounded`. A rebuild of `analytics.shop` brings what was before into the other form.
    pub product_totals: ProductTotals,
    /// Listeners to the live numbers at once; beyond that they are refused with 503.
    pub listeners_max: usize,
    /// After this long a listener is let go, and comes back with where it was: whoever may not listen any more is not
    /// let in again.
    pub listen_max_ms: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            streams_max: 64,
            stream_idle_ms: 30_000,
            lateness_ms: 1_200_000,
            idle_ms: 30_000,
            top_capacity: 500,
            product_totals: ProductTotals::Exact,
            listeners_max: 10_000,
            listen_max_ms: 900_000,
        }
    }
}

impl Config {
    /// What no setting can mean.
    pub fn check(&self) -> Result<(), String> {
        let ranges = [
            ("lateness_ms", self.lateness_ms, 0..=31_622_400_000),
            ("top_capacity", i64::try_from(self.top_capacity).unwrap_or(i64::MAX), 1..=10_000),
        ];
        for (name, value, range) in ranges {
            if !range.contains(&value) {
                let (least, most) = (range.start(), range.end());
                return Err(format!("services.analytics.{name} is {value}, of {least} to {most}"));
            }
        }
        Ok(())
    }
}
