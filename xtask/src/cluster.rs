//! `cargo xtask test cluster`: `rtcctl cluster` run by the real kubectl for its tokens, and asking moto. With `--real` the
//! suites that speak to an API server, on a real one that `scripts/apiserver` builds, starts and stops.

use std::path::PathBuf;
use std::process::Command;

use crate::engines::{self, script};
use crate::run::{Outcome, Parts, check, command, output, root};
use crate::suites;

pub fn run() -> Outcome {
    Parts::told(all)
}

pub fn all(parts: &mut Parts) -> Outcome {
    parts.part("cluster: install", || check(script(&["install", "s3"])))?;
    parts.part("cluster: compile", || suites::named("cluster").map(drop))?;
    let outcome = parts
        .part("cluster: start", || check(at_home(&["start", "s3"])))
        .and_then(|()| parts.part("cluster: suites", suites));
    outcome.and(parts.part("cluster: stop", || check(at_home(&["reset"]))))
}

fn suites() -> Outcome {
    let mut test = suites::named("cluster")?;
    test.env("RTC_TEST_AWS", engines::variable(&home(), "AWS_ENDPOINT_URL")?);
    check(test)
}

/// Suites that are asked of a played API server and, unchanged, of a real one.
struct Asked {
    packages: &'static [&'static str],
    tests: &'static [&'static str],
    /// Beside each other.
    threads: u32,
}

const REAL: [Asked; 3] = [
    Asked {
        packages: &["rtc-kubernetes"],
        tests: &["tests::suite::", "tests::answers::the_server_that_is_named"],
        threads: 4,
    },
    Asked {
        packages: &["rtc-deploy"],
        tests: &["tests::clusters::", "tests::killed::", "tests::switching::a_switch_is_the_same"],
        threads: 4,
    },
    // Beside the crate that has the same features of what both stand on.
    Asked { packages: &["rtcd", "rtcctl"], tests: &["commands::deploy::tests::clusters::"], threads: 2 },
];

pub fn real() -> Outcome {
    Parts::told(all_real)
}

pub fn all_real(parts: &mut Parts) -> Outcome {
    parts.part("cluster, real: build the server", || check(apiserver(&["build"])))?;
    let outcome = parts
        .part("cluster, real: start", || check(apiserver(&["start"])))
        .and_then(|()| parts.part("cluster, real: suites", on_the_real_one));
    outcome.and(parts.part("cluster, real: stop", || check(apiserver(&["reset"]))))
}

fn apiserver(arguments: &[&str]) -> Command {
    command(&root().join("scripts/apiserver").display().to_string(), arguments)
}

fn on_the_real_one() -> Outcome {
    for asked in REAL {
        let mut list = asked.test();
        list.args(["--", "--list"]);
        let listed = output(list)?;
        if let Some(filter) = asked.tests.iter().find(|filter| !finds(&listed, filter)) {
            return Err(format!("no test of {} is called {filter}", asked.packages.join(", ")));
        }
        let mut test = asked.test();
        test.arg("--").args(asked.tests).arg(format!("--test-threads={}", asked.threads));
        test.env("RTC_TEST_KUBECONFIG", root().join("target/apiserver/kubeconfig"));
        test.env("RTC_TEST_CONTEXT", "rtc-apiserver");
        check(test)?;
    }
    Ok(())
}

impl Asked {
    fn test(&self) -> Command {
        let mut test = command("cargo", &["test", "--locked", "--lib"]);
        test.args(self.packages.iter().flat_map(|name| ["-p", name]));
        test.env("RUSTC_WORKSPACE_WRAPPER", "clippy-driver");
        test
    }
}

/// Whether a filter finds any of what a test binary lists: one that finds nothing passes as well.
fn finds(listed: &str, filter: &str) -> bool {
    listed.lines().filter_map(|line| line.strip_suffix(": test")).any(|name| name.contains(filter))
}

fn home() -> PathBuf {
    root().join("target/engines-cluster")
}

fn at_home(arguments: &[&str]) -> Command {
    engines::at(&home(), arguments)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_that_finds_no_test_is_seen() {
        let listed = "tests::suite::a_list: test\ntests::answers::slow: benchmark\n\n1 test, 1 benchmark\n";
        assert!(finds(listed, "tests::suite::"));
        for nothing in ["tests::answers::", "tests::gone::", "benchmark"] {
            assert!(!finds(listed, nothing), "{nothing}");
        }
    }
}
