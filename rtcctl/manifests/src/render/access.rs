//! The namespace, and who the pods are.

use serde_json::json;

use super::draft::Draft;
use super::{Object, Wave};
use crate::Release;
use crate::description::{Entry, IdentityKind};

/// The component of what belongs to all.
pub(super) const PLATFORM: &str = "rtc";

pub(super) fn objects(release: &Release) -> Vec<Object> {
    let description = &release.description;
    let mut objects = vec![namespace(release)];
    let mut accounts: Vec<&str> = description.targets.keys().map(String::as_str).collect();
    accounts.push("migrate");
    for account in accounts {
        let mut draft = Draft::new(release, Wave::Surroundings, "v1", "ServiceAccount", account, account);
        let role = description.identity.roles.get(account);
        if let (IdentityKind::Irsa, Some(role)) = (description.identity.kind, role) {
            draft = draft
                .annotation("eks.amazonaws.com/role-arn", role)
                .annotation("eks.amazonaws.com/sts-regional-endpoints", "true");
        }
        // AWS's token is mounted by EKS itself; nobody here speaks to the cluster's API.
        objects.push(draft.with("automountServiceAccountToken", json!(false)).done());
    }
    objects
}

fn namespace(release: &Release) -> Object {
    let description = &release.description;
    let name = &description.namespace;
    let mut draft = Draft::of_cluster(release, Wave::Ground, "v1", "Namespace", name, PLATFORM);
    for mode in ["enforce", "audit", "warn"] {
        draft = draft
            .label(&format!("pod-security.kubernetes.io/{mode}"), "restricted")
            .label(&format!("pod-security.kubernetes.io/{mode}-version"), "latest");
    }
    let by_address = matches!(description.entry, Entry::TargetGroup { .. } | Entry::Alb { .. })
        || matches!(&description.entry, Entry::GatewayApi { pods_in: None, .. });
    if by_address {
        // A pod counts as available only once the load balancer sends it requests.
        draft = draft.label("elbv2.k8s.aws/pod-readiness-gate-inject", "enabled");
    }
    if let Some(mesh) = &description.mesh {
        draft = match &mesh.revision {
            Some(revision) => draft.label("istio.io/rev", revision),
            None => draft.label("istio-injection", "enabled"),
        };
    }
    draft.done()
}
