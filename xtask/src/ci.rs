//! What CI runs, the cheap parts first.

use crate::prometheus::live;
use crate::run::{Outcome, Parts, cargo_without_warnings, check, command};
use crate::{cluster, codegen, engines, fuzz, image, infra, manifests, pipelines, ship, suites, tidy};

pub fn run() -> Outcome {
    let mut parts = Parts::default();
    let outcome = all(&mut parts);
    parts.print();
    outcome
}

fn all(parts: &mut Parts) -> Outcome {
    parts.part("format", || check(command("cargo", &["fmt", "--all", "--check"])))?;
    parts.part("tidy", tidy::run)?;
    // The linter is the compiler here: what it compiles is what is tested.
    parts.part("compile and lint", || {
        cargo_without_warnings(&["test", "--workspace", "--locked", "--no-run"])?;
        cargo_without_warnings(&[
            "test",
            "--workspace",
            "--locked",
            "--no-run",
            "--test",
            "engines",
            "--test",
            "infra",
            "--test",
            "image",
            "--test",
            "ship",
        ])?;
        cargo_without_warnings(&["build", "--locked", "-p", "rtcd", "-p", "rtcctl"])
    })?;
    parts.part("reference is up to date", || codegen::run(codegen::Mode::Check))?;
    parts.part("test", || suites::embedded(suites::Extent::Bounded))?;
    manifests::all(parts)?;
    pipelines::all(parts)?;
    live::all(parts)?;
    engines::all(parts, suites::Extent::Bounded)?;
    cluster::all(parts)?;
    image::all(parts)?;
    infra::all(parts, suites::Extent::Bounded)?;
    ship::all(parts)?;
    parts.part("fuzz", || fuzz::run(&[]))
}
