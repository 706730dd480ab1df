//! The client against a server that behaves, and against one that does not.
//!
//! What is in [`suite`] is true of every API server: with `RTC_TEST_KUBECONFIG` it is asked of a real one too.

mod answers;
mod errors;
mod fields;
mod following;
mod rollouts;
mod server;
mod suite;
mod ways;

use serde_json::{Value as Json, json};

use crate::Gvk;

/// A Deployment of one container, as it is applied.
pub fn deployment(namespace: &str, name: &str, image: &str, replicas: u32) -> Json {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": { "name": name, "namespace": namespace, "labels": { "app": name } },
        "spec": {
            "replicas": replicas,
            "selector": { "matchLabels": { "app": name } },
            "strategy": { "type": "RollingUpdate", "rollingUpdate": { "maxSurge": 1, "maxUnavailable": 0 } },
            "template": {
                "metadata": { "labels": { "app": name } },
                "spec": { "containers": [{
                    "name": name, "image": image,
                    "env": [{ "name": "LOG", "value": "info" }],
                    "ports": [{ "containerPort": 8080 }],
                    "terminationMessagePolicy": "FallbackToLogsOnError",
                }]},
            },
        },
    })
}

pub fn config_map(namespace: &str, name: &str, data: Json) -> Json {
    json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": { "name": name, "namespace": namespace, "labels": { "app": "suite" } }, "data": data,
    })
}

pub fn deployments() -> Gvk {
    Gvk::named("apps/v1", "Deployment")
}

pub fn config_maps() -> Gvk {
    Gvk::named("v1", "ConfigMap")
}
