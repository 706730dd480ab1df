//! A Jenkins that keeps to the facts: the queue with its quiet period, logs with notes that are taken out, inputs,
//! crumbs bound to sessions, addresses that are wrong because of a proxy.
//!
//! Time does not pass here: an item of the queue goes one step further each time that it is looked at, a log gives its
//! next piece each time that it is read. So a test sees every state once, in order.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

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
    /// Whether pipeline-rest-api is installed.
    pub lacks_stages: bool,
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
}

/// How a build goes.
#[derive(Clone)]
pub struct Script {
    /// The states of the item, one for each look; then it leaves.
    pub queue: Vec<Step>,
    /// The pieces of the log, one for each look.
    pub log: Vec<Vec<u8>>,
    pub result: &'static str,
    /// As `wfapi/describe` lists them.
    pub stages: Vec<Value>,
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
    pub stages: Vec<Value>,
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
        let app = Router::new().fallback(answer).with_state(world.clone());
        tokio::spawn(async move { axum::serve(listener, app).await.expect("it serves") });
        Self { url, world }
    }

    /// What it knows now.
    pub fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
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

async fn answer(
    State(world): State<Arc<Mutex<World>>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let mut world = world.lock().unwrap_or_else(PoisonError::into_inner);
    let path = uri.path().strip_prefix("/jenkins").unwrap_or(uri.path()).to_owned();
    world.requests.push(format!("{method} {path}"));
    if world.outages > 0 {
        world.outages -= 1;
        return page(
            StatusCode::SERVICE_UNAVAILABLE,
            "<html>Please wait while Jenkins is getting ready to work</html>",
        );
    }
    if let Some(refusal) = world.refuse(&method, &path, &headers) {
        return refusal;
    }
    let query = uri.query().unwrap_or_default().to_owned();
    world.route(&method, &path, &query, &body)
}

