//! What the API fills in where nobody says anything, for the kinds that are rolled out.
//!
//! Left out: every default that no reader of this tool sees.

use serde_json::{Value as Json, json};

fn default(object: &mut Json, name: &str, value: Json) {
    if let Some(map) = object.as_object_mut()
        && map.get(name).is_none_or(Json::is_null)
    {
        map.insert(name.to_owned(), value);
    }
}

/// Fills in defaults.
pub fn settle(object: &mut Json) {
    let kind = object["kind"].as_str().unwrap_or_default().to_owned();
    if !object["spec"].is_object() {
        return;
    }
    match kind.as_str() {
        "Deployment" => {
            let spec = &mut object["spec"];
            default(spec, "replicas", json!(1));
            default(spec, "revisionHistoryLimit", json!(10));
            default(spec, "progressDeadlineSeconds", json!(600));
            default(spec, "strategy", json!({}));
            default(&mut spec["strategy"], "type", json!("RollingUpdate"));
            if spec["strategy"]["type"] == "RollingUpdate" {
                default(&mut spec["strategy"], "rollingUpdate", json!({}));
                default(&mut spec["strategy"]["rollingUpdate"], "maxSurge", json!("25%"));
                default(&mut spec["strategy"]["rollingUpdate"], "maxUnavailable", json!("25%"));
            }
            pod(&mut spec["template"]["spec"]);
        }
        "ReplicaSet" | "StatefulSet" => {
            default(&mut object["spec"], "replicas", json!(1));
            pod(&mut object["spec"]["template"]["spec"]);
        }
        "DaemonSet" => pod(&mut object["spec"]["template"]["spec"]),
        "Job" => {
            let spec = &mut object["spec"];
            // Whoever says how many at once leaves it to them when it is done.
            if spec["parallelism"].is_null() {
                default(spec, "completions", json!(1));
            }
            default(spec, "parallelism", json!(1));
            default(spec, "backoffLimit", json!(6));
            pod(&mut spec["template"]["spec"]);
        }
        "Pod" => pod(&mut object["spec"]),
        "Service" => {
            let spec = &mut object["spec"];
            default(spec, "type", json!("ClusterIP"));
            default(spec, "sessionAffinity", json!("None"));
            if spec["clusterIP"].is_string() {
                let addresses = json!([spec["clusterIP"]]);
                default(spec, "clusterIPs", addresses);
            }
            for port in spec["ports"].as_array_mut().into_iter().flatten() {
                default(port, "protocol", json!("TCP"));
                let own = port["port"].clone();
                default(port, "targetPort", own);
            }
        }
        _ => {}
    }
}

fn pod(spec: &mut Json) {
    if !spec.is_object() {
        return;
    }
    default(spec, "restartPolicy", json!("Always"));
    default(spec, "terminationGracePeriodSeconds", json!(30));
    default(spec, "dnsPolicy", json!("ClusterFirst"));
    default(spec, "schedulerName", json!("default-scheduler"));
    default(spec, "securityContext", json!({}));
    for list in ["containers", "initContainers"] {
        for container in spec.get_mut(list).and_then(Json::as_array_mut).into_iter().flatten() {
            let image = container["image"].as_str().unwrap_or_default();
            let is_latest = !image.contains('@')
                && (image.ends_with(":latest")
                    || !image.rsplit('/').next().unwrap_or_default().contains(':'));
            let policy = if is_latest { "Always" } else { "IfNotPresent" };
            default(container, "imagePullPolicy", json!(policy));
            default(container, "terminationMessagePath", json!("/dev/termination-log"));
            default(container, "terminationMessagePolicy", json!("File"));
            default(container, "resources", json!({}));
            for part in ["requests", "limits"] {
                for (_, amount) in
                    container["resources"].get_mut(part).and_then(Json::as_object_mut).into_iter().flatten()
                {
                    *amount = canonical(amount);
                }
            }
            for name in ["livenessProbe", "readinessProbe", "startupProbe"] {
                if let Some(probe) = container.get_mut(name).filter(|probe| probe.is_object()) {
                    for (field, value) in [
                        ("failureThreshold", 3),
                        ("periodSeconds", 10),
                        ("successThreshold", 1),
                        ("timeoutSeconds", 1),
                    ] {
                        default(probe, field, json!(value));
                    }
                    if probe["httpGet"].is_object() {
                        default(&mut probe["httpGet"], "scheme", json!("HTTP"));
                    }
                }
            }
            for port in container.get_mut("ports").and_then(Json::as_array_mut).into_iter().flatten() {
                default(port, "protocol", json!("TCP"));
            }
        }
    }
}

/// An amount as the API writes it: `0.5` is `500m`, `1024Mi` is `1Gi`.
fn canonical(amount: &Json) -> Json {
    let text = amount.as_str().map_or_else(|| amount.to_string(), str::to_owned);
    let binary = ["Ki", "Mi", "Gi", "Ti"];
    if let Some(at) = binary.iter().position(|unit| text.ends_with(unit))
        && let Ok(mut number) = text[..text.len() - 2].parse::<u64>()
    {
        let mut at = at;
        while number > 0 && number % 1024 == 0 && at + 1 < binary.len() {
            (number, at) = (number / 1024, at + 1);
        }
        return format!("{number}{}", binary[at]).into();
    }
    let milli = match text.strip_suffix('m') {
        Some(milli) => milli.parse::<u64>().ok(),
        None => text.parse::<f64>().ok().map(|whole| (whole * 1000.0).round() as u64),
    };
    match milli {
        Some(milli) if milli % 1000 == 0 => (milli / 1000).to_string().into(),
        Some(milli) => format!("{milli}m").into(),
        None => amount.clone(),
    }
}

/// A job finds its pods by its own uid, unless it is told otherwise.
pub fn labelled(object: &mut Json, uid: &str) {
    if object["kind"] != "Job" || object["spec"]["manualSelector"] == true {
        return;
    }
    let name = object["metadata"]["name"].clone();
    let template = &mut object["spec"]["template"];
    default(template, "metadata", json!({}));
    default(&mut template["metadata"], "labels", json!({}));
    template["metadata"]["labels"]["controller-uid"] = uid.into();
    template["metadata"]["labels"]["job-name"] = name;
    let labels = template["metadata"]["labels"].clone();
    object["spec"]["selector"] = json!({ "matchLabels": { "controller-uid": uid } });
    default(&mut object["metadata"], "labels", labels);
}
