//! What is true of every API server, with or without nodes behind it.
//!
//! Each function works in a namespace of its own and deletes what it made. `RTC_TEST_KUBECONFIG` names a kubeconfig
//! (`RTC_TEST_CONTEXT` its context) whose cluster is asked the same; nothing is assumed of it but the right to make
//! namespaces.
//! What needs pods that run is not here: those are the scenarios of [`super::rollouts`].

use std::panic::{AssertUnwindSafe, resume_unwind};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use futures_util::FutureExt;
use rollout::objects::Kind;
use rollout::world::{Target, World};
use serde_json::json;

use super::{config_map, config_maps, deployment, deployments};
use crate::testing::Api;
use crate::testing::site::{Named, named};
use crate::write::{Apply, Change, Delete, Deleted, Effect, Force};
use crate::{Access, Cluster, Error, Gvk};

fn namespaces() -> Gvk {
    Gvk::named("v1", "Namespace")
}

/// A namespace for one function.
async fn enter(cluster: &Cluster) -> String {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, Ordering::SeqCst);
    let name = format!("rtc-suite-{}-{number}", std::process::id());
    let namespace = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name } });
    cluster.apply(&namespace, &Apply::default()).await.unwrap();
    name
}

async fn leave(cluster: &Cluster, namespace: &str) {
    cluster.delete(&namespaces(), "", namespace, &Delete::default()).await.unwrap();
}

async fn an_apply_makes_changes_and_repeats_nothing(cluster: Cluster, namespace: String) {
    let object = config_map(&namespace, "one", json!({ "a": "1", "b": "2" }));
    let first = cluster.apply(&object, &Apply::default()).await.unwrap();
    assert_eq!((first.change, first.before.is_none()), (Change::Created, true));
    let again = cluster.apply(&object, &Apply::default()).await.unwrap();
    assert_eq!(again.change, Change::Unchanged);
    assert_eq!(again.object["metadata"]["resourceVersion"], first.object["metadata"]["resourceVersion"]);
    let changed = config_map(&namespace, "one", json!({ "a": "3", "b": "2" }));
    let third = cluster.apply(&changed, &Apply::default()).await.unwrap();
    assert_eq!((third.change, third.object["data"]["a"].as_str()), (Change::Changed, Some("3")));
    assert_eq!(third.before.unwrap()["data"]["a"], "1");
}

async fn a_field_that_is_applied_no_more_goes(cluster: Cluster, namespace: String) {
    let whole = config_map(&namespace, "one", json!({ "a": "1", "b": "2" }));
    cluster.apply(&whole, &Apply::default()).await.unwrap();
    let less = config_map(&namespace, "one", json!({ "a": "1" }));
    let applied = cluster.apply(&less, &Apply::default()).await.unwrap();
    assert_eq!(applied.object["data"], json!({ "a": "1" }));
}

async fn a_field_of_somebody_else_stays_and_is_not_taken_unasked(cluster: Cluster, namespace: String) {
    let ours = config_map(&namespace, "one", json!({ "a": "1" }));
    cluster.apply(&ours, &Apply::default()).await.unwrap();
    let other = Apply { manager: "other".to_owned(), ..Apply::default() };
    let theirs = config_map(&namespace, "one", json!({ "b": "2" }));
    cluster.apply(&theirs, &other).await.unwrap();
    let applied = cluster.apply(&ours, &Apply::default()).await.unwrap();
    assert_eq!(applied.object["data"], json!({ "a": "1", "b": "2" }));

    let grab = config_map(&namespace, "one", json!({ "a": "1", "b": "3" }));
    let error = cluster.apply(&grab, &Apply::default()).await.unwrap_err();
    let Error::Owned { fields, .. } = &error else { panic!("{error:?}") };
    assert_eq!((fields[0].manager.as_str(), fields[0].field.as_str()), ("other", ".data.b"));
    let taken = cluster.apply(&grab, &Apply::default().forced()).await.unwrap();
    assert_eq!(taken.object["data"]["b"], "3");
    // From now on it is ours: leaving it out takes it away.
    let applied = cluster.apply(&ours, &Apply::default()).await.unwrap();
    assert_eq!(applied.object["data"], json!({ "a": "1" }));
}