impl World {
    fn refuse(&mut self, method: &Method, path: &str, headers: &HeaderMap) -> Option<Response> {
        let given =
            headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()).unwrap_or_default();
        // ann:token and ann:password in base64.
        let (token, password) = ("Basic YW5uOnRva2Vu", "Basic YW5uOnBhc3N3b3Jk");
        match self.guard {
            Guard::Nobody => None,
            Guard::LoginPage => Some(
                (StatusCode::FOUND, [(header::LOCATION, "/jenkins/securityRealm/commenceLogin?from=x")])
                    .into_response(),
            ),
            Guard::Forbidden => {
                Some(page(StatusCode::FORBIDDEN, "<html>ann is missing the Job/Build permission</html>"))
            }
            Guard::Token => (given != token).then(|| page(StatusCode::UNAUTHORIZED, "<html>Invalid</html>")),
            Guard::Password if given != password => {
                Some(page(StatusCode::UNAUTHORIZED, "<html>Invalid</html>"))
            }
            Guard::Password if method == Method::POST => {
                let crumb = headers.get("jenkins-crumb").and_then(|value| value.to_str().ok());
                let session = headers.get(header::COOKIE).and_then(|value| value.to_str().ok());
                let wanted = (format!("crumb-{}", self.sessions), format!("JSESSIONID=s{}", self.sessions));
                let is_right = self.sessions > 0
                    && crumb == Some(wanted.0.as_str())
                    && session.is_some_and(|session| session.contains(&wanted.1));
                (!is_right).then(|| {
                    page(StatusCode::FORBIDDEN, "<html>No valid crumb was included in the request</html>")
                })
            }
            Guard::Password if path.starts_with("/crumbIssuer") => {
                self.sessions += 1;
                let crumb = json!({"crumb": format!("crumb-{}", self.sessions), "crumbRequestField": "Jenkins-Crumb"});
                let cookie = format!("JSESSIONID=s{}; Path=/; HttpOnly", self.sessions);
                Some(([(header::SET_COOKIE, cookie)], axum::Json(crumb)).into_response())
            }
            Guard::Password => None,
        }
    }

    fn route(&mut self, method: &Method, path: &str, query: &str, body: &[u8]) -> Response {
        let is_post = method == Method::POST;
        if let Some(rest) = path.strip_prefix("/queue/") {
            return self.in_queue(rest, query);
        }
        // /job/A/job/B/rest
        let mut name: Vec<String> = Vec::new();
        let mut rest = path;
        while let Some(after) = rest.strip_prefix("/job/") {
            let (part, more) = after.find('/').map_or((after, ""), |at| after.split_at(at));
            name.push(decode(part));
            rest = more;
        }
        let name = name.join("/");
        let rest = rest.trim_start_matches('/');
        if rest == "createItem" && is_post {
            let child = decode(query.trim_start_matches("name="));
            let full = if name.is_empty() { child } else { format!("{name}/{child}") };
            let xml = String::from_utf8_lossy(body).into_owned();
            self.jobs.insert(full, Job { xml, ..Job::default() });
            return StatusCode::OK.into_response();
        }
        if rest == "api/json"
            && (name.is_empty() || self.jobs.get(&name).is_some_and(|job| job.class.ends_with("Folder")))
        {
            let is_child = |full: &str| match name.is_empty() {
                true => !full.contains('/'),
                false => full.strip_prefix(&format!("{name}/")).is_some_and(|rest| !rest.contains('/')),
            };
            let jobs: Vec<Value> = self
                .jobs
                .iter()
                .filter(|(full, _)| is_child(full))
                .map(|(full, job)| told(full, job))
                .collect();
            return axum::Json(json!({"jobs": jobs, "buildable": false})).into_response();
        }
        let Some(job) = self.jobs.get_mut(&name) else {
            return page(StatusCode::NOT_FOUND, "<html>Not found</html>");
        };
        match (rest, is_post) {
            ("api/json", false) if query.contains("builds") => {
                let builds = job
                    .builds
                    .iter()
                    .rev()
                    .map(|build| json!({"number": build.number, "queueId": build.queue_id}));
                axum::Json(json!({"builds": builds.collect::<Vec<_>>()})).into_response()
            }
            ("api/json", false) => axum::Json(told(&name, job)).into_response(),
            ("config.xml", false) => {
                ([(header::CONTENT_TYPE, "application/xml")], job.xml.clone()).into_response()
            }
            ("config.xml", true) => {
                job.xml = String::from_utf8_lossy(body).into_owned();
                StatusCode::OK.into_response()
            }
            ("buildWithParameters", true) if job.parameters.is_empty() => {
                page(StatusCode::BAD_REQUEST, "<html>shop is not parameterized</html>")
            }
            ("build" | "buildWithParameters", true) => self.wish(&name, body),
            _ => self.of_build(&name, rest, query, is_post, body),
        }
    }

    fn wish(&mut self, name: &str, body: &[u8]) -> Response {
        let Some(job) = self.jobs.get(name) else { return StatusCode::NOT_FOUND.into_response() };
        if job.is_disabled {
            return page(StatusCode::CONFLICT, "<html>is not buildable</html>");
        }
        let (status, item) = match job.wish {
            Wish::Refused => return (StatusCode::FOUND, [(header::LOCATION, ".")]).into_response(),
            Wish::Joins => (StatusCode::SEE_OTHER, self.queue.keys().next_back().copied()),
            Wish::Queued => (StatusCode::CREATED, None),
        };
        let item = item.unwrap_or_else(|| {
            let defined = |name: &str| job.parameters.iter().any(|parameter| parameter["name"] == name);
            let sent = String::from_utf8_lossy(body).into_owned();
            let sent = sent.split('&').filter_map(|field| field.split_once('='));
            // What is not defined is dropped without a word.
            let parameters = sent
                .map(|(name, value)| (decode(name), decode(value)))
                .filter(|(name, _)| defined(name))
                .collect();
            let item = Item {
                job: name.to_owned(),
                steps: job.script.queue.iter().copied().collect(),
                parameters,
                number: None,
                is_cancelled: false,
            };
            self.next_item += 1;
            self.queue.insert(self.next_item, item);
            self.next_item
        });
        let location = match self.location {
            Location::Absolute => format!("http://127.0.0.1/jenkins/queue/item/{item}/"),
            Location::Relative => format!("/jenkins/queue/item/{item}/"),
            Location::WrongHost => format!("https://wrong.invalid:8443/queue/item/{item}/"),
        };
        (status, [(header::LOCATION, location)]).into_response()
    }

    fn in_queue(&mut self, rest: &str, query: &str) -> Response {
        if rest.starts_with("cancelItem") {
            let item =
                query.trim_start_matches("id=").parse().ok().and_then(|id: u64| self.queue.get_mut(&id));
            if let Some(item) = item {
                item.is_cancelled = true;
            }
            return StatusCode::NO_CONTENT.into_response();
        }
        let id: Option<u64> =
            rest.strip_prefix("item/").and_then(|rest| rest.split('/').next()?.parse().ok());
        let Some((id, item)) = id.and_then(|id| Some((id, self.queue.get_mut(&id)?))) else {
            return StatusCode::NOT_FOUND.into_response();
        };
        let class = |name: &str| format!("hudson.model.Queue${name}");
        let step = item.steps.pop_front();
        if step == Some(Step::Cancelled) || item.is_cancelled {
            item.is_cancelled = true;
            return axum::Json(json!({"_class": class("LeftItem"), "cancelled": true})).into_response();
        }
        let waiting = match step {
            Some(Step::Waiting) => Some(("WaitingItem", "In the quiet period. Expires in 5 sec")),
            Some(Step::Blocked) => Some(("BlockedItem", "Build #16 is already in progress")),
            Some(Step::Buildable) => Some(("BuildableItem", "Waiting for next available executor")),
            _ => None,
        };
        if let Some((kind, why)) = waiting {
            return axum::Json(json!({"_class": class(kind), "why": why, "cancelled": false}))
                .into_response();
        }
        let number = match item.number {
            Some(number) => number,
            None => {
                let Some(job) = self.jobs.get_mut(&item.job) else {
                    return StatusCode::NOT_FOUND.into_response();
                };
                let number = job.builds.last().map_or(1, |build| build.number + 1);
                job.builds.push(Build {
                    number,
                    queue_id: id,
                    parameters: item.parameters.clone(),
                    written: Vec::new(),
                    pending: job.script.log.iter().cloned().collect(),
                    result: None,
                    ends_as: job.script.result,
                    stages: job.script.stages.clone(),
                    inputs: job.script.inputs.clone(),
                    answers: Vec::new(),
                });
                item.number = Some(number);
                number
            }
        };
        if step == Some(Step::Expired) {
            item.steps.push_front(Step::Expired);
            return StatusCode::NOT_FOUND.into_response();
        }
        let executable = json!({"number": number, "url": format!("https://wrong.invalid/job/x/{number}/")});
        axum::Json(json!({"_class": class("LeftItem"), "cancelled": false, "executable": executable}))
            .into_response()
    }

    fn of_build(&mut self, name: &str, rest: &str, query: &str, is_post: bool, body: &[u8]) -> Response {
        let lacks_stages = self.lacks_stages;
        let not_found = || page(StatusCode::NOT_FOUND, "<html>Not found</html>");
        let Some(job) = self.jobs.get_mut(name) else { return not_found() };
        let (which, rest) = rest.split_once('/').unwrap_or((rest, ""));
        let build = match which {
            "lastBuild" => job.builds.last_mut(),
            number => job.builds.iter_mut().find(|build| build.number.to_string() == number),
        };
        let Some(build) = build else { return not_found() };
        match (rest, is_post) {
            ("api/json", false) => axum::Json(build.told()).into_response(),
            ("stop", true) => {
                build.pending = VecDeque::from([b"Aborted by ann\n".to_vec()]);
                build.inputs.clear();
                build.ends_as = "ABORTED";
                (StatusCode::FOUND, [(header::LOCATION, ".")]).into_response()
            }
            ("logText/progressiveText", false) => build.log(query),
            ("wfapi/describe" | "wfapi/pendingInputActions", false) if lacks_stages => not_found(),
            ("wfapi/describe", false) => axum::Json(json!({"stages": build.stages})).into_response(),
            ("wfapi/pendingInputActions", false) => axum::Json(json!(build.inputs)).into_response(),
            (rest, true) if rest.starts_with("input/") => {
                let mut parts = rest.split('/').skip(1);
                let (id, verb) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
                let Some(at) = build.inputs.iter().position(|input| {
                    input["id"].as_str().is_some_and(|known| {
                        let mut letters = known.chars();
                        let first: String = letters.next().into_iter().flat_map(char::to_uppercase).collect();
                        format!("{first}{}", letters.as_str()) == decode(id)
                    })
                }) else {
                    return not_found();
                };
                build.inputs.remove(at);
                build.answers.push((decode(id), verb.to_owned(), decode(&String::from_utf8_lossy(body))));
                if verb == "abort" {
                    build.pending.clear();
                    build.ends_as = "ABORTED";
                }
                StatusCode::OK.into_response()
            }
            _ => not_found(),
        }
    }
}

