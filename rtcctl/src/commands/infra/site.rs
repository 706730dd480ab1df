//! Where the infrastructure of an environment is described, and the Terraform that works there.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Output;

use codes::{Error, Result};
use serde::Deserialize;
use terraform::process::{Files, Run, Terraform};

use super::failed;
use crate::context::Context;

/// Locks in S3 without a table, and write-only values.
const OLDEST: (u32, u32) = (1, 11);
/// What Terraform writes when it cannot save the state elsewhere.
pub const UNSAVED_STATE: &str = "errored.tfstate";

/// The environment's Terraform folder.
pub struct Site<'a> {
    pub context: &'a Context,
    pub env: String,
    /// Whether its destruction wants its name.
    pub is_protected: bool,
    pub terraform: Terraform,
    binary: PathBuf,
    backend: Option<PathBuf>,
    variables: Option<PathBuf>,
}

#[derive(Deserialize)]
struct Version {
    terraform_version: String,
}

impl<'a> Site<'a> {
    /// Finds the folder. Nothing is started: which Terraform it is, each run says by itself.
    pub fn open(context: &'a Context) -> Result<Self> {
        let config = &context.config;
        let env = config.env().to_owned();
        let folder = config.path_of("terraform").ok_or_else(|| {
            let others = config.environments.keys().filter(|name| **name != env).cloned().collect::<Vec<_>>();
            let error =
                Error::new(&codes::INF001, format!("the environment {env} names no Terraform folder"));
            match others.is_empty() {
                true => {
                    error.with_hint(format!("terraform = \"terraform/envs/{env}\" in rtc.toml names one"))
                }
                false => error.with_hint(format!("choose another with --env: {}", others.join(", "))),
            }
        })?;
        if !folder.is_dir() {
            let message = format!("{} is no folder (terraform of the environment {env})", folder.display());
            return Err(Error::new(&codes::INF001, message));
        }
        let binary = &config.get("terraform_binary").text;
        // A name is looked for on PATH, a path is relative to the file that says it.
        let binary = match binary.contains('/') {
            true => config.path("terraform_binary"),
            false => PathBuf::from(binary),
        };
        for setting in ["terraform_backend", "terraform_variables"] {
            if let Some(path) = config.path_of(setting).filter(|path| !path.is_file()) {
                let message = format!("{} is no file ({setting} of the environment {env})", path.display());
                let error = Error::new(&codes::INF012, message);
                let example = PathBuf::from(format!("{}.example", path.display()));
                return Err(match example.is_file() {
                    true => error.with_hint(format!("copy {} and fill it in", example.display())),
                    false => error,
                });
            }
        }
        Ok(Self {
            context,
            is_protected: config.text("protected") == Some("yes"),
            terraform: Terraform::new(binary.clone(), folder, config.environment()),
            binary,
            backend: config.path_of("terraform_backend"),
            variables: config.path_of("terraform_variables"),
            env,
        })
    }

    /// Refuses a Terraform that is too old, by the version that a run of it has said.
    pub fn refuse_old(&self, version: &str) -> Result<()> {
        match is_new_enough(version) {
            true => Ok(()),
            false => {
                let message = format!("terraform {version} is older than {}.{}", OLDEST.0, OLDEST.1);
                Err(Error::new(&codes::INF003, message))
            }
        }
    }

    /// Whether what failed, or said nothing, is a Terraform that is new enough: an older one does not know what it is asked.
    pub async fn refuse_what_is_no_terraform(&self) -> Result<()> {
        let said = self.output(&["version", "-json"]).await?;
        let version: Version = serde_json::from_slice(&said.stdout).map_err(|error| {
            Error::new(&codes::INF002, format!("{} does not say its version", self.binary.display()))
                .with_source(&error)
        })?;
        self.refuse_old(&version.terraform_version)
    }

    /// Refuses to plan on a state that is not the true one.
    pub fn refuse_unsaved_state(&self) -> Result<()> {
        let file = self.terraform.folder().join(UNSAVED_STATE);
        match file.exists() {
            true => {
                Err(Error::new(&codes::INF018, format!("{} has a state that was not saved", file.display())))
            }
            false => Ok(()),
        }
    }

    /// Runs `terraform init` where it has never been run.
    pub async fn initialise_once(&self) -> Result<()> {
        match self.terraform.folder().join(".terraform").is_dir() {
            true => Ok(()),
            false => self.initialise().await,
        }
    }

    pub async fn initialise(&self) -> Result<()> {
        let task = self.context.progress.task("init", "preparing providers and the state's backend");
        let mut arguments = vec!["init".to_owned(), "-no-color".to_owned(), "-lockfile=readonly".to_owned()];
        // What was kept of another backend is not carried over behind the operator's back.
        arguments.push("-reconfigure".to_owned());
        if let Some(backend) = &self.backend {
            arguments.push(format!("-backend-config={}", backend.display()));
        }
        let output = self.output(&arguments).await?;
        if output.status.success() {
            task.done("providers and backend are ready");
            return Ok(());
        }
        task.fail("terraform init failed");
        self.refuse_what_is_no_terraform().await?;
        Err(failed::of_text("terraform init failed", &String::from_utf8_lossy(&output.stderr)))
    }

    /// The whole output of a command that ends by itself.
    pub async fn output<A: AsRef<OsStr>>(&self, arguments: &[A]) -> Result<Output> {
        self.terraform.output(arguments).await.map_err(|error| self.cannot_start(&error))
    }

    /// The same into a file; stdout of what is given is empty.
    pub async fn output_into<A: AsRef<OsStr>>(&self, arguments: &[A], file: &Path) -> Result<Output> {
        self.terraform.output_into(arguments, file).await.map_err(|error| self.cannot_start(&error))
    }

    /// Begins what is followed line by line.
    pub fn start<A: AsRef<OsStr>>(&self, arguments: &[A], files: &Files) -> Result<Run> {
        self.terraform.start(arguments, files).map_err(|error| self.cannot_start(&error))
    }

    fn cannot_start(&self, error: &std::io::Error) -> Error {
        Error::new(&codes::INF002, format!("cannot start {}", self.binary.display())).with_source(error)
    }

    /// `-var-file`, where there is one.
    pub fn variables(&self) -> Option<String> {
        self.variables.as_ref().map(|path| format!("-var-file={}", path.display()))
    }
}

fn is_new_enough(version: &str) -> bool {
    let mut numbers = version.split(['.', '-']).map(|part| part.parse::<u32>().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)) >= OLDEST
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_as_numbers() {
        for (version, is_enough) in [
            ("1.9.8", false),
            ("1.11.0", true),
            ("1.11.0-rc1", true),
            ("2.0.0", true),
            ("0.15.5", false),
            ("x", false),
        ] {
            assert_eq!(is_new_enough(version), is_enough, "{version}");
        }
    }
}
