//! A folder with Terraform in it to work on: the repository's own, or as little as a test needs.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

/// What a command came to.
#[derive(Debug)]
pub struct Came {
    pub exit: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Came {
    fn of(output: &Output) -> Self {
        Self {
            exit: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// What `-o json` answered.
    pub fn data(&self) -> Value {
        let document: Value =
            serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:?}"));
        document["data"].clone()
    }

    /// The error object of `-o json`.
    pub fn error(&self) -> Value {
        let last = self.stderr.lines().last().unwrap_or_default();
        serde_json::from_str(last).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    #[track_caller]
    pub fn ended_with(self, exit: i32) -> Self {
        // What an environment says while it is applied fills pages.
        let lines: Vec<&str> = self.stderr.lines().collect();
        let last = lines[lines.len().saturating_sub(30)..].join("\n");
        assert_eq!(self.exit, exit, "{}\n{last}", self.stdout);
        self
    }
}

/// The bucket of the states.
pub const STATE: &str = "rtc-state";
/// What a backend has to be told about an AWS that is on this machine.
pub const BACKEND: &str = "    region = \"ap-northeast-2\"\n    use_path_style = true\n    skip_credentials_validation = true\n    \
                           skip_requesting_account_id = true\n    skip_metadata_api_check = true\n";

/// A folder with `rtc.toml` and Terraform below it.
pub struct Ground {
    folder: TempDir,
    variables: Vec<(String, String)>,
}

#[track_caller]
fn named(variable: &str) -> String {
    #[expect(clippy::disallowed_methods, reason = "the test program is told where the engines are")]
    let value = std::env::var(variable);
    value.unwrap_or_else(|_| panic!("{variable} is not set: run `cargo xtask test infra`"))
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

impl Ground {
    /// With nothing but `rtc.toml` and one environment, `dev`, whose Terraform is this text. No provider is needed.
    pub fn plain(configuration: &str) -> Self {
        let ground = Self { folder: TempDir::new().unwrap(), variables: Vec::new() };
        std::fs::create_dir(ground.path("dev")).unwrap();
        ground.write("dev/main.tf", configuration);
        ground.write(
            "rtc.toml",
            "[environments.dev]\nkind = \"remote\"\nterraform = \"dev\"\n[defaults]\njournal = \"runs\"\n",
        );
        ground
    }

    /// The repository's `terraform/`, changed for moto as `terraform/tests/moto` says, on an AWS with nothing in it.
    pub fn of_the_repository() -> Self {
        let ground = Self { folder: TempDir::new().unwrap(), variables: Vec::new() };
        copy(&root().join("terraform"), &ground.path("terraform"));
        copy(&root().join("terraform/tests/moto/overrides"), &ground.path("terraform"));
        ground.on_aws()
    }

    /// One environment, `dev`, whose state is in a bucket of an AWS with nothing else in it.
    pub fn in_a_bucket(configuration: &str) -> Self {
        let backend = format!(
            "terraform {{\n  backend \"s3\" {{\n    bucket = \"{STATE}\"\n    key = \"dev\"\n    use_lockfile = true\n\
             {BACKEND}  }}\n}}\n"
        );
        Self::plain(&format!("{backend}{configuration}")).on_aws()
    }

    /// Puts the overrides in that take the protection off.
    pub fn unprotect(&self) {
        copy(&root().join("terraform/tests/moto/unprotected"), &self.path("terraform"));
    }

    /// Takes the overrides for moto out again.
    pub fn without_overrides(self) -> Self {
        take_out(&root().join("terraform/tests/moto/overrides"), &self.path("terraform"));
        self
    }

    fn on_aws(mut self) -> Self {
        let (aws, mirror) = (named("RTC_TEST_AWS"), named("RTC_TEST_TERRAFORM_MIRROR"));
        self.write(
            "terraformrc",
            &format!("provider_installation {{\n  filesystem_mirror {{\n    path = \"{mirror}\"\n  }}\n}}\n"),
        );
        let rc = self.path("terraformrc").display().to_string();
        self.variables = [
            ("TF_CLI_CONFIG_FILE", rc.as_str()),
            ("AWS_ENDPOINT_URL", &aws),
            ("AWS_ACCESS_KEY_ID", "rtc"),
            ("AWS_SECRET_ACCESS_KEY", "rtc"),
            ("AWS_REGION", "ap-northeast-2"),
            ("AWS_DEFAULT_REGION", "ap-northeast-2"),
            ("AWS_EC2_METADATA_DISABLED", "true"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into();
        self.python(&format!(
            "import os, urllib.request, boto3\n\
             urllib.request.urlopen(os.environ['AWS_ENDPOINT_URL'] + '/moto-api/reset', data=b'')\n\
             boto3.client('s3').create_bucket(Bucket='{STATE}', CreateBucketConfiguration={{'LocationConstraint': \
             'ap-northeast-2'}})"
        ))
        .ended_with(0);
        self
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).unwrap();
    }

    /// A script in Terraform's place.
    pub fn program(&self, name: &str, script: &str) {
        use std::os::unix::fs::PermissionsExt as _;
        self.write(name, script);
        std::fs::set_permissions(self.path(name), std::fs::Permissions::from_mode(0o755)).unwrap();
        let configuration = std::fs::read_to_string(self.path("rtc.toml")).unwrap();
        let line = format!("terraform = \"dev\"\nterraform_binary = \"./{name}\"\n");
        self.write("rtc.toml", &configuration.replace("terraform = \"dev\"\n", &line));
    }

    fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        command.current_dir(self.folder.path()).envs(self.variables.iter().cloned());
        command.env_remove("RTCCTL_ENV").stdin(Stdio::null());
        command
    }

    /// A command as it is typed, without a terminal.
    pub fn rtcctl(&self, words: &[&str]) -> Came {
        Came::of(&self.command(env!("CARGO_BIN_EXE_rtcctl")).args(words).output().unwrap())
    }

    /// `rtcctl --env ENV -o json infra …`
    pub fn infra(&self, env: &str, words: &[&str]) -> Came {
        self.rtcctl(&[&["--env", env, "-o", "json", "--no-input", "infra"], words].concat())
    }

    /// The same by somebody with a journal of their own.
    pub fn infra_of_another(&self, env: &str, words: &[&str]) -> Came {
        let mut command = self.command(env!("CARGO_BIN_EXE_rtcctl"));
        command.env("RTCCTL_JOURNAL", self.path("runs-of-another"));
        command.args(["--env", env, "-o", "json", "--no-input", "infra"]).args(words);
        Came::of(&command.output().unwrap())
    }

    /// What Terraform has said of the apply that is under way.
    pub fn lines_of_the_apply(&self) -> String {
        let runs = std::fs::read_dir(self.path("runs")).into_iter().flatten().flatten();
        runs.filter_map(|run| std::fs::read_to_string(run.path().join("apply.ndjson")).ok()).collect()
    }

    /// Kills programs whose name begins so and that work on this ground, and no others.
    pub fn kill_programs(&self, name: &str) {
        let here = self.folder.path().canonicalize().unwrap();
        let mut killed = 0;
        for entry in std::fs::read_dir("/proc").unwrap().flatten() {
            let said = |file: &str| std::fs::read_to_string(entry.path().join(file)).unwrap_or_default();
            let program = said("cmdline").split('\0').next().unwrap_or_default().to_owned();
            let is_named = program.rsplit('/').next().is_some_and(|program| program.starts_with(name));
            let is_here =
                std::fs::read_link(entry.path().join("cwd")).is_ok_and(|cwd| cwd.starts_with(&here));
            let pid = entry.file_name().to_string_lossy().parse().ok().and_then(Pid::from_raw);
            if let (true, true, Some(pid)) = (is_named, is_here, pid) {
                kill_process(pid, Signal::KILL).unwrap();
                killed += 1;
            }
        }
        assert!(killed > 0, "no {name} works here");
    }

    pub fn take_from_the_repository(&self, name: &str, to: &str) {
        std::fs::copy(root().join(name), self.path(to)).unwrap();
    }

    /// The same, left to run.
    pub fn begin(&self, env: &str, words: &[&str]) -> Child {
        let mut command = self.command(env!("CARGO_BIN_EXE_rtcctl"));
        command.args(["--env", env, "-o", "json", "--no-input", "infra"]).args(words);
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }

    /// The same to its end, with the most memory that it has had, without the pages of its own program: how large that is,
    /// the compiler decides.
    pub fn infra_and_its_peak(&self, env: &str, words: &[&str]) -> (Came, u64) {
        let child = self.begin(env, words);
        let status = format!("/proc/{}/status", child.id());
        let end = std::thread::spawn(|| came(child));
        let mut peak_kib = 0;
        while !end.is_finished() {
            let text = std::fs::read_to_string(&status).unwrap_or_default();
            let kib = |name: &str| -> u64 {
                let line = text.lines().find_map(|line| line.strip_prefix(name));
                line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(0)
            };
            peak_kib = kib("VmHWM:").saturating_sub(kib("RssFile:")).max(peak_kib);
            std::thread::park_timeout(Duration::from_millis(5));
        }
        (end.join().unwrap(), peak_kib)
    }

    /// A script of the environment's Python, which has boto3.
    pub fn python(&self, script: &str) -> Came {
        let python = root().join("target/engines/venv/bin/python");
        Came::of(&self.command(python).args(["-c", script]).output().unwrap())
    }

    /// The bare binary, to compare with.
    pub fn terraform(&self, folder: &str, words: &[&str]) -> Came {
        Came::of(&self.command("terraform").arg(format!("-chdir={folder}")).args(words).output().unwrap())
    }
}

/// How a command that was left to run ended.
pub fn came(child: Child) -> Came {
    Came::of(&child.wait_with_output().unwrap())
}

/// Waits for a file that another program writes.
pub fn wait_for(file: &Path) {
    wait_until(|| file.exists(), &file.display().to_string());
}

pub fn wait_until(mut holds: impl FnMut() -> bool, what: &str) {
    let deadline = now() + PATIENCE;
    while !holds() {
        assert!(now() < deadline, "{what} did not come");
        std::thread::park_timeout(Duration::from_millis(20));
    }
}

pub const PATIENCE: Duration = Duration::from_secs(120);

#[expect(clippy::disallowed_methods, reason = "a test of processes measures real time")]
pub fn now() -> Instant {
    Instant::now()
}

/// Removes from a folder what another one would put into it.
fn take_out(overrides: &Path, from: &Path) {
    for entry in std::fs::read_dir(overrides).unwrap() {
        let entry = entry.unwrap();
        match entry.path().is_dir() {
            true => take_out(&entry.path(), &from.join(entry.file_name())),
            false => std::fs::remove_file(from.join(entry.file_name())).unwrap(),
        }
    }
}

/// Copies a folder over another; what is there stays.
fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let (name, target) = (entry.file_name(), to.join(entry.file_name()));
        if name == ".terraform" || name.to_string_lossy().contains(".tfstate") {
            continue;
        }
        match entry.path().is_dir() {
            true => copy(&entry.path(), &target),
            false => drop(std::fs::copy(entry.path(), target).unwrap()),
        }
    }
}
