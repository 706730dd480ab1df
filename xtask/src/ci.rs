//! What CI runs, the cheap parts first.

use crate::prometheus::live;
use crate::run::{Outcome, Parts, cargo_without_warnings, check, command};
use crate::{cluster, codegen, engines, fuzz, image, infra, manifests, pipelines, ship, suites, tidy};

pub fn run() -> Outcome {
    Parts::told(all)
}

fn all(parts: &mut Parts) -> Outcome {
    parts.part("format", || check(command("cargo", &["fmt", "--all", "--check"])))?;
    parts.part("tidy", tidy::run)?;
    parts.part("compile and lint, install", || {
        std::thread::scope(|scope| {
            scope.spawn(install_early);
            compile()
        })
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

/// The linter is the compiler here: what it compiles is what is tested.
fn compile() -> Outcome {
    cargo_without_warnings(&["test", "--workspace", "--locked", "--no-run"])?;
    cargo_without_warnings(&suites::compiling())?;
    cargo_without_warnings(&["build", "--locked", "-p", "rtcd", "-p", "rtcctl"])
}

/// Fetches, while the compiler is at work, what parts install later. Each of them installs what it needs all the same, and fails where
/// that cannot be had.
fn install_early() {
    let by_name = ["manifests", "checkov", "pipelines", "prometheus", "tmux", "registry"];
    for names in [&[][..], &by_name] {
        let _ = check(engines::script(&[&["install"], names].concat()));
    }
}
