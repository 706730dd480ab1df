//! A folder with files of AWS that lead somewhere, and the tool in it.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;
use tempfile::TempDir;

pub const REGION: &str = "ap-northeast-2";

pub struct Ground {
    folder: TempDir,
}

/// What `cargo xtask test cluster` says.
pub fn told(name: &str) -> String {
    variable(name)
        .unwrap_or_else(|| panic!("{name} is not set: cargo xtask test cluster starts what these tests need"))
}

fn variable(name: &str) -> Option<String> {
    #[expect(clippy::disallowed_methods, reason = "a test is told where its engines are")]
    std::env::var(name).ok()
}

/// The program on the path; a test without it fails and says so.
pub fn program(name: &str) -> PathBuf {
    let path = variable("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|folder| folder.join(name)).find(|file| file.is_file());
    found.unwrap_or_else(|| panic!("{name} is not on the path, and this test is about nothing without it"))
}

impl Ground {
    /// AWS is at an address.
    pub fn on(aws: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config = format!(
            "[default]\nregion = {REGION}\naws_access_key_id = AKIDEXAMPLE\naws_secret_access_key = not-a-secret\n\
             endpoint_url = {aws}\nmax_attempts = 1\n"
        );
        std::fs::write(folder.path().join("aws"), config).unwrap();
        Self { folder }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A program that knows nothing of the machine but this folder and where rtcctl is.
    pub fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        let own = Path::new(env!("CARGO_BIN_EXE_rtcctl")).parent().unwrap();
        let path = format!("{}:{}", own.display(), variable("PATH").unwrap_or_default());
        command
            .current_dir(self.folder.path())
            .env_clear()
            .env("PATH", path)
            .env("HOME", self.folder.path())
            .env("AWS_CONFIG_FILE", self.path("aws"))
            .env("AWS_SHARED_CREDENTIALS_FILE", self.path("credentials"))
            .env("AWS_EC2_METADATA_DISABLED", "true")
            .env("RTCCTL_JOURNAL", self.path("journal"));
        command
    }

    pub fn rtcctl(&self, words: &[&str]) -> Output {
        self.command(Path::new(env!("CARGO_BIN_EXE_rtcctl"))).args(words).output().unwrap()
    }

    /// Runs rtcctl to a good end, and gives its document.
    pub fn document(&self, words: &[&str]) -> Value {
        let output = self.rtcctl(&[words, &["-o", "json"]].concat());
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// The error of a run that fails.
    pub fn error(&self, words: &[&str]) -> (Option<i32>, Value) {
        let output = self.rtcctl(&[words, &["-o", "json"]].concat());
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        let last = text.lines().last().unwrap_or_default();
        (output.status.code(), serde_json::from_str(last).unwrap_or_else(|error| panic!("{error}: {text}")))
    }
}

/// Runs a program to a good end; what it printed.
#[track_caller]
pub fn printed(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let talk = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{talk}{}", String::from_utf8_lossy(&output.stdout));
    String::from_utf8(output.stdout).unwrap()
}
