//! What rtcd reads in each target, as a file that it looks at while it runs.
//!
//! Invariant: a change of what is seen at once changes the file alone; a change of anything else changes the pods too,
//! through a hash of just that.

use serde_json::json;
use toml::{Table, Value};

use super::access::PLATFORM;
use super::draft::Draft;
use super::{ADMIN, API, Object, Wave};
use crate::Release;
use crate::description::Target;

/// Where the file is.
pub(super) const FOLDER: &str = "/etc/rtc";
pub(super) const FILE: &str = "rtcd.toml";
/// Where secrets are.
pub(super) const SECRETS: &str = "/run/secrets/rtc";
/// The only folders that may be written to.
pub(super) const DATA: &str = "/var/lib/rtc";

/// The settings that a running process takes over; docs/CONFIGURATION.md says the same, and a test compares.
pub(super) const AT_ONCE: [&str; 15] = [
    "server.request_timeout_ms",
    "server.concurrency_max",
    "server.trusted_proxies",
    "log.level",
    "limits.*",
    "services.orders.step_timeout_ms",
    "services.orders.attempts_max",
    "services.orders.backoff_max_ms",
    "services.orders.reservation_ttl_s",
    "services.orders.in_flight_max",
    "services.inventory.reservation_max_s",
    "services.inventory.line_quantity_max",
    "services.inventory.low_stock_threshold",
    "services.inventory.expiry_batch",
    "services.payments.retry_*",
];

/// Name of a target's ConfigMap.
pub(super) fn map_of(name: &str) -> String {
    format!("{name}-settings")
}

pub(super) fn objects(release: &Release) -> Vec<Object> {
    let targets = release.description.targets.iter();
    let mut objects: Vec<Object> = targets.map(|(name, target)| map(release, name, target)).collect();
    objects.push(map(release, "migrate", &release.migrating()));
    objects
}

fn map(release: &Release, name: &str, target: &Target) -> Object {
    let component = if name == "migrate" { PLATFORM } else { name };
    let data = json!({ FILE: text(&table(release, name, target)) });
    Draft::new(release, Wave::Surroundings, "v1", "ConfigMap", &map_of(name), component)
        .with("data", data)
        .done()
}

/// The file's text. What cannot be written as TOML is no TOML, so nothing is lost.
fn text(table: &Table) -> String {
    toml::to_string(table).unwrap_or_default()
}

/// A hash over what a running process does not take over.
pub(super) fn hash(release: &Release, name: &str, target: &Target) -> String {
    let mut table = table(release, name, target);
    for pattern in AT_ONCE {
        let keys: Vec<&str> = pattern.split('.').collect();
        remove(&mut table, &keys);
    }
    fingerprint(text(&table).as_bytes())
}

fn remove(table: &mut Table, keys: &[&str]) {
    match keys {
        [] => {}
        [last] => match last.strip_suffix('*') {
            Some(prefix) => table.retain(|key, _| !key.starts_with(prefix)),
            None => {
                table.remove(*last);
            }
        },
        [first, rest @ ..] => {
            if let Some(Value::Table(inner)) = table.get_mut(*first) {
                remove(inner, rest);
                if inner.is_empty() {
                    table.remove(*first);
                }
            }
        }
    }
}

/// FNV-1a, 64 bits: tells changes of our own files apart, and protects nothing.
pub(super) fn fingerprint(bytes: &[u8]) -> String {
    let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
    format!("{:016x}", bytes.iter().fold(0xcbf2_9ce4_8422_2325, step))
}

fn table(release: &Release, name: &str, target: &Target) -> Table {
    let description = &release.description;
    let mut table = description.settings.clone();
    merge(&mut table, &target.settings);
    let mut own = Table::new();
    own.insert("profile".to_owned(), Value::from("production"));
    own.insert("data".to_owned(), Value::from(DATA));
    let engines = [
        ("database", target.needs.database, &description.engines.database),
        ("bus", target.needs.bus, &description.engines.bus),
        ("cache", target.needs.cache, &description.engines.cache),
        ("objects", target.needs.objects, &description.engines.objects),
    ];
    for (key, needed, url) in engines {
        if let (true, Some(url)) = (needed, url) {
            own.insert(key.to_owned(), Value::from(url.as_str()));
        }
    }
    let milliseconds = |seconds: u32| Value::from(i64::from(seconds) * 1000);
    let server = [
        ("api_bind", Value::from(format!("0.0.0.0:{}", API.1))),
        ("admin_bind", Value::from(format!("0.0.0.0:{}", ADMIN.1))),
        ("drain_notice_ms", milliseconds(description.drain.notice_s)),
        ("drain_timeout_ms", milliseconds(description.drain.timeout_s)),
    ];
    own.insert("server".to_owned(), section(server));
    own.insert("log".to_owned(), section([("format", Value::from("json"))]));
    let (mut credentials, mut secrets) = (Table::new(), Table::new());
    for secret in release.secrets(name, target) {
        let file = |name: &str| Value::from(format!("file:{SECRETS}/{name}"));
        if secret.starts_with("database-") {
            credentials.insert("database".to_owned(), file("database-{service}"));
        } else if secret == "bus" || secret == "cache" {
            credentials.insert(secret.clone(), file(&secret));
        } else {
            secrets.insert(secret.clone(), file(&secret));
        }
    }
    let upstreams = target.needs.upstreams.iter().filter_map(|service| {
        let url = format!("http://{}:{}", release.runs(service)?, API.1);
        Some((service.clone(), Value::from(vec![url])))
    });
    let upstreams: Table = upstreams.collect();
    for (key, part) in [("credentials", credentials), ("secrets", secrets), ("upstreams", upstreams)] {
        if !part.is_empty() {
            own.insert(key.to_owned(), Value::Table(part));
        }
    }
    merge(&mut table, &own);
    table
}

fn section<const N: usize>(keys: [(&str, Value); N]) -> Value {
    Value::Table(keys.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
}

/// Lays one table over another.
fn merge(under: &mut Table, over: &Table) {
    for (key, value) in over {
        match (under.get_mut(key), value) {
            (Some(Value::Table(under)), Value::Table(over)) => merge(under, over),
            _ => {
                under.insert(key.clone(), value.clone());
            }
        }
    }
}
