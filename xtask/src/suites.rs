//! All tests: `cargo test`, with the long suites bounded or whole (docs/TESTING.md).

use crate::run::{Outcome, Parts, check, command};
use crate::{engines, infra};

/// How much of the long suites.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    Bounded,
    Whole,
}

/// What needs cargo and a C compiler, nothing else.
pub fn embedded(extent: Extent) -> Outcome {
    let mut test = command("cargo", &["test", "--workspace", "--locked", "--no-fail-fast"]);
    test.env("RUSTC_WORKSPACE_WRAPPER", "clippy-driver");
    if extent == Extent::Whole {
        test.env("SIM_SEEDS", "2000").env("KILL_ROUNDS", "100");
    }
    check(test)
}

/// Every test there is, whole.
pub fn all() -> Outcome {
    let mut parts = Parts::default();
    let outcome = parts
        .part("embedded", || embedded(Extent::Whole))
        .and_then(|()| engines::all(&mut parts, Extent::Whole))
        .and_then(|()| infra::all(&mut parts, Extent::Whole));
    parts.print();
    outcome
}
