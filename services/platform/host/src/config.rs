//! Configuration: defaults < file (`rtcd.toml`) < environment (`RTC_SERVER__API_BIND`).
//!
//! Invariant: an unknown key and a wrong value are errors that name the key and where it was set.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use figment::providers::{Env, Format, Serialized, Toml};
use figment::{Figment, value};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::StartError;

/// What kind of installation this is. The embedded one makes its own secrets and hands out test money.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Profile {
    Embedded,
    Production,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServerSection {
    pub api_bind: SocketAddr,
    pub admin_bind: SocketAddr,
    /// How long a handler may take.
    pub request_timeout_ms: u64,
    /// Requests at once; beyond that they are refused with 503.
    pub concurrency_max: usize,
    /// How long `/readyz` says no before the port closes: time for a load balancer to notice.
    pub drain_notice_ms: u64,
    /// How long requests under way may go on after that.
    pub drain_timeout_ms: u64,
    /// Addresses whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<std::net::IpAddr>,
    /// Origins that browsers may call from (CORS).
    pub allowed_origins: Vec<String>,
    pub worker_threads: usize,
}

impl Default for ServerSection {
    fn default() -> Self {
        Self {
            api_bind: SocketAddr::from(([127, 0, 0, 1], 8080)),
            admin_bind: SocketAddr::from(([127, 0, 0, 1], 9080)),
            request_timeout_ms: 15_000,
            concurrency_max: 4_096,
            drain_notice_ms: 0,
            drain_timeout_ms: 20_000,
            trusted_proxies: Vec::new(),
            allowed_origins: Vec::new(),
            worker_threads: 0,
        }
    }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogSection {
    /// `error`, `warn`, `info`, `debug`, `trace`, or a filter such as `info,orders=debug`.
    pub level: String,
    /// `json` or `text`.
    pub format: String,
}

impl Default for LogSection {
    fn default() -> Self {
        Self { level: "info".to_owned(), format: "text".to_owned() }
    }
}

/// Where things are kept. What is not embedded is opened by an adapter that the binary links.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineSection {
    /// `embedded` (a SQLite file a service in `data`) or `mysql://user@host:port/rtc_{service}`.
    pub database: String,
    /// Other databases for some services.
    pub databases: BTreeMap<String, String>,
    /// `embedded` or `kafka://host:port,host:port`.
    pub bus: String,
    /// `embedded` or `redis://host:port`.
    pub cache: String,
    /// `folder` (in `data`) or `s3://bucket/prefix?endpoint=…&region=…`.
    pub objects: String,
    /// Secrets of these by reference (`env:NAME`, `file:/path`): `database`, `bus`, `cache`. Read at every new
    /// connection, so that they can be rotated.
    pub credentials: BTreeMap<String, String>,
}

impl EngineSection {
    /// The URL of a service's database; `None` where it is embedded.
    pub fn database_url(&self, service: &str) -> Option<String> {
        let url = self.databases.get(service).unwrap_or(&self.database);
        (url != EMBEDDED).then(|| url.replace("{service}", service))
    }

    pub fn has_embedded_bus(&self) -> bool {
        self.bus == EMBEDDED
    }
}

const EMBEDDED: &str = "embedded";

/// Everything but the services' own sections.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Root {
    profile: Profile,
    data: PathBuf,
    server: ServerSection,
    log: LogSection,
    /// Quotas by the name of a limit; 0 switches one off.
    limits: HashMap<String, u32>,
    database: String,
    databases: BTreeMap<String, String>,
    bus: String,
    cache: String,
    objects: String,
    credentials: BTreeMap<String, String>,
    /// Services that run elsewhere: their names and the base URLs of their replicas.
    upstreams: BTreeMap<String, Vec<String>>,
    services: BTreeMap<String, serde_json::Value>,
}

impl Default for Root {
    fn default() -> Self {
        Self {
            profile: Profile::Embedded,
            data: PathBuf::from("data"),
            server: ServerSection::default(),
            log: LogSection::default(),
            limits: HashMap::new(),
            database: EMBEDDED.to_owned(),
            databases: BTreeMap::new(),
            bus: EMBEDDED.to_owned(),
            cache: EMBEDDED.to_owned(),
            objects: "folder".to_owned(),
            credentials: BTreeMap::new(),
            upstreams: BTreeMap::new(),
            services: BTreeMap::new(),
        }
    }
}

/// The resolved configuration.
#[derive(Debug, Clone)]
pub struct Config {
    figment: Figment,
    pub profile: Profile,
    pub data: PathBuf,
    pub server: ServerSection,
    pub log: LogSection,
    pub limits: HashMap<String, u32>,
    pub engines: EngineSection,
    pub upstreams: BTreeMap<String, Vec<String>>,
}

