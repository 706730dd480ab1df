//! Sending: to every receiver at once, again where that may help, until the deadline.
//!
//! Facts: Slack answers an incoming webhook with 200 and the text `ok`; with 429 and `Retry-After` in seconds where it
//! is too much (one a second is meant); with 400 to 410 and a word where the message or the webhook is wrong, and then
//! repeating helps nothing (docs.slack.dev, sending messages using incoming webhooks).

use std::fmt;
use std::time::Duration;

use reqwest::header::{CONTENT_TYPE, RETRY_AFTER};
use reqwest::{Client, Response, StatusCode, Url, redirect};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use crate::fit::line;
use crate::notice::{Notice, Outcome};
use crate::{slack, webhook};

/// So much of an answer is read.
const ANSWER_BYTES_MAX: usize = 1_024;
/// No pause of our own is longer.
const PAUSE_MAX: Duration = Duration::from_secs(8);

/// Who receives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// An incoming webhook of Slack.
    Slack,
    /// A program that understands [`crate::SCHEMA`].
    Webhook,
}

/// A receiver.
#[derive(Clone)]
pub struct Target {
    name: String,
    kind: Kind,
    url: Url,
    /// What the body is signed with.
    key: Option<String>,
    on: Vec<Outcome>,
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Target").field("name", &self.name).field("kind", &self.kind).finish_non_exhaustive()
    }
}

/// Why something cannot be a receiver. The address is not repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UnfitTarget {
    #[error("what the reference names is no address of the web")]
    Address,
    #[error("the address of Slack's webhook is told over https only")]
    Unprotected,
}

impl Target {
    /// A receiver by the secret address `url`, that is told `on` these outcomes, or every one where there are none.
    ///
    /// # Errors
    /// The address is none, or is Slack's and would go over the line for all to read.
    pub fn new(name: &str, kind: Kind, url: &str, on: &[Outcome]) -> Result<Self, UnfitTarget> {
        let url: Url = url.trim().parse().map_err(|_| UnfitTarget::Address)?;
        if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
            return Err(UnfitTarget::Address);
        }
        let is_here = matches!(url.host_str(), Some("localhost" | "127.0.0.1" | "[::1]"));
        if kind == Kind::Slack && url.scheme() == "http" && !is_here {
            return Err(UnfitTarget::Unprotected);
        }
        Ok(Self { name: name.to_owned(), kind, url, key: None, on: on.to_vec() })
    }

    /// Signs what is sent, with the header `X-RTC-Signature-256`.
    #[must_use]
    pub fn signed(mut self, key: impl Into<String>) -> Self {
        self.key = Some(key.into());
        self
    }

    fn wants(&self, outcome: Outcome) -> bool {
        self.on.is_empty() || self.on.contains(&outcome)
    }

    /// What somebody answered, without the address, which some repeat.
    fn plain(&self, text: &str) -> String {
        let mut text = text.replace(self.url.as_str(), "***");
        if self.url.path().len() > 1 {
            text = text.replace(self.url.path(), "/***");
        }
        let text = line(&text);
        text.chars().take(200).collect()
    }
}

/// How long is tried.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// For all of it.
    pub deadline: Duration,
    /// For one attempt.
    pub attempt: Duration,
    /// Before the second attempt; doubled before each further one.
    pub pause: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            deadline: Duration::from_secs(20),
            attempt: Duration::from_secs(5),
            pause: Duration::from_millis(500),
        }
    }
}

/// What became of a notice at one receiver.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "result", rename_all = "snake_case")]
pub enum Sent {
    Delivered,
    /// The receiver wants no such outcomes.
    NotWanted,
    Failed {
        reason: String,
    },
}

/// The same, with how it came to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Delivery {
    pub target: String,
    pub kind: Kind,
    #[serde(flatten)]
    pub sent: Sent,
    pub attempts: u32,
    /// What did not fit.
    pub shortened: Vec<String>,
}

/// Tells every receiver that wants to know. It ends by the deadline, and answers in the order of the receivers.
pub async fn send(notice: &Notice, targets: &[Target], limits: Limits) -> Vec<Delivery> {
    let mut under_way = JoinSet::new();
    let client = client();
    for (index, target) in targets.iter().enumerate() {
        let (target, id, client) = (target.clone(), notice.id(), client.clone());
        let (body, shortened) = match target.kind {
            Kind::Slack => slack::message(notice),
            Kind::Webhook => webhook::document(notice),
        };
        let is_wanted = target.wants(notice.outcome);
        under_way.spawn(async move {
            let mut delivery = Delivery {
                target: target.name.clone(),
                kind: target.kind,
                sent: Sent::NotWanted,
                attempts: 0,
                shortened: Vec::new(),
            };
            if is_wanted {
                delivery.shortened = shortened;
                delivery.sent = match client {
                    Ok(client) => deliver(&client, &target, &id, &body, limits, &mut delivery.attempts).await,
                    Err(reason) => Sent::Failed { reason },
                };
            }
            (index, delivery)
        });
    }
    let mut done = Vec::with_capacity(targets.len());
    while let Some(joined) = under_way.join_next().await {
        // A task is neither aborted nor does it panic.
        done.extend(joined.ok());
    }
    done.sort_by_key(|(index, _)| *index);
    done.into_iter().map(|(_, delivery)| delivery).collect()
}

