//! `rtcctl doctor`: every prerequisite of running the platform on this machine, each with a code and a hint.
//!
//! Invariants: nothing is left behind on the disk and nothing is changed; the checks run side by side; what could not
//! be looked at is said to be unknown, never well.

mod machine;
mod platform;

use std::path::PathBuf;

use codes::{Code, Result, exit};
use serde::Serialize;
use serde_json::json;

use crate::api::Platform;
use crate::commands::up::workspace_root;
use crate::context::Context;
use crate::local::{DataDir, Process, RunFile};
use crate::output::{Column, Finding, Report, Severity, Table};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Warnings fail too
    #[arg(long)]
    strict: bool,
}

/// How one prerequisite stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Verdict {
    Ok,
    Warning,
    Failed,
    /// Not needed here.
    Skipped,
}

/// One prerequisite.
#[derive(Debug, Clone)]
pub(crate) struct Check {
    pub code: &'static Code,
    pub name: &'static str,
    pub verdict: Verdict,
    /// What was found.
    pub detail: String,
    pub hint: Option<String>,
}

impl Check {
    fn new(code: &'static Code, name: &'static str, verdict: Verdict, detail: impl Into<String>) -> Self {
        Self { code, name, verdict, detail: detail.into(), hint: None }
    }

    fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

/// What the checks look at.
#[derive(Clone)]
pub(crate) struct Scene {
    pub data: DataDir,
    /// The workspace that rtcd would be built in, if there is one.
    pub root: Option<PathBuf>,
    /// An rtcd beside this program.
    pub beside: Option<PathBuf>,
    pub running: Option<(RunFile, Process)>,
    pub host: String,
    pub port: u16,
    pub admin_port: u16,
}

impl Scene {
    fn of(context: &Context) -> Self {
        let config = &context.config;
        let data = DataDir::new(config.data_dir());
        let own = context.executable.as_deref();
        let root = own.and_then(workspace_root).or_else(|| workspace_root(&context.current_dir));
        let beside = own.and_then(|own| Some(own.parent()?.join("rtcd"))).filter(|path| path.is_file());
        let port = config.port("port").unwrap_or(8080);
        Self {
            running: data.running(),
            root: root.map(ToOwned::to_owned),
            beside,
            host: config.text("host").unwrap_or("127.0.0.1").to_owned(),
            port,
            admin_port: config.port("admin_port").unwrap_or(if port == 0 {
                0
            } else {
                port.saturating_add(1000)
            }),
            data,
        }
    }
}

pub async fn run(args: Args, context: &Context) -> Result<Report> {
    let scene = Scene::of(context);
    let now = context.clock.now();
    let platform = match &scene.running {
        Some((run, _)) => Platform::of_run_file(context, &scene.data, run.clone()).ok(),
        None => None,
    };
    let (rust, compiler, disk, ports, lock) = tokio::join!(
        machine::rust(&scene),
        machine::c_compiler(&scene),
        machine::disk(scene.clone(), now),
        platform::ports(&scene),
        platform::lock(&scene, platform.as_ref()),
    );
    let mut checks = vec![rust, compiler, platform::program(&scene)];
    checks.extend(disk);
    checks.push(machine::open_files());
    checks.extend(ports);
    checks.push(lock);
    Ok(report(&checks, args.strict))
}

fn report(checks: &[Check], strict: bool) -> Report {
    let mut table = Table::new([
        Column::left("check"),
        Column::left("verdict"),
        Column::left("found"),
        Column::left("code").wide(),
    ]);
    let mut documents = Vec::new();
    let mut findings = Vec::new();
    for check in checks {
        let word = match check.verdict {
            Verdict::Ok => "ok",
            Verdict::Warning => "warning",
            Verdict::Failed => "FAILED",
            Verdict::Skipped => "skipped",
        };
        table.push([check.name, word, &check.detail, check.code.id]);
        documents.push(json!({
            "code": check.code.id, "check": check.name, "verdict": check.verdict, "found": check.detail, "hint": check.hint,
        }));
        let severity = match check.verdict {
            Verdict::Failed => Severity::Error,
            Verdict::Warning => Severity::Warning,
            Verdict::Ok | Verdict::Skipped => continue,
        };
        let finding = Finding::new(check.code, severity, format!("{}: {}", check.name, check.detail));
        findings.push(match &check.hint {
            Some(hint) => finding.with_hint(hint),
            None => finding.with_hint(check.code.action),
        });
    }
    let worst = findings.iter().map(|finding| finding.severity).max();
    let mut report = Report::new("doctor", json!({"checks": documents})).with_table(table).with_names(
        checks.iter().filter(|check| check.verdict == Verdict::Failed).map(|check| check.code.id),
    );
    report.findings = findings;
    match worst {
        Some(Severity::Error) => report.with_status("failed", exit::CONFIGURATION),
        Some(Severity::Warning) if strict => report.with_status("failed", exit::CONFIGURATION),
        Some(Severity::Warning) => report.with_status("warnings", exit::DONE),
        _ => report,
    }
}

#[cfg(test)]
mod tests;