/// One setting as `rtcd config` shows it.
#[derive(Debug, Clone, Serialize)]
pub struct Setting {
    pub key: String,
    pub value: serde_json::Value,
    pub from: String,
}

impl Config {
    /// `overrides` come from the command line: dotted keys, the highest precedence.
    pub fn load(file: Option<&Path>, overrides: &[(&str, serde_json::Value)]) -> Result<Self, StartError> {
        let mut figment = Figment::from(Serialized::defaults(Root::default()));
        if let Some(file) = file {
            if !file.is_file() {
                return Err(StartError::Config(format!("there is no file {}", file.display())));
            }
            figment = figment.merge(Toml::file_exact(file));
        }
        figment = figment.merge(Env::prefixed("RTC_").split("__"));
        for (key, value) in overrides {
            figment = figment.merge(Serialized::default(key, value));
        }
        Self::from_figment(figment)
    }

    /// The defaults with a data directory and sections of the caller's: for tests.
    pub fn for_tests(data: &Path, sections: &[(&str, serde_json::Value)]) -> Result<Self, StartError> {
        let mut figment =
            Figment::from(Serialized::defaults(Root::default())).merge(Serialized::default("data", data));
        for (key, value) in sections {
            figment = figment.merge(Serialized::default(key, value));
        }
        Self::from_figment(figment)
    }

    fn from_figment(figment: Figment) -> Result<Self, StartError> {
        let root: Root = figment.extract().map_err(|error| StartError::Config(explain(&error)))?;
        Ok(Self {
            profile: root.profile,
            data: root.data,
            server: root.server,
            log: root.log,
            limits: root.limits,
            engines: EngineSection {
                database: root.database,
                databases: root.databases,
                bus: root.bus,
                cache: root.cache,
                objects: root.objects,
                credentials: root.credentials,
            },
            upstreams: root.upstreams,
            figment,
        })
    }

    /// A service's own section `[services.<name>]`, over its defaults.
    pub fn section<T: Default + Serialize + DeserializeOwned>(&self, service: &str) -> Result<T, StartError> {
        let key = format!("services.{service}");
        let section = Figment::from(Serialized::defaults(T::default()));
        let section = match self.figment.find_value(&key) {
            Ok(value) => section.merge(Serialized::defaults(value)),
            Err(_) => section,
        };
        section.extract().map_err(|error| StartError::Config(format!("{key}: {}", explain(&error))))
    }

    /// The names under `[services]`, to find those that no service answers to.
    pub fn configured_services(&self) -> Vec<String> {
        let found = self.figment.find_value("services").ok().and_then(|value| value.into_dict());
        found.map(|services| services.into_keys().collect()).unwrap_or_default()
    }

    /// Every setting with its value and where it came from.
    pub fn settings(&self) -> Vec<Setting> {
        let mut settings = Vec::new();
        if let Ok(all) = self.figment.extract::<value::Dict>() {
            collect(&self.figment, "", &value::Value::from(all), &mut settings);
        }
        settings
    }
}

fn collect(figment: &Figment, prefix: &str, value: &value::Value, settings: &mut Vec<Setting>) {
    if let value::Value::Dict(_, dict) = value {
        for (key, value) in dict {
            let path = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
            collect(figment, &path, value, settings);
        }
        return;
    }
    let from = figment.find_metadata(prefix).map_or("default".to_owned(), |metadata| {
        if metadata.name.contains("rtc_") || metadata.name.contains("RTC_") {
            return format!("environment RTC_{}", prefix.replace('.', "__").to_uppercase());
        }
        match &metadata.source {
            Some(figment::Source::File(path)) => format!("file {}", path.display()),
            _ if metadata.name.contains("host::config::Root") => "default".to_owned(),
            _ => "command line".to_owned(),
        }
    });
    let value = serde_json::to_value(value).unwrap_or_default();
    settings.push(Setting { key: prefix.to_owned(), value, from });
}

/// One line a fault: what, which key, where it was set.
fn explain(error: &figment::Error) -> String {
    let mut lines = Vec::new();
    for one in error.clone() {
        let mut line = one.kind.to_string();
        if !one.path.is_empty() {
            line.push_str(&format!(" for key {}", one.path.join(".")));
        }
        if let Some(metadata) = &one.metadata {
            let source = metadata.source.as_ref().map(|source| format!(" {source}")).unwrap_or_default();
            line.push_str(&format!(" ({}{source})", metadata.name));
        }
        lines.push(line);
    }
    lines.join("; ")
}
