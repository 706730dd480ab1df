//! Starting rtcd and waiting until it is ready.
//!
//! Invariants: rtcd runs in a process group of its own, so that a Ctrl-C at the terminal reaches this program alone;
//! `run.json` counts only when it names the process that was started here.

use std::fs::File;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use codes::{Error, Result};
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep};

use crate::api::Endpoint;
use crate::commands::down::{self, DRAIN_TIMEOUT};
use crate::context::Context;
use crate::human;
use crate::local::{DataDir, Process, RunFile};

const READY_TIMEOUT: Duration = Duration::from_secs(60);
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// The addresses to bind.
pub(super) struct Binds {
    pub api: String,
    pub admin: String,
}

impl Binds {
    pub(super) fn from_config(context: &Context) -> Self {
        let config = &context.config;
        let port = config.port("port").unwrap_or(8080);
        let admin_port = config.port("admin_port").unwrap_or(match port {
            0 => 0,
            port => port.checked_add(1000).unwrap_or(0),
        });
        let host = config.text("host").unwrap_or("127.0.0.1");
        let host = match host {
            "localhost" => "127.0.0.1".to_owned(),
            host if host.contains(':') && !host.starts_with('[') => format!("[{host}]"),
            host => host.to_owned(),
        };
        Self { api: format!("{host}:{port}"), admin: format!("{host}:{admin_port}") }
    }
}

/// In how many processes.
pub(super) enum Shape {
    /// One, with all services or those that are named.
    Whole(Option<String>),
    /// Some for each service.
    Split(Option<u32>),
}

impl Shape {
    /// The command of rtcd.
    pub(super) fn verb(&self) -> &'static str {
        match self {
            Shape::Whole(_) => "serve",
            Shape::Split(_) => "split",
        }
    }

    fn more(&self) -> Option<[String; 2]> {
        match self {
            Shape::Whole(only) => only.as_ref().map(|only| ["--only".to_owned(), only.clone()]),
            Shape::Split(replicas) => replicas.map(|count| ["--replicas".to_owned(), count.to_string()]),
        }
    }

    /// Many processes take longer than one.
    fn ready_timeout(&self) -> Duration {
        match self {
            Shape::Whole(_) => READY_TIMEOUT,
            Shape::Split(_) => 3 * READY_TIMEOUT,
        }
    }
}

/// What is to be started.
pub(super) struct Wanted {
    pub program: PathBuf,
    pub data: DataDir,
    pub binds: Binds,
    pub config: Option<PathBuf>,
    pub shape: Shape,
}

/// A running rtcd that this program started.
pub(super) struct Started {
    pub run: RunFile,
    pub process: Process,
    pub child: Child,
    pub data: DataDir,
}

impl Started {
    /// Asks it to end and collects it.
    pub(super) async fn stop(&mut self, context: &Context) -> Result<()> {
        let (stopped, _) = tokio::join!(down::stop(context, self.process), self.collect(context));
        stopped
    }

    async fn collect(&mut self, context: &Context) {
        let limit = context.timeout_or(DRAIN_TIMEOUT);
        let _ = tokio::time::timeout(limit, self.child.wait()).await;
    }
}

