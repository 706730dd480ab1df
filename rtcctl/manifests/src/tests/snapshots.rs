//! A few objects as they are, so that a change of any is seen.

use super::given::{dev, find, gateway_api, prod, rendered, with_canary};
use crate::description::Certificate;
use crate::{Description, yaml};

fn shown(description: &Description, wanted: &[(&str, &str)]) -> String {
    let objects = rendered(description);
    yaml::write_all(wanted.iter().map(|(kind, name)| find(&objects, kind, name)))
}

#[test]
fn a_target_of_dev() {
    let wanted = [
        ("Namespace", "rtc"),
        ("ServiceAccount", "shop"),
        ("ConfigMap", "shop-settings"),
        ("NetworkPolicy", "shop"),
        ("Service", "shop"),
        ("Deployment", "shop"),
        ("PodDisruptionBudget", "shop"),
    ];
    insta::assert_snapshot!(shown(&dev(), &wanted));
}

#[test]
fn a_target_of_prod() {
    let wanted = [
        ("ConfigMap", "orders-settings"),
        ("ExternalSecret", "orders-secrets"),
        ("NetworkPolicy", "orders"),
        ("Deployment", "orders"),
        ("HorizontalPodAutoscaler", "orders"),
        ("DestinationRule", "orders"),
        ("VirtualService", "orders"),
    ];
    insta::assert_snapshot!(shown(&prod(), &wanted));
}

#[test]
fn the_migration_and_the_way_in() {
    let objects = rendered(&prod());
    let job = objects.iter().find(|object| object.kind() == "Job").unwrap();
    insta::assert_snapshot!(yaml::write_all([&job.body, find(&objects, "TargetGroupBinding", "gateway")]));
    insta::assert_snapshot!("the_ingress", shown(&dev(), &[("Ingress", "gateway")]));
    let arn = Certificate::Arn("arn:aws:acm:ap-northeast-2:111122223333:certificate/a".to_owned());
    let wanted = [("Gateway", "gateway"), ("HTTPRoute", "gateway"), ("TargetGroupConfiguration", "gateway")];
    insta::assert_snapshot!("the_gateway", shown(&gateway_api(dev(), arn, None), &wanted));
}

#[test]
fn what_watches_and_what_carries_logs() {
    let wanted = [
        ("ServiceMonitor", "rtc"),
        ("DaemonSet", "fluent-bit"),
        ("ConfigMap", "fluent-bit"),
        ("StorageClass", "rtc-prod-efs"),
        ("PersistentVolumeClaim", "files"),
        ("PeerAuthentication", "gateway"),
    ];
    insta::assert_snapshot!(shown(&prod(), &wanted));
}

#[test]
fn a_canary_beside_the_others() {
    let description = with_canary(prod());
    insta::assert_snapshot!(shown(
        &description,
        &[("Deployment", "users-canary"), ("VirtualService", "users")]
    ));
}

/// Order, kinds and names of everything.
#[test]
fn the_whole_of_prod() {
    let line = |object: &crate::Object| {
        format!("{:?} {} {}/{}", object.wave, object.api_version(), object.kind(), object.name())
    };
    let objects = rendered(&prod());
    insta::assert_snapshot!(objects.iter().map(line).collect::<Vec<_>>().join("\n"));
}
