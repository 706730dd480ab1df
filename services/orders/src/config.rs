//! The section `[services.orders]`.

use std::time::Duration;

use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OrdersConfig {
    /// How long a step may take before its command is sent again.
    pub step_timeout_ms: u64,
    /// How often a step before the point of no return is tried.
    pub attempts_max: u32,
    /// The longest wait between two tries of a step that must succeed.
    pub backoff_max_ms: u64,
    /// How long a reservation of stock is asked for.
    pub reservation_ttl_s: u64,
    /// So many checkouts may be under way; beyond that orders are refused with 503 until some have ended.
    pub in_flight_max: u32,
}

/// At the rate at which checkouts end on a small machine these have ended before a step's time is over.
const IN_FLIGHT_MAX: u32 = 20_000;

impl Default for OrdersConfig {
    fn default() -> Self {
        Self {
            step_timeout_ms: 30_000,
            attempts_max: 3,
            backoff_max_ms: 60_000,
            reservation_ttl_s: 600,
            in_flight_max: IN_FLIGHT_MAX,
        }
    }
}

impl host::Section for OrdersConfig {
    /// Steps under way keep the deadline that they have.
    const LIVE: &'static [&'static str] =
        &["step_timeout_ms", "attempts_max", "backoff_max_ms", "reservation_ttl_s", "in_flight_max"];

    fn check(&self) -> Result<(), String> {
        let positive = [
            ("step_timeout_ms", self.step_timeout_ms),
            ("attempts_max", self.attempts_max.into()),
            ("reservation_ttl_s", self.reservation_ttl_s),
            ("in_flight_max", self.in_flight_max.into()),
        ];
        match positive.iter().find(|(_, value)| *value == 0) {
            Some((key, _)) => Err(format!("{key} is at least 1")),
            None => Ok(()),
        }
    }
}

impl OrdersConfig {
    /// When the `attempt`-th try of a step is given up: doubled each time, up to the limit.
    pub fn patience(&self, attempt: u32) -> Duration {
        let doubled = self.step_timeout_ms.saturating_mul(1 << attempt.min(16));
        Duration::from_millis(doubled.min(self.backoff_max_ms.max(self.step_timeout_ms)))
    }
}
