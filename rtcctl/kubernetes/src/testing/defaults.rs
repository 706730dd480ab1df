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
            default(spec, "completions", json!(1));
            default(spec, "parallelism", json!(1));
            default(spec, "backoffLimit", json!(6));
            pod(&mut spec["template"]["spec"]);
        }
        "Pod" => pod(&mut object["spec"]),
        "Service" => {
            let spec = &mut object["spec"];
            default(spec, "type", json!("ClusterIP"));
            default(spec, "sessionAffinity", json!("None"));
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
            for port in container.get_mut("ports").and_then(Json::as_array_mut).into_iter().flatten() {
                default(port, "protocol", json!("TCP"));
            }
        }
    }
}
