//! The controllers: one step of each, always in the same order.
//!
//! Left out: everything that no rollout shows. A controller writes what the API's own would write, a turn later.

use std::sync::Arc;
use std::time::Duration;

use kernel::Timestamp;
use serde_json::{Value as Json, json};

use super::behaviour::Rule;
use super::selectors;
use super::store::{Keep, Store, generation, is_owned_by};
use super::{pods, sets};

/// One turn.
pub fn turn(store: &mut Store, rules: &[Rule]) {
    collect(store);
    pods::nodes(store);
    scalers(store);
    deployments(store);
    sets::replica_sets(store);
    sets::stateful_sets(store);
    sets::daemon_sets(store);
    sets::jobs(store);
    pods::step(store, rules);
    budgets(store);
}

pub fn text<'a>(object: &'a Json, name: &str) -> &'a str {
    object["metadata"][name].as_str().unwrap_or_default()
}

pub fn number(value: &Json, otherwise: u64) -> u64 {
    value.as_u64().unwrap_or(otherwise)
}

pub fn is_leaving(object: &Json) -> bool {
    !object["metadata"]["deletionTimestamp"].is_null()
}

/// What its owner is gone of goes, and what is in a namespace that goes.
fn collect(store: &mut Store) {
    let all: Vec<Arc<Json>> = store.objects.values().cloned().collect();
    let uids: std::collections::BTreeSet<&str> = all.iter().map(|object| text(object, "uid")).collect();
    let leaving: std::collections::BTreeSet<&str> = all
        .iter()
        .filter(|object| object["kind"] == "Namespace" && is_leaving(object))
        .map(|object| text(object, "name"))
        .collect();
    for object in &all {
        let owners = object["metadata"]["ownerReferences"].as_array();
        let is_orphaned = owners.is_some_and(|owners| {
            !owners.is_empty()
                && owners.iter().all(|owner| !uids.contains(owner["uid"].as_str().unwrap_or_default()))
        });
        let is_in_leaving = object["kind"] != "Namespace" && leaving.contains(text(object, "namespace"));
        if is_orphaned || is_in_leaving {
            delete(store, object);
        }
    }
    for object in &all {
        let finalizers = object["metadata"]["finalizers"].as_array();
        let waits_for_owned =
            finalizers.is_some_and(|all| all.iter().any(|one| *one == "foregroundDeletion"));
        let kind = object["kind"].as_str().unwrap_or_default();
        let Some(resource) = store.of_kind(kind) else { continue };
        if is_leaving(object) && waits_for_owned {
            let uid = text(object, "uid");
            let owned: Vec<Arc<Json>> =
                store.objects.values().filter(|one| is_owned_by(one, uid)).cloned().collect();
            if owned.is_empty() {
                store.take(&resource, text(object, "namespace"), text(object, "name"));
            }
            for one in owned {
                delete(store, &one);
            }
        }
        if kind == "Namespace" && is_leaving(object) {
            let name = text(object, "name");
            if !store.objects.keys().any(|(_, namespace, _)| namespace == name) {
                store.take(&resource, "", name);
            }
        }
    }
}

pub fn delete(store: &mut Store, object: &Json) {
    if let Some(resource) = store.of_kind(object["kind"].as_str().unwrap_or_default()) {
        // It may be gone already.
        let _ =
            store.delete(&resource, text(object, "namespace"), text(object, "name"), &json!({}), Keep::Yes);
    }
}

