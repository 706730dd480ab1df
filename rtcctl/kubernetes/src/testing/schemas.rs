//! Fields that a kind has: what is applied and is none of them is refused, and so is a value of another type.
//!
//! The types of `k8s-openapi` say which fields there are: what they do not give back when they have read a document, nobody
//! has declared. Left out: kinds without a type there, which keep everything.

use k8s_openapi::api::{apps, autoscaling, batch, core, networking, policy, rbac};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value as Json;

use super::refusal::{Done, Refusal};
use crate::kinds::Resource;

/// Refuses what is applied where it has a field that its kind does not have.
pub fn check(resource: &Resource, namespace: &str, document: &Json) -> Done<()> {
    let read = match (resource.gvk.group.as_str(), resource.gvk.kind.as_str()) {
        ("", "ConfigMap") => again::<core::v1::ConfigMap>(document),
        ("", "Secret") => again::<core::v1::Secret>(document),
        ("", "Service") => again::<core::v1::Service>(document),
        ("", "ServiceAccount") => again::<core::v1::ServiceAccount>(document),
        ("", "Namespace") => again::<core::v1::Namespace>(document),
        ("", "PersistentVolumeClaim") => again::<core::v1::PersistentVolumeClaim>(document),
        ("", "Pod") => again::<core::v1::Pod>(document),
        ("apps", "Deployment") => again::<apps::v1::Deployment>(document),
        ("apps", "StatefulSet") => again::<apps::v1::StatefulSet>(document),
        ("apps", "DaemonSet") => again::<apps::v1::DaemonSet>(document),
        ("batch", "Job") => again::<batch::v1::Job>(document),
        ("autoscaling", "HorizontalPodAutoscaler") => {
            again::<autoscaling::v2::HorizontalPodAutoscaler>(document)
        }
        ("policy", "PodDisruptionBudget") => again::<policy::v1::PodDisruptionBudget>(document),
        ("networking.k8s.io", "Ingress") => again::<networking::v1::Ingress>(document),
        ("networking.k8s.io", "NetworkPolicy") => again::<networking::v1::NetworkPolicy>(document),
        ("rbac.authorization.k8s.io", "Role") => again::<rbac::v1::Role>(document),
        ("rbac.authorization.k8s.io", "RoleBinding") => again::<rbac::v1::RoleBinding>(document),
        ("rbac.authorization.k8s.io", "ClusterRole") => again::<rbac::v1::ClusterRole>(document),
        ("rbac.authorization.k8s.io", "ClusterRoleBinding") => {
            again::<rbac::v1::ClusterRoleBinding>(document)
        }
        _ => return Ok(()),
    };
    let why = match read {
        Ok(known) => match undeclared(document, &known, String::new()) {
            Some(field) => format!("{field}: field not declared in schema"),
            None => return Ok(()),
        },
        Err(why) => why,
    };
    let name = document["metadata"]["name"].as_str().unwrap_or_default();
    let place = if namespace.is_empty() { name.to_owned() } else { format!("{namespace}/{name}") };
    let message = format!(
        "failed to create typed patch object ({place}; {}, Kind={}): {why}",
        resource.gvk.api_version(),
        resource.gvk.kind
    );
    Err(Refusal::new(500, "InternalError", message))
}

/// What a type has of a document.
fn again<T: DeserializeOwned + Serialize>(document: &Json) -> Result<Json, String> {
    let read: T = serde_json::from_value(document.clone()).map_err(|error| error.to_string())?;
    serde_json::to_value(read).map_err(|error| error.to_string())
}

/// The first field that is said and not known.
fn undeclared(said: &Json, known: &Json, path: String) -> Option<String> {
    match (said, known) {
        (Json::Object(said), Json::Object(known)) => said
            .iter()
            .filter(|(_, value)| !value.is_null())
            .find_map(|(name, value)| match known.get(name) {
                Some(known) => undeclared(value, known, format!("{path}.{name}")),
                None => Some(format!("{path}.{name}")),
            }),
        (Json::Array(said), Json::Array(known)) => {
            said.iter().zip(known).enumerate().find_map(|(number, (said, known))| {
                let at = match said["name"].as_str() {
                    Some(name) => format!("{path}[name={name:?}]"),
                    None => format!("{path}[{number}]"),
                };
                undeclared(said, known, at)
            })
        }
        _ => None,
    }
}
