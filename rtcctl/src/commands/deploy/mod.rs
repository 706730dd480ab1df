//! `rtcctl deploy`: versions of the platform on a cluster.
//!
//! Invariants: one place decides which cluster is meant; whatever is told about a pod says why, under a code.

pub mod access;
mod described;
mod diagnose;
mod driving;
pub(in crate::commands) mod gauge;
mod layout;
mod lint;
mod logs;
mod preview;
pub(in crate::commands) mod prove;
mod render;
mod restart;
mod rollback;
pub mod rollout;
mod status;
pub(in crate::commands) mod steps;
mod targets;
mod telling;

use codes::{Error, Result};

use crate::cli::Stopping;
use crate::context::Context;
use crate::human;
use crate::output::Report;

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    pub access: access::Args,
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Write what a release consists of
    Render(render::Args),
    /// Write a release as a Helm chart
    Chart(render::ChartArgs),
    /// Find what makes a rollout lose requests
    Lint(lint::Args),
    /// Show what an apply would change, field by field
    Diff(preview::DiffArgs),
    /// Apply a release wave by wave, and wait for its pods
    Apply(rollout::ApplyArgs),
    /// Bring a version onto the cluster, watch it, judge it, take it back
    Rollout(Box<rollout::Args>),
    /// Show what was deployed before
    History,
    /// Go back to what ran before
    Rollback(rollback::Args),
    /// Make every pod anew
    Restart(restart::Args),
    /// Show workloads down to their containers, with reasons; --watch goes on
    Status(status::Args),
    /// Say what is wrong and what every layer knows about it: registry, nodes, logs, revisions
    Diagnose(diagnose::Args),
    /// Show what containers say, the failing ones first; -f goes on
    Logs(logs::Args),
}

impl Command {
    pub fn stopping(&self) -> Stopping {
        match self {
            Command::Apply(_) | Command::Rollout(_) | Command::Rollback(_) | Command::Restart(_) => {
                Stopping::Itself
            }
            Command::Render(_)
            | Command::Chart(_)
            | Command::Lint(_)
            | Command::Diff(_)
            | Command::History => Stopping::Dropped,
            Command::Status(args) if args.watch => Stopping::Itself,
            Command::Logs(args) if args.follow => Stopping::Itself,
            Command::Status(_) | Command::Diagnose(_) | Command::Logs(_) => Stopping::Dropped,
        }
    }
}

pub async fn run(args: Args, context: &Context) -> Result<Report> {
    match args.command {
        Command::Render(args) => render::run(args, context).await,
        Command::Chart(args) => render::chart(args, context).await,
        Command::Lint(args) => lint::run(args, context).await,
        Command::Diff(args) => Box::pin(within(context, preview::diff(args, context))).await,
        Command::Apply(args) => Box::pin(rollout::apply(args, context)).await,
        Command::Rollout(args) => Box::pin(rollout::run(*args, context)).await,
        Command::History => Box::pin(within(context, rollback::history(context))).await,
        Command::Rollback(args) => Box::pin(rollback::rollback(args, context)).await,
        Command::Restart(args) => Box::pin(restart::run(args, context)).await,
        Command::Status(args) => Box::pin(status::run(args, context)).await,
        Command::Diagnose(args) => diagnose::run(args, context).await,
        Command::Logs(args) => Box::pin(logs::run(args, context)).await,
    }
}

/// Gives what only asks the operator's `--timeout`.
async fn within<T>(context: &Context, asking: impl Future<Output = Result<T>>) -> Result<T> {
    let Some(deadline) = context.config.duration("timeout") else { return asking.await };
    match tokio::time::timeout(deadline, asking).await {
        Ok(done) => done,
        Err(_) => {
            Err(Error::new(&codes::KUB017, format!("no whole answer after {}", human::duration(deadline)))
                .with_hint(codes::KUB017.action))
        }
    }
}

#[cfg(test)]
mod tests;
