//! The values of the chart: those of a description, and what they may be.

use serde_json::{Map, Value, json};

use crate::Description;
use crate::description::{Entry, Target};

/// What a description says of everything that is a value.
pub fn values(description: &Description) -> Value {
    let targets: Map<String, Value> =
        description.targets.iter().map(|(name, target)| (name.clone(), of_target(target))).collect();
    json!({
        "image": description.image,
        "namespaces": { "create": true },
        "mesh": { "enabled": description.mesh.is_some() },
        "hosts": hosts(&description.entry),
        "targets": targets,
    })
}

fn hosts(entry: &Entry) -> &[String] {
    match entry {
        Entry::None | Entry::TargetGroup { .. } => &[],
        Entry::Alb { hosts, .. } | Entry::GatewayApi { hosts, .. } => hosts,
    }
}

fn of_target(target: &Target) -> Value {
    let resources = json!({
        "cpu": target.resources.cpu,
        "memory": target.resources.memory,
        "cpu_limit": target.resources.cpu_limit.clone().unwrap_or_default(),
    });
    match &target.scaling {
        Some(scaling) => json!({ "min": scaling.min, "max": scaling.max, "resources": resources }),
        None => json!({ "replicas": target.replicas, "resources": resources }),
    }
}

/// A JSON schema of them, in which nothing else may stand.
pub fn schema(description: &Description) -> Value {
    let closed = |properties: Value, required: &[&str]| json!({ "type": "object", "additionalProperties": false, "required": required, "properties": properties });
    let cpu = r"^([1-9][0-9]*m?|[0-9]+\.[0-9]{1,3})$";
    let memory = "^[1-9][0-9]*(Ki|Mi|Gi|Ti|k|M|G|T)?$";
    let resources = closed(
        json!({
            "cpu": { "type": "string", "pattern": cpu },
            "memory": { "type": "string", "pattern": memory },
            "cpu_limit": { "type": "string", "pattern": format!("^$|{cpu}") },
        }),
        &["cpu", "memory"],
    );
    let count = json!({ "type": "integer", "minimum": 1 });
    let target = |target: &Target| match &target.scaling {
        Some(_) => closed(
            json!({ "min": count, "max": count, "resources": resources }),
            &["min", "max", "resources"],
        ),
        None => closed(json!({ "replicas": count, "resources": resources }), &["replicas", "resources"]),
    };
    let names: Vec<&str> = description.targets.keys().map(String::as_str).collect();
    let targets: Map<String, Value> =
        description.targets.iter().map(|(name, one)| (name.clone(), target(one))).collect();
    let switch = |key: &str| closed(json!({ key: { "type": "boolean" } }), &[key]);
    let least = usize::from(!hosts(&description.entry).is_empty());
    let mut schema = closed(
        json!({
            "global": { "type": "object" },
            "image": {
                "type": "string",
                "description": "by digest: a tag moves",
                "pattern": "^[a-z0-9][a-z0-9._/:-]*@sha256:[0-9a-f]{64}$",
            },
            "namespaces": switch("create"),
            "mesh": switch("enabled"),
            "hosts": { "type": "array", "minItems": least, "items": { "type": "string", "pattern": "^(\\*\\.)?[a-z0-9.-]+$" } },
            "targets": closed(Value::Object(targets), &names),
        }),
        &["image", "namespaces", "mesh", "hosts", "targets"],
    );
    schema["$schema"] = json!("http://json-schema.org/draft-07/schema#");
    schema
}
