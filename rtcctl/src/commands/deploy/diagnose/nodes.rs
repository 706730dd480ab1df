//! What is free on the nodes, for a pod that found no place.
//!
//! Invariant: what is counted as taken are the requests of the pods that we may see; where those of other namespaces may
//! not be seen, that is said.

use std::collections::BTreeMap;

use ::deploy::apply;
use kubernetes::{Cluster, Error, Gvk};
use serde_json::Value;

use crate::human;

/// Nodes that are told one by one, those with most room first.
const NODES: usize = 6;

/// The machine of a node: `amd64`.
pub async fn architecture(cluster: &Cluster, node: &str) -> Option<String> {
    let nodes = cluster.list(&Gvk::named("v1", "Node"), "", None).await.ok()?;
    let of = |node: &Value| {
        let label = node["metadata"]["labels"]["kubernetes.io/arch"].as_str();
        label.or(node["status"]["nodeInfo"]["architecture"].as_str()).map(str::to_owned)
    };
    if let Some(found) = nodes.iter().find(|one| one["metadata"]["name"] == node) {
        return of(found);
    }
    let mut all: Vec<String> = nodes.iter().filter_map(of).collect();
    all.dedup();
    // Where the pod will be is not known; that all nodes are alike is.
    (all.len() == 1).then(|| all.remove(0))
}

/// What a pod wants, and what each node has.
pub async fn ask(cluster: &Cluster, namespace: &str, pod: &str) -> Vec<String> {
    let nodes = match cluster.list(&Gvk::named("v1", "Node"), "", None).await {
        Ok(nodes) => nodes,
        Err(error) => return vec![format!("the nodes cannot be asked: {}", apply::said(&error))],
    };
    let kind = Gvk::named("v1", "Pod");
    let (pods, is_partial) = match cluster.list(&kind, "", None).await {
        Ok(pods) => (pods, false),
        Err(Error::Forbidden { .. }) => {
            (cluster.list(&kind, namespace, None).await.unwrap_or_default(), true)
        }
        Err(error) => return vec![format!("the pods on the nodes cannot be asked: {}", apply::said(&error))],
    };
    let wanted = pods
        .iter()
        .find(|one| one["metadata"]["name"] == pod && one["metadata"]["namespace"] == namespace)
        .map(requests)
        .unwrap_or_default();
    let mut seen = vec![format!("the pod asks for {}", wanted.told())];
    seen.extend(free(&nodes, &pods, wanted));
    if is_partial {
        seen.push("pods of other namespaces may not be seen, so less may be free than that".to_owned());
    }
    seen
}

/// CPU in thousandths, memory in bytes, pods.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Room {
    cpu_milli: i64,
    memory_bytes: i64,
    pods: i64,
}

impl Room {
    fn told(self) -> String {
        let memory = human::bytes(u64::try_from(self.memory_bytes).unwrap_or(0));
        format!("{}m CPU and {memory} of memory", self.cpu_milli)
    }

    fn lacks(self, wanted: Room) -> Vec<&'static str> {
        [
            (self.cpu_milli < wanted.cpu_milli, "CPU"),
            (self.memory_bytes < wanted.memory_bytes, "memory"),
            (self.pods < 1, "a place for a pod"),
        ]
        .into_iter()
        .filter(|(is_lacking, _)| *is_lacking)
        .map(|(_, what)| what)
        .collect()
    }
}

fn free(nodes: &[Value], pods: &[Value], wanted: Room) -> Vec<String> {
    let mut taken: BTreeMap<&str, Room> = BTreeMap::new();
    for pod in pods {
        let is_over = matches!(pod["status"]["phase"].as_str(), Some("Succeeded" | "Failed"));
        if let Some(node) = pod["spec"]["nodeName"].as_str().filter(|_| !is_over) {
            let room = taken.entry(node).or_default();
            let more = requests(pod);
            room.cpu_milli += more.cpu_milli;
            room.memory_bytes += more.memory_bytes;
            room.pods += 1;
        }
    }
    let mut lines: Vec<(i64, String)> = nodes
        .iter()
        .map(|node| {
            let name = node["metadata"]["name"].as_str().unwrap_or_default();
            let has = &node["status"]["allocatable"];
            let used = taken.get(name).copied().unwrap_or_default();
            let room = Room {
                cpu_milli: milli(&has["cpu"]) - used.cpu_milli,
                memory_bytes: bytes(&has["memory"]) - used.memory_bytes,
                pods: bytes(&has["pods"]) - used.pods,
            };
            let mut lacks: Vec<String> = room.lacks(wanted).into_iter().map(str::to_owned).collect();
            let conditions = node["status"]["conditions"].as_array().into_iter().flatten();
            if conditions.into_iter().any(|one| one["type"] == "Ready" && one["status"] != "True") {
                lacks.push("it is not ready".to_owned());
            }
            if node["spec"]["unschedulable"] == true {
                lacks.push("it is closed for new pods".to_owned());
            }
            for taint in node["spec"]["taints"].as_array().into_iter().flatten() {
                if taint["effect"] != "PreferNoSchedule" {
                    lacks.push(format!("taint {}", taint["key"].as_str().unwrap_or_default()));
                }
            }
            let why =
                if lacks.is_empty() { "would do".to_owned() } else { format!("lacks: {}", lacks.join(", ")) };
            let text = format!("node {name} has {} and {} pods free; {why}", room.told(), room.pods.max(0));
            (room.cpu_milli, text)
        })
        .collect();
    lines.sort_by(|one, other| other.cmp(one));
    let more = lines.len().saturating_sub(NODES);
    let mut seen: Vec<String> = lines.into_iter().take(NODES).map(|(_, text)| text).collect();
    if more > 0 {
        seen.push(format!("and {more} nodes with less"));
    }
    if nodes.is_empty() {
        seen.push("there is no node".to_owned());
    }
    seen
}

