//! What would change, who owns it, what is left over.

use kubernetes::write::{Apply, Force};
use serde_json::json;

use super::ground::{Ground, NAMESPACE, Scaled, deployment, manifest, plan};
use crate::apply::{KINDS, What, leftovers, preview};
use crate::diff::{changes, told};
use crate::manifest::Manifest;
use crate::run::{Plan, Removal};

const TWO: Scaled = Scaled::Fixed(2);

#[tokio::test(start_paused = true)]
async fn a_preview_names_every_field_that_changes_and_changes_none() {
    let ground = Ground::new();
    let port = ground.api.cluster();
    let all_new = preview(&port, &manifest(1, TWO), Force::Never).await.unwrap();
    assert_eq!(all_new[0].what, What::Created);
    assert!(all_new[1..].iter().all(|one| one.what == What::CreatedLater), "{all_new:?}");
    ground.roll(plan(1, manifest(1, TWO))).await;
    let same = preview(&port, &manifest(1, TWO), Force::Never).await.unwrap();
    assert!(same.iter().all(|one| one.what == What::Unchanged), "{same:?}");
    let mut second = manifest(1, TWO);
    deployment(&mut second)["spec"]["template"]["spec"]["containers"][0]["env"][0]["value"] = "2".into();
    let before = ground.deployment("web");
    let planned = preview(&port, &second, Force::Never).await.unwrap();
    let changed: Vec<_> = planned.iter().filter(|one| one.is_change()).collect();
    let What::Changed { fields } = &changed[0].what else { panic!("{changed:?}") };
    assert_eq!((changed.len(), fields.len()), (1, 1));
    assert_eq!(fields[0].field, ".spec.template.spec.containers[rtcd].env[VERSION].value");
    assert_eq!((fields[0].before.as_ref(), fields[0].after.as_ref()), (Some(&json!("1")), Some(&json!("2"))));
    assert_eq!(ground.deployment("web"), before);
}

#[tokio::test(start_paused = true)]
async fn who_owns_a_field_is_named_before_anything_is_changed() {
    let ground = Ground::new();
    let port = ground.api.cluster();
    ground.roll(plan(1, manifest(1, TWO))).await;
    let edit = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": "web", "namespace": NAMESPACE },
        "spec": { "replicas": 6 },
    });
    let how = Apply { manager: "somebody-else".to_owned(), force: Force::Take, ..Apply::default() };
    port.apply(&edit, &how).await.unwrap();
    let planned = preview(&port, &manifest(2, TWO), Force::Never).await.unwrap();
    let owned = planned.iter().find_map(|one| match &one.what {
        What::Owned { owners } => Some(owners.clone()),
        _ => None,
    });
    let owner = &owned.unwrap()[0];
    assert_eq!((owner.manager.as_str(), owner.field.as_str()), ("somebody-else", ".spec.replicas"));
    let rolled = ground.roll(plan(2, manifest(2, TWO))).await;
    assert_eq!(rolled.code(), "ROL032", "{:?}", rolled.book.causes());
    let mut forced = plan(2, manifest(2, TWO));
    forced.takes_fields = true;
    assert_eq!(ground.roll(forced).await.exit(), 0);
    assert_eq!(ground.deployment("web")["spec"]["replicas"], 2);
}

#[tokio::test(start_paused = true)]
async fn what_is_left_over_is_found_and_what_keeps_data_stays() {
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
    let mut smaller = manifest(1, TWO);
    smaller.items.retain(|item| !matches!(item.body["kind"].as_str(), Some("Namespace" | "Service")));
    let (found, unseen) = leftovers(&port, &smaller, "test").await.unwrap();
    let names: Vec<String> = found.iter().map(|one| format!("{} {}", one.id, one.is_kept)).collect();
    let wanted = ["Namespace/shop true", "Service/shop/web false", "HorizontalPodAutoscaler/shop/web false"];
    assert_eq!(names, wanted);
    assert!(unseen.is_empty());
    let removal = |one: &crate::apply::Leftover| Removal { id: one.id.clone(), uid: Some(one.uid.clone()) };
    let removes = found.iter().map(removal).collect();
    assert_eq!(ground.roll(Plan { removes, ..plan(2, smaller) }).await.exit(), 0);
    assert!(ground.api.object("Service", NAMESPACE, "web").is_none());
    assert!(ground.api.object("Namespace", "", NAMESPACE).is_some());
    assert!(ground.api.object("Deployment", NAMESPACE, "web").is_some());
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
