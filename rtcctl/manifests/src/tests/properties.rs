//! What holds of every render: nothing leads nowhere, nobody is reached unasked, nothing secret is in it.

use std::collections::BTreeSet;

use serde_json::Value;

use super::given::{OTHER_IMAGE, bodies, dev, every, find, prod, rendered, with_canary};
use crate::render::{ENVIRONMENT, OWNER, RELEASE};
use crate::{Description, Object, Wave, lint};

fn of_kind<'a>(objects: &'a [Object], kind: &'a str) -> impl Iterator<Item = &'a Value> {
    objects.iter().filter(move |object| object.kind() == kind).map(|object| &object.body)
}

fn pods(objects: &[Object]) -> Vec<(&str, &Value)> {
    let made = |object: &&Object| matches!(object.kind(), "Deployment" | "DaemonSet" | "Job");
    objects.iter().filter(made).map(|object| (object.name(), &object.body["spec"]["template"])).collect()
}

fn is_subset(selector: &Value, labels: &Value) -> bool {
    selector.as_object().unwrap().iter().all(|(key, value)| labels[key] == *value)
}

#[test]
fn our_own_objects_have_no_findings() {
    for (what, description) in every() {
        let findings = lint::check(&bodies(&description));
        assert!(findings.is_empty(), "{what}: {findings:#?}");
    }
}

#[test]
fn the_same_description_gives_the_same_bytes_and_no_object_twice() {
    for (what, description) in every() {
        let objects = rendered(&description);
        assert_eq!(objects, rendered(&description), "{what}");
        let mut seen = BTreeSet::new();
        for object in &objects {
            let key = (object.api_version(), object.kind(), object.namespace(), object.name());
            assert!(seen.insert(key), "{what}: {key:?} is there twice");
        }
    }
}

#[test]
fn everything_carries_the_labels_by_which_it_is_pruned() {
    for (what, description) in every() {
        for object in rendered(&description) {
            let labels = &object.body["metadata"]["labels"];
            assert_eq!(labels[OWNER.0], OWNER.1, "{what}: {}", object.name());
            assert_eq!(labels[ENVIRONMENT], description.environment);
            assert_eq!(labels[RELEASE].as_str().unwrap().len(), 12);
            for (key, value) in labels.as_object().unwrap() {
                assert!(value.as_str().unwrap().len() <= 63, "{key}");
            }
        }
    }
}

#[test]
fn whatever_selects_finds_pods_and_whatever_is_named_is_there() {
    for (what, description) in every() {
        let objects = rendered(&description);
        let pods = pods(&objects);
        for service in of_kind(&objects, "Service") {
            let found = pods
                .iter()
                .any(|(_, pod)| is_subset(&service["spec"]["selector"], &pod["metadata"]["labels"]));
            assert!(found, "{what}: {service}");
        }
        for kind in ["PodDisruptionBudget", "NetworkPolicy", "PeerAuthentication"] {
            for object in of_kind(&objects, kind) {
                let place = if kind == "NetworkPolicy" { "podSelector" } else { "selector" };
                let Some(labels) = object["spec"][place].get("matchLabels") else { continue };
                let found = pods.iter().any(|(_, pod)| is_subset(labels, &pod["metadata"]["labels"]));
                assert!(found, "{what}: {object}");
            }
        }
        for object in objects.iter().filter(|object| object.wave == Wave::Entry) {
            for path in [
                "/spec/serviceRef/name",
                "/spec/rules/0/http/paths/0/backend/service/name",
                "/spec/rules/0/backendRefs/0/name",
            ] {
                if let Some(name) = object.body.pointer(path) {
                    find(&objects, "Service", name.as_str().unwrap());
                }
            }
        }
        for (name, pod) in pods {
            names_of_pod(&objects, name, pod, &description);
        }
    }
}

fn names_of_pod(objects: &[Object], name: &str, pod: &Value, description: &Description) {
    find(objects, "ServiceAccount", pod["spec"]["serviceAccountName"].as_str().unwrap());
    for volume in pod["spec"]["volumes"].as_array().unwrap() {
        if let Some(map) = volume["configMap"]["name"].as_str() {
            find(objects, "ConfigMap", map);
        }
        if let Some(claim) = volume["persistentVolumeClaim"]["claimName"].as_str() {
            find(objects, "PersistentVolumeClaim", claim);
        }
        if let Some(secret) = volume["secret"]["secretName"].as_str() {
            match &description.secrets {
                crate::description::Secrets::External { .. } => {
                    let external = find(objects, "ExternalSecret", secret);
                    let keys: Vec<&Value> = external["spec"]["data"]
                        .as_array()
                        .unwrap()
                        .iter()
                        .map(|one| &one["secretKey"])
                        .collect();
                    let items = volume["secret"]["items"].as_array().unwrap();
                    assert_eq!(items.iter().map(|item| &item["key"]).collect::<Vec<_>>(), keys, "{name}");
                }
                crate::description::Secrets::Existing { keys, .. } => {
                    for item in volume["secret"]["items"].as_array().unwrap() {
                        assert!(keys.iter().any(|key| item["key"] == *key), "{name}: {item}");
                    }
                }
            }
        }
    }
}

