//! One API server: how a request gets there and comes back.
//!
//! Invariants: every request has a deadline until its answer begins; what only asks, and what comes to the same when it
//! is done twice, is repeated a few times when the server or the way to it fails, anything else never; a token that is
//! refused is replaced once.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use base64::Engine;
use http::{HeaderValue, Method, Request, Response, header};
use http_body_util::BodyExt;
use kube::client::Body;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use crate::access::{Access, Opened, Tokens};
use crate::error::{Answer, Subject};
use crate::kinds::{Gvk, Resource, Scope, value};
use crate::{Error, Result};

/// Until an answer begins, and until all of one that is not a stream is there.
const PATIENCE: Duration = Duration::from_secs(30);
/// Repetitions of what may be repeated.
const REPEATS: u32 = 3;
/// Before the first repetition; each waits twice as long as the one before.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
/// The longest pause that a server may ask for and get without the operator being told.
const PAUSE_MAX: Duration = Duration::from_secs(8);
/// Of an answer that is no success.
const REFUSAL_BYTES: usize = 64 * 1024;

/// A connection to one API server. Clones share it.
#[derive(Clone)]
pub struct Cluster {
    inner: Arc<Inner>,
}

struct Inner {
    client: kube::Client,
    host: String,
    namespace: String,
    tokens: Option<Arc<dyn Tokens>>,
    authority: Vec<Vec<u8>>,
    kinds: Mutex<HashMap<Gvk, Resource>>,
}

impl std::fmt::Debug for Cluster {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cluster").field("host", &self.inner.host).finish()
    }
}

/// Which cluster it is: where it answers, and whose certificate it shows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    pub host: String,
    /// DER in Base64; empty where those are trusted that this machine trusts.
    pub authority: Vec<String>,
}

/// Whether a request may be sent again when nobody knows what became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Repeat {
    Safe,
    Never,
}

/// A request.
pub(crate) struct Call {
    pub subject: Subject,
    pub method: Method,
    pub path: String,
    pub query: Vec<(&'static str, String)>,
    pub content_type: &'static str,
    pub body: Option<Vec<u8>>,
    pub repeat: Repeat,
}

impl Call {
    pub(crate) fn get(subject: Subject, path: String) -> Self {
        Self {
            subject,
            method: Method::GET,
            path,
            query: Vec::new(),
            content_type: "application/json",
            body: None,
            repeat: Repeat::Safe,
        }
    }

    pub(crate) fn sending(
        subject: Subject,
        method: Method,
        path: String,
        body: &Json,
        repeat: Repeat,
    ) -> Self {
        Self { method, body: Some(body.to_string().into_bytes()), repeat, ..Self::get(subject, path) }
    }

    fn uri(&self) -> String {
        let mut uri = self.path.clone();
        // A path of a proxy may have a query of its own.
        let mut sign = if uri.contains('?') { '&' } else { '?' };
        for (name, text) in &self.query {
            uri.push(sign);
            uri.push_str(name);
            uri.push('=');
            uri.push_str(&value(text));
            sign = '&';
        }
        uri
    }
}

impl Cluster {
    /// Makes ready to speak to an API server. Nothing is sent before the first request.
    pub async fn connect(access: Access) -> Result<Self> {
        Ok(Self::opened(access.open().await?))
    }

    pub(crate) fn opened(opened: Opened) -> Self {
        let Opened { client, host, namespace, tokens, authority } = opened;
        let inner = Inner { client, host, namespace, tokens, authority, kinds: Mutex::default() };
        Self { inner: Arc::new(inner) }
    }

    /// The host and port of the API server.
    pub fn host(&self) -> &str {
        &self.inner.host
    }

    /// What tells it from another one.
    pub fn place(&self) -> Place {
        let encoded = |der: &Vec<u8>| base64::engine::general_purpose::STANDARD.encode(der);
        Place { host: self.inner.host.clone(), authority: self.inner.authority.iter().map(encoded).collect() }
    }

