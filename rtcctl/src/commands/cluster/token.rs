//! `rtcctl cluster token`: what kubectl runs to sign in.
//!
//! Source: "client-go credential plugins", client.authentication.k8s.io/v1. The answer is that document under every `-o`:
//! kubectl reads it, and variables that choose a form must not break it.

use codes::{Result, exit};
use eks::kubeconfig::EXEC_API;
use eks::{Token, Tokens};
use serde_json::{Value, json};

use super::{access, failed};
use crate::context::Context;
use crate::output::Report;

/// What older versions of kubectl speak.
const EXEC_API_BETA: &str = "client.authentication.k8s.io/v1beta1";
/// Where kubectl says which of them it speaks.
const ASKED: &str = "KUBERNETES_EXEC_INFO";

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Print the token alone, for an Authorization header
    #[arg(long)]
    raw: bool,
}

pub async fn run(args: Args, context: &Context) -> Result<Report> {
    let target = access::target(context).await?;
    let told = |error| failed::of_aws(error, context);
    let tokens = Tokens::new(&target.config, target.name.as_str(), context.clock.clone()).map_err(told)?;
    let token = tokens.token().await.map_err(told)?;
    let text = match args.raw {
        true => token.value().to_owned(),
        false => credential(&token, context.config.variable(ASKED)).to_string(),
    };
    context.print(&format!("{text}\n"))?;
    Ok(Report::already_written("cluster/token", exit::DONE))
}

fn credential(token: &Token, asked: Option<&str>) -> Value {
    let asked: Value = asked.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
    let api = match asked["apiVersion"].as_str() {
        Some(EXEC_API_BETA) => EXEC_API_BETA,
        _ => EXEC_API,
    };
    // Whole seconds: not every reader of this document knows others.
    let expires = token.expires_at.to_string();
    let expires = expires.split('.').next().unwrap_or_default();
    json!({
        "kind": "ExecCredential",
        "apiVersion": api,
        "spec": {"interactive": false},
        "status": {"expirationTimestamp": format!("{expires}Z"), "token": token.value()},
    })
}
