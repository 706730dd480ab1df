//! What is refused whatever its type: what no pod can be made of.
//!
//! Left out: every rule that no manifest of this tool could break.

use serde_json::{Value as Json, json};

use super::refusal::{Done, Refusal, details};
use crate::kinds::Resource;

/// Refuses a workload that could have no pods, with every field at fault.
pub fn check(resource: &Resource, object: &Json) -> Done<()> {
    let path = match resource.gvk.kind.as_str() {
        "Deployment" | "StatefulSet" | "DaemonSet" | "ReplicaSet" | "Job" => "spec.template.spec",
        "Pod" => "spec",
        _ => return Ok(()),
    };
    let template = &object["spec"]["template"];
    let spec = if path == "spec" { &object["spec"] } else { &template["spec"] };
    let mut faults: Vec<(String, &str, String)> = Vec::new();
    let selector = object["spec"]["selector"]["matchLabels"].as_object();
    let is_selected = selector.is_none_or(|labels| {
        labels.iter().all(|(name, value)| template["metadata"]["labels"].get(name) == Some(value))
    });
    if path != "spec" && !is_selected {
        let labels = &template["metadata"]["labels"];
        let why = format!("Invalid value: {labels}: `selector` does not match template `labels`");
        faults.push(("spec.template.metadata.labels".to_owned(), "FieldValueInvalid", why));
    }
    for list in ["initContainers", "containers"] {
        for (number, container) in spec[list].as_array().into_iter().flatten().enumerate() {
            if container["image"].as_str().unwrap_or_default().is_empty() {
                let field = format!("{path}.{list}[{number}].image");
                faults.push((field, "FieldValueRequired", "Required value".to_owned()));
            }
            // What a probe is left with when its owner says it no more: what was filled in.
            for probe in ["livenessProbe", "readinessProbe", "startupProbe"] {
                let asked = &container[probe]["httpGet"];
                if asked.is_object() && asked["port"].is_null() {
                    let field = format!("{path}.{list}[{number}].{probe}.httpGet.port");
                    let why = "Invalid value: 0: must be between 1 and 65535, inclusive".to_owned();
                    faults.push((field, "FieldValueInvalid", why));
                }
            }
        }
    }
    if faults.is_empty() {
        return Ok(());
    }
    let name = object["metadata"]["name"].as_str().unwrap_or_default();
    let gvk = &resource.gvk;
    let kind = if gvk.group.is_empty() { gvk.kind.clone() } else { format!("{}.{}", gvk.kind, gvk.group) };
    let told: Vec<String> = faults.iter().map(|(field, _, why)| format!("{field}: {why}")).collect();
    let told = if let [one] = told.as_slice() { one.clone() } else { format!("[{}]", told.join(", ")) };
    let mut about = details(&kind, name);
    let causes = faults.iter();
    let causes =
        causes.map(|(field, reason, why)| json!({ "reason": reason, "message": why, "field": field }));
    about["causes"] = causes.collect();
    let message = format!("{kind} \"{name}\" is invalid: {told}");
    Err(Refusal { details: about, ..Refusal::new(422, "Invalid", message) })
}
