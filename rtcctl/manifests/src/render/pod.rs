//! The pod of a target: one container with no rights, a file system that it cannot write to, and time to go.

use serde_json::{Map, Value, json};

use super::draft::{labels, selector};
use super::settings::{self, DATA, FILE, FOLDER, SECRETS};
use super::{ADMIN, API, DRAIN, RELEASE, SETTINGS, TRACK, secrets, storage};
use crate::Release;
use crate::description::{Image, Resources, Target};

/// The user of the image.
pub(super) const USER: u32 = 65_532;
/// Group-readable, as rtcd wants secrets to be at most.
const SECRET_MODE: u32 = 0o440;

/// The two versions of a target that may run beside each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Track {
    Stable,
    Canary,
}

impl Track {
    pub(super) fn name(self) -> &'static str {
        match self {
            Track::Stable => "stable",
            Track::Canary => "canary",
        }
    }
}

/// Labels by which a Deployment knows its pods. They can never be changed, so the track is in them from the beginning.
pub(super) fn tracked(name: &str, track: Track) -> Map<String, Value> {
    let mut selector = selector(name);
    selector.insert(TRACK.to_owned(), json!(track.name()));
    selector
}

pub(super) fn serving(release: &Release, name: &str, target: &Target, track: Track, image: &Image) -> Value {
    let mut labels = labels(release, name);
    labels.insert(RELEASE.to_owned(), json!(image.short()));
    labels.insert(TRACK.to_owned(), json!(track.name()));
    let mut annotations = Map::new();
    annotations.insert(SETTINGS.to_owned(), json!(settings::hash(release, name, target)));
    let drain = release.description.drain;
    annotations.insert(DRAIN.to_owned(), json!(drain.process_s().to_string()));
    if release.description.mesh.is_some() {
        labels.insert("sidecar.istio.io/inject".to_owned(), json!("true"));
        // The sidecar outlives the process, and engines speak protocols of their own.
        annotations.insert("sidecar.istio.io/nativeSidecar".to_owned(), json!("true"));
        annotations
            .insert("traffic.sidecar.istio.io/excludeInboundPorts".to_owned(), json!(ADMIN.1.to_string()));
        let ports = outside_mesh(release, target);
        if !ports.is_empty() {
            annotations.insert("traffic.sidecar.istio.io/excludeOutboundPorts".to_owned(), json!(ports));
        }
    }
    let services = Release::services(name, target).join(",");
    let mut container = container(image, &["serve", "--only", &services, "--config"], &target.resources);
    container.insert("name".to_owned(), json!(name));
    container.insert(
        "ports".to_owned(),
        json!([
            { "name": API.0, "containerPort": API.1, "protocol": "TCP" },
            { "name": ADMIN.0, "containerPort": ADMIN.1, "protocol": "TCP" },
        ]),
    );
    let probe = |path: &str, period: u32, failures: u32| {
        json!({
            "httpGet": { "path": path, "port": ADMIN.0, "scheme": "HTTP" },
            "periodSeconds": period,
            "timeoutSeconds": 2,
            "failureThreshold": failures,
            "successThreshold": 1,
        })
    };
    // A first start migrates, and waits for the keys of users.
    container.insert("startupProbe".to_owned(), probe("/startupz", 2, 90));
    container.insert("readinessProbe".to_owned(), probe("/readyz", 5, 2));
    container.insert("livenessProbe".to_owned(), probe("/livez", 10, 3));
    if drain.pause_s > 0 {
        container
            .insert("lifecycle".to_owned(), json!({ "preStop": { "sleep": { "seconds": drain.pause_s } } }));
    }
    let mut spec = spec(release, name, name, target);
    spec.insert("terminationGracePeriodSeconds".to_owned(), json!(drain.grace_s()));
    let spread = |key: &str| {
        json!({
            "maxSkew": 1,
            "topologyKey": key,
            "whenUnsatisfiable": "ScheduleAnyway",
            "labelSelector": { "matchLabels": tracked(name, track) },
            "matchLabelKeys": ["pod-template-hash"],
        })
    };
    spec.insert(
        "topologySpreadConstraints".to_owned(),
        json!([spread("topology.kubernetes.io/zone"), spread("kubernetes.io/hostname")]),
    );
    finish(target, container, spec, labels, annotations)
}

