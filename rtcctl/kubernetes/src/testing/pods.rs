//! Pods: where they are put, and what becomes of their containers there, a step a turn.

use std::collections::BTreeMap;

use serde_json::{Value as Json, json};

use super::behaviour::{self, Behaviour, Rule};
use super::controllers::{Update, condition, delete, is_leaving, text};
use super::store::Store;

/// Turns that a node may be silent before its pods are given up.
const PATIENCE: u32 = 5;

pub fn is_ready(pod: &Json) -> bool {
    let all = pod["status"]["conditions"].as_array();
    all.is_some_and(|all| all.iter().any(|one| one["type"] == "Ready" && one["status"] == "True"))
}

pub fn is_ended(pod: &Json) -> bool {
    matches!(pod["status"]["phase"].as_str(), Some("Succeeded" | "Failed"))
}

fn is_reporting(node: &Json) -> bool {
    let all = node["status"]["conditions"].as_array();
    all.is_some_and(|all| all.iter().any(|one| one["type"] == "Ready" && one["status"] == "True"))
}

/// Pods on nodes that are silent are not ready, then given up.
pub fn nodes(store: &mut Store) {
    for node in store.all("Node").iter().filter(|node| !is_reporting(node)) {
        let name = text(node, "name");
        let age = store.ages.entry(format!("silent {name}")).or_default();
        *age += 1;
        let is_given_up = *age > PATIENCE;
        let time = store.time();
        for pod in store.all("Pod").iter().filter(|pod| pod["spec"]["nodeName"] == name) {
            store.change("Pod", text(pod, "namespace"), text(pod, "name"), |pod| {
                let status = &mut pod["status"];
                let message = "Node is not ready";
                condition(status, "Ready", "False", "NodeNotReady", message, &time, Update::OnChange);
                if is_given_up {
                    status["reason"] = "NodeLost".into();
                }
            });
            if is_given_up && !is_leaving(pod) {
                delete(store, pod);
            }
        }
    }
}

/// One step of every pod.
pub fn step(store: &mut Store, rules: &[Rule]) {
    let nodes = store.all("Node");
    for pod in store.all("Pod") {
        let node = nodes.iter().find(|node| pod["spec"]["nodeName"] == text(node, "name"));
        let is_silent = node.is_some_and(|node| !is_reporting(node));
        if is_silent || (is_ended(&pod) && !is_leaving(&pod)) {
            continue;
        }
        if is_leaving(&pod) {
            leave(store, &pod);
            continue;
        }
        let age = store.ages.entry(text(&pod, "uid").to_owned()).or_default();
        *age += 1;
        let age = *age;
        live(store, &pod, age, rules);
    }
}

/// It has a turn to end; the next takes it away.
fn leave(store: &mut Store, pod: &Json) {
    let age = store.ages.entry(format!("leaving {}", text(pod, "uid"))).or_default();
    *age += 1;
    if *age > 1
        && let Some(resource) = store.of_kind("Pod")
    {
        store.take(&resource, text(pod, "namespace"), text(pod, "name"));
        return;
    }
    let time = store.time();
    store.change("Pod", text(pod, "namespace"), text(pod, "name"), |pod| {
        condition(&mut pod["status"], "Ready", "False", "ContainersNotReady", "", &time, Update::OnChange);
    });
}

