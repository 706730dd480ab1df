//! `cargo xtask fuzz`: the parsers of what comes from outside under libFuzzer, guided by coverage.
//!
//! The compiler's coverage pass needs no nightly, only flags; they would recompile everything in the usual place, so that
//! the fuzzed binaries have a target directory of their own. Seeds are checked in under services/fuzz/corpus; what a run
//! adds stays in target/fuzz/corpus.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Mutex;

use crate::run::{Outcome, check, command, output, root};

const TARGETS: [&str; 5] = ["sales", "cursor", "envelope", "config", "rtcctl_config"];
const SECONDS_DEFAULT: u64 = 60;
/// Two cores are what the smallest machine has.
const AT_ONCE: usize = 2;

const FLAGS: [&str; 5] = [
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
];

struct Wanted<'a> {
    targets: Vec<&'a str>,
    seconds: u64,
}

fn wanted<'a>(arguments: &[&'a str]) -> Result<Wanted<'a>, String> {
    let mut wanted = Wanted { targets: Vec::new(), seconds: SECONDS_DEFAULT };
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        match *argument {
            "--seconds" => {
                let seconds = rest.next().and_then(|text| text.parse().ok());
                wanted.seconds = seconds.ok_or("--seconds wants a whole number")?;
            }
            target if TARGETS.contains(&target) => wanted.targets.push(target),
            other => return Err(format!("no such target: {other}; there are {}", TARGETS.join(", "))),
        }
    }
    if wanted.targets.is_empty() {
        wanted.targets = TARGETS.to_vec();
    }
    Ok(wanted)
}

/// All targets, or those that are named, for so long each.
pub fn run(arguments: &[&str]) -> Outcome {
    let wanted = wanted(arguments)?;
    let binaries = build(&wanted.targets)?;
    let queue = Mutex::new(wanted.targets.clone());
    let failures = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                // The guard must not live while the target runs.
                let next = || queue.lock().ok().and_then(|mut queue| queue.pop());
                while let Some(target) = next() {
                    if let Err(reason) = fuzz(&binaries, target, wanted.seconds)
                        && let Ok(mut failures) = failures.lock()
                    {
                        failures.push(reason);
                    }
                }
            });
        }
    });
    let failures = failures.into_inner().unwrap_or_default();
    if failures.is_empty() { Ok(()) } else { Err(failures.join("\n")) }
}

fn home() -> PathBuf {
    root().join("target/fuzz")
}

/// Builds the targets and gives the folder of their binaries.
fn build(targets: &[&str]) -> Result<PathBuf, String> {
    let version = output(command("rustc", &["-vV"]))?;
    let host = version.lines().find_map(|line| line.strip_prefix("host: "));
    let host = host.ok_or("rustc does not say what it compiles for")?;
    let mut build = command("cargo", &["build", "--locked", "-p", "rtc-fuzz", "--features", "fuzzing"]);
    // With a target named, build scripts and macros are compiled without the flags.
    build.args(["--target", host, "--target-dir"]).arg(home());
    for target in targets {
        build.args(["--bin", target]);
    }
    build.env("RUSTFLAGS", FLAGS.join(" ")).env_remove("RUSTC_WORKSPACE_WRAPPER");
    // Fast enough to get somewhere within a minute, with the checks of a debug build.
    build.env("CARGO_PROFILE_DEV_OPT_LEVEL", "1").env("CARGO_PROFILE_DEV_DEBUG", "line-tables-only");
    check(build)?;
    Ok(home().join(host).join("debug"))
}

fn fuzz(binaries: &std::path::Path, target: &str, seconds: u64) -> Outcome {
    let corpus = home().join("corpus").join(target);
    let crashes = home().join("crashes").join(target);
    for folder in [&corpus, &crashes] {
        std::fs::create_dir_all(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    }
    let mut fuzzer = Command::new(binaries.join(target));
    fuzzer.arg(format!("-max_total_time={seconds}"));
    fuzzer.args([
        "-max_len=4096",
        "-timeout=10",
        "-rss_limit_mb=2048",
        "-print_final_stats=1",
        "-close_fd_mask=1",
    ]);
    fuzzer.arg(format!("-artifact_prefix={}/", crashes.display()));
    fuzzer.arg(&corpus).arg(root().join("services/fuzz/corpus").join(target));
    let ended = fuzzer.stdin(Stdio::null()).output().map_err(|error| format!("{target}: {error}"))?;
    let said = String::from_utf8_lossy(&ended.stderr);
    let last = |word: &str| {
        let line = said.lines().rev().find(|line| line.contains(word));
        line.and_then(|line| line.split_whitespace().last()).unwrap_or("?").to_owned()
    };
    if ended.status.success() {
        let covered = said.lines().rev().find_map(|line| {
            let mut words = line.split_whitespace();
            words.find(|word| *word == "cov:").and_then(|_| words.next())
        });
        let executed = last("stat::number_of_executed_units");
        eprintln!("    {target}: {executed} inputs, {} edges", covered.unwrap_or("?"));
        return Ok(());
    }
    let tail: Vec<&str> = said.lines().rev().take(40).collect();
    let tail: Vec<&str> = tail.into_iter().rev().collect();
    Err(format!(
        "{}\n{target}: {}; replay: {} FILE (the input is under {})",
        tail.join("\n"),
        ended.status,
        binaries.join(target).display(),
        crashes.display()
    ))
}
