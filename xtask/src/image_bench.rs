//! `cargo xtask bench image`: `rtcctl image build --push` of a 150 MB program, and `skopeo copy` of the same layers from
//! a layout in which they are not packed, one after the other into the same registry.
//!
//! Both read the same files, pack them with gzip and send them. A round's repositories are new; who goes first changes.
//! Beside them the push of an image that the registry has, and the greatest memory of rtcctl.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::engines::script;
use crate::image::variables;
use crate::run::{Outcome, check, command, root, watched};

const MEGABYTES: usize = 150;
const ROUNDS: usize = 5;

#[derive(Default)]
struct Round {
    ours: Duration,
    theirs: Duration,
    unchanged: Duration,
    peak_kib: u64,
}

pub fn run(words: &[&str]) -> Outcome {
    let rounds = match words {
        [] => ROUNDS,
        [rounds] => rounds.parse().map_err(|_| format!("{rounds:?} is no number of rounds"))?,
        _ => return Err("cargo xtask bench image [ROUNDS]".to_owned()),
    };
    check(command("cargo", &["build", "--release", "--locked", "-p", "rtcctl"]))?;
    check(script(&["install", "registry"]))?;
    let work = root().join("target/image-bench");
    let _ = std::fs::remove_dir_all(&work);
    std::fs::create_dir_all(&work).map_err(|error| error.to_string())?;
    let home = work.join("engines");
    let at_home = |words: &[&str]| {
        let mut script = script(&["--home"]);
        script.arg(&home).args(words);
        script
    };
    check(at_home(&["start", "registry"]))?;
    let measured = measure_all(&work, &home, rounds);
    check(at_home(&["reset"]))?;
    let measured = measured?;
    let median = |of: fn(&Round) -> Duration| {
        let mut all: Vec<Duration> = measured.iter().map(of).collect();
        all.sort_unstable();
        all[all.len() / 2].as_secs_f64()
    };
    let mut ratios: Vec<f64> =
        measured.iter().map(|round| round.ours.as_secs_f64() / round.theirs.as_secs_f64()).collect();
    ratios.sort_unstable_by(f64::total_cmp);
    println!("a program of {MEGABYTES} MB, {rounds} rounds, medians\n");
    println!("rtcctl image build --push   {:6.2} s", median(|round| round.ours));
    println!("skopeo copy of its layers   {:6.2} s", median(|round| round.theirs));
    println!(
        "ratio                       {:6.2}   ({:.2} to {:.2})",
        ratios[rounds / 2],
        ratios[0],
        ratios[rounds - 1]
    );
    println!("an unchanged push           {:6.3} s", median(|round| round.unchanged));
    let peak = measured.iter().map(|round| round.peak_kib).max().unwrap_or_default();
    println!("memory of rtcctl at most    {:6.1} MiB", peak as f64 / 1024.0);
    std::fs::remove_dir_all(&work).map_err(|error| error.to_string())
}

fn measure_all(work: &Path, home: &Path, rounds: usize) -> Result<Vec<Round>, String> {
    let variables = variables(home)?;
    let registry = variables.iter().find(|(name, _)| name == "RTC_TEST_REGISTRY");
    let (_, registry) = registry.ok_or("scripts/engines did not say where the registry is")?;
    let mut measured = Vec::new();
    for round in 0..rounds {
        let mut took = Round::default();
        let folder = work.join(format!("round-{round}"));
        // Each round has a program of its own: skopeo remembers which layers it has packed and sent.
        prepare(&folder, round)?;
        let description = format!("round-{round}");
        let plain = unpacked(&folder)?;
        for ours in if round % 2 == 0 { [true, false] } else { [false, true] } {
            if ours {
                let words = ["build", "--tag", "v1", "--push"];
                (took.ours, took.peak_kib) = timed(rtcctl(&folder, registry, &description, &words))?;
            } else {
                let to = format!("docker://{registry}/skopeo/{description}:v1");
                let from = format!("oci:{}:v1", plain.display());
                took.theirs = timed(skopeo(&[
                    "--dest-tls-verify=false",
                    "--dest-compress-format",
                    "gzip",
                    &from,
                    &to,
                ]))?
                .0;
            }
        }
        took.unchanged = timed(rtcctl(&folder, registry, &description, &["push", "rtcd:v1"]))?.0;
        eprintln!(
            "rtcctl {:6.2} s, skopeo {:6.2} s, unchanged {:.3} s, {:.1} MiB",
            took.ours.as_secs_f64(),
            took.theirs.as_secs_f64(),
            took.unchanged.as_secs_f64(),
            took.peak_kib as f64 / 1024.0
        );
        measured.push(took);
        std::fs::remove_dir_all(&folder).map_err(|error| error.to_string())?;
    }
    Ok(measured)
}

/// A program of Linux that is as long as it should be: rtcctl itself, after its end as much of it again as is wanted, and
/// the number of the round.
fn make_program(path: &Path, round: usize) -> Outcome {
    let own = std::fs::read(binary()).map_err(|error| error.to_string())?;
    let mut file = std::fs::File::create(path).map_err(|error| error.to_string())?;
    let wanted = MEGABYTES * 1_000_000;
    let mut written = 0;
    while written < wanted {
        let piece = &own[..own.len().min(wanted - written)];
        file.write_all(piece).map_err(|error| error.to_string())?;
        written += piece.len();
    }
    write!(file, "{round}").map_err(|error| error.to_string())
}

fn prepare(folder: &Path, round: usize) -> Outcome {
    let text = "[defaults]\njournal = \"runs\"\n\n[images.rtcd]\nbinaries = [\"rtcd\"]\nzones = [\"UTC\"]\n";
    std::fs::create_dir_all(folder)
        .and_then(|()| std::fs::write(folder.join("rtc.toml"), text))
        .map_err(|error| error.to_string())?;
    make_program(&folder.join("rtcd"), round)
}

/// The same layers in a layout where they are not packed, which is what skopeo begins with.
fn unpacked(folder: &Path) -> Result<PathBuf, String> {
    let plain = folder.join("plain");
    let built = folder.join("built");
    let words = ["build", "--tag", "v1", "--layout", "built"];
    check(rtcctl(folder, "127.0.0.1:1", "unused", &words))?;
    let between = format!("dir:{}", folder.join("between").display());
    check(skopeo(&["--dest-decompress", &format!("oci:{}:v1", built.display()), &between]))?;
    let to = format!("oci:{}:v1", plain.display());
    check(skopeo(&["--dest-oci-accept-uncompressed-layers", &between, &to]))?;
    Ok(plain)
}

fn skopeo(words: &[&str]) -> Command {
    let mut skopeo = Command::new("skopeo");
    skopeo.args(["copy", "--quiet"]).args(words).stdout(Stdio::null());
    skopeo
}

/// How long it took, and the greatest memory that it had.
#[expect(clippy::disallowed_methods, reason = "a benchmark measures real time")]
fn timed(command: Command) -> Result<(Duration, u64), String> {
    let started = std::time::Instant::now();
    let peak_kib = watched(command)?;
    Ok((started.elapsed(), peak_kib))
}

fn rtcctl(folder: &Path, registry: &str, repository: &str, words: &[&str]) -> Command {
    let mut rtcctl = Command::new(binary());
    rtcctl
        .current_dir(folder)
        .arg("image")
        .args(words)
        .args(["--no-input", "-q", "-o", "json"])
        .env("RTCCTL_REGISTRY", registry)
        .env("RTCCTL_IMAGE_PREFIX", repository)
        .stdout(Stdio::null());
    rtcctl
}

fn binary() -> PathBuf {
    root().join("target/release/rtcctl")
}