fn client() -> Result<Client, String> {
    Client::builder()
        .redirect(redirect::Policy::none())
        .user_agent(concat!("rtcctl/", env!("CARGO_PKG_VERSION")))
        .build()
        .map_err(|error| format!("no client for HTTP can be made: {error}"))
}

/// What one attempt says about the next.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Delivered,
    Again { reason: String, after: Option<Duration> },
    Final { reason: String },
}

async fn deliver(
    client: &Client,
    target: &Target,
    id: &str,
    body: &Value,
    limits: Limits,
    attempts: &mut u32,
) -> Sent {
    let until = Instant::now() + limits.deadline;
    let mut pause = limits.pause;
    loop {
        *attempts += 1;
        let left = until.saturating_duration_since(Instant::now());
        let verdict = match timeout(limits.attempt.min(left), attempt(client, target, id, body)).await {
            Ok(verdict) => verdict,
            Err(_) => Verdict::Again { reason: "no answer in time".to_owned(), after: None },
        };
        let (reason, after) = match verdict {
            Verdict::Delivered => return Sent::Delivered,
            Verdict::Final { reason } => return Sent::Failed { reason },
            Verdict::Again { reason, after } => (reason, after),
        };
        let wait = after.unwrap_or(pause);
        pause = (pause * 2).min(PAUSE_MAX);
        if Instant::now() + wait >= until {
            let tried =
                if *attempts == 1 { "one attempt".to_owned() } else { format!("{attempts} attempts") };
            return Sent::Failed { reason: format!("{reason}; given up after {tried}") };
        }
        sleep(wait).await;
    }
}

async fn attempt(client: &Client, target: &Target, id: &str, body: &Value) -> Verdict {
    let body = body.to_string();
    let mut request = client.post(target.url.clone()).header(CONTENT_TYPE, "application/json; charset=utf-8");
    if target.kind == Kind::Webhook {
        request = request.header("x-rtc-notice", id);
    }
    if let Some(key) = &target.key {
        request = request.header("x-rtc-signature-256", webhook::signature(key, body.as_bytes()));
    }
    match request.body(body).send().await {
        Ok(answer) => judged(target, answer).await,
        Err(error) => {
            // The last of the chain says what happened; those before it, that it did.
            let mut deepest = std::error::Error::source(&error);
            while let Some(next) = deepest.and_then(std::error::Error::source) {
                deepest = Some(next);
            }
            let source = deepest.map(|cause| format!(": {}", target.plain(&cause.to_string())));
            let what = if error.is_connect() { "nobody answers" } else { "the connection broke off" };
            Verdict::Again { reason: format!("{what}{}", source.unwrap_or_default()), after: None }
        }
    }
}

async fn judged(target: &Target, mut answer: Response) -> Verdict {
    let status = answer.status();
    let after = answer.headers().get(RETRY_AFTER).and_then(|after| after.to_str().ok()).and_then(seconds);
    let mut said = Vec::new();
    while said.len() < ANSWER_BYTES_MAX
        && let Ok(Some(piece)) = answer.chunk().await
    {
        said.extend_from_slice(&piece);
    }
    said.truncate(ANSWER_BYTES_MAX);
    let said = String::from_utf8_lossy(&said).into_owned();
    let reason = || match target.plain(&said) {
        said if said.is_empty() => format!("answered {}", status.as_u16()),
        said => format!("answered {}: {said}", status.as_u16()),
    };
    let may_pass =
        matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_EARLY);
    match status {
        // Whoever answers for Slack and is not, such as a page to sign in at, delivered nothing.
        _ if status.is_success() && target.kind == Kind::Slack && said.trim() != "ok" => {
            Verdict::Final { reason: format!("{}, which is not what Slack says", reason()) }
        }
        _ if status.is_success() => Verdict::Delivered,
        _ if may_pass || status.is_server_error() => Verdict::Again { reason: reason(), after },
        _ if status.is_redirection() => Verdict::Final {
            reason: format!("answered {}: it is elsewhere, and redirects are not followed", status.as_u16()),
        },
        _ => Verdict::Final { reason: reason() },
    }
}

/// `Retry-After` in seconds; a date is passed by, and our own pause stands.
fn seconds(text: &str) -> Option<Duration> {
    text.trim().parse().ok().map(Duration::from_secs)
}
