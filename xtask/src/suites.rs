//! All tests: `cargo test`, with the long suites bounded or whole (docs/TESTING.md).

use crate::run::{Outcome, check, command};

/// How much of the long suites.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    Bounded,
    Whole,
}

pub fn run(extent: Extent) -> Outcome {
    let mut test = command("cargo", &["test", "--workspace", "--locked", "--no-fail-fast"]);
    test.env("RUSTC_WORKSPACE_WRAPPER", "clippy-driver");
    if extent == Extent::Whole {
        test.env("SIM_SEEDS", "2000").env("KILL_ROUNDS", "100");
    }
    check(test)
}
