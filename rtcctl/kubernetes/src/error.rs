//! What can go wrong with a request, and what to do about it.
//!
//! Invariants: the API's own words are kept, on one line and of bounded length; a token in them is masked; messages of
//! admission, quota and field ownership are told apart from a lack of permission.

use std::fmt;
use std::path::Path;
use std::time::Duration;

use serde::Deserialize;

pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Characters of a message that are kept.
const TOLD_MAX: usize = 1200;

/// What a request was about.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Subject {
    /// As in a role: `get`, `list`, `watch`, `patch`, `create`, `delete`.
    pub verb: &'static str,
    /// `deployments.apps`, `pods/log`
    pub resource: String,
    pub namespace: String,
    pub name: String,
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.resource)?;
        if !self.name.is_empty() {
            write!(f, " {}", self.name)?;
        }
        if !self.namespace.is_empty() {
            write!(f, " in {}", self.namespace)?;
        }
        Ok(())
    }
}

/// A field that somebody else owns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conflict {
    /// `kubectl-edit`, as the API names it.
    pub manager: String,
    /// `.spec.replicas`
    pub field: String,
}

impl fmt::Display for Conflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is owned by {}", self.field, self.manager)
    }
}

/// A field that is wrong, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cause {
    pub field: String,
    pub message: String,
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.field.is_empty() {
            f.write_str(&self.message)
        } else {
            write!(f, "{}: {}", self.field, self.message)
        }
    }
}

#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    #[error("the cluster's access is not usable: {place}: {reason}")]
    Kubeconfig { place: String, reason: String },
    #[error("no token for {host}: {reason}")]
    NoToken { host: String, reason: String },
    #[error("{host} does not know who we are: {message}")]
    Unauthorized { host: String, message: String },
    #[error("not allowed to {} {subject}: {message}", subject.verb)]
    Forbidden { subject: Box<Subject>, message: String },
    #[error("the quota does not allow {subject}: {message}")]
    Quota { subject: Box<Subject>, message: String },
    #[error("{subject} was refused by admission: {message}")]
    Admission { subject: Box<Subject>, message: String },
    #[error("there is no {subject}")]
    NotFound { subject: Box<Subject>, message: String },
    #[error("the cluster has no kind {gvk}")]
    UnknownKind { gvk: String },
    #[error("{subject} has fields of others: {}", listed(fields))]
    Owned { subject: Box<Subject>, fields: Vec<Conflict> },
    #[error("{subject} was changed meanwhile: {message}")]
    Changed { subject: Box<Subject>, message: String },
    #[error("{subject} exists already")]
    Exists { subject: Box<Subject> },
    #[error("{subject} is not valid: {}", if causes.is_empty() { message.clone() } else { listed(causes) })]
    Invalid { subject: Box<Subject>, message: String, causes: Vec<Cause> },
    #[error("the API asks to wait: {message}")]
    TooMany { subject: Box<Subject>, message: String, retry_after: Option<Duration> },
    #[error("the place in the stream of {subject} is too old")]
    Expired { subject: Box<Subject> },
    #[error("{subject}: the API answers {status}: {message}")]
    Refused { subject: Box<Subject>, status: u16, message: String },
    #[error("the API fails with {status}: {message}")]
    Failing { subject: Box<Subject>, status: u16, message: String },
    #[error("{host} does not answer: {reason}")]
    Unreachable { host: String, reason: String },
    #[error("{host} has a certificate that is not trusted: {reason}")]
    Untrusted { host: String, reason: String },
    #[error("what answers at {host} is not Kubernetes: {status}, {first_line:?}")]
    NotKubernetes { host: String, status: u16, first_line: String },
    #[error("no answer from {host} to {} {subject} within {} s", subject.verb, after.as_secs())]
    TimedOut { host: String, subject: Box<Subject>, after: Duration },
    #[error("an answer about {subject} that cannot be read: {reason}")]
    Malformed { subject: Box<Subject>, reason: String },
    #[error("a document that cannot be sent: {0}")]
    Unsendable(String),
}