pub(super) async fn start(context: &Context, wanted: Wanted) -> Result<Started> {
    let Wanted { program, data, binds, config, shape } = wanted;
    let task = context.progress.task("start", format!("starting rtcd on {}", data.path().display()));
    let log = prepare(&data)?;
    let started_at = Instant::now();
    let mut command = Command::new(&program);
    command
        .arg(shape.verb())
        .arg("--data")
        .arg(data.path())
        .args(["--api-bind", &binds.api, "--admin-bind", &binds.admin])
        .stdin(Stdio::null())
        .stdout(log.0)
        .stderr(log.1)
        .process_group(0)
        .kill_on_drop(false);
    if let Some(config) = config {
        command.arg("--config").arg(context.current_dir.join(config));
    }
    command.args(shape.more().into_iter().flatten());
    context.progress.detail(format!("running {:?}", command.as_std()));
    let mut child = command.spawn().map_err(|error| {
        Error::new(&codes::RUN001, format!("cannot start {}", program.display())).with_source(&error)
    })?;
    let process = child.id().and_then(|id| Process::new(i32::try_from(id).ok()?));
    let Some(process) = process else {
        let status = child.wait().await.ok();
        return Err(died(&data, status));
    };
    context
        .interrupts
        .cost_of_leaving(format!("rtcd (pid {}) goes on running; rtcctl down stops it", process.id()));
    let limit = context.timeout_or(shape.ready_timeout());
    let ready = tokio::select! {
        ready = wait_until_ready(&data, process, limit) => ready,
        status = child.wait() => return Err(died(&data, status.ok())),
        signal = context.interrupts.wait() => {
            process.terminate()?;
            let _ = tokio::time::timeout(limit, child.wait()).await;
            return Err(signal.error("rtcd was still starting and has been stopped"));
        }
    };
    match ready {
        Some(run) => {
            task.done(format!(
                "rtcd (pid {}) is ready after {}",
                run.pid,
                human::duration(started_at.elapsed())
            ));
            Ok(Started { run, process, child, data })
        }
        None => Err(Error::new(
            &codes::RUN007,
            format!(
                "rtcd (pid {}) is not ready after {}; it was left running",
                process.id(),
                human::duration(limit)
            ),
        )
        .with_hint(format!("its log is {}", data.log().display()))
        .with_hint("wait with a longer --timeout, or stop it with rtcctl down")),
    }
}

/// Makes the directory and a fresh log; the log of the run before is kept as `rtcd.log.1`.
fn prepare(data: &DataDir) -> Result<(File, File)> {
    let unusable = |error: std::io::Error| {
        Error::new(&codes::RUN008, format!("the data directory {} cannot be used", data.path().display()))
            .with_source(&error)
            .with_hint("choose another one with --data, or mend its permissions")
    };
    std::fs::create_dir_all(data.path()).map_err(unusable)?;
    let log = data.log();
    if std::fs::metadata(&log).is_ok_and(|log| log.len() > 0) {
        std::fs::rename(&log, data.path().join("rtcd.log.1")).map_err(unusable)?;
    }
    let file = File::create(&log).map_err(unusable)?;
    let second = file.try_clone().map_err(unusable)?;
    Ok((file, second))
}

async fn wait_until_ready(data: &DataDir, process: Process, limit: Duration) -> Option<RunFile> {
    let deadline = Instant::now() + limit;
    let mut admin: Option<(String, Endpoint)> = None;
    while Instant::now() < deadline {
        if let Some(run) = data.read_run_file().filter(|run| run.pid == process.id()) {
            if admin.as_ref().is_none_or(|(url, _)| *url != run.admin_url) {
                let endpoint = Endpoint::new("the admin port", &run.admin_url, None, limit).ok();
                admin = endpoint.map(|endpoint| (run.admin_url.clone(), endpoint));
            }
            if let Some((_, admin)) = &admin
                && admin.probe("readyz", Duration::from_secs(2)).await == Some(200)
            {
                return Some(run);
            }
        }
        sleep(LOOK_EVERY).await;
    }
    None
}

/// What rtcd said before it ended.
#[derive(Debug, Default, PartialEq, Eq)]
struct LastWords {
    /// Its `error[CODE]: message`.
    error: Option<String>,
    causes: Vec<String>,
    hints: Vec<String>,
    tail: Vec<String>,
}

