//! One cluster with everything that EKS says about it, and what follows from that.

use std::time::Duration;

use aws_sdk_eks::types::{self, InsightStatusValue, VersionStatus};
use kernel::Timestamp;
use serde::Serialize;

use crate::several::{each, told_once};
use crate::{Addon, Cluster, Concern, Eks, Error, Kind, Result, Severity, What, instant};

/// So long before support ends it is said.
const SOON: Duration = Duration::from_secs(90 * 24 * 3_600);
const DAY: Duration = Duration::from_secs(24 * 3_600);
const RESOURCES_SHOWN: usize = 5;
const EVERYBODY: [&str; 2] = ["0.0.0.0/0", "::/0"];

/// A version of Kubernetes on EKS.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Support {
    pub version: String,
    /// `STANDARD_SUPPORT`, `EXTENDED_SUPPORT` or `UNSUPPORTED`.
    pub status: String,
    pub is_default: bool,
    pub standard_ends_at: Option<Timestamp>,
    pub extended_ends_at: Option<Timestamp>,
}

/// What EKS found when it looked into the cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Insight {
    pub id: String,
    pub name: String,
    /// `UPGRADE_READINESS` or `MISCONFIGURATION`.
    pub category: String,
    /// `PASSING`, `WARNING`, `ERROR` or `UNKNOWN`.
    pub status: String,
    pub reason: String,
    /// The version of Kubernetes that it is about.
    pub version: String,
    pub recommendation: String,
    /// What it is about, where it does not pass.
    pub resources: Vec<String>,
    /// Interfaces that are used and will be gone: what, in its place what, and who uses it.
    pub deprecations: Vec<String>,
    pub refreshed_at: Option<Timestamp>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Info {
    pub cluster: Cluster,
    pub support: Option<Support>,
    /// Versions that the cluster could go to, the nearest first.
    pub newer_versions: Vec<String>,
    pub insights: Vec<Insight>,
    pub addons: Vec<Addon>,
    /// What could not be looked at.
    #[serde(skip)]
    pub missing: Vec<Error>,
}

impl Eks {
    /// Everything about one cluster. What may not be asked is in [`Info::missing`]; the cluster itself must be.
    pub async fn info(&self, name: &str) -> Result<Info> {
        let (cluster, versions, insights, addons) =
            tokio::join!(self.cluster(name), self.versions(), self.insights(name), self.addons(name));
        let cluster = cluster?;
        let mut missing = Vec::new();
        let versions = versions.unwrap_or_else(|error| {
            missing.push(error);
            Vec::new()
        });
        let (insights, refused) = insights.unwrap_or_else(|error| (Vec::new(), vec![error]));
        missing.extend(refused);
        let (addons, refused) = addons.unwrap_or_else(|error| (Vec::new(), vec![error]));
        missing.extend(refused);
        told_once(&mut missing);
        let newer_versions = newer(&versions, &cluster.version);
        let support = versions.into_iter().find(|one| one.version == cluster.version);
        Ok(Info { cluster, support, newer_versions, insights, addons, missing })
    }

    async fn versions(&self) -> Result<Vec<Support>> {
        let asked = self.eks.describe_cluster_versions().include_all(true).into_paginator().items().send();
        let found = asked.collect::<Result<Vec<_>, _>>().await;
        let found = found.map_err(|error| Error::of("eks:DescribeClusterVersions", error))?;
        Ok(found
            .into_iter()
            .map(|one| Support {
                version: one.cluster_version.unwrap_or_default(),
                status: one.version_status.as_ref().map_or("unknown", VersionStatus::as_str).to_owned(),
                is_default: one.default_version,
                standard_ends_at: one.end_of_standard_support_date.as_ref().and_then(instant),
                extended_ends_at: one.end_of_extended_support_date.as_ref().and_then(instant),
            })
            .collect())
    }

    async fn insights(&self, cluster: &str) -> Result<(Vec<Insight>, Vec<Error>)> {
        let asked = self.eks.list_insights().cluster_name(cluster).into_paginator().items().send();
        let found = asked.collect::<Result<Vec<_>, _>>().await;
        let found = found.map_err(|error| Error::of("eks:ListInsights", error))?;
        let mut insights: Vec<Insight> = found.into_iter().map(Insight::of).collect();
        let open = insights.iter().filter(|insight| insight.status != InsightStatusValue::Passing.as_str());
        let ids: Vec<String> = open.map(|insight| insight.id.clone()).collect();
        let (details, refused) = each(ids, |id| self.insight(cluster, id)).await;
        for detail in details {
            if let Some(insight) = insights.iter_mut().find(|insight| Some(&insight.id) == detail.id.as_ref())
            {
                insight.add(detail);
            }
        }
        insights.sort_by(|a, b| (&a.category, &a.name).cmp(&(&b.category, &b.name)));
        Ok((insights, refused))
    }

