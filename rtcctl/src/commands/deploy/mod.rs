//! `rtcctl deploy`: versions of the platform on a cluster.
//!
//! Invariants: one place decides which cluster is meant; whatever is told about a pod says why, under a code.

pub mod access;
mod layout;
mod status;
mod targets;

use crate::cli::Stopping;
use crate::context::Context;
use crate::error::{Error, Result};
use crate::output::Report;
use crate::{codes, human};

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    pub access: access::Args,
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Show workloads down to their containers, with reasons; --watch goes on
    Status(status::Args),
}

impl Command {
    pub fn stopping(&self) -> Stopping {
        match self {
            Command::Status(args) if args.watch => Stopping::Itself,
            Command::Status(_) => Stopping::Dropped,
        }
    }
}

pub async fn run(args: Args, context: &Context) -> Result<Report> {
    match args.command {
        Command::Status(args) => Box::pin(status::run(args, context)).await,
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
