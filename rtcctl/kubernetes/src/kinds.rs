//! Kinds of objects and where the API keeps them.
//!
//! Invariant: the kinds that this tool writes and reads are known without asking; any other is asked for once.

use rollout::objects::Kind;
use serde_json::Value as Json;

/// Names a kind of objects: `apps/v1 Deployment`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Gvk {
    /// Empty for the first kinds of all: Pod, Service …
    pub group: String,
    pub version: String,
    pub kind: String,
}

impl Gvk {
    pub fn new(group: &str, version: &str, kind: &str) -> Self {
        Self { group: group.to_owned(), version: version.to_owned(), kind: kind.to_owned() }
    }

    /// From `apps/v1` and `Deployment`, as they stand in a document.
    pub fn named(api_version: &str, kind: &str) -> Self {
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        Self::new(group, version, kind)
    }

    /// Of a document that says it.
    pub fn of(document: &Json) -> Option<Self> {
        let kind = document["kind"].as_str().filter(|kind| !kind.is_empty())?;
        Some(Self::named(document["apiVersion"].as_str().filter(|text| !text.is_empty())?, kind))
    }

    /// `apps/v1`
    pub fn api_version(&self) -> String {
        if self.group.is_empty() { self.version.clone() } else { format!("{}/{}", self.group, self.version) }
    }

    /// The path below which its group is kept: `/apis/apps/v1`.
    pub(crate) fn root(&self) -> String {
        if self.group.is_empty() {
            format!("/api/{}", self.version)
        } else {
            format!("/apis/{}/{}", self.group, self.version)
        }
    }
}

impl std::fmt::Display for Gvk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.api_version(), self.kind)
    }
}

impl From<Kind> for Gvk {
    /// Of the kinds by which a rollout is judged.
    fn from(kind: Kind) -> Self {
        let api_version = match kind {
            Kind::Deployment | Kind::StatefulSet | Kind::DaemonSet | Kind::ReplicaSet => "apps/v1",
            Kind::Job => "batch/v1",
            Kind::HorizontalPodAutoscaler => "autoscaling/v2",
            Kind::PodDisruptionBudget => "policy/v1",
            Kind::Pod | Kind::Node | Kind::Event => "v1",
        };
        Self::named(api_version, kind.name())
    }
}

/// Whether objects of a kind lie in namespaces.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scope {
    Namespaced,
    Cluster,
}

/// A kind with the word that stands for it in paths.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Resource {
    pub gvk: Gvk,
    /// `deployments`
    pub plural: String,
    pub scope: Scope,
}

impl Resource {
    /// `deployments.apps`, as it stands in a role and in what the API says.
    pub fn name(&self) -> String {
        if self.gvk.group.is_empty() {
            self.plural.clone()
        } else {
            format!("{}.{}", self.plural, self.gvk.group)
        }
    }

    pub(crate) fn collection(&self, namespace: &str) -> String {
        let root = self.gvk.root();
        match self.scope {
            Scope::Namespaced if !namespace.is_empty() => {
                format!("{root}/namespaces/{}/{}", segment(namespace), self.plural)
            }
            _ => format!("{root}/{}", self.plural),
        }
    }

    pub(crate) fn path(&self, namespace: &str, name: &str) -> String {
        format!("{}/{}", self.collection(namespace), segment(name))
    }

    /// A kind that is known without asking.
    pub fn known(gvk: &Gvk) -> Option<Resource> {
        let (.., plural, scope) =
            KNOWN.iter().find(|(group, kind, ..)| *group == gvk.group && *kind == gvk.kind).copied()?;
        Some(Resource { gvk: gvk.clone(), plural: plural.to_owned(), scope })
    }
}

use Scope::{Cluster as C, Namespaced as N};

/// Group, kind, plural, scope. Versions of a group keep the words.
pub(crate) const KNOWN: [(&str, &str, &str, Scope); 40] = [
    ("", "ConfigMap", "configmaps", N),
    ("", "Event", "events", N),
    ("", "LimitRange", "limitranges", N),
    ("", "Namespace", "namespaces", C),
    ("", "Node", "nodes", C),
    ("", "PersistentVolume", "persistentvolumes", C),
    ("", "PersistentVolumeClaim", "persistentvolumeclaims", N),
    ("", "Pod", "pods", N),
    ("", "ResourceQuota", "resourcequotas", N),
    ("", "Secret", "secrets", N),
    ("", "Service", "services", N),
    ("", "ServiceAccount", "serviceaccounts", N),
    ("apps", "ControllerRevision", "controllerrevisions", N),
    ("apps", "DaemonSet", "daemonsets", N),
    ("apps", "Deployment", "deployments", N),
    ("apps", "ReplicaSet", "replicasets", N),
    ("apps", "StatefulSet", "statefulsets", N),
    ("autoscaling", "HorizontalPodAutoscaler", "horizontalpodautoscalers", N),
    ("batch", "CronJob", "cronjobs", N),
    ("batch", "Job", "jobs", N),
    ("discovery.k8s.io", "EndpointSlice", "endpointslices", N),
    ("networking.k8s.io", "Ingress", "ingresses", N),
    ("networking.k8s.io", "IngressClass", "ingressclasses", C),
    ("networking.k8s.io", "NetworkPolicy", "networkpolicies", N),
    ("policy", "PodDisruptionBudget", "poddisruptionbudgets", N),
    ("rbac.authorization.k8s.io", "ClusterRole", "clusterroles", C),
    ("rbac.authorization.k8s.io", "ClusterRoleBinding", "clusterrolebindings", C),
    ("rbac.authorization.k8s.io", "Role", "roles", N),
    ("rbac.authorization.k8s.io", "RoleBinding", "rolebindings", N),
    ("scheduling.k8s.io", "PriorityClass", "priorityclasses", C),
    ("storage.k8s.io", "StorageClass", "storageclasses", C),
    ("apiextensions.k8s.io", "CustomResourceDefinition", "customresourcedefinitions", C),
    ("coordination.k8s.io", "Lease", "leases", N),
    ("authorization.k8s.io", "SelfSubjectAccessReview", "selfsubjectaccessreviews", C),
    ("authentication.k8s.io", "SelfSubjectReview", "selfsubjectreviews", C),
    ("admissionregistration.k8s.io", "ValidatingWebhookConfiguration", "validatingwebhookconfigurations", C),
    ("admissionregistration.k8s.io", "MutatingWebhookConfiguration", "mutatingwebhookconfigurations", C),
    ("autoscaling", "Scale", "scales", N),
    ("policy", "Eviction", "evictions", N),
    ("", "Binding", "bindings", N),
];

/// A part of a path: names of roles may have colons, nothing else needs care.
pub(crate) fn segment(text: &str) -> String {
    escape(text, b"-._~:")
}

/// A value of a query.
pub(crate) fn value(text: &str) -> String {
    escape(text, b"-._~")
}

fn escape(text: &str, plain: &[u8]) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || plain.contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            escaped.push_str(&format!("%{byte:02X}"));
        }
    }
    escaped
}
