//! `rtcctl cluster`: clusters of EKS, their nodes, what still fits into them, and signing in.
//!
//! Invariants: nothing of AWS is changed; what may not be looked at is a finding and hides nothing else; the only file that is
//! written is the kubeconfig.

pub(super) mod access;
mod capacity;
mod failed;
mod info;
mod kubeconfig;
mod list;
mod nodes;
mod pods;
mod token;
mod told;

use std::time::Duration;

use codes::{Error, Result};

use crate::context::Context;
use crate::human;
use crate::output::Report;

/// So long AWS, and Terraform where it has to say the name, may take.
const TIMEOUT: Duration = Duration::from_secs(120);

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    pub access: access::Flags,
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// List the clusters of the region
    List(list::Args),
    /// Show a cluster: status, version and its support, access, insights, add-ons
    Info(info::Args),
    /// Show node groups and their machines
    Nodes(nodes::Args),
    /// Show how many pods and addresses are free, and whether a surge fits
    Capacity(capacity::Args),
    /// Print a token for kubectl (ExecCredential)
    Token(token::Args),
    /// Put the cluster into a kubeconfig, with tokens by rtcctl
    Kubeconfig(kubeconfig::Args),
}

impl Args {
    /// The flags that are settings, by the key of their setting.
    pub fn flags(&self) -> Vec<(&'static str, Option<String>)> {
        let mut flags = self.access.flags().to_vec();
        if let Command::Kubeconfig(args) = &self.command {
            flags.push(("kubeconfig", args.file()));
        }
        flags
    }
}

pub async fn run(args: Args, context: &Context) -> Result<Report> {
    let deadline = context.timeout_or(TIMEOUT);
    tokio::select! {
        done = carry_out(args.command, context) => done,
        () = tokio::time::sleep(deadline) => {
            let message = format!("not done after {}", human::duration(deadline));
            Err(Error::new(&codes::CLU014, message).with_hint(codes::CLU014.action))
        }
    }
}

async fn carry_out(command: Command, context: &Context) -> Result<Report> {
    match command {
        Command::List(args) => list::run(args, context).await,
        Command::Info(args) => info::run(args, context).await,
        Command::Nodes(args) => nodes::run(args, context).await,
        Command::Capacity(args) => capacity::run(args, context).await,
        Command::Token(args) => token::run(args, context).await,
        Command::Kubeconfig(args) => kubeconfig::run(args, context).await,
    }
}

#[cfg(test)]
mod tests;
