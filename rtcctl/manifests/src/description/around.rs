//! What is around the targets: the way in, the mesh, a second version, files, metrics, logs.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// How traffic comes in, and to which target.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Entry {
    /// Nobody from outside.
    #[default]
    None,
    /// Pods enter a target group that exists already: the load balancer is Terraform's.
    TargetGroup { target: String, target_group_arn: String },
    /// An Ingress, of which the AWS Load Balancer Controller makes a load balancer.
    Alb {
        target: String,
        hosts: Vec<String>,
        certificate_arn: String,
        #[serde(default)]
        scheme: Scheme,
    },
    /// Gateway and HTTPRoute.
    GatewayApi {
        target: String,
        hosts: Vec<String>,
        class: String,
        certificate: Certificate,
        #[serde(default)]
        scheme: Scheme,
        /// Namespace of the gateway's pods, where it has any; otherwise it comes from `networks.load_balancer`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pods_in: Option<String>,
    },
}

impl Entry {
    /// The target behind it.
    pub fn target(&self) -> Option<&str> {
        match self {
            Entry::None => None,
            Entry::TargetGroup { target, .. }
            | Entry::Alb { target, .. }
            | Entry::GatewayApi { target, .. } => Some(target),
        }
    }
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scheme {
    #[default]
    InternetFacing,
    Internal,
}

/// What the gateway shows to browsers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Certificate {
    /// Of ACM: the class is one of the AWS Load Balancer Controller.
    Arn(String),
    /// A TLS secret in the namespace.
    Secret(String),
}

/// Istio around every pod. Its CNI plugin has to be there: the namespace lets no pod change its network by itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mesh {
    /// Revision of the control plane; the default one where there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
    #[serde(default = "istio_namespace")]
    pub namespace: String,
    /// Tries of a call that never reached a handler.
    #[serde(default = "mesh_attempts")]
    pub attempts: u32,
}

fn istio_namespace() -> String {
    "istio-system".to_owned()
}

fn mesh_attempts() -> u32 {
    2
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Canary {
    /// By digest, as the other.
    pub image: String,
    /// Percentage of requests, where a mesh can divide them; otherwise the replicas do.
    pub weight: u32,
    pub replicas: u32,
    pub targets: Vec<String>,
}

/// A file system (EFS) that pods share.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Files {
    pub file_system_id: String,
    /// The claim's size; EFS does not look at it.
    #[serde(default = "files_size")]
    pub size: String,
    #[serde(default)]
    pub provisioning: Provisioning,
}

fn files_size() -> String {
    "10Gi".to_owned()
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Provisioning {
    /// The driver makes an access point for the claim.
    #[default]
    AccessPoint,
    /// A volume that stands for the file system itself.
    Static,
}

/// The Prometheus operator.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Monitoring {
    /// Where Prometheus runs.
    pub namespace: String,
    #[serde(default = "scrape_default")]
    pub interval_s: u32,
    /// Labels by which that Prometheus picks monitors and rules.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// Texts of rule files as Prometheus reads them, by name; `rtcctl` reads those of `dashboards/prometheus`.
    #[serde(default)]
    pub rules: BTreeMap<String, String>,
}

fn scrape_default() -> u32 {
    15
}

/// Fluent Bit on every node.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Logs {
    /// Its image, by digest.
    pub image: String,
    pub region: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cloudwatch_group: Option<String>,
    /// Host of an OpenSearch domain that takes signed requests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub opensearch_host: Option<String>,
}
