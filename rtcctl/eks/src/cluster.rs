//! A cluster as EKS describes it.

use std::collections::BTreeMap;

use aws_sdk_eks::types;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use kernel::Timestamp;
use serde::Serialize;

use crate::several::each;
use crate::{Eks, Error, Kind, Result, instant, sign_in};

const DESCRIBE: &str = "eks:DescribeCluster";

/// Where the API of a cluster is, and what it proves itself with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Endpoint {
    pub name: String,
    pub arn: String,
    pub region: String,
    /// `https://…`
    pub url: String,
    /// The certificate that signs the API's own, in PEM.
    pub ca_pem: String,
    /// Of Kubernetes: `1.33`.
    pub version: String,
    /// As EKS calls it: `ACTIVE`.
    pub status: String,
}

impl Endpoint {
    /// The certificate as a kubeconfig has it.
    pub fn ca_base64(&self) -> String {
        STANDARD.encode(&self.ca_pem)
    }
}

/// What EKS says is wrong with something.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Issue {
    pub code: String,
    pub message: String,
    pub resources: Vec<String>,
}

/// A cluster, without what proves its API.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Cluster {
    pub name: String,
    pub arn: String,
    pub region: String,
    /// As EKS calls it: `ACTIVE`.
    pub status: String,
    pub version: String,
    pub platform_version: String,
    pub created_at: Option<Timestamp>,
    pub url: Option<String>,
    pub is_public: bool,
    pub is_private: bool,
    /// From where the public address is reached.
    pub public_cidrs: Vec<String>,
    pub vpc_id: String,
    pub subnet_ids: Vec<String>,
    pub security_group_id: Option<String>,
    pub service_cidr: Option<String>,
    /// `ipv4` or `ipv6`: what pods get.
    pub ip_family: String,
    pub oidc_issuer: Option<String>,
    /// Logs of the control plane that are kept.
    pub logs: Vec<String>,
    /// The key that encrypts secrets; AWS's own where it is empty.
    pub encryption_key: Option<String>,
    /// `API`, `API_AND_CONFIG_MAP` or `CONFIG_MAP`.
    pub authentication: Option<String>,
    /// What happens when standard support ends: `STANDARD` upgrades, `EXTENDED` costs.
    pub support_policy: Option<String>,
    pub is_protected: bool,
    /// Whether AWS manages the nodes (Auto Mode).
    pub is_auto: bool,
    pub issues: Vec<Issue>,
    pub tags: BTreeMap<String, String>,
}

impl Eks {
    /// Where the API of a cluster is.
    ///
    /// # Errors
    /// [`Kind::NotFound`] where there is no such cluster, [`Kind::Conflict`] where it has no API yet.
    pub async fn describe(&self, name: &str) -> Result<Endpoint> {
        let found = self.found(name).await?;
        let status = text_of(found.status.as_ref().map(types::ClusterStatus::as_str));
        let ca = found.certificate_authority.and_then(|ca| ca.data);
        let (Some(url), Some(ca)) = (found.endpoint, ca) else {
            let reason = format!("the cluster {name} has no API: it is {status}");
            return Err(Error::new(Kind::Conflict, DESCRIBE, reason));
        };
        let ca_pem = STANDARD.decode(ca.trim()).ok().and_then(|bytes| String::from_utf8(bytes).ok());
        let ca_pem = ca_pem.ok_or_else(|| {
            Error::new(Kind::Fault, DESCRIBE, "the certificate of the cluster is no base64 of a PEM text")
        })?;
        Ok(Endpoint {
            name: found.name.unwrap_or_else(|| name.to_owned()),
            arn: found.arn.unwrap_or_default(),
            region: self.region.clone(),
            url,
            ca_pem,
            version: found.version.unwrap_or_default(),
            status,
        })
    }

    /// A cluster as it is.
    pub async fn cluster(&self, name: &str) -> Result<Cluster> {
        self.found(name).await.map(|found| Cluster::of(found, name, &self.region))
    }

    /// The names of the clusters, sorted.
    pub async fn names(&self) -> Result<Vec<String>> {
        let names = self.eks.list_clusters().into_paginator().items().send().collect::<Result<Vec<_>, _>>();
        let mut names = names.await.map_err(|error| Error::of("eks:ListClusters", error))?;
        names.sort();
        Ok(names)
    }

