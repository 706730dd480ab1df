//! One command a file: its arguments and `run`.

pub mod cluster;
pub mod completions;
pub mod config;
pub mod deploy;
pub mod doctor;
pub mod down;
pub mod events;
pub mod explain;
pub mod image;
pub mod infra;
pub mod load;
pub mod metrics;
pub mod open;
pub mod pipeline;
pub mod replay;
pub mod restart;
pub mod runs;
pub mod ship;
pub mod status;
#[cfg(test)]
pub(crate) mod testing;
pub mod up;
pub mod version;

use codes::Result;

use crate::cli::Command;
use crate::context::Context;
use crate::output::Report;

/// Runs a command to its answer.
pub async fn run(command: Command, context: &Context) -> Result<Report> {
    match command {
        Command::Up(args) => Box::pin(up::run(args, context)).await,
        Command::Down(args) => down::run(args, context).await,
        Command::Status(args) => status::run(args, context).await,
        Command::Restart(args) => Box::pin(restart::run(args, context)).await,
        Command::Open(args) => open::run(args, context).await,
        Command::Load(args) => Box::pin(load::run(args, context)).await,
        Command::Replay(args) => Box::pin(replay::run(args, context)).await,
        Command::Doctor(args) => Box::pin(doctor::run(args, context)).await,
        Command::Config(command) => config::run(command, context),
        Command::Deploy(args) => Box::pin(deploy::run(args, context)).await,
        Command::Events(command) => Box::pin(events::run(command, context)).await,
        Command::Cluster(args) => Box::pin(cluster::run(args, context)).await,
        Command::Image(command) => Box::pin(image::run(command, context)).await,
        Command::Infra(command) => Box::pin(infra::run(command, context)).await,
        Command::Ship(args) => Box::pin(ship::run(*args, context)).await,
        Command::Runs(command) => Box::pin(runs::run(command, context)).await,
        Command::Pipeline(command) => Box::pin(pipeline::run(command, context)).await,
        Command::Metrics(command) => Box::pin(metrics::run(command, context)).await,
        Command::Explain(args) => explain::run(args),
        Command::Completions(args) => completions::run(args, context),
        Command::Version(_) => Ok(version::run()),
    }
}

#[cfg(test)]
mod tests;
