//! Logins that `docker login`, `podman login` and their credential helpers keep.
//!
//! For a registry, within one file: its own helper (`credHelpers`), else the helper for all (`credsStore`), else what
//! the file itself has (`auths`). The first file that knows the registry is believed. `podman login` keeps logins of
//! parts of a registry, as `quay.io/team`: the one that says most about a repository is taken.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Deserializer};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};

use crate::credentials::{Credentials, Grant, Login};
use crate::error::io;
use crate::{Error, Result};

/// A login is a few hundred bytes.
const HELPER_BYTES_MAX: u64 = 64 * 1024;
const HELPER_TIMEOUT: Duration = Duration::from_secs(30);
/// The user under which helpers hand out a refresh token instead of a password.
const TOKEN_USER: &str = "<token>";
const NOT_FOUND: &str = "credentials not found";

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Config {
    #[serde(deserialize_with = "or_default")]
    auths: BTreeMap<String, Option<Entry>>,
    #[serde(deserialize_with = "or_default")]
    creds_store: String,
    #[serde(deserialize_with = "or_default")]
    cred_helpers: BTreeMap<String, String>,
}

/// `null` is the same as nothing.
fn or_default<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(from: D) -> Result<T, D::Error> {
    Option::deserialize(from).map(Option::unwrap_or_default)
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Entry {
    #[serde(deserialize_with = "or_default")]
    auth: String,
    #[serde(deserialize_with = "or_default")]
    username: String,
    #[serde(deserialize_with = "or_default")]
    password: String,
    #[serde(deserialize_with = "or_default")]
    identitytoken: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    username: String,
    secret: String,
}

/// The files of `docker login` and its like; those that are not there are passed by.
#[derive(Debug, Clone, Default)]
pub struct Files {
    paths: Vec<PathBuf>,
    helpers: Option<PathBuf>,
}

impl Files {
    pub fn new(paths: Vec<PathBuf>) -> Self {
        Self { paths, helpers: None }
    }

    /// Runs helpers from one folder instead of the search path.
    #[must_use]
    pub fn with_helpers_in(mut self, folder: PathBuf) -> Self {
        self.helpers = Some(folder);
        self
    }

    async fn helper(&self, name: &str, registry: &str) -> Result<Option<Login>> {
        let program = format!("docker-credential-{name}");
        let wrong = |reason: String| Error::Credentials { registry: registry.to_owned(), reason };
        let path =
            self.helpers.as_ref().map_or_else(|| PathBuf::from(&program), |folder| folder.join(&program));
        let mut child = tokio::process::Command::new(path)
            .arg("get")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| wrong(format!("{program} cannot be run: {error}")))?;
        let mut input = child.stdin.take().expect("it was asked for");
        let output = child.stdout.take().expect("it was asked for").take(HELPER_BYTES_MAX);
        let complaint = child.stderr.take().expect("it was asked for").take(HELPER_BYTES_MAX);
        let asked = async {
            // A helper that answers without reading is not wrong; its output says whether it is.
            let _ = input.write_all(server(registry).as_bytes()).await;
            drop(input);
            let (said, complained) = tokio::try_join!(all(output), all(complaint))?;
            // One that would go on for ever ends with its pipe.
            Ok::<_, std::io::Error>((child.wait().await?, said, complained))
        };
        let (status, said, complained) = tokio::time::timeout(HELPER_TIMEOUT, asked)
            .await
            .map_err(|_| wrong(format!("{program} did not answer in {} s", HELPER_TIMEOUT.as_secs())))?
            .map_err(|error| wrong(format!("{program}: {error}")))?;
        // What it printed may be half a secret: it is not quoted.
        if !status.success() {
            let all = [said, complained].concat();
            if String::from_utf8_lossy(&all).contains(NOT_FOUND) {
                return Ok(None);
            }
            return Err(wrong(format!(
                "{program} failed ({status}); echo {registry} | {program} get says why"
            )));
        }
        let answer: Answer = serde_json::from_slice(&said)
            .map_err(|_| wrong(format!("{program} printed something else than a login")))?;
        Ok(Some(match answer.username.as_str() {
            TOKEN_USER => Login::Identity(answer.secret),
            _ => Login::Password { user: answer.username, password: answer.secret },
        }))
    }
}

