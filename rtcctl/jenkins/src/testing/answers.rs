//! What the stand-in answers.

mod log;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::{Build, Guard, Item, Job, Location, Step, Wish, World};
use crate::definition::Element;

pub(super) async fn answer(
    State(world): State<Arc<Mutex<World>>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let mut world = world.lock().unwrap_or_else(PoisonError::into_inner);
    let path = uri.path().strip_prefix("/jenkins").unwrap_or(uri.path()).to_owned();
    let request = format!("{method} {path}");
    let (now, later): (Vec<_>, Vec<_>) =
        std::mem::take(&mut world.asked).into_iter().partition(|(what, _)| request.contains(what));
    world.asked = later;
    for (_, asked) in now {
        let _ = asked.send(());
    }
    world.requests.push(request);
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
            Guard::Strangers if given.is_empty() => Some(page(
                StatusCode::FORBIDDEN,
                "<html><head><meta http-equiv='refresh' content='1;url=/login?from=x'/></head>Authentication required</html>",
            )),
            Guard::Strangers => None,
            Guard::Https => {
                let to = format!("https://127.0.0.1/jenkins{path}");
                Some((StatusCode::MOVED_PERMANENTLY, [(header::LOCATION, to)]).into_response())
            }
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
            return self.create(&name, &decode(query.trim_start_matches("name=")), body);
        }
        if rest == "api/json"
            && (name.is_empty()
                || (self.jobs.get(&name).is_some_and(Job::holds_jobs) && !query.contains("tree=_class")))
        {
            let is_child = |full: &str| match name.is_empty() {
                true => !full.contains('/'),
                false => full.strip_prefix(&format!("{name}/")).is_some_and(|rest| !rest.contains('/')),
            };
            let jobs: Vec<Value> = self
                .jobs
                .iter()
                .filter(|(full, _)| is_child(full))
                .map(|(full, job)| told(full, job, self.waiting(full)))
                .collect();
            return axum::Json(json!({"jobs": jobs, "buildable": false})).into_response();
        }
        let waiting = self.waiting(&name);
        let lacks = self.lacks_classes.clone();
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
            ("api/json", false) => axum::Json(told(&name, job, waiting)).into_response(),
            ("config.xml", false) => {
                ([(header::CONTENT_TYPE, "application/xml")], job.xml.clone()).into_response()
            }
            ("config.xml", true) => match taken(body, &lacks) {
                Some(xml) => {
                    job.xml = xml.print();
                    StatusCode::OK.into_response()
                }
                None => page(StatusCode::INTERNAL_SERVER_ERROR, "<html>Failed to parse</html>"),
            },
            ("doDelete", true) => {
                let within = format!("{name}/");
                self.jobs.retain(|full, _| *full != name && !full.starts_with(&within));
                // To where it was.
                let parts = name.rsplit_once('/').map_or("", |(folder, _)| folder).split('/');
                let to: String = parts
                    .filter(|part| !part.is_empty())
                    .map(|part| format!("job/{}/", escape(part)))
                    .collect();
                (StatusCode::FOUND, [(header::LOCATION, format!("/jenkins/{to}"))]).into_response()
            }
            ("buildWithParameters", true) if job.wish == Wish::Unparameterized => {
                job.parameters.clear();
                page(StatusCode::BAD_REQUEST, "<html>shop is not parameterized</html>")
            }
            ("buildWithParameters", true) if job.parameters.is_empty() => {
                page(StatusCode::BAD_REQUEST, "<html>shop is not parameterized</html>")
            }
            ("build" | "buildWithParameters", true) => self.wish(&name, body),
            _ => self.of_build(&name, rest, query, is_post, body),
        }
    }

    /// The item that waits to become the next build of a job.
    fn waiting(&self, name: &str) -> Option<u64> {
        let waits = |item: &Item| item.job == name && item.number.is_none() && !item.is_cancelled;
        self.queue.iter().find(|(_, item)| waits(item)).map(|(id, _)| *id)
    }

    fn create(&mut self, folder: &str, child: &str, body: &[u8]) -> Response {
        if !folder.is_empty() && !self.jobs.get(folder).is_some_and(Job::holds_jobs) {
            return page(StatusCode::NOT_FOUND, "<html>Not found</html>");
        }
        let full = if folder.is_empty() { child.to_owned() } else { format!("{folder}/{child}") };
        if self.jobs.contains_key(&full) {
            return page(StatusCode::BAD_REQUEST, "<html>A job already exists with the name</html>");
        }
        let Some(xml) = taken(body, &self.lacks_classes) else {
            return page(StatusCode::INTERNAL_SERVER_ERROR, "<html>Failed to parse</html>");
        };
        let class = match xml.name.rsplit('.').next().unwrap_or_default() {
            "Folder" => "com.cloudbees.hudson.plugins.folder.Folder",
            "WorkflowMultiBranchProject" => {
                "org.jenkinsci.plugins.workflow.multibranch.WorkflowMultiBranchProject"
            }
            _ => "org.jenkinsci.plugins.workflow.job.WorkflowJob",
        };
        self.jobs.insert(full, Job { class, xml: xml.print(), ..Job::default() });
        StatusCode::OK.into_response()
    }

    fn wish(&mut self, name: &str, body: &[u8]) -> Response {
        let Some(job) = self.jobs.get(name) else { return StatusCode::NOT_FOUND.into_response() };
        if job.is_disabled || job.wish == Wish::JustDisabled {
            return page(StatusCode::CONFLICT, "<html>is not buildable</html>");
        }
        let (status, item) = match job.wish {
            Wish::Refused => return (StatusCode::FOUND, [(header::LOCATION, ".")]).into_response(),
            Wish::Joins => (StatusCode::SEE_OTHER, self.queue.keys().next_back().copied()),
            Wish::Queued | Wish::Unparameterized | Wish::JustDisabled => (StatusCode::CREATED, None),
            Wish::Lost(status) => (StatusCode::from_u16(status).expect("a status"), None),
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
        if matches!(self.jobs[name].wish, Wish::Lost(_)) {
            return status.into_response();
        }
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
            let parts: Vec<String> =
                item.job.split('/').map(|part| format!("job/{}", escape(part))).collect();
            let task = json!({"url": format!("https://wrong.invalid/{}/", parts.join("/"))});
            return axum::Json(json!({"_class": class(kind), "why": why, "cancelled": false, "task": task}))
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
                    stages: job.script.stages.iter().cloned().collect(),
                    tree: job.script.tree.clone(),
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
        let parts: Vec<String> = item.job.split('/').map(|part| format!("job/{}", escape(part))).collect();
        let task = json!({"url": format!("https://wrong.invalid/{}/", parts.join("/"))});
        let executable = json!({"number": number, "url": format!("https://wrong.invalid/job/x/{number}/")});
        axum::Json(json!({"_class": class("LeftItem"), "cancelled": false, "executable": executable,
            "task": task}))
        .into_response()
    }

    fn of_build(&mut self, name: &str, rest: &str, query: &str, is_post: bool, body: &[u8]) -> Response {
        let (lacks_stages, sends_notes) = (self.lacks_stages, self.sends_notes);
        let is_cut = rest.ends_with("progressiveText") && self.cuts > 0;
        self.cuts -= u32::from(is_cut);
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
            ("logText/progressiveText", false) => build.log(query, sends_notes, is_cut),
            ("wfapi/describe" | "wfapi/pendingInputActions", false) if lacks_stages => not_found(),
            ("wfapi/describe", false) => {
                let stages = match build.stages.len() {
                    0 | 1 => build.stages.front().cloned(),
                    _ => build.stages.pop_front(),
                };
                axum::Json(json!({"stages": stages.unwrap_or_default()})).into_response()
            }
            ("pipeline-graph/tree", false) if build.tree.is_some() => {
                axum::Json(json!({"status": "ok", "data": build.tree})).into_response()
            }
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
}

fn told(full: &str, job: &Job, waiting: Option<u64>) -> Value {
    let last = job.builds.last().map(|build| json!({"number": build.number, "result": build.result}));
    let written = Element::parse(&job.xml).ok();
    let description = written.as_ref().and_then(|xml| xml.text_of("description"));
    json!({
        "_class": job.class,
        "name": full.rsplit('/').next(),
        "fullName": full,
        "description": description.unwrap_or_default(),
        "buildable": !job.is_disabled && !job.holds_jobs(),
        "queueItem": waiting.map(|id| json!({"id": id, "why": "Waiting for next available executor"})),
        "lastBuild": last,
        "property": [{}, {"parameterDefinitions": job.parameters}],
    })
}

impl Job {
    fn holds_jobs(&self) -> bool {
        self.class.ends_with("Folder") || self.class.ends_with("MultiBranchProject")
    }
}

/// A definition as Jenkins keeps it: with the versions of plug-ins, with what it fills in, without what no plug-in knows.
fn taken(body: &[u8], lacks: &[&'static str]) -> Option<Element> {
    fn drop_unknown(element: &mut Element, lacks: &[&'static str]) {
        element.children.retain(|child| !lacks.iter().any(|class| child.name.ends_with(class)));
        element.children.iter_mut().for_each(|child| drop_unknown(child, lacks));
    }
    let mut xml = Element::parse(&String::from_utf8_lossy(body)).ok()?;
    drop_unknown(&mut xml, lacks);
    let has = |xml: &Element, name: &str| xml.child(name).is_some();
    if !has(&xml, "actions") {
        xml.children.insert(0, Element::new("actions"));
    }
    if xml.name == "flow-definition" && xml.get("plugin").is_none() {
        xml.attributes.push(("plugin".to_owned(), "workflow-job@1400.v7fd111b_ec82f".to_owned()));
    }
    if xml.name.ends_with("Folder") && !has(&xml, "healthMetrics") {
        xml.children.push(Element::new("healthMetrics"));
    }
    for child in &mut xml.children {
        for property in &mut child.children {
            if property.name.ends_with("DisableConcurrentBuildsJobProperty") && property.children.is_empty() {
                property.children.push(Element::leaf("abortPrevious", "false"));
            }
        }
    }
    Some(xml)
}

/// One part of a path, as Jenkins itself writes it.
fn escape(part: &str) -> String {
    part.replace('%', "%25").replace(' ', "%20")
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