fn last_words(log: &str) -> LastWords {
    let mut words = LastWords::default();
    for line in log.lines() {
        let line = anstream::adapter::strip_str(line).to_string();
        if line.starts_with("error[") || line.starts_with("error:") {
            words.error = Some(line);
            words.causes.clear();
            words.hints.clear();
        } else if let Some(cause) = line.strip_prefix("  caused by: ") {
            words.causes.push(cause.to_owned());
        } else if let Some(hint) = line.strip_prefix("hint: ") {
            words.hints.push(hint.to_owned());
        } else if !line.trim().is_empty() {
            words.tail.push(line);
        }
    }
    words.tail.drain(..words.tail.len().saturating_sub(8));
    words
}

/// The error for an rtcd that ended before it was ready.
fn died(data: &DataDir, status: Option<ExitStatus>) -> Error {
    let log = std::fs::read(data.log()).unwrap_or_default();
    let words = last_words(&String::from_utf8_lossy(&log));
    let how = status.map_or_else(|| "ended".to_owned(), |status| format!("ended with {status}"));
    let mut error = match status.and_then(|status| status.code()) {
        Some(3) => Error::new(&codes::RUN004, format!("rtcd refused to start: it {how}")),
        Some(8) => Error::new(&codes::RUN005, format!("rtcd cannot have what it needs: it {how}")),
        _ => Error::new(&codes::RUN006, format!("rtcd stopped before it was ready: it {how}")),
    };
    match words.error {
        Some(said) => {
            error = error.with_cause(said);
            for cause in words.causes {
                error = error.with_cause(cause);
            }
        }
        None => error = error.with_cause(words.tail.join("\n")),
    }
    if error.causes().iter().any(|cause| cause.contains("listened on")) {
        error = error
            .with_hint("rtcctl up takes other ports with --port and --admin-port; --port 0 takes free ones");
    }
    for hint in words.hints {
        error = error.with_hint(hint);
    }
    error.with_hint(format!("its log is {}", data.log().display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::ExitStatusExt;

    #[test]
    fn the_own_words_of_rtcd_become_the_cause_and_its_hints_ours() {
        let folder = tempfile::tempdir().unwrap();
        let data = DataDir::new(folder.path().to_owned());
        let log = "2026 starting\nerror[HST004]: port 8080 is occupied\n  caused by: in use\nhint: choose another with --api-bind\n";
        std::fs::write(data.log(), log).unwrap();
        let error = died(&data, Some(ExitStatus::from_raw(8 << 8)));
        assert_eq!((error.code().id, error.exit().code()), ("RUN005", 8));
        assert_eq!(error.causes(), ["error[HST004]: port 8080 is occupied", "in use"]);
        assert_eq!(error.hints()[0], "choose another with --api-bind");
        assert_eq!(died(&data, Some(ExitStatus::from_raw(3 << 8))).code().id, "RUN004");
    }

    #[test]
    fn a_crash_shows_the_end_of_the_log() {
        let folder = tempfile::tempdir().unwrap();
        let data = DataDir::new(folder.path().to_owned());
        let lines: Vec<String> = (0..100).map(|line| format!("line {line}")).collect();
        std::fs::write(data.log(), lines.join("\n")).unwrap();
        let error = died(&data, Some(ExitStatus::from_raw(9)));
        assert_eq!(error.code().id, "RUN006");
        assert!(error.message().contains("signal: 9"), "{}", error.message());
        assert!(error.causes()[0].starts_with("line 92") && error.causes()[0].ends_with("line 99"));
    }

    #[test]
    fn the_log_of_the_run_before_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let data = DataDir::new(folder.path().join("new"));
        drop(prepare(&data).unwrap());
        std::fs::write(data.log(), "first run").unwrap();
        drop(prepare(&data).unwrap());
        assert_eq!(std::fs::read_to_string(data.path().join("rtcd.log.1")).unwrap(), "first run");
        assert_eq!(std::fs::read_to_string(data.log()).unwrap(), "");
    }

    #[test]
    fn a_data_directory_that_is_a_file_is_a_clear_error() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let error = prepare(&DataDir::new(file.path().to_owned())).unwrap_err();
        assert_eq!((error.code().id, error.exit().code()), ("RUN008", 3));
    }
}
