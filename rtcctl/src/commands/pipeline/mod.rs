//! `rtcctl pipeline`: jobs of Jenkins started, watched, answered, stopped and kept as code.
//!
//! Invariants: parameters are compared with the job's own before anything is started; a build goes on when we leave, and
//! whoever leaves is told how to come back; the exit code is the build's result; no secret is in an answer, a message or
//! the journal.

mod access;
mod failed;
mod following;
mod input;
mod keyboard;
mod list;
mod logs;
mod params;
mod run;
mod shape;
mod stages;
mod status;
mod stop;
mod sync;

use codes::Result;

use crate::cli::Stopping;
use crate::context::Context;
use crate::output::Report;

#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// List jobs: folders, branches, what became of the last build
    List(list::Args),
    /// Show what a job takes
    Params(params::Args),
    /// Start a job, or follow one that runs, to the end
    Run(Box<run::Args>),
    /// Show a build: what it does, why, since when, what it asks
    Status(status::Args),
    /// Print the log of a build
    Logs(logs::Args),
    /// Show the stages of a build
    Stages(stages::Args),
    /// Answer what a build asks
    Input(input::Args),
    /// Stop a build, or take it out of the queue
    Stop(stop::Args),
    /// Make the jobs of Jenkins as the files of the repository describe them
    Sync(sync::Args),
}

impl Command {
    pub fn stopping(&self) -> Stopping {
        match self {
            Command::Run(_) | Command::Stop(_) | Command::Sync(_) | Command::Input(_) => Stopping::Itself,
            _ => Stopping::Dropped,
        }
    }
}

pub async fn run(command: Command, context: &Context) -> Result<Report> {
    match command {
        Command::List(args) => list::run(args, context).await,
        Command::Params(args) => params::run(args, context).await,
        Command::Run(args) => Box::pin(run::run(*args, context)).await,
        Command::Status(args) => status::run(args, context).await,
        Command::Logs(args) => logs::run(args, context).await,
        Command::Stages(args) => stages::run(args, context).await,
        Command::Input(args) => input::run(args, context).await,
        Command::Stop(args) => stop::run(args, context).await,
        Command::Sync(args) => Box::pin(sync::run(args, context)).await,
    }
}

#[cfg(test)]
mod tests;
