//! A cluster that is played, and the project's own environments on it.

use std::time::Duration;

use kubernetes::testing::Api;
use kubernetes::{Gvk, Resource, Scope};
use serde_json::Value;

use super::files::project;
use crate::commands::testing::{Came, Typed};

pub const NEXT: &str = "111122223333.dkr.ecr.ap-northeast-2.amazonaws.com/rtc-dev/rtcd@sha256:00000000000000000000000000000000000000000000000000000000000000b2";

/// Longer than anything that is waited for takes, on whatever machine.
const FOR_GOOD: Duration = Duration::from_secs(300);

/// The project's own environments on a cluster in which a second passes every few milliseconds.
pub struct Place {
    pub api: Api,
    pub typed: Typed,
    turning: tokio::task::JoinHandle<()>,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.turning.abort();
    }
}

/// Kinds that no cluster has by itself.
pub fn defined() -> impl Iterator<Item = Resource> {
    [
        ("external-secrets.io", "v1", "ExternalSecret", "externalsecrets"),
        ("elbv2.k8s.aws", "v1beta1", "TargetGroupBinding", "targetgroupbindings"),
        ("monitoring.coreos.com", "v1", "ServiceMonitor", "servicemonitors"),
        ("monitoring.coreos.com", "v1", "PodMonitor", "podmonitors"),
        ("monitoring.coreos.com", "v1", "PrometheusRule", "prometheusrules"),
    ]
    .into_iter()
    .map(|(group, version, kind, plural)| Resource {
        gvk: Gvk::new(group, version, kind),
        plural: plural.to_owned(),
        scope: Scope::Namespaced,
    })
}

/// Waits until something is so. What never becomes so fails, and holds nothing up.
pub async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let waiting = async {
        while !is_so().await {
            tokio::task::yield_now().await;
        }
    };
    let waited = tokio::time::timeout(FOR_GOOD, waiting).await;
    waited.unwrap_or_else(|_| panic!("it never came to this: {what}"));
}

impl Place {
    pub async fn new() -> Self {
        let api = Api::new();
        for node in ["a", "b", "c"] {
            api.node(node, 100, 64, 256);
        }
        defined().for_each(|resource| api.define(resource));
        let address = api.serve().await.unwrap();
        let mut typed = project();
        Api::write_kubeconfig(&typed.path("kubeconfig"), address, "t").unwrap();
        typed.set("RTCCTL_KUBECONFIG", &typed.path("kubeconfig").display().to_string());
        typed.set("RTCCTL_CONTEXT", "test");
        typed.set("RTCCTL_JOURNAL", &typed.path("runs").display().to_string());
        let turned = api.clone();
        let turning = tokio::spawn(async move {
            loop {
                tokio::time::sleep(Duration::from_millis(5)).await;
                turned.advance(Duration::from_secs(1));
            }
        });
        Self { api, typed, turning }
    }

    pub async fn dev(&self, words: &[&str]) -> Came {
        let all = ["--env", "dev", "--yes", "deploy"].into_iter().chain(words.iter().copied());
        self.typed.run(&all.collect::<Vec<_>>()).await
    }

    pub async fn rollout(&self, image: &str, more: &[&str]) -> Came {
        let words = ["rollout", "--outputs", "dev.json", "--image", image];
        self.dev(&words.into_iter().chain(more.iter().copied()).collect::<Vec<_>>()).await
    }

    /// Waits until the migration of an image came through.
    pub async fn migrated(&self, image: &str) {
        let is_through = |job: &Value| job.to_string().contains(image) && job["status"]["succeeded"] == 1;
        until("its migration is through", async || self.api.objects("Job", "rtc").iter().any(is_through))
            .await;
    }

    pub fn image(&self) -> String {
        let gateway = self.api.object("Deployment", "rtc", "gateway").unwrap();
        gateway["spec"]["template"]["spec"]["containers"][0]["image"].as_str().unwrap_or_default().to_owned()
    }
}