    async fn insight(&self, cluster: &str, id: String) -> Result<types::Insight> {
        const OPERATION: &str = "eks:DescribeInsight";
        let answer = self.eks.describe_insight().cluster_name(cluster).id(id).send().await;
        let answer = answer.map_err(|error| Error::of(OPERATION, error))?;
        answer.insight.ok_or_else(|| Error::new(Kind::Fault, OPERATION, "the answer has no insight"))
    }
}

impl Insight {
    fn of(found: types::InsightSummary) -> Self {
        let status = found.insight_status;
        let value = status.as_ref().and_then(|status| status.status.as_ref());
        Self {
            id: found.id.unwrap_or_default(),
            name: found.name.unwrap_or_default(),
            category: found.category.map(|category| category.as_str().to_owned()).unwrap_or_default(),
            status: value.map_or("UNKNOWN", InsightStatusValue::as_str).to_owned(),
            reason: status.and_then(|status| status.reason).unwrap_or_default(),
            version: found.kubernetes_version.unwrap_or_default(),
            recommendation: String::new(),
            resources: Vec::new(),
            deprecations: Vec::new(),
            refreshed_at: found.last_refresh_time.as_ref().and_then(instant),
        }
    }

    fn add(&mut self, detail: types::Insight) {
        self.recommendation = detail.recommendation.unwrap_or_default();
        let resources = detail.resources.unwrap_or_default().into_iter();
        self.resources = resources.filter_map(|one| one.kubernetes_resource_uri.or(one.arn)).collect();
        let summary = detail.category_specific_summary.and_then(|summary| summary.deprecation_details);
        self.deprecations = summary.unwrap_or_default().into_iter().map(deprecation).collect();
    }
}

fn deprecation(found: types::DeprecationDetail) -> String {
    let mut text = found.usage.unwrap_or_default();
    if let Some(version) = found.stop_serving_version {
        text.push_str(&format!(", gone in {version}"));
    }
    if let Some(other) = found.replaced_with {
        text.push_str(&format!(", use {other}"));
    }
    let clients = found.client_stats.unwrap_or_default().into_iter();
    let clients: Vec<String> = clients.filter_map(|client| client.user_agent).collect();
    if !clients.is_empty() {
        text.push_str(&format!(", used by {}", clients.join(", ")));
    }
    text
}

/// `1.33` as numbers; what is none comes first.
pub(crate) fn numbers(version: &str) -> (u32, u32) {
    let mut parts = version.split('.').map(|part| part.parse().unwrap_or(0));
    (parts.next().unwrap_or(0), parts.next().unwrap_or(0))
}

fn newer(versions: &[Support], than: &str) -> Vec<String> {
    let mut newer: Vec<&str> = versions
        .iter()
        .map(|one| one.version.as_str())
        .filter(|version| numbers(version) > numbers(than))
        .collect();
    newer.sort_by_key(|version| numbers(version));
    newer.dedup();
    newer.into_iter().map(str::to_owned).collect()
}

impl Info {
    /// What an operator should know, the gravest first.
    pub fn concerns(&self, now: Timestamp) -> Vec<Concern> {
        let mut concerns: Vec<Concern> = self.missing.iter().map(Concern::not_seen).collect();
        let cluster = &self.cluster;
        let name = &cluster.name;
        match cluster.status.as_str() {
            "ACTIVE" => {}
            "FAILED" | "DELETING" => concerns.push(Concern::new(
                What::ClusterStatus,
                Severity::Error,
                format!("the cluster {name} is {}", cluster.status),
            )),
            status => concerns.push(Concern::new(
                What::ClusterStatus,
                Severity::Warning,
                format!("the cluster {name} is {status}: what is deployed now may wait"),
            )),
        }
        concerns.extend(cluster.issues.iter().map(|issue| {
            let message = format!("{}: {}{}", issue.code, issue.message, about(&issue.resources));
            Concern::new(What::ClusterIssue, Severity::Error, message)
        }));
        if cluster.is_public && cluster.public_cidrs.iter().any(|cidr| EVERYBODY.contains(&cidr.as_str())) {
            concerns.push(
                Concern::new(
                    What::OpenToAll,
                    Severity::Warning,
                    "the API is open to every address of the internet",
                )
                .hint(
                    "name the networks that may reach it (public_access_cidrs), or close the public address",
                ),
            );
        }
        if !cluster.logs.iter().any(|kind| kind == "audit") {
            let message = "nobody keeps what was done in the cluster: the audit log is off";
            concerns.push(Concern::new(What::NoAuditLog, Severity::Info, message));
        }
        if cluster.authentication.as_deref() == Some("CONFIG_MAP") {
            let message =
                "who may sign in is in the ConfigMap aws-auth alone; whoever breaks it locks everybody out";
            let concern = Concern::new(What::OldAuthentication, Severity::Warning, message);
            concerns.push(concern.hint("go on to API_AND_CONFIG_MAP, and to access entries"));
        }
        if !cluster.is_protected {
            let message = format!("nothing keeps {name} from being deleted: deletion protection is off");
            concerns.push(Concern::new(What::NoDeletionProtection, Severity::Info, message));
        }
        concerns.extend(self.support_concern(now));
        concerns.extend(self.insights.iter().filter_map(Insight::concern));
        concerns.extend(self.addons.iter().flat_map(Addon::concerns));
        concerns.sort_by_key(|concern| std::cmp::Reverse(concern.severity));
        concerns
    }