async fn a_dry_run_says_what_would_be_and_keeps_nothing(cluster: Cluster, namespace: String) {
    let object = config_map(&namespace, "one", json!({ "a": "1" }));
    let dry = cluster.apply(&object, &Apply::dry_run()).await.unwrap();
    assert_eq!(dry.change, Change::Created);
    assert_eq!(cluster.get(&config_maps(), &namespace, "one").await.unwrap(), None);
    cluster.apply(&object, &Apply::default()).await.unwrap();
    let changed = config_map(&namespace, "one", json!({ "a": "2" }));
    let dry = cluster.apply(&changed, &Apply::dry_run()).await.unwrap();
    assert_eq!((dry.change, dry.object["data"]["a"].as_str()), (Change::Changed, Some("2")));
    let kept = cluster.get(&config_maps(), &namespace, "one").await.unwrap().unwrap();
    assert_eq!(kept["data"]["a"], "1");
}

async fn items_of_a_list_have_owners_of_their_own(cluster: Cluster, namespace: String) {
    // No pod is wanted: nodes are not needed.
    let ours = deployment(&namespace, "web", "example.com/web:1", 0);
    cluster.apply(&ours, &Apply::default()).await.unwrap();
    let theirs = json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": { "name": "web", "namespace": namespace },
        "spec": { "template": { "spec": { "containers": [
            { "name": "web", "env": [{ "name": "TRACE", "value": "1" }] },
        ]}}},
    });
    let other = Apply { manager: "other".to_owned(), ..Apply::default() };
    cluster.apply(&theirs, &other).await.unwrap();
    let mut less = ours.clone();
    less["spec"]["template"]["spec"]["containers"][0].as_object_mut().unwrap().remove("env");
    let applied = cluster.apply(&less, &Apply::default()).await.unwrap();
    let env = &applied.object["spec"]["template"]["spec"]["containers"][0]["env"];
    assert_eq!(env, &json!([{ "name": "TRACE", "value": "1" }]));
}

async fn a_number_of_replicas_that_is_left_out_is_the_scalers(cluster: Cluster, namespace: String) {
    let mut object = deployment(&namespace, "web", "example.com/web:1", 0);
    object["spec"]["paused"] = true.into();
    cluster.apply(&object, &Apply::default()).await.unwrap();
    object["spec"].as_object_mut().unwrap().remove("replicas");
    // Left out at once it would be the default again, so somebody else has to own it before.
    let other = Apply { manager: "scaler".to_owned(), force: Force::Take, ..Apply::default() };
    let number = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": "web", "namespace": namespace },
        "spec": { "replicas": 3 },
    });
    cluster.apply(&number, &other).await.unwrap();
    cluster.apply(&object, &Apply::default()).await.unwrap();
    assert_eq!(cluster.replicas(&deployments(), &namespace, "web").await.unwrap(), 3);
    // And whoever scales is not in the way of those who say nothing.
    let scaled = cluster.scale(&deployments(), &namespace, "web", 4, Effect::Real).await.unwrap();
    assert_eq!(scaled, 4);
    cluster.apply(&object, &Apply::default()).await.unwrap();
    assert_eq!(cluster.replicas(&deployments(), &namespace, "web").await.unwrap(), 4);
}

async fn who_scales_owns_the_number(cluster: Cluster, namespace: String) {
    let mut object = deployment(&namespace, "web", "example.com/web:1", 0);
    object["spec"]["paused"] = true.into();
    cluster.apply(&object, &Apply::default()).await.unwrap();
    cluster.scale(&deployments(), &namespace, "web", 3, Effect::Real).await.unwrap();
    object["spec"].as_object_mut().unwrap().remove("replicas");
    cluster.apply(&object, &Apply::default()).await.unwrap();
    let left = cluster.replicas(&deployments(), &namespace, "web").await.unwrap();
    let version = cluster.version().await.unwrap();
    let minor: u32 = version.split('.').nth(1).unwrap().parse().unwrap();
    // Servers before 1.22 do not note who scaled: the number was ours, and is the default when we leave it out.
    assert_eq!(left, if minor < 22 { 1 } else { 3 }, "{version}");
}

async fn a_watch_tells_what_becomes_of_an_object(cluster: Cluster, namespace: String) {
    let object = deployment(&namespace, "web", "example.com/web:1", 0);
    cluster.apply(&object, &Apply::default()).await.unwrap();
    let target = Target::new(Kind::Deployment, &namespace, "web");
    let mut world = World::new([target.clone()]);
    let mut feed = cluster.watch(std::slice::from_ref(&target));
    let mut now = kernel::Timestamp::from_millis(1);
    let mut until = async |is_so: &dyn Fn(&World) -> bool| {
        let told = async {
            while !is_so(&world) {
                feed.next().await.unwrap().tell(&mut world, now);
                now = now.plus(Duration::from_millis(1));
            }
        };
        tokio::time::timeout(Duration::from_secs(20), told).await.expect("it is told");
    };
    until(&|world| world.is_listed(&target)).await;
    let generation = |world: &World| {
        let found = world.objects().find(|object| object.kind() == Kind::Deployment);
        found.map(|object| object.meta().generation)
    };
    let mut changed = object.clone();
    changed["spec"]["minReadySeconds"] = 5.into();
    let applied = cluster.apply(&changed, &Apply::default()).await.unwrap();
    let wanted = applied.object["metadata"]["generation"].as_i64();
    until(&|world| generation(world) == wanted).await;
    cluster.delete(&deployments(), &namespace, "web", &Delete::default()).await.unwrap();
    until(&|world| generation(world).is_none()).await;
}

