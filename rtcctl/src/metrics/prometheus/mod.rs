//! The HTTP API of a Prometheus server, or of anything that speaks it.
//!
//! Invariants: every request has a deadline, which the server is told too; a question is read-only, so what failed for
//! a moment is asked again; an answer that is not Prometheus' own is recognised before it is read.

mod answer;
mod refusal;

use std::time::Duration;

use codes::{Error, Result};
use reqwest::Url;
use reqwest::header::{CONTENT_TYPE, LOCATION};
use settings::{Secret, masked};
use tokio::time::{Instant, sleep, timeout};

use super::model::{Alerts, Answer, Span, Target};
use crate::api::client;
use refusal::{Failure, Said};

const TRIES: u32 = 3;
/// Longer questions are posted: servers and proxies cut addresses.
const ADDRESS_BYTES_MAX: usize = 1_500;

/// A Prometheus server.
#[derive(Clone)]
pub struct Prometheus {
    base: Url,
    /// The address as people may see it.
    shown: String,
    client: reqwest::Client,
    token: Option<Secret>,
    timeout: Duration,
}

impl Prometheus {
    /// `url` is the address before `/api/v1`, a path prefix included.
    pub fn new(url: &str, token: Option<Secret>, timeout: Duration) -> Result<Self> {
        let base: Url = url.parse().map_err(|error| {
            Error::new(&codes::CFG004, format!("{:?} is no address", masked(url))).with_source(&error)
        })?;
        let shown = masked(base.as_str()).trim_end_matches('/').to_owned();
        Ok(Self { client: client(&base)?, base, shown, token, timeout })
    }

    /// Without what signs in there.
    pub fn address(&self) -> &str {
        &self.shown
    }

    pub async fn instant(&self, expr: &str, at_ms: i64) -> Result<Answer> {
        let form = [("query", expr.to_owned()), ("time", seconds(at_ms))];
        answer::query(self.ask("query", &form, Some(expr)).await?)
    }

    pub async fn range(&self, expr: &str, span: Span) -> Result<Answer> {
        let form = [
            ("query", expr.to_owned()),
            ("start", seconds(span.start_ms)),
            ("end", seconds(span.end_ms)),
            ("step", seconds(span.step_ms)),
        ];
        answer::query(self.ask("query_range", &form, Some(expr)).await?)
    }

    pub async fn alerts(&self) -> Result<Alerts> {
        answer::alerts(self.ask("rules", &[("type", "alert".to_owned())], None).await?)
    }

    pub async fn targets(&self) -> Result<Vec<Target>> {
        answer::targets(self.ask("targets", &[("state", "active".to_owned())], None).await?)
    }

    /// Asks until there is an answer, the last try failed, or time is up.
    async fn ask(&self, what: &str, form: &[(&str, String)], expr: Option<&str>) -> Result<answer::Envelope> {
        let deadline = Instant::now() + self.timeout;
        let mut tries = 0;
        loop {
            tries += 1;
            let left = deadline.saturating_duration_since(Instant::now());
            let failure = match timeout(left, self.attempt(what, form, expr, left)).await {
                Ok(Ok(envelope)) => return Ok(envelope),
                Ok(Err(failure)) => failure,
                Err(_) => return Err(refusal::timed_out(self.address(), self.timeout)),
            };
            let pause = Duration::from_millis(100) * 2_u32.pow(tries - 1);
            if !failure.transient || tries == TRIES || Instant::now() + pause >= deadline {
                return Err(failure.error);
            }
            sleep(pause).await;
        }
    }

    async fn attempt(
        &self,
        what: &str,
        form: &[(&str, String)],
        expr: Option<&str>,
        left: Duration,
    ) -> Result<answer::Envelope, Failure> {
        let mut url = self.base.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(["api", "v1", what]);
        }
        let mut asked = url.clone();
        asked.query_pairs_mut().extend_pairs(form);
        if expr.is_some() {
            asked.query_pairs_mut().append_pair("timeout", &format!("{}ms", left.as_millis().max(1)));
        }
        let mut request = if asked.as_str().len() > ADDRESS_BYTES_MAX && expr.is_some() {
            let body = asked.query().unwrap_or_default().to_owned();
            self.client.post(url).header(CONTENT_TYPE, "application/x-www-form-urlencoded").body(body)
        } else {
            self.client.get(asked)
        };
        if let Some(token) = &self.token {
            request = request.bearer_auth(token.reveal());
        }
        let not_reached = |error: reqwest::Error| refusal::not_reached(self.address(), &error);
        let response = request.send().await.map_err(not_reached)?;
        let header = |name| {
            response.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned()
        };
        let (status, kind, location) = (response.status().as_u16(), header(CONTENT_TYPE), header(LOCATION));
        let body = response.bytes().await.map_err(not_reached)?;
        refusal::judge(self.address(), Said { status, kind: &kind, location: &location, body: &body }, expr)
    }
}

/// Unix time, or a length of it, in seconds.
fn seconds(ms: i64) -> String {
    format!("{}.{:03}", ms.div_euclid(1000), ms.rem_euclid(1000))
}