/// What the scheduler counts for a pod: its containers together, or its largest init container.
fn requests(pod: &Value) -> Room {
    let of = |container: &Value| {
        let wanted = &container["resources"]["requests"];
        Room { cpu_milli: milli(&wanted["cpu"]), memory_bytes: bytes(&wanted["memory"]), pods: 1 }
    };
    let list = |name: &str| pod["spec"][name].as_array().into_iter().flatten().map(of).collect::<Vec<_>>();
    let mut sum = Room { pods: 1, ..Room::default() };
    for room in list("containers") {
        sum.cpu_milli += room.cpu_milli;
        sum.memory_bytes += room.memory_bytes;
    }
    for room in list("initContainers") {
        sum.cpu_milli = sum.cpu_milli.max(room.cpu_milli);
        sum.memory_bytes = sum.memory_bytes.max(room.memory_bytes);
    }
    sum
}

/// `250m`, `2`, `1.5` as thousandths.
fn milli(quantity: &Value) -> i64 {
    let text = text(quantity);
    match text.strip_suffix('m') {
        Some(milli) => milli.parse().unwrap_or(0),
        None => (text.parse::<f64>().unwrap_or(0.0) * 1000.0).round() as i64,
    }
}

/// `128Mi`, `1Gi`, `500M`, `1000` as a number.
fn bytes(quantity: &Value) -> i64 {
    let text = text(quantity);
    const UNITS: [(&str, f64); 10] = [
        ("Ki", 1024.0),
        ("Mi", 1_048_576.0),
        ("Gi", 1_073_741_824.0),
        ("Ti", 1_099_511_627_776.0),
        ("k", 1e3),
        ("M", 1e6),
        ("G", 1e9),
        ("T", 1e12),
        ("m", 1e-3),
        ("", 1.0),
    ];
    let found = UNITS
        .iter()
        .find_map(|(unit, factor)| Some((text.strip_suffix(unit)?.parse::<f64>().ok()? * factor) as i64));
    found.unwrap_or(0)
}

fn text(quantity: &Value) -> String {
    match quantity {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn quantities_are_read_as_the_scheduler_reads_them() {
        assert_eq!(
            [json!("250m"), json!("2"), json!(1), json!("1.5")].map(|one| milli(&one)),
            [250, 2000, 1000, 1500]
        );
        let sizes = [json!("128Mi"), json!("1Gi"), json!("500M"), json!("7"), json!(null)];
        assert_eq!(sizes.map(|one| bytes(&one)), [134_217_728, 1_073_741_824, 500_000_000, 7, 0]);
    }

    #[test]
    fn a_node_says_what_it_lacks() {
        let node = |name: &str, cpu: &str| {
            json!({
                "metadata": { "name": name },
                "spec": { "taints": [{ "key": "gpu", "effect": "NoSchedule" }] },
                "status": { "allocatable": { "cpu": cpu, "memory": "1Gi", "pods": "10" } },
            })
        };
        let pod = json!({
            "spec": { "nodeName": "n1", "containers": [{ "resources": { "requests": { "cpu": "900m" } } }] },
            "status": { "phase": "Running" },
        });
        let lines = free(&[node("n1", "1")], &[pod], Room { cpu_milli: 500, memory_bytes: 1, pods: 1 });
        assert_eq!(lines.len(), 1);
        assert!(lines[0].contains("node n1 has 100m CPU and"), "{lines:?}");
        assert!(lines[0].ends_with("9 pods free; lacks: CPU, taint gpu"), "{lines:?}");
    }
}
