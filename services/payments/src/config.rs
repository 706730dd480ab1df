//! The section `[services.payments]`.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::bank::faulty::Faults;

/// Settings of the payments service and of its mock bank.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PaymentsConfig {
    /// How long the bank holds money before it lets it go.
    pub hold_days: u32,
    /// What the bank keeps of each capture, in basis points.
    pub fee_basis_points: u32,
    /// After this long a call's outcome counts as unknown.
    pub bank_timeout_ms: u64,
    /// The first wait after an unknown outcome; each next one is twice as long, with jitter.
    pub retry_first_ms: u64,
    pub retry_max_ms: u64,
    /// How the mock bank misbehaves.
    pub faults: Faults,
}

impl Default for PaymentsConfig {
    fn default() -> Self {
        Self {
            hold_days: 7,
            fee_basis_points: 0,
            bank_timeout_ms: 5_000,
            retry_first_ms: 100,
            retry_max_ms: 30_000,
            faults: Faults::default(),
        }
    }
}

impl host::Section for PaymentsConfig {
    const LIVE: &'static [&'static str] = &["retry_first_ms", "retry_max_ms"];

    fn check(&self) -> Result<(), String> {
        if self.hold_days == 0 {
            return Err("hold_days is at least 1".to_owned());
        }
        if self.fee_basis_points > 10_000 {
            return Err("fee_basis_points is at most 10000".to_owned());
        }
        if self.bank_timeout_ms == 0 {
            return Err("bank_timeout_ms is at least 1".to_owned());
        }
        Ok(())
    }
}

impl PaymentsConfig {
    /// Half of the wait is fixed, so that it never becomes a spin; half is `random`.
    pub fn delay(&self, attempts: u32, random: u64) -> Duration {
        let doubled = self.retry_first_ms.max(10).saturating_mul(1 << attempts.min(20));
        let whole = doubled.min(self.retry_max_ms.max(10));
        Duration::from_millis(whole / 2 + random % (whole / 2 + 1))
    }
}
