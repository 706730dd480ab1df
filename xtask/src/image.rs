//! `cargo xtask test image`: images of the real rtcd, read by skopeo and umoci, entered and run, pushed to a real
//! registry and pulled back; ECR's API on moto.

use std::path::PathBuf;
use std::process::Command;

use crate::engines::{self, script};
use crate::platform::Profile;
use crate::run::{Outcome, Parts, check, root};
use crate::suites;

pub fn run() -> Outcome {
    Parts::told(all)
}

pub fn all(parts: &mut Parts) -> Outcome {
    parts.part("image: install", || check(script(&["install", "registry", "s3"])))?;
    parts.part("image: compile", || suites::named("image").map(drop))?;
    let outcome = parts
        .part("image: start", || check(at_home(&["start", "registry", "s3"])))
        .and_then(|()| parts.part("image: suites", suites));
    outcome.and(parts.part("image: stop", || check(at_home(&["reset"]))))
}

fn suites() -> Outcome {
    let mut test = suites::named("image")?;
    test.envs(engines::variables(&home())?).env("RTC_TEST_PROGRAM", Profile::Dev.binary("rtcd"));
    check(test)
}

fn home() -> PathBuf {
    root().join("target/engines-image")
}

fn at_home(arguments: &[&str]) -> Command {
    engines::at(&home(), arguments)
}
