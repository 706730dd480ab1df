//! Programs that a test starts, and that end with it.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tokio::time::{Instant, sleep};

/// A program of this machine, or one that `scripts/engines install prometheus` has unpacked.
fn program(name: &str) -> PathBuf {
    let unpacked =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/engines/prometheus/usr/bin").join(name);
    if unpacked.is_file() { unpacked } else { PathBuf::from(name) }
}

/// What a test says about a program that is not there.
fn missing(name: &str, error: &std::io::Error) -> ! {
    panic!("{name} cannot be started ({error}): scripts/engines install prometheus tmux")
}

/// A process that is killed when the test lets go of it.
pub struct Running(Child);

impl Running {
    /// Starts a program; one that is not installed fails the test by its name.
    pub fn start(name: &str, args: &[&str]) -> Self {
        let mut command = Command::new(program(name));
        command.args(args).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        Self(command.spawn().unwrap_or_else(|error| missing(name, &error)))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Runs a program to its end and gives what it wrote.
pub fn output(name: &str, args: &[&str]) -> String {
    let output = Command::new(program(name)).args(args).stdin(Stdio::null()).output();
    let output = output.unwrap_or_else(|error| missing(name, &error));
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let complained = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{name} {args:?}: {said}{complained}");
    said
}

/// The tool itself.
pub fn rtcctl() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_rtcctl"))
}

/// Waits for what another process does; a minute is more than any of them takes.
pub async fn until<T>(what: &str, mut look: impl AsyncFnMut() -> Result<T, String>) -> T {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        match look().await {
            Ok(found) => return found,
            Err(seen) if Instant::now() > deadline => panic!("{what} did not come; last seen:\n{seen}"),
            Err(_) => sleep(Duration::from_millis(30)).await,
        }
    }
}
