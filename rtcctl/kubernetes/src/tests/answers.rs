//! What a real server answered, word for word, and the server of the tests beside it.
//!
//! `data/answers.json` was recorded from a real one (its first entry says which). The server of the tests has to give the
//! same answers but for what [`LEFT_OUT`] names. With `RTC_TEST_KUBECONFIG` the one that is named is compared by what this
//! tool rests on, which no version changed; with `RTC_TEST_RECORD` it is recorded into the file of that name.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use http::{Method, Request};
use http_body_util::BodyExt;
use kube::client::Body;
use serde_json::{Map, Value as Json, json};

use crate::Access;
use crate::testing::Api;
use crate::testing::site::named;

/// Where the server of the tests is another one, and why.
const LEFT_OUT: [(&str, &str); 5] = [
    ("a Job.body.metadata.generation", "one of 1.20 counts none for jobs, later ones do"),
    ("f:spec.f:selector.f:", "the selector of a Service is one field in later ones"),
    ("f:spec.f:scaleTargetRef.f:", "what is scaled is one field in later ones"),
    ("k:{\"name\":\"tmp\"}.f:emptyDir", "one of 1.20 notes no owner for what is empty, later ones do"),
    ("what one may.body.metadata", "a question has owners of fields, which nobody reads"),
];

/// One request.
struct Asked {
    name: &'static str,
    method: Method,
    path: String,
    content_type: &'static str,
    body: Json,
}

const APPLY: &str = "application/apply-patch+yaml";
const MERGE: &str = "application/merge-patch+json";
const PLAIN: &str = "application/json";

fn asked(name: &'static str, method: Method, path: String, content_type: &'static str, body: Json) -> Asked {
    Asked { name, method, path, content_type, body }
}

