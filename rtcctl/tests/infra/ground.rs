//! A copy of `terraform/` with an account of its own to work on.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

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
        assert_eq!(self.exit, exit, "{}\n{}", self.stdout, self.stderr);
        self
    }
}

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

    /// The repository's `terraform/`, changed for moto as `terraform/tests/moto` says, in an account of its own.
    pub fn of_the_repository(account: &str) -> Self {
        let (aws, mirror) = (named("RTC_TEST_AWS"), named("RTC_TEST_TERRAFORM_MIRROR"));
        let mut ground = Self { folder: TempDir::new().unwrap(), variables: Vec::new() };
        copy(&root().join("terraform"), &ground.path("terraform"));
        copy(&root().join("terraform/tests/moto/overrides"), &ground.path("terraform"));
        ground.write(
            "terraformrc",
            &format!("provider_installation {{\n  filesystem_mirror {{\n    path = \"{mirror}\"\n  }}\n}}\n"),
        );
        let rc = ground.path("terraformrc").display().to_string();
        ground.variables = [
            ("TF_CLI_CONFIG_FILE", rc.as_str()),
            ("AWS_ENDPOINT_URL", &aws),
            // moto takes the account from the key.
            ("AWS_ACCESS_KEY_ID", account),
            ("AWS_SECRET_ACCESS_KEY", "rtc"),
            ("AWS_REGION", "ap-northeast-2"),
            ("AWS_EC2_METADATA_DISABLED", "true"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into();
        ground
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

    /// The same, left to run.
    pub fn begin(&self, env: &str, words: &[&str]) -> Child {
        let mut command = self.command(env!("CARGO_BIN_EXE_rtcctl"));
        command.args(["--env", env, "-o", "json", "--no-input", "infra"]).args(words);
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
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
