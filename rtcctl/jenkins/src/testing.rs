//! A Jenkins that keeps to the facts: the queue with its quiet period, logs with notes that are taken out, inputs,
//! crumbs bound to sessions, addresses that are wrong because of a proxy.
//!
//! Time does not pass here: an item of the queue goes one step further each time that it is looked at, a log gives its
//! next piece each time that it is read. So a test sees every state once, in order.

mod answers;

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Router;
use serde_json::{Value, json};
use tokio::sync::oneshot;

/// One running stand-in; it ends with the test's runtime.
#[derive(Clone)]
pub struct Standin {
    pub url: String,
    world: Arc<Mutex<World>>,
}

/// Everything that it knows and does, for tests to arrange and to look at.
#[derive(Default)]
pub struct World {
    /// By full name.
    pub jobs: BTreeMap<String, Job>,
    pub queue: BTreeMap<u64, Item>,
    /// Every request: method and path.
    pub requests: Vec<String>,
    pub guard: Guard,
    pub location: Location,
    /// So many of the next requests find nobody: 503, as a restarting Jenkins answers.
    pub outages: u32,
    /// So many of the next pieces of a log break off in the middle.
    pub cuts: u32,
    /// Whether pipeline-rest-api is installed.
    pub lacks_stages: bool,
    /// Classes of plug-ins that are not installed: what a definition says of them is dropped without a word.
    pub lacks_classes: Vec<&'static str>,
    /// Whether console notes are sent as they are stored.
    pub sends_notes: bool,
    asked: Vec<(String, oneshot::Sender<()>)>,
    next_item: u64,
    sessions: u64,
}

/// Who is let in.
#[derive(Default, Clone, Copy, PartialEq, Eq)]
pub enum Guard {
    #[default]
    Nobody,
    /// `ann` with the API token `token`: no crumb.
    Token,
    /// `ann` with the password `password`: POSTs need a crumb of the session.
    Password,
    /// Everybody is sent to a login page.
    LoginPage,
    /// Everybody is refused.
    Forbidden,
    /// Whoever does not say who they are is refused with a page that leads to a login.
    Strangers,
    /// Everybody is sent to https.
    Https,
}

/// How Jenkins names the item of the queue.
#[derive(Default, Clone, Copy, PartialEq, Eq)]
pub enum Location {
    #[default]
    Absolute,
    Relative,
    /// As a Jenkins whose root address is set wrongly.
    WrongHost,
}

#[derive(Clone, Default)]
pub struct Job {
    pub class: &'static str,
    pub is_disabled: bool,
    /// As in `parameterDefinitions`.
    pub parameters: Vec<Value>,
    pub builds: Vec<Build>,
    pub xml: String,
    /// What becomes of wishes to build.
    pub wish: Wish,
    /// How each new build goes.
    pub script: Script,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub enum Wish {
    #[default]
    Queued,
    /// An equal one is in the queue already.
    Joins,
    /// 302 to where it came from.
    Refused,
    /// Somebody has just taken its parameters away.
    Unparameterized,
    /// Somebody has just disabled it: 409.
    JustDisabled,
    /// It is in the queue, and this status is all that comes back.
    Lost(u16),
}

/// How a build goes.
#[derive(Clone)]
pub struct Script {
    /// The states of the item, one for each look; then it leaves.
    pub queue: Vec<Step>,
    /// The pieces of the log, one for each look.
    pub log: Vec<Vec<u8>>,
    pub result: &'static str,
    /// As `wfapi/describe` lists them, one list for each look; the last one stays.
    pub stages: Vec<Vec<Value>>,
    /// As pipeline-graph-view tells it, where that is installed.
    pub tree: Option<Value>,
    /// As `wfapi/pendingInputActions` lists them; the log stands still until they are answered.
    pub inputs: Vec<Value>,
}

impl Default for Script {
    fn default() -> Self {
        Self {
            queue: vec![Step::Waiting, Step::Blocked, Step::Buildable],
            log: vec![b"Started\n".to_vec(), b"Finished: SUCCESS\n".to_vec()],
            result: "SUCCESS",
            stages: Vec::new(),
            tree: None,
            inputs: Vec::new(),
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Step {
    Waiting,
    Blocked,
    Buildable,
    /// Somebody takes it out.
    Cancelled,
    /// It left more than five minutes ago.
    Expired,
}

pub struct Item {
    pub job: String,
    steps: VecDeque<Step>,
    parameters: Vec<(String, String)>,
    number: Option<u64>,
    is_cancelled: bool,
}

#[derive(Clone)]
pub struct Build {
    pub number: u64,
    pub queue_id: u64,
    pub parameters: Vec<(String, String)>,
    /// What of the log was written already.
    pub written: Vec<u8>,
    pub pending: VecDeque<Vec<u8>>,
    pub result: Option<&'static str>,
    pub ends_as: &'static str,
    pub stages: VecDeque<Vec<Value>>,
    pub tree: Option<Value>,
    pub inputs: Vec<Value>,
    /// What was answered: the identifier, the verb and what was sent.
    pub answers: Vec<(String, String, String)>,
}

impl Standin {
    /// Starts one on a free port; `arrange` says what is in it.
    pub async fn start(arrange: impl FnOnce(&mut World)) -> Self {
        let mut world = World { next_item: 17, ..World::default() };
        arrange(&mut world);
        let world = Arc::new(Mutex::new(world));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}/jenkins", listener.local_addr().expect("it is bound"));
        let app = Router::new().fallback(answers::answer).with_state(world.clone());
        tokio::spawn(async move { axum::serve(listener, app).await.expect("it serves") });
        Self { url, world }
    }

    /// What it knows now.
    pub fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends when the next request comes whose method and path contain `what`, before it is answered.
    pub fn asked(&self, what: &str) -> impl Future<Output = ()> + use<> {
        let (sender, receiver) = oneshot::channel();
        self.world().asked.push((what.to_owned(), sender));
        async move { receiver.await.expect("the stand-in lives") }
    }
}

impl World {
    /// A pipeline with these parameters and this script.
    pub fn pipeline(&mut self, name: &str, parameters: Vec<Value>, script: Script) {
        let class = "org.jenkinsci.plugins.workflow.job.WorkflowJob";
        self.jobs.insert(name.to_owned(), Job { class, parameters, script, ..Job::default() });
    }

    pub fn folder(&mut self, name: &str) {
        let class = "com.cloudbees.hudson.plugins.folder.Folder";
        self.jobs.insert(name.to_owned(), Job { class, ..Job::default() });
    }
}

/// A definition as Jenkins tells it: `text_parameter("VERSION", "")`.
pub fn text_parameter(name: &str, default: &str) -> Value {
    json!({"type": "StringParameterDefinition", "name": name, "defaultParameterValue": {"value": default}})
}

pub fn choice_parameter(name: &str, choices: &[&str]) -> Value {
    json!({"type": "ChoiceParameterDefinition", "name": name, "choices": choices,
           "defaultParameterValue": {"value": choices.first()}})
}

pub fn flag_parameter(name: &str, default: bool) -> Value {
    json!({"type": "BooleanParameterDefinition", "name": name, "defaultParameterValue": {"value": default}})
}

pub fn stage(name: &str, status: &str, ms: u64) -> Value {
    json!({"name": name, "status": status, "durationMillis": ms})
}
