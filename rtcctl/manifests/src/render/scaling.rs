//! How many replicas there are, and how many of them may go at once.

use serde_json::{Value, json};

use super::draft::{Draft, selector};
use super::{Object, Wave};
use crate::Release;
use crate::description::{Scaling, Target};

pub(super) fn objects(release: &Release, name: &str, target: &Target) -> Vec<Object> {
    let mut objects = vec![budget(release, name)];
    if let Some(scaling) = &target.scaling {
        objects.push(autoscaler(release, name, scaling));
    }
    objects
}

/// One at a time: with one replica a node can still be emptied, and what is not ready anyway holds nobody up.
fn budget(release: &Release, name: &str) -> Object {
    let spec = json!({
        "maxUnavailable": 1,
        "unhealthyPodEvictionPolicy": "AlwaysAllow",
        "selector": { "matchLabels": selector(name) },
    });
    Draft::new(release, Wave::Workloads, "policy/v1", "PodDisruptionBudget", name, name).spec(spec).done()
}

fn autoscaler(release: &Release, name: &str, scaling: &Scaling) -> Object {
    let resource = |resource: &str, percent: u32| {
        json!({
            "type": "Resource",
            "resource": { "name": resource, "target": { "type": "Utilization", "averageUtilization": percent } },
        })
    };
    let mut metrics: Vec<Value> = Vec::new();
    metrics.extend(scaling.cpu_percent.map(|percent| resource("cpu", percent)));
    metrics.extend(scaling.memory_percent.map(|percent| resource("memory", percent)));
    metrics.extend(scaling.lag.as_ref().map(|lag| {
        let mut metric = json!({ "name": lag.metric });
        if !lag.selector.is_empty() {
            metric["selector"] = json!({ "matchLabels": lag.selector });
        }
        json!({
            "type": "External",
            "external": {
                "metric": metric,
                "target": { "type": "AverageValue", "averageValue": lag.per_replica.to_string() },
            },
        })
    }));
    let spec = json!({
        "scaleTargetRef": { "apiVersion": "apps/v1", "kind": "Deployment", "name": name },
        "minReplicas": scaling.min,
        "maxReplicas": scaling.max,
        "metrics": metrics,
        "behavior": {
            "scaleUp": {
                "stabilizationWindowSeconds": 0,
                "selectPolicy": "Max",
                "policies": [
                    { "type": "Percent", "value": 100, "periodSeconds": 30 },
                    { "type": "Pods", "value": 2, "periodSeconds": 30 },
                ],
            },
            "scaleDown": {
                "stabilizationWindowSeconds": scaling.scale_down_after_s,
                "selectPolicy": "Max",
                "policies": [{ "type": "Pods", "value": 1, "periodSeconds": 60 }],
            },
        },
    });
    let kind = "HorizontalPodAutoscaler";
    Draft::new(release, Wave::Workloads, "autoscaling/v2", kind, name, name).spec(spec).done()
}
