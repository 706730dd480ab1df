//! The command line of rtcd.

use std::io::{ErrorKind, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use axum::body::Body;
use axum::http::Request;
use clap::{Parser, Subcommand};
use contracts::topics;
use host::{Config, Context, ServerSection, StartError};
use serde_json::json;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use web::Client;

use crate::data_dir::DataDir;
use crate::serve::{Built, Options, build, start, upstreams};
use crate::split::line::{Attended, Supervisor};
use crate::{all, select, split};

/// What a drain may take beyond the times that are configured, where no supervisor is left to end it.
const ORPHAN_MARGIN: Duration = Duration::from_secs(5);
/// What a process ends with that was still there then.
const ORPHANED: i32 = 1;
/// How long the supervisor is kept waiting for consumer groups that do not settle, for brokers may be away: longer than dividing one
/// may take, which waits for the batch of its slowest member (30 s) and is told to the others with a heartbeat.
const SETTLES_WITHIN: Duration = Duration::from_secs(45);
/// How long threads that still wait for something may hold up the end of the process.
const LEAVE_WITHIN: Duration = Duration::from_secs(1);

/// Runs the services of RTC.
#[derive(Debug, Parser)]
#[command(name = "rtcd", version, about, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    /// Configuration file (TOML). Without it: rtcd.toml in the data directory, if there is one.
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Data directory [default: data].
    #[arg(long, global = true, value_name = "DIR")]
    data: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve until SIGTERM or Ctrl-C.
    Serve {
        /// Only these services, with commas between them.
        #[arg(long, value_delimiter = ',', value_name = "SERVICES")]
        only: Vec<String>,
        /// Address of the API, port 0 for a free one.
        #[arg(long, value_name = "ADDR:PORT")]
        api_bind: Option<SocketAddr>,
        /// Address of the operator's port.
        #[arg(long, value_name = "ADDR:PORT")]
        admin_bind: Option<SocketAddr>,
        /// `text` or `json`.
        #[arg(long, value_name = "FORMAT")]
        log_format: Option<String>,
        /// The standard input is the line to `rtcd split`.
        #[arg(long, hide = true)]
        supervised: bool,
    },
    /// Serve with each service in processes of its own on this machine, until SIGTERM or Ctrl-C.
    Split {
        /// Processes for each service, and at the entrance.
        #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=32))]
        replicas: u32,
        /// Address of the API, port 0 for a free one.
        #[arg(long, value_name = "ADDR:PORT")]
        api_bind: Option<SocketAddr>,
        /// Address of the operator's port, for the whole platform.
        #[arg(long, value_name = "ADDR:PORT")]
        admin_bind: Option<SocketAddr>,
        /// `text` or `json`.
        #[arg(long, value_name = "FORMAT")]
        log_format: Option<String>,
    },
    /// Bring the databases' schemas up to date, and say what was done.
    Migrate,
    /// List the topics.
    Topics,
    /// Print the OpenAPI document.
    Openapi,
    /// Print every setting, its value and where it came from.
    Config,
    /// List the services that `--only` can name.
    Services,
}

pub fn run() -> ExitCode {
    let cli = Cli::parse();
    match execute(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error[{}]: {error}", error.code());
            let mut cause = std::error::Error::source(&error);
            while let Some(inner) = cause {
                if !error.to_string().contains(&inner.to_string()) {
                    eprintln!("  caused by: {inner}");
                }
                cause = inner.source();
            }
            eprintln!("hint: {}", error.hint());
            ExitCode::from(error.exit_code())
        }
    }
}

