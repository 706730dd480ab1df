//! The Deployment of a target, and the names under which others find its pods.

use serde_json::json;

use super::draft::{Draft, selector};
use super::pod::{Track, serving, tracked};
use super::{ADMIN, API, HEADLESS, Object, TRACK, Wave};
use crate::Release;
use crate::description::{Discovery, Image, Target};

pub(super) fn objects(release: &Release, name: &str, target: &Target) -> Vec<Object> {
    let replicas = target.scaling.is_none().then(|| target.replicas.unwrap_or(1));
    let mut objects = vec![deployment(release, name, target, Track::Stable, &release.image, replicas)];
    if let Some((image, canary)) = &release.canary
        && canary.targets.iter().any(|one| one == name)
    {
        objects.push(deployment(release, name, target, Track::Canary, image, Some(canary.replicas)));
    }
    objects.push(service(release, name, Discovery::Cluster));
    if target.discovery == Discovery::Headless {
        objects.push(service(release, name, Discovery::Headless));
    }
    objects
}

/// `replicas` is none where an autoscaler says how many: a number here would undo what it decided, at every apply.
fn deployment(
    release: &Release,
    name: &str,
    target: &Target,
    track: Track,
    image: &Image,
    replicas: Option<u32>,
) -> Object {
    let full = match track {
        Track::Stable => name.to_owned(),
        Track::Canary => format!("{name}-canary"),
    };
    let mut spec = json!({
        "revisionHistoryLimit": 5,
        // Ready for as long as an endpoint needs to get round.
        "minReadySeconds": 5,
        "progressDeadlineSeconds": 600,
        "strategy": { "type": "RollingUpdate", "rollingUpdate": { "maxSurge": 1, "maxUnavailable": 0 } },
        "selector": { "matchLabels": tracked(name, track) },
        "template": serving(release, name, target, track, image),
    });
    if let (Some(replicas), Some(spec)) = (replicas, spec.as_object_mut()) {
        spec.shift_insert(0, "replicas".to_owned(), json!(replicas));
    }
    let draft = Draft::new(release, Wave::Workloads, "apps/v1", "Deployment", &full, name);
    draft.label(TRACK, track.name()).spec(spec).done()
}

/// Name of the Service that stands for all pods' addresses.
fn headless_of(name: &str) -> String {
    format!("{name}-pods")
}

fn service(release: &Release, name: &str, discovery: Discovery) -> Object {
    let port = |(name, port): (&str, u16)| json!({ "name": name, "port": port, "targetPort": name, "protocol": "TCP", "appProtocol": "http" });
    let mut spec = json!({
        "type": "ClusterIP",
        "selector": selector(name),
        "ports": [port(API), port(ADMIN)],
    });
    let full = match discovery {
        Discovery::Cluster => name.to_owned(),
        Discovery::Headless => headless_of(name),
    };
    let mut draft = Draft::new(release, Wave::Workloads, "v1", "Service", &full, name);
    if discovery == Discovery::Headless {
        spec["clusterIP"] = json!("None");
        draft = draft.label(HEADLESS, "true");
    }
    draft.spec(spec).done()
}