impl Build {
    fn told(&self) -> Value {
        let parameters: Vec<Value> =
            self.parameters.iter().map(|(name, value)| json!({"name": name, "value": value})).collect();
        json!({
            "number": self.number,
            "building": self.result.is_none(),
            "result": self.result,
            "timestamp": 1_700_000_000_000_i64,
            "duration": if self.result.is_some() { 61_000 } else { 0 },
            "estimatedDuration": 60_000,
            "actions": [
                {"causes": [{"shortDescription": "Started by user Ann", "userId": "ann"}]},
                {},
                {"parameters": parameters},
            ],
        })
    }

    /// One piece more, unless somebody is asked something. Notes are in the stored log and not in what is sent.
    fn log(&mut self, query: &str) -> Response {
        let mut start: usize = query.trim_start_matches("start=").parse().unwrap_or(0);
        if self.inputs.is_empty() {
            match self.pending.pop_front() {
                Some(piece) => self.written.extend(piece),
                None => self.result = Some(self.ends_as),
            }
        }
        if start > self.written.len() {
            start = 0;
        }
        let sent = without_notes(&self.written[start..]);
        let size = self.written.len().to_string();
        let mut answer =
            ([("X-Text-Size", size), ("Content-Type", "text/plain;charset=UTF-8".to_owned())], sent)
                .into_response();
        if self.result.is_none() {
            answer.headers_mut().insert("X-More-Data", header::HeaderValue::from_static("true"));
        }
        answer
    }
}

