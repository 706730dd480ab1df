//! `rtcctl image`: programs to images without a daemon, and images to registries.
//!
//! Invariants: the same program gives the same digest on every machine; what a registry has is not sent again; a tag
//! of an immutable repository never moves; what was pushed, promoted or deleted is in the journal.

pub(in crate::commands) mod access;
mod base;
mod binaries;
mod build;
mod diff;
pub(in crate::commands) mod failed;
mod inspect;
mod ls;
mod planned;
mod promote;
mod prune;
mod push;
mod revision;
mod scan;
pub(in crate::commands) mod steps;
pub(in crate::commands) mod subject;

use codes::{Error, Result, exit};

use crate::cli::Stopping;
use crate::context::Context;
use crate::human;
use crate::output::Report;

#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Build an image from programs, the same on every machine
    Build(build::Args),
    /// Push what was built; what the registry has is not sent again
    Push(push::Args),
    /// List the images of a repository
    Ls(ls::Args),
    /// Show what an image is made of and what it runs
    Inspect(inspect::Args),
    /// Compare two images: layers, files, configuration
    Diff(diff::Args),
    /// Copy an image by its digest to where the next environment takes it from
    Promote(promote::Args),
    /// Delete what the lifecycle would delete; --dry-run shows it
    Prune(prune::Args),
    /// Show what a scan found, or fail on it
    Scan(scan::Args),
}

impl Command {
    pub fn stopping(&self) -> Stopping {
        match self {
            Command::Build(_) | Command::Push(_) | Command::Promote(_) | Command::Prune(_) => {
                Stopping::Itself
            }
            _ => Stopping::Dropped,
        }
    }

    /// What state things are in where it was stopped.
    fn where_stopped(&self) -> &'static str {
        match self {
            Command::Build(_) => {
                "layers that were packed are kept; an image has its name when it is complete"
            }
            Command::Push(_) | Command::Promote(_) => {
                "layers that were sent stay and are not sent again; a tag moves after everything else"
            }
            Command::Prune(_) => "what was deleted is deleted; --dry-run shows what is left",
            _ => "nothing was changed",
        }
    }

    fn only_reads(&self) -> bool {
        self.stopping() == Stopping::Dropped
    }
}

/// Stops at the operator's wish and at the deadline, and says what state things are in.
pub async fn run(command: Command, context: &Context) -> Result<Report> {
    let state = command.where_stopped();
    let only_reads = command.only_reads();
    // A scan has a deadline of its own.
    let deadline = context.config.duration("timeout").filter(|_| !matches!(command, Command::Scan(_)));
    let done = tokio::select! {
        done = carry_out(command, context) => done,
        signal = context.interrupts.wait(), if !only_reads => Err(signal.error(state)),
        () = tokio::time::sleep(deadline.unwrap_or_default()), if deadline.is_some() => {
            let after = human::duration(deadline.unwrap_or_default());
            Err(Error::new(&codes::IMG024, format!("not done after {after}: {state}")).with_hint(codes::IMG024.action))
        }
    };
    done.map_err(|error| match error.exit() {
        // Whoever only looks has neither built nor pushed.
        exit::PUSH_FAILED if only_reads => error.with_exit(exit::UNAVAILABLE),
        exit::BUILD_FAILED if only_reads => error.with_exit(exit::CONFIGURATION),
        _ => error,
    })
}

async fn carry_out(command: Command, context: &Context) -> Result<Report> {
    match command {
        Command::Build(args) => build::run(args, context).await,
        Command::Push(args) => push::run(args, context).await,
        Command::Ls(args) => ls::run(args, context).await,
        Command::Inspect(args) => inspect::run(args, context).await,
        Command::Diff(args) => diff::run(args, context).await,
        Command::Promote(args) => promote::run(args, context).await,
        Command::Prune(args) => prune::run(args, context).await,
        Command::Scan(args) => scan::run(args, context).await,
    }
}

#[cfg(test)]
mod tests;
