//! A weight as numbers of pods.
//!
//! Rounding: to the nearest whole pod, halves to the canary; a weight above 0 has a pod and one below 100 leaves one to
//! the stable version, for which a total of one is exceeded by one.
//!
//! Invariants: together there are never fewer pods than without a canary; more weight is never fewer canary pods.

use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Split {
    pub stable: u32,
    pub canary: u32,
}

impl Split {
    /// Of `total` pods, for a weight in percent.
    pub fn of(total: u32, weight: u8) -> Split {
        let weight = u64::from(weight.min(100));
        if weight == 0 || total == 0 {
            return Split { stable: total, canary: 0 };
        }
        if weight == 100 {
            return Split { stable: 0, canary: total };
        }
        if total == 1 {
            return Split { stable: 1, canary: 1 };
        }
        let nearest = (u64::from(total) * weight + 50) / 100;
        let canary = u32::try_from(nearest).unwrap_or(total).clamp(1, total - 1);
        Split { stable: total - canary, canary }
    }

    /// The share of the canary that the pods really make, in percent, if every pod takes as much.
    pub fn weight(self) -> f64 {
        let total = self.stable + self.canary;
        if total == 0 { 0.0 } else { f64::from(self.canary) * 100.0 / f64::from(total) }
    }

    /// By how many percent the pods miss the weight.
    pub fn error(self, weight: u8) -> f64 {
        (self.weight() - f64::from(weight)).abs()
    }
}
