//! One registry over HTTP, as the distribution specification 1.1 has it and as registries really behave.
//!
//! A [`Registry`] is a host with its login; a [`Repository`] is one name in it, for reading or writing. What is worth
//! another try is tried again here; what comes out as an error is final.
//!
//! Invariants:
//! - credentials are sent to the registry and to its token service, never to where either of them redirects;
//! - no error has the query of an address in it: where a registry sends to is often signed there;
//! - a blob goes up as one `PUT` with its length, never in parts: ECR answers `PATCH` with 201 and drops the second;
//! - content is held in memory a few hundred kilobytes at a time, whatever its size.

mod answer;
mod auth;
mod blobs;
mod challenge;
mod download;
mod manifests;
mod referrers;
mod retry;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, LOCATION, RANGE, WWW_AUTHENTICATE};
use reqwest::{Method, Response, StatusCode, Url};
use tokio::time::Instant;

pub use blobs::{Content, Placed, Step};
pub use download::Download;
pub use manifests::{Fetched, Published, Tagging};
pub use retry::{Notice, Notices, Patience, Retry};

use crate::credentials::Credentials;
use crate::{Error, Reference, Result};
use answer::Asked;
use auth::Auth;
use retry::{Attempts, Failure};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const REDIRECTS_MAX: usize = 5;
/// So long nobody wonders why there is no answer.
const SILENCE: Duration = Duration::from_secs(10);

/// How a registry is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Transport {
    /// TLS, except with this machine.
    #[default]
    Usual,
    /// Plain HTTP, as an operator asked for.
    Plain,
}

#[derive(Debug, Clone, Default)]
pub struct Options {
    pub transport: Transport,
    pub patience: Patience,
    /// Where it is found if not under its name: what stands in for it on this machine.
    pub stand_in: Option<String>,
    pub notices: Notices,
}

/// What a repository is opened for; it decides what a token is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    Pull,
    Push,
    Delete,
}

/// One registry. Cheap to clone; clones share login and connections.
#[derive(Clone)]
pub struct Registry(Arc<Inner>);

struct Inner {
    host: String,
    base: Url,
    http: reqwest::Client,
    auth: Auth,
    patience: Patience,
    notices: Notices,
}

impl std::fmt::Debug for Registry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Registry").field(&self.0.host).finish()
    }
}

impl Registry {
    /// A registry by host and port. Nothing is sent yet.
    ///
    /// # Errors
    /// [`Error::Invalid`]: `host` is none, its stand-in is not on this machine, or the TLS library cannot be set up.
    pub fn new(host: &str, credentials: Arc<dyn Credentials>, options: Options) -> Result<Self> {
        // The address of Docker Hub's registry is not its name.
        let known = if host == "docker.io" { "registry-1.docker.io" } else { host };
        let address = options.stand_in.as_deref().unwrap_or(known);
        let invalid = |reason: String| Error::Invalid { what: format!("registry {host:?}"), reason };
        let parse = |scheme: &str| {
            Url::parse(&format!("{scheme}://{address}/v2/")).map_err(|error| invalid(error.to_string()))
        };
        let mut base = parse("https")?;
        // It is given the login of whom it stands in for.
        if options.stand_in.is_some() && !is_loopback(&base) {
            return Err(invalid(format!("its stand-in {address} is not on this machine")));
        }
        if options.transport == Transport::Plain || is_loopback(&base) {
            base = parse("http")?;
        }
        let http = client(&base).map_err(|error| invalid(answer::chain(&error)))?;
        let auth = Auth::new(host.to_owned(), base.scheme() == "http", credentials);
        let Options { patience, notices, .. } = options;
        Ok(Self(Arc::new(Inner { host: host.to_owned(), base, http, auth, patience, notices })))
    }

    pub fn host(&self) -> &str {
        &self.0.host
    }

    /// A repository in it.
    ///
    /// # Errors
    /// [`Error::Reference`]: no repository may be called so.
    pub fn repository(&self, name: &str, access: Access) -> Result<Repository> {
        let full = Reference::new(&self.0.host, name)?;
        let scope = scope(full.repository(), access);
        Ok(Repository { registry: self.clone(), name: full.repository().to_owned(), scopes: vec![scope] })
    }
}

