//! Configuration: defaults < file (`rtcd.toml`) < environment (`RTC_SERVER__API_BIND`) < command line.
//!
//! Invariant: an unknown key and a wrong value are errors that name the key and where it was set.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use figment::providers::Serialized;
use figment::{Figment, value};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::reference::{self, Key, Takes};
use crate::secret_ref::{Provider, SecretRef};
use crate::sections::{Live, Section, Sections};
use crate::source::{Origin, environment, explain, flatten, masked, told};
use crate::{Engine, StartError};

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
    /// How long a connection stays open between two requests: longer than the load balancer in front keeps it.
    pub keep_alive_ms: u64,
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
            keep_alive_ms: 150_000,
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

/// Where traces go, and how many.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TelemetrySection {
    /// The base address of an OTLP collector (HTTP): `http://127.0.0.1:4318`. Empty: no traces are made.
    pub otlp_endpoint: String,
    /// The share of traces that is kept whole, decided as they begin.
    pub sampling_ratio: f64,
    /// Spans of the others are kept by themselves where they failed or took longer than this.
    pub slow_ms: u64,
}

impl Default for TelemetrySection {
    fn default() -> Self {
        Self { otlp_endpoint: String::new(), sampling_ratio: 0.1, slow_ms: 1_000 }
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
    /// `embedded`, `redis://host:port`, or with TLS `rediss://host:port?ca=/path`.
    pub cache: String,
    /// `folder` (in `data`) or `s3://bucket/prefix?endpoint=…&region=…`.
    pub objects: String,
    /// Secrets of these by reference (`env:NAME`, `file:/path`): `database`, `bus`, `cache`. `{service}` is the name of
    /// the service that connects.
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
    telemetry: TelemetrySection,
    /// Quotas by the name of a limit; 0 switches one off.
    limits: HashMap<String, u32>,
    database: String,
    databases: BTreeMap<String, String>,
    bus: String,
    cache: String,
    objects: String,
    credentials: BTreeMap<String, String>,
    /// Where secrets are, by their names; others are files in `secrets` of the data directory.
    secrets: BTreeMap<String, String>,
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
            telemetry: TelemetrySection::default(),
            limits: HashMap::new(),
            database: EMBEDDED.to_owned(),
            databases: BTreeMap::new(),
            bus: EMBEDDED.to_owned(),
            cache: EMBEDDED.to_owned(),
            objects: "folder".to_owned(),
            credentials: BTreeMap::new(),
            secrets: BTreeMap::new(),
            upstreams: BTreeMap::new(),
            services: BTreeMap::new(),
        }
    }
}

/// The resolved configuration.
#[derive(Debug, Clone)]
pub struct Config {
    figment: Figment,
    origin: Arc<Origin>,
    sections: Sections,
    pub profile: Profile,
    pub data: PathBuf,
    pub server: ServerSection,
    pub log: LogSection,
    pub telemetry: TelemetrySection,
    pub limits: HashMap<String, u32>,
    pub engines: EngineSection,
    pub secrets: BTreeMap<String, SecretRef>,
    pub upstreams: BTreeMap<String, Vec<String>>,
}

/// One setting as `rtcd config` shows it.
#[derive(Debug, Clone, Serialize)]
pub struct Setting {
    pub key: String,
    pub value: serde_json::Value,
    pub from: String,
    /// When a change of it is seen.
    pub takes: Takes,
}

impl Config {
    /// `overrides` come from the command line: dotted keys, the highest precedence.
    pub fn load(file: Option<&Path>, overrides: &[(&str, serde_json::Value)]) -> Result<Self, StartError> {
        Self::of(Origin {
            file: file.map(Path::to_owned),
            environment: environment(),
            overrides: owned(overrides),
        })
    }

    /// The defaults with a data directory and sections of the caller's: for tests.
    pub fn for_tests(data: &Path, sections: &[(&str, serde_json::Value)]) -> Result<Self, StartError> {
        let mut overrides = vec![("data".to_owned(), serde_json::json!(data))];
        overrides.extend(owned(sections));
        Self::of(Origin { overrides, ..Origin::default() })
    }

    pub(crate) fn of(origin: Origin) -> Result<Self, StartError> {
        let text = origin.text()?;
        Self::read(Arc::new(origin), Sections::default(), text.as_deref())
    }

    /// The same with `text` in the file.
    pub(crate) fn with_text(&self, text: &str) -> Result<Self, StartError> {
        Self::read(self.origin.clone(), self.sections.clone(), Some(text))
    }

    fn read(origin: Arc<Origin>, sections: Sections, text: Option<&str>) -> Result<Self, StartError> {
        let defaults = Figment::from(Serialized::defaults(Root::default()));
        let figment = origin.over(defaults, text)?;
        let root: Root = figment.extract().map_err(|error| StartError::Config(explain(&error)))?;
        root.check()?;
        let reference = |(name, text): (&String, &String)| {
            Ok((name.clone(), SecretRef::parse(&format!("secrets.{name}"), text)?))
        };
        Ok(Self {
            secrets: root.secrets.iter().map(reference).collect::<Result<_, StartError>>()?,
            profile: root.profile,
            data: root.data,
            server: root.server,
            log: root.log,
            telemetry: root.telemetry,
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
            origin,
            sections,
        })
    }

    pub(crate) fn origin(&self) -> &Origin {
        &self.origin
    }

    pub(crate) fn sections(&self) -> &Sections {
        &self.sections
    }

    pub(crate) fn defaults() -> serde_json::Value {
        serde_json::to_value(Root::default()).unwrap_or_default()
    }

