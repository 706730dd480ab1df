//! `cargo xtask bench infra`: what `rtcctl infra apply` costs over the bare commands that it runs, one after the other.
//!
//! Both plan into a file and apply that file, in a folder of their own with an empty state. The configuration has many
//! resources and a slow one, so that there are many lines to read and time to wait.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::run::{Outcome, check, command, root};

const RESOURCES: usize = 300;
const SLOW_S: usize = 60;
const ROUNDS: usize = 3;

#[derive(Clone, Copy, PartialEq)]
enum How {
    Bare,
    Rtcctl,
}

pub fn run(words: &[&str]) -> Outcome {
    let rounds = match words {
        [] => ROUNDS,
        [rounds] => rounds.parse().map_err(|_| format!("{rounds:?} is no number of rounds"))?,
        _ => return Err("cargo xtask bench infra [ROUNDS]".to_owned()),
    };
    check(command("cargo", &["build", "--release", "--locked", "-p", "rtcctl"]))?;
    let work = root().join("target/infra-bench");
    let _ = std::fs::remove_dir_all(&work);
    let (mut bare, mut ours, mut memory) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..rounds {
        // Who goes first changes: the second one finds files in the page cache.
        let order = if round % 2 == 0 { [How::Bare, How::Rtcctl] } else { [How::Rtcctl, How::Bare] };
        for how in order {
            let folder = work.join(format!("{round}-{}", if how == How::Bare { "bare" } else { "rtcctl" }));
            prepare(&folder)?;
            let (took, peak_kib) = measure(how, &folder)?;
            eprintln!("{:>7.2} s  {}", took.as_secs_f64(), folder.display());
            match how {
                How::Bare => bare.push(took),
                How::Rtcctl => {
                    ours.push(took);
                    memory.push(peak_kib);
                }
            }
        }
    }
    bare.sort_unstable();
    ours.sort_unstable();
    memory.sort_unstable();
    let (bare, ours) = (bare[rounds / 2].as_secs_f64(), ours[rounds / 2].as_secs_f64());
    println!("{RESOURCES} resources and one of {SLOW_S} s, medians of {rounds} rounds, alternating\n");
    println!("terraform plan, apply  {bare:.2} s");
    println!("rtcctl infra apply     {ours:.2} s");
    println!("overhead               {:+.2} s, {:+.1} %", ours - bare, (ours / bare - 1.0) * 100.0);
    println!("memory of rtcctl       {:.1} MiB", memory[rounds / 2] as f64 / 1024.0);
    std::fs::remove_dir_all(&work).map_err(|error| error.to_string())
}

fn prepare(folder: &Path) -> Outcome {
    let configuration = format!(
        "resource \"terraform_data\" \"many\" {{\n  count = {RESOURCES}\n  input = \"value ${{count.index}}\"\n}}\n\
         resource \"terraform_data\" \"slow\" {{\n  provisioner \"local-exec\" {{\n    command = \"sleep {SLOW_S}\"\n  }}\n}}\n"
    );
    let settings =
        "[environments.dev]\nkind = \"remote\"\nterraform = \"dev\"\n[defaults]\njournal = \"runs\"\n";
    let write = |name: &str, text: &str| std::fs::write(folder.join(name), text);
    std::fs::create_dir_all(folder.join("dev"))
        .and_then(|()| write("dev/main.tf", &configuration))
        .and_then(|()| write("rtc.toml", settings))
        .map_err(|error| error.to_string())?;
    check(quiet(terraform(folder, &["init"])))
}

fn terraform(folder: &Path, arguments: &[&str]) -> Command {
    let mut terraform = Command::new("terraform");
    terraform.args(arguments).current_dir(folder.join("dev"));
    terraform
}

fn quiet(mut command: Command) -> Command {
    command.stdout(Stdio::null()).stderr(Stdio::null()).stdin(Stdio::null());
    command
}

#[expect(clippy::disallowed_methods, reason = "a benchmark measures real time")]
fn measure(how: How, folder: &Path) -> Result<(Duration, u64), String> {
    let started = std::time::Instant::now();
    let peak_kib = match how {
        How::Bare => {
            check(quiet(terraform(folder, &["plan", "-input=false", "-out=plan"])))?;
            check(quiet(terraform(folder, &["apply", "-input=false", "plan"])))?;
            0
        }
        How::Rtcctl => {
            let mut rtcctl = Command::new(binary());
            rtcctl.args(["--env", "dev", "infra", "apply", "--yes"]).current_dir(folder);
            watched(quiet(rtcctl))?
        }
    };
    Ok((started.elapsed(), peak_kib))
}

fn binary() -> PathBuf {
    root().join("target/release/rtcctl")
}

/// Runs it, and reads now and then how much memory it has had at most: it says so itself until it ends.
fn watched(mut command: Command) -> Result<u64, String> {
    let mut child = command.spawn().map_err(|error| error.to_string())?;
    let status = format!("/proc/{}/status", child.id());
    let mut peak = 0;
    loop {
        if let Some(exit) = child.try_wait().map_err(|error| error.to_string())? {
            return if exit.success() { Ok(peak) } else { Err(format!("{command:?}: {exit}")) };
        }
        let text = std::fs::read_to_string(&status).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let now = line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok());
        peak = now.unwrap_or(0).max(peak);
        std::thread::park_timeout(Duration::from_millis(5));
    }
}
