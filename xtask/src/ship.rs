//! `cargo xtask test ship`: a release from end to end, killed after every step, stopped, refused and taken back, beside a shop
//! that takes orders: the real Terraform and provider against moto, a real registry, a real Prometheus, and a cluster's API.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::engines::{self, script};
use crate::infra;
use crate::platform::Profile;
use crate::prometheus::live;
use crate::run::{Outcome, Parts, check, root};
use crate::suites;

pub fn run() -> Outcome {
    Parts::told(all)
}

pub fn all(parts: &mut Parts) -> Outcome {
    let mirror = infra::mirror()?;
    parts.part("ship: install", || check(script(&["install", "registry", "s3", "prometheus", "tmux"])))?;
    parts.part("ship: compile", || suites::named("ship").map(drop))?;
    let outcome = parts
        .part("ship: start", || check(at_home(&["start", "registry", "s3"])))
        .and_then(|()| parts.part("ship: suites", || suites(&mirror)));
    outcome.and(parts.part("ship: stop", || check(at_home(&["reset"]))))
}

fn suites(mirror: &Path) -> Outcome {
    let mut test = suites::named("ship")?;
    test.arg("--test-threads=1");
    test.env("RTC_TEST_AWS", engines::variable(&home(), "RTC_TEST_S3")?);
    test.env("RTC_TEST_REGISTRY", engines::variable(&home(), "RTC_TEST_REGISTRY")?);
    test.env("RTC_TEST_PROGRAM", Profile::Dev.binary("rtcd"));
    test.env("RTC_TEST_TERRAFORM_MIRROR", mirror).env("RTC_TEST_PROMETHEUS", live::program()?);
    check(test)
}

fn home() -> PathBuf {
    root().join("target/engines-ship")
}

fn at_home(arguments: &[&str]) -> Command {
    engines::at(&home(), arguments)
}
