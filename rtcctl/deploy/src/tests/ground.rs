//! A cluster, small releases, and a port that dies where it is told.
//!
//! What is [`anywhere`] is asked of a cluster that is played, by virtual time, or of the one that `RTC_TEST_KUBECONFIG`
//! names, in a namespace of its own. A test that says [`Ground::new`] is about the played one alone.

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, resume_unwind};
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::FutureExt;
use journal::{Journal, Start};
use kernel::Clock;
use kubernetes::read::LogRequest;
use kubernetes::testing::Api;
use kubernetes::testing::site::{Real, Site, named};
use kubernetes::write::{Applied, Apply, Delete, Deleted};
use kubernetes::{Cluster, Gvk, Place, Result};
use rollout::canary::analysis::Measurement;
use rollout::lifecycle::OnFailure;
use rollout::verdict::Rules;
use rollout::world::Target;
use serde_json::{Value as Json, json};
use tokio::sync::Notify;

use super::eye::{BadFrom, Eye, Shown};
use crate::gate::{Check, Gauge, Seen, View};
use crate::manifest::{Item, Manifest, Wave};
use crate::port::{Following, Port};
use crate::revision::Others;
use crate::run::{self, Action, Book, Driver, End, Migration, News, Plan, Strategy, Word};

/// That of a cluster that is played.
pub const NAMESPACE: &str = "shop";

thread_local! {
    static OWN: RefCell<String> = RefCell::new(NAMESPACE.to_owned());
}

/// The namespace of this test.
pub fn namespace() -> String {
    OWN.with_borrow(Clone::clone)
}

/// What its objects are labelled with: on a cluster of many, no test finds those of another.
pub fn environment() -> String {
    match namespace().as_str() {
        NAMESPACE => "test".to_owned(),
        own => own.to_owned(),
    }
}

/// Runs a scenario on a cluster that is played, or on the one that is named.
pub fn anywhere(scenario: impl AsyncFnOnce(&Ground)) {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let Some(named) = named() else {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        runtime
            .enable_all()
            .start_paused(true)
            .build()
            .unwrap()
            .block_on(async { scenario(&Ground::new()).await });
        return;
    };
    let own = format!("rtc-deploy-{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::SeqCst));
    OWN.set(own.clone());
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
        let site = Site::Real(Real::enter(named, &own).await.unwrap());
        let ended = AssertUnwindSafe(scenario(&Ground::at(site.clone()))).catch_unwind().await;
        site.leave().await;
        if let Err(panic) = ended {
            resume_unwind(panic);
        }
    });
}

/// An image whose digest says which version it is.
pub fn image(version: u8) -> String {
    format!("registry.test/rtcd@sha256:{}", format!("{version:02x}").repeat(32))
}

fn body(api_version: &str, kind: &str, name: &str, rest: Json) -> Json {
    let mut body = json!({
        "apiVersion": api_version, "kind": kind,
        "metadata": { "name": name, "labels": {
            "app.kubernetes.io/managed-by": "rtcctl", "rtc.io/environment": environment(), "app.kubernetes.io/part-of": "rtc",
        } },
    });
    if kind != "Namespace" {
        body["metadata"]["namespace"] = namespace().into();
    }
    for (key, value) in rest.as_object().into_iter().flatten() {
        body[key] = value.clone();
    }
    body
}

/// Who says how many there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scaled {
    Fixed(u32),
    ByAutoscaler,
}

/// A release: settings, a migration, a Deployment with a Service.
pub fn manifest(version: u8, scaled: Scaled) -> Manifest {
    let image = image(version);
    let labels = json!({ "app": "web" });
    let mut deployment = json!({
        "strategy": { "type": "RollingUpdate", "rollingUpdate": { "maxSurge": 1, "maxUnavailable": 0 } },
        "selector": { "matchLabels": labels },
        "template": {
            "metadata": { "labels": labels },
            "spec": { "containers": [{
                "name": "rtcd", "image": image, "terminationMessagePolicy": "FallbackToLogsOnError",
                "env": [{ "name": "VERSION", "value": version.to_string() }],
            }] },
        },
    });
    if let Scaled::Fixed(replicas) = scaled {
        deployment["replicas"] = replicas.into();
    }
    let job = json!({ "backoffLimit": 0, "template": {
        "metadata": { "labels": { "app": "migrate" } },
        "spec": { "restartPolicy": "Never", "containers": [{ "name": "rtcd", "image": image }] },
    } });
    let service = json!({ "selector": labels, "ports": [{ "port": 80, "protocol": "TCP" }] });
    let mut items = vec![
        (Wave::Ground, body("v1", "Namespace", &namespace(), json!({}))),
        (Wave::Surroundings, body("v1", "ConfigMap", "web", json!({ "data": { "v": version.to_string() } }))),
        (Wave::Migration, body("batch/v1", "Job", &format!("migrate-{version}"), json!({ "spec": job }))),
        (Wave::Workloads, body("v1", "Service", "web", json!({ "spec": service }))),
        (Wave::Workloads, body("apps/v1", "Deployment", "web", json!({ "spec": deployment }))),
    ];
    if scaled == Scaled::ByAutoscaler {
        let spec = json!({
            "scaleTargetRef": { "apiVersion": "apps/v1", "kind": "Deployment", "name": "web" },
            "minReplicas": 1, "maxReplicas": 10,
        });
        items.push((
            Wave::Workloads,
            body("autoscaling/v2", "HorizontalPodAutoscaler", "web", json!({ "spec": spec })),
        ));
    }
    Manifest { items: items.into_iter().map(|(wave, body)| Item { wave, body }).collect() }
}