async fn what_is_deleted_is_what_was_meant(cluster: Cluster, namespace: String) {
    let object = config_map(&namespace, "one", json!({ "a": "1" }));
    let applied = cluster.apply(&object, &Apply::default()).await.unwrap();
    let uid = applied.object["metadata"]["uid"].as_str().unwrap();
    let other = Delete { uid: Some("00000000-0000-4000-8000-0000ffffffff".into()), ..Delete::default() };
    let error = cluster.delete(&config_maps(), &namespace, "one", &other).await.unwrap_err();
    assert!(matches!(error, Error::Changed { .. }), "{error:?}");
    let dry = Delete { uid: Some(uid.into()), effect: Effect::DryRun, ..Delete::default() };
    cluster.delete(&config_maps(), &namespace, "one", &dry).await.unwrap();
    assert!(cluster.get(&config_maps(), &namespace, "one").await.unwrap().is_some());
    let right = Delete { uid: Some(uid.into()), ..Delete::default() };
    let deleted = cluster.delete(&config_maps(), &namespace, "one", &right).await.unwrap();
    assert_eq!(deleted, Deleted::Gone);
    let deleted = cluster.delete(&config_maps(), &namespace, "one", &right).await.unwrap();
    assert_eq!(deleted, Deleted::NotThere);
}

