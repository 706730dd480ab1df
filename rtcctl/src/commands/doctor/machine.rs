//! What the machine must have: tools, disk, limits, a clock.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use kernel::Timestamp;
use tokio::process::Command;
use tokio::time::{Instant, timeout};

use super::{Check, Scene, Verdict};
use crate::human;

const TOOL_TIMEOUT: Duration = Duration::from_secs(10);
/// What a build of the whole workspace takes, and what the running platform needs at least.
const BUILD_BYTES: u64 = 4_000_000_000;
const RUN_BYTES: u64 = 500_000_000;
const FLUSHES: usize = 20;
const SLOW_FLUSH: Duration = Duration::from_millis(20);
const ENOUGH_FILES: u64 = 1024;
/// Before this program was written: 2026-01-01.
const EARLIEST: Timestamp = Timestamp::from_millis(1_767_225_600_000);
const CLOCK_DIFFERENCE: Duration = Duration::from_secs(5);

/// The first line that a tool says of itself. `None` where it cannot be run.
async fn version_of(program: &str) -> Option<String> {
    let output = Command::new(program)
        .arg("--version")
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = timeout(TOOL_TIMEOUT, output).await.ok()?.ok()?;
    if !output.status.success() {
        return None;
    }
    let text = String::from_utf8_lossy(&output.stdout);
    Some(text.lines().next().unwrap_or_default().trim().to_owned())
}

/// The three numbers in `rustc 1.95.0 (…)`.
fn numbers(version: &str) -> Option<[u64; 3]> {
    let word = version.split_whitespace().find(|word| word.starts_with(|c: char| c.is_ascii_digit()))?;
    let mut parts = word.split(['.', '-']).map(|part| part.parse().unwrap_or(0));
    Some([parts.next()?, parts.next().unwrap_or(0), parts.next().unwrap_or(0)])
}

/// The version that the workspace asks for, as `rust-version` in its manifest.
fn wanted_rust(root: &Path) -> Option<String> {
    let manifest: toml::Table = fs::read_to_string(root.join("Cargo.toml")).ok()?.parse().ok()?;
    Some(manifest.get("workspace")?.get("package")?.get("rust-version")?.as_str()?.to_owned())
}

pub(super) async fn rust(scene: &Scene) -> Check {
    let check = |verdict, detail: String| Check::new(&codes::DOC001, "Rust toolchain", verdict, detail);
    let Some(root) = &scene.root else {
        return check(Verdict::Skipped, "nothing is built here".to_owned());
    };
    let (rustc, cargo) = tokio::join!(version_of("rustc"), version_of("cargo"));
    match (rustc, cargo) {
        (Some(rustc), Some(_)) => {
            let wanted = wanted_rust(root);
            let is_old = wanted
                .as_deref()
                .and_then(numbers)
                .is_some_and(|wanted| numbers(&rustc).is_some_and(|found| found < wanted));
            match wanted {
                Some(wanted) if is_old => check(Verdict::Failed, format!("{rustc}, and {wanted} is needed"))
                    .with_hint("rustup update"),
                _ => check(Verdict::Ok, rustc),
            }
        }
        (None, _) => check(Verdict::Failed, "rustc cannot be run".to_owned()),
        (_, None) => check(Verdict::Failed, "cargo cannot be run".to_owned()),
    }
}

pub(super) async fn c_compiler(scene: &Scene) -> Check {
    let check = |verdict, detail: String| Check::new(&codes::DOC002, "C compiler", verdict, detail);
    if scene.root.is_none() {
        return check(Verdict::Skipped, "nothing is built here".to_owned());
    }
    match version_of("cc").await {
        Some(version) => check(Verdict::Ok, version),
        None => check(Verdict::Failed, "cc cannot be run".to_owned()),
    }
}

/// The data directory, or the nearest folder above it that exists: that is where it would be made.
fn existing(path: &Path) -> PathBuf {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    absolute.ancestors().find(|folder| folder.exists()).unwrap_or(Path::new("/")).to_owned()
}

/// Everything that needs the disk: space, permission, speed of flushing, and the clock that files are stamped with.
pub(super) async fn disk(scene: Scene, now: Timestamp) -> Vec<Check> {
    let path = scene.data.path().display().to_string();
    let checks = tokio::task::spawn_blocking(move || {
        let folder = existing(scene.data.path());
        let mut checks = vec![space(&folder, scene.root.is_some())];
        checks.extend(writing(&folder, &path, now));
        checks
    });
    checks.await.unwrap_or_default()
}

fn space(folder: &Path, builds: bool) -> Check {
    let check = |verdict, detail: String| Check::new(&codes::DOC003, "disk space", verdict, detail);
    match rustix::fs::statvfs(folder) {
        Ok(stat) => {
            let free = stat.f_bavail.saturating_mul(stat.f_frsize);
            let detail = format!("{} free at {}", human::bytes(free), folder.display());
            check(judge_space(free, builds), detail)
        }
        Err(error) => check(Verdict::Warning, format!("unknown at {}: {error}", folder.display())),
    }
}

fn judge_space(free: u64, builds: bool) -> Verdict {
    match free {
        _ if free < RUN_BYTES => Verdict::Failed,
        _ if builds && free < BUILD_BYTES => Verdict::Warning,
        _ => Verdict::Ok,
    }
}

