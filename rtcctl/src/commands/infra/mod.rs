//! `rtcctl infra`: the infrastructure of an environment, planned, judged and changed through Terraform.
//!
//! Invariants: what is applied is exactly the plan that was judged; a plan file never outlives its command; what keeps
//! data is destroyed only when each resource of it was named, or the whole environment by its name; every apply is in the
//! journal, and one that lost its rtcctl is told of at the next run.

mod apply;
mod cost;
mod destroy;
mod drift;
mod earlier;
mod expected;
mod failed;
mod following;
mod locks;
pub(in crate::commands) mod outputs;
mod plan;
mod planning;
mod screen;
mod site;
pub(in crate::commands) mod steps;

use codes::Result;

use crate::cli::Stopping;
use crate::context::Context;
use crate::output::Report;

#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Show what an apply would change, and judge it
    Plan(plan::Args),
    /// Plan, judge, and apply exactly that plan
    Apply(apply::Args),
    /// Destroy everything of an environment
    Destroy(destroy::Args),
    /// Show what somebody changed behind Terraform's back
    Drift(drift::Args),
    /// Show the outputs that other commands read
    Outputs(outputs::Args),
    /// Show who holds the state
    Locks(locks::Args),
    /// Remove a lock whose holder is gone
    Unlock(locks::UnlockArgs),
}

impl Command {
    pub fn stopping(&self) -> Stopping {
        match self {
            Command::Outputs(_) | Command::Locks(_) => Stopping::Dropped,
            _ => Stopping::Itself,
        }
    }
}

pub async fn run(command: Command, context: &Context) -> Result<Report> {
    match command {
        Command::Plan(args) => plan::run(args, context).await,
        Command::Apply(args) => apply::run(args, context).await,
        Command::Destroy(args) => destroy::run(args, context).await,
        Command::Drift(args) => drift::run(args, context).await,
        Command::Outputs(args) => outputs::run(args, context).await,
        Command::Locks(_) => locks::run(context).await,
        Command::Unlock(args) => locks::unlock(args, context).await,
    }
}

#[cfg(test)]
mod tests;
