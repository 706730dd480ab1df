//! Which cluster a suite runs on: the server of the tests, or the one that `RTC_TEST_KUBECONFIG` names.
//!
//! Invariants: a suite that is asked of a real cluster works in a namespace of its own, which is deleted when it is left;
//! what pods do there is played by a stand-in for the nodes only where there is no node, with the same steps as in
//! the server of the tests ([`super::pods`]).

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::Method;
use kernel::{Clock, SystemClock};
use serde_json::{Value as Json, json};
use tokio::task::JoinHandle;

use super::behaviour::{Behaviour, Rule};
use super::controllers::text;
use super::store::{Store, key};
use super::{Api, node, pods};
use crate::cluster::{Call, Repeat};
use crate::error::Subject;
use crate::write::{Apply, Delete};
use crate::{Access, Cluster, Error, Gvk, Resource, Result, Scope};

/// A cluster that is there, as it is named from outside.
#[derive(Debug, Clone)]
pub struct Named {
    pub kubeconfig: PathBuf,
    pub context: Option<String>,
}

/// The cluster of `RTC_TEST_KUBECONFIG` and `RTC_TEST_CONTEXT`.
#[expect(clippy::disallowed_methods, reason = "which cluster is meant is said to the tests from outside")]
pub fn named() -> Option<Named> {
    let said = |name: &str| std::env::var(name).ok().filter(|text| !text.is_empty());
    Some(Named { kubeconfig: said("RTC_TEST_KUBECONFIG")?.into(), context: said("RTC_TEST_CONTEXT") })
}

/// A cluster that a suite runs on.
#[derive(Clone)]
pub enum Site {
    Played(Api),
    Real(Real),
}

impl Site {
    pub fn cluster(&self) -> Cluster {
        match self {
            Self::Played(api) => api.cluster(),
            Self::Real(real) => real.inner.cluster.clone(),
        }
    }

    pub fn clock(&self) -> Arc<dyn Clock> {
        match self {
            Self::Played(api) => api.clock(),
            Self::Real(_) => Arc::new(SystemClock),
        }
    }

    /// How pods behave whose image has `image` in it; what was said last holds.
    pub fn behave(&self, image: &str, behaviour: Behaviour) {
        match self {
            Self::Played(api) => api.behave(image, behaviour),
            Self::Real(real) => {
                real.memory().rules.insert(0, Rule { image: image.to_owned(), behaviour });
            }
        }
    }

    /// The object as it is now.
    ///
    /// # Panics
    /// When the cluster does not answer.
    pub async fn object(&self, kind: &str, namespace: &str, name: &str) -> Option<Json> {
        match self {
            Self::Played(api) => api.object(kind, namespace, name),
            Self::Real(real) => real.inner.cluster.get(&real.gvk(kind), namespace, name).await.unwrap(),
        }
    }

    /// All objects of a kind in a namespace, in the order of their names.
    ///
    /// # Panics
    /// When the cluster does not answer.
    pub async fn objects(&self, kind: &str, namespace: &str) -> Vec<Json> {
        match self {
            Self::Played(api) => api.objects(kind, namespace),
            Self::Real(real) => real.inner.cluster.list(&real.gvk(kind), namespace, None).await.unwrap(),
        }
    }

    /// Puts an object there as somebody else's work.
    ///
    /// # Panics
    /// When the server does not take it.
    pub async fn given(&self, object: &Json) {
        match self {
            Self::Played(api) => {
                api.given(object);
            }
            Self::Real(real) => {
                let how = Apply { manager: "somebody-else".to_owned(), ..Apply::default() };
                real.inner.cluster.apply(object, &how).await.unwrap();
            }
        }
    }

    /// Another kind that is known from now on. One that a real cluster has is left as it is there.
    ///
    /// # Panics
    /// When the cluster does not take it.
    pub async fn define(&self, resource: Resource) {
        match self {
            Self::Played(api) => api.define(resource),
            Self::Real(real) => real.define(&resource).await.unwrap(),
        }
    }

    /// The autoscaler wants another number of a Deployment.
    ///
    /// # Panics
    /// When the server does not take it.
    pub async fn autoscale(&self, namespace: &str, deployment: &str, replicas: u32) {
        match self {
            Self::Played(api) => api.autoscale(namespace, deployment, replicas),
            Self::Real(real) => {
                let path = real.path("Deployment", namespace, deployment);
                let patch = json!({ "spec": { "replicas": replicas } });
                real.patch(format!("{path}/scale"), &patch, "kube-controller-manager").await.unwrap();
            }
        }
    }