/// Console notes: `ESC [8mha:` up to `ESC [0m`.
fn without_notes(bytes: &[u8]) -> Vec<u8> {
    let (begin, end) = (b"\x1b[8mha:".as_slice(), b"\x1b[0m".as_slice());
    let mut plain = Vec::new();
    let mut rest = bytes;
    while let Some(at) = find(rest, begin) {
        plain.extend_from_slice(&rest[..at]);
        let after = find(&rest[at..], end).map_or(rest.len(), |to| at + to + end.len());
        rest = &rest[after..];
    }
    plain.extend_from_slice(rest);
    plain
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

fn told(full: &str, job: &Job) -> Value {
    let last = job.builds.last().map(|build| json!({"number": build.number, "result": build.result}));
    json!({
        "_class": job.class,
        "name": full.rsplit('/').next(),
        "fullName": full,
        "buildable": !job.is_disabled && !job.class.ends_with("Folder"),
        "inQueue": false,
        "lastBuild": last,
        "property": [{}, {"parameterDefinitions": job.parameters}],
    })
}

fn page(status: StatusCode, text: &'static str) -> Response {
    (status, [("X-Jenkins", "2.479.1"), ("Content-Type", "text/html")], text).into_response()
}

/// One layer of percent, and `+` as a space.
fn decode(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        match byte {
            b'%' => {
                let digits: Vec<u8> = rest.by_ref().take(2).collect();
                let digits = std::str::from_utf8(&digits).unwrap_or("0");
                bytes.push(u8::from_str_radix(digits, 16).unwrap_or(b'?'));
            }
            b'+' => bytes.push(b' '),
            other => bytes.push(other),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
