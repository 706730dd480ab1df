//! From the tables of `rtc.toml`, the output `rtc` of Terraform and an image to a release that can be meant.
//!
//! Invariants: what a person wrote is never overruled by what Terraform knows; an environment is never described with the
//! outputs of another one; everything that is wrong is said at once, each fault with its key.

use std::collections::BTreeMap;

use manifests::{Description, Fault, Release};
use serde_json::Value as Json;
use toml::{Table, Value};

/// What a description is made of.
#[derive(Debug, Clone, Copy)]
pub struct Sources<'a> {
    pub environment: &'a str,
    /// `[deploy]`.
    pub base: Option<&'a Table>,
    /// `[environments.NAME.deploy]`.
    pub over: Option<&'a Table>,
    /// The value of the output `rtc`.
    pub outputs: Option<&'a Json>,
    /// `repository@sha256:…`.
    pub image: &'a str,
    /// Texts of rule files by name, for who has `[monitoring]` without rules of its own.
    pub rules: &'a BTreeMap<String, String>,
    /// The services that there are; empty where nobody says.
    pub services: &'a [&'a str],
}

/// Why there is no release.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    #[error("nothing says what runs in {0}")]
    NotDescribed(String),
    #[error("{0}")]
    Shape(String),
    #[error("the description has {} faults", .0.len())]
    Faults(Vec<Fault>),
    #[error("targets.{target}: there is no service {service}")]
    NoService { target: String, service: String },
    #[error("the outputs are those of {found}, not of {wanted}")]
    OtherEnvironment { found: String, wanted: String },
    #[error("the outputs have schema {0}, and 1 is what is understood")]
    OtherSchema(String),
}

/// The release of an environment.
///
/// # Errors
/// It is not described, or cannot be meant.
pub fn release(sources: &Sources<'_>) -> Result<Release, Problem> {
    let description = description(sources)?;
    for (name, target) in &description.targets {
        for service in Release::services(name, target) {
            if !sources.services.is_empty() && !sources.services.contains(&service) {
                return Err(Problem::NoService { target: name.clone(), service: service.to_owned() });
            }
        }
    }
    Release::of(description).map_err(Problem::Faults)
}

/// The same before it is checked as a whole.
pub fn description(sources: &Sources<'_>) -> Result<Description, Problem> {
    if sources.base.is_none() && sources.over.is_none() {
        return Err(Problem::NotDescribed(sources.environment.to_owned()));
    }
    let mut table = sources.base.cloned().unwrap_or_default();
    if let Some(over) = sources.over {
        lay_over(&mut table, over);
    }
    table.insert("environment".to_owned(), sources.environment.into());
    table.insert("image".to_owned(), sources.image.into());
    if let Some(outputs) = sources.outputs {
        fill_in(&mut table, outputs, sources.environment)?;
    }
    table.entry("engines").or_insert_with(|| Value::Table(Table::new()));
    table.entry("namespace").or_insert_with(|| "rtc".into());
    let mut description: Description =
        table.try_into().map_err(|error: toml::de::Error| Problem::Shape(error.message().to_owned()))?;
    if let Some(monitoring) = &mut description.monitoring
        && monitoring.rules.is_empty()
    {
        monitoring.rules.clone_from(sources.rules);
    }
    Ok(description)
}

/// One table over another: keys that both have are joined where they are tables of one kind, and are the upper one's
/// otherwise.
pub fn lay_over(below: &mut Table, over: &Table) {
    let kind = |table: &Table| table.get("kind").cloned();
    // What belongs to another kind would be refused.
    if over.contains_key("kind") && kind(over) != kind(below) {
        *below = over.clone();
        return;
    }
    // Either of the two says how many there are.
    for (one, other) in [("replicas", "scaling"), ("scaling", "replicas")] {
        if over.contains_key(one) && !over.contains_key(other) {
            below.remove(other);
        }
    }
    for (key, value) in over {
        match (below.get_mut(key), value) {
            (Some(Value::Table(below)), Value::Table(over)) => lay_over(below, over),
            _ => {
                below.insert(key.clone(), value.clone());
            }
        }
    }
}

/// The value of the output `rtc`, of whatever shows outputs: `terraform output -json`, `rtcctl infra outputs -o json`, or
/// the value itself.
pub fn rtc_output(document: &Json) -> Option<&Json> {
    let is_output = |value: &&Json| value["schema"].is_number() && value["environment"].is_string();
    [&document["data"]["rtc"]["value"], &document["rtc"]["value"], &document["data"]["rtc"], &document["rtc"]]
        .into_iter()
        .chain([document])
        .find(is_output)
}

