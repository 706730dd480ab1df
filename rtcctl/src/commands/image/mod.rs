//! `rtcctl image`: programs to images without a daemon, and images to registries.
//!
//! Invariants: the same program gives the same digest on every machine; what a registry has is not sent again; a tag
//! of an immutable repository never moves; what was pushed, promoted or deleted is in the journal.

mod access;
mod build;
mod diff;
mod failed;
mod inspect;
mod ls;
mod promote;
mod prune;
mod push;
mod revision;
mod scan;
mod subject;

use crate::context::Context;
use crate::error::Result;
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

pub async fn run(command: Command, context: &Context) -> Result<Report> {
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
