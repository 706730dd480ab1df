//! Istio around the targets: nobody in the clear, calls that never arrived tried again, replicas that fail left out, and
//! a part of the requests for the canary.

use serde_json::{Value, json};

use super::access::PLATFORM;
use super::draft::{Draft, selector};
use super::pod::Track;
use super::{API, Object, TRACK, Wave};
use crate::Release;
use crate::description::{Entry, Mesh};

const SECURITY: &str = "security.istio.io/v1";
const NETWORKING: &str = "networking.istio.io/v1";

pub(super) fn objects(release: &Release) -> Vec<Object> {
    let Some(mesh) = &release.description.mesh else { return Vec::new() };
    let strict = json!({ "mtls": { "mode": "STRICT" } });
    let draft = Draft::new(release, Wave::Surroundings, SECURITY, "PeerAuthentication", "default", PLATFORM);
    let mut objects = vec![draft.spec(strict).done()];
    let entry = &release.description.entry;
    let pods_inside = matches!(entry, Entry::GatewayApi { pods_in: Some(_), .. });
    if let (Some(target), false) = (entry.target(), pods_inside) {
        // The load balancer is in no mesh: TLS from outside ends there.
        let spec = json!({
            "selector": { "matchLabels": selector(target) },
            "mtls": { "mode": "STRICT" },
            "portLevelMtls": { API.1.to_string(): { "mode": "PERMISSIVE" } },
        });
        let draft = Draft::new(release, Wave::Surroundings, SECURITY, "PeerAuthentication", target, target);
        objects.push(draft.spec(spec).done());
    }
    for name in release.description.targets.keys() {
        objects.push(destination(release, name));
        objects.push(routes(release, mesh, name));
    }
    objects
}

fn host(release: &Release, name: &str) -> String {
    format!("{name}.{}.svc.cluster.local", release.description.namespace)
}

fn draft(release: &Release, kind: &str, name: &str) -> Draft {
    Draft::new(release, Wave::Workloads, NETWORKING, kind, name, name)
}

fn destination(release: &Release, name: &str) -> Object {
    let subset = |track: Track| json!({ "name": track.name(), "labels": { TRACK: track.name() } });
    let spec = json!({
        "host": host(release, name),
        "trafficPolicy": {
            "tls": { "mode": "ISTIO_MUTUAL" },
            "loadBalancer": { "simple": "LEAST_REQUEST" },
            // Of the proxies before the pods too. Theirs is an hour, and rtcd closes after `server.keep_alive_ms`: who sends closes first.
            "connectionPool": { "http": { "idleTimeout": "120s" } },
            "outlierDetection": {
                "consecutive5xxErrors": 5,
                "consecutiveGatewayErrors": 3,
                "interval": "5s",
                "baseEjectionTime": "15s",
                // However bad all are, half of them are still asked.
                "maxEjectionPercent": 50,
            },
        },
        "subsets": [subset(Track::Stable), subset(Track::Canary)],
    });
    draft(release, "DestinationRule", name).spec(spec).done()
}

fn routes(release: &Release, mesh: &Mesh, name: &str) -> Object {
    let to = |track: Track| json!({ "host": host(release, name), "subset": track.name() });
    let canary = release.canary.as_ref().filter(|(_, canary)| canary.targets.iter().any(|one| one == name));
    let route: Vec<Value> = match canary {
        None => vec![json!({ "destination": to(Track::Stable), "weight": 100 })],
        Some((_, canary)) => vec![
            json!({ "destination": to(Track::Stable), "weight": 100 - canary.weight }),
            json!({ "destination": to(Track::Canary), "weight": canary.weight }),
        ],
    };
    let spec = json!({
        "hosts": [host(release, name)],
        "http": [{
            "name": "api",
            "route": route,
            // Only what no handler has seen: the callers have a budget of their own for the rest.
            "retries": { "attempts": mesh.attempts, "retryOn": "connect-failure,refused-stream" },
        }],
    });
    draft(release, "VirtualService", name).spec(spec).done()
}
