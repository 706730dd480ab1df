//! The command line of rtcd.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use contracts::topics;
use host::{Config, StartError};
use serde_json::json;

use crate::serve::{Options, start};
use crate::{all, select};

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
    if let Command::Serve { api_bind, admin_bind, log_format, .. } = &cli.command {
        overrides.extend(api_bind.map(|address| ("server.api_bind", json!(address))));
        overrides.extend(admin_bind.map(|address| ("server.admin_bind", json!(address))));
        overrides.extend(log_format.as_ref().map(|format| ("log.format", json!(format))));
    }
    let beside = cli.data.clone().unwrap_or_else(|| PathBuf::from("data")).join("rtcd.toml");
    let file = cli.config.or_else(|| beside.is_file().then_some(beside));
    let config = Config::load(file.as_deref(), &overrides)?;
    match cli.command {
        Command::Serve { only, .. } => {
            let targets = select(&only)?;
            host::telemetry::install(&config.log.level, &config.log.format)?;
            runtime(&config)?.block_on(serve(Options { config, targets }))
        }
        Command::Migrate => runtime(&config)?.block_on(migrate(config)),
        Command::Topics => {
            for topic in topics::ALL {
                println!("{}\t{} partitions\t{} days", topic.name, topic.partitions, topic.retention_days);
            }
            Ok(())
        }
        Command::Openapi => runtime(&config)?.block_on(openapi(config)),
        Command::Config => {
            for setting in config.settings() {
                println!("{} = {}\t# {}", setting.key, setting.value, setting.from);
            }
            Ok(())
        }
        Command::Services => {
            for target in all() {
                println!("{}\t{}", target.name, target.summary);
            }
            Ok(())
        }
    }
}

fn runtime(config: &Config) -> Result<tokio::runtime::Runtime, StartError> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    if config.server.worker_threads > 0 {
        builder.worker_threads(config.server.worker_threads);
    }
    builder.enable_all().build().map_err(|error| StartError::Other(kernel::Error::internal(error)))
}

async fn serve(options: Options) -> Result<(), StartError> {
    use tokio::signal::unix::{SignalKind, signal};
    let failed = |error: std::io::Error| StartError::Other(kernel::Error::internal(error));
    let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
    let running = start(options).await?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    tokio::select! {
        () = running.stop() => {}
        _ = interrupt.recv() => tracing::warn!("left without draining; what was answered is on disk"),
    }
    Ok(())
}

/// Opens every database as serving would, which migrates it.
async fn migrate(config: Config) -> Result<(), StartError> {
    let (_, services) = offline(config).await?;
    for service in &services {
        println!("{}\tup to date", service.name);
    }
    Ok(())
}

async fn openapi(mut config: Config) -> Result<(), StartError> {
    // The document needs the routes, not the data: it is made in a directory that goes away again.
    let directory = std::env::temp_dir().join(format!("rtcd-openapi-{}", std::process::id()));
    config.data = directory.clone();
    let document = document(config).await;
    let _ = std::fs::remove_dir_all(&directory);
    let text = serde_json::to_string_pretty(&document?).map_err(kernel::Error::internal)?;
    println!("{text}");
    Ok(())
}

/// The document as the gateway serves it.
async fn document(config: Config) -> Result<serde_json::Value, StartError> {
    let (context, services) = offline(config).await?;
    let router = gateway::router(&context, crate::serve::upstreams(services));
    let request = axum::http::Request::builder().uri("/api/v1/openapi.json").body(axum::body::Body::empty());
    let request = request.map_err(kernel::Error::internal)?;
    let Ok(response) = tower::ServiceExt::oneshot(router, request).await;
    let body =
        axum::body::to_bytes(response.into_body(), usize::MAX).await.map_err(kernel::Error::internal)?;
    Ok(serde_json::from_slice(&body).map_err(kernel::Error::internal)?)
}

/// Builds all services without serving them.
async fn offline(config: Config) -> Result<(host::Context, Vec<host::Service>), StartError> {
    use std::sync::Arc;
    let _lock = crate::data_dir::DataDir::open(&config.data)?;
    let clock: Arc<dyn kernel::Clock> = Arc::new(kernel::SystemClock);
    let ids = kernel::IdSource::new(clock.clone(), 1);
    let databases = host::Databases::of(&config);
    let log = bus::EmbeddedLog::open(databases.open("log")?, clock.clone())
        .await
        .map_err(|source| StartError::Database { name: "log".to_owned(), source })?;
    let secrets = host::Secrets::new(Some(config.data.join("secrets")), config.profile);
    let context = host::Context::new(config, clock, ids, Arc::new(log), databases, secrets)?;
    let mut services = Vec::new();
    for target in all() {
        services.push((target.build)(&context).await?);
    }
    Ok((context, services))
}
