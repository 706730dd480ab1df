//! What the driver needs of a cluster.
//!
//! Invariant: everything that changes the cluster goes through [`Port`], so that a test can end a run between any two
//! changes.

use std::time::Duration;

use async_trait::async_trait;
use futures_util::StreamExt;
use kubernetes::read::LogRequest;
use kubernetes::watch::{Feed, News};
use kubernetes::write::{Applied, Apply, Delete, Deleted, Effect};
use kubernetes::{Cluster, Gvk, Place, Result};
use rollout::world::Target;
use serde_json::Value as Json;

/// Bytes of one log that are kept.
const LOG_BYTES: usize = 512 * 1024;
/// So long a log is read at most: what has come until then says enough.
const LOG_WITHIN: Duration = Duration::from_secs(10);

#[async_trait]
pub trait Port: Send + Sync {
    /// Which cluster it leads to.
    fn place(&self) -> Place;
    /// An object by its name; `namespace` is empty for kinds of the whole cluster.
    async fn get(&self, gvk: &Gvk, namespace: &str, name: &str) -> Result<Option<Json>>;
    async fn list(&self, gvk: &Gvk, namespace: &str, labels: &str) -> Result<Vec<Json>>;
    async fn apply(&self, object: &Json, how: &Apply) -> Result<Applied>;
    async fn create(&self, object: &Json) -> Result<Json>;
    /// Changes labels of an object, nothing else.
    async fn label(&self, gvk: &Gvk, namespace: &str, name: &str, labels: &Json) -> Result<Json>;
    async fn delete(&self, gvk: &Gvk, namespace: &str, name: &str, how: &Delete) -> Result<Deleted>;
    async fn events_about(&self, namespace: &str, uid: &str) -> Result<Vec<Json>>;
    async fn log(&self, request: &LogRequest) -> Result<String>;
    fn follow(&self, targets: &[Target]) -> Box<dyn Following>;
}

/// News about workloads, until it is dropped.
#[async_trait]
pub trait Following: Send {
    /// The next piece; may be given up and asked for again. `None` when nothing comes any more.
    async fn next(&mut self) -> Option<News>;
}

#[async_trait]
impl Following for Feed {
    async fn next(&mut self) -> Option<News> {
        Feed::next(self).await
    }
}

#[async_trait]
impl Port for Cluster {
    fn place(&self) -> Place {
        Cluster::place(self)
    }

    async fn get(&self, gvk: &Gvk, namespace: &str, name: &str) -> Result<Option<Json>> {
        Cluster::get(self, gvk, namespace, name).await
    }

    async fn list(&self, gvk: &Gvk, namespace: &str, labels: &str) -> Result<Vec<Json>> {
        Cluster::list(self, gvk, namespace, Some(labels)).await
    }

    async fn apply(&self, object: &Json, how: &Apply) -> Result<Applied> {
        Cluster::apply(self, object, how).await
    }

    async fn create(&self, object: &Json) -> Result<Json> {
        Cluster::create(self, object, Effect::Real).await
    }

    async fn label(&self, gvk: &Gvk, namespace: &str, name: &str, labels: &Json) -> Result<Json> {
        let patch = serde_json::json!({ "metadata": { "labels": labels } });
        self.merge_patch(gvk, namespace, name, &patch, Effect::Real).await
    }

    async fn delete(&self, gvk: &Gvk, namespace: &str, name: &str, how: &Delete) -> Result<Deleted> {
        Cluster::delete(self, gvk, namespace, name, how).await
    }

    async fn events_about(&self, namespace: &str, uid: &str) -> Result<Vec<Json>> {
        let event = Gvk::named("v1", "Event");
        self.list_by_field(&event, namespace, &format!("involvedObject.uid={uid}")).await
    }

    async fn log(&self, request: &LogRequest) -> Result<String> {
        let mut text = String::new();
        let read = async {
            let mut lines = self.logs(request).await?;
            while let Some(line) = lines.next().await {
                text.push_str(&line?);
                text.push('\n');
                if text.len() >= LOG_BYTES {
                    break;
                }
            }
            Ok(())
        };
        let done = tokio::time::timeout(LOG_WITHIN, read).await;
        match done {
            Ok(Err(error)) => Err(error),
            Ok(Ok(())) | Err(_) => Ok(text),
        }
    }

    fn follow(&self, targets: &[Target]) -> Box<dyn Following> {
        Box::new(self.watch(targets))
    }
}
