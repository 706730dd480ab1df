//! The generated reference under docs/reference: written here, checked in, compared by CI.

use std::path::PathBuf;

use crate::platform::Profile;
use crate::run::{Outcome, command, output, root};
use crate::{dashboards, manifests};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    Write,
    Check,
}

pub fn run(mode: Mode) -> Outcome {
    dashboards::run(mode)?;
    manifests::chart(mode)?;
    Profile::Dev.build()?;
    let binary = |name: &str| binaries().join(name).display().to_string();
    let openapi = output(command(&binary("rtcd"), &["openapi"]))?;
    let topics = output(command(&binary("rtcd"), &["topics"]))?;
    let codes = output(command(&binary("rtcctl"), &["explain", "--color", "never"]))?;
    let references = [("openapi.json", openapi), ("topics.txt", topics), ("codes.txt", codes)];
    let mut stale = Vec::new();
    for (name, text) in references {
        let path = root().join("docs/reference").join(name);
        let text = text.lines().map(str::trim_end).collect::<Vec<_>>().join("\n") + "\n";
        match mode {
            Mode::Write => {
                let folder = path.parent().map(PathBuf::from).unwrap_or_default();
                std::fs::create_dir_all(folder)
                    .and_then(|()| std::fs::write(&path, text))
                    .map_err(|error| format!("{}: {error}", path.display()))?;
            }
            Mode::Check if std::fs::read_to_string(&path).unwrap_or_default() != text => stale.push(name),
            Mode::Check => {}
        }
    }
    if stale.is_empty() {
        return Ok(());
    }
    Err(format!("docs/reference/{} is out of date: cargo xtask codegen", stale.join(", docs/reference/")))
}

/// Where cargo puts the binaries of the dev profile: this program is one of them.
pub fn binaries() -> PathBuf {
    let here = std::env::current_exe().unwrap_or_default();
    here.parent().map(PathBuf::from).unwrap_or_default()
}
