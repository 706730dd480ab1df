//! HTTP to a running platform: its API and its admin port.
//!
//! Invariants: every request has a deadline; only what is safe to repeat is repeated (reads, and writes that carry an
//! idempotency key); an answer that is not a success becomes an [`Error`] whose exit code follows from its kind.

pub mod admin;
mod client;
mod problem;

pub use client::client;

use std::time::Duration;

use bytes::Bytes;
use codes::{Error, Result};
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use reqwest::{Method, Url};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use settings::{Secret, masked};
use tokio::time::{Instant, sleep, timeout};

use crate::context::Context;
use crate::local::{DataDir, RunFile};

/// How long a request may take where the operator says nothing.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
const TRIES: u32 = 3;

/// A running platform.
#[derive(Debug, Clone)]
pub struct Platform {
    /// The public API, below `/api/v1`.
    pub api: Endpoint,
    /// The admin port, with the operator's token.
    pub admin: Endpoint,
    /// What `run.json` says, for a platform on this machine.
    pub run: Option<RunFile>,
}

impl Platform {
    /// By the configured addresses, or else by `run.json` of a living rtcd.
    pub fn find(context: &Context) -> Result<Self> {
        let config = &context.config;
        let data = DataDir::new(config.data_dir());
        let (api_url, admin_url) = (config.text("api_url"), config.text("admin_url"));
        if let (Some(api_url), Some(admin_url)) = (api_url, admin_url) {
            let token = match config.secret("admin_token")? {
                Some(token) => Some(token),
                None => data.secret("admin_token")?,
            };
            return Self::at(context, api_url, admin_url, token, None);
        }
        if config.text("kind") == Some("remote") {
            return Err(Error::new(
                &codes::CFG004,
                format!("the environment {} is remote and does not name api_url and admin_url", config.env()),
            ));
        }
        let Some((run, _)) = data.running() else {
            return Err(not_running(&data));
        };
        Self::of_run_file(context, &data, run)
    }

    /// The platform that a `run.json` describes.
    pub fn of_run_file(context: &Context, data: &DataDir, run: RunFile) -> Result<Self> {
        let config = &context.config;
        let token = match config.secret("admin_token")? {
            Some(token) => Some(token),
            None => data.secret("admin_token")?,
        };
        let api_url = config.text("api_url").unwrap_or(&run.api_url).to_owned();
        let admin_url = config.text("admin_url").unwrap_or(&run.admin_url).to_owned();
        Self::at(context, &api_url, &admin_url, token, Some(run))
    }

    fn at(
        context: &Context,
        api_url: &str,
        admin_url: &str,
        token: Option<Secret>,
        run: Option<RunFile>,
    ) -> Result<Self> {
        let deadline = context.timeout_or(REQUEST_TIMEOUT);
        let (api, admin) = (masked(api_url), masked(admin_url));
        context.progress.detail(format!("the API is {api}, the admin port {admin}"));
        Ok(Self {
            api: Endpoint::new("the API", api_url, None, deadline)?,
            admin: Endpoint::new("the admin port", admin_url, token, deadline)?,
            run,
        })
    }
}

/// Nothing runs on this data directory: says so, and why where that is known.
pub fn not_running(data: &DataDir) -> Error {
    let error =
        Error::new(&codes::NET001, format!("the platform is not running on {}", data.path().display()));
    let error = match data.read_run_file() {
        Some(run) => error.with_cause(format!(
            "run.json names process {}, which has ended without removing the file, or is another program",
            run.pid
        )),
        None => error,
    };
    error.with_hint("start it with rtcctl up, or name another data directory with --data")
}

/// One request.
#[derive(Debug, Clone)]
pub struct Call<'a> {
    method: Method,
    segments: Vec<&'a str>,
    query: Vec<(&'static str, String)>,
    body: Option<Value>,
    key: Option<String>,
    token: Option<Secret>,
}

