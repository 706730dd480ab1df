//! What EKS installs into a cluster and keeps there.

use aws_sdk_eks::types::{AddonIssueCode, AddonStatus};
use serde::Serialize;
use serde_json::Value;

use crate::cluster::text_of;
use crate::several::each;
use crate::{Eks, Error, Issue, Kind, Result};

/// The plugin that gives pods their addresses.
pub(crate) const NETWORK: &str = "vpc-cni";
const DESCRIBE: &str = "eks:DescribeAddon";

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Addon {
    pub name: String,
    pub version: String,
    /// As EKS calls it: `ACTIVE`, `DEGRADED`.
    pub status: String,
    pub issues: Vec<Issue>,
    /// What was set when it was installed: JSON or YAML, as it was written.
    #[serde(skip)]
    pub settings: Option<String>,
}

impl Addon {
    /// A variable of the plugin of addresses, where it was set as JSON.
    pub(crate) fn variable(&self, name: &str) -> Option<String> {
        let settings: Value = serde_json::from_str(self.settings.as_deref()?).ok()?;
        match settings.get("env")?.get(name)? {
            Value::String(text) => Some(text.clone()),
            other => Some(other.to_string()),
        }
    }
}

impl Eks {
    /// The add-ons of a cluster, and which of them may not be looked at.
    pub(crate) async fn addons(&self, cluster: &str) -> Result<(Vec<Addon>, Vec<Error>)> {
        let names = self.eks.list_addons().cluster_name(cluster).into_paginator().items().send();
        let names = names.collect::<Result<Vec<_>, _>>().await;
        let mut names = names.map_err(|error| Error::of("eks:ListAddons", error))?;
        names.sort();
        Ok(each(names, |name| self.addon(cluster, name)).await)
    }

    pub(crate) async fn addon(&self, cluster: &str, name: String) -> Result<Addon> {
        let answer = self.eks.describe_addon().cluster_name(cluster).addon_name(&name).send().await;
        let answer = answer.map_err(|error| Error::of(DESCRIBE, error))?;
        let found =
            answer.addon.ok_or_else(|| Error::new(Kind::Fault, DESCRIBE, "the answer has no add-on"))?;
        let issues = found.health.and_then(|health| health.issues).unwrap_or_default();
        Ok(Addon {
            name,
            version: found.addon_version.unwrap_or_default(),
            status: text_of(found.status.as_ref().map(AddonStatus::as_str)),
            issues: issues
                .into_iter()
                .map(|issue| Issue {
                    code: text_of(issue.code.as_ref().map(AddonIssueCode::as_str)),
                    message: issue.message.unwrap_or_default(),
                    resources: issue.resource_ids.unwrap_or_default(),
                })
                .collect(),
            settings: found.configuration_values,
        })
    }
}