    fn support_concern(&self, now: Timestamp) -> Option<Concern> {
        let support = self.support.as_ref()?;
        let version = &support.version;
        let is_extended = self.cluster.support_policy.as_deref() != Some("STANDARD");
        let next = self.newer_versions.first().map(|next| format!("the next version is {next}"));
        let (severity, message) = match (support.standard_ends_at, support.extended_ends_at) {
            (_, Some(end)) if end <= now => (
                Severity::Error,
                format!(
                    "Kubernetes {version} is supported no longer since {}: AWS upgrades it by itself",
                    day(end)
                ),
            ),
            (Some(end), extended) if end <= now => {
                let until = extended.map(|end| format!(" until {}", day(end))).unwrap_or_default();
                (
                    Severity::Warning,
                    format!(
                        "Kubernetes {version} is in extended support{until}, which costs more by the hour"
                    ),
                )
            }
            (Some(end), _) if end.since(now) <= SOON => {
                let days = end.since(now).as_secs() / DAY.as_secs();
                let then = match is_extended {
                    true => "then it costs more by the hour",
                    false => "then AWS upgrades it by itself",
                };
                (
                    Severity::Warning,
                    format!(
                        "standard support of Kubernetes {version} ends in {days} days ({}); {then}",
                        day(end)
                    ),
                )
            }
            _ => return None,
        };
        let concern = Concern::new(What::VersionSupport, severity, message);
        Some(match next {
            Some(next) => concern.hint(next),
            None => concern,
        })
    }
}

impl Insight {
    fn concern(&self) -> Option<Concern> {
        let severity = match self.status.as_str() {
            "ERROR" => Severity::Error,
            "WARNING" => Severity::Warning,
            "UNKNOWN" => Severity::Info,
            _ => return None,
        };
        let mut message = format!("{}: {}", self.name, self.reason);
        if !self.version.is_empty() {
            message = format!("{message} (for {})", self.version);
        }
        for deprecation in self.deprecations.iter().take(RESOURCES_SHOWN) {
            message.push_str(&format!("; {deprecation}"));
        }
        message.push_str(&about(&self.resources));
        let concern = Concern::new(What::Insight, severity, message);
        Some(match self.recommendation.is_empty() {
            true => concern,
            false => concern.hint(&self.recommendation),
        })
    }
}

impl Addon {
    fn concerns(&self) -> Vec<Concern> {
        let severity = match self.status.as_str() {
            "ACTIVE" => Severity::Warning,
            "CREATING" | "UPDATING" | "DELETING" => Severity::Info,
            _ => Severity::Error,
        };
        let mut concerns: Vec<Concern> = self
            .issues
            .iter()
            .map(|issue| {
                let message =
                    format!("{}: {}: {}{}", self.name, issue.code, issue.message, about(&issue.resources));
                Concern::new(What::Addon, severity, message)
            })
            .collect();
        if concerns.is_empty() && self.status != "ACTIVE" {
            concerns.push(Concern::new(
                What::Addon,
                severity,
                format!("the add-on {} is {}", self.name, self.status),
            ));
        }
        concerns
    }
}

/// What something is about, in brackets.
pub(crate) fn about(resources: &[String]) -> String {
    let more = resources.len().saturating_sub(RESOURCES_SHOWN);
    let shown = resources[..resources.len() - more].join(", ");
    match (resources.is_empty(), more) {
        (true, _) => String::new(),
        (false, 0) => format!(" ({shown})"),
        (false, more) => format!(" ({shown} and {more} more)"),
    }
}

fn day(at: Timestamp) -> String {
    at.to_string().split('T').next().unwrap_or_default().to_owned()
}