    /// A service's own section `[services.<name>]`, over its defaults.
    pub fn section<T>(&self, service: &str) -> Result<T, StartError>
    where
        T: Default + Serialize + DeserializeOwned,
    {
        self.sections.note::<T>(service);
        self.read_section(service)
    }

    /// A service's own section that follows the file as far as it [declares](Section::LIVE) itself live.
    pub fn live<T: Section>(&self, service: &str) -> Result<Live<T>, StartError> {
        self.sections.live(self, service)
    }

    pub(crate) fn read_section<T>(&self, service: &str) -> Result<T, StartError>
    where
        T: Default + Serialize + DeserializeOwned,
    {
        let key = format!("services.{service}");
        let section = Figment::from(Serialized::defaults(T::default()));
        let section = match self.figment.find_value(&key) {
            Ok(value) => section.merge(Serialized::defaults(value)),
            Err(_) => section,
        };
        section.extract().map_err(|error| StartError::Config(format!("{key}: {}", explain(&error))))
    }

    /// What to show an engine: asked at every new connection, so that the password of the moment is used. It is read
    /// once already, so that one that cannot be had is said at the start. `None`: none is configured.
    pub fn credential(&self, of: Engine, service: &str) -> Result<Option<Provider>, StartError> {
        let key = match of {
            Engine::Database => "database",
            Engine::Bus => "bus",
            Engine::Cache => "cache",
            // It has those of the process: keys, a web identity, a machine's role.
            Engine::Objects => return Ok(None),
        };
        let Some(text) = self.engines.credentials.get(key) else { return Ok(None) };
        let name = format!("credentials.{key}");
        let provider = SecretRef::parse(&name, text)?.of_service(service).provider(self.profile);
        match provider() {
            Ok(_) => Ok(Some(provider)),
            Err(reason) => Err(StartError::Secret { name, reason }),
        }
    }

    /// The names under `[services]`, to find those that no service answers to.
    pub fn configured_services(&self) -> Vec<String> {
        let found = self.figment.find_value("services").ok().and_then(|value| value.into_dict());
        found.map(|services| services.into_keys().collect()).unwrap_or_default()
    }

    /// When a change of `key` takes effect in a process with the sections that were read.
    pub fn takes(&self, key: &str) -> Takes {
        reference::takes(self, key)
    }

    /// Every setting with its value and where it came from. Passwords in addresses are not shown.
    pub fn settings(&self) -> Vec<Setting> {
        let mut settings = Vec::new();
        if let Ok(all) = self.figment.extract::<value::Dict>() {
            self.collect("", &value::Value::from(all), &mut settings);
        }
        settings
    }

    fn collect(&self, prefix: &str, value: &value::Value, settings: &mut Vec<Setting>) {
        if let value::Value::Dict(_, dict) = value {
            for (key, value) in dict {
                let path = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
                self.collect(&path, value, settings);
            }
            return;
        }
        settings.push(Setting {
            key: prefix.to_owned(),
            value: masked(serde_json::to_value(value).unwrap_or_default()),
            from: self.figment.find_metadata(prefix).map_or("default".to_owned(), told),
            takes: reference::takes(self, prefix),
        });
    }

    /// Every setting that there is, with those of the sections that were read.
    pub fn reference(&self) -> Vec<Key> {
        reference::keys(self)
    }

    /// Every setting and its value, with those of the sections that were read and are not set.
    pub(crate) fn resolved(&self) -> Result<BTreeMap<String, serde_json::Value>, StartError> {
        let mut all: BTreeMap<String, serde_json::Value> = BTreeMap::new();
        let root = self.figment.extract::<value::Dict>();
        let root = root.map_err(|error| StartError::Config(explain(&error)))?;
        flatten("", &serde_json::to_value(root).unwrap_or_default(), &mut all);
        for (service, section) in self.sections.resolved(self)? {
            flatten(&format!("services.{service}"), &section, &mut all);
        }
        Ok(all)
    }
}

fn owned(overrides: &[(&str, serde_json::Value)]) -> Vec<(String, serde_json::Value)> {
    overrides.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect()
}

impl Root {
    /// Refuses what cannot be meant.
    fn check(&self) -> Result<(), StartError> {
        let positive = [
            ("server.request_timeout_ms", self.server.request_timeout_ms),
            ("server.concurrency_max", self.server.concurrency_max as u64),
            ("server.keep_alive_ms", self.server.keep_alive_ms),
        ];
        if let Some((key, _)) = positive.iter().find(|(_, value)| *value == 0) {
            return Err(StartError::Config(format!("{key} is at least 1")));
        }
        crate::telemetry::filter(&self.log.level)?;
        if !(0.0..=1.0).contains(&self.telemetry.sampling_ratio) {
            return Err(StartError::Config("telemetry.sampling_ratio is between 0 and 1".to_owned()));
        }
        let endpoint = &self.telemetry.otlp_endpoint;
        if !endpoint.is_empty() && !["http://", "https://"].iter().any(|scheme| endpoint.starts_with(scheme))
        {
            return Err(StartError::Config(
                "telemetry.otlp_endpoint begins with http:// or https://".to_owned(),
            ));
        }
        for (name, text) in &self.credentials {
            let key = format!("credentials.{name}");
            if !["database", "bus", "cache"].contains(&name.as_str()) {
                return Err(StartError::Config(format!(
                    "{key}: no engine is called that; there are database, bus, cache"
                )));
            }
            SecretRef::parse(&key, text)?;
        }
        Ok(())
    }
}