fn scope(name: &str, access: Access) -> String {
    let actions = match access {
        Access::Pull => "pull",
        Access::Push => "pull,push",
        Access::Delete => "pull,delete",
    };
    format!("repository:{name}:{actions}")
}

/// Whether it is this machine.
pub(crate) fn is_loopback(url: &Url) -> bool {
    url.host_str().is_some_and(|host| {
        host == "localhost"
            || host
                .trim_matches(['[', ']'])
                .parse::<std::net::IpAddr>()
                .is_ok_and(|address| address.is_loopback())
    })
}

fn client(base: &Url) -> reqwest::Result<reqwest::Client> {
    // Losing the race against another client of this process is as good as winning it.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let builder = reqwest::Client::builder()
        .user_agent(concat!("rtcctl/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(CONNECT_TIMEOUT)
        .tcp_nodelay(true)
        .redirect(reqwest::redirect::Policy::none());
    match is_loopback(base) {
        true => builder.no_proxy().build(),
        false => builder.build(),
    }
}

/// One repository of a registry.
#[derive(Debug, Clone)]
pub struct Repository {
    registry: Registry,
    name: String,
    scopes: Vec<String>,
}

/// One request that can be made again as it is.
struct Call<'a> {
    method: Method,
    url: Url,
    what: &'a str,
    accept: Option<&'a str>,
    content_type: Option<&'a str>,
    range: Option<u64>,
    body: Bytes,
}

impl<'a> Call<'a> {
    fn new(method: Method, url: Url, what: &'a str) -> Self {
        Self { method, url, what, accept: None, content_type: None, range: None, body: Bytes::new() }
    }
}

impl Repository {
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// Registry and name.
    pub fn full_name(&self) -> String {
        format!("{}/{}", self.registry.0.host, self.name)
    }

    /// Also asks for the right to read other repositories of the registry, from which blobs are to be mounted.
    #[must_use]
    pub fn with_mounts_from<'a>(mut self, names: impl IntoIterator<Item = &'a str>) -> Self {
        let others =
            names.into_iter().filter(|name| *name != self.name).map(|name| scope(name, Access::Pull));
        self.scopes.extend(others);
        self
    }

    /// Whether both are in one registry, so that blobs need not be moved.
    pub fn is_beside(&self, other: &Self) -> bool {
        self.registry.0.host == other.registry.0.host
    }

    fn url(&self, rest: &str) -> Url {
        let mut url = self.registry.0.base.clone();
        let (path, query) = rest.split_once('?').map_or((rest, None), |(path, query)| (path, Some(query)));
        url.set_path(&format!("/v2/{}/{path}", self.name));
        url.set_query(query);
        url
    }

    fn attempts(&self) -> Attempts {
        Attempts::new(&self.registry.0.patience)
    }

    fn asked<'a>(&'a self, what: &'a str, url: &'a Url) -> Asked<'a> {
        Asked { registry: &self.registry.0.host, repository: &self.name, what, url }
    }

    /// Makes a request until it is answered with less than 400, or finally refused.
    async fn persist(&self, call: &Call<'_>) -> Result<Response> {
        let mut attempts = self.attempts();
        loop {
            match self.call(call).await {
                Ok(response) => return Ok(response),
                Err(failure) => self.again(&mut attempts, call.what, failure).await?,
            }
        }
    }

    /// Waits for the next attempt, and says so.
    async fn again(&self, attempts: &mut Attempts, what: &str, failure: Failure) -> Result<()> {
        let inner = &self.registry.0;
        let notice = |retry: &Retry| inner.notices.tell(Notice::Again { what, retry });
        attempts.next(&inner.host, what, failure, &notice).await
    }

    /// The answer to a request; `None` if there is none for too long.
    async fn answered<T>(&self, what: &str, sending: impl Future<Output = T>) -> Option<T> {
        let (inner, began) = (&self.registry.0, Instant::now());
        let mut sending = std::pin::pin!(sending);
        loop {
            let left = inner.patience.stall.checked_sub(began.elapsed()).filter(|left| !left.is_zero())?;
            if let Ok(answer) = tokio::time::timeout(left.min(SILENCE), &mut sending).await {
                return Some(answer);
            }
            let waited = began.elapsed();
            if waited < inner.patience.stall {
                inner.notices.tell(Notice::Silent { what, waited });
            }
        }
    }

    /// Makes a request once; twice if the login had to be renewed.
    async fn call(&self, call: &Call<'_>) -> Result<Response, Failure> {
        let inner = &self.registry.0;
        let mut has_renewed = false;
        loop {
            let header = inner.auth.header(&inner.http, &self.name, &self.scopes).await?;
            let response = self.follow(call, &header).await?;
            let status = response.status();
            if status.as_u16() < 400 && !answer::is_html(response.headers()) {
                return Ok(response);
            }
            let headers = response.headers().clone();
            let mut bytes = match (&call.method, status.as_u16()) {
                // The first time it only means that somebody should say who asks.
                (&Method::HEAD, 401) if !has_renewed => Vec::new(),
                _ => header.without(self.explanation(call, &header, response).await),
            };
            if status.as_u16() < 400 {
                return Err(Failure::Final(Error::NotARegistry {
                    url: answer::shown(&call.url),
                    first_line: answer::first_line(&bytes),
                }));
            }
            if !has_renewed && is_about_login(status, &bytes) {
                has_renewed = true;
                if inner.auth.refused(&header, &self.name, &self.scopes, &challenges(&headers)).await {
                    continue;
                }
                if bytes.is_empty() && call.method == Method::HEAD {
                    bytes = self.reason(call, &header, status).await;
                }
            }
            return Err(answer::failure(&self.asked(call.what, &call.url), status, &headers, &bytes));
        }
    }

    /// What an unwelcome answer says. One to HEAD says nothing, so the same is asked with GET where it matters.
    async fn explanation(&self, call: &Call<'_>, header: &auth::Header, response: Response) -> Vec<u8> {
        let status = response.status().as_u16();
        let is_plain_absence = status == 404 && !answer::is_html(response.headers());
        if call.method != Method::HEAD {
            return answer::body(response).await;
        }
        if is_plain_absence || status == 429 || status >= 500 {
            return Vec::new();
        }
        self.reason(call, header, response.status()).await
    }

    /// What the registry says with GET that it could not say to HEAD.
    async fn reason(&self, call: &Call<'_>, header: &auth::Header, status: StatusCode) -> Vec<u8> {
        let again = Call { accept: call.accept, ..Call::new(Method::GET, call.url.clone(), call.what) };
        match self.follow(&again, header).await {
            Ok(response) if response.status() == status => answer::body(response).await,
            _ => Vec::new(),
        }
    }

    /// Sends a request and goes where it is sent, without the login if that is elsewhere.
    async fn follow(&self, call: &Call<'_>, header: &auth::Header) -> Result<Response, Failure> {
        let inner = &self.registry.0;
        let mut url = call.url.clone();
        for _ in 0..=REDIRECTS_MAX {
            let mut request = inner.http.request(call.method.clone(), url.clone());
            if let Some(value) = &header.value
                && is_same_origin(&url, &inner.base)
            {
                request = request.header(AUTHORIZATION, value);
            }
            if let Some(accept) = call.accept {
                request = request.header(ACCEPT, accept);
            }
            if let Some(kind) = call.content_type {
                request = request.header(CONTENT_TYPE, kind);
            }
            if let Some(from) = call.range {
                request = request.header(RANGE, format!("bytes={from}-"));
            }
            if call.method != Method::GET && call.method != Method::HEAD {
                request = request.body(call.body.clone());
            }
            let response = match self.answered(call.what, request.send()).await {
                Some(Ok(response)) => response,
                Some(Err(error)) => return Err(answer::broken(&self.asked(call.what, &url), error)),
                None => {
                    return Err(Failure::again(format!(
                        "no answer in {} s",
                        inner.patience.stall.as_secs_f32()
                    )));
                }
            };
            let is_read = call.method == Method::GET || call.method == Method::HEAD;
            if !response.status().is_redirection() || !is_read {
                return Ok(response);
            }
            url = location(&url, response.headers()).ok_or_else(|| self.lost(call.what, &url))?;
        }
        Err(Failure::Final(Error::NotARegistry {
            url: answer::shown(&call.url),
            first_line: format!("it redirects more than {REDIRECTS_MAX} times"),
        }))
    }

    fn lost(&self, what: &str, url: &Url) -> Failure {
        Failure::Final(Error::Invalid {
            what: format!("answer of {} to {what}", answer::shown(url)),
            reason: "it names no Location that could be gone to".to_owned(),
        })
    }
}

