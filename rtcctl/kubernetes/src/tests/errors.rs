//! What is said when the API refuses, fails, is somebody else or is not there, and what is repeated.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use serde_json::json;

use super::{config_map, config_maps, deployment};
use crate::access::NoToken;
use crate::testing::{Api, What};
use crate::write::{Apply, Effect, Evicted};
use crate::{Access, Cluster, Error, Gvk, Tokens};

fn apply() -> Apply {
    Apply::default()
}

#[tokio::test(start_paused = true)]
async fn a_server_that_fails_is_asked_again_and_a_patch_is_no_exception() {
    let api = Api::new();
    api.fault("PATCH", "configmaps", What::Status(503, "etcd is away".to_owned()), 2);
    let cluster = api.cluster();
    cluster.apply(&config_map("default", "one", json!({})), &apply()).await.unwrap();
    let patches = api.asked().iter().filter(|one| one.method == "PATCH").count();
    assert_eq!(patches, 3);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_goes_on_failing_is_given_up_with_its_words() {
    let api = Api::new();
    api.fault("GET", "configmaps", What::Status(503, "etcd is away".to_owned()), 99);
    let error = api.cluster().get(&config_maps(), "default", "one").await.unwrap_err();
    assert!(
        matches!(&error, Error::Failing { status: 503, message, .. } if message == "etcd is away"),
        "{error:?}"
    );
    assert_eq!(api.asked().len(), 4);
}

#[tokio::test(start_paused = true)]
async fn a_field_that_the_server_does_not_know_is_no_failure_of_its_own() {
    for (words, field) in [
        ("failed to create typed patch object: .spec.new: field not declared in schema", "spec.new"),
        (
            "failed to create typed patch object (default/one; v1, Kind=ConfigMap): .spec.new: field not declared in schema",
            "spec.new",
        ),
        (
            "failed to create typed patch object: .spec.ports: element 0: associative list with keys has an element that \
             omits key field \"protocol\" (and doesn't have default value)",
            "spec.ports",
        ),
    ] {
        let api = Api::new();
        api.fault("PATCH", "configmaps", What::Status(500, words.to_owned()), 99);
        let error =
            api.cluster().apply(&config_map("default", "one", json!({})), &apply()).await.unwrap_err();
        let Error::Invalid { causes, .. } = &error else { panic!("{error:?}") };
        assert_eq!(causes[0].field, field);
        assert_eq!(
            api.asked().iter().filter(|one| one.method == "PATCH").count(),
            1,
            "it is not asked again"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_made_is_made_once_even_if_nobody_knows_what_became_of_it() {
    let api = Api::new();
    api.fault("POST", "configmaps", What::CutAfter, 1);
    let error =
        api.cluster().create(&config_map("default", "one", json!({})), Effect::Real).await.unwrap_err();
    assert!(matches!(error, Error::Unreachable { .. }), "{error:?}");
    assert_eq!(api.asked().len(), 1);
    assert!(api.object("ConfigMap", "default", "one").is_some());
}

#[tokio::test(start_paused = true)]
async fn an_apply_whose_answer_was_lost_comes_to_the_same_when_it_is_repeated() {
    let api = Api::new();
    api.fault("PATCH", "configmaps", What::CutAfter, 1);
    let applied =
        api.cluster().apply(&config_map("default", "one", json!({ "a": "1" })), &apply()).await.unwrap();
    assert_eq!(applied.object["data"]["a"], "1");
}

#[tokio::test(start_paused = true)]
async fn a_server_that_asks_to_wait_is_waited_for_unless_it_asks_too_much() {
    let api = Api::new();
    let cluster = api.cluster();
    let began = tokio::time::Instant::now();
    api.fault("GET", "configmaps", What::RetryAfter(429, 5), 1);
    cluster.get(&config_maps(), "default", "one").await.unwrap();
    assert_eq!(began.elapsed().as_secs(), 5);
    api.fault("GET", "configmaps", What::RetryAfter(429, 60), 1);
    let error = cluster.get(&config_maps(), "default", "one").await.unwrap_err();
    assert!(error.hint().contains("60 s"), "{error:?}");
}

#[tokio::test(start_paused = true)]
async fn a_server_that_never_answers_is_given_up() {
    let api = Api::new();
    api.fault("GET", "configmaps", What::Silence, 99);
    let error = api.cluster().get(&config_maps(), "default", "one").await.unwrap_err();
    assert!(matches!(error, Error::TimedOut { .. }), "{error:?}");
}

#[tokio::test]
async fn a_lack_of_permission_names_the_verb_and_the_resource() {
    let api = Api::new();
    api.forbid("list", "deployments");
    let error = api.cluster().list(&Gvk::named("apps/v1", "Deployment"), "shop", None).await.unwrap_err();
    assert!(error.to_string().starts_with("not allowed to list deployments.apps in shop"), "{error}");
    assert_eq!(error.hint(), "have a role granted that may list deployments.apps");
    assert!(!api.cluster().may("list", &Gvk::named("apps/v1", "Deployment"), "shop").await.unwrap());
}

#[tokio::test]
async fn a_webhook_and_a_quota_are_no_lack_of_permission() {
    let api = Api::new();
    api.deny("Deployment", "web", "images must be signed");
    let error = api.cluster().apply(&deployment("default", "web", "web:1", 1), &apply()).await.unwrap_err();
    assert!(
        matches!(&error, Error::Admission { message, .. } if message.contains("images must be signed")),
        "{error:?}"
    );
    api.given(&json!({
        "apiVersion": "v1", "kind": "ResourceQuota", "metadata": { "name": "few", "namespace": "default" },
        "spec": { "hard": { "pods": "0" } },
    }));
    let pod = json!({ "apiVersion": "v1", "kind": "Pod", "metadata": { "name": "p", "namespace": "default" }, "spec": {} });
    let error = api.cluster().create(&pod, Effect::Real).await.unwrap_err();
    assert!(matches!(&error, Error::Quota { .. }), "{error:?}");
}

#[tokio::test]
async fn a_page_of_a_proxy_is_not_taken_for_kubernetes() {
    let api = Api::new();
    for status in [200, 302, 403, 502] {
        api.fault("GET", "configmaps", What::Page(status, "<html><title>Sign in</title>".to_owned()), 1);
        let error = api.cluster().get(&config_maps(), "default", "one").await.unwrap_err();
        assert!(
            matches!(&error, Error::NotKubernetes { first_line, .. } if first_line.contains("Sign in")),
            "{status} {error:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn nobody_at_the_address_is_said_so() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let access = Access::Endpoint {
        url: format!("http://{address}"),
        ca_pem: None,
        tokens: Arc::new(Numbered::default()),
    };
    let cluster = Cluster::connect(access).await.unwrap();
    let error = cluster.get(&config_maps(), "default", "one").await.unwrap_err();
    assert!(matches!(&error, Error::Unreachable { host, .. } if *host == address.to_string()), "{error:?}");
}

/// Tokens `t1`, `t2` …: another one after one was refused.
#[derive(Default)]
struct Numbered {
    refused: AtomicU32,
    asked: AtomicU32,
}

#[async_trait::async_trait]
impl Tokens for Numbered {
    async fn token(&self) -> Result<String, NoToken> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        Ok(format!("t{}", self.refused.load(Ordering::SeqCst) + 1))
    }

    async fn refused(&self, _token: &str) {
        self.refused.fetch_add(1, Ordering::SeqCst);
    }
}

#[tokio::test]
async fn a_token_that_expired_is_replaced_once_and_the_request_repeated() {
    let api = Api::new();
    api.accept(&["t2"]);
    let tokens = Arc::new(Numbered::default());
    let cluster = api.cluster_with(Some(tokens.clone()));
    cluster.apply(&config_map("default", "one", json!({})), &apply()).await.unwrap();
    let used: Vec<Option<String>> = api.asked().into_iter().map(|one| one.token).collect();
    assert_eq!(used, [Some("t1".to_owned()), Some("t2".to_owned()), Some("t2".to_owned())]);
    assert_eq!(tokens.asked.load(Ordering::SeqCst), 3);
}

#[tokio::test]
async fn a_second_token_that_is_refused_is_the_end_and_neither_is_shown() {
    let api = Api::new();
    api.accept(&["something-else"]);
    let cluster = api.cluster_with(Some(Arc::new(Numbered::default())));
    let error = cluster.get(&config_maps(), "default", "one").await.unwrap_err();
    assert!(matches!(error, Error::Unauthorized { .. }), "{error:?}");
    assert_eq!(api.asked().len(), 2);
    let said = format!("{error} {error:?} {}", error.hint());
    assert!(!said.contains("t1") && !said.contains("t2"), "{said}");
}

#[tokio::test]
async fn a_proxy_that_repeats_a_token_does_not_get_it_into_a_message() {
    let api = Api::new();
    let page = "<p>denied: authorization: Bearer k8s-aws-v1.aHR0cHM6Ly9zdHMu and k8s-aws-v1.abc</p>";
    api.fault("GET", "configmaps", What::Page(502, page.to_owned()), 1);
    let error = api.cluster().get(&config_maps(), "default", "one").await.unwrap_err();
    assert!(!format!("{error:?}").contains("k8s-aws-v1"), "{error:?}");
}

struct None_;

#[async_trait::async_trait]
impl Tokens for None_ {
    async fn token(&self) -> Result<String, NoToken> {
        Err("the session has ended".into())
    }
}

#[tokio::test]
async fn no_token_is_said_with_its_reason() {
    let api = Api::new();
    let cluster = api.cluster_with(Some(Arc::new(None_)));
    let error = cluster.get(&config_maps(), "default", "one").await.unwrap_err();
    assert!(matches!(&error, Error::NoToken { reason, .. } if reason.contains("has ended")), "{error:?}");
    assert_eq!(api.asked().len(), 0);
}

#[tokio::test]
async fn an_eviction_that_a_budget_withholds_is_an_answer() {
    let api = Api::new();
    api.node("n1", 10, 4, 8);
    let cluster = api.cluster();
    cluster.apply(&deployment("default", "web", "web:1", 1), &apply()).await.unwrap();
    let budget = json!({
        "apiVersion": "policy/v1", "kind": "PodDisruptionBudget",
        "metadata": { "name": "web", "namespace": "default" },
        "spec": { "minAvailable": 1, "selector": { "matchLabels": { "app": "web" } } },
    });
    cluster.apply(&budget, &apply()).await.unwrap();
    api.settle(20);
    let pod = api.objects("Pod", "default")[0]["metadata"]["name"].as_str().unwrap().to_owned();
    let evicted = cluster.evict("default", &pod, None).await.unwrap();
    assert!(matches!(&evicted, Evicted::Withheld { message, .. } if message.contains("disruption budget")));
    cluster
        .delete(&Gvk::named("policy/v1", "PodDisruptionBudget"), "default", "web", &Default::default())
        .await
        .unwrap();
    assert_eq!(cluster.evict("default", &pod, None).await.unwrap(), Evicted::Accepted);
    api.advance(Duration::from_secs(1));
    assert_eq!(cluster.evict("default", "none", None).await.unwrap(), Evicted::NotThere);
}

#[tokio::test]
async fn a_service_inside_is_asked_through_the_api() {
    let api = Api::new();
    api.answer_for("monitoring", "prometheus:9090", |path| {
        (200, "application/json".to_owned(), format!("{{\"asked\":\"{path}\"}}").into_bytes())
    });
    let cluster = api.cluster();
    let answer = cluster
        .service_proxy_get("monitoring", "prometheus", "9090", "/api/v1/query?query=up")
        .await
        .unwrap();
    assert_eq!(String::from_utf8(answer.body).unwrap(), "{\"asked\":\"/api/v1/query?query=up\"}");
    assert_eq!(answer.content_type.as_deref(), Some("application/json"));
}

#[tokio::test]
async fn a_list_whose_rest_is_gone_begins_again() {
    let api = Api::new();
    for number in 0..600 {
        api.given(&config_map("default", &format!("m{number:04}"), json!({})));
    }
    api.fault("GET", "continue=", What::Status(410, "too old".to_owned()), 1);
    let all = api.cluster().list(&config_maps(), "default", None).await.unwrap();
    assert_eq!(all.len(), 600);
    let pages: Vec<String> = api.asked().into_iter().map(|one| one.path).collect();
    assert_eq!(pages.len(), 3, "{pages:?}");
    assert!(!pages[2].contains("limit"), "{pages:?}");
}

#[tokio::test]
async fn a_list_begins_again_also_where_its_pages_so_far_were_empty() {
    let api = Api::new();
    api.given(&config_map("default", "one", json!({})));
    // What a selector leaves of a page may be nothing, and more may follow.
    let empty = json!({ "kind": "ConfigMapList", "apiVersion": "v1", "metadata": { "continue": "more" }, "items": [] });
    api.fault("GET", "limit=", What::Page(200, empty.to_string()), 1);
    let all = api.cluster().list(&config_maps(), "default", None).await.unwrap();
    assert_eq!(all.len(), 1);
    let pages: Vec<String> = api.asked().into_iter().map(|one| one.path).collect();
    assert!(pages[1].contains("continue=more") && !pages[2].contains("limit"), "{pages:?}");
}
