//! `rtcctl version`.

use serde_json::json;

use crate::output::Report;

#[derive(Debug, clap::Args)]
pub struct Args {}

pub fn run() -> Report {
    let profile = if cfg!(debug_assertions) { "debug" } else { "release" };
    let target = format!("{}-{}", std::env::consts::ARCH, std::env::consts::OS);
    let version = env!("CARGO_PKG_VERSION");
    Report::new("version", json!({"version": version, "profile": profile, "target": target}))
        .with_text(format!("rtcctl {version} ({profile}, {target})"))
        .with_names([version])
}
