//! `cargo xtask test infra`: Terraform's own checks, and `rtcctl infra` with the real Terraform and the real provider
//! against moto.
//!
//! Invariant: where Terraform or the provider cannot be had, it fails saying so.

use std::path::{Path, PathBuf};

use crate::engines::{self, script};
use crate::run::{Outcome, Parts, check, command, output, root};
use crate::suites::{self, Extent};

/// Below a folder of unpacked providers.
const PROVIDER: &str = "registry.terraform.io/hashicorp/aws";
/// How deep below the root of the file system it is looked for.
const DEPTH: usize = 6;
const NOT_LOOKED_INTO: [&str; 8] = ["proc", "sys", "dev", "run", "tmp", "target", "node_modules", ".git"];

pub fn run(extent: Extent) -> Outcome {
    Parts::told(|parts| all(parts, extent))
}

pub fn all(parts: &mut Parts, extent: Extent) -> Outcome {
    parts.part("infra: format", || {
        check(command("terraform", &["-chdir=terraform", "fmt", "-check", "-recursive"]))
    })?;
    let mirror = mirror()?;
    parts.part("infra: install", || check(script(&["install", "s3", "checkov"])))?;
    parts.part("infra: checkov", checkov)?;
    parts.part("infra: validate", || validate(&mirror))?;
    parts.part("infra: compile", || suites::named("infra").map(drop))?;
    let outcome = parts
        .part("infra: start", start)
        .and_then(|()| parts.part("infra: suites", || suites(&mirror, extent)));
    outcome.and(parts.part("infra: stop", || check(at_home(&["reset"]))))
}

/// Every environment and the bootstrap, in copies, so that nothing is left beside them.
fn validate(mirror: &Path) -> Outcome {
    let work = root().join("target/terraform-validate");
    let _ = std::fs::remove_dir_all(&work);
    std::fs::create_dir_all(&work).map_err(|error| error.to_string())?;
    let mut copy = command("cp", &["-r", "terraform"]);
    copy.arg(&work);
    check(copy)?;
    for folder in ["bootstrap", "envs/dev", "envs/prod"] {
        let at = format!("-chdir={}", work.join("terraform").join(folder).display());
        let plugins = format!("-plugin-dir={}", mirror.display());
        let mut init = command("terraform", &[&at, "init", "-backend=false", "-lockfile=readonly"]);
        init.arg(plugins).stdout(std::process::Stdio::null());
        check(init)?;
        check(command("terraform", &[&at, "validate"]))?;
    }
    std::fs::remove_dir_all(&work).map_err(|error| error.to_string())
}

/// moto with what AWS has from the beginning, with certificates that are issued at once, and with a memory of what it has
/// answered: a busy machine makes the provider ask again.
fn start() -> Outcome {
    let mut start = at_home(&["start", "s3"]);
    start.env("MOTO_SERVER", root().join("terraform/tests/moto/server.py"));
    start.env("MOTO_IAM_LOAD_MANAGED_POLICIES", "true").env("MOTO_ACM_VALIDATION_WAIT", "1");
    check(start)
}

fn home() -> PathBuf {
    root().join("target/engines-infra")
}

fn at_home(arguments: &[&str]) -> std::process::Command {
    engines::at(&home(), arguments)
}

fn suites(mirror: &Path, extent: Extent) -> Outcome {
    let aws = engines::variable(&home(), "RTC_TEST_S3")?;
    let mut test = suites::named("infra")?;
    test.arg("--test-threads=1");
    if extent == Extent::Bounded {
        // Hundreds of resources one after the other on a stand-in: the lives of environments are whole only.
        test.args(["--skip", "environments::dev_is_", "--skip", "environments::prod_is_"]);
    }
    test.env("RTC_TEST_AWS", aws).env("RTC_TEST_TERRAFORM_MIRROR", mirror);
    check(test)
}

/// What is looked at and how is in `terraform/.checkov.yaml`.
fn checkov() -> Outcome {
    // Not its script, which names the folder in which it was installed.
    let mut checkov = std::process::Command::new(root().join("target/engines/checkov/bin/python"));
    checkov.current_dir(root()).args([
        "-m",
        "checkov.main",
        "--directory",
        "terraform",
        "--config-file",
        "terraform/.checkov.yaml",
    ]);
    check(checkov)
}

/// A folder of unpacked providers: the one that is named, or one that lies on this machine, or one that Terraform fills.
pub fn mirror() -> Result<PathBuf, String> {
    #[expect(clippy::disallowed_methods, reason = "a task is told what it cannot find")]
    let named = std::env::var("RTC_TEST_TERRAFORM_MIRROR").ok().map(PathBuf::from);
    if let Some(found) = named.or_else(|| look_below(Path::new("/"), DEPTH)) {
        return Ok(found);
    }
    let made = root().join("target/terraform-mirror");
    let target = made.display().to_string();
    let mut fetch = command("terraform", &["-chdir=terraform/envs/dev", "providers", "mirror"]);
    fetch.arg(&target);
    output(fetch).map(|_| made).map_err(|error| {
        format!("no provider {PROVIDER} can be had, neither on this machine nor from its registry: {error}")
    })
}

fn look_below(folder: &Path, depth: usize) -> Option<PathBuf> {
    if folder.join(PROVIDER).is_dir() {
        return Some(folder.to_owned());
    }
    if depth == 0 {
        return None;
    }
    let entries = std::fs::read_dir(folder).ok()?;
    entries
        .flatten()
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .filter(|entry| !NOT_LOOKED_INTO.contains(&&*entry.file_name().to_string_lossy()))
        .find_map(|entry| look_below(&entry.path(), depth - 1))
}
