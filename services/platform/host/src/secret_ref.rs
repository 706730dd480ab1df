//! A secret by reference: where it is, never what it is.
//!
//! Invariant: no error and no `Debug` shows a secret.

use std::fmt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::{Profile, StartError};

/// Answers the secret of the moment.
pub type Provider = Arc<dyn Fn() -> Result<String, String> + Send + Sync>;

/// More than one while they are rotated.
const LINES_MAX: usize = 8;
const BYTES_MAX: u64 = 64 * 1024;
const SERVICE: &str = "{service}";

/// Where a secret is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretRef {
    /// `file:/run/secrets/name`.
    File(PathBuf),
    /// `env:NAME`.
    Env(String),
}

impl fmt::Display for SecretRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SecretRef::File(path) => write!(f, "file:{}", path.display()),
            SecretRef::Env(name) => write!(f, "env:{name}"),
        }
    }
}

fn is_variable(name: &str) -> bool {
    let starts = name.bytes().next().is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_');
    starts && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

impl SecretRef {
    /// `key` is the setting that holds the reference. What is no reference may be the secret itself: it is not shown.
    pub fn parse(key: &str, text: &str) -> Result<Self, StartError> {
        let refuse = |problem: &str| Err(StartError::Config(format!("{key}: {problem}")));
        if let Some(path) = text.strip_prefix("file:") {
            let path = Path::new(path);
            return match path.is_absolute() && !text.contains('\0') {
                true => Ok(SecretRef::File(path.to_owned())),
                false => refuse("file: is followed by an absolute path"),
            };
        }
        if let Some(name) = text.strip_prefix("env:") {
            return match is_variable(&name.replace(SERVICE, "s")) {
                true => Ok(SecretRef::Env(name.to_owned())),
                false => refuse("env: is followed by the name of a variable"),
            };
        }
        refuse("a secret is given by reference, file:/path or env:NAME")
    }

    /// With the name of the service in the place of `{service}`.
    pub(crate) fn of_service(&self, service: &str) -> Self {
        match self {
            SecretRef::File(path) => SecretRef::File(path.to_string_lossy().replace(SERVICE, service).into()),
            SecretRef::Env(name) => SecretRef::Env(name.replace(SERVICE, service)),
        }
    }

    /// The values, one a line: the first is the one in use, the others are still good.
    pub(crate) fn read(&self, profile: Profile) -> Result<Vec<String>, String> {
        let text = match self {
            SecretRef::File(path) => read_file(path, profile)?,
            SecretRef::Env(name) => read_variable(name)?,
        };
        let mut values: Vec<String> = Vec::new();
        for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
            if !values.iter().any(|value| value == line) {
                values.push(line.to_owned());
            }
        }
        match values.len() {
            0 => Err(format!("{self} is empty")),
            n if n > LINES_MAX => Err(format!("{self} has {n} values, one a line; {LINES_MAX} are the most")),
            _ => Ok(values),
        }
    }

    pub(crate) fn provider(&self, profile: Profile) -> Provider {
        let reference = self.clone();
        Arc::new(move || reference.read(profile).map(|values| values[0].clone()))
    }
}

fn read_variable(name: &str) -> Result<String, String> {
    let Some(value) = std::env::var_os(name) else { return Err(format!("there is no variable {name}")) };
    value.into_string().map_err(|_| format!("the variable {name} is no text"))
}

fn read_file(path: &Path, profile: Profile) -> Result<String, String> {
    let told = |problem: String| format!("{}: {problem}", path.display());
    let found = std::fs::metadata(path).map_err(|error| told(error.to_string()))?;
    if !found.is_file() {
        return Err(told("this is no file".to_owned()));
    }
    if found.len() > BYTES_MAX {
        return Err(told("this is too long for a secret".to_owned()));
    }
    if profile == Profile::Production
        && let Some(problem) = exposure(found.permissions().mode())
    {
        return Err(told(problem));
    }
    let bytes = std::fs::read(path).map_err(|error| told(error.to_string()))?;
    String::from_utf8(bytes).map_err(|_| told("this is no text".to_owned()))
}

/// What is wrong with a file's permissions. A group may read: that is how containers are given secrets.
fn exposure(mode: u32) -> Option<String> {
    let mode = mode & 0o777;
    match mode & 0o027 {
        0 => None,
        _ => Some(format!("others may read or change it (mode {mode:o}): chmod 640 or stricter")),
    }
}

/// Whether others may read a secret, for a warning where it is not refused.
pub(crate) fn warning(reference: &SecretRef) -> Option<String> {
    let SecretRef::File(path) = reference else { return None };
    let mode = std::fs::metadata(path).ok()?.permissions().mode();
    exposure(mode).map(|problem| format!("{}: {problem}", path.display()))
}