fn is_same_origin(url: &Url, base: &Url) -> bool {
    url.origin() == base.origin()
}

/// Where an answer sends to: relative to what was asked, or whole. Registries behind a proxy that ends TLS often think
/// that they are spoken to without.
fn location(asked: &Url, headers: &HeaderMap) -> Option<Url> {
    let text = headers.get(LOCATION)?.to_str().ok()?;
    let mut url = asked.join(text).ok().filter(|url| matches!(url.scheme(), "http" | "https"))?;
    if asked.scheme() == "https" && url.host_str() == asked.host_str() && url.port() == asked.port() {
        url.set_scheme("https").ok()?;
    }
    Some(url)
}

fn challenges(headers: &HeaderMap) -> Vec<&str> {
    headers.get_all(WWW_AUTHENTICATE).iter().filter_map(|value| value.to_str().ok()).collect()
}

/// 401, and how ECR says the same: 403 with "your authorization token has expired".
fn is_about_login(status: StatusCode, bytes: &[u8]) -> bool {
    status == StatusCode::UNAUTHORIZED
        || (status == StatusCode::FORBIDDEN
            && answer::message(bytes).to_ascii_lowercase().contains("expired"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_location_is_relative_or_whole_and_does_not_leave_tls_on_the_same_host() {
        let asked: Url = "https://registry.example.com/v2/a/blobs/uploads/?mount=x".parse().unwrap();
        for (sent, gone) in [
            (
                "/v2/a/blobs/uploads/1?_state=b%3D",
                "https://registry.example.com/v2/a/blobs/uploads/1?_state=b%3D",
            ),
            ("https://registry.example.com/x", "https://registry.example.com/x"),
            ("http://registry.example.com/x", "https://registry.example.com/x"),
            ("http://storage.example.com/x", "http://storage.example.com/x"),
        ] {
            let headers = HeaderMap::from_iter([(LOCATION, sent.parse().unwrap())]);
            assert_eq!(location(&asked, &headers).unwrap().as_str(), gone);
        }
        let headers = HeaderMap::from_iter([(LOCATION, "file:///etc/passwd".parse().unwrap())]);
        assert_eq!(location(&asked, &headers), None);
    }

    #[test]
    fn an_address_is_shown_without_what_opens_it() {
        for (url, shown) in [
            ("https://s3.example.com/a?X-Amz-Signature=x", "https://s3.example.com/a"),
            ("https://me:hunter2@example.com:5000/v2/#x", "https://example.com:5000/v2/"),
        ] {
            assert_eq!(answer::shown(&url.parse().unwrap()), shown);
        }
    }

    #[test]
    fn this_machine_is_spoken_to_plainly_and_others_are_when_asked_for() {
        let base = |host: &str, transport: Transport| {
            let options = Options { transport, ..Options::default() };
            let registry =
                Registry::new(host, Arc::new(crate::credentials::Login::Anonymous), options).unwrap();
            registry.0.base.to_string()
        };
        for host in ["localhost:5000", "127.0.0.1:5000", "[::1]:5000"] {
            assert_eq!(base(host, Transport::Usual), format!("http://{host}/v2/"));
        }
        assert_eq!(base("ghcr.io", Transport::Usual), "https://ghcr.io/v2/");
        assert_eq!(base("docker.io", Transport::Usual), "https://registry-1.docker.io/v2/");
        assert_eq!(base("registry.local", Transport::Plain), "http://registry.local/v2/");
    }
}
