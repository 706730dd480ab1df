//! The server of the tests itself: controllers beside Deployments, logs, and what goes when its owner goes.

use futures_util::StreamExt;
use serde_json::json;

use super::{deployment, deployments};
use crate::read::{Life, LogEnd, LogRequest};
use crate::testing::Api;
use crate::testing::behaviour::Behaviour;
use crate::write::{Apply, Delete, Deleted, Owned};
use crate::{Error, Gvk};

fn request(pod: &str) -> LogRequest {
    LogRequest { namespace: "default".to_owned(), pod: pod.to_owned(), ..LogRequest::default() }
}

fn api() -> Api {
    let api = Api::new();
    api.node("n1", 100, 4, 8);
    api.node("n2", 100, 4, 8);
    api
}

fn only_pod(api: &Api) -> String {
    let pods = api.objects("Pod", "default");
    assert_eq!(pods.len(), 1);
    pods[0]["metadata"]["name"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_stateful_set_goes_from_the_highest_down() {
    let api = api();
    let set = |image: &str| {
        let mut set = deployment("default", "db", image, 3);
        set["kind"] = "StatefulSet".into();
        set["spec"].as_object_mut().unwrap().remove("strategy");
        set["spec"]["serviceName"] = "db".into();
        set
    };
    api.cluster().apply(&set("db:1"), &Apply::default()).await.unwrap();
    assert!(api.settle(60) < 60);
    let names: Vec<String> = api
        .objects("Pod", "default")
        .iter()
        .map(|pod| pod["metadata"]["name"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(names, ["db-0", "db-1", "db-2"]);
    api.cluster().apply(&set("db:2"), &Apply::default()).await.unwrap();
    api.turn();
    let leaving: Vec<bool> = api
        .objects("Pod", "default")
        .iter()
        .map(|pod| !pod["metadata"]["deletionTimestamp"].is_null())
        .collect();
    assert_eq!(leaving, [false, false, true]);
    assert!(api.settle(90) < 90);
    let status = api.object("StatefulSet", "default", "db").unwrap()["status"].clone();
    assert_eq!(status["currentRevision"], status["updateRevision"]);
    assert_eq!(status["updatedReplicas"], 3);
}

#[tokio::test]
async fn a_daemon_set_has_a_pod_on_every_node() {
    let api = api();
    let mut set = deployment("default", "agent", "agent:1", 1);
    set["kind"] = "DaemonSet".into();
    for field in ["replicas", "strategy"] {
        set["spec"].as_object_mut().unwrap().remove(field);
    }
    api.cluster().apply(&set, &Apply::default()).await.unwrap();
    assert!(api.settle(60) < 60);
    let status = api.object("DaemonSet", "default", "agent").unwrap()["status"].clone();
    assert_eq!(
        (status["desiredNumberScheduled"].as_u64(), status["numberAvailable"].as_u64()),
        (Some(2), Some(2))
    );
}

fn job(image: &str) -> serde_json::Value {
    json!({
        "apiVersion": "batch/v1", "kind": "Job", "metadata": { "name": "migrate", "namespace": "default" },
        "spec": { "backoffLimit": 1, "template": { "spec": {
            "restartPolicy": "Never", "containers": [{ "name": "migrate", "image": image }],
        }}},
    })
}

#[tokio::test]
async fn a_job_ends_well_or_after_as_many_attempts_as_it_has() {
    let api = api();
    api.behave("migrate:2", Behaviour::Crash { exit_code: 3, log: vec!["no such column".to_owned()] });
    api.cluster().apply(&job("migrate:1"), &Apply::default()).await.unwrap();
    assert!(api.settle(60) < 60);
    assert_eq!(
        api.object("Job", "default", "migrate").unwrap()["status"]["conditions"][0]["type"],
        "Complete"
    );
    let batch = Gvk::named("batch/v1", "Job");
    api.cluster().delete(&batch, "default", "migrate", &Delete::default()).await.unwrap();
    api.settle(10);
    assert!(api.objects("Pod", "default").is_empty());
    api.cluster().apply(&job("migrate:2"), &Apply::default()).await.unwrap();
    assert!(api.settle(60) < 60);
    let status = api.object("Job", "default", "migrate").unwrap()["status"].clone();
    assert_eq!(
        (status["conditions"][0]["type"].as_str(), status["failed"].as_u64()),
        (Some("Failed"), Some(2))
    );
}

#[tokio::test]
async fn a_log_has_a_life_before_the_last_restart() {
    let api = api();
    let cluster = api.cluster();
    api.behave("web", Behaviour::Crash { exit_code: 1, log: vec!["one".to_owned(), "two".to_owned()] });
    cluster.apply(&deployment("default", "web", "web:1", 1), &Apply::default()).await.unwrap();
    api.turn();
    let pod = only_pod(&api);
    let Err(error) = cluster.logs(&request(&pod)).await else { panic!("it has not started") };
    assert!(
        matches!(&error, Error::Refused { status: 400, message, .. } if message.contains("waiting to start")),
        "{error:?}"
    );
    (0..6).for_each(|_| api.turn());
    let previous = LogRequest { life: Life::Previous, tail: Some(1), ..request(&pod) };
    let lines: Vec<String> = cluster.logs(&previous).await.unwrap().map(Result::unwrap).collect().await;
    assert_eq!(lines, ["two"]);
}

#[tokio::test]
async fn a_log_that_is_followed_goes_on_until_its_container_ends() {
    let api = api();
    let cluster = api.cluster();
    cluster.apply(&deployment("default", "web", "web:1", 1), &Apply::default()).await.unwrap();
    api.settle(20);
    let pod = only_pod(&api);
    let mut lines = cluster.logs(&LogRequest { end: LogEnd::Follow, ..request(&pod) }).await.unwrap();
    assert_eq!(lines.next().await.unwrap().unwrap(), "web is starting");
    api.say("default", &pod, "web", "ready");
    assert_eq!(lines.next().await.unwrap().unwrap(), "ready");
    api.remove("Pod", "default", &pod);
    assert!(lines.next().await.is_none());
}

#[tokio::test]
async fn what_an_object_owns_goes_before_after_or_not_at_all() {
    for (owned, left) in [(Owned::Background, 0), (Owned::Foreground, 0), (Owned::Orphan, 1)] {
        let api = api();
        let cluster = api.cluster();
        cluster.apply(&deployment("default", "web", "web:1", 1), &Apply::default()).await.unwrap();
        api.settle(20);
        let how = Delete { owned, ..Delete::default() };
        let deleted = cluster.delete(&deployments(), "default", "web", &how).await.unwrap();
        assert_eq!(matches!(deleted, Deleted::UnderWay(_)), owned == Owned::Foreground);
        api.settle(20);
        assert_eq!(api.objects("ReplicaSet", "default").len(), left, "{owned:?}");
        assert!(api.object("Deployment", "default", "web").is_none());
    }
}

#[tokio::test]
async fn an_autoscaler_keeps_its_number_within_its_limits_and_owns_it() {
    let api = api();
    let cluster = api.cluster();
    let mut object = deployment("default", "web", "web:1", 1);
    object["spec"].as_object_mut().unwrap().remove("replicas");
    cluster.apply(&object, &Apply::default()).await.unwrap();
    let scaler = json!({
        "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler",
        "metadata": { "name": "web", "namespace": "default" },
        "spec": {
            "minReplicas": 2, "maxReplicas": 5,
            "scaleTargetRef": { "apiVersion": "apps/v1", "kind": "Deployment", "name": "web" },
        },
    });
    cluster.apply(&scaler, &Apply::default()).await.unwrap();
    api.settle(30);
    api.autoscale("default", "web", 4);
    api.settle(30);
    let again = cluster.apply(&object, &Apply::default()).await.unwrap();
    assert_eq!(again.object["spec"]["replicas"], 4);
    let mut ours = object.clone();
    ours["spec"]["replicas"] = 2.into();
    let error = cluster.apply(&ours, &Apply::default()).await.unwrap_err();
    let Error::Owned { fields, .. } = error else { panic!("{error:?}") };
    assert_eq!(fields[0].field, ".spec.replicas");
}

#[tokio::test]
async fn a_paused_deployment_makes_no_new_pods() {
    let api = api();
    let cluster = api.cluster();
    cluster.apply(&deployment("default", "web", "web:1", 1), &Apply::default()).await.unwrap();
    api.settle(20);
    let mut paused = deployment("default", "web", "web:2", 1);
    paused["spec"]["paused"] = true.into();
    cluster.apply(&paused, &Apply::default()).await.unwrap();
    api.settle(20);
    assert_eq!(api.objects("ReplicaSet", "default").len(), 1);
    paused["spec"]["paused"] = false.into();
    cluster.apply(&paused, &Apply::default()).await.unwrap();
    api.settle(20);
    assert_eq!(api.objects("Pod", "default")[0]["spec"]["containers"][0]["image"], "web:2");
}
