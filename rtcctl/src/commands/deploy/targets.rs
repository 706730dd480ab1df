//! The workloads that are meant: those named, or all that this tool deployed.

use codes::{Error, Result};
use kubernetes::{Cluster, Error as Kube, Gvk};
use manifests::render::ENVIRONMENT;
use rollout::objects::Kind;
use rollout::world::Target;
use serde_json::Value;
use settings::nearest;

use super::access::{self, failed};
use super::within;
use crate::context::Context;

/// On everything that belongs to the platform.
const OWN: &str = "app.kubernetes.io/part-of=rtc";

/// The kinds that run pods.
const KINDS: [Kind; 4] = [Kind::Deployment, Kind::StatefulSet, Kind::DaemonSet, Kind::Job];

#[derive(Debug, Clone, clap::Args)]
#[group(skip)]
pub struct Args {
    /// Workloads: orders, deployment/orders; all of the platform without one
    #[arg(value_name = "WORKLOAD")]
    pub workloads: Vec<String>,
    /// Workloads with these labels, for example app=web
    #[arg(short = 'l', long, value_name = "LABELS", conflicts_with = "workloads")]
    pub selector: Option<String>,
    /// Everything in the namespace, also what others deployed
    #[arg(long, conflicts_with_all = ["workloads", "selector"])]
    pub all: bool,
}

/// Whose workloads are meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Of<'a> {
    /// Whoever deployed them.
    Anybody,
    /// Those of an environment; never those that are labelled as another's.
    Environment(&'a str),
}

impl Of<'_> {
    fn labels(self) -> String {
        match self {
            Of::Anybody => OWN.to_owned(),
            Of::Environment(name) => format!("{OWN},{ENVIRONMENT}={name}"),
        }
    }

    fn has(self, item: &Value) -> bool {
        match (self, item["metadata"]["labels"][ENVIRONMENT].as_str()) {
            (Of::Environment(name), Some(label)) => label == name,
            _ => true,
        }
    }
}

/// The cluster, and whatever is meant there, whoever deployed it, within the time that a command has.
pub async fn looked_up(args: &Args, namespace: &str, context: &Context) -> Result<(Cluster, Vec<Target>)> {
    let finding = within(context, async {
        let cluster = access::cluster(context).await?;
        let targets = find(args, Of::Anybody, &cluster, namespace).await?;
        Ok((cluster, targets))
    });
    Box::pin(finding).await
}

/// Finds them.
pub async fn find(args: &Args, of: Of<'_>, cluster: &Cluster, namespace: &str) -> Result<Vec<Target>> {
    let own = of.labels();
    let labels = match (&args.selector, args.all || !args.workloads.is_empty()) {
        (Some(selector), _) => Some(selector.as_str()),
        (None, true) => None,
        (None, false) => Some(own.as_str()),
    };
    let lists = KINDS.map(|kind| async move {
        let found = cluster.list(&Gvk::from(kind), namespace, labels).await;
        (kind, found)
    });
    let mut targets = Vec::new();
    for (kind, found) in futures_util::future::join_all(lists).await {
        match found {
            Ok(items) => {
                let meant = items.iter().filter(|item| of.has(item));
                let names = meant.filter_map(|item| item["metadata"]["name"].as_str());
                targets.extend(names.map(|name| Target::new(kind, namespace, name)));
            }
            // Whoever looks after Deployments may be kept from the other kinds.
            Err(Kube::Forbidden { .. }) if kind != Kind::Deployment => {}
            Err(error) => return Err(failed(error)),
        }
    }
    if args.workloads.is_empty() {
        if targets.is_empty() {
            let whose = match of {
                Of::Anybody => "the platform".to_owned(),
                Of::Environment(name) => format!("the environment {name}"),
            };
            return Err(nothing(format!("{namespace} holds no workload of {whose}"), cluster));
        }
        return Ok(targets);
    }
    let mut chosen = Vec::new();
    for name in &args.workloads {
        let (kind, plain) = match name.split_once('/') {
            Some((kind, plain)) => (Some(kind_named(kind)?), plain),
            None => (None, name.as_str()),
        };
        let is_meant = |target: &&Target| target.name == plain && kind.is_none_or(|kind| kind == target.kind);
        let found: Vec<Target> = targets.iter().filter(is_meant).cloned().collect();
        if found.is_empty() {
            let error = nothing(format!("{namespace} holds no workload {name:?}"), cluster);
            return Err(match nearest(plain, targets.iter().map(|target| target.name.as_str())) {
                Some(near) => error.with_hint(format!("did you mean {near}?")),
                None => error,
            });
        }
        chosen.extend(found);
    }
    chosen.sort();
    chosen.dedup();
    Ok(chosen)
}

pub fn nothing(message: String, cluster: &Cluster) -> Error {
    Error::new(&codes::KUB014, message)
        .with_cause(format!("asked at {}", cluster.host()))
        .with_hint(codes::KUB014.action)
}

fn kind_named(word: &str) -> Result<Kind> {
    match word.to_lowercase().as_str() {
        "deployment" | "deployments" | "deploy" => Ok(Kind::Deployment),
        "statefulset" | "statefulsets" | "sts" => Ok(Kind::StatefulSet),
        "daemonset" | "daemonsets" | "ds" => Ok(Kind::DaemonSet),
        "job" | "jobs" => Ok(Kind::Job),
        _ => Err(Error::new(&codes::USE001, format!("{word:?} is no kind of workload"))
            .with_hint("deployment, statefulset, daemonset or job")),
    }
}
