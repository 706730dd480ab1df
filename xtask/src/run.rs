//! Running other programs, and saying how long it took.

use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

pub type Outcome = Result<(), String>;

/// The root of the workspace.
pub fn root() -> PathBuf {
    let here = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    here.parent().map(PathBuf::from).unwrap_or(here)
}

/// A command in the root of the workspace. What cargo has told this program of its own package is kept from it: build scripts
/// look at that, and to them a cargo that is started from here would be another one than a cargo that is started by hand.
pub fn command(program: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(arguments).current_dir(root());
    for (name, _) in std::env::vars_os() {
        if is_of_a_package(&name.to_string_lossy()) {
            command.env_remove(name);
        }
    }
    command
}

fn is_of_a_package(variable: &str) -> bool {
    variable.starts_with("CARGO_PKG_") || variable.starts_with("CARGO_MANIFEST_")
}

/// The program and what it is given, without what it is not told.
fn shown(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}

/// Runs it and fails where it fails.
pub fn check(mut command: Command) -> Outcome {
    let shown = shown(&command);
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("{shown}: {status}")),
        Err(error) => Err(format!("{shown}: {error}")),
    }
}

/// Runs it and gives its standard output.
pub fn output(mut command: Command) -> Result<String, String> {
    let shown = shown(&command);
    let output = command.stderr(Stdio::inherit()).output().map_err(|error| format!("{shown}: {error}"))?;
    if !output.status.success() {
        return Err(format!("{shown}: {}", output.status));
    }
    String::from_utf8(output.stdout).map_err(|error| format!("{shown}: {error}"))
}

/// Runs it, passes its standard output on as it comes, and gives it.
pub fn heard(mut command: Command) -> Result<String, String> {
    let shown = shown(&command);
    let failed = |error: std::io::Error| format!("{shown}: {error}");
    let mut child = command.stdout(Stdio::piped()).spawn().map_err(failed)?;
    let mut heard = String::new();
    if let Some(stdout) = child.stdout.take() {
        for line in BufReader::new(stdout).split(b'\n') {
            let line = line.map_err(failed)?;
            let line = String::from_utf8_lossy(&line);
            println!("{line}");
            heard.push_str(&line);
            heard.push('\n');
        }
    }
    match child.wait().map_err(failed)? {
        status if status.success() => Ok(heard),
        status => Err(format!("{shown}: {status}")),
    }
}

/// Runs cargo, passes its messages on, and fails on a warning in the workspace's own code.
pub fn cargo_without_warnings(arguments: &[&str]) -> Outcome {
    let mut command = command("cargo", arguments);
    command.env("RUSTC_WORKSPACE_WRAPPER", "clippy-driver").stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|error| error.to_string())?;
    let mut warnings = 0;
    if let Some(stderr) = child.stderr.take() {
        for line in BufReader::new(stderr).split(b'\n').map_while(Result::ok) {
            let _ = std::io::stderr().write_all(&line).and_then(|()| std::io::stderr().write_all(b"\n"));
            if line.starts_with(b"warning:") {
                warnings += 1;
            }
        }
    }
    let status = child.wait().map_err(|error| error.to_string())?;
    match (status.success(), warnings) {
        (true, 0) => Ok(()),
        (true, warnings) => Err(format!("{warnings} warnings: none is allowed")),
        (false, _) => Err(format!("cargo {}: {status}", arguments.join(" "))),
    }
}

/// The parts of a run with what each took.
#[derive(Default)]
pub struct Parts {
    took: Vec<(&'static str, Duration)>,
}

impl Parts {
    #[expect(clippy::disallowed_methods, reason = "a task runner measures real time")]
    pub fn part(&mut self, name: &'static str, work: impl FnOnce() -> Outcome) -> Outcome {
        eprintln!("==> {name}");
        let started = std::time::Instant::now();
        let outcome = work();
        self.took.push((name, started.elapsed()));
        outcome.map_err(|reason| format!("{name}: {reason}"))
    }

    /// The parts of something, with a table of what each took, however it ends.
    pub fn told(work: impl FnOnce(&mut Self) -> Outcome) -> Outcome {
        let mut parts = Self::default();
        let outcome = work(&mut parts);
        parts.print();
        outcome
    }

    fn print(&self) {
        eprintln!("\n  seconds  part");
        for (name, took) in &self.took {
            eprintln!("  {:>7.1}  {name}", took.as_secs_f64());
        }
        let total: Duration = self.took.iter().map(|(_, took)| *took).sum();
        eprintln!("  {:>7.1}  in all", total.as_secs_f64());
    }
}

/// Runs it, and reads now and then how much memory it has had at most: it says so itself until it ends.
pub fn watched(mut command: Command) -> Result<u64, String> {
    let mut child = command.spawn().map_err(|error| error.to_string())?;
    let status = format!("/proc/{}/status", child.id());
    let mut peak = 0;
    loop {
        if let Some(exit) = child.try_wait().map_err(|error| error.to_string())? {
            return if exit.success() { Ok(peak) } else { Err(format!("{}: {exit}", shown(&command))) };
        }
        let text = std::fs::read_to_string(&status).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let now = line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok());
        peak = now.unwrap_or(0).max(peak);
        std::thread::park_timeout(Duration::from_millis(5));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_that_fails_is_told_by_its_own_words() {
        let told = check(command("false", &["in", "vain"])).unwrap_err();
        assert!(told.starts_with("false in vain: "), "{told}");
    }

    #[test]
    fn what_cargo_said_of_this_package_goes_no_further() {
        let said = output(command("env", &[])).unwrap();
        assert!(!said.lines().any(is_of_a_package), "{said}");
        assert!(said.lines().any(|line| line.starts_with("PATH=")), "{said}");
        assert!(
            is_of_a_package("CARGO_MANIFEST_DIR=/somewhere") && is_of_a_package("CARGO_PKG_VERSION_PRE=")
        );
        assert!(!is_of_a_package("CARGO_TARGET_DIR=/somewhere"));
    }
}