fn writing(folder: &Path, path: &str, now: Timestamp) -> Vec<Check> {
    let data = |verdict, detail: String| Check::new(&codes::DOC004, "data directory", verdict, detail);
    if !folder.is_dir() {
        return vec![data(Verdict::Failed, format!("{} is not a folder", folder.display()))];
    }
    let probe = folder.join(format!(".rtcctl-doctor-{}", std::process::id()));
    let outcome = probe_disk(&probe);
    let _ = fs::remove_file(&probe);
    match outcome {
        Ok((median, stamped_at)) => vec![
            data(Verdict::Ok, format!("{path} can be written")),
            Check::new(
                &codes::DOC007,
                "flushing to disk",
                if median > SLOW_FLUSH { Verdict::Warning } else { Verdict::Ok },
                format!("{:.1} ms (median of {FLUSHES})", median.as_secs_f64() * 1000.0),
            ),
            clock(now, stamped_at),
        ],
        Err(error) => vec![data(Verdict::Failed, format!("{} cannot be written: {error}", folder.display()))],
    }
}

/// Writes and flushes a page some times: the median time, and how the file system stamped the file.
fn probe_disk(probe: &Path) -> std::io::Result<(Duration, Option<Timestamp>)> {
    let mut file = OpenOptions::new().create_new(true).write(true).open(probe)?;
    let mut times = Vec::with_capacity(FLUSHES);
    for _ in 0..FLUSHES {
        let started = Instant::now();
        file.write_all(&[0; 4096])?;
        file.sync_data()?;
        times.push(started.elapsed());
    }
    times.sort();
    let stamped = file.metadata()?.modified().ok();
    let since_epoch = stamped.and_then(|at| at.duration_since(std::time::UNIX_EPOCH).ok());
    let stamped_at = since_epoch.map(|time| Timestamp::EPOCH.plus(time));
    Ok((times[FLUSHES / 2], stamped_at))
}

fn clock(now: Timestamp, stamped_at: Option<Timestamp>) -> Check {
    let check = |verdict, detail: String| Check::new(&codes::DOC009, "clock", verdict, detail);
    if now < EARLIEST {
        return check(Verdict::Failed, format!("{now} is before this program was made"));
    }
    let apart = stamped_at.map(|stamped| now.since(stamped).max(stamped.since(now)));
    match apart {
        Some(apart) if apart > CLOCK_DIFFERENCE => {
            check(Verdict::Warning, format!("{now}, {} from the file system's clock", human::duration(apart)))
        }
        _ => check(Verdict::Ok, now.to_string()),
    }
}

pub(super) fn open_files() -> Check {
    let check = |verdict, detail: String| Check::new(&codes::DOC008, "open files", verdict, detail);
    match rustix::process::getrlimit(rustix::process::Resource::Nofile).current {
        Some(limit) if limit < ENOUGH_FILES => check(Verdict::Warning, format!("a process may open {limit}")),
        Some(limit) => check(Verdict::Ok, format!("a process may open {limit}")),
        None => check(Verdict::Ok, "unlimited".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_as_numbers() {
        assert_eq!(numbers("rustc 1.95.0 (abc 2026-01-01)"), Some([1, 95, 0]));
        assert_eq!(numbers("1.100.1-nightly"), Some([1, 100, 1]));
        assert!(numbers("rustc 1.9.0") < numbers("1.95"));
        assert_eq!(numbers("no version"), None);
    }

    #[test]
    fn space_is_judged_by_what_is_to_be_done_with_it() {
        assert_eq!(judge_space(100_000_000, false), Verdict::Failed);
        assert_eq!(judge_space(1_000_000_000, true), Verdict::Warning);
        assert_eq!(judge_space(1_000_000_000, false), Verdict::Ok);
        assert_eq!(judge_space(9_000_000_000, true), Verdict::Ok);
    }

    #[test]
    fn looking_at_the_disk_leaves_nothing_behind() {
        let folder = tempfile::tempdir().unwrap();
        let now: Timestamp = "2026-06-01T00:00:00Z".parse().unwrap();
        let checks = writing(folder.path(), "data", now);
        assert_eq!(checks[0].verdict, Verdict::Ok);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_file_where_the_folder_should_be_fails() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let checks = writing(file.path(), "data", EARLIEST);
        assert_eq!((checks.len(), checks[0].verdict, checks[0].code.id), (1, Verdict::Failed, "DOC004"));
    }

    #[test]
    fn a_clock_from_the_past_fails_and_one_apart_from_the_disk_warns() {
        let now: Timestamp = "2026-06-01T00:00:00Z".parse().unwrap();
        assert_eq!(clock(Timestamp::EPOCH, None).verdict, Verdict::Failed);
        assert_eq!(clock(now, Some(now.plus(Duration::from_secs(60)))).verdict, Verdict::Warning);
        assert_eq!(clock(now, Some(now.minus(Duration::from_secs(1)))).verdict, Verdict::Ok);
    }

    #[tokio::test]
    async fn a_tool_that_is_not_there_has_no_version() {
        assert_eq!(version_of("rtc-no-such-tool").await, None);
    }
}