/// The Deployment of a manifest.
pub fn deployment(manifest: &mut Manifest) -> &mut Json {
    &mut manifest.items.iter_mut().find(|item| item.body["kind"] == "Deployment").unwrap().body
}

pub fn plan(version: u8, manifest: Manifest) -> Plan {
    Plan {
        command: "rollout".to_owned(),
        environment: environment(),
        namespace: namespace(),
        by: "somebody".to_owned(),
        image: image(version),
        version: None,
        action: Action::Apply { manifest },
        description: Json::Null,
        strategy: Strategy::Rolling,
        migration: Migration::Run,
        rules: Rules::default(),
        bake: Duration::ZERO,
        gate: None,
        on_failure: OnFailure::RollBack,
        removes: Vec::new(),
        takes_fields: false,
        others: Others::Respected,
        metrics: Vec::new(),
    }
}

/// Where a test stands: a cluster, and a folder for journals.
pub struct Ground {
    pub site: Site,
    /// The cluster where it is played; on a real one nobody asks this server anything.
    pub api: Api,
    pub folder: tempfile::TempDir,
    turning: Option<tokio::task::JoinHandle<()>>,
}

impl Drop for Ground {
    fn drop(&mut self) {
        if let Some(turning) = &self.turning {
            turning.abort();
        }
    }
}

impl Ground {
    /// A second of the cluster passes with each second of the test.
    pub fn new() -> Self {
        let api = Api::new();
        for node in ["a", "b", "c"] {
            api.node(node, 50, 16, 64);
        }
        let turning = Some(api.turn_every(Duration::from_secs(1)));
        Self { site: Site::Played(api.clone()), api, folder: tempfile::tempdir().unwrap(), turning }
    }

    fn at(site: Site) -> Self {
        Self { site, api: Api::new(), folder: tempfile::tempdir().unwrap(), turning: None }
    }

    pub fn journal(&self) -> Journal {
        Journal::new(self.folder.path().join("runs"), self.site.clock())
    }

    /// An object of the test's namespace.
    pub async fn object(&self, kind: &str, name: &str) -> Option<Json> {
        self.site.object(kind, &namespace(), name).await
    }

    /// The Deployment `web`.
    pub async fn web(&self) -> Json {
        self.object("Deployment", "web").await.unwrap()
    }

    /// The pods of `web`, in the order of their names.
    pub async fn pods(&self) -> Vec<Json> {
        let mut pods = self.site.objects("Pod", &namespace()).await;
        pods.retain(|pod| {
            pod["metadata"]["labels"]["app"] == "web" && pod["metadata"]["deletionTimestamp"].is_null()
        });
        pods
    }

    pub fn begin(&self, plan: Plan) -> Book {
        let start = Start { command: "deploy rollout".to_owned(), ..Start::default() };
        Book::begin(&self.journal(), start, 7, plan).unwrap()
    }

    pub fn deployment(&self, name: &str) -> Json {
        self.api.object("Deployment", NAMESPACE, name).unwrap()
    }

    /// Drives a plan to its end.
    pub async fn roll(&self, plan: Plan) -> Rolled {
        let mut book = self.begin(plan);
        let end = self.drive(&mut book, &self.site.cluster(), None, Word::GoOn).await.unwrap();
        Rolled { book, end }
    }

    pub async fn gated(&self, plan: Plan, gauge: &dyn Gauge) -> Rolled {
        let mut book = self.begin(plan);
        let end = self.drive(&mut book, &self.site.cluster(), Some(gauge), Word::GoOn).await.unwrap();
        Rolled { book, end }
    }

    pub async fn drive(
        &self,
        book: &mut Book,
        port: &dyn Port,
        gauge: Option<&dyn Gauge>,
        word: Word,
    ) -> run::Result<End> {
        let clock: Arc<dyn Clock> = self.site.clock();
        let silent = |_: &News<'_>| {};
        let driver = Driver { port, clock: clock.as_ref(), gauge, tell: &silent };
        driver.drive(book, word).await
    }

    /// Drives a run before an eye, bad once so many percent are led to the second version. With how many requests had been
    /// made by then.
    pub async fn shown(&self, book: &mut Book, eye: &Eye, bad_from: u64) -> (End, Option<usize>) {
        let gauge = BadFrom::new(eye, bad_from);
        let shown = Shown { port: &self.api.cluster(), eye };
        let end = self.drive(book, &shown, Some(&gauge), Word::GoOn).await.unwrap();
        let since = *gauge.since.lock().unwrap();
        (end, since)
    }