impl<'a> Call<'a> {
    fn new(method: Method, segments: &[&'a str]) -> Self {
        Self { method, segments: segments.to_vec(), query: Vec::new(), body: None, key: None, token: None }
    }

    /// The path is given by its segments, so that each is encoded on its own.
    pub fn get(segments: &[&'a str]) -> Self {
        Self::new(Method::GET, segments)
    }

    pub fn delete(segments: &[&'a str]) -> Self {
        Self::new(Method::DELETE, segments)
    }

    pub fn post(segments: &[&'a str], body: impl Serialize) -> Self {
        Self { body: serde_json::to_value(body).ok(), ..Self::new(Method::POST, segments) }
    }

    #[must_use]
    pub fn query(mut self, name: &'static str, value: impl ToString) -> Self {
        self.query.push((name, value.to_string()));
        self
    }

    /// Makes a write safe to repeat.
    #[must_use]
    pub fn idempotency_key(mut self, key: impl Into<String>) -> Self {
        self.key = Some(key.into());
        self
    }

    /// Acts as somebody else than the endpoint's own identity.
    #[must_use]
    pub fn bearer(mut self, token: Secret) -> Self {
        self.token = Some(token);
        self
    }

    fn may_be_repeated(&self) -> bool {
        self.method == Method::GET || self.key.is_some()
    }
}

/// One of the two ports.
#[derive(Debug, Clone)]
pub struct Endpoint {
    name: &'static str,
    base: Url,
    token: Option<Secret>,
    timeout: Duration,
    client: reqwest::Client,
}

impl Endpoint {
    pub fn new(name: &'static str, base: &str, token: Option<Secret>, timeout: Duration) -> Result<Self> {
        let url = Url::parse(base).ok().filter(|url| !url.cannot_be_a_base() && url.has_host());
        let base = url.ok_or_else(|| {
            Error::new(&codes::CFG004, format!("the address of {name} is not a URL: {}", masked(base)))
        })?;
        let client = client(&base)?;
        Ok(Self { name, base, token, timeout, client })
    }

    /// The same, for what takes its time.
    #[must_use]
    pub fn waiting(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    pub fn base(&self) -> &Url {
        &self.base
    }

    /// The same port of another process: the same name, identity and deadline.
    pub fn at(&self, base: &str) -> Result<Self> {
        Self::new(self.name, base, self.token.clone(), self.timeout)
    }

    /// Sends and reads the answer as JSON.
    pub async fn json<T: DeserializeOwned>(&self, call: Call<'_>) -> Result<T> {
        let bytes = self.bytes(call).await?;
        serde_json::from_slice(&bytes).map_err(|error| {
            Error::new(&codes::NET004, format!("the answer of {} is not understood", self.name))
                .with_source(&error)
        })
    }

    /// Sends and reads the whole answer.
    pub async fn bytes(&self, call: Call<'_>) -> Result<Bytes> {
        let deadline = Instant::now() + self.timeout;
        let mut tries = 0;
        loop {
            tries += 1;
            let left = deadline.saturating_duration_since(Instant::now());
            let error = match timeout(left, self.attempt(&call)).await {
                Ok(Ok(bytes)) => return Ok(bytes),
                Ok(Err(failure)) => failure,
                Err(_) => return Err(self.timed_out(&call)),
            };
            let pause = error.retry_after.unwrap_or(Duration::from_millis(100) * 2_u32.pow(tries - 1));
            let in_time = Instant::now() + pause < deadline;
            if !error.transient || !call.may_be_repeated() || tries == TRIES || !in_time {
                return Err(error.error);
            }
            sleep(pause).await;
        }
    }

    /// Asks for a probe's status alone, once: `None` when nothing answers within the time.
    pub async fn probe(&self, path: &str, within: Duration) -> Option<u16> {
        let request = self.client.get(self.url(&[path], &[])).send();
        Some(timeout(within, request).await.ok()?.ok()?.status().as_u16())
    }

    /// Sends and hands on the lines of the answer as they come. The deadline holds up to the first byte.
    pub async fn lines(&self, call: Call<'_>) -> Result<Lines> {
        let answer = timeout(self.timeout, self.request(&call).send())
            .await
            .map_err(|_| self.timed_out(&call))?
            .map_err(|error| self.not_sent(&error).error)?;
        if !answer.status().is_success() {
            return Err(self.refused(answer).await.error);
        }
        Ok(Lines { stream: answer.bytes_stream().boxed(), rest: Vec::new() })
    }

    async fn attempt(&self, call: &Call<'_>) -> Result<Bytes, Failure> {
        let answer = self.request(call).send().await.map_err(|error| self.not_sent(&error))?;
        if !answer.status().is_success() {
            return Err(self.refused(answer).await);
        }
        answer.bytes().await.map_err(|error| self.not_sent(&error))
    }

    fn url(&self, segments: &[&str], query: &[(&'static str, String)]) -> Url {
        let mut url = self.base.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(segments);
        }
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        url
    }

    fn request(&self, call: &Call<'_>) -> reqwest::RequestBuilder {
        let mut request = self.client.request(call.method.clone(), self.url(&call.segments, &call.query));
        if let Some(token) = call.token.as_ref().or(self.token.as_ref()) {
            request = request.bearer_auth(token.reveal());
        }
        if let Some(key) = &call.key {
            request = request.header("idempotency-key", key);
        }
        match &call.body {
            Some(body) => request.json(body),
            None => request,
        }
    }

    fn timed_out(&self, call: &Call<'_>) -> Error {
        let seconds = self.timeout.as_secs_f64();
        let error = Error::new(
            &codes::NET003,
            format!("{} ({}) did not answer within {seconds} s", self.name, masked(self.base.as_str())),
        );
        match call.method {
            Method::GET => error.with_hint("raise --timeout, or look at rtcctl status"),
            _ => error.with_hint("the request may still take effect: look at the state before repeating it"),
        }
    }

    fn not_sent(&self, error: &reqwest::Error) -> Failure {
        let problem = Error::new(
            &codes::NET002,
            format!("{} ({}) does not answer", self.name, masked(self.base.as_str())),
        )
        .with_source(innermost(error))
        .with_hint("rtcctl status says whether the platform is running; its log is DIR/rtcd.log");
        Failure { error: problem, transient: true, retry_after: None }
    }

    async fn refused(&self, answer: reqwest::Response) -> Failure {
        let status = answer.status().as_u16();
        let retry_after = answer
            .headers()
            .get("retry-after")
            .and_then(|value| value.to_str().ok()?.parse::<u64>().ok())
            .map(Duration::from_secs);
        let body = answer.bytes().await.unwrap_or_default();
        let error = problem::error(self.name, status, &body, retry_after);
        Failure { error, transient: matches!(status, 429 | 502..=504), retry_after }
    }
}

/// The cause that says something: what lies around it repeats the address.
fn innermost(error: &reqwest::Error) -> &(dyn std::error::Error + 'static) {
    let mut innermost: &(dyn std::error::Error + 'static) = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost
}

/// A failed attempt, and whether another one may help.
struct Failure {
    error: Error,
    transient: bool,
    retry_after: Option<Duration>,
}

/// Lines of a streamed answer.
pub struct Lines {
    stream: BoxStream<'static, reqwest::Result<Bytes>>,
    rest: Vec<u8>,
}

impl Lines {
    /// The next line without its end. `None` at the end of the answer.
    pub async fn next(&mut self) -> Result<Option<Vec<u8>>> {
        loop {
            if let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
                let mut line: Vec<u8> = self.rest.drain(..=end).collect();
                line.pop();
                if line.is_empty() {
                    continue;
                }
                return Ok(Some(line));
            }
            match self.stream.next().await {
                Some(Ok(bytes)) => self.rest.extend_from_slice(&bytes),
                Some(Err(error)) => {
                    return Err(
                        Error::new(&codes::EVT002, "the stream broke off").with_source(innermost(&error))
                    );
                }
                None if self.rest.is_empty() => return Ok(None),
                None => return Ok(Some(std::mem::take(&mut self.rest))),
            }
        }
    }
}

#[cfg(test)]
mod tests;
