//! The way in by the Gateway API: a gateway with a listener a host, and the routes behind it.

use serde_json::{Value, json};

use super::draft::Draft;
use super::entry::{HEALTH_COUNT, HEALTH_EVERY_S, HEALTH_TIMEOUT_S, deregistration_s, scheme_name};
use super::{ADMIN, API, Object, Wave};
use crate::Release;
use crate::description::{Certificate, Entry};

const GATEWAY: &str = "gateway.networking.k8s.io/v1";
/// Of the AWS Load Balancer Controller.
const AWS: &str = "gateway.k8s.aws/v1beta1";

pub(super) fn objects(release: &Release) -> Vec<Object> {
    let Entry::GatewayApi { target, hosts, class, certificate, scheme, .. } = &release.description.entry
    else {
        return Vec::new();
    };
    let draft = |api: &str, kind: &str, name: &str| Draft::new(release, Wave::Entry, api, kind, name, target);
    let mut objects = Vec::new();
    let mut listeners = vec![json!({
        "name": "http",
        "port": 80,
        "protocol": "HTTP",
        "allowedRoutes": { "namespaces": { "from": "Same" } },
    })];
    for (index, host) in hosts.iter().enumerate() {
        let mut listener = json!({
            "name": format!("https-{index}"),
            "hostname": host,
            "port": 443,
            "protocol": "HTTPS",
            "tls": { "mode": "Terminate" },
            "allowedRoutes": { "namespaces": { "from": "Same" } },
        });
        if let Certificate::Secret(secret) = certificate {
            listener["tls"]["certificateRefs"] = json!([{ "group": "", "kind": "Secret", "name": secret }]);
        }
        listeners.push(listener);
    }
    let mut gateway = json!({ "gatewayClassName": class, "listeners": listeners });
    if let Certificate::Arn(arn) = certificate {
        let configuration = "LoadBalancerConfiguration";
        gateway["infrastructure"] = json!({
            "parametersRef": { "group": "gateway.k8s.aws", "kind": configuration, "name": target },
        });
        let spec = json!({
            "scheme": scheme_name(*scheme),
            "listenerConfigurations": [
                { "protocolPort": "HTTPS:443", "defaultCertificate": arn, "sslPolicy": "ELBSecurityPolicy-TLS13-1-2-2021-06" },
            ],
        });
        objects.push(draft(AWS, configuration, target).spec(spec).done());
        let spec = json!({
            "targetReference": { "group": "", "kind": "Service", "name": target },
            "defaultConfiguration": {
                "targetType": "ip",
                "healthCheckConfig": {
                    "healthCheckProtocol": "HTTP",
                    "healthCheckPort": ADMIN.1.to_string(),
                    "healthCheckPath": "/readyz",
                    "healthCheckInterval": HEALTH_EVERY_S,
                    "healthCheckTimeout": HEALTH_TIMEOUT_S,
                    "healthyThresholdCount": HEALTH_COUNT,
                    "unhealthyThresholdCount": HEALTH_COUNT,
                },
                "targetGroupAttributes": [
                    { "key": "deregistration_delay.timeout_seconds", "value": deregistration_s(release).to_string() },
                ],
            },
        });
        objects.push(draft(AWS, "TargetGroupConfiguration", target).spec(spec).done());
    }
    objects.push(draft(GATEWAY, "Gateway", target).spec(gateway).done());
    objects.push(draft(GATEWAY, "HTTPRoute", target).spec(route(target, hosts)).done());
    let redirect = json!({
        "parentRefs": [{ "name": target, "sectionName": "http" }],
        "hostnames": hosts,
        "rules": [{
            "filters": [{ "type": "RequestRedirect", "requestRedirect": { "scheme": "https", "statusCode": 301 } }],
        }],
    });
    objects.push(draft(GATEWAY, "HTTPRoute", &format!("{target}-to-https")).spec(redirect).done());
    objects
}

fn route(target: &str, hosts: &[String]) -> Value {
    let parents: Vec<Value> = (0..hosts.len())
        .map(|index| json!({ "name": target, "sectionName": format!("https-{index}") }))
        .collect();
    json!({
        "parentRefs": parents,
        "hostnames": hosts,
        "rules": [{
            "matches": [{ "path": { "type": "PathPrefix", "value": "/" } }],
            "backendRefs": [{ "name": target, "port": API.1 }],
        }],
    })
}
