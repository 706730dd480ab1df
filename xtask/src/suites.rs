//! All tests: `cargo test`, with the long suites bounded or whole (docs/TESTING.md).

use std::process::Command;

use crate::prometheus::live;
use crate::run::{Outcome, Parts, check, command};
use crate::{cluster, engines, image, infra, manifests, pipelines, ship};

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
        test.env("SIM_SEEDS", "2000").env("KILL_ROUNDS", "100").env("DEATHS_EVERY", "1");
    }
    check(test)
}

/// The tests of one name beside the usual ones. The whole workspace is named, so that everything is compiled as it is for the
/// other tests, and once.
pub fn named(test: &str, more: &[&str]) -> Command {
    let mut tests = command("cargo", &["test", "--workspace", "--locked", "--test", test]);
    tests.args(more).env("RUSTC_WORKSPACE_WRAPPER", "clippy-driver");
    tests
}

/// Every test there is, whole.
pub fn all() -> Outcome {
    let mut parts = Parts::default();
    let outcome = parts
        .part("embedded", || embedded(Extent::Whole))
        .and_then(|()| manifests::all(&mut parts))
        .and_then(|()| pipelines::all(&mut parts))
        .and_then(|()| live::all(&mut parts))
        .and_then(|()| engines::all(&mut parts, Extent::Whole))
        .and_then(|()| cluster::all(&mut parts))
        .and_then(|()| cluster::all_real(&mut parts))
        .and_then(|()| image::all(&mut parts))
        .and_then(|()| ship::all(&mut parts))
        .and_then(|()| infra::all(&mut parts, Extent::Whole));
    parts.print();
    outcome
}
