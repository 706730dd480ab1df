//! What changed since the last good revision, for a container that does not stay up.
//!
//! Invariant: values of variables whose names are those of secrets are not shown, only that they changed.

use kubernetes::{Cluster, Gvk};
use rollout::evidence::masked;
use rollout::objects::{Object, Pod};
use rollout::world::World;
use serde_json::Value;

/// Changes that are told.
const CHANGES: usize = 8;

/// Compares the pod's template with that of the newest other revision that had ready pods.
pub async fn ask(world: &World, pod: &Pod, cluster: &Cluster) -> Vec<String> {
    let Some(owner) = pod.metadata.controller().filter(|owner| owner.kind == "ReplicaSet") else {
        return Vec::new();
    };
    let Some(Object::ReplicaSet(current)) = world.object(&owner.uid) else { return Vec::new() };
    let Some(deployment) = current.metadata.controller() else { return Vec::new() };
    let mut others: Vec<_> = world
        .replica_sets_of(&deployment.uid)
        .into_iter()
        .filter(|set| set.metadata.uid != current.metadata.uid)
        .collect();
    // One that runs is known to be good; otherwise the newest before this one.
    others.sort_by_key(|set| (set.status.ready_replicas > 0, set.metadata.revision()));
    let Some(good) = others.last() else {
        return vec!["this is the first revision: nothing ran before".to_owned()];
    };
    let kind = Gvk::named("apps/v1", "ReplicaSet");
    let namespace = &pod.metadata.namespace;
    let get = |name: &str| {
        let (kind, name) = (kind.clone(), name.to_owned());
        async move { cluster.get(&kind, namespace, &name).await.ok().flatten() }
    };
    let (old, new) = futures_util::future::join(get(&good.metadata.name), get(&current.metadata.name)).await;
    let (Some(mut old), Some(mut new)) = (old, new) else {
        return vec!["the templates of the revisions cannot be read".to_owned()];
    };
    let number = |set: &rollout::objects::ReplicaSet| set.metadata.revision().unwrap_or(0);
    let role = if good.status.ready_replicas > 0 { "which runs" } else { "which ran before" };
    // What is masked in both may differ nevertheless.
    let before = changes(&old["spec"]["template"], &new["spec"]["template"]).len();
    masked(&mut old);
    masked(&mut new);
    let found = changes(&old["spec"]["template"], &new["spec"]["template"]);
    let mut seen =
        vec![format!("since revision {}, {role}, revision {} changed:", number(good), number(current))];
    let hidden = before - found.len().min(before);
    let more = found.len().saturating_sub(CHANGES);
    seen.extend(found.into_iter().take(CHANGES).map(|change| format!("  {change}")));
    if more > 0 {
        seen.push(format!("  and {more} more: rtcctl deploy history"));
    }
    if hidden > 0 {
        seen.push(format!("  {hidden} values that are not shown"));
    }
    if before == 0 {
        seen.push(
            "  nothing: what is outside of it changed, as configuration, a database, or data".to_owned(),
        );
    }
    seen
}

/// Field by field; items of lists that have names by their names.
fn changes(old: &Value, new: &Value) -> Vec<String> {
    let mut found = Vec::new();
    walk("", old, new, &mut found);
    found
}

fn walk(path: &str, old: &Value, new: &Value, found: &mut Vec<String>) {
    if old == new || path.ends_with("pod-template-hash") {
        return;
    }
    match (old, new) {
        (Value::Object(before), Value::Object(after)) => {
            let mut names: Vec<&String> = before.keys().chain(after.keys()).collect();
            names.sort();
            names.dedup();
            for name in names {
                let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                walk(&path, &old[name], &new[name], found);
            }
        }
        (Value::Array(before), Value::Array(after)) if is_named(before) && is_named(after) => {
            let name = |item: &Value| item["name"].as_str().unwrap_or_default().to_owned();
            let mut names: Vec<String> = before.iter().chain(after).map(name).collect();
            names.sort();
            names.dedup();
            for wanted in names {
                let find = |items: &[Value]| items.iter().find(|one| name(one) == wanted).cloned();
                let (before, after) = (find(before).unwrap_or_default(), find(after).unwrap_or_default());
                walk(&format!("{path}[{wanted}]"), &before, &after, found);
            }
        }
        (Value::Null, new) => found.push(format!("{path}: now {}", shown(new))),
        (old, Value::Null) => found.push(format!("{path}: no more {}", shown(old))),
        (old, new) => found.push(format!("{path}: {} → {}", shown(old), shown(new))),
    }
}

fn is_named(items: &[Value]) -> bool {
    items.iter().all(|item| item["name"].is_string())
}

fn shown(value: &Value) -> String {
    let text = match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    match text.char_indices().nth(120) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_changed_is_named_by_field_and_item() {
        let template = |image: &str, level: &str, more: Value| {
            json!({
                "metadata": { "labels": { "pod-template-hash": image } },
                "spec": { "containers": [{ "name": "web", "image": image, "env": [{ "name": "LOG", "value": level }] }], "x": more },
            })
        };
        let found = changes(&template("web:1", "info", json!(1)), &template("web:2", "debug", json!(null)));
        assert_eq!(
            found,
            [
                "spec.containers[web].env[LOG].value: info → debug",
                "spec.containers[web].image: web:1 → web:2",
                "spec.x: no more 1",
            ]
        );
    }
}
