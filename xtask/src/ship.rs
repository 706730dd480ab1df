//! `cargo xtask test ship`: a release from end to end, killed after every step, stopped, refused and taken back, beside a shop
//! that takes orders: the real Terraform and provider against moto, a real registry, a real Prometheus, and a cluster's API.

use std::path::PathBuf;
use std::process::Command;

use crate::engines::{self, script};
use crate::prometheus::live;
use crate::run::{Outcome, Parts, check, command, root};
use crate::suites;
use crate::{image, infra};

pub fn run() -> Outcome {
    let mut parts = Parts::default();
    let outcome = all(&mut parts);
    parts.print();
    outcome
}

pub fn all(parts: &mut Parts) -> Outcome {
    let mirror = infra::mirror()?;
    parts.part("ship: install", || check(script(&["install", "registry", "s3", "prometheus", "tmux"])))?;
    parts.part("ship: compile", || {
        let mut build = command("cargo", &["build", "--locked", "-p", "rtcd", "-p", "rtcctl"]);
        build.env("RUSTC_WORKSPACE_WRAPPER", "clippy-driver");
        check(build)?;
        check(suites::named("ship", &["--no-run"]))
    })?;
    let outcome = parts
        .part("ship: start", || check(at_home(&["start", "registry", "s3"])))
        .and_then(|()| parts.part("ship: suites", || suites(&mirror)));
    outcome.and(parts.part("ship: stop", || check(at_home(&["reset"]))))
}

fn suites(mirror: &std::path::Path) -> Outcome {
    let mut test = suites::named("ship", &["--", "--test-threads=1"]);
    let variables = image::variables(&home())?;
    let find = |name: &str| variables.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone());
    let aws = find("RTC_TEST_S3").ok_or("scripts/engines did not say where moto is")?;
    let registry = find("RTC_TEST_REGISTRY").ok_or("scripts/engines did not say where the registry is")?;
    test.env("RTC_TEST_AWS", aws).env("RTC_TEST_REGISTRY", registry);
    test.env("RTC_TEST_PROGRAM", root().join("target/debug/rtcd"));
    test.env("RTC_TEST_TERRAFORM_MIRROR", mirror).env("RTC_TEST_PROMETHEUS", live::program()?);
    check(test)
}

fn home() -> PathBuf {
    root().join("target/engines-ship")
}

fn at_home(arguments: &[&str]) -> Command {
    engines::at(&home(), arguments)
}
