//! `cargo xtask test cluster`: `rtcctl cluster` run by the real kubectl for its tokens, and asking moto.

use std::path::PathBuf;
use std::process::Command;

use crate::engines::{self, script};
use crate::image::variables;
use crate::run::{Outcome, Parts, check, command, root};
use crate::suites;

pub fn run() -> Outcome {
    let mut parts = Parts::default();
    let outcome = all(&mut parts);
    parts.print();
    outcome
}

pub fn all(parts: &mut Parts) -> Outcome {
    parts.part("cluster: install", || check(script(&["install", "s3"])))?;
    parts.part("cluster: compile", || {
        let mut build = command("cargo", &["build", "--locked", "-p", "rtcd", "-p", "rtcctl"]);
        build.env("RUSTC_WORKSPACE_WRAPPER", "clippy-driver");
        check(build)?;
        check(suites::named("cluster", &["--no-run"]))
    })?;
    let outcome = parts
        .part("cluster: start", || check(at_home(&["start", "s3"])))
        .and_then(|()| parts.part("cluster: suites", suites));
    outcome.and(parts.part("cluster: stop", || check(at_home(&["reset"]))))
}

fn suites() -> Outcome {
    let mut test = suites::named("cluster", &[]);
    let aws = variables(&home())?.into_iter().find(|(name, _)| name == "AWS_ENDPOINT_URL");
    let (_, aws) = aws.ok_or("scripts/engines did not say where moto is")?;
    test.env("RTC_TEST_AWS", aws);
    check(test)
}

fn home() -> PathBuf {
    root().join("target/engines-cluster")
}

fn at_home(arguments: &[&str]) -> Command {
    engines::at(&home(), arguments)
}
