//! An API server to be tested against: HTTP, objects as JSON, server-side apply with owners of fields, list and watch,
//! and small controllers that are turned by hand.
//!
//! Time stands still until [`Api::advance`]; nothing happens by itself until [`Api::turn`], or on every request where
//! [`Api::turn_by_itself`] was said; so a rollout is played fast and always in the same way.
//!
//! What it leaves out, beside what [`fields`], [`defaults`] and [`schemas`] say of themselves: roles beyond [`Api::forbid`], conversion between versions, endpoints, and owners of
//! fields for what controllers write, except the autoscaler.

mod answers;
pub mod behaviour;
mod changes;
mod controllers;
mod defaults;
pub mod fields;
mod http;
mod owners;
mod pods;
mod refusal;
mod routes;
mod schemas;
mod selectors;
mod sets;
pub mod site;
mod store;
mod valid;
mod watches;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use kernel::{Clock, ManualClock, Timestamp};
use serde_json::{Value as Json, json};
use tokio::net::TcpListener;
use tokio::sync::{broadcast, watch};
use tokio::task::JoinHandle;

use crate::Cluster;
use crate::access::Opened;
use behaviour::{Behaviour, Rule};
pub use refusal::Refusal;
use store::{Denial, Keep, Store};

/// A server. Clones are the same one.
#[derive(Clone)]
pub struct Api {
    inner: Arc<Inner>,
}

pub(crate) struct Inner {
    store: Mutex<Store>,
    clock: Arc<ManualClock>,
    /// The newest version, for watches that wait.
    changed: watch::Sender<u64>,
    control: broadcast::Sender<Control>,
    manners: Mutex<Manners>,
}

/// What a watch is made to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Control {
    /// Its connection breaks.
    Cut,
    /// Its connection breaks in the middle of a line.
    CutInLine,
    /// It ends in good order.
    End,
    /// Its place is too old: an ERROR with 410.
    Gone,
    /// It says where it stands.
    Bookmark,
}

/// How the server answers.
#[derive(Default)]
pub(crate) struct Manners {
    /// Tokens that are accepted; any and none where it is empty.
    tokens: Vec<String>,
    faults: Vec<Fault>,
    forbidden: Vec<(String, String)>,
    asked: Vec<Asked>,
    services: HashMap<(String, String), Service>,
    rules: Vec<Rule>,
    turns_by_itself: bool,
}

type Service = Arc<dyn Fn(&str) -> (u16, String, Vec<u8>) + Send + Sync>;

/// A request that was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    pub method: String,
    /// With its query.
    pub path: String,
    pub token: Option<String>,
    pub body: String,
}

/// Something that goes wrong with a request.
#[derive(Debug, Clone)]
pub struct Fault {
    /// Of requests with this method; any where it is empty.
    pub method: String,
    /// Whose path and query have this in them.
    pub path: String,
    pub what: What,
    /// How often.
    pub times: u32,
}

#[derive(Debug, Clone)]
pub enum What {
    /// A Status with this code and these words, before anything is done.
    Status(u16, String),
    /// As `Status`, with `Retry-After` in seconds.
    RetryAfter(u16, u64),
    /// A page, as a proxy gives it.
    Page(u16, String),
    /// The connection breaks before anything is done.
    Cut,
    /// It is done, and the connection breaks before the answer.
    CutAfter,
    /// Nothing ever comes.
    Silence,
}

/// When a server begins, unless it is told otherwise.
pub const BEGIN: Timestamp = Timestamp::from_millis(1_795_253_400_000);

impl Default for Api {
    fn default() -> Self {
        Self::new()
    }
}

impl Api {
    /// A server with the namespaces `default` and `kube-system` and no nodes.
    pub fn new() -> Self {
        Self::at(BEGIN)
    }

    pub fn at(begin: Timestamp) -> Self {
        let inner = Inner {
            store: Mutex::new(Store::new(begin)),
            clock: Arc::new(ManualClock::at(begin)),
            changed: watch::channel(0).0,
            control: broadcast::channel(64).0,
            manners: Mutex::default(),
        };
        let api = Self { inner: Arc::new(inner) };
        for name in ["default", "kube-system"] {
            api.namespace(name);
        }
        api
    }

