//! What is wrong with pods, each by itself.

use serde_json::Value;

use super::view::{View, Workload, has_port, ports_of};
use super::{Code, Findings};

/// How long endpoints take to vanish from all nodes, about.
const PAUSE_MIN_S: u64 = 5;
const GRACE_DEFAULT_S: u64 = 30;
/// Where a pod says how long its process drains for.
const DRAIN: &str = crate::render::DRAIN;

pub(super) fn check(view: &View<'_>, workload: &Workload<'_>, findings: &mut Findings) {
    let object = workload.object;
    let serves = view.serves(workload);
    for container in workload.all_containers() {
        let name = container["name"].as_str().unwrap_or_default();
        image(container, name, object, findings);
        environment(container, name, object, findings);
    }
    for container in workload.containers() {
        let name = container["name"].as_str().unwrap_or_default();
        resources(container, name, object, findings);
        probes(container, name, object, findings);
        if serves && ports_of(container).next().is_some() {
            if container["readinessProbe"].is_null() {
                findings.add(Code::NoReadinessProbe, object, format!("container {name} has none"));
            }
            if pause_s(container).is_some_and(|pause| pause < PAUSE_MIN_S) {
                let pause = pause_s(container).unwrap_or_default();
                findings.add(Code::NoPause, object, format!("container {name} pauses for {pause} s"));
            }
        }
    }
    if workload.rolls() {
        grace(workload, findings);
        spread(view, workload, findings);
    }
}

/// `None`: it does something before it is stopped, and how long that takes cannot be seen.
fn pause_s(container: &Value) -> Option<u64> {
    let before = &container["lifecycle"]["preStop"];
    if before.is_null() {
        return Some(0);
    }
    if let Some(seconds) = before["sleep"]["seconds"].as_u64() {
        return Some(seconds);
    }
    let words: Vec<&str> = before["exec"]["command"]
        .as_array()?
        .iter()
        .filter_map(Value::as_str)
        .flat_map(str::split_whitespace)
        .collect();
    let after = words.iter().position(|word| *word == "sleep" || word.ends_with("/sleep"))?;
    words.get(after + 1)?.trim_end_matches(['s', ';']).parse().ok()
}

fn grace(workload: &Workload<'_>, findings: &mut Findings) {
    let grace = workload.pod()["terminationGracePeriodSeconds"].as_u64().unwrap_or(GRACE_DEFAULT_S);
    let pause = workload.containers().filter_map(pause_s).max().unwrap_or_default();
    let said = workload.template["metadata"]["annotations"][DRAIN].as_str();
    let drain: u64 = said.and_then(|text| text.parse().ok()).unwrap_or_default();
    if pause + drain >= grace {
        let message =
            format!("{grace} s are given, {pause} s go by before it is told, and it may take {drain} s");
        findings.add(Code::GraceTooShort, workload.object, message);
    }
}

fn spread(view: &View<'_>, workload: &Workload<'_>, findings: &mut Findings) {
    let pod = workload.pod();
    let constraints = pod["topologySpreadConstraints"].as_array().is_some_and(|list| !list.is_empty());
    let apart = !pod["affinity"]["podAntiAffinity"].is_null();
    let replicas = view.replicas(workload);
    if replicas >= 2 && !constraints && !apart {
        findings.add(
            Code::NotSpread,
            workload.object,
            format!("{replicas} replicas, and nothing keeps them apart"),
        );
    }
}

fn image(container: &Value, name: &str, object: &Value, findings: &mut Findings) {
    let image = container["image"].as_str().unwrap_or_default();
    if !image.contains("@sha256:") {
        findings.add(Code::TagNotDigest, object, format!("container {name} runs {image:?}"));
    }
}

fn resources(container: &Value, name: &str, object: &Value, findings: &mut Findings) {
    let wanted = [("requests", "cpu"), ("requests", "memory"), ("limits", "memory")];
    let missing: Vec<String> = wanted
        .iter()
        // What is limited and not asked for is asked for as much as it is limited to.
        .filter(|(part, what)| {
            container["resources"][*part][*what].is_null()
                && container["resources"]["limits"][*what].is_null()
        })
        .map(|(part, what)| format!("{part}.{what}"))
        .collect();
    if !missing.is_empty() {
        findings.add(Code::NoResources, object, format!("container {name} has no {}", missing.join(", ")));
    }
}

fn probes(container: &Value, name: &str, object: &Value, findings: &mut Findings) {
    for probe in ["startupProbe", "readinessProbe", "livenessProbe"] {
        for how in ["httpGet", "tcpSocket"] {
            let port = &container[probe][how]["port"];
            // A number may be listened on without being declared; a name has to be.
            if port.is_string() && !has_port(ports_of(container), port) {
                let message = format!("{probe} of container {name} asks port {port}");
                findings.add(Code::ProbePortMissing, object, message);
            }
        }
    }
    let question = |probe: &str| {
        let get = &container[probe]["httpGet"];
        let port = &get["port"];
        let number = ports_of(container)
            .find(|(_, name)| port.as_str().is_some() && *name == port.as_str())
            .map_or_else(|| port.clone(), |(number, _)| Value::from(number));
        get["path"].as_str().map(|path| (path.to_owned(), number))
    };
    let (live, ready) = (question("livenessProbe"), question("readinessProbe"));
    let named = live.as_ref().is_some_and(|(path, _)| path.to_lowercase().contains("ready"));
    if named || (live.is_some() && live == ready) {
        let path = live.map(|(path, _)| path).unwrap_or_default();
        let message = format!("container {name} is restarted when {path} says no");
        findings.add(Code::LivenessAsksDependencies, object, message);
    }
}

/// Names under which secrets are told, by their ends.
const TELLING: [&str; 10] = [
    "PASSWORD",
    "PASSWD",
    "SECRET",
    "TOKEN",
    "API_KEY",
    "APIKEY",
    "ACCESS_KEY",
    "PRIVATE_KEY",
    "CREDENTIALS",
    "SECRET_KEY",
];

fn environment(container: &Value, name: &str, object: &Value, findings: &mut Findings) {
    for variable in container["env"].as_array().into_iter().flatten() {
        let Some(value) = variable["value"].as_str().filter(|value| !value.is_empty()) else { continue };
        let key = variable["name"].as_str().unwrap_or_default();
        let telling = TELLING.iter().any(|end| key.to_uppercase().ends_with(end));
        // A path or a reference says where it is, not what it is.
        let refers = value.starts_with('/') || value.starts_with("file:") || value.starts_with("env:");
        if (telling && !refers) || holds_password(value) {
            findings.add(
                Code::SecretInTheOpen,
                object,
                format!("container {name} is given {key} in the clear"),
            );
        }
    }
}

/// Whether a text has a URL with a password in it.
pub(super) fn holds_password(text: &str) -> bool {
    text.match_indices("://").any(|(at, _)| {
        let authority =
            text[at + 3..].split(['/', '?', '"', '\'', ' ', '\n', ',']).next().unwrap_or_default();
        let user = authority.rsplit_once('@').map(|(user, _)| user);
        let password = user.and_then(|user| user.split_once(':')).map(|(_, password)| password);
        password.is_some_and(|password| !password.is_empty() && !password.starts_with(['$', '{', '%']))
    })
}