fn execute(cli: Cli) -> Result<(), StartError> {
    let mut overrides: Vec<(&str, serde_json::Value)> = Vec::new();
    if let Some(data) = &cli.data {
        overrides.push(("data", json!(data)));
    }
    if let Command::Serve { api_bind, admin_bind, log_format, .. }
    | Command::Split { api_bind, admin_bind, log_format, .. } = &cli.command
    {
        overrides.extend(api_bind.map(|address| ("server.api_bind", json!(address))));
        overrides.extend(admin_bind.map(|address| ("server.admin_bind", json!(address))));
        overrides.extend(log_format.as_ref().map(|format| ("log.format", json!(format))));
    }
    let beside = cli.data.clone().unwrap_or_else(|| PathBuf::from("data")).join("rtcd.toml");
    let file = cli.config.or_else(|| beside.is_file().then_some(beside));
    let text = split::read(file.as_deref());
    let config = Config::load(file.as_deref(), &overrides)?;
    match cli.command {
        Command::Serve { only, supervised, .. } => {
            let selection = select(&only)?;
            let (supervisor, listener) = match supervised {
                true => greeted()?,
                false => (None, None),
            };
            host::telemetry::install(&config.log.level, &config.log.format)?;
            let runtime = runtime(&config)?;
            let served = runtime.block_on(serve(Options { config, selection, listener }, supervisor));
            leave(runtime);
            served
        }
        Command::Split { replicas, .. } => {
            host::telemetry::install(&config.log.level, &config.log.format)?;
            let (again, overrides) = (file.clone(), owned(&overrides));
            let reread = move || {
                let overrides: Vec<_> =
                    overrides.iter().map(|(key, value)| (key.as_str(), value.clone())).collect();
                Config::load(again.as_deref(), &overrides)
            };
            let runtime = runtime(&config)?;
            let options = split::Options { config, file, text, reread: Box::new(reread), replicas };
            let ran = runtime.block_on(split::run(options));
            leave(runtime);
            ran
        }
        Command::Migrate => runtime(&config)?.block_on(migrate(config)),
        Command::Topics => {
            let line = |topic: topics::Topic| {
                format!("{}\t{} partitions\t{} days", topic.name, topic.partitions, topic.retention_days)
            };
            print_lines(topics::ALL.map(line))
        }
        Command::Openapi => runtime(&config)?.block_on(openapi(config)),
        Command::Config => {
            let settings = config.settings().into_iter();
            print_lines(
                settings.map(|setting| format!("{} = {}\t# {}", setting.key, setting.value, setting.from)),
            )
        }
        Command::Services => {
            print_lines(all().iter().map(|target| format!("{}\t{}", target.name, target.summary)))
        }
    }
}

/// Writes data to standard output. A reader that has seen enough and closed the pipe is no failure.
fn print_lines(lines: impl IntoIterator<Item = String>) -> Result<(), StartError> {
    let mut out = std::io::stdout().lock();
    for line in lines {
        match writeln!(out, "{line}") {
            Err(error) if error.kind() == ErrorKind::BrokenPipe => break,
            written => written.map_err(|error| StartError::Other(kernel::Error::internal(error)))?,
        }
    }
    Ok(())
}

fn runtime(config: &Config) -> Result<tokio::runtime::Runtime, StartError> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    if config.server.worker_threads > 0 {
        builder.worker_threads(config.server.worker_threads);
    }
    builder.enable_all().build().map_err(|error| StartError::Other(kernel::Error::internal(error)))
}

/// What still waits for an engine that keeps silent holds up no end: whatever had to be kept is kept.
fn leave(runtime: tokio::runtime::Runtime) {
    runtime.shutdown_timeout(LEAVE_WITHIN);
}

/// Does `leave` after `time`, whatever this process may still wait for: nobody else would end it.
fn leave_within(time: Duration, leave: impl FnOnce() + Send + 'static) {
    let wait = move || {
        let until = Instant::now() + time;
        while let Some(left) = until.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) {
            std::thread::park_timeout(left);
        }
        leave();
    };
    if let Err(error) = std::thread::Builder::new().name("rtc-leave".to_owned()).spawn(wait) {
        tracing::warn!(%error, "nothing bounds how long this process takes to end");
    }
}

/// The supervisor is gone: what it would have done to one that does not end, the process does to itself.
fn orphaned(server: &ServerSection) {
    let drain =
        Duration::from_millis(server.drain_notice_ms) + 2 * Duration::from_millis(server.drain_timeout_ms);
    leave_within(drain + ORPHAN_MARGIN, || {
        eprintln!("the drain did not end in time; what was answered is on disk");
        std::process::exit(ORPHANED);
    });
}

fn owned(overrides: &[(&str, serde_json::Value)]) -> Vec<(String, serde_json::Value)> {
    overrides.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect()
}

type Greeting = (Option<Supervisor>, Option<std::net::TcpListener>);