#[test]
fn every_pod_has_no_rights_and_its_probes_have_ports() {
    for (what, description) in every() {
        let objects = rendered(&description);
        for (name, pod) in pods(&objects) {
            let container = &pod["spec"]["containers"][0];
            let security = &container["securityContext"];
            assert_eq!(security["readOnlyRootFilesystem"], true, "{what}: {name}");
            assert_eq!(security["allowPrivilegeEscalation"], false);
            assert_eq!(security["capabilities"]["drop"][0], "ALL");
            assert_eq!(pod["spec"]["securityContext"]["seccompProfile"]["type"], "RuntimeDefault");
            assert_eq!(pod["spec"]["securityContext"]["runAsNonRoot"] == true, name != "fluent-bit");
            assert!(container["image"].as_str().unwrap().contains("@sha256:"));
            for probe in ["startupProbe", "readinessProbe", "livenessProbe"] {
                let Some(port) = container[probe]["httpGet"].get("port") else { continue };
                let ports = container["ports"].as_array().unwrap();
                assert!(ports.iter().any(|one| one["name"] == *port), "{what}: {name} {probe}");
            }
        }
        for deployment in of_kind(&objects, "Deployment") {
            let pod = &deployment["spec"]["template"]["spec"];
            let pause = pod["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"].as_u64().unwrap();
            let drain = u64::from(description.drain.notice_s + 2 * description.drain.timeout_s);
            assert!(pod["terminationGracePeriodSeconds"].as_u64().unwrap() > pause + drain, "{what}");
        }
    }
}

/// Whether the policies of `from` let it out to the pods of `to`, and those of `to` let it in.
fn may_reach(objects: &[Object], from: &str, to: &str, port: u64) -> bool {
    let allows = |rules: &Value, end: &str, other: &str| {
        rules.as_array().into_iter().flatten().any(|rule| {
            let to_port = rule["ports"].as_array().unwrap().iter().any(|one| one["port"] == port);
            let peers = rule[end].as_array().unwrap();
            to_port
                && peers
                    .iter()
                    .any(|peer| peer["podSelector"]["matchLabels"]["app.kubernetes.io/name"] == other)
        })
    };
    allows(&find(objects, "NetworkPolicy", from)["spec"]["egress"], "to", to)
        && allows(&find(objects, "NetworkPolicy", to)["spec"]["ingress"], "from", from)
}

#[test]
fn who_calls_may_reach_whom_it_calls_and_nobody_else() {
    for (what, description) in every() {
        let objects = rendered(&description);
        let release = crate::Release::of(description.clone()).unwrap();
        for (from, target) in &description.targets {
            let called: BTreeSet<&str> =
                target.needs.upstreams.iter().map(|service| release.runs(service).unwrap()).collect();
            for to in description.targets.keys().filter(|to| *to != from) {
                assert_eq!(
                    may_reach(&objects, from, to, 8080),
                    called.contains(to.as_str()),
                    "{what}: {from} to {to}"
                );
            }
        }
    }
}

#[test]
fn engines_that_are_needed_are_reached_and_others_are_not() {
    let description = prod();
    let objects = rendered(&description);
    for (name, target) in &description.targets {
        let policy = find(&objects, "NetworkPolicy", name);
        let rules = policy["spec"]["egress"].as_array().unwrap();
        let has = |port: u64| {
            rules.iter().any(|rule| {
                rule["to"][0]["ipBlock"]["cidr"] == "10.0.0.0/16"
                    && rule["ports"].as_array().unwrap().iter().any(|one| one["port"] == port)
            })
        };
        assert_eq!(has(3306), target.needs.database, "{name}");
        assert_eq!(has(9096), target.needs.bus, "{name}");
        assert_eq!(has(6379), target.needs.cache, "{name}");
    }
    let everybody = find(&objects, "NetworkPolicy", "default");
    assert_eq!(everybody["spec"]["podSelector"], serde_json::json!({}));
    assert!(everybody["spec"].get("egress").is_none() && everybody["spec"].get("ingress").is_none());
    let dns = find(&objects, "NetworkPolicy", "dns");
    assert_eq!(dns["spec"]["egress"][0]["ports"][0]["port"], 53);
}

#[test]
fn where_an_autoscaler_counts_nobody_else_does() {
    for (what, description) in every() {
        let objects = rendered(&description);
        for (name, target) in &description.targets {
            let deployment = find(&objects, "Deployment", name);
            let scaled =
                of_kind(&objects, "HorizontalPodAutoscaler").any(|one| one["metadata"]["name"] == **name);
            assert_eq!(scaled, target.scaling.is_some(), "{what}: {name}");
            assert_eq!(deployment["spec"].get("replicas").is_none(), scaled, "{what}: {name}");
        }
    }
    let objects = rendered(&crate::examples::with_assistant(prod()));
    let spec = &find(&objects, "HorizontalPodAutoscaler", "assistant")["spec"];
    assert_eq!((&spec["minReplicas"], &spec["maxReplicas"]), (&1.into(), &10.into()));
    assert_eq!(spec["metrics"][0]["resource"]["target"]["averageUtilization"], 15);
}