    /// The autoscaler wants so many pods, and has had a moment.
    pub async fn grow(&self, namespace: &str, deployment: &str, pods: u32) {
        self.api.autoscale(namespace, deployment, pods);
        tokio::time::sleep(Duration::from_secs(5)).await;
    }

    /// Numbers and states of the revisions where the cluster is played.
    pub fn revisions(&self) -> Vec<(u64, String)> {
        numbered(&self.api.objects("ConfigMap", NAMESPACE))
    }

    /// Numbers and states of the revisions.
    pub async fn history(&self) -> Vec<(u64, String)> {
        numbered(&self.site.objects("ConfigMap", &namespace()).await)
    }
}

fn numbered(maps: &[Json]) -> Vec<(u64, String)> {
    let mut found: Vec<(u64, String)> = maps
        .iter()
        .filter_map(|map| {
            let labels = &map["metadata"]["labels"];
            let number = labels["rtc.io/revision"].as_str()?.parse().ok()?;
            Some((number, labels["rtc.io/revision-status"].as_str()?.to_owned()))
        })
        .collect();
    found.sort();
    found
}

/// No more pods than there are find room.
pub fn leave_no_room(api: &Api) {
    let pods = api.objects("Pod", NAMESPACE).len();
    api.given(&json!({
        "apiVersion": "v1", "kind": "ResourceQuota",
        "metadata": { "name": "full", "namespace": NAMESPACE },
        "spec": { "hard": { "pods": pods.to_string() } },
    }));
}

pub struct Rolled {
    pub book: Book,
    pub end: End,
}

impl Rolled {
    pub fn exit(&self) -> u8 {
        match self.end {
            End::Over { exit, .. } => exit,
            End::Paused { .. } => panic!("it stands still"),
        }
    }

    pub fn code(&self) -> &'static str {
        self.book.causes().first().map_or("", |cause| cause.code.id())
    }
}

/// What a gate is told, one look after another; the last stays.
pub struct Told(pub Mutex<Vec<Measurement>>);

impl Told {
    pub fn new(looks: &[Measurement]) -> Self {
        Self(Mutex::new(looks.to_vec()))
    }
}

#[async_trait]
impl Gauge for Told {
    async fn measure(&self, _check: &Check, _view: &View) -> Seen {
        let mut looks = self.0.lock().unwrap();
        let measurement = if looks.len() > 1 { looks.remove(0) } else { looks[0] };
        Seen { measurement, is_silent: false, says: format!("{measurement:?}") }
    }
}

/// Where a process is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    Before,
    After,
}

/// A port whose process dies at its n-th request.
pub struct Mortal {
    pub cluster: Cluster,
    left: AtomicUsize,
    moment: Moment,
    pub died: Notify,
}

impl Mortal {
    pub fn new(cluster: Cluster, at: usize, moment: Moment) -> Self {
        Self { cluster, left: AtomicUsize::new(at), moment, died: Notify::new() }
    }

    async fn die(&self) {
        self.died.notify_one();
        std::future::pending::<()>().await;
    }

    async fn pass<T>(&self, request: impl Future<Output = Result<T>> + Send) -> Result<T> {
        let is_last = self.left.fetch_sub(1, Ordering::SeqCst) == 1;
        if is_last && self.moment == Moment::Before {
            self.die().await;
        }
        let answer = request.await;
        if is_last {
            self.die().await;
        }
        answer
    }
}

#[async_trait]
impl Port for Mortal {
    fn place(&self) -> Place {
        Port::place(&self.cluster)
    }
    async fn get(&self, gvk: &Gvk, namespace: &str, name: &str) -> Result<Option<Json>> {
        self.pass(Port::get(&self.cluster, gvk, namespace, name)).await
    }
    async fn list(&self, gvk: &Gvk, namespace: &str, labels: &str) -> Result<Vec<Json>> {
        self.pass(Port::list(&self.cluster, gvk, namespace, labels)).await
    }
    async fn apply(&self, object: &Json, how: &Apply) -> Result<Applied> {
        self.pass(Port::apply(&self.cluster, object, how)).await
    }
    async fn create(&self, object: &Json) -> Result<Json> {
        self.pass(Port::create(&self.cluster, object)).await
    }
    async fn label(&self, gvk: &Gvk, namespace: &str, name: &str, labels: &Json) -> Result<Json> {
        self.pass(Port::label(&self.cluster, gvk, namespace, name, labels)).await
    }
    async fn delete(&self, gvk: &Gvk, namespace: &str, name: &str, how: &Delete) -> Result<Deleted> {
        self.pass(Port::delete(&self.cluster, gvk, namespace, name, how)).await
    }
    async fn events_about(&self, namespace: &str, uid: &str) -> Result<Vec<Json>> {
        self.pass(Port::events_about(&self.cluster, namespace, uid)).await
    }
    async fn log(&self, request: &LogRequest) -> Result<String> {
        self.pass(Port::log(&self.cluster, request)).await
    }
    fn follow(&self, targets: &[Target]) -> Box<dyn Following> {
        Port::follow(&self.cluster, targets)
    }
}

/// The time that passes in a cluster.
pub fn seconds(ground: &Ground, since: kernel::Timestamp) -> u64 {
    ground.site.clock().now().since(since).as_secs()
}