fn listed(items: &[impl fmt::Display]) -> String {
    items.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

impl Error {
    /// What to do about it.
    pub fn hint(&self) -> String {
        match self {
            Error::Kubeconfig { .. } => {
                "look at the file and the context: --kubeconfig, --context, or context in rtc.toml; rtcctl cluster \
                 kubeconfig writes one"
                    .to_owned()
            }
            Error::NoToken { .. } => "sign in again: aws sso login, or whatever the kubeconfig runs".to_owned(),
            Error::Unauthorized { .. } => {
                "sign in again; on EKS the role also needs an access entry: aws eks list-access-entries".to_owned()
            }
            Error::Forbidden { subject, .. } => {
                format!("have a role granted that may {} {}", subject.verb, subject.resource)
            }
            Error::Quota { .. } => "raise the quota of the namespace, or ask for less".to_owned(),
            Error::Admission { .. } => {
                "do what the message says, or ask whoever owns the policy or webhook".to_owned()
            }
            Error::NotFound { .. } => "look at the name and the namespace".to_owned(),
            Error::UnknownKind { .. } => {
                "install what brings the kind (its CustomResourceDefinition), or leave it out of the description"
                    .to_owned()
            }
            Error::Owned { .. } => {
                "agree on who owns the fields; --force-conflicts takes them".to_owned()
            }
            Error::Changed { .. } | Error::Exists { .. } => "look at it again and repeat".to_owned(),
            Error::Invalid { .. } => "mend the fields that the message names".to_owned(),
            Error::TooMany { retry_after, .. } => match retry_after {
                Some(after) => format!("wait {} s and repeat", after.as_secs()),
                None => "wait a little and repeat".to_owned(),
            },
            Error::Expired { .. } => "list again".to_owned(),
            Error::Refused { .. } => "do what the message says".to_owned(),
            Error::Failing { .. } => "repeat; look at the cluster's health: rtcctl cluster info".to_owned(),
            Error::Unreachable { .. } | Error::TimedOut { .. } => {
                "look at the network: a VPN, a private endpoint, the allowed addresses of the cluster".to_owned()
            }
            Error::Untrusted { .. } => {
                "the certificate authority is another one: write the kubeconfig again; a proxy that opens TLS does this"
                    .to_owned()
            }
            Error::NotKubernetes { .. } => "a proxy or a login page is in between: look at the address".to_owned(),
            Error::Malformed { .. } => "something in between changes answers; look at proxies".to_owned(),
            Error::Unsendable(_) => "mend the document".to_owned(),
        }
    }

    /// Whether the same request may work in a moment.
    pub fn is_passing(&self) -> bool {
        matches!(
            self,
            Error::TooMany { .. }
                | Error::Failing { .. }
                | Error::Unreachable { .. }
                | Error::TimedOut { .. }
        )
    }

    pub fn is_not_found(&self) -> bool {
        matches!(self, Error::NotFound { .. })
    }

    pub(crate) fn kubeconfig(path: Option<&Path>, error: &(dyn std::error::Error + 'static)) -> Self {
        let place = path.map_or_else(|| "kubeconfig".to_owned(), |path| path.display().to_string());
        Error::Kubeconfig { place, reason: chain(error) }
    }

    /// From an answer that is no success.
    pub(crate) fn answered(host: &str, subject: &Subject, answer: &Answer<'_>) -> Self {
        let subject = Box::new(subject.clone());
        let status = answer.status;
        let Ok(said) = serde_json::from_slice::<Status>(answer.body) else {
            return not_kubernetes(host, subject, answer);
        };
        if said.kind != "Status" {
            return not_kubernetes(host, subject, answer);
        }
        let message = told(&said.message);
        if let (500, Some(causes)) = (status, undeclared(&message)) {
            return Error::Invalid { subject, message, causes };
        }
        match status {
            401 => Error::Unauthorized { host: host.to_owned(), message },
            400 | 403 if message.contains("denied the request") || message.contains("denied request") => {
                Error::Admission { subject, message }
            }
            403 if message.contains("exceeded quota") || message.contains("failed quota") => {
                Error::Quota { subject, message }
            }
            403 if message.contains("violates PodSecurity") => Error::Admission { subject, message },
            403 => Error::Forbidden { subject, message },
            404 => Error::NotFound { subject, message },
            409 => {
                let fields: Vec<Conflict> = said.details.causes.iter().filter_map(conflict).collect();
                if !fields.is_empty() {
                    Error::Owned { subject, fields }
                } else if said.reason == "AlreadyExists" {
                    Error::Exists { subject }
                } else {
                    Error::Changed { subject, message }
                }
            }
            410 => Error::Expired { subject },
            422 => {
                let causes = said
                    .details
                    .causes
                    .into_iter()
                    .map(|cause| Cause { field: cause.field, message: told(&cause.message) })
                    .collect();
                Error::Invalid { subject, message, causes }
            }
            429 => {
                let seconds = answer.retry_after.or(said.details.retry_after).filter(|seconds| *seconds > 0);
                Error::TooMany { subject, message, retry_after: seconds.map(Duration::from_secs) }
            }
            500..=599 => Error::Failing { subject, status, message },
            _ => Error::Refused { subject, status, message },
        }
    }

    /// From a request that brought no answer.
    pub(crate) fn unanswered(host: &str, error: &(dyn std::error::Error + 'static)) -> Self {
        let reason = told(&chain(error));
        let host = host.to_owned();
        if reason.contains("certificate") {
            return Error::Untrusted { host, reason };
        }
        if is_about_signing_in(error) {
            return Error::NoToken { host, reason };
        }
        Error::Unreachable { host, reason }
    }
}

fn is_about_signing_in(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        if error.is::<kube::client::AuthError>() || matches!(error.downcast_ref(), Some(kube::Error::Auth(_)))
        {
            return true;
        }
        next = error.source();
    }
    false
}

fn not_kubernetes(host: &str, subject: Box<Subject>, answer: &Answer<'_>) -> Error {
    let text = String::from_utf8_lossy(&answer.body[..answer.body.len().min(4096)]);
    let first_line = told(text.lines().find(|line| !line.trim().is_empty()).unwrap_or_default());
    // The API itself says a few things in plain text: an unknown path, a server that is just coming up.
    match answer.status {
        404 if first_line.starts_with("404 page not found") => {
            Error::NotFound { subject, message: first_line }
        }
        429 => Error::TooMany {
            subject,
            message: first_line,
            retry_after: answer.retry_after.map(Duration::from_secs),
        },
        status @ 500..=599 if !looks_like_a_page(&first_line) => {
            Error::Failing { subject, status, message: first_line }
        }
        status => Error::NotKubernetes { host: host.to_owned(), status, first_line },
    }
}

fn looks_like_a_page(line: &str) -> bool {
    line.trim_start().starts_with('<')
}

/// The field that a document of an apply cannot have, which the API tells as a failure of its own: one that this version of
/// it does not know, a type that is another one, a key that an item of a list does not say.
fn undeclared(message: &str) -> Option<Vec<Cause>> {
    let told = message.strip_prefix("failed to create typed patch object")?;
    let from = told.find(": .").map_or(0, |at| at + 2);
    let (field, why) = told[from..].split_once(": ").unwrap_or(("", told));
    Some(vec![Cause { field: field.trim_start_matches('.').to_owned(), message: why.to_owned() }])
}

/// `conflict with "kubectl" using apps/v1` about `.spec.replicas`.
fn conflict(cause: &StatusCause) -> Option<Conflict> {
    if cause.reason != "FieldManagerConflict" {
        return None;
    }
    let manager = cause.message.split('"').nth(1).unwrap_or(&cause.message).to_owned();
    Some(Conflict { manager, field: cause.field.clone() })
}

/// An answer that is no success.
pub(crate) struct Answer<'a> {
    pub status: u16,
    pub retry_after: Option<u64>,
    pub body: &'a [u8],
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Status {
    kind: String,
    message: String,
    reason: String,
    details: Details,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Details {
    causes: Vec<StatusCause>,
    #[serde(rename = "retryAfterSeconds")]
    retry_after: Option<u64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct StatusCause {
    reason: String,
    message: String,
    field: String,
}

/// An error and what is below it, each once.
pub(crate) fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(error) = next {
        let said = error.to_string();
        if !text.contains(&said) {
            text = format!("{text}: {said}");
        }
        next = error.source();
    }
    text
}

/// One line of bounded length without anything that was sent as a token.
pub(crate) fn told(text: &str) -> String {
    let mut words: Vec<&str> = Vec::new();
    for word in text.split_whitespace() {
        let is_bearer = words.last().is_some_and(|before| before.eq_ignore_ascii_case("bearer"));
        words.push(if is_bearer || looks_like_a_token(word) { "***" } else { word });
    }
    let line = words.join(" ");
    if line.chars().count() <= TOLD_MAX {
        return line;
    }
    let mut cut: String = line.chars().take(TOLD_MAX).collect();
    cut.push('…');
    cut
}

/// A token of EKS, or a signed one of three parts.
fn looks_like_a_token(word: &str) -> bool {
    let word = word.trim_matches(|letter: char| !letter.is_ascii_alphanumeric());
    word.contains("k8s-aws-v1.") || (word.starts_with("eyJ") && word.matches('.').count() == 2)
}