/// The node with the fewest pods that takes another.
fn place(store: &Store, pod: &Json) -> Result<String, String> {
    let mut counts: BTreeMap<String, u64> = BTreeMap::new();
    for other in store.all("Pod").iter().filter(|pod| !is_ended(pod)) {
        *counts.entry(other["spec"]["nodeName"].as_str().unwrap_or_default().to_owned()).or_default() += 1;
    }
    let nodes = store.all("Node");
    let (mut cordoned, mut silent, mut full, mut unlike) = (0, 0, 0, 0);
    let mut best: Option<(u64, String)> = None;
    for node in &nodes {
        let name = text(node, "name").to_owned();
        let room =
            node["status"]["allocatable"]["pods"].as_str().and_then(|text| text.parse().ok()).unwrap_or(110);
        let count = counts.get(&name).copied().unwrap_or(0);
        let wanted = pod["spec"]["nodeSelector"].as_object();
        let is_like = wanted
            .into_iter()
            .flatten()
            .all(|(key, value)| node["metadata"]["labels"].get(key) == Some(value));
        if !is_reporting(node) {
            silent += 1;
        } else if node["spec"]["unschedulable"] == true {
            cordoned += 1;
        } else if !is_like {
            unlike += 1;
        } else if count >= room {
            full += 1;
        } else if best.as_ref().is_none_or(|(least, _)| count < *least) {
            best = Some((count, name));
        }
    }
    if let Some((_, name)) = best {
        return Ok(name);
    }
    let why: Vec<String> = [
        (full, "Too many pods"),
        (silent, "node(s) had untolerated taint {node.kubernetes.io/unreachable: }"),
        (cordoned, "node(s) were unschedulable"),
        (unlike, "node(s) didn't match Pod's node affinity/selector"),
    ]
    .into_iter()
    .filter(|(count, _)| *count > 0)
    .map(|(count, words)| format!("{count} {words}"))
    .collect();
    let why = if why.is_empty() { "no nodes available to schedule pods".to_owned() } else { why.join(", ") };
    Err(format!("0/{} nodes are available: {why}.", nodes.len()))
}

fn unscheduled(store: &mut Store, pod: &Json, message: &str, node_coming: bool) {
    let time = store.time();
    store.change("Pod", text(pod, "namespace"), text(pod, "name"), |pod| {
        condition(
            &mut pod["status"],
            "PodScheduled",
            "False",
            "Unschedulable",
            message,
            &time,
            Update::OnChange,
        );
    });
    store.event(pod, "Warning", "FailedScheduling", message, "default-scheduler", "");
    if node_coming {
        let message = "pod triggered scale-up: [{eks-general 2->3 (max: 6)}]";
        store.event(pod, "Normal", "TriggeredScaleUp", message, "cluster-autoscaler", "");
    }
}

fn containers<'a>(pod: &'a Json, list: &str) -> Vec<&'a Json> {
    pod["spec"][list].as_array().into_iter().flatten().collect()
}

fn live(store: &mut Store, pod: &Json, age: u32, rules: &[Rule]) {
    let (namespace, name) = (text(pod, "namespace"), text(pod, "name"));
    let images = containers(pod, "initContainers").into_iter().chain(containers(pod, "containers"));
    let behaviours: Vec<Behaviour> =
        images.map(|one| behaviour::of(rules, one["image"].as_str().unwrap_or_default())).collect();
    if age == 1 || pod["spec"]["nodeName"].is_null() {
        let refused = behaviours.iter().find_map(|one| match one {
            Behaviour::Unschedulable { node_coming } => Some(*node_coming),
            _ => None,
        });
        if let Some(node_coming) = refused {
            let total = store.all("Node").len();
            let message = format!("0/{total} nodes are available: {total} Insufficient cpu.");
            unscheduled(store, pod, &message, node_coming);
            store.ages.insert(text(pod, "uid").to_owned(), 0);
            return;
        }
        let node = match pod["spec"]["nodeName"].as_str() {
            Some(node) => Ok(node.to_owned()),
            None => place(store, pod),
        };
        let node = match node {
            Ok(node) => node,
            Err(message) => {
                unscheduled(store, pod, &message, false);
                store.ages.insert(text(pod, "uid").to_owned(), 0);
                return;
            }
        };
        let time = store.time();
        store.change("Pod", namespace, name, |pod| {
            pod["spec"]["nodeName"] = node.as_str().into();
            let waiting = |one: &Json| {
                json!({
                    "name": one["name"], "image": one["image"], "imageID": "", "ready": false, "started": false,
                    "restartCount": 0, "state": { "waiting": { "reason": "ContainerCreating" } }, "lastState": {},
                })
            };
            let all: Vec<Json> = containers(pod, "containers").into_iter().map(waiting).collect();
            let init: Vec<Json> = containers(pod, "initContainers").into_iter().map(waiting).collect();
            let status = &mut pod["status"];
            status["phase"] = "Pending".into();
            status["startTime"] = time.as_str().into();
            status["containerStatuses"] = all.into();
            if !init.is_empty() {
                status["initContainerStatuses"] = init.into();
            }
            condition(status, "PodScheduled", "True", "", "", &time, Update::OnChange);
            condition(status, "Ready", "False", "ContainersNotReady", "", &time, Update::OnChange);
            condition(status, "ContainersReady", "False", "ContainersNotReady", "", &time, Update::OnChange);
        });
        let message = format!("Successfully assigned {namespace}/{name} to {node}");
        store.event(pod, "Normal", "Scheduled", &message, "default-scheduler", "");
        return;
    }
    run(store, pod, age, rules);
}

