//! What is configured for `rtcctl`, and where each value of it came from.
//!
//! - [`Config`] is all of it, resolved; [`File`] is what one file says, with the line of every value;
//! - [`SETTINGS`] is the table that parsing, checking, `config show` and [`json_schema`] all read;
//! - a [`Secret`] is fetched where a reference leads, when it is asked for.
//!
//! Invariants: flag > `RTCCTL_*` variable > `rtc.toml` (searched upwards) > the user's file > built-in default; every
//! value carries its origin; unknown keys and variables are refused; a secret is only ever a reference.

mod deploy;
mod file;
mod images;
mod needed;
mod notices;
mod objectives;
mod pipeline;
mod schema;
mod secret;
mod ship;
mod spelling;

pub use deploy::DeployEntry;
pub use file::{Entry, File, Service};
pub use images::{BinaryEntry, Compression, ImageEntry, RepositoryEntry, platform};
pub use needed::setting_named;
pub use notices::NoticeEntry;
pub use objectives::ObjectiveEntry;
pub use pipeline::PipelineEntry;
pub use schema::{Place, SETTINGS, Setting, Shape, json_schema};
pub use secret::{Secret, masked};
pub use ship::{GateEntry, ShipEntry};
pub use spelling::nearest;

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use codes::{Error, Result};

/// The name of the file that describes the platform.
pub const PROJECT_FILE: &str = "rtc.toml";

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    Flag(&'static str),
    Variable(&'static str),
    /// A file and the line in it.
    Project(PathBuf, usize),
    User(PathBuf, usize),
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Flag(flag) => f.write_str(flag),
            Origin::Variable(name) => f.write_str(name),
            Origin::Project(path, line) | Origin::User(path, line) => write!(f, "{}:{line}", path.display()),
            Origin::Default => f.write_str("default"),
        }
    }
}

/// A value as it was written, and its origin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolved {
    pub text: String,
    pub origin: Origin,
}

/// Everything that was configured. Reading it does no I/O and asks no network.
#[derive(Debug)]
pub struct Config {
    values: BTreeMap<&'static str, Resolved>,
    /// The environments that exist, with what they are for.
    pub environments: BTreeMap<String, String>,
    protected: BTreeSet<String>,
    /// The services of the platform, in the order of `rtc.toml`.
    pub services: Vec<Service>,
    /// What the files say about objectives, by name.
    pub objectives: BTreeMap<String, ObjectiveEntry>,
    /// What `[deploy]` says, and each environment over it.
    pub deploy: Option<DeployEntry>,
    pub deploy_in: BTreeMap<String, DeployEntry>,
    /// What images are made of, in the order of `rtc.toml`.
    pub images: Vec<(String, ImageEntry)>,
    /// Who is told what a release came to, in the order of `rtc.toml`.
    pub notices: Vec<(String, NoticeEntry)>,
    /// Jobs of Jenkins by short names.
    pub pipelines: BTreeMap<String, PipelineEntry>,
    /// How a release goes.
    pub ship: ShipEntry,
    /// The files that were read, in the order of their precedence.
    pub files: Vec<PathBuf>,
    current_dir: PathBuf,
    variables: Variables,
}

/// The process's variables, for references to secrets; never shown.
struct Variables(BTreeMap<String, String>);

impl fmt::Debug for Variables {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[variables]")
    }
}

impl Variables {
    /// A variable that has a value.
    fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str).filter(|text| !text.is_empty())
    }
}