    pub(crate) fn store(&self) -> MutexGuard<'_, Store> {
        let mut store = self.inner.store.lock().unwrap_or_else(PoisonError::into_inner);
        store.now = self.inner.clock.now();
        store
    }

    pub(crate) fn manners(&self) -> MutexGuard<'_, Manners> {
        self.inner.manners.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells those who wait that something was written.
    pub(crate) fn tell(&self) {
        let version = self.store().version;
        self.inner.changed.send_replace(version);
    }

    /// The server's clock, for whoever judges what it says.
    pub fn clock(&self) -> Arc<ManualClock> {
        self.inner.clock.clone()
    }

    pub fn now(&self) -> Timestamp {
        self.inner.clock.now()
    }

    /// Moves the clock, then turns the controllers once.
    pub fn advance(&self, by: Duration) {
        self.inner.clock.advance(by);
        self.turn();
    }

    /// Lets the scheduler, the nodes and every controller do one step.
    pub fn turn(&self) {
        let rules = self.manners().rules.clone();
        controllers::turn(&mut self.store(), &rules);
        self.tell();
    }

    /// Turns until nothing moves any more, at most so often; gives how often it took. A second passes with each.
    pub fn settle(&self, at_most: u32) -> u32 {
        for turn in 0..at_most {
            let before = self.store().version;
            self.advance(Duration::from_secs(1));
            if self.store().version == before {
                return turn;
            }
        }
        at_most
    }

    /// Turns the controllers after every request that changes something or watches, until nothing moves.
    pub fn turn_by_itself(&self) {
        self.manners().turns_by_itself = true;
    }

    /// Turns by itself in real time: for programs that are run against it.
    pub fn turn_every(&self, pause: Duration) -> JoinHandle<()> {
        let api = self.clone();
        tokio::spawn(async move {
            let mut ticks = tokio::time::interval(pause);
            loop {
                ticks.tick().await;
                api.advance(pause);
            }
        })
    }

    /// A cluster over this server without a network, so that the time of a test may stand still.
    pub fn cluster(&self) -> Cluster {
        self.cluster_with(None)
    }

    /// As [`Api::cluster`], with tokens.
    pub fn cluster_with(&self, tokens: Option<Arc<dyn crate::Tokens>>) -> Cluster {
        Cluster::opened(Opened {
            client: self.client(),
            host: "api.test".to_owned(),
            namespace: "default".to_owned(),
            tokens,
            authority: Vec::new(),
        })
    }

    pub(crate) fn client(&self) -> kube::Client {
        let api = self.clone();
        let service = tower::service_fn(move |request: ::http::Request<kube::client::Body>| {
            let api = api.clone();
            async move { http::answer(api, request).await }
        });
        kube::Client::new(service, "default")
    }

    /// Serves HTTP on a free port of this machine for as long as the runtime lives.
    pub async fn serve(&self) -> std::io::Result<SocketAddr> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let api = self.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let api = api.clone();
                let service = service_fn(move |request| http::answer(api.clone(), request));
                tokio::spawn(
                    hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service),
                );
            }
        });
        Ok(address)
    }

    /// Writes a kubeconfig whose context `test` leads here.
    pub fn write_kubeconfig(path: &Path, address: SocketAddr, token: &str) -> std::io::Result<()> {
        let config = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "test",
            "clusters": [{ "name": "test", "cluster": { "server": format!("http://{address}") } }],
            "users": [{ "name": "test", "user": { "token": token } }],
            "contexts": [{ "name": "test", "context": { "cluster": "test", "user": "test" } }],
        });
        std::fs::write(path, config.to_string())
    }

    // What is there.

    /// Makes a namespace.
    pub fn namespace(&self, name: &str) {
        self.given(&json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name } }));
    }

    /// Makes a node with so much room for pods, CPUs and gibibytes.
    pub fn node(&self, name: &str, pods: u32, cpus: u32, memory_gib: u32) {
        self.given(&node(name, pods, cpus, memory_gib));
    }

    /// Puts an object there as somebody else's work, status included, and gives it as it is kept.
    ///
    /// # Panics
    /// When the server does not take it.
    pub fn given(&self, object: &Json) -> Json {
        let kind = object["kind"].as_str().unwrap_or_default();
        let namespace = object["metadata"]["namespace"].as_str().unwrap_or("default").to_owned();
        let kept = {
            let mut store = self.store();
            let resource = store.of_kind(kind).unwrap_or_else(|| panic!("no kind {kind:?}"));
            let made = store.create(&resource, &namespace, object.clone(), "somebody-else", Keep::Yes);
            let mut made = made.unwrap_or_else(|refusal| panic!("{}", refusal.message));
            if !object["status"].is_null() {
                made["status"] = object["status"].clone();
                made = store.put(&resource, made);
            }
            made
        };
        self.tell();
        kept
    }

    /// The object as it is now.
    pub fn object(&self, kind: &str, namespace: &str, name: &str) -> Option<Json> {
        let store = self.store();
        let resource = store.of_kind(kind)?;
        store.get(&resource, namespace, name).map(|object| (**object).clone())
    }

    /// All objects of a kind in a namespace, in the order of their names.
    pub fn objects(&self, kind: &str, namespace: &str) -> Vec<Json> {
        let all = self.store().all(kind);
        let own = all.iter().filter(|object| object["metadata"]["namespace"] == namespace);
        own.map(|object| (**object).clone()).collect()
    }

    /// Changes an object behind everybody's back.
    pub fn edit(&self, kind: &str, namespace: &str, name: &str, edit: impl FnOnce(&mut Json)) {
        self.store().change(kind, namespace, name, edit);
        self.tell();
    }

    /// Takes an object away at once.
    pub fn remove(&self, kind: &str, namespace: &str, name: &str) {
        {
            let mut store = self.store();
            if let Some(resource) = store.of_kind(kind) {
                store.take(&resource, namespace, name);
            }
        }
        self.tell();
    }

    /// Another kind that is known from now on.
    pub fn define(&self, resource: crate::Resource) {
        self.store().resources.push(resource);
    }

    /// A group whose definitions are not installed.
    pub fn without_group(&self, group: &str) {
        self.store().resources.retain(|resource| resource.gvk.group != group);
    }

    // How pods and what is around them behave.

    /// How pods behave whose image has `image` in it; what was said last holds.
    pub fn behave(&self, image: &str, behaviour: Behaviour) {
        self.manners().rules.insert(0, Rule { image: image.to_owned(), behaviour });
    }

    /// A node stops reporting.
    pub fn lose_node(&self, name: &str) {
        self.edit("Node", "", name, |node| {
            node["status"]["conditions"][0]["status"] = "Unknown".into();
            node["status"]["conditions"][0]["reason"] = "NodeStatusUnknown".into();
            node["status"]["conditions"][0]["message"] = "Kubelet stopped posting node status.".into();
        });
    }

    /// The autoscaler wants another number of a Deployment, and owns it from then on.
    pub fn autoscale(&self, namespace: &str, deployment: &str, replicas: u32) {
        {
            let mut store = self.store();
            if let Some(resource) = store.of_kind("Deployment") {
                let patch = json!({ "spec": { "replicas": replicas } });
                let manager = "kube-controller-manager";
                // A Deployment that is not there is not scaled.
                let _ =
                    store.merge_patch(&resource, namespace, deployment, &patch, manager, "scale", Keep::Yes);
            }
        }
        self.tell();
    }

    /// Objects of a kind whose names begin so are not let in.
    pub fn deny(&self, kind: &str, prefix: &str, message: &str) {
        let denial = Denial { kind: kind.to_owned(), prefix: prefix.to_owned(), message: message.to_owned() };
        self.store().denials.push(denial);
    }

    pub fn deny_nothing(&self) {
        self.store().denials.clear();
    }

    /// A container says something.
    pub fn say(&self, namespace: &str, pod: &str, container: &str, line: &str) {
        {
            let mut store = self.store();
            let at = (namespace.to_owned(), pod.to_owned(), container.to_owned(), false);
            let now = store.now;
            store.logs.entry(at).or_default().push((now, line.to_owned()));
        }
        self.inner.changed.send_modify(|_| {});
    }

    /// A service inside the cluster, by name and port: `prometheus:9090`.
    pub fn answer_for(
        &self,
        namespace: &str,
        service: &str,
        answer: impl Fn(&str) -> (u16, String, Vec<u8>) + Send + Sync + 'static,
    ) {
        self.manners().services.insert((namespace.to_owned(), service.to_owned()), Arc::new(answer));
    }

    // How the server answers.

    /// Only these tokens are accepted from now on.
    pub fn accept(&self, tokens: &[&str]) {
        self.manners().tokens = tokens.iter().map(|token| (*token).to_owned()).collect();
    }

    /// The verb on the resource (`list`, `pods`) is not allowed.
    pub fn forbid(&self, verb: &str, resource: &str) {
        self.manners().forbidden.push((verb.to_owned(), resource.to_owned()));
    }

    /// Something goes wrong with requests.
    pub fn fault(&self, method: &str, path: &str, what: What, times: u32) {
        let fault = Fault { method: method.to_owned(), path: path.to_owned(), what, times };
        self.manners().faults.push(fault);
    }

    /// Makes every watch do something; gives how many there are.
    pub fn control(&self, control: Control) -> usize {
        self.inner.control.send(control).unwrap_or(0)
    }

    /// Watches that are open.
    pub fn watches(&self) -> usize {
        self.inner.control.receiver_count()
    }

    /// Forgets the past: places in the stream before now are too old, and so are the rests of lists.
    pub fn compact(&self) {
        let mut store = self.store();
        store.oldest = store.version;
        store.log.clear();
        store.continued.clear();
    }

    /// The requests that were made, in their order.
    pub fn asked(&self) -> Vec<Asked> {
        self.manners().asked.clone()
    }
}

/// A node with so much room for pods, CPUs and gibibytes, that is well.
fn node(name: &str, pods: u32, cpus: u32, memory_gib: u32) -> Json {
    json!({
        "apiVersion": "v1", "kind": "Node",
        "metadata": { "name": name, "labels": {
            "kubernetes.io/hostname": name, "kubernetes.io/arch": "amd64",
            "topology.kubernetes.io/zone": "ap-northeast-2a",
        }},
        "spec": {},
        "status": {
            "allocatable": {
                "pods": pods.to_string(), "cpu": cpus.to_string(), "memory": format!("{memory_gib}Gi"),
            },
            "conditions": [{
                "type": "Ready", "status": "True", "reason": "KubeletReady",
                "message": "kubelet is posting ready status",
            }],
        },
    })
}
