//! What is a value of the chart is taken out of an object, and a hole stands for it.
//!
//! A hole is a word that stands bare in YAML; [`super::text`] puts the expression in its place.

use serde_json::{Map, Value, json};

use crate::Description;

/// Begins every hole.
pub(super) const MARK: &str = "zzhole";

/// A scalar that Helm computes.
pub(super) fn scalar(expression: &str) -> Value {
    json!(format!("{MARK}{}zz", encode(expression)))
}

/// A line that steers Helm, as an item of a list or a key of a map.
pub(super) fn steering(statement: &str) -> String {
    format!("{MARK}line{}zz", encode(statement))
}

/// Letters and digits alone, so that no writer quotes it.
fn encode(text: &str) -> String {
    text.bytes().map(|byte| format!("{byte:02x}")).collect()
}

/// The other way round.
pub(super) fn decode(text: &str) -> Option<String> {
    let bytes = (0..text.len()).step_by(2).map(|at| u8::from_str_radix(text.get(at..at + 2)?, 16).ok());
    String::from_utf8(bytes.collect::<Option<Vec<u8>>>()?).ok()
}

pub(super) fn dig(description: &Description, object: &Value) -> Value {
    let mut object = object.clone();
    let kind = object["kind"].as_str().unwrap_or_default().to_owned();
    let name = object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    let canary = name.ends_with("-canary");
    let target = name.trim_end_matches("-canary").to_owned();
    match kind.as_str() {
        "Deployment" => deployment(&mut object, &target, canary),
        "Job" => {
            let told = name.rsplit('-').next().unwrap_or_default();
            object["metadata"]["name"] =
                scalar(&format!("{{{{ printf \"migrate-%s-{told}\" (include \"rtc.release\" .) }}}}"));
            object["spec"]["template"]["spec"]["containers"][0]["image"] = image();
        }
        "HorizontalPodAutoscaler" => {
            object["spec"]["minReplicas"] = of_target(&target, "min");
            object["spec"]["maxReplicas"] = of_target(&target, "max");
        }
        "Ingress" => hosts_of_ingress(&mut object),
        "Gateway" => hosts_of_gateway(&mut object),
        "HTTPRoute" => hosts_of_route(&mut object),
        _ => {}
    }
    let short = description.image.rsplit("sha256:").next().unwrap_or_default();
    releases(&mut object, short.get(..12).unwrap_or_default());
    object
}

fn image() -> Value {
    scalar("{{ .Values.image | quote }}")
}

fn of_target(target: &str, key: &str) -> Value {
    scalar(&format!("{{{{ index .Values.targets {target:?} {key:?} }}}}"))
}

fn deployment(object: &mut Value, target: &str, canary: bool) {
    if !canary {
        if !object["spec"]["replicas"].is_null() {
            object["spec"]["replicas"] = of_target(target, "replicas");
        }
        object["spec"]["template"]["spec"]["containers"][0]["image"] = image();
    }
    let resources = &mut object["spec"]["template"]["spec"]["containers"][0]["resources"];
    let amount =
        |key: &str| scalar(&format!("{{{{ (index .Values.targets {target:?}).resources.{key} | quote }}}}"));
    let mut limits = Map::new();
    limits.insert("memory".to_owned(), amount("memory"));
    let asked = format!("{{{{- if (index .Values.targets {target:?}).resources.cpu_limit }}}}");
    limits.insert(steering(&asked), Value::Null);
    limits.insert("cpu".to_owned(), amount("cpu_limit"));
    limits.insert(steering("{{- end }}"), Value::Null);
    *resources = json!({
        "requests": { "cpu": amount("cpu"), "memory": amount("memory") },
        "limits": limits,
    });
}

/// A list as its first item over every host.
fn ranged(list: &mut Value, keep: usize, with: impl Fn(&mut Value)) {
    let Some(items) = list.as_array_mut().filter(|items| items.len() > keep) else { return };
    items.truncate(keep + 1);
    if let Some(item) = items.last_mut() {
        with(item);
    }
    items.insert(keep, json!(steering("{{- range $index, $host := .Values.hosts }}")));
    items.push(json!(steering("{{- end }}")));
}

fn host() -> Value {
    scalar("{{ $host | quote }}")
}

fn section() -> Value {
    scalar("{{ printf \"https-%d\" $index }}")
}

fn hosts_of_ingress(object: &mut Value) {
    ranged(&mut object["spec"]["rules"], 0, |rule| rule["host"] = host());
}

fn hosts_of_gateway(object: &mut Value) {
    // The first listener is that of plain HTTP.
    ranged(&mut object["spec"]["listeners"], 1, |listener| {
        listener["name"] = section();
        listener["hostname"] = host();
    });
}

fn hosts_of_route(object: &mut Value) {
    ranged(&mut object["spec"]["hostnames"], 0, |name| *name = host());
    if object["spec"]["parentRefs"][0]["sectionName"] != "http" {
        ranged(&mut object["spec"]["parentRefs"], 0, |parent| parent["sectionName"] = section());
    }
}

/// The label of the release, wherever it stands.
fn releases(value: &mut Value, short: &str) {
    match value {
        Value::Object(map) => {
            for (key, value) in map.iter_mut() {
                match key == crate::render::RELEASE && *value == *short {
                    true => *value = scalar("{{ include \"rtc.release\" . | quote }}"),
                    false => releases(value, short),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| releases(item, short)),
        _ => {}
    }
}
