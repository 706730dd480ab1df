//! One configuration file: parsed with the line of every value, and checked against the table of settings.
//!
//! Invariant: a key that is not in the table is refused, with the nearest one that is.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use codes::{Error, Result};
use serde::Serialize;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::deploy::DeployEntry;
use super::images::ImageEntry;
use super::nearest;
use super::notices::NoticeEntry;
use super::objectives::ObjectiveEntry;
use super::pipeline::PipelineEntry;
use super::schema::{Place, Setting, Shape, settings_of};
use super::ship::ShipEntry;

/// A table of environments that holds no settings of the tool.
const DEPLOY: &str = "deploy";

/// A value and the line on which it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub text: String,
    pub line: usize,
}

/// What `[environments.NAME]` says.
#[derive(Debug, Clone, Default)]
pub struct Environment {
    pub about: String,
    /// What `[environments.NAME.deploy]` says.
    pub deploy: Option<DeployEntry>,
    entries: BTreeMap<&'static str, Entry>,
}

/// A service of the platform, as `rtc.toml` names it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Service {
    pub name: String,
    pub about: String,
    /// Whether it has a database of its own.
    pub database: bool,
}

/// What one file says.
#[derive(Debug)]
pub struct File {
    pub path: PathBuf,
    pub environments: BTreeMap<String, Environment>,
    pub services: Vec<Service>,
    /// What `[metrics.slo]` says, by name.
    pub objectives: BTreeMap<String, ObjectiveEntry>,
    /// What `[deploy]` says.
    pub deploy: Option<DeployEntry>,
    /// The images, in the order of the file.
    pub images: Vec<(String, ImageEntry)>,
    /// Who is told, in the order of the file.
    pub notices: Vec<(String, NoticeEntry)>,
    /// What `[ship]` says, where there is one.
    pub ship: Option<ShipEntry>,
    /// What `[pipelines]` says, by name.
    pub pipelines: BTreeMap<String, PipelineEntry>,
    defaults: BTreeMap<&'static str, Entry>,
    /// What `[jenkins]` says.
    jenkins: BTreeMap<&'static str, Entry>,
}

impl File {
    /// Reads and checks a file.
    ///
    /// # Errors
    /// It cannot be read, or what [`File::parse`] refuses.
    pub fn read(path: &Path) -> Result<Self> {
        let bytes = std::fs::read(path).map_err(|error| {
            Error::new(&codes::CFG001, format!("cannot read {}", path.display())).with_source(&error)
        })?;
        let text = String::from_utf8(bytes).map_err(|error| {
            Error::new(&codes::CFG001, format!("{} is not UTF-8", path.display())).with_source(&error)
        })?;
        Self::parse(path, &text)
    }

    /// Checks the text of a file; `path` is what its places are called by and what its paths are relative to.
    ///
    /// # Errors
    /// It is not TOML, has an unknown key, or a value that is not allowed; the place is told.
    pub fn parse(path: &Path, text: &str) -> Result<Self> {
        let reader = Reader { path, text };
        let root = DeTable::parse(text).map_err(|error| {
            let place =
                error.span().map_or_else(|| path.display().to_string(), |span| reader.place(span.start));
            Error::new(&codes::CFG002, format!("{place}: not valid TOML"))
                .with_cause(error.message().to_owned())
        })?;
        let mut file = Self {
            path: path.to_owned(),
            environments: BTreeMap::new(),
            services: Vec::new(),
            objectives: BTreeMap::new(),
            deploy: None,
            images: Vec::new(),
            notices: Vec::new(),
            ship: None,
            pipelines: BTreeMap::new(),
            defaults: BTreeMap::new(),
            jenkins: BTreeMap::new(),
        };
        for (key, value) in root.get_ref() {
            match key.get_ref().as_ref() {
                "defaults" => file.defaults = reader.settings(value, Place::Defaults, &[])?.0,
                "environments" => {
                    for (name, value) in reader.table(value)? {
                        let (entries, mut extra) = reader.settings(value, Place::Environment, &["about"])?;
                        let about = extra.remove("about").map(|entry| entry.text).unwrap_or_default();
                        let deploy = reader.table(value)?.iter().find(|(key, _)| key.get_ref() == DEPLOY);
                        let deploy = deploy.map(|(_, value)| reader.deploy(value)).transpose()?;
                        let environment = Environment { about, deploy, entries };
                        file.environments.insert(name.get_ref().to_string(), environment);
                    }
                }
                "services" => {
                    let mut services = Vec::new();
                    for (name, value) in reader.table(value)? {
                        services.push((name.span().start, reader.service(name.get_ref(), value)?));
                    }
                    // The parser sorts by name; the file's own order says more.
                    services.sort_by_key(|(position, _)| *position);
                    file.services = services.into_iter().map(|(_, service)| service).collect();
                }
                "metrics" => file.objectives = reader.objectives(value)?,
                "deploy" => file.deploy = Some(reader.deploy(value)?),
                "images" => file.images = reader.images(value)?,
                "jenkins" => file.jenkins = reader.settings(value, Place::Jenkins, &[])?.0,
                "notices" => file.notices = reader.notices(value)?,
                "pipelines" => file.pipelines = reader.pipelines(value)?,
                "ship" => file.ship = Some(reader.ship(value)?),
                other => {
                    let known = [
                        "defaults",
                        "deploy",
                        "environments",
                        "images",
                        "jenkins",
                        "metrics",
                        "notices",
                        "pipelines",
                        "services",
                        "ship",
                    ];
                    return Err(reader.unknown(other, key, &known));
                }
            }
        }
        Ok(file)
    }

