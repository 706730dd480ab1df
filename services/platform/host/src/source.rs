//! Where a configuration is read from: a file, the environment, the command line.
//!
//! Invariants: a file is read once, so that what was looked at is what is judged; no error shows a secret.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use figment::error::{Actual, Kind};
use figment::providers::{Format, Toml};
use figment::value::{Dict, Map, Value};
use figment::{Figment, Metadata, Profile, Provider, Source};

use crate::StartError;

/// No configuration of ours comes near; a device or a log that was named by mistake does.
const FILE_BYTES_MAX: u64 = 1 << 20;
const PREFIX: &str = "RTC_";
/// What tests are told is no setting.
const TESTS_PREFIX: &str = "TEST_";

/// What lies over the defaults, the last the strongest: file, environment, command line.
#[derive(Debug, Clone, Default)]
pub(crate) struct Origin {
    pub file: Option<PathBuf>,
    /// Without the prefix, in any case: `SERVER__API_BIND`.
    pub environment: Vec<(String, String)>,
    pub overrides: Vec<(String, serde_json::Value)>,
}

/// The variables of this process that are settings.
pub(crate) fn environment() -> Vec<(String, String)> {
    let setting = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
        let (name, value) = (name.into_string().ok()?, value.into_string().ok()?);
        let (prefix, rest) = name.split_at_checked(PREFIX.len())?;
        let for_tests =
            rest.get(..TESTS_PREFIX.len()).is_some_and(|it| it.eq_ignore_ascii_case(TESTS_PREFIX));
        (prefix.eq_ignore_ascii_case(PREFIX) && !for_tests).then(|| (rest.to_owned(), value))
    };
    std::env::vars_os().filter_map(setting).collect()
}

/// One layer of settings, and where it is from.
struct Given {
    from: Metadata,
    settings: Dict,
}

impl Provider for Given {
    fn metadata(&self) -> Metadata {
        self.from.clone()
    }

    fn data(&self) -> Result<Map<Profile, Dict>, figment::Error> {
        Ok(Profile::Default.collect(self.settings.clone()))
    }
}

impl Origin {
    /// The text of the file as it is now; `None` where none is named.
    pub fn text(&self) -> Result<Option<String>, StartError> {
        let Some(file) = &self.file else { return Ok(None) };
        let failed = |reason: String| StartError::Config(format!("{}: {reason}", file.display()));
        let found = std::fs::metadata(file);
        match found {
            Ok(found) if !found.is_file() => return Err(failed("this is no file".to_owned())),
            Ok(found) if found.len() > FILE_BYTES_MAX => {
                return Err(failed("a configuration of more than 1 MiB is none".to_owned()));
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(StartError::Config(format!("there is no file {}", file.display())));
            }
            _ => {}
        }
        std::fs::read_to_string(file).map(Some).map_err(|error| failed(error.to_string()))
    }

    /// Lays file, environment and command line over `defaults`.
    pub fn over(&self, defaults: Figment, text: Option<&str>) -> Result<Figment, StartError> {
        let mut figment = defaults;
        if let (Some(file), Some(text)) = (&self.file, text) {
            figment = figment.merge(parse(file, text)?);
        }
        for (name, value) in &self.environment {
            let from = Metadata::named(format!("environment {PREFIX}{}", name.to_uppercase()));
            let Ok(value) = value.parse::<Value>();
            if let Some(settings) = nested(&name.to_lowercase().replace("__", "."), value) {
                figment = figment.merge(Given { from, settings });
            }
        }
        for (key, value) in &self.overrides {
            let value = Value::serialize(value).map_err(|error| StartError::Config(explain(&error)))?;
            if let Some(settings) = nested(key, value) {
                figment = figment.merge(Given { from: Metadata::named("command line"), settings });
            }
        }
        Ok(figment)
    }
}

fn nested(key: &str, value: Value) -> Option<Dict> {
    if key.is_empty() {
        return None;
    }
    figment::util::nest(key, value).into_dict()
}

fn parse(file: &Path, text: &str) -> Result<Given, StartError> {
    let settings = Toml::from_str::<Dict>(text).map_err(|error| {
        // Its own text shows the line, whatever stands there.
        let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or("");
        let line = before.matches('\n').count() + 1;
        let message = error.message().replace('\n', ", ");
        StartError::Config(format!("{}, line {line}: {message}", file.display()))
    })?;
    Ok(Given { from: Metadata::from("file", file), settings })
}