/// Keeps numbers of replicas within the limits of their autoscaler.
fn scalers(store: &mut Store) {
    for scaler in store.all("HorizontalPodAutoscaler") {
        let of = &scaler["spec"]["scaleTargetRef"];
        let (kind, name) = (of["kind"].as_str().unwrap_or_default(), of["name"].as_str().unwrap_or_default());
        let namespace = text(&scaler, "namespace");
        let Some(resource) = store.of_kind(kind) else { continue };
        let Some(target) = store.get(&resource, namespace, name).cloned() else { continue };
        let present = number(&target["spec"]["replicas"], 1);
        let least = number(&scaler["spec"]["minReplicas"], 1);
        let most = number(&scaler["spec"]["maxReplicas"], present);
        // Nought is how it is switched off.
        let wanted = if present == 0 { 0 } else { present.clamp(least, most.max(least)) };
        if wanted != present {
            let patch = json!({ "spec": { "replicas": wanted } });
            let manager = "kube-controller-manager";
            let _ = store.merge_patch(&resource, namespace, name, &patch, manager, "scale", Keep::Yes);
        }
        let current = number(&target["status"]["replicas"], 0);
        store.change("HorizontalPodAutoscaler", namespace, text(&scaler, "name"), |scaler| {
            scaler["status"] = json!({
                "currentReplicas": current, "desiredReplicas": wanted,
                "conditions": [{ "type": "AbleToScale", "status": "True", "reason": "ReadyForNewScale" }],
            });
        });
    }
}

fn budgets(store: &mut Store) {
    let pods = store.all("Pod");
    for budget in store.all("PodDisruptionBudget") {
        let namespace = text(&budget, "namespace");
        let own: Vec<&Arc<Json>> = pods
            .iter()
            .filter(|pod| {
                text(pod, "namespace") == namespace
                    && selectors::selects(&budget["spec"]["selector"], &pod["metadata"]["labels"])
            })
            .collect();
        let expected = own.len() as u64;
        let healthy = own.iter().filter(|pod| pods::is_ready(pod) && !is_leaving(pod)).count() as u64;
        let desired = match (&budget["spec"]["minAvailable"], &budget["spec"]["maxUnavailable"]) {
            (Json::Null, Json::Null) => expected.saturating_sub(1),
            (Json::Null, most) => expected.saturating_sub(share(most, expected, Round::Up)),
            (least, _) => share(least, expected, Round::Up),
        };
        let generation = generation(&budget);
        store.change("PodDisruptionBudget", namespace, text(&budget, "name"), |budget| {
            budget["status"] = json!({
                "expectedPods": expected, "currentHealthy": healthy, "desiredHealthy": desired,
                "disruptionsAllowed": healthy.saturating_sub(desired), "observedGeneration": generation,
            });
        });
    }
}

pub enum Round {
    Up,
    Down,
}

/// A number, or a share of a whole in per cent.
pub fn share(value: &Json, whole: u64, round: Round) -> u64 {
    if let Some(number) = value.as_u64() {
        return number;
    }
    let percent: u64 = value.as_str().and_then(|text| text.trim_end_matches('%').parse().ok()).unwrap_or(0);
    match round {
        Round::Up => (whole * percent).div_ceil(100),
        Round::Down => whole * percent / 100,
    }
}