    /// Waits until nothing moves any more, or for some turns: what fails moves for ever.
    pub async fn settle(&self) {
        match self {
            Self::Played(api) => drop(api.settle(SETTLED_WITHIN)),
            Self::Real(_) => tokio::time::sleep(TURN * SETTLED_WITHIN).await,
        }
    }

    /// Whether what containers say can be read: a node that is played keeps no logs for a real server.
    pub fn has_logs(&self) -> bool {
        match self {
            Self::Played(_) => true,
            Self::Real(real) => !real.inner.plays_nodes,
        }
    }

    /// Leaves nothing behind.
    pub async fn leave(self) {
        if let Self::Real(real) = self {
            real.leave().await;
        }
    }
}

/// A real cluster, and a namespace of one's own in it.
#[derive(Clone)]
pub struct Real {
    inner: Arc<Inner>,
}

struct Inner {
    cluster: Cluster,
    namespace: String,
    plays_nodes: bool,
    memory: Mutex<Memory>,
    turning: Mutex<Option<JoinHandle<()>>>,
}

/// What the stand-in for the nodes knows: the pods of its namespace as it last saw them, and how old they are in turns.
struct Memory {
    store: Store,
    rules: Vec<Rule>,
    /// Events that were sent, with how often each had come.
    sent: HashMap<String, u64>,
    /// Definitions of kinds that were made here.
    defined: Vec<String>,
}

/// The nodes that are played.
const NODES: [&str; 3] = ["a", "b", "c"];
/// Between two steps of pods.
const TURN: Duration = Duration::from_millis(200);
/// Steps between two words of a node that it is well: it is given up after 40 s.
const HEARTBEAT: u32 = 40;
/// Turns in which what is well comes up.
const SETTLED_WITHIN: u32 = 20;
/// Turns until a kind that was defined is served.
const DEFINED_WITHIN: u32 = 100;
const STAND_IN: &str = "rtc.io/stand-in";

/// What one step asks of the server.
enum Act {
    Bind { name: String, node: String },
    Status { name: String, uid: Json, status: Json },
    Take { name: String, uid: Json },
    Event { event: Json },
    Again { name: String, event: Json },
}