async fn all(mut from: impl AsyncRead + Unpin) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    from.read_to_end(&mut bytes).await?;
    Ok(bytes)
}

#[async_trait::async_trait]
impl Credentials for Files {
    async fn login(&self, registry: &str) -> Result<Grant> {
        self.find(registry, None).await
    }

    async fn login_for(&self, registry: &str, repository: &str) -> Result<Grant> {
        self.find(registry, Some(repository)).await
    }
}

impl Files {
    async fn find(&self, registry: &str, repository: Option<&str>) -> Result<Grant> {
        for path in &self.paths {
            let bytes = match tokio::fs::read(path).await {
                Ok(bytes) => bytes,
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
                Err(error) => return Err(io(path)(error)),
            };
            let what = path.display().to_string();
            if bytes.trim_ascii().is_empty() {
                continue;
            }
            // An error of the reader quotes what it stands at, which may be a secret.
            let config: Config = serde_json::from_slice(&bytes).map_err(|error| Error::Invalid {
                what: what.clone(),
                reason: format!("line {} is not as `docker login` writes it", error.line()),
            })?;
            let helper = config
                .cred_helpers
                .iter()
                .find(|(key, _)| host(key) == registry)
                .map(|(_, name)| name)
                .or(Some(&config.creds_store).filter(|name| !name.is_empty()));
            if let Some(name) = helper
                && let Some(login) = self.helper(name, registry).await?
            {
                return Ok(login.into());
            }
            let mut entries: Vec<(usize, &Entry)> = config
                .auths
                .iter()
                .filter_map(|(key, entry)| Some((closeness(key, registry, repository)?, entry.as_ref()?)))
                .collect();
            entries.sort_by_key(|(closeness, _)| std::cmp::Reverse(*closeness));
            for (_, entry) in entries {
                if let Some(login) = login(&what, registry, entry)? {
                    return Ok(login.into());
                }
            }
        }
        Ok(Login::Anonymous.into())
    }
}

/// What helpers and files call a registry. Docker Hub goes by the address of its first version.
fn server(registry: &str) -> &str {
    match registry {
        "docker.io" => "https://index.docker.io/v1/",
        other => other,
    }
}

fn host(key: &str) -> &str {
    let key = key.strip_prefix("https://").or_else(|| key.strip_prefix("http://")).unwrap_or(key);
    match key.split('/').next().unwrap_or_default() {
        "index.docker.io" | "registry-1.docker.io" => "docker.io",
        host => host,
    }
}

/// How many parts of a repository's name a key of `auths` says; `None` if it is of something else.
fn closeness(key: &str, registry: &str, repository: Option<&str>) -> Option<usize> {
    if host(key) != registry {
        return None;
    }
    let namespace = match key.split_once('/') {
        // The path of an address is the version of the protocol.
        Some((_, path)) if !key.contains("://") => path.trim_end_matches('/'),
        _ => "",
    };
    if matches!(namespace, "" | "v1" | "v2") {
        return Some(0);
    }
    let rest = repository?.strip_prefix(namespace)?;
    (rest.is_empty() || rest.starts_with('/')).then(|| namespace.split('/').count())
}

fn login(what: &str, registry: &str, entry: &Entry) -> Result<Option<Login>> {
    if !entry.identitytoken.is_empty() {
        return Ok(Some(Login::Identity(entry.identitytoken.clone())));
    }
    if !entry.username.is_empty() {
        return Ok(Some(Login::Password { user: entry.username.clone(), password: entry.password.clone() }));
    }
    if entry.auth.is_empty() {
        return Ok(None);
    }
    let decoded = STANDARD.decode(&entry.auth).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    // Old versions padded what they encoded with zeros.
    let pair =
        decoded.as_deref().map(|text| text.trim_end_matches('\0')).and_then(|text| text.split_once(':'));
    match pair {
        Some((user, password)) => {
            Ok(Some(Login::Password { user: user.to_owned(), password: password.to_owned() }))
        }
        None => Err(Error::Credentials {
            registry: registry.to_owned(),
            reason: format!("its auth in {what} is not user:password in base64"),
        }),
    }
}
