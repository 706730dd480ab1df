//! What is wrong between objects: selectors, ports, names.

use std::collections::BTreeSet;

use serde_json::Value;

use super::pods::holds_password;
use super::view::{View, Workload, has_port, kind, namespace, short_name};
use super::{Code, Findings};

/// How the AWS Load Balancer Controller is told to make pods wait for it.
const GATE: &str = "elbv2.k8s.aws/pod-readiness-gate-inject";

pub(super) fn check(view: &View<'_>, findings: &mut Findings) {
    for service in view.kind("Service") {
        self::service(view, service, findings);
    }
    for workload in &view.workloads {
        references(view, workload, findings);
    }
    for map in view.kind("ConfigMap") {
        let data = map["data"].as_object().into_iter().flatten();
        for (key, _) in data.filter(|(_, value)| value.as_str().is_some_and(holds_password)) {
            findings.add(Code::SecretInTheOpen, map, format!("{key} has an address with a password in it"));
        }
    }
    gates(view, findings);
}

fn service(view: &View<'_>, service: &Value, findings: &mut Findings) {
    let Some(selector) = service["spec"]["selector"].as_object().filter(|labels| !labels.is_empty()) else {
        return;
    };
    let pods = view.selected(service, selector);
    if pods.is_empty() {
        return findings.add(Code::SelectsNothing, service, "it sends requests to no pods of these");
    }
    for port in service["spec"]["ports"].as_array().into_iter().flatten() {
        let target = if port["targetPort"].is_null() { &port["port"] } else { &port["targetPort"] };
        // Pods that declare no ports at all say nothing about what they listen on.
        let lacks = |workload: &&&Workload<'_>| {
            let ports = workload.ports();
            (!ports.is_empty() || target.is_string()) && !has_port(ports.into_iter(), target)
        };
        for workload in pods.iter().filter(lacks) {
            let message = format!(
                "port {} leads to {target}, which {} has not",
                port["port"],
                short_name(workload.object)
            );
            findings.add(Code::PortMissing, service, message);
        }
    }
}

/// ConfigMaps, service accounts and claims are part of a whole; Secrets often come from elsewhere, and are looked at only
/// where the list makes some.
fn references(view: &View<'_>, workload: &Workload<'_>, findings: &mut Findings) {
    let here = |wanted: &'static [&'static str]| -> BTreeSet<&str> {
        let own = view.objects.iter().filter(|object| {
            wanted.contains(&kind(object)) && namespace(object) == namespace(workload.object)
        });
        own.map(short_name).collect()
    };
    let pod = workload.pod();
    let mut wanted: Vec<(&str, &'static [&'static str], String)> = Vec::new();
    let mut want = |what, kinds, name: &Value| {
        if let Some(name) = name.as_str() {
            wanted.push((what, kinds, name.to_owned()));
        }
    };
    if pod["serviceAccountName"] != "default" {
        want("service account", &["ServiceAccount"], &pod["serviceAccountName"]);
    }
    for volume in pod["volumes"].as_array().into_iter().flatten() {
        if volume["configMap"]["optional"] != true {
            want("ConfigMap", &["ConfigMap"], &volume["configMap"]["name"]);
        }
        if volume["secret"]["optional"] != true {
            want("Secret", &["Secret", "ExternalSecret"], &volume["secret"]["secretName"]);
        }
        want("claim", &["PersistentVolumeClaim"], &volume["persistentVolumeClaim"]["claimName"]);
    }
    for container in workload.all_containers() {
        for from in container["envFrom"].as_array().into_iter().flatten() {
            want("ConfigMap", &["ConfigMap"], &from["configMapRef"]["name"]);
            want("Secret", &["Secret", "ExternalSecret"], &from["secretRef"]["name"]);
        }
        for variable in container["env"].as_array().into_iter().flatten() {
            want("ConfigMap", &["ConfigMap"], &variable["valueFrom"]["configMapKeyRef"]["name"]);
            want("Secret", &["Secret", "ExternalSecret"], &variable["valueFrom"]["secretKeyRef"]["name"]);
        }
    }
    for (what, kinds, name) in wanted {
        let known = here(kinds);
        if !known.is_empty() && !known.contains(name.as_str()) {
            findings.add(Code::ReferenceMissing, workload.object, format!("there is no {what} {name}"));
        }
    }
}

/// Only a namespace that is in the list can be judged.
fn gates(view: &View<'_>, findings: &mut Findings) {
    for space in view.kind("Namespace") {
        let name = short_name(space);
        let by_address = view.objects.iter().filter(|object| namespace(object) == name).find(|object| {
            let target_type = &object["metadata"]["annotations"]["alb.ingress.kubernetes.io/target-type"];
            kind(object) == "TargetGroupBinding" || (kind(object) == "Ingress" && target_type == "ip")
        });
        if let Some(entry) = by_address
            && space["metadata"]["labels"][GATE] != "enabled"
        {
            let message = format!("{} sends requests to pods by address", super::view::name(entry));
            findings.add(Code::NoReadinessGate, space, message);
        }
    }
}