    /// The namespace that the context names, otherwise `default`.
    pub fn namespace(&self) -> &str {
        &self.inner.namespace
    }

    /// The version of the API server: `v1.33.2-eks-…`.
    pub async fn version(&self) -> Result<String> {
        let subject = Subject { verb: "get", resource: "version".to_owned(), ..Subject::default() };
        let answer = self.json(Call::get(subject, "/version".to_owned())).await?;
        Ok(answer["gitVersion"].as_str().unwrap_or_default().to_owned())
    }

    /// Where objects of a kind are kept. A kind that is not known is asked for once.
    pub async fn resource(&self, gvk: &Gvk) -> Result<Resource> {
        if let Some(known) = Resource::known(gvk) {
            return Ok(known);
        }
        let kinds = || self.inner.kinds.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = kinds().get(gvk) {
            return Ok(known.clone());
        }
        let unknown = || Error::UnknownKind { gvk: gvk.to_string() };
        let subject = Subject { verb: "get", resource: gvk.api_version(), ..Subject::default() };
        let answer = match self.json(Call::get(subject, gvk.root())).await {
            Err(Error::NotFound { .. }) => return Err(unknown()),
            answer => answer?,
        };
        let found = answer["resources"].as_array().into_iter().flatten().find(|resource| {
            resource["kind"] == gvk.kind.as_str()
                && !resource["name"].as_str().unwrap_or_default().contains('/')
        });
        let found = found.ok_or_else(unknown)?;
        let resource = Resource {
            gvk: gvk.clone(),
            plural: found["name"].as_str().unwrap_or_default().to_owned(),
            scope: match found["namespaced"].as_bool() {
                Some(false) => Scope::Cluster,
                _ => Scope::Namespaced,
            },
        };
        kinds().insert(gvk.clone(), resource.clone());
        Ok(resource)
    }

    /// Sends a request and gives the whole answer as a document.
    pub(crate) async fn json(&self, call: Call) -> Result<Json> {
        let subject = call.subject.clone();
        let (_, bytes) = self.bytes(call).await?;
        let document = serde_json::from_slice::<Json>(&bytes).ok().filter(Json::is_object);
        document.ok_or_else(|| self.unreadable(subject, &bytes, "not a document of JSON"))
    }

    /// What is wrong with an answer that says it is a success.
    pub(crate) fn unreadable(&self, subject: Subject, bytes: &[u8], reason: &str) -> Error {
        // A page with status 200: a login, a proxy.
        let text = String::from_utf8_lossy(&bytes[..bytes.len().min(4096)]);
        match text.lines().find(|line| !line.trim().is_empty()) {
            Some(line) if line.trim_start().starts_with('<') => Error::NotKubernetes {
                host: self.inner.host.clone(),
                status: 200,
                first_line: crate::error::told(line),
            },
            _ => Error::Malformed { subject: subject.into(), reason: reason.to_owned() },
        }
    }