/// The requests, in their order.
#[expect(clippy::too_many_lines, reason = "a table")]
fn script(ns: &str) -> Vec<Asked> {
    let core = |rest: &str| format!("/api/v1/namespaces/{ns}/{rest}");
    let apps = |rest: &str| format!("/apis/apps/v1/namespaces/{ns}/{rest}");
    let applied = |name, path: String, query: &str, body: Json| {
        asked(name, Method::PATCH, format!("{path}?{query}"), APPLY, body)
    };
    let ours = "fieldManager=rtcctl";
    let theirs = "fieldManager=other";
    let map = |name: &str, data: Json| {
        json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": { "name": name, "namespace": ns, "labels": { "app": "suite" } }, "data": data,
        })
    };
    let one = || core("configmaps/one");
    let get = |name, path: String| asked(name, Method::GET, path, PLAIN, Json::Null);
    let web = |image: &str| super::deployment(ns, "web", image, 0);
    let mut other_selector = web("example.com/web:1");
    other_selector["spec"]["selector"]["matchLabels"]["more"] = "yes".into();
    other_selector["spec"]["template"]["metadata"]["labels"]["more"] = "yes".into();
    let mut unlike = web("example.com/web:1");
    unlike["spec"]["template"]["metadata"]["labels"] = json!({ "app": "else" });
    let mut nameless = web("example.com/web:1");
    nameless["spec"]["template"]["spec"]["containers"][0].as_object_mut().unwrap().remove("image");
    let mut two = web("example.com/web:1");
    two["spec"]["minReadySeconds"] = 3.into();
    two["spec"]["template"]["spec"]["containers"].as_array_mut().unwrap().push(json!({
        "name": "side", "image": "example.com/side", "args": ["a", "b"],
        "volumeMounts": [{ "name": "tmp", "mountPath": "/tmp" }],
        "resources": { "requests": { "cpu": "0.5", "memory": "1024Mi" } },
        "readinessProbe": { "httpGet": { "path": "/ready", "port": 8081 } },
    }));
    two["spec"]["template"]["spec"]["volumes"] = json!([{ "name": "tmp", "emptyDir": {} }]);
    let theirs_of_web = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": "web", "namespace": ns },
        "spec": { "minReadySeconds": 9, "template": { "spec": { "containers": [
            { "name": "side", "env": [{ "name": "TRACE", "value": "1" }] },
        ] } } },
    });
    let service = |ports: Json| {
        json!({
            "apiVersion": "v1", "kind": "Service", "metadata": { "name": "web", "namespace": ns },
            "spec": { "clusterIP": "None", "selector": { "app": "web" }, "ports": ports },
        })
    };
    let job = |image: &str| {
        json!({
            "apiVersion": "batch/v1", "kind": "Job", "metadata": { "name": "migrate", "namespace": ns },
            "spec": { "parallelism": 0, "backoffLimit": 1, "template": { "spec": {
                "restartPolicy": "Never", "containers": [{ "name": "migrate", "image": image }],
            } } },
        })
    };
    let jobs = || format!("/apis/batch/v1/namespaces/{ns}/jobs/migrate");
    let scaler = json!({
        "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler",
        "metadata": { "name": "web", "namespace": ns },
        "spec": {
            "minReplicas": 1, "maxReplicas": 10,
            "scaleTargetRef": { "apiVersion": "apps/v1", "kind": "Deployment", "name": "web" },
            "metrics": [{ "type": "Resource", "resource": {
                "name": "cpu", "target": { "type": "Utilization", "averageUtilization": 15 },
            } }],
        },
    });
    let budget = json!({
        "apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": { "name": "web", "namespace": ns },
        "spec": { "maxUnavailable": 1, "selector": { "matchLabels": { "app": "web" } } },
    });
    let review = json!({
        "apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview",
        "spec": { "resourceAttributes": { "verb": "list", "resource": "pods", "namespace": ns } },
    });
    let delete = |name, path: String, options: Json| asked(name, Method::DELETE, path, PLAIN, options);
    let nowhere = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "one", "namespace": "rtc-suite-nowhere" },
    });
    let mut managed = map("one", json!({}));
    managed["metadata"]["managedFields"] = json!([{ "manager": "x" }]);
    let mut stale = map("one", json!({ "a": "9" }));
    stale["metadata"]["resourceVersion"] = "1".into();
    vec![
        get("what is not there", one()),
        applied(
            "an apply in a dry run",
            one(),
            "fieldManager=rtcctl&dryRun=All",
            map("one", json!({ "a": "1" })),
        ),
        applied("an apply that makes", one(), ours, map("one", json!({ "a": "1", "b": "2" }))),
        applied("the same again", one(), ours, map("one", json!({ "a": "1", "b": "2" }))),
        applied("an apply by another", one(), theirs, map("one", json!({ "c": "3" }))),
        applied(
            "a field that is another's",
            one(),
            ours,
            map("one", json!({ "a": "1", "b": "2", "c": "4" })),
        ),
        applied(
            "it taken",
            one(),
            "fieldManager=rtcctl&force=true",
            map("one", json!({ "a": "1", "c": "4" })),
        ),
        asked(
            "a patch",
            Method::PATCH,
            format!("{}?fieldManager=rtcctl", one()),
            MERGE,
            json!({ "data": { "a": null, "d": "5" } }),
        ),
        asked("a place that is stale", Method::PUT, format!("{}?fieldManager=rtcctl", one()), PLAIN, stale),
        asked(
            "what is there already",
            Method::POST,
            format!("{}?fieldManager=rtcctl", core("configmaps")),
            PLAIN,
            map("one", json!({})),
        ),
        applied("an apply by nobody", one(), "force=true", map("one", json!({}))),
        applied("an apply with owners", one(), ours, managed),
        applied("another name", one(), ours, map("two", json!({}))),
        asked(
            "another kind of patch",
            Method::PATCH,
            format!("{}?fieldManager=rtcctl", one()),
            "application/nothing+json",
            json!({}),
        ),
        asked(
            "a name that is none",
            Method::POST,
            format!("{}?fieldManager=rtcctl", core("configmaps")),
            PLAIN,
            map("No_Name", json!({})),
        ),
        asked(
            "no namespace of that name",
            Method::PATCH,
            "/api/v1/namespaces/rtc-suite-nowhere/configmaps/one?fieldManager=rtcctl".to_owned(),
            APPLY,
            nowhere,
        ),
        applied("a second one", core("configmaps/two"), ours, map("two", json!({ "x": "1" }))),
        get("a page", core("configmaps?labelSelector=app%3Dsuite&limit=1")),
        delete(
            "another object of the name",
            one(),
            json!({ "kind": "DeleteOptions", "apiVersion": "v1", "preconditions": { "uid": "00000000-0000-4000-8000-0000ffffffff" } }),
        ),
        delete(
            "a deletion in a dry run",
            one(),
            json!({ "kind": "DeleteOptions", "apiVersion": "v1", "dryRun": ["All"] }),
        ),
        delete(
            "a deletion",
            one(),
            json!({ "kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": "Background" }),
        ),
        delete("a deletion of nothing", one(), json!({ "kind": "DeleteOptions", "apiVersion": "v1" })),
        applied("a Deployment", apps("deployments/web"), ours, web("example.com/web:1")),
        applied("another image", apps("deployments/web"), ours, web("example.com/web:2")),
        applied("another selector", apps("deployments/web"), ours, other_selector),
        applied("a template of other labels", apps("deployments/web"), ours, unlike),
        applied("a container without an image", apps("deployments/new"), ours, {
            nameless["metadata"]["name"] = "new".into();
            nameless
        }),
        applied("two containers", apps("deployments/web"), ours, two.clone()),
        applied("two fields of another", apps("deployments/web"), theirs, theirs_of_web.clone()),
        applied("two fields taken", apps("deployments/web"), "fieldManager=other&force=true", theirs_of_web),
        applied(
            "back to one container",
            apps("deployments/web"),
            "fieldManager=rtcctl&force=true",
            web("example.com/web:2"),
        ),
        get("its scale", apps("deployments/web/scale")),
        delete(
            "a deletion that waits",
            apps("deployments/web"),
            json!({ "kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": "Foreground", "dryRun": ["All"] }),
        ),
        applied(
            "a Service",
            core("services/web"),
            ours,
            service(
                json!([{ "name": "http", "port": 80, "protocol": "TCP" }, { "name": "admin", "port": 81, "protocol": "TCP", "targetPort": 9000 }]),
            ),
        ),
        applied(
            "a port less",
            core("services/web"),
            ours,
            service(json!([{ "name": "admin", "port": 81, "protocol": "TCP", "targetPort": 9000 }])),
        ),
        applied("a Job", jobs(), ours, job("example.com/web:1")),
        applied("another template of a Job", jobs(), ours, job("example.com/web:2")),
        applied(
            "an autoscaler",
            format!("/apis/autoscaling/v2/namespaces/{ns}/horizontalpodautoscalers/web"),
            ours,
            scaler,
        ),
        applied(
            "a budget",
            format!("/apis/policy/v1/namespaces/{ns}/poddisruptionbudgets/web"),
            ours,
            budget,
        ),
        asked(
            "what one may",
            Method::POST,
            "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews".to_owned(),
            PLAIN,
            review,
        ),
        get("a group that is unknown", format!("/apis/rtc.invalid/v1/namespaces/{ns}/nothings")),
        get("a resource that is unknown", core("nothings")),
    ]
}