/// What the supervisor handed over.
fn greeted() -> Result<Greeting, StartError> {
    let (supervisor, listener) = Supervisor::at_stdin().map_err(|error| {
        StartError::Config(format!("--supervised is for processes that rtcd split starts: {error}"))
    })?;
    Ok((Some(supervisor), listener))
}

/// Returns when the supervisor is gone; without one never.
async fn abandoned(supervisor: &mut Option<Attended>) {
    match supervisor {
        Some(supervisor) => supervisor.gone().await,
        None => std::future::pending().await,
    }
}

/// Tells the supervisor when requests are served and messages come, and returns when it is gone. Without one it never returns.
async fn attend(supervisor: &mut Option<Attended>, up: CancellationToken, context: Context) {
    if supervisor.is_none() {
        return std::future::pending().await;
    }
    let serves = async {
        up.cancelled().await;
        context.groups_settle(SETTLES_WITHIN).await;
    };
    tokio::select! {
        () = abandoned(supervisor) => return,
        () = serves => {}
    }
    let told = match supervisor {
        Some(supervisor) => supervisor.say_ready().await,
        None => Ok(()),
    };
    if told.is_ok() {
        abandoned(supervisor).await;
    }
}

pub(crate) async fn serve(options: Options, supervisor: Option<Supervisor>) -> Result<(), StartError> {
    use tokio::signal::unix::{SignalKind, signal};
    let failed = |error: std::io::Error| StartError::Other(kernel::Error::internal(error));
    let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
    let mut supervisor = supervisor.map(Supervisor::attend).transpose().map_err(failed)?;
    let server = options.config.server.clone();
    // Who is told to stop before it is ready has nothing to drain.
    let running = tokio::select! {
        started = start(options) => started?,
        _ = terminate.recv() => return Ok(()),
        _ = interrupt.recv() => return Ok(()),
        () = abandoned(&mut supervisor) => {
            tracing::warn!("the supervisor is gone before anything was served");
            return Ok(());
        }
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
        () = attend(&mut supervisor, running.up.clone(), running.context.clone()) => {
            tracing::warn!("the supervisor is gone");
            orphaned(&server);
        }
    }
    tokio::select! {
        () = running.stop() => {}
        _ = interrupt.recv() => tracing::warn!("left without draining; what was answered is on disk"),
    }
    Ok(())
}

/// Opens every database as serving would, which migrates it, and says what was done.
async fn migrate(config: Config) -> Result<(), StartError> {
    let _data_dir = DataDir::open(&config.data)?;
    let mut lines = Vec::new();
    for service in build(config, all()).await?.services {
        if service.migrated.is_empty() {
            lines.push(format!("{}\tup to date", service.name));
        }
        lines.extend(service.migrated.iter().map(|step| format!("{}\tapplied {step}", service.name)));
    }
    print_lines(lines)
}

async fn openapi(mut config: Config) -> Result<(), StartError> {
    // The document needs the routes, not the data: it is made in a directory that goes away again.
    let directory = std::env::temp_dir().join(format!("rtcd-openapi-{}", std::process::id()));
    config.data = directory.clone();
    let document = document(config).await;
    let _ = std::fs::remove_dir_all(&directory);
    let text = serde_json::to_string_pretty(&document?).map_err(kernel::Error::internal)?;
    print_lines([text])
}

/// The document as the gateway serves it.
async fn document(config: Config) -> Result<serde_json::Value, StartError> {
    let _data_dir = DataDir::open(&config.data)?;
    let Built { context, services, .. } = build(config, all()).await?;
    let gateway = Client::local(gateway::router(&context, upstreams(services)));
    let request = Request::builder().uri("/api/v1/openapi.json").body(Body::empty());
    let response = gateway.send(request.map_err(kernel::Error::internal)?).await?;
    let body =
        axum::body::to_bytes(response.into_body(), usize::MAX).await.map_err(kernel::Error::internal)?;
    Ok(serde_json::from_slice(&body).map_err(kernel::Error::internal)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_whose_drain_never_ends_is_left_in_the_end() {
        let (left, leaves) = std::sync::mpsc::channel();
        leave_within(Duration::from_millis(1), move || left.send(()).unwrap());
        leaves.recv_timeout(Duration::from_secs(20)).expect("an end");
    }
}