    /// Sends a request and gives the whole answer, with the type that it says it has.
    pub(crate) async fn bytes(&self, call: Call) -> Result<(Option<String>, Vec<u8>)> {
        let mut pause = FIRST_PAUSE;
        let mut attempt = 0;
        loop {
            let error = match self.whole(&call).await {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            attempt += 1;
            if call.repeat == Repeat::Never || !error.is_passing() || attempt > REPEATS {
                return Err(error);
            }
            tokio::time::sleep(longer(pause, &error)?).await;
            pause *= 2;
        }
    }

    async fn whole(&self, call: &Call) -> Result<(Option<String>, Vec<u8>)> {
        let answer = self.open(call).await?;
        let content_type =
            answer.headers().get(header::CONTENT_TYPE).and_then(|text| text.to_str().ok()).map(str::to_owned);
        // Put together as it comes: a list of a large namespace is there once, and not in parts beside it.
        let mut body = answer.into_body();
        let read = async {
            let mut bytes = Vec::new();
            while let Some(frame) = body.frame().await {
                if let Ok(data) = frame?.into_data() {
                    bytes.extend_from_slice(&data);
                }
            }
            Ok::<_, kube::Error>(bytes)
        };
        match tokio::time::timeout(PATIENCE, read).await {
            Ok(Ok(bytes)) => Ok((content_type, bytes)),
            Ok(Err(error)) => Err(Error::unanswered(&self.inner.host, &error)),
            Err(_) => Err(self.timed_out(call)),
        }
    }

    fn timed_out(&self, call: &Call) -> Error {
        Error::TimedOut {
            host: self.inner.host.clone(),
            subject: call.subject.clone().into(),
            after: PATIENCE,
        }
    }

    /// Sends a request and gives its answer when that begins, if it is a success. A token that is refused is replaced
    /// once.
    pub(crate) async fn open(&self, call: &Call) -> Result<Response<Body>> {
        let (first, token) = self.once(call).await?;
        if first.status().as_u16() != 401 {
            return self.success(call, first).await;
        }
        let (Some(tokens), Some(token)) = (&self.inner.tokens, token) else {
            return self.success(call, first).await;
        };
        tokens.refused(&token).await;
        let (second, _) = self.once(call).await?;
        self.success(call, second).await
    }

    async fn once(&self, call: &Call) -> Result<(Response<Body>, Option<String>)> {
        let mut request = Request::builder()
            .method(call.method.clone())
            .uri(call.uri())
            .header(header::ACCEPT, "application/json")
            .header(header::USER_AGENT, "rtcctl");
        if call.body.is_some() {
            request = request.header(header::CONTENT_TYPE, call.content_type);
        }
        let token = match &self.inner.tokens {
            Some(tokens) => Some(tokens.token().await.map_err(|error| Error::NoToken {
                host: self.inner.host.clone(),
                reason: crate::error::told(&crate::error::chain(&*error)),
            })?),
            None => None,
        };
        if let Some(token) = &token {
            let mut bearer =
                HeaderValue::from_str(&format!("Bearer {token}")).map_err(|_| Error::NoToken {
                    host: self.inner.host.clone(),
                    reason: "the token has characters that no header may have".to_owned(),
                })?;
            bearer.set_sensitive(true);
            request = request.header(header::AUTHORIZATION, bearer);
        }
        let body = call.body.clone().map_or_else(Body::empty, Body::from);
        let request = request.body(body).map_err(|error| Error::Unsendable(error.to_string()))?;
        match tokio::time::timeout(PATIENCE, self.inner.client.send(request)).await {
            Ok(Ok(answer)) => Ok((answer, token)),
            Ok(Err(error)) => Err(Error::unanswered(&self.inner.host, &error)),
            Err(_) => Err(self.timed_out(call)),
        }
    }

    async fn success(&self, call: &Call, answer: Response<Body>) -> Result<Response<Body>> {
        let status = answer.status();
        if status.is_success() {
            return Ok(answer);
        }
        let retry_after =
            answer.headers().get(header::RETRY_AFTER).and_then(|text| text.to_str().ok()?.parse().ok());
        let mut body = answer.into_body();
        let mut bytes = Vec::new();
        let read = async {
            while let Some(Ok(frame)) = body.frame().await {
                if let Ok(data) = frame.into_data() {
                    bytes.extend_from_slice(&data);
                }
                if bytes.len() > REFUSAL_BYTES {
                    break;
                }
            }
        };
        // What was read until then says enough.
        let _ = tokio::time::timeout(PATIENCE, read).await;
        let answer = Answer { status: status.as_u16(), retry_after, body: &bytes };
        Err(Error::answered(&self.inner.host, &call.subject, &answer))
    }
}

/// The pause before a repetition, or the error where the server asks for more than may pass unsaid.
fn longer(pause: Duration, error: &Error) -> Result<Duration> {
    match error {
        Error::TooMany { retry_after: Some(after), .. } if *after > PAUSE_MAX => Err(error.clone()),
        Error::TooMany { retry_after: Some(after), .. } => Ok(*after),
        _ => Ok(pause),
    }
}