impl Config {
    /// Joins flags, the process's variables and files. `flags` holds the flags that were given, by the key of their setting;
    /// the project's file is searched from `current_dir` upwards.
    ///
    /// # Errors
    /// A file that cannot be read or is wrong, a variable of ours that nobody knows, a value that is not allowed, an
    /// environment that is not defined.
    pub fn load(
        variables: &BTreeMap<String, String>,
        current_dir: &Path,
        flags: &[(&'static str, String)],
    ) -> Result<Self> {
        let variables = Variables(variables.clone());
        check_variables(&variables)?;
        let mut project = match find_upwards(current_dir) {
            Some(path) => Some(File::read(&path)?),
            None => None,
        };
        let mut user = match user_file(&variables) {
            Some(path) if path.exists() => Some(File::read(&path)?),
            _ => None,
        };
        let mut config = Self {
            values: BTreeMap::new(),
            environments: BTreeMap::from([("local".to_owned(), "this machine".to_owned())]),
            protected: BTreeSet::new(),
            services: Vec::new(),
            objectives: BTreeMap::new(),
            deploy: None,
            deploy_in: BTreeMap::new(),
            images: Vec::new(),
            notices: Vec::new(),
            pipelines: BTreeMap::new(),
            ship: ShipEntry::default(),
            files: Vec::new(),
            current_dir: current_dir.to_owned(),
            variables,
        };
        for file in [&mut user, &mut project].into_iter().flatten() {
            for (name, environment) in &file.environments {
                config.environments.insert(name.clone(), environment.about.clone());
                if let Some(deploy) = &environment.deploy {
                    config.deploy_in.insert(name.clone(), deploy.clone());
                }
            }
            config.services.append(&mut file.services);
            config.objectives.append(&mut file.objectives);
            config.deploy = file.deploy.take().or(config.deploy.take());
            config.images.append(&mut file.images);
            config.pipelines.append(&mut file.pipelines);
            // The project's say goes before the user's.
            config.notices.retain(|(name, _)| file.notices.iter().all(|(other, _)| other != name));
            config.notices.append(&mut file.notices);
            // The project's, where both say something.
            if let Some(ship) = file.ship.take() {
                config.ship = ship;
            }
        }
        let find_in = |setting, env: &str| {
            find(setting, env, &config.variables, flags, project.as_ref(), user.as_ref())
        };
        if let Some(setting) = SETTINGS.iter().find(|setting| setting.key == "protected") {
            let names = config.environments.keys();
            config.protected = names.filter(|name| find_in(setting, name).text == "yes").cloned().collect();
        }
        for (name, entry) in &config.pipelines {
            if let Some(env) = &entry.environment {
                config.known(env, &format!("[pipelines.{name}]"))?;
            }
        }
        config.files.extend([&project, &user].into_iter().flatten().map(|file| file.path.clone()));

        let env = SETTINGS.iter().find(|setting| setting.key == "env");
        let env = env.map(|setting| find_in(setting, ""));
        let env = env.unwrap_or_else(|| Resolved { text: "local".to_owned(), origin: Origin::Default });
        config.known(&env.text, &env.origin.to_string())?;
        for setting in SETTINGS {
            let found = find_in(setting, &env.text);
            setting.shape.check(&found.text).map_err(|problem| match setting.shape {
                // The text is not repeated: it may be the secret itself.
                Shape::Reference => {
                    Error::new(&codes::CFG007, format!("{} (from {}): {problem}", setting.key, found.origin))
                }
                shape => {
                    let shown = if shape == Shape::Url { masked(&found.text) } else { found.text.clone() };
                    Error::new(
                        &codes::CFG004,
                        format!("{} = {shown:?} (from {}): {problem}", setting.key, found.origin),
                    )
                }
            })?;
            config.values.insert(setting.key, found);
        }
        Ok(config)
    }

    /// That there is an environment of this name, which `origin` says.
    fn known(&self, name: &str, origin: &str) -> Result<()> {
        if self.environments.contains_key(name) {
            return Ok(());
        }
        let names: Vec<&str> = self.environments.keys().map(String::as_str).collect();
        let error = Error::new(&codes::CFG005, format!("there is no environment {name:?} (from {origin})"));
        Err(match nearest(name, names.iter().copied()) {
            Some(near) => error.with_hint(format!("did you mean {near}?")),
            None => error.with_hint(format!("defined are: {}", names.join(", "))),
        })
    }

    /// Whether what changes this environment has its name typed.
    pub fn is_protected(&self, env: &str) -> bool {
        self.protected.contains(env)
    }

    /// A setting as it was written; empty where it has no value.
    pub fn get(&self, key: &'static str) -> &Resolved {
        static NOTHING: Resolved = Resolved { text: String::new(), origin: Origin::Default };
        debug_assert!(SETTINGS.iter().any(|setting| setting.key == key), "no setting is called {key}");
        self.values.get(key).unwrap_or(&NOTHING)
    }

    /// What may be shown of a setting: an address without what signs in there.
    pub fn shown(&self, setting: &Setting) -> String {
        let text = &self.get(setting.key).text;
        if setting.shape == Shape::Url { masked(text) } else { text.clone() }
    }

    /// A setting's text, or `None` where it has none.
    pub fn text(&self, key: &'static str) -> Option<&str> {
        Some(self.get(key).text.as_str()).filter(|text| !text.is_empty())
    }

    pub fn env(&self) -> &str {
        &self.get("env").text
    }

    /// A setting that is a length of time. `None` where it is empty.
    pub fn duration(&self, key: &'static str) -> Option<Duration> {
        self.text(key).and_then(|text| parse_duration(text).ok())
    }

    pub fn port(&self, key: &'static str) -> Option<u16> {
        self.text(key).and_then(|text| text.parse().ok())
    }

    /// A path: relative to the file that says it, or to the current directory.
    pub fn path(&self, key: &'static str) -> PathBuf {
        let resolved = self.get(key);
        let base = match &resolved.origin {
            Origin::Project(file, _) | Origin::User(file, _) => file.parent().unwrap_or(Path::new(".")),
            Origin::Flag(_) | Origin::Variable(_) | Origin::Default => &self.current_dir,
        };
        let path = base.join(&resolved.text);
        std::path::absolute(&path).unwrap_or(path)
    }

    /// The directory of the running platform on this machine.
    pub fn data_dir(&self) -> PathBuf {
        self.path("data")
    }

    /// A path that is set, or `None`.
    pub fn path_of(&self, key: &'static str) -> Option<PathBuf> {
        self.text(key).map(|_| self.path(key))
    }

    /// Where runs are recorded: as configured, or where the user keeps the state of programs.
    pub fn journal_dir(&self) -> PathBuf {
        self.path_of("journal").unwrap_or_else(|| {
            let base = self
                .variable("XDG_STATE_HOME")
                .map(PathBuf::from)
                .or_else(|| Some(Path::new(self.variable("HOME")?).join(".local/state")))
                .unwrap_or_else(|| self.current_dir.join(".state"));
            base.join("rtcctl").join("runs")
        })
    }

    /// `user@host`, for the journal.
    pub fn operator(&self) -> String {
        let user = self.variable("USER").or_else(|| self.variable("LOGNAME")).map(str::to_owned);
        let user = user.unwrap_or_else(|| format!("uid{}", rustix::process::getuid().as_raw()));
        let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
        format!("{user}@{host}")
    }

    /// A variable that other programs define, where it is set.
    pub fn variable(&self, name: &str) -> Option<&str> {
        self.variables.get(name)
    }

    /// The process's variables, to pass on to a program that rtcctl runs. They may hold secrets.
    pub fn environment(&self) -> impl Iterator<Item = (OsString, OsString)> {
        self.variables.0.iter().map(|(name, value)| (name.into(), value.into()))
    }

    /// The secret behind a setting that is a reference. `None` where there is no reference.
    pub fn secret(&self, key: &'static str) -> Result<Option<Secret>> {
        let resolved = self.get(key);
        if resolved.text.is_empty() {
            return Ok(None);
        }
        let base = match &resolved.origin {
            Origin::Project(file, _) | Origin::User(file, _) => {
                file.parent().unwrap_or(Path::new(".")).to_owned()
            }
            _ => self.current_dir.clone(),
        };
        secret::resolve(&resolved.text, &base, &self.variables.0)
            .map(Some)
            .map_err(|error| error.with_cause(format!("{key} is set by {}", resolved.origin)))
    }

    /// The secret behind a reference that stands in a table of a file, relative to the file's folder.
    pub fn referred(&self, reference: &str, folder: &Path) -> Result<Secret> {
        secret::resolve(reference, folder, &self.variables.0)
    }

    /// The secret behind a reference that stands on the command line.
    pub fn secret_of(&self, reference: &str) -> Result<Secret> {
        secret::resolve(reference, &self.current_dir, &self.variables.0)
    }

    /// Every setting with its value and origin, in the order of the schema.
    pub fn entries(&self) -> impl Iterator<Item = (&'static Setting, &Resolved)> {
        SETTINGS.iter().map(|setting| (setting, self.get(setting.key)))
    }
}

/// The file of the user, where the environment says where users keep such files.
fn user_file(variables: &Variables) -> Option<PathBuf> {
    let base = match variables.get("XDG_CONFIG_HOME") {
        Some(path) => PathBuf::from(path),
        None => PathBuf::from(variables.get("HOME")?).join(".config"),
    };
    Some(base.join("rtcctl").join("config.toml"))
}

/// The nearest `rtc.toml`, from the directory upwards.
fn find_upwards(from: &Path) -> Option<PathBuf> {
    from.ancestors().map(|folder| folder.join(PROJECT_FILE)).find(|path| path.is_file())
}

/// A length of time: `250ms`, `30s`, `1m30s`, `2h`; a bare number is seconds.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("not a length of time: {text:?} (write 250ms, 30s, 1m30s or 2h)");
    let text = text.trim();
    if let Ok(seconds) = text.parse::<f64>() {
        return Duration::try_from_secs_f64(seconds).map_err(|_| wrong());
    }
    let duration: jiff::SignedDuration = text.parse().map_err(|_| wrong())?;
    Duration::try_from(duration).map_err(|_| wrong())
}

fn check_variables(variables: &Variables) -> Result<()> {
    let known = || SETTINGS.iter().filter_map(|setting| setting.variable);
    for name in variables.0.keys().filter(|name| name.starts_with("RTCCTL_")) {
        if !known().any(|variable| variable == name) {
            let error = Error::new(&codes::CFG006, format!("the variable {name} is set and has no meaning"));
            return Err(match nearest(name, known()) {
                Some(near) => error.with_hint(format!("did you mean {near}?")),
                None => error.with_hint("rtcctl config show lists the variables".to_owned()),
            });
        }
    }
    Ok(())
}

fn find(
    setting: &'static Setting,
    env: &str,
    variables: &Variables,
    flags: &[(&'static str, String)],
    project: Option<&File>,
    user: Option<&File>,
) -> Resolved {
    if let (Some(flag), Some((_, text))) = (setting.flag, flags.iter().find(|(key, _)| *key == setting.key)) {
        return Resolved { text: text.clone(), origin: Origin::Flag(flag) };
    }
    if let Some((name, text)) = setting.variable.and_then(|name| Some((name, variables.get(name)?))) {
        return Resolved { text: text.to_owned(), origin: Origin::Variable(name) };
    }
    if let Some((file, entry)) = project.and_then(|file| Some((file, file.entry(setting, env)?))) {
        return Resolved { text: entry.text.clone(), origin: Origin::Project(file.path.clone(), entry.line) };
    }
    if let Some((file, entry)) = user.and_then(|file| Some((file, file.entry(setting, env)?))) {
        return Resolved { text: entry.text.clone(), origin: Origin::User(file.path.clone(), entry.line) };
    }
    Resolved { text: setting.default.unwrap_or_default().to_owned(), origin: Origin::Default }
}

#[cfg(test)]
mod tests;