    /// The clusters of the region by their names; `None` is one that may not be looked at, and why is in the list.
    pub async fn clusters(&self) -> Result<(Vec<(String, Option<Cluster>)>, Vec<Error>)> {
        let names = self.names().await?;
        let (clusters, refused) = each(names.iter(), |name| self.cluster(name)).await;
        let mut found: BTreeMap<String, Cluster> =
            clusters.into_iter().map(|cluster| (cluster.name.clone(), cluster)).collect();
        let rows = names.into_iter().map(|name| {
            let cluster = found.remove(&name);
            (name, cluster)
        });
        Ok((rows.collect(), refused))
    }

    async fn found(&self, name: &str) -> Result<types::Cluster> {
        sign_in::check_name(name)?;
        let answer = self.eks.describe_cluster().name(name).send().await;
        let answer = answer.map_err(|error| Error::of(DESCRIBE, error))?;
        answer.cluster.ok_or_else(|| Error::new(Kind::Fault, DESCRIBE, "the answer has no cluster"))
    }
}

impl Cluster {
    fn of(found: types::Cluster, name: &str, region: &str) -> Self {
        let vpc = found.resources_vpc_config;
        let network = found.kubernetes_network_config;
        let logs = found.logging.and_then(|logging| logging.cluster_logging).unwrap_or_default();
        let logs = logs.into_iter().filter(|setup| setup.enabled == Some(true));
        let encryption = found.encryption_config.unwrap_or_default().into_iter();
        Self {
            name: found.name.unwrap_or_else(|| name.to_owned()),
            arn: found.arn.unwrap_or_default(),
            region: region.to_owned(),
            status: text_of(found.status.as_ref().map(types::ClusterStatus::as_str)),
            version: found.version.unwrap_or_default(),
            platform_version: found.platform_version.unwrap_or_default(),
            created_at: found.created_at.as_ref().and_then(instant),
            url: found.endpoint,
            is_public: vpc.as_ref().is_some_and(|vpc| vpc.endpoint_public_access),
            is_private: vpc.as_ref().is_some_and(|vpc| vpc.endpoint_private_access),
            public_cidrs: vpc.as_ref().and_then(|vpc| vpc.public_access_cidrs.clone()).unwrap_or_default(),
            vpc_id: vpc.as_ref().and_then(|vpc| vpc.vpc_id.clone()).unwrap_or_default(),
            subnet_ids: vpc.as_ref().and_then(|vpc| vpc.subnet_ids.clone()).unwrap_or_default(),
            security_group_id: vpc.and_then(|vpc| vpc.cluster_security_group_id),
            ip_family: network
                .as_ref()
                .and_then(|network| network.ip_family.as_ref())
                .map_or_else(|| "ipv4".to_owned(), |family| family.as_str().to_owned()),
            service_cidr: network.and_then(|network| network.service_ipv4_cidr.or(network.service_ipv6_cidr)),
            oidc_issuer: found.identity.and_then(|identity| identity.oidc).and_then(|oidc| oidc.issuer),
            logs: logs
                .flat_map(|setup| setup.types.unwrap_or_default())
                .map(|kind| kind.as_str().to_owned())
                .collect(),
            encryption_key: encryption.filter_map(|config| config.provider?.key_arn).next(),
            authentication: found
                .access_config
                .and_then(|access| access.authentication_mode)
                .map(|mode| mode.as_str().to_owned()),
            support_policy: found
                .upgrade_policy
                .and_then(|policy| policy.support_type)
                .map(|kind| kind.as_str().to_owned()),
            is_protected: found.deletion_protection == Some(true),
            is_auto: found.compute_config.is_some_and(|compute| compute.enabled == Some(true)),
            issues: found
                .health
                .and_then(|health| health.issues)
                .unwrap_or_default()
                .into_iter()
                .map(|issue| Issue {
                    code: text_of(issue.code.as_ref().map(types::ClusterIssueCode::as_str)),
                    message: issue.message.unwrap_or_default(),
                    resources: issue.resource_ids.unwrap_or_default(),
                })
                .collect(),
            tags: found.tags.unwrap_or_default().into_iter().collect(),
        }
    }
}

pub(crate) fn text_of(word: Option<&str>) -> String {
    word.unwrap_or("unknown").to_owned()
}
