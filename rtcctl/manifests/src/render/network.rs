//! Who may reach whom: nobody, but for what a target says that it needs.

use serde_json::{Value, json};

use super::access::PLATFORM;
use super::draft::{Draft, selector};
use super::{ADMIN, API, Object, Wave};
use crate::Release;
use crate::description::{Entry, IdentityKind, Needs, Target};

/// AWS has no ranges that a policy could name. EFS is mounted by the node, so no pod needs a way there.
const ANYWHERE: &str = "0.0.0.0/0";
/// Where the agent of Pod Identity answers on every node.
const IDENTITY_AGENT: (&str, u16) = ("169.254.170.23/32", 80);
/// Where an instance answers questions about itself and gives out its role.
const INSTANCE_METADATA: &str = "169.254.169.254/32";
/// Certificates and settings of sidecars.
const ISTIOD: u16 = 15012;

pub(super) fn objects(release: &Release) -> Vec<Object> {
    let mut objects = vec![nothing(release), resolving(release)];
    for (name, target) in &release.description.targets {
        objects.push(of_target(release, name, target));
    }
    let job = release.migrating();
    if job.needs.database {
        let egress = egress(release, "migrate", &job.needs);
        objects.push(policy(release, "migrate", "migrate", json!([]), json!(egress)));
    }
    objects
}

fn policy(release: &Release, name: &str, component: &str, ingress: Value, egress: Value) -> Object {
    let spec = json!({
        "podSelector": { "matchLabels": selector(component) },
        "policyTypes": ["Ingress", "Egress"],
        "ingress": ingress,
        "egress": egress,
    });
    draft(release, name, component).spec(spec).done()
}

fn draft(release: &Release, name: &str, component: &str) -> Draft {
    Draft::new(release, Wave::Surroundings, "networking.k8s.io/v1", "NetworkPolicy", name, component)
}

fn nothing(release: &Release) -> Object {
    let spec = json!({ "podSelector": {}, "policyTypes": ["Ingress", "Egress"] });
    draft(release, "default", PLATFORM).spec(spec).done()
}

/// Names are looked up by everybody; a sidecar asks its control plane.
fn resolving(release: &Release) -> Object {
    let ports = json!([{ "protocol": "UDP", "port": 53 }, { "protocol": "TCP", "port": 53 }]);
    let mut resolvers = vec![json!({
        "namespaceSelector": { "matchLabels": { "kubernetes.io/metadata.name": "kube-system" } },
        "podSelector": { "matchLabels": { "k8s-app": "kube-dns" } },
    })];
    resolvers.extend(
        release.description.networks.resolvers.iter().map(|cidr| json!({ "ipBlock": { "cidr": cidr } })),
    );
    let mut egress = vec![json!({ "to": resolvers, "ports": ports })];
    if let Some(mesh) = &release.description.mesh {
        egress.push(json!({ "to": [namespace(&mesh.namespace)], "ports": [tcp(ISTIOD)] }));
    }
    let spec = json!({ "podSelector": {}, "policyTypes": ["Egress"], "egress": egress });
    draft(release, "dns", PLATFORM).spec(spec).done()
}

fn tcp(port: u16) -> Value {
    json!({ "protocol": "TCP", "port": port })
}

fn namespace(name: &str) -> Value {
    json!({ "namespaceSelector": { "matchLabels": { "kubernetes.io/metadata.name": name } } })
}

fn pods(component: &str) -> Value {
    json!({ "podSelector": { "matchLabels": selector(component) } })
}

fn of_target(release: &Release, name: &str, target: &Target) -> Object {
    let description = &release.description;
    let mut ingress = Vec::new();
    let callers: Vec<Value> = release.callers(name).into_iter().map(pods).collect();
    if !callers.is_empty() {
        ingress.push(json!({ "from": callers, "ports": [tcp(API.1)] }));
    }
    if description.entry.target() == Some(name) {
        let from = match &description.entry {
            Entry::GatewayApi { pods_in: Some(inside), .. } => vec![namespace(inside)],
            _ => blocks(&description.networks.load_balancer),
        };
        ingress.push(json!({ "from": from, "ports": [tcp(API.1), tcp(ADMIN.1)] }));
    }
    if let Some(monitoring) = &description.monitoring {
        ingress.push(json!({ "from": [namespace(&monitoring.namespace)], "ports": [tcp(ADMIN.1)] }));
    }
    policy(release, name, name, json!(ingress), json!(egress(release, name, &target.needs)))
}

fn blocks(cidrs: &[String]) -> Vec<Value> {
    cidrs.iter().map(|cidr| json!({ "ipBlock": { "cidr": cidr } })).collect()
}

fn egress(release: &Release, name: &str, needs: &Needs) -> Vec<Value> {
    let description = &release.description;
    let mut egress = Vec::new();
    let mut callees: Vec<&str> = needs.upstreams.iter().filter_map(|service| release.runs(service)).collect();
    callees.sort_unstable();
    callees.dedup();
    if !callees.is_empty() {
        let to: Vec<Value> = callees.into_iter().map(pods).collect();
        egress.push(json!({ "to": to, "ports": [tcp(API.1)] }));
    }
    let engines = [("database", needs.database), ("bus", needs.bus), ("cache", needs.cache)];
    for (engine, _) in engines.iter().filter(|(_, needed)| *needed) {
        let ports: Vec<Value> = release.ports(engine).into_iter().map(tcp).collect();
        egress.push(json!({ "to": blocks(&description.networks.engines), "ports": ports }));
    }
    // S3, STS and Secrets Manager have no addresses of their own that a policy could name.
    let asks_aws = needs.objects || description.identity.roles.contains_key(name);
    if asks_aws {
        let to = json!([{ "ipBlock": { "cidr": ANYWHERE, "except": [INSTANCE_METADATA] } }]);
        egress.push(json!({ "to": to, "ports": [tcp(443)] }));
        if description.identity.kind == IdentityKind::PodIdentity {
            let (cidr, port) = IDENTITY_AGENT;
            egress.push(json!({ "to": [{ "ipBlock": { "cidr": cidr } }], "ports": [tcp(port)] }));
        }
    }
    for way in description.networks.egress.iter().chain(&needs.egress) {
        egress.push(json!({ "to": blocks(std::slice::from_ref(&way.cidr)), "ports": [tcp(way.port)] }));
    }
    egress
}
