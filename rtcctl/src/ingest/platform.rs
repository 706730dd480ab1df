//! The running platform as the place where batches go.
//!
//! Invariants: an expired token is renewed once and the batch sent again; when nothing answers, `run.json` is read anew,
//! because a platform that came back may listen elsewhere.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use codes::{Code, Error, Result};
use kernel::Kind;
use reqwest::{StatusCode, Url};
use sales::Transaction;
use serde::Deserialize;
use settings::Secret;

use super::deliver::{Answer, Ingest, NotTaken};
use crate::local::DataDir;

/// The address of the operator's account.
pub const OPERATOR: &str = "admin@rtc.local";

/// `POST /api/v1/transactions` of a platform, signed in as the operator.
pub struct SalesApi {
    client: reqwest::Client,
    base: Mutex<Url>,
    data: DataDir,
    /// Addresses that the operator named are not replaced by what `run.json` says.
    follows_run_file: bool,
    source: String,
    password: Secret,
    token: Mutex<Option<Secret>>,
    timeout: Duration,
}

#[derive(Default, Deserialize)]
struct Problem {
    #[serde(default)]
    code: String,
    #[serde(default)]
    detail: String,
}

#[derive(Deserialize)]
struct Session {
    access_token: String,
}

impl SalesApi {
    pub fn new(
        base: &Url,
        data: DataDir,
        follows_run_file: bool,
        source: &str,
        timeout: Duration,
    ) -> Result<Self> {
        let Some(password) = data.secret("admin_password")? else {
            let path = data.path().join("secrets/admin_password");
            return Err(Error::new(&codes::RPL030, format!("there is no {}", path.display())));
        };
        Ok(Self {
            client: crate::api::client(base)?,
            base: Mutex::new(base.clone()),
            data,
            follows_run_file,
            source: source.to_owned(),
            password,
            token: Mutex::new(None),
            timeout,
        })
    }

    fn url(&self, segments: &[&str]) -> Url {
        let mut url = self.base.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(["api", "v1"]).extend(segments);
        }
        url
    }

    fn look_elsewhere(&self) {
        let found = self.data.read_run_file().and_then(|run| Url::parse(&run.api_url).ok());
        if let (true, Some(url)) = (self.follows_run_file, found) {
            *self.base.lock().unwrap_or_else(PoisonError::into_inner) = url;
        }
    }

    fn not_answered(&self, error: &reqwest::Error) -> NotTaken<Error> {
        let mut innermost: &(dyn std::error::Error + 'static) = error;
        while let Some(source) = innermost.source() {
            innermost = source;
        }
        let why = match error.is_timeout() {
            true => Error::new(&codes::NET003, format!("the API ({}) did not answer in time", self.url(&[]))),
            false => Error::new(&codes::NET002, format!("the API ({}) does not answer", self.url(&[])))
                .with_cause(innermost.to_string()),
        };
        self.look_elsewhere();
        NotTaken::Later { after: None, why }
    }

    /// The token, signing in where there is none.
    async fn token(&self) -> Result<Secret, NotTaken<Error>> {
        let known = self.token.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(token) = known {
            return Ok(token);
        }
        let body = serde_json::json!({ "email": OPERATOR, "password": self.password.reveal() });
        let request = self.client.post(self.url(&["sessions"])).timeout(self.timeout).json(&body);
        let answer = request.send().await.map_err(|error| self.not_answered(&error))?;
        let answer = match answer.status() {
            status if status.is_success() => answer,
            _ => {
                return Err(match refused(answer).await {
                    // What keeps the platform from reading the credentials is not in the batch.
                    NotTaken::Content { code, detail } => NotTaken::Never(Error::new(
                        &codes::API001,
                        format!("cannot sign in: {code} {detail}"),
                    )),
                    other => other,
                });
            }
        };
        let session: Session = answer.json().await.map_err(|error| self.not_answered(&error))?;
        let token = Secret::new(session.access_token);
        *self.token.lock().unwrap_or_else(PoisonError::into_inner) = Some(token.clone());
        Ok(token)
    }

    async fn send_once(&self, batch: &[Transaction], token: &Secret) -> Result<Answer, NotTaken<Error>> {
        #[derive(serde::Serialize)]
        struct Batch<'a> {
            transactions: &'a [Transaction],
        }
        let mut url = self.url(&["transactions"]);
        url.query_pairs_mut().append_pair("source", &self.source);
        let request = self.client.post(url).timeout(self.timeout).bearer_auth(token.reveal());
        let answer = request.json(&Batch { transactions: batch }).send().await;
        let answer = answer.map_err(|error| self.not_answered(&error))?;
        if !answer.status().is_success() {
            return Err(refused(answer).await);
        }
        let bytes = answer.bytes().await.map_err(|error| self.not_answered(&error))?;
        serde_json::from_slice(&bytes).map_err(|error| {
            let why =
                Error::new(&codes::NET004, "the answer of the API is not understood").with_source(&error);
            NotTaken::Never(why)
        })
    }
}

impl Ingest for SalesApi {
    type Error = Error;

    async fn send(&self, batch: &[Transaction]) -> Result<Answer, NotTaken<Error>> {
        let token = self.token().await?;
        match self.send_once(batch, &token).await {
            Err(NotTaken::Never(error)) if error.code() == &codes::API002 => {
                *self.token.lock().unwrap_or_else(PoisonError::into_inner) = None;
                let token = self.token().await?;
                self.send_once(batch, &token).await
            }
            outcome => outcome,
        }
    }
}

/// Sorts an answer that is no success into what can be repeated, what the content causes, and what is final.
async fn refused(answer: reqwest::Response) -> NotTaken<Error> {
    let status = answer.status();
    let after = answer
        .headers()
        .get("retry-after")
        .and_then(|value| value.to_str().ok()?.parse::<u64>().ok())
        .map(|seconds| Duration::from_secs(seconds.min(60)));
    let problem: Problem = match answer.bytes().await {
        Ok(bytes) => serde_json::from_slice(&bytes).unwrap_or_default(),
        Err(_) => Problem::default(),
    };
    let (code, kind): (&'static Code, Kind) = match status.as_u16() {
        400 | 413 | 422 => {
            let code =
                if problem.code.is_empty() { format!("http_{}", status.as_u16()) } else { problem.code };
            return NotTaken::Content { code, detail: problem.detail };
        }
        401 => (&codes::API002, Kind::Unauthenticated),
        403 => (&codes::API003, Kind::Forbidden),
        404 => (&codes::API004, Kind::NotFound),
        429 => (&codes::API006, Kind::TooMany),
        503 => (&codes::API007, Kind::Unavailable),
        408 | 504 => (&codes::API008, Kind::Timeout),
        500..=599 => (&codes::API009, Kind::Internal),
        _ => (&codes::API005, Kind::Conflict),
    };
    let message = format!("the API answered {} {}: {}", status.as_u16(), problem.code, problem.detail);
    let why = Error::new(code, message.trim_end_matches([' ', ':']));
    match kind {
        Kind::TooMany | Kind::Unavailable | Kind::Timeout => NotTaken::Later { after, why },
        Kind::Internal if status != StatusCode::NOT_IMPLEMENTED => NotTaken::Later { after, why },
        _ => NotTaken::Never(why),
    }
}