fn settings_hash(description: &Description, name: &str) -> String {
    let objects = rendered(description);
    let hash =
        &find(&objects, "Deployment", name)["spec"]["template"]["metadata"]["annotations"]["rtc.io/settings"];
    hash.as_str().unwrap().to_owned()
}

#[test]
fn a_setting_that_is_seen_at_once_restarts_nobody_and_any_other_does() {
    let before = prod();
    let with = |text: &str| {
        let mut after = prod();
        let settings: toml::Table = toml::from_str(text).unwrap();
        for (key, value) in settings {
            after.targets.get_mut("orders").unwrap().settings.insert(key, value);
        }
        after
    };
    let safe =
        with("limits = { place_hold = 5 }\nlog = { level = \"debug\" }\nserver = { concurrency_max = 1 }");
    assert_eq!(settings_hash(&before, "orders"), settings_hash(&safe, "orders"));
    let text = |description: &Description| {
        let objects = rendered(description);
        find(&objects, "ConfigMap", "orders-settings")["data"]["rtcd.toml"].as_str().unwrap().to_owned()
    };
    assert_ne!(text(&before), text(&safe));
    let unsafe_one = with("server = { worker_threads = 3 }");
    assert_ne!(settings_hash(&before, "orders"), settings_hash(&unsafe_one, "orders"));
    assert_eq!(settings_hash(&before, "users"), settings_hash(&unsafe_one, "users"));
}

/// The table of what a running process takes over is that of the documentation, which rtcd's own tests compare with rtcd.
#[test]
fn what_is_seen_at_once_is_what_the_documentation_says() {
    let page =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/CONFIGURATION.md")).unwrap();
    let mut rows = 0;
    for line in page.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let (key, takes) = (cells[1].trim_matches('`'), cells.get(3).copied().unwrap_or_default());
        if takes != "at once" && takes != "next start" {
            continue;
        }
        rows += 1;
        let listed = crate::render::is_seen_at_once(key);
        assert_eq!(listed, takes == "at once", "{key}");
    }
    assert!(rows > 80, "{rows}");
}

#[test]
fn a_settings_file_is_one_that_rtcd_reads() {
    for (what, description) in every() {
        let objects = rendered(&description);
        for (name, target) in &description.targets {
            let map = find(&objects, "ConfigMap", &format!("{name}-settings"));
            let table: toml::Table = toml::from_str(map["data"]["rtcd.toml"].as_str().unwrap()).unwrap();
            assert_eq!(table["profile"].as_str(), Some("production"), "{what}: {name}");
            assert_eq!(table.contains_key("database"), target.needs.database, "{what}: {name}");
            let upstreams = table.get("upstreams").and_then(|all| all.as_table());
            assert_eq!(upstreams.map_or(0, toml::Table::len), target.needs.upstreams.len(), "{what}: {name}");
        }
    }
}

#[test]
fn a_canary_is_another_image_under_the_same_service() {
    let objects = rendered(&with_canary(prod()));
    let canary = find(&objects, "Deployment", "gateway-canary");
    let pod = &canary["spec"]["template"];
    assert_eq!(pod["spec"]["containers"][0]["image"], OTHER_IMAGE);
    assert!(is_subset(&find(&objects, "Service", "gateway")["spec"]["selector"], &pod["metadata"]["labels"]));
    let stable = &find(&objects, "Deployment", "gateway")["spec"]["selector"]["matchLabels"];
    assert!(!is_subset(stable, &pod["metadata"]["labels"]), "each Deployment knows its own pods");
    let route = &find(&objects, "VirtualService", "gateway")["spec"]["http"][0]["route"];
    assert_eq!((&route[0]["weight"], &route[1]["weight"]), (&90.into(), &10.into()));
}

#[test]
fn the_migration_is_named_by_the_release_and_comes_before_what_serves() {
    let mut description = dev();
    let first = rendered(&description);
    let name = |objects: &[Object]| of_kind(objects, "Job").next().unwrap()["metadata"]["name"].clone();
    description.image = OTHER_IMAGE.to_owned();
    assert_ne!(name(&first), name(&rendered(&description)));
    let at = |kind: &str| first.iter().position(|object| object.kind() == kind).unwrap();
    assert!(at("NetworkPolicy") < at("Job") && at("ConfigMap") < at("Job") && at("Job") < at("Deployment"));
    let objects = rendered(&description);
    let map = find(&objects, "ConfigMap", "migrate-settings");
    assert!(map["data"]["rtcd.toml"].as_str().unwrap().contains("database-{service}"));
}

#[test]
fn accounts_are_annotated_only_where_roles_trust_the_cluster() {
    let (mut description, key) = (prod(), "eks.amazonaws.com/role-arn");
    let objects = rendered(&description);
    assert!(find(&objects, "ServiceAccount", "catalog")["metadata"].get("annotations").is_none());
    description.identity.kind = crate::description::IdentityKind::Irsa;
    let objects = rendered(&description);
    let annotations = &find(&objects, "ServiceAccount", "catalog")["metadata"]["annotations"];
    assert_eq!(annotations[key], description.identity.roles["catalog"]);
}