/// What was found may be an address where none is expected.
fn without_password(kind: Kind) -> Kind {
    let masked = |found: Actual| match found {
        Actual::Str(text) => Actual::Str(masked_text(&text)),
        found => found,
    };
    match kind {
        Kind::InvalidType(found, wanted) => Kind::InvalidType(masked(found), wanted),
        Kind::InvalidValue(found, wanted) => Kind::InvalidValue(masked(found), wanted),
        Kind::UnknownVariant(found, wanted) => Kind::UnknownVariant(masked_text(&found), wanted),
        kind => kind,
    }
}

/// In words where a setting is from.
pub(crate) fn told(from: &Metadata) -> String {
    match &from.source {
        Some(Source::File(path)) => format!("file {}", path.display()),
        _ if from.name == "command line" || from.name.starts_with("environment ") => from.name.to_string(),
        _ => "default".to_owned(),
    }
}

/// One line a fault: what, which key, where it was set.
pub(crate) fn explain(error: &figment::Error) -> String {
    let mut lines = Vec::new();
    for one in error.clone() {
        let is_secret = one.path.first().is_some_and(|key| key == "secrets" || key == "credentials");
        let mut line = match is_secret {
            true => "a table of names and references (file:/path, env:NAME) is expected".to_owned(),
            false => without_password(one.kind).to_string(),
        };
        if !one.path.is_empty() {
            line.push_str(&format!(" for key {}", one.path.join(".")));
        }
        if let Some(metadata) = &one.metadata {
            line.push_str(&format!(" ({})", told(metadata)));
        }
        lines.push(line);
    }
    lines.join("; ")
}

/// The password of an address is nobody's business.
pub(crate) fn masked(value: serde_json::Value) -> serde_json::Value {
    match value {
        serde_json::Value::String(text) => serde_json::Value::String(masked_text(&text)),
        serde_json::Value::Array(values) => values.into_iter().map(masked).collect(),
        serde_json::Value::Object(values) => {
            values.into_iter().map(|(key, value)| (key, masked(value))).collect()
        }
        other => other,
    }
}

/// The scheme of an address. What has none may be anything, a password in an unexpected place among it.
pub fn scheme_of(text: &str) -> Option<&str> {
    let (scheme, _) = text.split_once("://")?;
    let is_scheme = scheme.starts_with(|first: char| first.is_ascii_alphabetic())
        && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte));
    is_scheme.then_some(scheme)
}

/// An address whose scheme was forgotten: what stands between a user and a place is a password.
fn masked_without_scheme(text: &str) -> String {
    let parts = text.rsplit_once('@').and_then(|(before, place)| Some((before.split_once(':')?.0, place)));
    parts.map_or_else(|| text.to_owned(), |(user, place)| format!("{user}:…@{place}"))
}

/// An address without what signs in.
pub fn masked_text(text: &str) -> String {
    let Some(scheme) = scheme_of(text) else { return masked_without_scheme(text) };
    let rest = &text[scheme.len() + "://".len()..];
    let authority = rest.split(['/', '?', '#']).next().unwrap_or(rest);
    // A password may hold what ends an authority: the last @ of the whole counts where there is none in it.
    let end = authority.rfind('@').or_else(|| rest.rfind('@'));
    match end.map(|end| rest.split_at(end)) {
        // On the web a user, too, is most often a token.
        Some((_, host)) if scheme.starts_with("http") => format!("{scheme}://…{host}"),
        Some((credentials, host)) => match credentials.split_once(':') {
            Some((user, _)) => format!("{scheme}://{user}:…{host}"),
            None => text.to_owned(),
        },
        None => text.to_owned(),
    }
}

/// Dotted keys and their values.
pub(crate) fn flatten(
    prefix: &str,
    value: &serde_json::Value,
    into: &mut BTreeMap<String, serde_json::Value>,
) {
    let serde_json::Value::Object(table) = value else {
        into.insert(prefix.to_owned(), value.clone());
        return;
    };
    for (key, value) in table {
        let key = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
        flatten(&key, value, into);
    }
}