/// Status and document of an answer.
async fn ask(client: &kube::Client, asked: &Asked) -> (u16, Json) {
    let mut request = Request::builder().method(asked.method.clone()).uri(&asked.path);
    request = request.header("accept", "application/json").header("user-agent", "rtcctl");
    let body = if asked.body.is_null() {
        Body::empty()
    } else {
        request = request.header("content-type", asked.content_type);
        Body::from(asked.body.to_string().into_bytes())
    };
    let answer = client.send(request.body(body).unwrap()).await.unwrap();
    let status = answer.status().as_u16();
    let bytes = answer.into_body().collect().await.unwrap().to_bytes();
    let document = serde_json::from_slice(&bytes)
        .unwrap_or_else(|_| String::from_utf8_lossy(&bytes).trim().to_owned().into());
    (status, document)
}

/// Where the first uid in a text begins.
fn uid_at(text: &str) -> Option<usize> {
    text.as_bytes().windows(36).position(|window| {
        window.iter().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => *byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
    })
}

/// Without what is another one each time, and without what controllers write meanwhile.
fn plain(value: &mut Json, ns: &str) {
    match value {
        Json::Object(map) => {
            if map.contains_key("apiVersion")
                && map.get("kind").is_some_and(|kind| kind != "Status" && kind != "Scale")
            {
                map.remove("status");
            }
            if let Some(Json::Object(annotations)) = map.get_mut("annotations") {
                annotations.remove("deployment.kubernetes.io/revision");
                if annotations.is_empty() {
                    map.remove("annotations");
                }
            }
            if let Some(Json::Array(entries)) = map.get_mut("managedFields") {
                entries.retain(|entry| entry["manager"] != "kube-controller-manager");
            }
            for (name, value) in map.iter_mut() {
                match name.as_str() {
                    "uid" | "creationTimestamp" | "deletionTimestamp" | "time" | "resourceVersion"
                    | "continue"
                        if value.is_string() && value != "" =>
                    {
                        *value = format!("<{name}>").into();
                    }
                    _ => plain(value, ns),
                }
            }
            map.sort_keys();
        }
        Json::Array(items) => items.iter_mut().for_each(|item| plain(item, ns)),
        Json::String(text) => {
            *text = text.replace(ns, "<namespace>");
            // A value is printed as the language of the server writes it.
            if let (Some(from), Some(to)) = (text.find("Invalid value: "), text.rfind(": ")) {
                let from = from + "Invalid value: ".len();
                if from < to {
                    text.replace_range(from..to, "<value>");
                }
            }
            while let Some(at) = uid_at(text) {
                text.replace_range(at..at + 36, "<uid>");
            }
        }
        _ => {}
    }
}