async fn a_list_is_whole_and_says_what_its_items_are(cluster: Cluster, namespace: String) {
    for number in 0..7 {
        let mut object = config_map(&namespace, &format!("m{number}"), json!({}));
        object["metadata"]["labels"]["parity"] = if number % 2 == 0 { "even" } else { "odd" }.into();
        cluster.apply(&object, &Apply::default()).await.unwrap();
    }
    let odd = cluster.list(&config_maps(), &namespace, Some("app=suite,parity=odd")).await.unwrap();
    let names: Vec<&str> = odd.iter().map(|one| one["metadata"]["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["m1", "m3", "m5"]);
    assert!(odd.iter().all(|one| one["kind"] == "ConfigMap" && one["apiVersion"] == "v1"));
    let others = cluster.list(&config_maps(), &namespace, Some("app,parity notin (odd)")).await.unwrap();
    assert_eq!(others.len(), 4);
    let one = cluster.list_by_field(&config_maps(), &namespace, "metadata.name=m4").await.unwrap();
    assert_eq!(one.len(), 1);
}

async fn what_may_not_change_is_refused_with_its_field(cluster: Cluster, namespace: String) {
    let object = deployment(&namespace, "web", "example.com/web:1", 0);
    let first = cluster.apply(&object, &Apply::default()).await.unwrap();
    assert_eq!(first.object["metadata"]["generation"], 1);
    let mut other = object.clone();
    other["spec"]["selector"]["matchLabels"]["more"] = "yes".into();
    other["spec"]["template"]["metadata"]["labels"]["more"] = "yes".into();
    let error = cluster.apply(&other, &Apply::default()).await.unwrap_err();
    let Error::Invalid { causes, .. } = &error else { panic!("{error:?}") };
    assert_eq!(causes[0].field, "spec.selector");
    let mut changed = object.clone();
    changed["spec"]["minReadySeconds"] = 5.into();
    let second = cluster.apply(&changed, &Apply::default()).await.unwrap();
    assert_eq!(second.object["metadata"]["generation"], 2);
    let mut labelled = changed.clone();
    labelled["metadata"]["labels"]["more"] = "yes".into();
    let third = cluster.apply(&labelled, &Apply::default()).await.unwrap();
    assert_eq!(third.object["metadata"]["generation"], 2);
}

async fn a_field_that_no_kind_has_is_refused_with_its_name(cluster: Cluster, namespace: String) {
    let mut object = deployment(&namespace, "web", "example.com/web:1", 0);
    object["spec"]["template"]["spec"]["containers"][0]["imagine"] = "x".into();
    let error = cluster.apply(&object, &Apply::default()).await.unwrap_err();
    let Error::Invalid { causes, .. } = &error else { panic!("{error:?}") };
    assert!(causes[0].field.starts_with("spec.template.spec.containers[name=\"web\"]"), "{causes:?}");
    assert!(causes[0].field.ends_with(".imagine"), "{causes:?}");
    let mut object = deployment(&namespace, "web", "example.com/web:1", 0);
    object["spec"]["replicas"] = "three".into();
    let error = cluster.apply(&object, &Apply::default()).await.unwrap_err();
    assert!(matches!(error, Error::Invalid { .. }), "{error:?}");
    assert_eq!(cluster.get(&deployments(), &namespace, "web").await.unwrap(), None);
}

async fn a_merge_patch_changes_what_it_says(cluster: Cluster, namespace: String) {
    let object = config_map(&namespace, "one", json!({ "a": "1", "b": "2" }));
    cluster.apply(&object, &Apply::default()).await.unwrap();
    let patch = json!({ "data": { "a": null, "c": "3" } });
    let patched = cluster.merge_patch(&config_maps(), &namespace, "one", &patch, Effect::Real).await.unwrap();
    assert_eq!(patched["data"], json!({ "b": "2", "c": "3" }));
    let missing = cluster.merge_patch(&config_maps(), &namespace, "two", &patch, Effect::Real).await;
    assert!(missing.unwrap_err().is_not_found());
}

async fn what_is_not_there_is_said_to_be_so(cluster: Cluster, namespace: String) {
    assert_eq!(cluster.get(&config_maps(), &namespace, "none").await.unwrap(), None);
    let nowhere = config_map("rtc-suite-nowhere", "one", json!({}));
    let error = cluster.apply(&nowhere, &Apply::default()).await.unwrap_err();
    assert!(error.is_not_found(), "{error:?}");
    let unknown = Gvk::new("rtc.invalid", "v1", "Nothing");
    let error = cluster.list(&unknown, &namespace, None).await.unwrap_err();
    assert!(matches!(error, Error::UnknownKind { .. }), "{error:?}");
    assert!(cluster.may("list", &config_maps(), &namespace).await.unwrap());
    assert!(cluster.version().await.unwrap().starts_with('v'));
}

macro_rules! suite {
    ($($name:ident)*) => {$(
        mod $name {
            #[tokio::test]
            async fn here() {
                let api = super::Api::new();
                let cluster = api.cluster();
                let namespace = super::enter(&cluster).await;
                super::$name(cluster.clone(), namespace.clone()).await;
                super::leave(&cluster, &namespace).await;
                api.settle(5);
                assert!(api.object("Namespace", "", &namespace).is_none(), "the namespace is left");
            }

            #[tokio::test]
            async fn over_http_and_at_the_cluster_that_is_named() {
                super::elsewhere(|cluster, namespace| super::$name(cluster, namespace)).await;
            }
        }
    )*};
}

suite! {
    an_apply_makes_changes_and_repeats_nothing
    a_field_that_is_applied_no_more_goes
    a_field_of_somebody_else_stays_and_is_not_taken_unasked
    a_dry_run_says_what_would_be_and_keeps_nothing
    items_of_a_list_have_owners_of_their_own
    a_number_of_replicas_that_is_left_out_is_the_scalers
    who_scales_owns_the_number
    a_watch_tells_what_becomes_of_an_object
    what_is_deleted_is_what_was_meant
    a_list_is_whole_and_says_what_its_items_are
    what_may_not_change_is_refused_with_its_field
    a_field_that_no_kind_has_is_refused_with_its_name
    a_merge_patch_changes_what_it_says
    what_is_not_there_is_said_to_be_so
}

/// Over HTTP and a kubeconfig: of the server of the test, or of the one that is named.
async fn elsewhere<F: Future<Output = ()>>(scenario: impl Fn(Cluster, String) -> F) {
    let folder = std::env::temp_dir().join(format!("rtc-kubernetes-{}", std::process::id()));
    let named = match named() {
        Some(named) => named,
        None => {
            std::fs::create_dir_all(&folder).unwrap();
            let address = Api::new().serve().await.unwrap();
            let kubeconfig = folder.join(address.port().to_string());
            Api::write_kubeconfig(&kubeconfig, address, "tester").unwrap();
            Named { kubeconfig, context: None }
        }
    };
    let access = Access::Kubeconfig { path: Some(named.kubeconfig), context: named.context };
    let cluster = Cluster::connect(access).await.unwrap();
    let namespace = enter(&cluster).await;
    let ended = AssertUnwindSafe(scenario(cluster.clone(), namespace.clone())).catch_unwind().await;
    leave(&cluster, &namespace).await;
    let _ = std::fs::remove_dir_all(&folder);
    if let Err(panic) = ended {
        resume_unwind(panic);
    }
}
