//! Every setting: its default, and when a change of it takes effect. docs/CONFIGURATION.md is checked against this.

use serde::Serialize;
use serde_json::Value;

use crate::Config;
use crate::source::flatten;

/// When a change of a setting is seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Takes {
    /// By whatever begins after it, in the running process.
    AtOnce,
    AtTheNextStart,
}

/// The settings outside `services`. `*` is any name.
const ROOT: [(&str, Takes); 29] = [
    ("profile", Takes::AtTheNextStart),
    ("data", Takes::AtTheNextStart),
    ("server.api_bind", Takes::AtTheNextStart),
    ("server.admin_bind", Takes::AtTheNextStart),
    ("server.request_timeout_ms", Takes::AtOnce),
    ("server.concurrency_max", Takes::AtOnce),
    ("server.drain_notice_ms", Takes::AtTheNextStart),
    ("server.drain_timeout_ms", Takes::AtTheNextStart),
    ("server.keep_alive_ms", Takes::AtTheNextStart),
    ("server.trusted_proxies", Takes::AtOnce),
    ("server.allowed_origins", Takes::AtTheNextStart),
    ("server.worker_threads", Takes::AtTheNextStart),
    ("log.level", Takes::AtOnce),
    ("log.format", Takes::AtTheNextStart),
    ("telemetry.otlp_endpoint", Takes::AtTheNextStart),
    ("telemetry.sampling_ratio", Takes::AtTheNextStart),
    ("telemetry.slow_ms", Takes::AtTheNextStart),
    ("limits.*", Takes::AtOnce),
    ("database", Takes::AtTheNextStart),
    ("databases.*", Takes::AtTheNextStart),
    ("bus", Takes::AtTheNextStart),
    ("cache", Takes::AtTheNextStart),
    ("objects", Takes::AtTheNextStart),
    ("credentials.database", Takes::AtTheNextStart),
    ("credentials.bus", Takes::AtTheNextStart),
    ("credentials.cache", Takes::AtTheNextStart),
    ("secrets.*", Takes::AtTheNextStart),
    ("upstreams.*", Takes::AtTheNextStart),
    ("services.*", Takes::AtTheNextStart),
];

/// One setting of all that there are.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Key {
    pub key: String,
    /// Null where there is none.
    pub default: Value,
    pub takes: Takes,
}

fn fits(pattern: &str, key: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(prefix) => key.starts_with(prefix),
        None => pattern == key,
    }
}

/// When a change of `key` takes effect in a process with the sections of `config`.
pub(crate) fn takes(config: &Config, key: &str) -> Takes {
    let service = key.strip_prefix("services.").and_then(|rest| rest.split_once('.'));
    if service.is_some_and(|(service, key)| config.sections().is_live(service, key)) {
        return Takes::AtOnce;
    }
    ROOT.iter().find(|(pattern, _)| fits(pattern, key)).map_or(Takes::AtTheNextStart, |(_, takes)| *takes)
}

/// Every setting of the platform and of the sections that were read.
pub(crate) fn keys(config: &Config) -> Vec<Key> {
    let mut defaults = std::collections::BTreeMap::new();
    flatten("", &Config::defaults(), &mut defaults);
    let root = ROOT.iter().filter(|(key, _)| *key != "services.*").map(|(key, takes)| Key {
        key: (*key).to_owned(),
        default: defaults.get(*key).cloned().unwrap_or_default(),
        takes: *takes,
    });
    let mut keys: Vec<Key> = root.collect();
    for (service, values) in config.sections().defaults() {
        let mut defaults = std::collections::BTreeMap::new();
        flatten(&format!("services.{service}"), &values, &mut defaults);
        keys.extend(defaults.into_iter().map(|(key, default)| {
            let takes = takes(config, &key);
            Key { key, default, takes }
        }));
    }
    keys
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_setting_of_the_platform_is_in_the_table_and_no_other() {
        let mut defaults = std::collections::BTreeMap::new();
        flatten("", &Config::defaults(), &mut defaults);
        for key in defaults.keys() {
            assert!(ROOT.iter().any(|(pattern, _)| pattern == key), "{key} is not in the table");
        }
        for (pattern, _) in ROOT.iter().filter(|(pattern, _)| !pattern.contains('*')) {
            let known = defaults.contains_key(*pattern) || pattern.starts_with("credentials.");
            assert!(known, "{pattern} is no setting");
        }
    }
}
