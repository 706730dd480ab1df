//! Objects as the checks see them: workloads with their pods, and what selects what.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

/// What makes pods.
pub(super) struct Workload<'a> {
    pub object: &'a Value,
    /// `spec.template`, or the object itself where it is a pod.
    pub template: &'a Value,
    pub kind: &'a str,
}

pub(super) struct View<'a> {
    pub objects: &'a [Value],
    pub workloads: Vec<Workload<'a>>,
}

/// Lists taken apart.
pub(super) fn flatten(objects: &[Value]) -> Vec<Value> {
    let mut flat = Vec::new();
    for object in objects {
        match (kind(object).ends_with("List"), object["items"].as_array()) {
            (true, Some(items)) => flat.extend(flatten(items)),
            _ => flat.push(object.clone()),
        }
    }
    flat
}

pub(super) fn kind(object: &Value) -> &str {
    object["kind"].as_str().unwrap_or_default()
}

/// The namespace that an object is in; one that says nothing is in that of whoever applies it.
pub(super) fn namespace(object: &Value) -> &str {
    object["metadata"]["namespace"].as_str().unwrap_or_default()
}

pub(super) fn short_name(object: &Value) -> &str {
    object["metadata"]["name"].as_str().unwrap_or_default()
}

/// `Kind/namespace/name`.
pub(super) fn name(object: &Value) -> String {
    let parts = [kind(object), namespace(object), short_name(object)];
    parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("/")
}

impl<'a> View<'a> {
    pub(super) fn of(objects: &'a [Value]) -> Self {
        let workload = |object: &'a Value| {
            let template = match kind(object) {
                "Deployment" | "StatefulSet" | "DaemonSet" | "ReplicaSet" | "Job" => {
                    &object["spec"]["template"]
                }
                "CronJob" => &object["spec"]["jobTemplate"]["spec"]["template"],
                "Pod" => object,
                _ => return None,
            };
            Some(Workload { object, template, kind: kind(object) })
        };
        Self { objects, workloads: objects.iter().filter_map(workload).collect() }
    }

    pub(super) fn kind(&self, wanted: &'a str) -> impl Iterator<Item = &'a Value> + use<'a> {
        self.objects.iter().filter(move |object| kind(object) == wanted)
    }

    /// The workloads whose pods a selector of labels finds.
    pub(super) fn selected(&self, from: &Value, labels: &Map<String, Value>) -> Vec<&Workload<'a>> {
        let same = |workload: &&Workload<'_>| {
            namespace(workload.object) == namespace(from) && matches(labels, workload.labels())
        };
        self.workloads.iter().filter(same).collect()
    }

    /// Whether a Service sends requests to it.
    pub(super) fn serves(&self, workload: &Workload<'_>) -> bool {
        self.kind("Service").any(|service| {
            let selector = service["spec"]["selector"].as_object();
            namespace(service) == namespace(workload.object)
                && selector.is_some_and(|labels| !labels.is_empty() && matches(labels, workload.labels()))
        })
    }

    pub(super) fn autoscaler(&self, workload: &Workload<'_>) -> Option<&'a Value> {
        self.kind("HorizontalPodAutoscaler").find(|autoscaler| {
            let target = &autoscaler["spec"]["scaleTargetRef"];
            namespace(autoscaler) == namespace(workload.object)
                && target["kind"] == workload.kind
                && target["name"] == short_name(workload.object)
        })
    }

    /// The least number of replicas that there will be.
    pub(super) fn replicas(&self, workload: &Workload<'_>) -> u64 {
        match self.autoscaler(workload) {
            Some(autoscaler) => autoscaler["spec"]["minReplicas"].as_u64().unwrap_or(1),
            None => workload.object["spec"]["replicas"].as_u64().unwrap_or(1),
        }
    }
}

/// Whether labels have everything that a selector wants.
fn matches(selector: &Map<String, Value>, labels: Option<&Map<String, Value>>) -> bool {
    selector.iter().all(|(key, value)| labels.and_then(|labels| labels.get(key)) == Some(value))
}

/// `matchLabels` and `matchExpressions`.
pub(super) fn selects(selector: &Value, labels: Option<&Map<String, Value>>) -> bool {
    let by_labels = selector["matchLabels"].as_object().is_none_or(|wanted| matches(wanted, labels));
    let expressions = selector["matchExpressions"].as_array();
    by_labels
        && expressions.into_iter().flatten().all(|expression| {
            let found = labels.and_then(|labels| labels.get(expression["key"].as_str().unwrap_or_default()));
            let listed = found.is_some_and(|found| {
                expression["values"].as_array().is_some_and(|values| values.contains(found))
            });
            match expression["operator"].as_str() {
                Some("In") => listed,
                Some("NotIn") => !listed,
                Some("Exists") => found.is_some(),
                _ => found.is_none(),
            }
        })
}

impl<'a> Workload<'a> {
    pub(super) fn labels(&self) -> Option<&'a Map<String, Value>> {
        self.template["metadata"]["labels"].as_object()
    }

    pub(super) fn pod(&self) -> &'a Value {
        &self.template["spec"]
    }

    pub(super) fn containers(&self) -> impl Iterator<Item = &'a Value> + use<'a> {
        self.pod()["containers"].as_array().into_iter().flatten()
    }

    /// Those that run before, and those that run beside.
    pub(super) fn all_containers(&self) -> impl Iterator<Item = &'a Value> + use<'a> {
        let first = self.pod()["initContainers"].as_array().into_iter().flatten();
        self.containers().chain(first)
    }

    /// Whether it is replaced pod by pod.
    pub(super) fn rolls(&self) -> bool {
        matches!(self.kind, "Deployment" | "StatefulSet")
    }

    /// The ports of all containers, by number and, where they have one, by name.
    pub(super) fn ports(&self) -> BTreeMap<u64, Option<&'a str>> {
        self.containers().flat_map(ports_of).collect()
    }
}

pub(super) fn ports_of(container: &Value) -> impl Iterator<Item = (u64, Option<&str>)> {
    let ports = container["ports"].as_array().into_iter().flatten();
    ports.filter_map(|port| Some((port["containerPort"].as_u64()?, port["name"].as_str())))
}

/// Whether a port by name or number is among them.
pub(super) fn has_port<'p>(mut ports: impl Iterator<Item = (u64, Option<&'p str>)>, wanted: &Value) -> bool {
    ports.any(|(number, name)| match wanted {
        Value::String(text) => name == Some(text.as_str()),
        other => other.as_u64() == Some(number),
    })
}

/// An amount or a percentage of `whole`, rounded as told.
pub(super) fn share(value: &Value, whole: u64, up: Rounding) -> Option<u64> {
    match value {
        Value::String(text) => {
            let percent: u64 = text.strip_suffix('%')?.parse().ok()?;
            Some(match up {
                Rounding::Up => (whole * percent).div_ceil(100),
                Rounding::Down => whole * percent / 100,
            })
        }
        other => other.as_u64(),
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rounding {
    Up,
    Down,
}
