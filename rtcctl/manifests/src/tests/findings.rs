//! Each finding fires on an object that has its fault, alone.

use serde_json::{Value, json};

use super::given::{bodies, dev};
use crate::lint::{Code, MEANINGS, check};

/// Objects as others write them, without a fault.
fn good() -> Vec<Value> {
    let text = include_str!("findings/good.yaml");
    crate::yaml::read(text).unwrap()
}

fn at<'a>(objects: &'a mut [Value], kind: &str) -> &'a mut Value {
    objects.iter_mut().find(|object| object["kind"] == kind).unwrap()
}

fn container(objects: &mut [Value]) -> &mut Value {
    &mut at(objects, "Deployment")["spec"]["template"]["spec"]["containers"][0]
}

fn remove(value: &mut Value, key: &str) {
    value.as_object_mut().unwrap().remove(key).unwrap();
}

type Break = fn(&mut Vec<Value>);

/// A code, and what brings about it and nothing else.
const BREAKS: [(Code, Break); 35] = [
    (Code::NoReadinessProbe, |o| remove(container(o), "readinessProbe")),
    (Code::NoPause, |o| remove(container(o), "lifecycle")),
    (Code::NoPause, |o| container(o)["lifecycle"]["preStop"] = json!({ "sleep": { "seconds": 4 } })),
    (Code::NoPause, |o| {
        container(o)["lifecycle"]["preStop"] =
            json!({ "exec": { "command": ["/bin/sh", "-c", "sleep 1; kill 1"] } });
    }),
    (Code::GraceTooShort, |o| {
        at(o, "Deployment")["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] = json!(20);
    }),
    (Code::GraceTooShort, |o| {
        at(o, "Deployment")["spec"]["template"]["metadata"]["annotations"] =
            json!({ "rtc.io/drain-seconds": "40" });
    }),
    (Code::AllAtOnce, |o| {
        at(o, "Deployment")["spec"]["strategy"] = json!({ "rollingUpdate": { "maxUnavailable": 2 } });
    }),
    (Code::AllAtOnce, |o| {
        at(o, "Deployment")["spec"]["strategy"] = json!({ "rollingUpdate": { "maxUnavailable": "100%" } });
    }),
    (Code::Recreated, |o| at(o, "Deployment")["spec"]["strategy"] = json!({ "type": "Recreate" })),
    (Code::EvictionBlocked, |o| at(o, "PodDisruptionBudget")["spec"]["minAvailable"] = json!(2)),
    (Code::EvictionBlocked, |o| at(o, "PodDisruptionBudget")["spec"]["minAvailable"] = json!("51%")),
    (Code::EvictionBlocked, |o| {
        let spec = &mut at(o, "PodDisruptionBudget")["spec"];
        remove(spec, "minAvailable");
        spec["maxUnavailable"] = json!("0%");
    }),
    (Code::BudgetsOverlap, |o| {
        let mut second = at(o, "PodDisruptionBudget").clone();
        second["metadata"]["name"] = json!("second");
        o.push(second);
    }),
    (Code::ReplicasFought, |o| at(o, "Deployment")["spec"]["replicas"] = json!(3)),
    (Code::TagNotDigest, |o| container(o)["image"] = json!("web:1.0")),
    (Code::TagNotDigest, |o| {
        let init = json!([{ "name": "first", "image": "busybox" }]);
        at(o, "Deployment")["spec"]["template"]["spec"]["initContainers"] = init;
    }),
    (Code::NoResources, |o| remove(&mut container(o)["resources"]["limits"], "memory")),
    (Code::NoResources, |o| {
        at(o, "HorizontalPodAutoscaler")["spec"]["metrics"] = json!([]);
        remove(&mut container(o)["resources"]["requests"], "cpu");
    }),
    (Code::LivenessAsksDependencies, |o| {
        container(o)["livenessProbe"] = json!({ "httpGet": { "path": "/readyz", "port": 8080 } });
    }),
    (Code::LivenessAsksDependencies, |o| {
        container(o)["readinessProbe"] = json!({ "httpGet": { "path": "/health", "port": "http" } });
        container(o)["livenessProbe"] = json!({ "httpGet": { "path": "/health", "port": 8080 } });
    }),
    (Code::NotSpread, |o| {
        remove(&mut at(o, "Deployment")["spec"]["template"]["spec"], "topologySpreadConstraints")
    }),
    (Code::SecretInTheOpen, |o| container(o)["env"] = json!([{ "name": "DB_PASSWORD", "value": "hunter2" }])),
    (Code::SecretInTheOpen, |o| {
        container(o)["env"] = json!([{ "name": "DATABASE_URL", "value": "mysql://app:hunter2@db/app" }]);
    }),
    (Code::SecretInTheOpen, |o| {
        at(o, "ConfigMap")["data"]["app.toml"] = json!("bus = \"kafka://a:b@c:1\"\n")
    }),
    (Code::SelectorMissesTemplate, |o| {
        at(o, "Deployment")["spec"]["selector"]["matchLabels"]["tier"] = json!("x")
    }),
    (Code::SelectsNothing, |o| {
        at(o, "PodDisruptionBudget")["spec"]["selector"] = json!({ "matchLabels": { "app": "x" } })
    }),
    (Code::SelectsNothing, |o| {
        let mut other = at(o, "Service").clone();
        other["metadata"]["name"] = json!("other");
        other["spec"]["selector"] = json!({ "app": "other" });
        o.push(other);
    }),
    (Code::PortMissing, |o| at(o, "Service")["spec"]["ports"][0]["targetPort"] = json!("https")),
    (Code::PortMissing, |o| at(o, "Service")["spec"]["ports"][0]["targetPort"] = json!(8081)),
    (Code::ProbePortMissing, |o| container(o)["readinessProbe"]["httpGet"]["port"] = json!("admin")),
    (Code::NothingToMeasure, |o| {
        let measured = &mut at(o, "HorizontalPodAutoscaler")["spec"]["metrics"][0]["resource"];
        measured["name"] = json!("ephemeral-storage");
    }),
    (Code::ScalesNothing, |o| {
        at(o, "HorizontalPodAutoscaler")["spec"]["scaleTargetRef"]["name"] = json!("other");
        // Without it two are no longer meant.
        at(o, "Deployment")["spec"]["replicas"] = json!(2);
    }),
    (Code::NoReadinessGate, |o| remove(&mut at(o, "Namespace")["metadata"], "labels")),
    (Code::ReferenceMissing, |o| {
        at(o, "Deployment")["spec"]["template"]["spec"]["volumes"][0]["configMap"]["name"] = json!("other");
    }),
    (Code::ReferenceMissing, |o| {
        container(o)["env"] =
            json!([{ "name": "A", "valueFrom": { "configMapKeyRef": { "name": "b", "key": "c" } } }]);
    }),
];

#[test]
fn objects_without_a_fault_have_no_findings() {
    assert_eq!(check(&good()), []);
    let list = json!({ "apiVersion": "v1", "kind": "List", "items": good() });
    assert_eq!(check(&[list]), []);
    assert_eq!(check(&[]), []);
}

#[test]
fn every_fault_is_found_and_nothing_else() {
    for (index, (code, break_it)) in BREAKS.iter().enumerate() {
        let mut objects = good();
        break_it(&mut objects);
        let found: Vec<Code> = check(&objects).into_iter().map(|finding| finding.code).collect();
        // The second container of a pod that begins with one is not asked for resources: it ends.
        assert_eq!(found, [*code], "case {index}");
    }
}

#[test]
fn every_code_is_broken_somewhere_and_has_an_id_of_its_own() {
    let mut ids = std::collections::BTreeSet::new();
    for meaning in &MEANINGS {
        assert!(BREAKS.iter().any(|(code, _)| *code == meaning.code), "{}", meaning.id);
        assert_eq!(meaning.code.id(), meaning.id);
        assert!(ids.insert(meaning.id));
        assert!(!meaning.title.ends_with('.') && !meaning.hint.ends_with('.'));
    }
}

#[test]
fn a_finding_names_the_object_and_says_what_helps() {
    let mut objects = bodies(&dev());
    let deployment =
        objects.iter_mut().find(|o| o["kind"] == "Deployment" && o["metadata"]["name"] == "users").unwrap();
    deployment["spec"]["template"]["spec"]["containers"][0]["image"] = json!("rtcd:latest");
    let findings = serde_json::to_value(check(&objects)).unwrap();
    let expected = json!([{
        "severity": "error",
        "id": "LNT009",
        "object": "Deployment/rtc/users",
        "message": "container users runs \"rtcd:latest\"",
        "hint": "name it by digest: a tag may be another image on the next node",
        "code": "tag_not_digest",
    }]);
    assert_eq!(findings, expected);
}

#[test]
fn what_the_old_systems_deployed_would_not_have_passed() {
    let text = include_str!("findings/former.yaml");
    let found: Vec<&str> =
        check(&crate::yaml::read(text).unwrap()).iter().map(|finding| finding.id).collect();
    assert_eq!(found, ["LNT002", "LNT008", "LNT009", "LNT010", "LNT011", "LNT018"]);
}
