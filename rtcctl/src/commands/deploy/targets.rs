//! The workloads that are meant: those named, or all that this tool deployed.

use kubernetes::{Cluster, Error as Kube, Gvk};
use rollout::objects::Kind;
use rollout::world::Target;

use super::access::failed;
use crate::codes;
use crate::config::nearest;
use crate::error::{Error, Result};

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

/// Finds them.
pub async fn find(args: &Args, cluster: &Cluster, namespace: &str) -> Result<Vec<Target>> {
    let labels = match (&args.selector, args.all || !args.workloads.is_empty()) {
        (Some(selector), _) => Some(selector.as_str()),
        (None, true) => None,
        (None, false) => Some(OWN),
    };
    let lists = KINDS.map(|kind| async move {
        let found = cluster.list(&Gvk::from(kind), namespace, labels).await;
        (kind, found)
    });
    let mut targets = Vec::new();
    for (kind, found) in futures_util::future::join_all(lists).await {
        match found {
            Ok(items) => {
                let names = items.iter().filter_map(|item| item["metadata"]["name"].as_str());
                targets.extend(names.map(|name| Target::new(kind, namespace, name)));
            }
            // Whoever looks after Deployments may be kept from the other kinds.
            Err(Kube::Forbidden { .. }) if kind != Kind::Deployment => {}
            Err(error) => return Err(failed(error)),
        }
    }
    if args.workloads.is_empty() {
        if targets.is_empty() {
            return Err(nothing(format!("{namespace} holds no workload of the platform"), cluster));
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

fn nothing(message: String, cluster: &Cluster) -> Error {
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
