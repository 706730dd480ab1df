//! Which cluster is meant, and what asks AWS about it.
//!
//! Precedence of the name: `--cluster`, `RTCCTL_CLUSTER`, the environment's `cluster`, the output `rtc` of its
//! infrastructure.

use std::sync::Arc;

use aws::{Place, SdkConfig};
use codes::{Error, Result};
use eks::Eks;
use kubernetes::Access;
use kubernetes::access::NoToken;
use serde_json::Value;
use settings::nearest;

use super::failed;
use crate::commands::image::subject;
use crate::commands::infra::outputs;
use crate::context::Context;

/// So many names are proposed.
const NAMES_SHOWN: usize = 8;

/// Flags of every command that asks EKS. They are settings: [`settings`] decides which holds.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct Flags {
    /// The cluster, by its name [default: that of the environment]
    #[arg(long, global = true, value_name = "NAME", help_heading = "Cluster")]
    pub cluster: Option<String>,
    /// The region of AWS [default: that of the environment, AWS_REGION, or the profile's]
    #[arg(long, global = true, value_name = "REGION", help_heading = "Cluster")]
    pub region: Option<String>,
    /// The profile of the AWS files [default: that of the environment, or AWS_PROFILE]
    #[arg(long, global = true, value_name = "NAME", help_heading = "Cluster")]
    pub aws_profile: Option<String>,
}

impl Flags {
    /// The flags that were given, by the key of their setting.
    pub fn flags(&self) -> [(&'static str, Option<String>); 3] {
        [
            ("cluster", self.cluster.clone()),
            ("region", self.region.clone()),
            ("aws_profile", self.aws_profile.clone()),
        ]
    }
}

/// A cluster by its name, and what asks about it.
pub struct Target {
    pub name: String,
    pub config: SdkConfig,
    pub eks: Eks,
}

/// AWS of the environment. Nothing is asked of it yet.
pub async fn open(place: &Place, context: &Context) -> Result<SdkConfig> {
    subject::configure(place, context).await.map_err(|error| failed::of_aws(error, context))
}

/// The cluster that is meant. Where only the infrastructure knows, Terraform is asked.
pub async fn target(context: &Context) -> Result<Target> {
    let mut place = subject::place(context);
    let name = match context.config.text("cluster") {
        Some(name) => name.to_owned(),
        None => {
            let (name, region) = of_infrastructure(context).await?;
            place.region = place.region.or(region);
            name
        }
    };
    let config = open(&place, context).await?;
    Ok(Target { name, eks: Eks::new(&config), config })
}

async fn of_infrastructure(context: &Context) -> Result<(String, Option<String>)> {
    let env = context.config.env();
    let unnamed = |message: String| Error::new(&codes::CLU001, message).with_hint(codes::CLU001.action);
    if context.config.path_of("terraform").is_none() {
        return Err(unnamed(format!("the environment {env} names no cluster")));
    }
    let known = outputs::rtc(context).await.map_err(|error| {
        error.with_hint("to do without Terraform, name the cluster: --cluster NAME --region REGION")
    })?;
    let known =
        known.ok_or_else(|| unnamed(format!("nothing has been applied for {env} yet: it has no cluster")))?;
    let text = |value: &Value| value.as_str().filter(|text| !text.is_empty()).map(str::to_owned);
    let name = text(&known["cluster"]["name"])
        .ok_or_else(|| unnamed(format!("the infrastructure of {env} has no cluster")))?;
    Ok((name, text(&known["region"])))
}

impl Target {
    /// The way to its API, with tokens of our own making.
    pub async fn way(&self, context: &Context) -> Result<Access, aws::Error> {
        let endpoint = self.eks.describe(&self.name).await?;
        let tokens = eks::Tokens::new(&self.config, self.name.as_str(), context.clock.clone())?;
        Ok(Access::Endpoint {
            // Without TLS there is nothing to prove.
            ca_pem: endpoint.url.starts_with("https://").then_some(endpoint.ca_pem),
            url: endpoint.url,
            tokens: Arc::new(Tokens(tokens)),
        })
    }

    /// What is said of a refusal; where the cluster is not there, with the names of those that are.
    pub async fn told(&self, error: aws::Error, context: &Context) -> Error {
        if !error.is_not_found() {
            return failed::of_aws(error, context);
        }
        let region = self.eks.region();
        let told = Error::new(&codes::CLU002, format!("there is no cluster {} in {region}", self.name));
        let Ok(names) = self.eks.names().await else { return told.with_hint(codes::CLU002.action) };
        match nearest(&self.name, names.iter().map(String::as_str)) {
            Some(near) => told.with_hint(format!("did you mean {near}?")),
            None if names.is_empty() => told.with_hint(format!(
                "{region} has none in this account; --region and --aws-profile look elsewhere"
            )),
            None => {
                let shown: Vec<&str> = names.iter().map(String::as_str).take(NAMES_SHOWN).collect();
                let more = if names.len() > NAMES_SHOWN { ", …" } else { "" };
                told.with_hint(format!("there are {}{more}", shown.join(", ")))
            }
        }
    }
}

struct Tokens(eks::Tokens);

#[async_trait::async_trait]
impl kubernetes::Tokens for Tokens {
    async fn token(&self) -> std::result::Result<String, NoToken> {
        Ok(self.0.token().await?.value().to_owned())
    }

    async fn refused(&self, _token: &str) {
        self.0.forget().await;
    }
}