fn fill_in(table: &mut Table, outputs: &Json, environment: &str) -> Result<(), Problem> {
    if outputs["schema"] != 1 {
        return Err(Problem::OtherSchema(outputs["schema"].to_string()));
    }
    let found = outputs["environment"].as_str().unwrap_or_default();
    if found != environment {
        let (found, wanted) = (found.to_owned(), environment.to_owned());
        return Err(Problem::OtherEnvironment { found, wanted });
    }
    let text =
        |pointer: &str| outputs.pointer(pointer).and_then(Json::as_str).filter(|text| !text.is_empty());
    set(table, &["namespace"], text("/cluster/namespace"));
    set(table, &["engines", "database"], text("/database/url"));
    set(table, &["engines", "bus"], brokers(&outputs["events"]).as_deref());
    set(table, &["engines", "cache"], cache(&outputs["cache"]).as_deref());
    let region = text("/region");
    let objects = text("/storage/buckets/images").zip(region);
    let objects = objects.map(|(bucket, region)| format!("s3://{bucket}?region={region}"));
    set(table, &["engines", "objects"], objects.as_deref());
    for (account, role) in outputs["cluster"]["roles"].as_object().into_iter().flatten() {
        set(table, &["identity", "roles", account], role.as_str());
    }
    secrets(table, outputs);
    match kind_of(table, "entry") {
        Some("target-group") => {
            set(table, &["entry", "target_group_arn"], text("/edge/target_group_arn"));
        }
        Some("alb") => {
            hosts(table, outputs);
            set(table, &["entry", "certificate_arn"], text("/edge/certificate_arn"));
        }
        Some("gateway-api") => {
            hosts(table, outputs);
            // A certificate is one thing or the other.
            if !has(table, &["entry", "certificate"]) {
                set(table, &["entry", "certificate", "arn"], text("/edge/certificate_arn"));
            }
        }
        _ => {}
    }
    if has(table, &["files"]) {
        set(table, &["files", "file_system_id"], text("/storage/file_system_id"));
    }
    if has(table, &["logs"]) {
        set(table, &["logs", "region"], region);
        let said = has(table, &["logs", "cloudwatch_group"]) || has(table, &["logs", "opensearch_host"]);
        if !said {
            set(table, &["logs", "cloudwatch_group"], text("/log_groups/services"));
            let host = text("/search/url").map(|url| url.split_once("://").map_or(url, |(_, rest)| rest));
            let host = host.map(|host| host.split('/').next().unwrap_or(host));
            set(table, &["logs", "opensearch_host"], host);
        }
    }
    Ok(())
}

/// The address of the brokers, and how they want to be spoken to as far as Terraform says it.
fn brokers(events: &Json) -> Option<String> {
    let text = |key: &str| events[key].as_str().filter(|text| !text.is_empty());
    let hosts = text("bootstrap")?;
    let security = text("security");
    let signs_in = security.is_some_and(|security| security.starts_with("sasl_"));
    let who = |key: &str| text(key).filter(|_| signs_in).map(str::to_owned);
    let said = [
        ("security", security.map(str::to_owned)),
        ("mechanism", who("mechanism")),
        ("user", who("username")),
        ("replication", events["replication"].as_u64().map(|copies| copies.to_string())),
    ];
    let said: Vec<String> =
        said.into_iter().filter_map(|(name, value)| Some(format!("{name}={}", value?))).collect();
    let query = if said.is_empty() { String::new() } else { format!("?{}", said.join("&")) };
    Some(format!("kafka://{hosts}{query}"))
}

/// The address of the cache: of the host that is written to, for rtcd reads from no other.
fn cache(cache: &Json) -> Option<String> {
    let host = cache["host"].as_str().filter(|host| !host.is_empty())?;
    // Its token goes over the wire in the open only where Terraform says that nothing else is spoken.
    let scheme = if cache["tls"] == false { "redis" } else { "rediss" };
    let port = cache["port"].as_u64().map(|port| format!(":{port}")).unwrap_or_default();
    Some(format!("{scheme}://{host}{port}"))
}

/// Where the passwords of engines are, where a store is what secrets are fetched from.
fn secrets(table: &mut Table, outputs: &Json) {
    if kind_of(table, "secrets") != Some("external") {
        return;
    }
    let mut place = |name: &str, arn: Option<&str>| {
        let path = ["secrets", "values", name];
        if arn.is_some() && !has(table, &path) {
            set(table, &["secrets", "values", name, "key"], arn);
            set(table, &["secrets", "values", name, "property"], Some("password"));
        }
    };
    for (service, arn) in outputs["database"]["secret_arns"].as_object().into_iter().flatten() {
        place(&format!("database-{service}"), arn.as_str());
    }
    place("bus", outputs["events"]["secret_arn"].as_str());
    place("cache", outputs["cache"]["secret_arn"].as_str());
}

/// The hosts come as a table by use, the shop's first.
fn hosts(table: &mut Table, outputs: &Json) {
    if has(table, &["entry", "hosts"]) {
        return;
    }
    let hosts = &outputs["edge"]["hosts"];
    let mut names: Vec<&str> = match hosts {
        Json::Object(map) => {
            map.get("shop").into_iter().chain(map.values()).filter_map(Json::as_str).collect()
        }
        Json::Array(list) => list.iter().filter_map(Json::as_str).collect(),
        _ => Vec::new(),
    };
    let mut seen = std::collections::BTreeSet::new();
    names.retain(|name| seen.insert(*name));
    if let Some(Value::Table(entry)) = table.get_mut("entry")
        && !names.is_empty()
    {
        entry.insert("hosts".to_owned(), Value::Array(names.into_iter().map(Value::from).collect()));
    }
}

fn kind_of<'a>(table: &'a Table, key: &str) -> Option<&'a str> {
    table.get(key)?.get("kind")?.as_str()
}

fn has(table: &Table, path: &[&str]) -> bool {
    match path {
        [] => true,
        [key] => table.contains_key(*key),
        [key, rest @ ..] => table.get(*key).and_then(Value::as_table).is_some_and(|inner| has(inner, rest)),
    }
}

/// Sets what nobody has said.
fn set(table: &mut Table, path: &[&str], value: Option<&str>) {
    let (Some(value), [key, rest @ ..]) = (value, path) else { return };
    if rest.is_empty() {
        table.entry(*key).or_insert_with(|| value.into());
        return;
    }
    let inner = table.entry(*key).or_insert_with(|| Value::Table(Table::new()));
    if let Value::Table(inner) = inner {
        set(inner, rest, Some(value));
    }
}
