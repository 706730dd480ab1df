//! What would change, who owns it, what is left over.

use serde_json::json;

use super::ground::{Ground, Scaled, manifest, plan};
use crate::apply::{KINDS, leftovers};
use crate::diff::{changes, told};
use crate::manifest::Manifest;

#[tokio::test(start_paused = true)]
async fn leftovers_are_those_of_this_namespace_and_of_this_environment() {
    let ground = Ground::new();
    let port = ground.api.cluster();
    ground.roll(plan(1, manifest(1, Scaled::ByAutoscaler))).await;
    // Of our labels, and of somebody else's namespace.
    ground.api.namespace("other");
    ground.api.given(&json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "far", "namespace": "other", "labels": {
            "app.kubernetes.io/managed-by": "rtcctl", "rtc.io/environment": "test",
        } },
    }));
    let (found, _) = leftovers(&port, &manifest(1, Scaled::Fixed(2)), "test").await.unwrap();
    let names: Vec<String> = found.iter().map(|one| one.id.to_string()).collect();
    assert_eq!(names, ["HorizontalPodAutoscaler/shop/web"]);
    // Those of another environment are nobody's business here.
    assert!(leftovers(&port, &Manifest::default(), "other").await.unwrap().0.is_empty());
}

#[test]
fn every_kind_that_is_rendered_is_looked_for() {
    let mut missing = std::collections::BTreeSet::new();
    for (_, description) in manifests::examples::every().unwrap() {
        let release = manifests::Release::of(description).unwrap();
        for id in Manifest::of(&release).ids() {
            let known = KINDS.iter().any(|(version, kind)| {
                id.kind == *kind && version.split('/').next() == id.api_version.split('/').next()
            });
            if !known && id.kind != "Job" {
                missing.insert((id.api_version, id.kind));
            }
        }
    }
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn secrets_are_masked_and_that_they_change_is_said() {
    let secret = |value: &str| {
        json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "a", "resourceVersion": value },
            "data": { "password": value },
        })
    };
    let found = changes(&secret("b25l"), &secret("dHdv"));
    assert_eq!(found.len(), 1);
    assert_eq!(
        (told(found[0].before.as_ref()), told(found[0].after.as_ref())),
        ("***".to_owned(), "***".to_owned())
    );
    let env = |value: &str| json!({ "spec": { "containers": [{ "name": "c", "env": [{ "name": "DB_PASSWORD", "value": value }] }] } });
    let found = changes(&env("one"), &env("two"));
    assert_eq!(found[0].field, ".spec.containers[c].env[DB_PASSWORD].value");
    assert_eq!(told(found[0].after.as_ref()), "***");
    assert!(changes(&env("one"), &env("one")).is_empty());
}
