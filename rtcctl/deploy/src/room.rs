//! Whether the quotas of a namespace hold what is to come beside what runs.
//!
//! Invariants: what cannot be read counts as no limit, and what may not be looked at too: the cluster itself refuses what
//! does not fit; nothing is asked of nodes, which may come; what runs is changed while the rest stands, so that there is
//! room for that too.

use std::collections::BTreeMap;

use kubernetes::{Error, Gvk, Result};
use serde::Serialize;
use serde_json::Value as Json;

use crate::manifest::Manifest;
use crate::port::Port;

/// Sums of parts are not as exact as what is written down.
const ROUNDED: f64 = 1e-9;

/// A limit that is too low.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Lack {
    /// The ResourceQuota.
    pub quota: String,
    /// `requests.cpu`.
    pub what: String,
    /// In pods, cores or bytes.
    pub hard: f64,
    pub used: f64,
    pub more: f64,
}

impl std::fmt::Display for Lack {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { quota, what, hard, used, more } = self;
        write!(f, "ResourceQuota/{quota}: {what} is {hard}, {used} are used, and {more} more would be")
    }
}

/// The limits that Deployments of `more` would pass, each with its own number of replicas.
///
/// # Errors
/// The cluster cannot be asked.
pub async fn lacking(port: &dyn Port, namespace: &str, more: &Manifest) -> Result<Vec<Lack>> {
    let quotas = match port.list(&Gvk::named("v1", "ResourceQuota"), namespace, "").await {
        Ok(quotas) => quotas,
        Err(Error::Forbidden { .. } | Error::NotFound { .. } | Error::UnknownKind { .. }) => {
            return Ok(Vec::new());
        }
        Err(error) => return Err(error),
    };
    Ok(lacks(&quotas, &wanted(more)))
}

/// The same of quotas that are known.
pub fn lacks(quotas: &[Json], wanted: &BTreeMap<&'static str, f64>) -> Vec<Lack> {
    let mut lacks = Vec::new();
    // One that is about some pods alone would have to be asked about each.
    let whole = quotas.iter().filter(|quota| {
        quota["spec"]["scopes"].as_array().is_none_or(Vec::is_empty)
            && quota["spec"]["scopeSelector"].is_null()
    });
    for quota in whole {
        for (what, hard) in quota["status"]["hard"].as_object().into_iter().flatten() {
            let name = match what.as_str() {
                "cpu" => "requests.cpu",
                "memory" => "requests.memory",
                "count/pods" => "pods",
                "count/deployments.apps" => "deployments",
                name => name,
            };
            let used = amount(&quota["status"]["used"][what]).unwrap_or(0.0);
            if let (Some(hard), Some(more)) = (amount(hard), wanted.get(name).copied())
                && used + more > hard * (1.0 + ROUNDED)
            {
                let quota = quota["metadata"]["name"].as_str().unwrap_or_default().to_owned();
                lacks.push(Lack { quota, what: what.clone(), hard, used, more });
            }
        }
    }
    lacks
}

/// What Deployments take in all, and as many pods more as each may have too many of while those of its first names are rolled.
pub fn wanted(manifest: &Manifest) -> BTreeMap<&'static str, f64> {
    let mut wanted = BTreeMap::new();
    let deployments =
        manifest.items.iter().map(|item| &item.body).filter(|body| body["kind"] == "Deployment");
    for body in deployments {
        let pods = body["spec"]["replicas"].as_f64().unwrap_or(1.0);
        let pods = pods + surge(&body["spec"]["strategy"], pods);
        let mut add = |what: &'static str, more: f64| *wanted.entry(what).or_insert(0.0) += more;
        add("deployments", 1.0);
        add("pods", pods);
        for container in body["spec"]["template"]["spec"]["containers"].as_array().into_iter().flatten() {
            let resources = &container["resources"];
            // What is limited and not asked for is asked for as it is limited.
            let asked = |what: &str| {
                amount(&resources["requests"][what]).or_else(|| amount(&resources["limits"][what]))
            };
            add("requests.cpu", pods * asked("cpu").unwrap_or(0.0));
            add("requests.memory", pods * asked("memory").unwrap_or(0.0));
            add("limits.cpu", pods * amount(&resources["limits"]["cpu"]).unwrap_or(0.0));
            add("limits.memory", pods * amount(&resources["limits"]["memory"]).unwrap_or(0.0));
        }
    }
    wanted
}

/// So many pods more than wanted a Deployment may have while one gives way to another.
fn surge(strategy: &Json, pods: f64) -> f64 {
    if strategy["type"] == "Recreate" {
        return 0.0;
    }
    let share = |percent: f64| (pods * percent / 100.0).ceil();
    match &strategy["rollingUpdate"]["maxSurge"] {
        Json::String(text) => text.strip_suffix('%').and_then(|text| text.parse().ok()).map_or(1.0, share),
        Json::Number(number) => number.as_f64().unwrap_or(1.0),
        _ => share(25.0),
    }
}

/// `250m`, `1Gi`, `4`.
fn amount(value: &Json) -> Option<f64> {
    const UNITS: [(&str, f64); 11] = [
        ("Ki", 1024.0),
        ("Mi", 1_048_576.0),
        ("Gi", 1_073_741_824.0),
        ("Ti", 1_099_511_627_776.0),
        ("m", 0.001),
        ("k", 1e3),
        ("M", 1e6),
        ("G", 1e9),
        ("T", 1e12),
        ("u", 1e-6),
        ("n", 1e-9),
    ];
    if let Some(number) = value.as_f64() {
        return Some(number);
    }
    let text = value.as_str()?;
    let unit = UNITS.iter().find_map(|(unit, times)| Some((text.strip_suffix(unit)?, *times)));
    let (number, times) = unit.unwrap_or((text, 1.0));
    number.parse::<f64>().ok().map(|number| number * times)
}
