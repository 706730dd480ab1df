//! `cargo xtask test engines`: the suites on the engines of production, which `scripts/engines` installs, starts and stops.
//!
//! Invariant: what was started is stopped, however the tests ended.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::conformance;
use crate::run::{Outcome, Parts, check, command, heard, root};
use crate::suites::{self, Extent};

/// Floods, and platforms of many processes that are restarted under load: what they show is no busy machine's doing only
/// where each has the machine for itself.
const ALONE: [&str; 2] = ["overload::", "split::a_rolling_restart"];
/// How many tests those are at least.
const ALONE_MIN: u64 = 3;

/// The feature that gives librdkafka an OpenSSL: what goes into images is built with it, and nothing else, for it takes long.
const KAFKA_TLS: &str = "kafka-tls";
const KAFKA_TLS_MIN: u64 = 6;

/// Everything that needs engines or the tools that come with them.
pub fn run(extent: Extent) -> Outcome {
    Parts::told(|parts| all(parts, extent))
}

/// The parts of it, for a run that has others too.
pub fn all(parts: &mut Parts, extent: Extent) -> Outcome {
    parts.part("engines: install", || check(script(&["install"])))?;
    let outcome = parts
        .part("engines: start", || check(script(&["start"])))
        .and_then(|()| parts.part("engines: compile", || suites::named("engines").map(drop)))
        .and_then(|()| parts.part("engines: suites", || check(tests(&beside_others(), extent)?)))
        .and_then(|()| parts.part("engines: one by one", || each(tests(&alone(), extent)?, ALONE_MIN)))
        .and_then(|()| match extent {
            Extent::Whole => parts.part("engines: TLS to Kafka", over_tls),
            Extent::Bounded => Ok(()),
        });
    let stopped = parts.part("engines: stop", stop);
    outcome.and(stopped)?;
    parts.part("engines: conformance of the API", || conformance::run(extent))
}

/// TLS and SCRAM to Kafka, and nothing else.
pub fn kafka_tls() -> Outcome {
    Parts::told(|parts| {
        parts.part("engines: install", || check(script(&["install"])))?;
        let outcome = parts
            .part("engines: start", || check(script(&["start", "kafka-a"])))
            .and_then(|()| parts.part("engines: TLS to Kafka", over_tls));
        outcome.and(parts.part("engines: stop", stop))
    })
}

fn over_tls() -> Outcome {
    let mut test = suites::with_feature("engines", KAFKA_TLS)?;
    test.arg("kafka_tls::").envs(variables(&home())?);
    each(test, KAFKA_TLS_MIN)
}

fn beside_others() -> Vec<&'static str> {
    ALONE.into_iter().flat_map(|name| ["--skip", name]).collect()
}

fn alone() -> Vec<&'static str> {
    ["--test-threads", "1"].into_iter().chain(ALONE).collect()
}

/// A name that matches nothing any more is no test that has passed.
pub fn each(tests: Command, at_least: u64) -> Outcome {
    match passed(&heard(tests)?) {
        enough if enough >= at_least => Ok(()),
        passed => Err(format!("{passed} tests ran one by one, not {at_least}: have they other names?")),
    }
}

/// How many tests passed, as the test programs of a run have said.
fn passed(heard: &str) -> u64 {
    let of =
        |line: &str| line.strip_prefix("test result: ok. ")?.split_once(" passed")?.0.parse::<u64>().ok();
    heard.lines().filter_map(of).sum()
}

pub fn script(arguments: &[&str]) -> Command {
    command("scripts/engines", arguments)
}

/// The same, with the engines of one suite in a folder of their own.
pub fn at(home: &Path, arguments: &[&str]) -> Command {
    let mut script = script(&["--home"]);
    script.arg(home).args(arguments);
    script
}

/// A program of the engines' Python environment, in a folder where it may leave files.
pub fn tool(name: &str) -> Command {
    let mut tool = Command::new(home().join("venv/bin").join(name));
    tool.current_dir(home());
    tool
}

fn home() -> PathBuf {
    root().join("target/engines")
}

fn tests(more: &[&str], extent: Extent) -> Result<Command, String> {
    let mut test = suites::named("engines")?;
    test.args(more).envs(variables(&home())?);
    if extent == Extent::Whole {
        test.env("ENGINES_WHOLE", "1");
    }
    Ok(test)
}

/// What `scripts/engines` wrote about what runs there: lines `export NAME='value'`.
pub fn variables(home: &Path) -> Result<Vec<(String, String)>, String> {
    let file = home.join("env");
    let text = std::fs::read_to_string(&file).map_err(|error| format!("{}: {error}", file.display()))?;
    let pair = |line: &str| {
        let (name, value) = line.strip_prefix("export ")?.split_once('=')?;
        Some((name.to_owned(), value.trim_matches('\'').to_owned()))
    };
    Ok(text.lines().filter_map(pair).collect())
}

/// One of them.
pub fn variable(home: &Path, name: &str) -> Result<String, String> {
    let found = variables(home)?.into_iter().find(|(known, _)| known == name);
    found.map(|(_, value)| value).ok_or_else(|| format!("scripts/engines did not say {name}"))
}

/// The shared engines, and those of tests that could not stop theirs.
fn stop() -> Outcome {
    let own = std::fs::read_dir(home().join("own")).into_iter().flatten().flatten();
    for left in own.map(|entry| entry.path()).filter(|path| path.is_dir()) {
        let _ = check(at(&left, &["stop"]));
    }
    check(script(&["reset"]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tests_that_were_only_left_out_have_not_passed() {
        let line = |passed, left_out| {
            format!(
                "running {passed} tests\n\ntest result: ok. {passed} passed; 0 failed; 0 ignored; 0 measured; \
                 {left_out} filtered out; finished in 0.00s\n"
            )
        };
        assert_eq!(passed(&line(0, 31)), 0);
        assert_eq!(passed(&(line(0, 4) + &line(1, 30))), 1);
        assert_eq!(passed(""), 0);
        let says_so_itself = "test overload::a ... 1 passed";
        assert_eq!(passed(says_so_itself), 0);
    }

    #[test]
    fn what_no_test_shows_alone_is_an_error() {
        let says = |text: &str| crate::run::command("echo", &[text]);
        assert!(each(says("test result: ok. 2 passed; 0 failed"), 3).is_err());
        assert!(each(says("test result: ok. 3 passed; 0 failed"), 3).is_ok());
        assert!(each(crate::run::command("false", &[]), 0).is_err());
    }
}