/// What one container says of itself in this turn, and what the node says of it.
struct Said {
    status: Json,
    event: Option<(&'static str, String)>,
    log: Vec<String>,
    /// The log is that of a life that is over.
    ends: bool,
}

fn run(store: &mut Store, pod: &Json, age: u32, rules: &[Rule]) {
    let (namespace, name) = (text(pod, "namespace"), text(pod, "name"));
    let time = store.time();
    let owners = pod["metadata"]["ownerReferences"].as_array();
    let is_once = owners.is_some_and(|all| all.iter().any(|one| one["kind"] == "Job"));
    let is_sidecar = |one: &Json| one["restartPolicy"] == "Always";
    let mut said_all: Vec<(&str, String, Said)> = Vec::new();
    let mut is_held_up = false;
    let mut offset = 0;
    for (list, container) in containers(pod, "initContainers")
        .into_iter()
        .map(|one| ("initContainerStatuses", one))
        .chain(containers(pod, "containers").into_iter().map(|one| ("containerStatuses", one)))
    {
        let image = container["image"].as_str().unwrap_or_default();
        let behaviour = behaviour::of(rules, image);
        let is_beforehand = list == "initContainerStatuses" && !is_sidecar(container);
        let own_age = age.saturating_sub(1).saturating_sub(offset);
        let said = if is_held_up || own_age == 0 {
            let mut status = blank(container);
            status["state"] = json!({ "waiting": { "reason": "PodInitializing" } });
            Said { status, event: None, log: Vec::new(), ends: false }
        } else {
            contain(container, &behaviour, own_age, is_beforehand || is_once, is_once, &time)
        };
        if is_beforehand {
            offset += 1;
            is_held_up |= said.status["state"]["terminated"]["exitCode"] != 0;
        }
        said_all.push((list, container["name"].as_str().unwrap_or_default().to_owned(), said));
    }
    for (_, container, said) in &mut said_all {
        if let Some((reason, message)) = said.event.take() {
            let severity = if matches!(reason, "Started" | "Pulled") { "Normal" } else { "Warning" };
            let field = format!("spec.containers{{{container}}}");
            store.event(pod, severity, reason, &message, "kubelet", &field);
        }
        if !said.log.is_empty() {
            let at = |is_previous| (namespace.to_owned(), name.to_owned(), container.clone(), is_previous);
            let now = store.now;
            let lines = std::mem::take(&mut said.log).into_iter().map(|line| (now, line)).collect::<Vec<_>>();
            if said.ends {
                store.logs.insert(at(true), lines.clone());
            }
            store.logs.insert(at(false), lines);
        }
    }
    store.change("Pod", namespace, name, |pod| {
        let gates: Vec<String> = pod["spec"]["readinessGates"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|gate| gate["conditionType"].as_str().map(str::to_owned))
            .collect();
        let of = |wanted: &str| -> Vec<Json> {
            said_all
                .iter()
                .filter(|(list, ..)| *list == wanted)
                .map(|(.., said)| said.status.clone())
                .collect()
        };
        let mut own = of("containerStatuses");
        let mut init = of("initContainerStatuses");
        let status = &mut pod["status"];
        keep_times(&status["containerStatuses"], &mut own);
        keep_times(&status["initContainerStatuses"], &mut init);
        let ended = |code_is_nought: bool| {
            own.iter().all(|one| {
                one["state"]["terminated"]["exitCode"]
                    .as_i64()
                    .is_some_and(|code| !code_is_nought || code == 0)
            })
        };
        let ready = own.iter().all(|one| one["ready"] == true);
        let runs = own.iter().any(|one| !one["state"]["running"].is_null() || one["restartCount"] != 0);
        status["phase"] = match () {
            () if is_once && ended(true) => "Succeeded",
            () if is_once && ended(false) => "Failed",
            () if runs => "Running",
            () => "Pending",
        }
        .into();
        status["containerStatuses"] = own.into();
        if !init.is_empty() {
            status["initContainerStatuses"] = init.into();
        }
        let (state, reason) = if ready { ("True", "") } else { ("False", "ContainersNotReady") };
        for gate in gates {
            condition(status, &gate, state, "", "", &time, Update::OnChange);
        }
        condition(status, "ContainersReady", state, reason, "", &time, Update::OnChange);
        condition(status, "Ready", state, reason, "", &time, Update::OnChange);
    });
}

/// What has not changed began when it began.
fn keep_times(before: &Json, now: &mut [Json]) {
    for status in now {
        let known = before.as_array().and_then(|all| all.iter().find(|one| one["name"] == status["name"]));
        let Some(known) = known else { continue };
        for (place, state) in [("state", "running"), ("state", "terminated"), ("lastState", "terminated")] {
            let (old, new) = (&known[place][state], &status[place][state]);
            let is_same_life = old["containerID"] == new["containerID"]
                && (state == "terminated" || known["restartCount"] == status["restartCount"]);
            if old.is_object() && new.is_object() && is_same_life {
                status[place][state] = old.clone();
            }
        }
    }
}

fn blank(container: &Json) -> Json {
    json!({
        "name": container["name"], "image": container["image"], "imageID": "", "ready": false, "started": false,
        "restartCount": 0, "state": {}, "lastState": {},
    })
}

/// The id of an image as a node tells it: its digest, or one made up from its name.
fn image_id(image: &str) -> String {
    if image.contains('@') {
        return image.to_owned();
    }
    let digest: String = image.bytes().cycle().take(32).map(|byte| format!("{byte:02x}")).collect();
    let name = image.rsplit_once(':').map_or(image, |(name, _)| name);
    format!("{name}@sha256:{digest}")
}

/// One container in the turns since it was to be started.
fn contain(
    container: &Json,
    behaviour: &Behaviour,
    age: u32,
    is_finite: bool,
    is_once: bool,
    time: &str,
) -> Said {
    let image = container["image"].as_str().unwrap_or_default().to_owned();
    let name = container["name"].as_str().unwrap_or_default();
    let mut status = blank(container);
    let mut said = Said { status: Json::Null, event: None, log: Vec::new(), ends: false };
    let pull = |status: &mut Json, why: &str| {
        let whole = format!("failed to pull and unpack image \"{image}\": {why}");
        let (reason, message) = if age % 2 == 1 {
            ("ErrImagePull", format!("rpc error: code = NotFound desc = {whole}"))
        } else {
            ("ImagePullBackOff", format!("Back-off pulling image \"{image}\": ErrImagePull: {whole}"))
        };
        status["state"] = json!({ "waiting": { "reason": reason, "message": message } });
        Some(("Failed", format!("Failed to pull image \"{image}\": {whole}")))
    };
    match behaviour {
        Behaviour::ImageMissing => {
            let why = format!("failed to resolve reference \"{image}\": {image}: not found");
            said.event = pull(&mut status, &why);
        }
        Behaviour::PlatformMissing => {
            said.event = pull(&mut status, "no match for platform in manifest: not found");
        }
        Behaviour::PullDenied => {
            let why = format!(
                "failed to resolve reference \"{image}\": unexpected status from HEAD request: 403 Forbidden"
            );
            said.event = pull(&mut status, &why);
        }
        Behaviour::ConfigMissing { name } => {
            let message = format!("configmap \"{name}\" not found");
            status["state"] =
                json!({ "waiting": { "reason": "CreateContainerConfigError", "message": message } });
            said.event = Some(("Failed", format!("Error: {message}")));
        }
        Behaviour::NeverCreated | Behaviour::Unschedulable { .. } => {
            status["state"] = json!({ "waiting": { "reason": "ContainerCreating" } });
        }
        Behaviour::Ready { after } => {
            status["imageID"] = image_id(&image).into();
            if is_finite && age > *after {
                status["state"] = json!({ "terminated": {
                    "exitCode": 0, "reason": "Completed", "startedAt": time, "finishedAt": time,
                }});
            } else {
                status["state"] = json!({ "running": { "startedAt": time } });
                status["started"] = true.into();
                status["ready"] = (!is_finite && age > *after).into();
            }
            if age == 1 {
                said.event = Some(("Started", format!("Started container {name}")));
                said.log = vec![format!("{name} is starting")];
            }
        }
        Behaviour::NeverReady => {
            status["imageID"] = image_id(&image).into();
            status["state"] = json!({ "running": { "startedAt": time } });
            status["started"] = true.into();
            if age > 1 {
                let message = "Readiness probe failed: HTTP probe failed with statuscode: 503";
                said.event = Some(("Unhealthy", message.to_owned()));
            } else {
                said.log = vec![format!("{name} is starting")];
            }
        }
        Behaviour::Crash { exit_code, log } => {
            crash(&mut said, &mut status, container, (*exit_code, "Error"), log, age, is_once, time);
        }
        Behaviour::OutOfMemory => {
            crash(&mut said, &mut status, container, (137, "OOMKilled"), &[], age, is_once, time);
        }
        Behaviour::WrongFormat => {
            let log = [format!("exec /usr/local/bin/{name}: exec format error")];
            crash(&mut said, &mut status, container, (255, "Error"), &log, age, is_once, time);
        }
    }
    said.status = status;
    said
}

/// Runs, ends, waits; and again, with one restart more.
fn crash(
    said: &mut Said,
    status: &mut Json,
    container: &Json,
    (exit_code, reason): (i32, &str),
    log: &[String],
    age: u32,
    is_once: bool,
    time: &str,
) {
    let name = container["name"].as_str().unwrap_or_default();
    status["imageID"] = image_id(container["image"].as_str().unwrap_or_default()).into();
    let (rounds, phase) = ((age - 1) / 3, (age - 1) % 3);
    let mut end = json!({
        "exitCode": exit_code, "reason": reason, "startedAt": time, "finishedAt": time,
        "containerID": format!("containerd://{name}-{rounds}"),
    });
    if container["terminationMessagePolicy"] == "FallbackToLogsOnError" && !log.is_empty() {
        end["message"] = log.join("\n").into();
    }
    said.log = log.to_vec();
    said.ends = phase != 0;
    let restarts = if phase == 2 { rounds + 1 } else { rounds };
    status["restartCount"] = restarts.into();
    match phase {
        0 => {
            status["state"] = json!({ "running": { "startedAt": time } });
            status["started"] = true.into();
            if rounds > 0 {
                status["lastState"] = json!({ "terminated": end });
            }
        }
        _ if is_once => {
            status["restartCount"] = 0.into();
            status["state"] = json!({ "terminated": end });
        }
        1 => status["state"] = json!({ "terminated": end }),
        _ => {
            let message = format!("back-off 10s restarting failed container={name}");
            status["state"] = json!({ "waiting": { "reason": "CrashLoopBackOff", "message": message } });
            status["lastState"] = json!({ "terminated": end });
            said.event = Some(("BackOff", format!("Back-off restarting failed container {name}")));
        }
    }
}