/// The pod of the job that migrates.
pub(super) fn migrating(release: &Release, target: &Target) -> Value {
    let mut labels = labels(release, "migrate");
    let mut annotations = Map::new();
    if release.description.mesh.is_some() {
        // It speaks to engines alone, and has to end.
        labels.insert("sidecar.istio.io/inject".to_owned(), json!("false"));
        annotations.insert("sidecar.istio.io/inject".to_owned(), json!("false"));
    }
    let mut container = container(&release.image, &["migrate", "--config"], &target.resources);
    container.insert("name".to_owned(), json!("migrate"));
    let mut spec = spec(release, "migrate", "migrate", target);
    spec.insert("restartPolicy".to_owned(), json!("Never"));
    spec.insert("terminationGracePeriodSeconds".to_owned(), json!(30));
    finish(target, container, spec, labels, annotations)
}

fn container(image: &Image, arguments: &[&str], resources: &Resources) -> Map<String, Value> {
    let mut arguments: Vec<String> = arguments.iter().map(|text| (*text).to_owned()).collect();
    arguments.push(format!("{FOLDER}/{FILE}"));
    let mut limits = Map::new();
    if let Some(cpu) = &resources.cpu_limit {
        limits.insert("cpu".to_owned(), json!(cpu));
    }
    limits.insert("memory".to_owned(), json!(resources.memory));
    let container = json!({
        "name": "",
        "image": image.to_string(),
        "imagePullPolicy": "IfNotPresent",
        "args": arguments,
        "resources": {
            "requests": { "cpu": resources.cpu, "memory": resources.memory },
            "limits": limits,
        },
        "securityContext": {
            "allowPrivilegeEscalation": false,
            "readOnlyRootFilesystem": true,
            "runAsNonRoot": true,
            "capabilities": { "drop": ["ALL"] },
        },
        "terminationMessagePolicy": "FallbackToLogsOnError",
    });
    match container {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

fn spec(release: &Release, account: &str, name: &str, target: &Target) -> Map<String, Value> {
    let mut volumes = vec![
        json!({ "name": "settings", "configMap": { "name": settings::map_of(name), "defaultMode": SECRET_MODE } }),
        json!({ "name": "secrets", "secret": {
            "secretName": secrets::secret_of(release, name),
            "defaultMode": SECRET_MODE,
            "items": secrets::items(release, name, target),
        } }),
        json!({ "name": "data", "emptyDir": { "sizeLimit": "1Gi" } }),
        json!({ "name": "tmp", "emptyDir": { "sizeLimit": "1Gi" } }),
    ];
    if target.needs.files.is_some() {
        volumes.push(json!({ "name": "files", "persistentVolumeClaim": { "claimName": storage::CLAIM } }));
    }
    let spec = json!({
        "serviceAccountName": account,
        "automountServiceAccountToken": false,
        // A variable that begins with RTC_ would be a setting.
        "enableServiceLinks": false,
        "securityContext": {
            "runAsNonRoot": true,
            "runAsUser": USER,
            "runAsGroup": USER,
            "fsGroup": USER,
            "fsGroupChangePolicy": "OnRootMismatch",
            "seccompProfile": { "type": "RuntimeDefault" },
        },
        "volumes": volumes,
    });
    match spec {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

fn finish(
    target: &Target,
    mut container: Map<String, Value>,
    mut spec: Map<String, Value>,
    labels: Map<String, Value>,
    annotations: Map<String, Value>,
) -> Value {
    let mut mounts = vec![
        json!({ "name": "settings", "mountPath": FOLDER, "readOnly": true }),
        json!({ "name": "secrets", "mountPath": SECRETS, "readOnly": true }),
        json!({ "name": "data", "mountPath": DATA }),
        json!({ "name": "tmp", "mountPath": "/tmp" }),
    ];
    if let Some(path) = &target.needs.files {
        mounts.push(json!({ "name": "files", "mountPath": path }));
    }
    container.insert("volumeMounts".to_owned(), json!(mounts));
    spec.insert("containers".to_owned(), json!([container]));
    let mut metadata = Map::new();
    metadata.insert("labels".to_owned(), Value::Object(labels));
    if !annotations.is_empty() {
        metadata.insert("annotations".to_owned(), Value::Object(annotations));
    }
    json!({ "metadata": metadata, "spec": spec })
}

/// Ports of engines that a sidecar would only be in the way of.
fn outside_mesh(release: &Release, target: &Target) -> String {
    let needs = &target.needs;
    let engines = [("database", needs.database), ("bus", needs.bus), ("cache", needs.cache)];
    let mut ports: Vec<u16> =
        engines.iter().filter(|(_, needed)| *needed).flat_map(|(engine, _)| release.ports(engine)).collect();
    let ways = release.description.networks.egress.iter().chain(&needs.egress);
    ports.extend(ways.map(|egress| egress.port).filter(|port| *port != 443));
    ports.sort_unstable();
    ports.dedup();
    ports.iter().map(u16::to_string).collect::<Vec<_>>().join(",")
}
