//! A folder with `rtc.toml` and a program in it, and the tools that read what is made of them.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;
use tempfile::TempDir;

/// What `cargo xtask test image` says.
pub fn told(name: &str) -> String {
    #[expect(clippy::disallowed_methods, reason = "a test is told where its engines are")]
    let value = std::env::var(name);
    value.unwrap_or_else(|_| panic!("{name} is not set: cargo xtask test image starts what these tests need"))
}

pub struct Ground {
    folder: TempDir,
    program: PathBuf,
}

impl Ground {
    /// A folder whose image is made of the real rtcd.
    pub fn with_rtcd() -> Self {
        Self::with(Path::new(&told("RTC_TEST_PROGRAM")))
    }

    /// A folder whose image is made of a copy of a program.
    pub fn with(program: &Path) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let own = folder.path().join("rtcd");
        std::fs::copy(program, &own).unwrap();
        let description = "[environments.local]\nimage_prefix = \"rtc\"\n\n[images.rtcd]\nbinaries = [\"rtcd\"]\n\
            command = [\"serve\", \"--data\", \"/var/lib/rtc\"]\nports = [8080, 9080]\nfolders = [\"/var/lib/rtc\"]\n\
            workdir = \"/var/lib/rtc\"\ncompression = \"zstd\"\n";
        std::fs::write(folder.path().join("rtc.toml"), description).unwrap();
        // What the bill of materials is made of.
        std::fs::write(folder.path().join("Cargo.lock"), include_str!("../../../Cargo.lock")).unwrap();
        Self { folder, program: own }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn program(&self) -> &Path {
        &self.program
    }

    /// The tool, to be run in this folder.
    pub fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_rtcctl"));
        self.prepare(&mut command, words);
        command
    }

    /// The same under a umask.
    pub fn masked(&self, mask: &str, words: &[&str]) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", &format!("umask {mask}; exec \"$@\""), "sh", env!("CARGO_BIN_EXE_rtcctl")]);
        self.prepare(&mut command, words);
        command
    }

    /// The same behind other programs.
    pub fn wrapped(&self, before: &[&str], words: &[&str]) -> Command {
        let mut command = Command::new(before[0]);
        command.args(&before[1..]).arg(env!("CARGO_BIN_EXE_rtcctl"));
        self.prepare(&mut command, words);
        command
    }

    fn prepare(&self, command: &mut Command, words: &[&str]) {
        command
            .current_dir(self.folder.path())
            .args(words)
            .args(["--no-input", "-o", "json", "--env", "local"])
            .env("RTCCTL_REGISTRY", told("RTC_TEST_REGISTRY"))
            .env("RTCCTL_JOURNAL", self.path("journal"))
            .env_remove("SOURCE_DATE_EPOCH");
    }

    /// Runs it to a good end, and gives its data.
    pub fn run(&self, words: &[&str]) -> Value {
        data(self.command(words))
    }

    /// Builds under a tag; the answer's data.
    pub fn build(&self, tag: &str) -> Value {
        self.run(&["image", "build", "--tag", tag])
    }
}

#[track_caller]
pub fn data(mut command: Command) -> Value {
    let output = command.output().unwrap();
    let document: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| {
        panic!(
            "{error}: {}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        )
    });
    assert!(output.status.success(), "{document}");
    document["data"].clone()
}

/// A tool that reads images, to a good end.
#[track_caller]
pub fn tool(program: &str, words: &[&str]) -> String {
    let Output { status, stdout, stderr } =
        Command::new(program).args(words).output().unwrap_or_else(|error| {
            panic!("{program}: {error}; cargo xtask test image installs it");
        });
    assert!(status.success(), "{program} {words:?}: {}", String::from_utf8_lossy(&stderr));
    String::from_utf8(stdout).unwrap()
}

/// The name of a repository that no other test and no earlier run has.
pub fn unique() -> String {
    let folder = tempfile::tempdir().unwrap();
    let name = folder.path().file_name().unwrap().to_string_lossy().to_lowercase();
    name.trim_start_matches('.').to_owned()
}
