//! A description that can be meant, with what follows from it.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::{Address, Canary, Description, Fault, Image, Secrets, Target, check};
use crate::yaml;

/// The services that run beside the entry have their keys from this one.
pub(super) const KEYS: &str = "users";
/// The one that keeps nothing.
pub(super) const ENTRY: &str = "gateway";
/// Secrets that every process has.
pub(super) const EVERYBODY: [&str; 3] = ["admin_token", "cursor_key", "service_token"];

/// A checked description. What it holds is whole: names are names, references lead somewhere, amounts are amounts.
#[derive(Debug, Clone)]
pub struct Release {
    pub description: Description,
    pub image: Image,
    pub canary: Option<(Image, Canary)>,
    pub logs_image: Option<Image>,
    /// Groups of rules by file.
    pub rules: BTreeMap<String, Value>,
}

impl Release {
    /// Everything that is wrong with it, or what it means.
    pub fn of(description: Description) -> Result<Self, Vec<Fault>> {
        let mut faults = check::faults(&description);
        let mut pinned = |what: &str, text: &str| {
            let read = Image::parse(text);
            read.map_err(|why| faults.push(Fault::Image { what: what.to_owned(), why })).ok()
        };
        let image = pinned("image", &description.image);
        let canary = description.canary.as_ref().map(|one| (pinned("canary.image", &one.image), one.clone()));
        let logs_image = description.logs.as_ref().map(|one| pinned("logs.image", &one.image));
        let mut rules = BTreeMap::new();
        for (file, text) in description.monitoring.iter().flat_map(|one| &one.rules) {
            match read_groups(text) {
                Ok(groups) => {
                    rules.insert(file.clone(), groups);
                }
                Err(reason) => faults.push(Fault::Rules { file: file.clone(), reason }),
            }
        }
        match image {
            Some(image) if faults.is_empty() => Ok(Self {
                image,
                canary: canary.and_then(|(image, canary)| Some((image?, canary))),
                logs_image: logs_image.flatten(),
                rules,
                description,
            }),
            _ => Err(faults),
        }
    }

    /// What a target tells `rtcd serve --only`.
    pub fn services<'a>(name: &'a str, target: &'a Target) -> Vec<&'a str> {
        match target.services.is_empty() {
            true => vec![name],
            false => target.services.iter().map(String::as_str).collect(),
        }
    }

    /// The target that runs a service.
    pub fn runs(&self, service: &str) -> Option<&str> {
        runs(&self.description, service)
    }

    /// The targets that call this one.
    pub fn callers(&self, name: &str) -> Vec<&str> {
        let calls =
            |target: &Target| target.needs.upstreams.iter().any(|service| self.runs(service) == Some(name));
        let others = self.description.targets.iter().filter(|(other, _)| *other != name);
        others.filter(|(_, target)| calls(target)).map(|(other, _)| other.as_str()).collect()
    }

    /// The ports of an engine of these. None where it is embedded.
    pub fn ports(&self, engine: &str) -> Vec<u16> {
        let engines = &self.description.engines;
        let (url, port) = match engine {
            "database" => (&engines.database, 3306),
            "bus" => (&engines.bus, 9092),
            "cache" => (&engines.cache, 6379),
            _ => return Vec::new(),
        };
        url.as_deref()
            .and_then(|url| Address::parse(url, port))
            .map(|address| address.ports)
            .unwrap_or_default()
    }

    /// The names of the secrets that a process with these services and needs is given.
    pub fn secrets(&self, name: &str, target: &Target) -> BTreeSet<String> {
        let known = known_secrets(&self.description.secrets);
        let mut wanted: BTreeSet<String> = EVERYBODY.iter().map(|name| (*name).to_owned()).collect();
        wanted.extend(target.needs.secrets.iter().cloned());
        let mut engines = Vec::new();
        if target.needs.database {
            engines.extend(Self::services(name, target).iter().map(|service| format!("database-{service}")));
        }
        engines.extend(target.needs.bus.then(|| "bus".to_owned()));
        engines.extend(target.needs.cache.then(|| "cache".to_owned()));
        // An engine without a password has none.
        wanted.extend(engines.into_iter().filter(|name| known.contains(name.as_str())));
        wanted
    }

    /// What the job that migrates runs: every service, with everything that any of them needs.
    pub fn migrating(&self) -> Target {
        let targets = &self.description.targets;
        let mut job = Target { resources: self.description.migration.resources.clone(), ..Target::default() };
        for (name, target) in targets {
            let services = Self::services(name, target).into_iter().filter(|service| *service != ENTRY);
            job.services.extend(services.map(str::to_owned));
            job.needs.database |= target.needs.database;
            job.needs.bus |= target.needs.bus;
            job.needs.cache |= target.needs.cache;
            job.needs.objects |= target.needs.objects;
            job.needs.secrets.extend(target.needs.secrets.iter().cloned());
            job.settings.extend(only_sections(&target.settings));
        }
        job.services.sort();
        job.services.dedup();
        job.needs.secrets.sort();
        job.needs.secrets.dedup();
        job
    }

    /// How many replicas a target has at least.
    pub fn replicas_min(target: &Target) -> u32 {
        target.scaling.as_ref().map_or(target.replicas.unwrap_or(1), |scaling| scaling.min)
    }
}

/// The sections of services: without them one could not be built.
fn only_sections(settings: &toml::Table) -> toml::Table {
    settings
        .iter()
        .filter(|(key, _)| *key == "services")
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect()
}

pub(super) fn runs<'a>(description: &'a Description, service: &str) -> Option<&'a str> {
    let runs = |(name, target): &(&'a String, &'a Target)| Release::services(name, target).contains(&service);
    description.targets.iter().find(runs).map(|(name, _)| name.as_str())
}

pub(super) fn known_secrets(secrets: &Secrets) -> BTreeSet<&str> {
    match secrets {
        Secrets::External { values, .. } => values.keys().map(String::as_str).collect(),
        Secrets::Existing { keys, .. } => keys.iter().map(String::as_str).collect(),
    }
}

/// The groups of a file of rules, as the operator's resource has them too.
fn read_groups(text: &str) -> Result<Value, String> {
    let documents = yaml::read(text).map_err(|error| error.to_string())?;
    let groups = documents.first().and_then(|document| document.get("groups"));
    match groups.filter(|groups| groups.as_array().is_some_and(|groups| !groups.is_empty())) {
        Some(groups) => Ok(groups.clone()),
        None => Err("there are no groups in it".to_owned()),
    }
}