    /// The value of a setting in this file.
    pub fn entry(&self, setting: &Setting, env: &str) -> Option<&Entry> {
        match setting.place {
            Place::Defaults => self.defaults.get(setting.key),
            Place::Environment => self.environments.get(env)?.entries.get(setting.key),
            Place::Jenkins => {
                let environment = self.environments.get(env);
                let own = environment.and_then(|environment| environment.entries.get(setting.key));
                own.or_else(|| self.jenkins.get(setting.key))
            }
        }
    }
}

pub(super) struct Reader<'a> {
    path: &'a Path,
    text: &'a str,
}

pub(super) type Table<'a> = DeTable<'a>;
type Entries = BTreeMap<&'static str, Entry>;

impl Reader<'_> {
    fn line(&self, offset: usize) -> usize {
        self.text.as_bytes()[..offset.min(self.text.len())].iter().filter(|byte| **byte == b'\n').count() + 1
    }

    pub(super) fn place(&self, offset: usize) -> String {
        format!("{}:{}", self.path.display(), self.line(offset))
    }

    /// The folder that the file is in.
    pub(super) fn folder(&self) -> PathBuf {
        self.path.parent().unwrap_or(Path::new(".")).to_owned()
    }

    pub(super) fn unknown<T>(&self, key: &str, at: &Spanned<T>, known: &[&str]) -> Error {
        let error =
            Error::new(&codes::CFG003, format!("{}: unknown key {key:?}", self.place(at.span().start)));
        match nearest(key, known.iter().copied()) {
            Some(near) => error.with_hint(format!("did you mean {near}?")),
            None => error.with_hint(format!("known here: {}", known.join(", "))),
        }
    }

    pub(super) fn wrong<T>(&self, at: &Spanned<T>, problem: &str) -> Error {
        Error::new(&codes::CFG004, format!("{}: {problem}", self.place(at.span().start)))
    }

    pub(super) fn table<'v, 'd>(&self, value: &'v Spanned<DeValue<'d>>) -> Result<&'v Table<'d>> {
        value.get_ref().as_table().ok_or_else(|| self.wrong(value, "a table is expected here"))
    }

    /// The settings of one table, and the entries of `extra` keys.
    fn settings(
        &self,
        value: &Spanned<DeValue<'_>>,
        place: Place,
        extra: &[&'static str],
    ) -> Result<(Entries, Entries)> {
        let (mut entries, mut others) = (BTreeMap::new(), BTreeMap::new());
        for (key, value) in self.table(value)? {
            let name = key.get_ref().as_ref();
            if let Some(setting) = settings_of(place).find(|setting| setting.key_in(place) == name) {
                let text = self.scalar(value, setting)?;
                entries.insert(setting.key, Entry { text, line: self.line(value.span().start) });
            } else if let Some(other) = extra.iter().find(|other| **other == name) {
                let text =
                    value.get_ref().as_str().ok_or_else(|| self.wrong(value, "a text is expected here"))?;
                others.insert(*other, Entry { text: text.to_owned(), line: self.line(value.span().start) });
            } else if place == Place::Environment && name == DEPLOY {
                // A table of its own, read by whoever reads such tables.
            } else {
                let own = (place == Place::Environment).then_some(DEPLOY);
                let known: Vec<&str> = settings_of(place)
                    .map(|setting| setting.key_in(place))
                    .chain(extra.iter().copied())
                    .chain(own)
                    .collect();
                return Err(self.unknown(name, key, &known));
            }
        }
        Ok((entries, others))
    }

    fn scalar(&self, value: &Spanned<DeValue<'_>>, setting: &Setting) -> Result<String> {
        let text = match (value.get_ref(), setting.shape) {
            (DeValue::String(text), shape) if shape != Shape::Port => text.to_string(),
            (DeValue::Integer(number), Shape::Port | Shape::Duration) => number.as_str().replace('_', ""),
            (DeValue::Float(number), Shape::Duration) => number.as_str().replace('_', ""),
            (other, shape) => {
                let problem =
                    format!("{} is a {}, and here stands a {}", setting.key, shape.name(), other.type_str());
                return Err(self.wrong(value, &problem));
            }
        };
        match setting.shape.check(&text) {
            Ok(()) => Ok(text),
            Err(problem) if setting.shape == Shape::Reference => Err(Error::new(
                &codes::CFG007,
                format!("{}: {}: {problem}", self.place(value.span().start), setting.key),
            )),
            Err(problem) => Err(self.wrong(value, &format!("{} = {text:?}: {problem}", setting.key))),
        }
    }

    fn service(&self, name: &str, value: &Spanned<DeValue<'_>>) -> Result<Service> {
        let mut service = Service { name: name.to_owned(), about: String::new(), database: false };
        for (key, value) in self.table(value)? {
            match (key.get_ref().as_ref(), value.get_ref()) {
                ("about", DeValue::String(text)) => service.about = text.to_string(),
                ("database", DeValue::Boolean(flag)) => service.database = *flag,
                ("about", _) => return Err(self.wrong(value, "about is a text")),
                ("database", _) => return Err(self.wrong(value, "database is true or false")),
                (other, _) => return Err(self.unknown(other, key, &["about", "database"])),
            }
        }
        Ok(service)
    }
}