impl Real {
    /// Comes to the cluster that is named. The namespace is deleted at the end; making it is left to the suite.
    pub async fn enter(named: Named, namespace: &str) -> Result<Self> {
        let access = Access::Kubeconfig { path: Some(named.kubeconfig), context: named.context };
        let cluster = Cluster::connect(access).await?;
        let nodes = cluster.list(&Gvk::named("v1", "Node"), "", None).await?;
        let plays_nodes = nodes.iter().all(|node| !node["metadata"]["labels"][STAND_IN].is_null());
        let memory = Memory {
            store: Store::new(SystemClock.now()),
            rules: Vec::new(),
            sent: HashMap::new(),
            defined: Vec::new(),
        };
        let real = Self {
            inner: Arc::new(Inner {
                cluster,
                namespace: namespace.to_owned(),
                plays_nodes,
                memory: Mutex::new(memory),
                turning: Mutex::new(None),
            }),
        };
        if plays_nodes {
            real.add_nodes().await?;
            let turned = real.clone();
            let turning = tokio::spawn(async move {
                for turn in 0_u32.. {
                    // A turn that fails is made up for by the next one.
                    let _ = turned.turn().await;
                    if turn % HEARTBEAT == HEARTBEAT - 1 {
                        let _ = turned.beat().await;
                    }
                    tokio::time::sleep(TURN).await;
                }
            });
            *real.inner.turning.lock().unwrap_or_else(PoisonError::into_inner) = Some(turning);
        }
        Ok(real)
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.inner.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn gvk(&self, kind: &str) -> Gvk {
        let resource = self.memory().store.of_kind(kind);
        resource.unwrap_or_else(|| panic!("no kind {kind:?}")).gvk
    }

    fn path(&self, kind: &str, namespace: &str, name: &str) -> String {
        let resource = self.memory().store.of_kind(kind);
        resource.unwrap_or_else(|| panic!("no kind {kind:?}")).path(namespace, name)
    }

    async fn define(&self, resource: &Resource) -> Result<()> {
        let (cluster, gvk) = (&self.inner.cluster, &resource.gvk);
        let (definitions, name) = (definitions(), resource.name());
        if cluster.get(&definitions, "", &name).await?.is_none() {
            let definition = json!({
                "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
                "metadata": { "name": name },
                "spec": {
                    "group": gvk.group, "scope": if resource.scope == Scope::Cluster { "Cluster" } else { "Namespaced" },
                    "names": { "kind": gvk.kind, "plural": resource.plural, "singular": gvk.kind.to_lowercase() },
                    "versions": [{
                        "name": gvk.version, "served": true, "storage": true,
                        "schema": { "openAPIV3Schema": { "type": "object", "x-kubernetes-preserve-unknown-fields": true } },
                    }],
                },
            });
            cluster.apply(&definition, &Apply::default()).await?;
            self.memory().defined.push(name.clone());
        }
        for _ in 0..DEFINED_WITHIN {
            match cluster.list(gvk, &self.inner.namespace, None).await {
                Err(Error::UnknownKind { .. } | Error::NotFound { .. }) => tokio::time::sleep(TURN).await,
                answered => return answered.map(drop),
            }
        }
        Err(unknown(&name))
    }

    fn node_name(&self, word: &str) -> String {
        format!("{}-{word}", self.inner.namespace)
    }

    async fn add_nodes(&self) -> Result<()> {
        for word in NODES {
            let name = self.node_name(word);
            let mut object = node(&name, 110, 64, 256);
            object["metadata"]["labels"][STAND_IN] = self.inner.namespace.as_str().into();
            let how = Apply { manager: "kubelet".to_owned(), ..Apply::default() };
            let mut plain = object.clone();
            plain.as_object_mut().map(|map| map.remove("status"));
            self.inner.cluster.apply(&plain, &how).await?;
            let mut memory = self.memory();
            let resource = memory.store.of_kind("Node").ok_or_else(|| unknown("Node"))?;
            memory.store.objects.insert(key(&resource, "", &name), Arc::new(object));
        }
        self.beat().await
    }

    /// The nodes say that they are well.
    async fn beat(&self) -> Result<()> {
        let time = {
            let mut memory = self.memory();
            memory.store.now = SystemClock.now();
            memory.store.time()
        };
        for word in NODES {
            let mut status = node("", 110, 64, 256)["status"].take();
            status["capacity"] = status["allocatable"].clone();
            status["conditions"][0]["lastHeartbeatTime"] = time.as_str().into();
            let path = self.path("Node", "", &self.node_name(word));
            self.patch(format!("{path}/status"), &json!({ "status": status }), "kubelet").await?;
        }
        Ok(())
    }

    /// One step of every pod of the namespace.
    async fn turn(&self) -> Result<()> {
        let pods = self.inner.cluster.list(&Gvk::named("v1", "Pod"), &self.inner.namespace, None).await?;
        for act in self.acts(&pods) {
            // What is gone or changed meanwhile is seen in the next turn.
            let _ = self.act(act).await;
        }
        Ok(())
    }

    fn acts(&self, seen: &[Json]) -> Vec<Act> {
        let mut memory = self.memory();
        let Memory { store, rules, sent, .. } = &mut *memory;
        let Some(resource) = store.of_kind("Pod") else { return Vec::new() };
        store.now = SystemClock.now();
        store.objects.retain(|(kind, ..), _| kind != "pods");
        for pod in seen {
            let at = key(&resource, text(pod, "namespace"), text(pod, "name"));
            store.objects.insert(at, Arc::new(pod.clone()));
        }
        pods::step(store, rules);
        let mut acts = Vec::new();
        for pod in seen {
            let name = text(pod, "name").to_owned();
            let uid = pod["metadata"]["uid"].clone();
            let Some(now) = store.get(&resource, text(pod, "namespace"), &name) else {
                acts.push(Act::Take { name, uid });
                continue;
            };
            if let (None, Some(node)) = (pod["spec"]["nodeName"].as_str(), now["spec"]["nodeName"].as_str()) {
                acts.push(Act::Bind { name: name.clone(), node: node.to_owned() });
            }
            if now["status"] != pod["status"] {
                let mut status = now["status"].clone();
                if status["phase"] == "Running" && status["podIP"].is_null() {
                    status["podIP"] = "10.244.0.1".into();
                    status["podIPs"] = json!([{ "ip": "10.244.0.1" }]);
                }
                acts.push(Act::Status { name, uid, status });
            }
        }
        for ((kind, _, name), event) in &store.objects {
            if kind != "events" {
                continue;
            }
            let count = event["count"].as_u64().unwrap_or(1);
            match sent.insert(name.clone(), count) {
                None => acts.push(Act::Event { event: (**event).clone() }),
                Some(before) if before != count => {
                    acts.push(Act::Again { name: name.clone(), event: (**event).clone() });
                }
                Some(_) => {}
            }
        }
        acts
    }

    async fn act(&self, act: Act) -> Result<Json> {
        let namespace = self.inner.namespace.as_str();
        match act {
            Act::Bind { name, node } => {
                let binding = json!({
                    "apiVersion": "v1", "kind": "Binding", "metadata": { "name": name, "namespace": namespace },
                    "target": { "apiVersion": "v1", "kind": "Node", "name": node },
                });
                let path = format!("{}/binding", self.path("Pod", namespace, &name));
                self.send(Method::POST, path, &binding, "application/json", "scheduler").await
            }
            Act::Status { name, uid, status } => {
                let patch = json!({ "metadata": { "uid": uid }, "status": status });
                let path = format!("{}/status", self.path("Pod", namespace, &name));
                self.patch(path, &patch, "kubelet").await
            }
            Act::Take { name, uid } => {
                let options = json!({
                    "apiVersion": "v1", "kind": "DeleteOptions", "gracePeriodSeconds": 0,
                    "preconditions": { "uid": uid },
                });
                let path = self.path("Pod", namespace, &name);
                self.send(Method::DELETE, path, &options, "application/json", "kubelet").await
            }
            Act::Event { mut event } => {
                for field in ["uid", "creationTimestamp", "resourceVersion"] {
                    event["metadata"].as_object_mut().map(|map| map.remove(field));
                }
                let path = self.path("Event", namespace, "");
                self.send(
                    Method::POST,
                    path.trim_end_matches('/').to_owned(),
                    &event,
                    "application/json",
                    "kubelet",
                )
                .await
            }
            Act::Again { name, event } => {
                let patch = json!({ "count": event["count"], "lastTimestamp": event["lastTimestamp"] });
                self.patch(self.path("Event", namespace, &name), &patch, "kubelet").await
            }
        }
    }

    async fn patch(&self, path: String, patch: &Json, manager: &str) -> Result<Json> {
        self.send(Method::PATCH, path, patch, "application/merge-patch+json", manager).await
    }

    async fn send(
        &self,
        method: Method,
        path: String,
        body: &Json,
        content_type: &'static str,
        manager: &str,
    ) -> Result<Json> {
        let mut call = Call::sending(Subject::default(), method, path, body, Repeat::Never);
        call.content_type = content_type;
        call.query.push(("fieldManager", manager.to_owned()));
        self.inner.cluster.json(call).await
    }

    async fn leave(self) {
        let turning = self.inner.turning.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(turning) = turning {
            turning.abort();
        }
        let cluster = &self.inner.cluster;
        let namespace = self.inner.namespace.as_str();
        let gone = cluster.delete(&Gvk::named("v1", "Namespace"), "", namespace, &Delete::default()).await;
        let mut outcomes = vec![gone.map(drop)];
        if self.inner.plays_nodes {
            // Without nodes that answer, pods that are deleted would be waited for.
            let pods = cluster.list(&Gvk::named("v1", "Pod"), namespace, None).await.unwrap_or_default();
            for pod in pods {
                let act =
                    Act::Take { name: text(&pod, "name").to_owned(), uid: pod["metadata"]["uid"].clone() };
                let _ = self.act(act).await;
            }
            for word in NODES {
                let name = self.node_name(word);
                let gone = cluster.delete(&Gvk::named("v1", "Node"), "", &name, &Delete::default()).await;
                outcomes.push(gone.map(drop));
            }
        }
        let defined = std::mem::take(&mut self.memory().defined);
        for name in defined {
            outcomes.push(cluster.delete(&definitions(), "", &name, &Delete::default()).await.map(drop));
        }
        for outcome in outcomes {
            if let Err(error) = outcome {
                eprintln!("something of {namespace} may be left on the cluster: {error}");
            }
        }
    }
}

fn definitions() -> Gvk {
    Gvk::named("apiextensions.k8s.io/v1", "CustomResourceDefinition")
}

fn unknown(kind: &str) -> Error {
    Error::UnknownKind { gvk: kind.to_owned() }
}