/// The same letters for the same template.
pub fn hash(template: &Json) -> String {
    let mut state: u64 = 0xcbf2_9ce4_8422_2325;
    for byte in template.to_string().bytes() {
        state = (state ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    const LETTERS: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
    (0..10)
        .map(|_| {
            let letter = LETTERS[(state % 27) as usize];
            state /= 27;
            char::from(letter)
        })
        .collect()
}

pub fn owner(object: &Json) -> Json {
    json!([{
        "apiVersion": object["apiVersion"], "kind": object["kind"], "name": object["metadata"]["name"],
        "uid": object["metadata"]["uid"], "controller": true, "blockOwnerDeletion": true,
    }])
}

const REVISION: &str = "deployment.kubernetes.io/revision";

fn revision(object: &Json) -> u64 {
    object["metadata"]["annotations"][REVISION].as_str().and_then(|text| text.parse().ok()).unwrap_or(0)
}

fn plain(template: &Json) -> Json {
    let mut template = template.clone();
    if let Some(labels) = template["metadata"]["labels"].as_object_mut() {
        labels.shift_remove("pod-template-hash");
    }
    template
}

fn deployments(store: &mut Store) {
    for deployment in store.all("Deployment") {
        if !is_leaving(&deployment) {
            deploy(store, &deployment);
        }
    }
}

fn wanted(set: &Json) -> u64 {
    number(&set["spec"]["replicas"], 1)
}

fn deploy(store: &mut Store, deployment: &Json) {
    let (namespace, name) = (text(deployment, "namespace"), text(deployment, "name"));
    let uid = text(deployment, "uid");
    let mut owned: Vec<Arc<Json>> =
        store.all("ReplicaSet").into_iter().filter(|set| is_owned_by(set, uid)).collect();
    let template = &deployment["spec"]["template"];
    let is_paused = deployment["spec"]["paused"] == true;
    let newest = owned.iter().map(|set| revision(set)).max().unwrap_or(0);
    let current = owned.iter().find(|set| plain(&set["spec"]["template"]) == *template).cloned();
    let current = match current {
        Some(set) => Some(set),
        None if is_paused => None,
        None => create_set(store, deployment, newest + 1),
    };
    if let Some(current) = &current {
        // Going back to an older template makes it the newest revision.
        let number = if revision(current) < newest { newest + 1 } else { revision(current) };
        if number != revision(current) {
            annotate(store, "ReplicaSet", namespace, text(current, "name"), number);
        }
        if number != revision(deployment) {
            annotate(store, "Deployment", namespace, name, number);
        }
        if !owned.iter().any(|set| text(set, "uid") == text(current, "uid")) {
            owned.push(current.clone());
        }
    }
    if !is_paused && let Some(current) = &current {
        roll(store, deployment, current, &owned);
        retire(store, deployment, current, &owned);
    }
    tell(store, deployment, current.as_deref());
}

fn annotate(store: &mut Store, kind: &str, namespace: &str, name: &str, number: u64) {
    store.change(kind, namespace, name, |object| {
        object["metadata"]["annotations"][REVISION] = number.to_string().into();
    });
}

fn create_set(store: &mut Store, deployment: &Json, number: u64) -> Option<Arc<Json>> {
    let resource = store.of_kind("ReplicaSet")?;
    let template = &deployment["spec"]["template"];
    let hash = hash(template);
    let mut own = template.clone();
    own["metadata"]["labels"]["pod-template-hash"] = hash.as_str().into();
    let mut selector = deployment["spec"]["selector"].clone();
    selector["matchLabels"]["pod-template-hash"] = hash.as_str().into();
    let namespace = text(deployment, "namespace");
    let name = format!("{}-{hash}", text(deployment, "name"));
    let set = json!({
        "metadata": {
            "name": name, "labels": own["metadata"]["labels"], "ownerReferences": owner(deployment),
            "annotations": { REVISION: number.to_string() },
        },
        "spec": {
            "replicas": 0, "selector": selector, "template": own,
            "minReadySeconds": number_or_null(&deployment["spec"]["minReadySeconds"]),
        },
    });
    let made = store.create(&resource, namespace, set, "kube-controller-manager", Keep::Yes);
    if let Err(refusal) = &made {
        let message = format!("Failed to create new replica set \"{name}\": {}", refusal.message);
        store.event(deployment, "Warning", "ReplicaSetCreateError", &message, "deployment-controller", "");
    }
    made.ok().map(Arc::new)
}

fn number_or_null(value: &Json) -> Json {
    value.as_u64().map_or(json!(0), Json::from)
}

fn scale(store: &mut Store, deployment: &Json, set: &Json, replicas: u64) {
    let before = wanted(set);
    if before == replicas {
        return;
    }
    let name = text(set, "name");
    store.change("ReplicaSet", text(set, "namespace"), name, |set| set["spec"]["replicas"] = replicas.into());
    let way = if replicas > before { "up" } else { "down" };
    let message = format!("Scaled {way} replica set {name} from {before} to {replicas}");
    store.event(deployment, "Normal", "ScalingReplicaSet", &message, "deployment-controller", "");
}

fn roll(store: &mut Store, deployment: &Json, current: &Json, owned: &[Arc<Json>]) {
    let replicas = wanted(deployment);
    let old: Vec<&Arc<Json>> = owned.iter().filter(|set| text(set, "uid") != text(current, "uid")).collect();
    let status = |set: &Json, field: &str| number(&set["status"][field], 0);
    let all: u64 = old.iter().map(|set| wanted(set)).sum::<u64>() + wanted(current);
    if deployment["spec"]["strategy"]["type"] == "Recreate" {
        old.iter().for_each(|set| scale(store, deployment, set, 0));
        if old.iter().all(|set| status(set, "replicas") == 0) {
            scale(store, deployment, current, replicas);
        }
        return;
    }
    let rolling = &deployment["spec"]["strategy"]["rollingUpdate"];
    let surge = share(&rolling["maxSurge"], replicas, Round::Up);
    let mut unavailable = share(&rolling["maxUnavailable"], replicas, Round::Down);
    if surge == 0 && unavailable == 0 {
        unavailable = 1;
    }
    if wanted(current) > replicas {
        scale(store, deployment, current, replicas);
        return;
    }
    if wanted(current) < replicas && all < replicas + surge {
        let more = (replicas + surge - all).min(replicas - wanted(current));
        scale(store, deployment, current, wanted(current) + more);
        return;
    }
    // As many old pods go as the new ones make up for; those that do not run go first.
    let least = replicas.saturating_sub(unavailable);
    let new_unavailable = wanted(current).saturating_sub(status(current, "availableReplicas"));
    let may_go = all.saturating_sub(least).saturating_sub(new_unavailable);
    for set in &old {
        let broken = wanted(set).saturating_sub(status(set, "availableReplicas")).min(may_go);
        let available: u64 = owned.iter().map(|set| status(set, "availableReplicas").min(wanted(set))).sum();
        let healthy = available.saturating_sub(least).min(wanted(set) - broken);
        let go = (broken + healthy).min(may_go).min(wanted(set));
        if go > 0 {
            scale(store, deployment, set, wanted(set) - go);
            // One set a turn: the counts of the others are those of before.
            return;
        }
    }
}

/// Revisions beyond the limit go.
fn retire(store: &mut Store, deployment: &Json, current: &Json, owned: &[Arc<Json>]) {
    let limit = number(&deployment["spec"]["revisionHistoryLimit"], 10) as usize;
    let mut empty: Vec<&Arc<Json>> = owned
        .iter()
        .filter(|set| {
            text(set, "uid") != text(current, "uid")
                && wanted(set) == 0
                && number(&set["status"]["replicas"], 0) == 0
        })
        .collect();
    empty.sort_by_key(|set| revision(set));
    let too_many = empty.len().saturating_sub(limit);
    for set in &empty[..too_many] {
        delete(store, set);
    }
}

/// The status of a Deployment, from its sets as they are now.
fn tell(store: &mut Store, deployment: &Json, current: Option<&Json>) {
    let uid = text(deployment, "uid");
    let sets: Vec<Arc<Json>> =
        store.all("ReplicaSet").into_iter().filter(|set| is_owned_by(set, uid)).collect();
    let sum = |field: &str| sets.iter().map(|set| number(&set["status"][field], 0)).sum::<u64>();
    let current =
        current.and_then(|current| sets.iter().find(|set| text(set, "uid") == text(current, "uid")));
    let of_current = |field: &str| current.map_or(0, |set| number(&set["status"][field], 0));
    let replicas = wanted(deployment);
    let counts = json!({
        "replicas": sum("replicas"), "updatedReplicas": of_current("replicas"),
        "readyReplicas": sum("readyReplicas"), "availableReplicas": sum("availableReplicas"),
        "unavailableReplicas": replicas.max(sum("replicas")).saturating_sub(sum("availableReplicas")),
    });
    let rolling = &deployment["spec"]["strategy"]["rollingUpdate"];
    let least = replicas.saturating_sub(share(&rolling["maxUnavailable"], replicas, Round::Down));
    let is_available = sum("availableReplicas") >= least;
    let is_complete = of_current("replicas") == replicas
        && sum("replicas") == replicas
        && of_current("availableReplicas") == replicas;
    let is_paused = deployment["spec"]["paused"] == true;
    let names = current.map_or(String::new(), |set| text(set, "name").to_owned());
    let now = store.now;
    let time = store.time();
    let generation = generation(deployment);
    let deadline = deployment["spec"]["progressDeadlineSeconds"].as_u64();
    store.change("Deployment", text(deployment, "namespace"), text(deployment, "name"), |deployment| {
        let status = &mut deployment["status"];
        let before = status.clone();
        let has_moved = ["replicas", "updatedReplicas", "readyReplicas", "availableReplicas"]
            .into_iter()
            .any(|field| number(&before[field], 0) != number(&counts[field], 0));
        let is_new = before["observedGeneration"].as_i64() != Some(generation);
        for (field, value) in counts.as_object().into_iter().flatten() {
            status[field] = value.clone();
        }
        status["observedGeneration"] = generation.into();
        let (state, reason, message) = if is_available {
            ("True", "MinimumReplicasAvailable", "Deployment has minimum availability.")
        } else {
            ("False", "MinimumReplicasUnavailable", "Deployment does not have minimum availability.")
        };
        condition(status, "Available", state, reason, message, &time, Update::OnChange);
        let known = find(&before, "Progressing");
        let said_at = known.and_then(|known| known["lastUpdateTime"].as_str()?.parse::<Timestamp>().ok());
        let reason_before = known.map_or("", |known| known["reason"].as_str().unwrap_or_default());
        let (state, reason, message) = if is_paused {
            ("Unknown", "DeploymentPaused", "Deployment is paused".to_owned())
        } else if is_complete {
            let message = format!("ReplicaSet \"{names}\" has successfully progressed.");
            ("True", "NewReplicaSetAvailable", message)
        } else if has_moved || is_new || said_at.is_none() || reason_before == "NewReplicaSetAvailable" {
            ("True", "ReplicaSetUpdated", format!("ReplicaSet \"{names}\" is progressing."))
        } else if let (Some(at), Some(deadline)) = (said_at, deadline)
            && reason_before != "ProgressDeadlineExceeded"
            && now.since(at) >= Duration::from_secs(deadline)
        {
            let message = format!("ReplicaSet \"{names}\" has timed out progressing.");
            ("False", "ProgressDeadlineExceeded", message)
        } else {
            return;
        };
        let update = if has_moved || is_new { Update::Always } else { Update::OnChange };
        condition(status, "Progressing", state, reason, &message, &time, update);
    });
}

fn find<'a>(status: &'a Json, kind: &str) -> Option<&'a Json> {
    status["conditions"].as_array()?.iter().find(|known| known["type"] == kind)
}

/// When a condition's time of writing moves.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Update {
    OnChange,
    Always,
}

/// Sets a condition.
pub fn condition(
    status: &mut Json,
    kind: &str,
    state: &str,
    reason: &str,
    message: &str,
    time: &str,
    update: Update,
) {
    if !status["conditions"].is_array() {
        status["conditions"] = json!([]);
    }
    let Some(all) = status["conditions"].as_array_mut() else { return };
    let known = all.iter_mut().find(|known| known["type"] == kind);
    let changed_at = match &known {
        Some(known) if known["status"] == state => known["lastTransitionTime"].clone(),
        _ => time.into(),
    };
    let is_same = known.as_ref().is_some_and(|known| {
        known["status"] == state && known["reason"] == reason && known["message"] == message
    });
    if is_same && update == Update::OnChange {
        return;
    }
    let new = json!({
        "type": kind, "status": state, "reason": reason, "message": message,
        "lastUpdateTime": time, "lastTransitionTime": changed_at,
    });
    match known {
        Some(known) => *known = new,
        None => all.push(new),
    }
}