async fn answers(client: &kube::Client, ns: &str) -> BTreeMap<&'static str, Json> {
    let mut all = BTreeMap::new();
    for asked in script(ns) {
        let (status, mut body) = ask(client, &asked).await;
        plain(&mut body, ns);
        assert!(
            all.insert(asked.name, json!({ "status": status, "body": body })).is_none(),
            "{}",
            asked.name
        );
    }
    all
}

fn recorded() -> Map<String, Json> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/tests/data/answers.json");
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// Where two documents differ: `.metadata.labels: 1, not 2`.
fn differences(path: &str, is: &Json, should: &Json, found: &mut Vec<String>) {
    match (is, should) {
        (Json::Object(one), Json::Object(other)) => {
            let names: std::collections::BTreeSet<&String> = one.keys().chain(other.keys()).collect();
            for name in names {
                let at = format!("{path}.{name}");
                let none = &Json::Null;
                differences(&at, one.get(name).unwrap_or(none), other.get(name).unwrap_or(none), found);
            }
        }
        (Json::Array(one), Json::Array(other)) if one.len() == other.len() => {
            for (number, (one, other)) in one.iter().zip(other).enumerate() {
                differences(&format!("{path}[{number}]"), one, other, found);
            }
        }
        _ if is == should => {}
        _ => found.push(format!("{path}: {is}, not {should}")),
    }
}

/// What this tool rests on: whether it went well, why not, and which fields it is about.
fn gist(answer: &Json) -> Json {
    let body = &answer["body"];
    let causes: Vec<&Json> =
        body["details"]["causes"].as_array().into_iter().flatten().map(|cause| &cause["field"]).collect();
    json!({ "status": answer["status"], "kind": body["kind"], "reason": body["reason"], "fields": causes })
}

#[tokio::test]
async fn the_server_of_the_tests_answers_as_the_real_one_did() {
    let api = Api::new();
    api.namespace("rtc-answers-own");
    let mut found = Vec::new();
    let recorded = recorded();
    let answers = answers(&api.client(), "rtc-answers-own").await;
    assert_eq!(answers.len() + 1, recorded.len());
    for (name, answer) in answers {
        differences(name, &answer, &recorded[name], &mut found);
    }
    found.retain(|line| {
        !LEFT_OUT.iter().any(|(part, _)| line.split(": ").next().unwrap_or_default().contains(part))
    });
    assert!(found.is_empty(), "{} differences:\n{}", found.len(), found.join("\n"));
}

#[tokio::test]
async fn the_server_that_is_named_answers_as_the_recorded_one_by_what_counts() {
    let (client, recording) = match named() {
        None => (Api::new().client(), None),
        Some(named) => {
            let access = Access::Kubeconfig { path: Some(named.kubeconfig), context: named.context };
            #[expect(clippy::disallowed_methods, reason = "where to is said to the test from outside")]
            let to = std::env::var("RTC_TEST_RECORD").ok().map(PathBuf::from);
            (access.open().await.unwrap().client, to)
        }
    };
    let ns = format!("rtc-answers-{}", std::process::id());
    let namespace = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": ns } });
    let made = asked("", Method::POST, "/api/v1/namespaces".to_owned(), PLAIN, namespace);
    assert_eq!(ask(&client, &made).await.0, 201);
    let answers = answers(&client, &ns).await;
    let gone = asked("", Method::DELETE, format!("/api/v1/namespaces/{ns}"), PLAIN, json!({}));
    assert!(matches!(ask(&client, &gone).await.0, 200 | 202));
    if let Some(path) = recording {
        let version = asked("", Method::GET, "/version".to_owned(), PLAIN, Json::Null);
        let mut all = Map::new();
        all.insert("".to_owned(), ask(&client, &version).await.1["gitVersion"].clone());
        all.extend(answers.iter().map(|(name, answer)| ((*name).to_owned(), answer.clone())));
        std::fs::write(path, serde_json::to_string_pretty(&all).unwrap() + "\n").unwrap();
        return;
    }
    let recorded = recorded();
    for (name, answer) in answers {
        assert_eq!(gist(&answer), gist(&recorded[name]), "{name}");
    }
}
