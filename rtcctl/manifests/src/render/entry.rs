//! How traffic comes in: pods in a target group that exists, or an Ingress of which a load balancer is made.
//!
//! Invariant: the load balancer asks the operator's port whether a pod is ready, as the cluster does.

use serde_json::{Value, json};

use super::draft::Draft;
use super::{ADMIN, API, Object, Wave, gateway};
use crate::Release;
use crate::description::{Entry, Scheme};

/// How a target group is watched: as Terraform's is.
pub(super) const HEALTH_EVERY_S: u32 = 10;
pub(super) const HEALTH_TIMEOUT_S: u32 = 5;
pub(super) const HEALTH_COUNT: u32 = 2;

pub(super) fn objects(release: &Release) -> Vec<Object> {
    match &release.description.entry {
        Entry::None => Vec::new(),
        Entry::TargetGroup { target, target_group_arn } => vec![binding(release, target, target_group_arn)],
        Entry::Alb { target, hosts, certificate_arn, scheme } => {
            vec![ingress(release, target, hosts, certificate_arn, *scheme)]
        }
        Entry::GatewayApi { .. } => gateway::objects(release),
    }
}

pub(super) fn scheme_name(scheme: Scheme) -> &'static str {
    match scheme {
        Scheme::InternetFacing => "internet-facing",
        Scheme::Internal => "internal",
    }
}

/// How long a target that goes is still sent what it has begun: as long as it takes after it was told.
pub(super) fn deregistration_s(release: &Release) -> u32 {
    release.description.drain.notice_s + release.description.drain.timeout_s
}

fn binding(release: &Release, target: &str, arn: &str) -> Object {
    let spec = json!({
        "targetGroupARN": arn,
        "targetType": "ip",
        "serviceRef": { "name": target, "port": API.1 },
    });
    let kind = "TargetGroupBinding";
    Draft::new(release, Wave::Entry, "elbv2.k8s.aws/v1beta1", kind, target, target).spec(spec).done()
}

fn ingress(release: &Release, target: &str, hosts: &[String], certificate: &str, scheme: Scheme) -> Object {
    let prefix = "alb.ingress.kubernetes.io";
    let attributes = format!(
        "deregistration_delay.timeout_seconds={},load_balancing.algorithm.type=least_outstanding_requests",
        deregistration_s(release)
    );
    let annotations = [
        ("scheme", scheme_name(scheme).to_owned()),
        ("target-type", "ip".to_owned()),
        ("certificate-arn", certificate.to_owned()),
        ("listen-ports", r#"[{"HTTP":80},{"HTTPS":443}]"#.to_owned()),
        ("ssl-redirect", "443".to_owned()),
        ("ssl-policy", "ELBSecurityPolicy-TLS13-1-2-2021-06".to_owned()),
        ("healthcheck-protocol", "HTTP".to_owned()),
        ("healthcheck-port", ADMIN.1.to_string()),
        ("healthcheck-path", "/readyz".to_owned()),
        ("healthcheck-interval-seconds", HEALTH_EVERY_S.to_string()),
        ("healthcheck-timeout-seconds", HEALTH_TIMEOUT_S.to_string()),
        ("healthy-threshold-count", HEALTH_COUNT.to_string()),
        ("unhealthy-threshold-count", HEALTH_COUNT.to_string()),
        ("success-codes", "200".to_owned()),
        ("target-group-attributes", attributes),
        (
            "load-balancer-attributes",
            "idle_timeout.timeout_seconds=120,routing.http.drop_invalid_header_fields.enabled=true"
                .to_owned(),
        ),
    ];
    let rules: Vec<Value> = hosts
        .iter()
        .map(|host| {
            let backend = json!({ "service": { "name": target, "port": { "name": API.0 } } });
            json!({ "host": host, "http": { "paths": [{ "path": "/", "pathType": "Prefix", "backend": backend }] } })
        })
        .collect();
    let draft = Draft::new(release, Wave::Entry, "networking.k8s.io/v1", "Ingress", target, target);
    let draft = annotations
        .iter()
        .fold(draft, |draft, (key, value)| draft.annotation(&format!("{prefix}/{key}"), value));
    draft.spec(json!({ "ingressClassName": "alb", "rules": rules })).done()
}
