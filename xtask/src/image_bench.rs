//! `cargo xtask bench image`: `rtcctl image build --push` of a 150 MB program, and `skopeo copy` of the same layers from
//! a layout in which they are not packed, one after the other into the same registry.
//!
//! Both read the same files, pack them with gzip and send them. A round's repositories are new; who goes first changes.
//! Beside them the push of an image that the registry has, and the greatest memory of rtcctl. It fails where one of the
//! bounds below is broken.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::engines::{script, variables};
use crate::run::{Outcome, check, command, root, watched};

const MEGABYTES: usize = 150;
const ROUNDS: usize = 5;
/// Building and pushing takes no longer than copying.
const RATIO_MAX: f64 = 1.0;
/// So much the medians of two equal programs differ here from run to run.
const RATIO_TOLERANCE: f64 = 0.05;
const PEAK_KIB_MAX: u64 = 64 * 1024;
const UNCHANGED_S_MAX: f64 = 0.5;

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
    check(command("cargo", &["build", "--release", "--locked", "-p", "rtcd", "-p", "rtcctl"]))?;
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
    let figures = Figures::of(&measured?);
    figures.print(rounds);
    std::fs::remove_dir_all(&work).map_err(|error| error.to_string())?;
    figures.judge()
}

/// What all rounds came to.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Figures {
    ours_s: f64,
    theirs_s: f64,
    unchanged_s: f64,
    /// The least and the greatest of the rounds.
    ratios: (f64, f64),
    peak_kib: u64,
}

impl Figures {
    fn of(rounds: &[Round]) -> Self {
        let median = |of: fn(&Round) -> Duration| {
            let mut all: Vec<Duration> = rounds.iter().map(of).collect();
            all.sort_unstable();
            all.get(all.len() / 2).copied().unwrap_or_default().as_secs_f64()
        };
        let ratios = rounds.iter().map(|round| round.ours.as_secs_f64() / round.theirs.as_secs_f64());
        let (least, most) =
            ratios.fold((f64::MAX, 0.0_f64), |(least, most), ratio| (least.min(ratio), most.max(ratio)));
        Self {
            ours_s: median(|round| round.ours),
            theirs_s: median(|round| round.theirs),
            unchanged_s: median(|round| round.unchanged),
            ratios: (least, most),
            peak_kib: rounds.iter().map(|round| round.peak_kib).max().unwrap_or_default(),
        }
    }

    /// Of the medians: one round's luck decides nothing.
    fn ratio(&self) -> f64 {
        self.ours_s / self.theirs_s
    }

    fn print(&self, rounds: usize) {
        println!("a program of {MEGABYTES} MB, {rounds} rounds, medians\n");
        println!("rtcctl image build --push   {:6.2} s", self.ours_s);
        println!("skopeo copy of its layers   {:6.2} s", self.theirs_s);
        println!(
            "ratio                       {:6.2}   ({:.2} to {:.2})",
            self.ratio(),
            self.ratios.0,
            self.ratios.1
        );
        println!("an unchanged push           {:6.3} s", self.unchanged_s);
        println!("memory of rtcctl at most    {:6.1} MiB", self.peak_kib as f64 / 1024.0);
    }

    /// Whether every bound is kept.
    fn judge(&self) -> Outcome {
        let mut broken = Vec::new();
        if self.ratio() > RATIO_MAX + RATIO_TOLERANCE {
            broken.push(format!(
                "rtcctl took {:.2} of the time of skopeo, and {RATIO_MAX:.2} with {RATIO_TOLERANCE:.2} for noise is allowed",
                self.ratio()
            ));
        }
        if self.peak_kib >= PEAK_KIB_MAX {
            let (peak, most) = (self.peak_kib as f64 / 1024.0, PEAK_KIB_MAX / 1024);
            broken.push(format!("rtcctl had {peak:.1} MiB of memory, and less than {most} is allowed"));
        }
        if self.unchanged_s >= UNCHANGED_S_MAX {
            broken.push(format!(
                "an unchanged push took {:.3} s, and less than {UNCHANGED_S_MAX} is allowed",
                self.unchanged_s
            ));
        }
        match broken.is_empty() {
            true => Ok(()),
            false => Err(broken.join("; ")),
        }
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn round(ours_ms: u64, theirs_ms: u64, unchanged_ms: u64, peak_kib: u64) -> Round {
        let of = Duration::from_millis;
        Round { ours: of(ours_ms), theirs: of(theirs_ms), unchanged: of(unchanged_ms), peak_kib }
    }

    #[test]
    fn medians_are_judged_and_the_greatest_memory() {
        let good = [
            round(900, 1_000, 80, 30_000),
            round(5_000, 1_000, 900, 31_000),
            round(1_000, 1_000, 90, 29_000),
        ];
        let figures = Figures::of(&good);
        assert_eq!((figures.ours_s, figures.theirs_s, figures.unchanged_s), (1.0, 1.0, 0.09));
        assert_eq!((figures.ratios, figures.peak_kib), ((0.9, 5.0), 31_000));
        assert_eq!(figures.judge(), Ok(()));
    }

    #[test]
    fn each_broken_bound_is_told() {
        let judged = |round: Round| Figures::of(&[round]).judge();
        assert!(judged(round(1_050, 1_000, 499, 65_535)).is_ok());
        assert!(judged(round(1_060, 1_000, 1, 1)).unwrap_err().contains("1.06 of the time"));
        assert!(judged(round(1, 1_000, 1, 65_536)).unwrap_err().contains("64.0 MiB"));
        assert!(judged(round(1, 1_000, 500, 1)).unwrap_err().contains("0.500 s"));
        assert_eq!(judged(round(2_000, 1_000, 600, 70_000)).unwrap_err().matches("; ").count(), 2);
    }
}
