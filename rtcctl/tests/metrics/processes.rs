//! Programs that a test starts, and that end with it.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tokio::time::{Instant, sleep};

/// A process that is killed when the test lets go of it.
pub struct Running(Child);

impl Running {
    /// Starts a program; one that is not installed fails the test by its name.
    pub fn start(program: &str, args: &[&str]) -> Self {
        let child = Command::new(program)
            .args(args)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        Self(
            child.unwrap_or_else(|error| {
                panic!("{program} cannot be started, it has to be installed: {error}")
            }),
        )
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Runs a program to its end and gives what it wrote.
pub fn output(program: &str, args: &[&str]) -> String {
    let output = Command::new(program).args(args).stdin(Stdio::null()).output();
    let output =
        output.unwrap_or_else(|error| panic!("{program} cannot be started, it has to be installed: {error}"));
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let complained = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {args:?}: {said}{complained}");
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
