//! `cargo xtask test image`: images of the real rtcd, read by skopeo and umoci, entered and run, pushed to a real
//! registry and pulled back; ECR's API on moto.

use std::path::PathBuf;
use std::process::Command;

use crate::engines::{self, script};
use crate::run::{Outcome, Parts, check, command, root};
use crate::suites;

pub fn run() -> Outcome {
    let mut parts = Parts::default();
    let outcome = all(&mut parts);
    parts.print();
    outcome
}

pub fn all(parts: &mut Parts) -> Outcome {
    parts.part("image: install", || check(script(&["install", "registry", "s3"])))?;
    parts.part("image: compile", || {
        let mut build = command("cargo", &["build", "--locked", "-p", "rtcd", "-p", "rtcctl"]);
        build.env("RUSTC_WORKSPACE_WRAPPER", "clippy-driver");
        check(build)?;
        check(suites::named("image", &["--no-run"]))
    })?;
    let outcome = parts
        .part("image: start", || check(at_home(&["start", "registry", "s3"])))
        .and_then(|()| parts.part("image: suites", suites));
    outcome.and(parts.part("image: stop", || check(at_home(&["reset"]))))
}

fn suites() -> Outcome {
    let mut test = suites::named("image", &[]);
    for (name, value) in variables(&home())? {
        test.env(name, value);
    }
    test.env("RTC_TEST_PROGRAM", root().join("target/debug/rtcd"));
    check(test)
}

/// What `scripts/engines` says of what it started.
pub fn variables(home: &std::path::Path) -> Result<Vec<(String, String)>, String> {
    let text = std::fs::read_to_string(home.join("env")).map_err(|error| error.to_string())?;
    let line = |line: &str| {
        let (name, value) = line.strip_prefix("export ")?.split_once('=')?;
        Some((name.to_owned(), value.trim_matches('\'').to_owned()))
    };
    Ok(text.lines().filter_map(line).collect())
}

fn home() -> PathBuf {
    root().join("target/engines-image")
}

fn at_home(arguments: &[&str]) -> Command {
    engines::at(&home(), arguments)
}
