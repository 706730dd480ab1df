//! The services' own sections: those that were read, and which of their keys may change while the process runs.
//!
//! Invariant: a section changes whole or not at all, and only in the keys that it declares.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::{Config, StartError};

/// A section of which some keys may change while the process runs.
pub trait Section: Default + Serialize + DeserializeOwned + Send + Sync + 'static {
    /// Those keys, dotted below the section.
    const LIVE: &'static [&'static str];

    /// Refuses what cannot be meant; begins with the key: `attempts_max is at least 1`.
    fn check(&self) -> Result<(), String> {
        Ok(())
    }
}

/// A section as it is now. Clones see the same.
#[derive(Debug)]
pub struct Live<T>(Arc<RwLock<Arc<T>>>);

impl<T> Clone for Live<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T> Live<T> {
    /// One that nobody changes: for tests.
    pub fn fixed(value: T) -> Self {
        Self(Arc::new(RwLock::new(Arc::new(value))))
    }

    /// A snapshot: what belongs together is read from one.
    pub fn get(&self) -> Arc<T> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, value: T) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(value);
    }
}

/// Puts what was checked in place.
pub(crate) type Commit = Box<dyn FnOnce() + Send>;
type Stage = Arc<dyn Fn(&Config) -> Result<Commit, StartError> + Send + Sync>;

#[derive(Clone)]
struct Entry {
    resolve: fn(&Config, &str) -> Result<Value, StartError>,
    defaults: Value,
    live: &'static [&'static str],
    stages: Vec<Stage>,
}

/// The sections that were read. Clones of a configuration share them.
#[derive(Clone, Default)]
pub(crate) struct Sections(Arc<Mutex<BTreeMap<String, Entry>>>);

impl std::fmt::Debug for Sections {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Sections")
    }
}

fn resolve<T: Default + Serialize + DeserializeOwned>(
    config: &Config,
    service: &str,
) -> Result<Value, StartError> {
    let section: T = config.read_section(service)?;
    serde_json::to_value(section).map_err(|error| StartError::Other(kernel::Error::internal(error)))
}

fn checked<T: Section>(service: &str, section: T) -> Result<T, StartError> {
    match section.check() {
        Ok(()) => Ok(section),
        Err(problem) => Err(StartError::Config(format!("services.{service}.{problem}"))),
    }
}

/// `started` with the live keys of `wanted`.
fn merged<T: Section>(service: &str, mut started: Value, wanted: &T) -> Result<T, StartError> {
    let failed = |error: serde_json::Error| StartError::Config(format!("services.{service}: {error}"));
    let wanted = serde_json::to_value(wanted).map_err(failed)?;
    for key in T::LIVE {
        let pointer = format!("/{}", key.replace('.', "/"));
        if let (Some(slot), Some(value)) = (started.pointer_mut(&pointer), wanted.pointer(&pointer)) {
            *slot = value.clone();
        }
    }
    checked(service, serde_json::from_value(started).map_err(failed)?)
}

impl Sections {
    pub fn note<T: Default + Serialize + DeserializeOwned>(&self, service: &str) {
        let entry = || Entry {
            resolve: resolve::<T>,
            defaults: serde_json::to_value(T::default()).unwrap_or_default(),
            live: &[],
            stages: Vec::new(),
        };
        self.lock().entry(service.to_owned()).or_insert_with(entry);
    }

    pub fn live<T: Section>(&self, config: &Config, service: &str) -> Result<Live<T>, StartError> {
        let failed = |error: serde_json::Error| StartError::Config(format!("services.{service}: {error}"));
        let section = checked(service, config.read_section::<T>(service)?)?;
        let defaults = serde_json::to_value(T::default()).map_err(failed)?;
        let unknown = |key: &&&str| defaults.pointer(&format!("/{}", key.replace('.', "/"))).is_none();
        if let Some(key) = T::LIVE.iter().find(unknown) {
            return Err(StartError::Config(format!("services.{service}.{key} is no setting")));
        }
        let started = serde_json::to_value(&section).map_err(failed)?;
        let live = Live::fixed(section);
        let (name, handle) = (service.to_owned(), live.clone());
        let stage: Stage = Arc::new(move |next: &Config| {
            let wanted = checked(&name, next.read_section::<T>(&name)?)?;
            let value = merged(&name, started.clone(), &wanted)?;
            let handle = handle.clone();
            Ok(Box::new(move || handle.set(value)))
        });
        self.note::<T>(service);
        if let Some(entry) = self.lock().get_mut(service) {
            entry.live = T::LIVE;
            entry.stages.push(stage);
        }
        Ok(live)
    }

    /// Checks every section of `next`; what is answered puts the live ones in place.
    pub fn stage(&self, next: &Config) -> Result<Vec<Commit>, StartError> {
        let mut commits = Vec::new();
        for (service, entry) in self.entries() {
            (entry.resolve)(next, &service)?;
            for stage in &entry.stages {
                commits.push(stage(next)?);
            }
        }
        Ok(commits)
    }

    /// Every section with all its keys, whether they are set or not.
    pub fn resolved(&self, config: &Config) -> Result<BTreeMap<String, Value>, StartError> {
        let resolve = |(service, entry): (String, Entry)| {
            let value = (entry.resolve)(config, &service)?;
            Ok((service, value))
        };
        self.entries().into_iter().map(resolve).collect()
    }

    pub fn defaults(&self) -> BTreeMap<String, Value> {
        self.entries().into_iter().map(|(service, entry)| (service, entry.defaults)).collect()
    }

    /// Whether `services.<service>.<key>` may change while the process runs.
    pub fn is_live(&self, service: &str, key: &str) -> bool {
        let is_below =
            |live: &&str| key.strip_prefix(live).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
        self.lock().get(service).is_some_and(|entry| entry.live.iter().any(is_below))
    }

    fn entries(&self) -> Vec<(String, Entry)> {
        self.lock().iter().map(|(service, entry)| (service.clone(), entry.clone())).collect()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Entry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
