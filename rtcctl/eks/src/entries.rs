//! Who may sign in to a cluster: who we are for AWS, and what the access entries of the cluster say of that.
//!
//! Source: "Grant IAM users access to Kubernetes with EKS access entries": an entry names a role or a user; of an assumed role
//! it names the role, with the path that the session does not show.

use serde::Serialize;

use crate::cluster::text_of;
use crate::several::each;
use crate::{Eks, Error, Kind, Result};

/// Who signs for us.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Identity {
    /// `arn:aws:sts::111122223333:assumed-role/operator/somebody`
    pub arn: String,
}

/// What an access entry grants.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Entry {
    /// `arn:aws:iam::111122223333:role/operator`
    pub principal: String,
    /// `STANDARD`, or the kind of nodes that it is for.
    pub kind: String,
    /// Who we are in the cluster.
    pub user: String,
    pub groups: Vec<String>,
    pub policies: Vec<Policy>,
}

/// A policy of EKS that an entry has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Policy {
    /// `AmazonEKSAdminPolicy`
    pub name: String,
    /// Where it holds; everywhere where it is empty.
    pub namespaces: Vec<String>,
}

impl Policy {
    /// Whether it says anything about a namespace.
    pub fn holds_in(&self, namespace: &str) -> bool {
        self.namespaces.is_empty() || self.namespaces.iter().any(|pattern| matches(pattern, namespace))
    }
}

/// A scope may have `*` for any letters.
fn matches(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((head, rest)) => text.strip_prefix(head).is_some_and(|text| {
            (0..=text.len()).filter(|at| text.is_char_boundary(*at)).any(|at| matches(rest, &text[at..]))
        }),
    }
}

/// How a cluster lets us in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub enum Admission {
    /// By this entry.
    Entry(Entry),
    /// By none of so many.
    NoEntry { entries: usize },
    /// Nothing is said by entries: who may sign in is in a ConfigMap inside of the cluster.
    ConfigMap,
}

impl Identity {
    /// What an entry for us would have to name, as far as the session shows it: the path of a role it does not.
    pub fn principal(&self) -> String {
        match self.role() {
            Some((head, name)) => format!("{}:role/{name}", head.replacen(":sts:", ":iam:", 1)),
            None => self.arn.clone(),
        }
    }

    /// Of an assumed role what comes before its kind, and its name.
    fn role(&self) -> Option<(&str, &str)> {
        let (head, rest) = self.arn.split_once(":assumed-role/")?;
        Some((head, rest.split('/').next()?))
    }

    /// Whether an entry for this principal is one for us.
    pub fn is(&self, principal: &str) -> bool {
        let Some((head, name)) = self.role() else { return principal == self.arn };
        let head = head.replacen(":sts:", ":iam:", 1);
        let Some((account, path)) = principal.split_once(":role/") else { return false };
        account == head && path.rsplit('/').next() == Some(name)
    }
}

impl Eks {
    /// Who AWS takes us for.
    pub async fn identity(&self) -> Result<Identity> {
        const OPERATION: &str = "sts:GetCallerIdentity";
        let answer = self.sts.get_caller_identity().send().await;
        let answer = answer.map_err(|error| Error::of(OPERATION, error))?;
        let arn = answer.arn.ok_or_else(|| Error::new(Kind::Fault, OPERATION, "the answer has no ARN"))?;
        Ok(Identity { arn })
    }

    /// What the cluster's access entries say of somebody.
    pub async fn admission(&self, cluster: &str, identity: &Identity) -> Result<Admission> {
        if self.cluster(cluster).await?.authentication.as_deref() == Some("CONFIG_MAP") {
            return Ok(Admission::ConfigMap);
        }
        let asked = self.eks.list_access_entries().cluster_name(cluster).into_paginator().items().send();
        let principals = asked.collect::<Result<Vec<_>, _>>().await;
        let principals = principals.map_err(|error| Error::of("eks:ListAccessEntries", error))?;
        let entries = principals.len();
        let own = principals.into_iter().filter(|principal| identity.is(principal));
        let (mut found, mut refused) = each(own, |principal| self.entry(cluster, principal)).await;
        match (found.is_empty(), refused.is_empty()) {
            (false, _) => Ok(Admission::Entry(found.swap_remove(0))),
            (true, false) => Err(refused.swap_remove(0)),
            (true, true) => Ok(Admission::NoEntry { entries }),
        }
    }

    async fn entry(&self, cluster: &str, principal: String) -> Result<Entry> {
        const OPERATION: &str = "eks:DescribeAccessEntry";
        let asked = self.eks.describe_access_entry().cluster_name(cluster).principal_arn(&principal).send();
        let policies = self.eks.list_associated_access_policies().cluster_name(cluster);
        let policies = policies.principal_arn(&principal).into_paginator().items().send();
        let (answer, policies) = tokio::join!(asked, policies.collect::<Result<Vec<_>, _>>());
        let answer = answer.map_err(|error| Error::of(OPERATION, error))?;
        let policies = policies.map_err(|error| Error::of("eks:ListAssociatedAccessPolicies", error))?;
        let entry = answer.access_entry;
        let entry = entry.ok_or_else(|| Error::new(Kind::Fault, OPERATION, "the answer has no entry"))?;
        Ok(Entry {
            principal,
            kind: text_of(entry.r#type.as_deref()),
            user: entry.username.unwrap_or_default(),
            groups: entry.kubernetes_groups.unwrap_or_default(),
            policies: policies
                .into_iter()
                .map(|policy| {
                    let arn = policy.policy_arn.unwrap_or_default();
                    let scope = policy.access_scope.and_then(|scope| scope.namespaces);
                    Policy {
                        name: arn.rsplit('/').next().unwrap_or_default().to_owned(),
                        namespaces: scope.unwrap_or_default(),
                    }
                })
                .collect(),
        })
    }
}
