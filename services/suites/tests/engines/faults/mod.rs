//! The catalogue of faults on real engines (docs/FAULTS.md): what is random comes from a seed, and after each fault
//! everything that was accepted has ended once and every invariant holds.
//!
//! `FAULT_SEED=17` begins with that seed, `FAULT_ROUNDS=10` runs ten of them.

mod bad_engines;
mod broker;
pub mod crowd;
mod database;
mod downtime;
mod pauses;
mod poison;
mod races;
pub mod shop;
mod steps;
mod versions;

use std::future::Future;

use kernel::id::SplitMix;

#[expect(clippy::disallowed_methods, reason = "a test's own knobs, not configuration")]
pub fn knob(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|text| text.parse().ok())
}

fn rounds() -> u64 {
    knob("FAULT_ROUNDS").unwrap_or(1).max(1)
}

struct Trace(u64);

impl Drop for Trace {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("seed {} failed: FAULT_SEED={} begins with it", self.0, self.0);
        }
    }
}

/// Runs `round` with one seed after the other; the seed of a failure is told.
async fn each_seed<F: Future<Output = ()>>(mut round: impl FnMut(SplitMix) -> F) {
    let first = knob("FAULT_SEED").unwrap_or_else(|| u64::from(std::process::id()));
    for seed in first..first + rounds() {
        let trace = Trace(seed);
        round(SplitMix(seed)).await;
        drop(trace);
    }
}
