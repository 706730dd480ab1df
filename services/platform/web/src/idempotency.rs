//! Idempotent requests (R1): the answer is stored in the transaction of the effect and given again for the same key.
//!
//! Invariants: one key of one caller on one route has one effect; the same request gets the same answer, another
//! request under that key is refused. Effect and answer are one transaction, so there is no half-done key to take over.

use std::time::Duration;

use aws_lc_rs::digest;
use axum::extract::{FromRequest, MatchedPath, Request};
use axum::http::{HeaderName, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use db::{Ahead, Kept, Late, Migration, Migrations, Param, Row, ToParam, Tx, params};
use kernel::{Error, Timestamp};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::Problem;
use crate::auth::Principal;
use crate::body::{BODY_MAX, parse, read_body, require_json};
use crate::etag::ETag;
use crate::problem::ProblemBody;

/// How long an answer is kept (R1: at least 24 h, payments 7 days; one time for all is simpler and safe).
const KEPT_FOR: Duration = Duration::from_secs(7 * 86_400);
const SWEEP_BATCH: u32 = 256;

/// The table of answers that every service with idempotent routes has.
pub const MIGRATIONS: Migrations = Migrations {
    component: "idempotency",
    steps: &[Migration {
        version: 1,
        name: "answers",
        sql: "CREATE TABLE idempotent_answers (
                principal VARCHAR(64) NOT NULL, route VARCHAR(128) NOT NULL, request_key VARCHAR(255) NOT NULL,
                fingerprint VARCHAR(64) NOT NULL, status INTEGER NOT NULL, location VARCHAR(255), etag BIGINT,
                content_type VARCHAR(64) NOT NULL, body TEXT NOT NULL, created_at BIGINT NOT NULL,
                PRIMARY KEY (principal, route, request_key)
              ) WITHOUT ROWID;
              CREATE INDEX idempotent_answers_by_age ON idempotent_answers (created_at);",
    }],
};

/// What identifies a request: who, where, under which key, and what exactly.
#[derive(Debug, Clone)]
pub struct RequestKey {
    principal: String,
    route: String,
    key: String,
    fingerprint: String,
}

impl RequestKey {
    /// For work that begins elsewhere than at an HTTP request.
    pub fn new(principal: &str, route: &str, key: &str, content: &[u8]) -> Self {
        let fingerprint = fingerprint(&[content]);
        Self { principal: principal.to_owned(), route: route.to_owned(), key: key.to_owned(), fingerprint }
    }

    pub fn as_str(&self) -> &str {
        &self.key
    }

    fn place(&self) -> Place {
        (self.principal.clone(), self.route.clone(), self.key.clone())
    }
}

/// A JSON body with a required `Idempotency-Key`; 400 where it is absent.
#[derive(Debug)]
pub struct Keyed<T> {
    pub key: RequestKey,
    pub body: T,
}

/// A JSON body with an `Idempotency-Key` that may be absent.
#[derive(Debug)]
pub struct MaybeKeyed<T> {
    pub key: Option<RequestKey>,
    pub body: T,
}

fn fingerprint(parts: &[&[u8]]) -> String {
    let mut context = digest::Context::new(&digest::SHA256);
    for part in parts {
        context.update(&(part.len() as u64).to_be_bytes());
        context.update(part);
    }
    base64::engine::general_purpose::STANDARD_NO_PAD.encode(context.finish())
}

fn key_header(request: &Request) -> Result<Option<String>, Error> {
    let name = HeaderName::from_static("idempotency-key");
    let mut values = request.headers().get_all(name).iter();
    let Some(value) = values.next() else { return Ok(None) };
    let key = value.to_str().unwrap_or("");
    let printable = key.bytes().all(|byte| (0x21..=0x7e).contains(&byte));
    if values.next().is_some() || !(1..=255).contains(&key.len()) || !printable {
        let error = Error::invalid(
            "idempotency_key_invalid",
            "Idempotency-Key is one value of 1 to 255 visible characters",
        );
        return Err(error.with_status(400));
    }
    Ok(Some(key.to_owned()))
}

async fn read<T: DeserializeOwned>(request: Request) -> Result<MaybeKeyed<T>, Problem> {
    let key = key_header(&request)?;
    let has_body = request.headers().contains_key(header::CONTENT_TYPE);
    let principal =
        request.extensions().get::<Principal>().map_or(String::new(), |who| who.user_id.to_string());
    let matched = request.extensions().get::<MatchedPath>().map(|path| path.as_str().to_owned());
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let query = request.uri().query().unwrap_or("").to_owned();
    if has_body {
        require_json(request.headers())?;
    }
    let bytes = read_body(request, BODY_MAX).await?;
    let key = key.map(|key| RequestKey {
        principal,
        route: format!("{method} {}", matched.as_deref().unwrap_or(&path)),
        key,
        fingerprint: fingerprint(&[
            method.as_str().as_bytes(),
            path.as_bytes(),
            without_wait(&query).as_bytes(),
            &bytes,
        ]),
    });
    // An action without parameters may be sent without a body.
    let bytes = if bytes.is_empty() && !has_body && method == Method::POST { "{}".into() } else { bytes };
    Ok(MaybeKeyed { key, body: parse(&bytes)? })
}

/// `wait` says how long the caller listens, not what it wants done.
fn without_wait(query: &str) -> String {
    query.split('&').filter(|pair| !pair.starts_with("wait=")).collect::<Vec<_>>().join("&")
}

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for MaybeKeyed<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        read(request).await
    }
}

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Keyed<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        // The header is checked before the body is looked at.
        if key_header(&request)?.is_none() {
            let error =
                Error::invalid("idempotency_key_required", "send an Idempotency-Key with this request");
            return Err(Problem(error.with_status(400)));
        }
        let MaybeKeyed { key, body } = read(request).await?;
        match key {
            Some(key) => Ok(Keyed { key, body }),
            None => Err(Problem(
                Error::invalid("idempotency_key_required", "send an Idempotency-Key").with_status(400),
            )),
        }
    }
}

/// An answer that can be stored and given again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    pub location: Option<String>,
    pub etag: Option<i64>,
    pub content_type: String,
    pub body: String,
    pub replayed: bool,
}

impl Answer {
    pub fn json<T: Serialize>(status: u16, body: &T) -> Result<Self, Error> {
        Ok(Self {
            status,
            location: None,
            etag: None,
            content_type: "application/json".to_owned(),
            body: serde_json::to_string(body).map_err(Error::internal)?,
            replayed: false,
        })
    }

    #[must_use]
    pub fn located(mut self, location: impl Into<String>) -> Self {
        self.location = Some(location.into());
        self
    }

    #[must_use]
    pub fn tagged(mut self, version: i64) -> Self {
        self.etag = Some(version);
        self
    }

    fn problem(error: &Error) -> Result<Self, Error> {
        let mut answer = Self::json(error.http_status(), &ProblemBody::of(error))?;
        answer.content_type = "application/problem+json".to_owned();
        Ok(answer)
    }
}

impl IntoResponse for Answer {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = (status, self.body).into_response();
        let headers = response.headers_mut();
        let content_type = HeaderValue::from_str(&self.content_type);
        headers.insert(
            header::CONTENT_TYPE,
            content_type.unwrap_or(HeaderValue::from_static("application/json")),
        );
        if let Some(location) = self.location.and_then(|location| HeaderValue::from_str(&location).ok()) {
            headers.insert(header::LOCATION, location);
        }
        if let Some(version) = self.etag {
            headers.insert(header::ETAG, ETag(version).header());
        }
        if self.replayed {
            headers.insert("idempotent-replayed", HeaderValue::from_static("true"));
        }
        response
    }
}

/// Failures whose answer is part of the outcome: the same request gets them again. All others are tried anew.
fn is_stored(error: &Error) -> bool {
    matches!(error.http_status(), 402 | 404 | 410)
}

/// Runs `effect` once for `key`; later calls get the stored answer.
pub fn once(
    tx: &mut Tx<'_>,
    key: &RequestKey,
    now: Timestamp,
    effect: impl FnOnce(&mut Tx<'_>) -> Result<Answer, Error>,
) -> Result<Answer, Error> {
    if let Some(answer) = find(tx, key)? {
        return Ok(answer);
    }
    let answer = match tx.savepoint(effect) {
        Ok(answer) => answer,
        Err(error) if is_stored(&error) => Answer::problem(&error)?,
        Err(error) => return Err(error),
    };
    tx.at_the_end(Stored { key: key.clone(), answer: answer.clone(), at: now });
    Ok(answer)
}

/// An answer on its way to its row. Of two for one key the second is refused, with all that its transaction has done, and
/// finds the first when it is run again.
struct Stored {
    key: RequestKey,
    answer: Answer,
    at: Timestamp,
}

impl Late for Stored {
    fn write(stored: Vec<Self>, tx: &mut Tx<'_>) -> Result<(), db::Error> {
        fn values(stored: &Stored) -> [Param<'_>; 10] {
            let (key, answer) = (&stored.key, &stored.answer);
            [
                key.principal.to_param(),
                key.route.to_param(),
                key.key.to_param(),
                key.fingerprint.to_param(),
                answer.status.to_param(),
                answer.location.to_param(),
                answer.etag.to_param(),
                answer.content_type.to_param(),
                answer.body.to_param(),
                stored.at.to_param(),
            ]
        }
        let into = "INSERT INTO idempotent_answers (principal, route, request_key, fingerprint, status, location, \
                    etag, content_type, body, created_at)";
        tx.insert_rows(into, 10, &stored.iter().flat_map(values).collect::<Vec<_>>(), "")
    }
}

/// What was answered to a key before. Known for one transaction and never changed.
#[derive(Debug, Clone)]
struct Remembered {
    place: Place,
    fingerprint: String,
    answer: Answer,
}

/// Who, where, under which key.
type Place = (String, String, String);

const REMEMBERED: &str =
    "principal, route, request_key, fingerprint, status, location, etag, content_type, body";

impl Remembered {
    fn read(row: &Row<'_>) -> Result<Self, db::Error> {
        let answer = Answer {
            status: u16::try_from(row.get::<i64>(4)?).unwrap_or(500),
            location: row.get(5)?,
            etag: row.get(6)?,
            content_type: row.get(7)?,
            body: row.get(8)?,
            replayed: true,
        };
        Ok(Self { place: (row.get(0)?, row.get(1)?, row.get(2)?), fingerprint: row.get(3)?, answer })
    }
}

impl Kept for Remembered {
    type Key = Place;

    fn key(&self) -> Place {
        self.place.clone()
    }

    fn write(_: Vec<Self>, _: Vec<Self>, _: &mut Tx<'_>) -> Result<(), db::Error> {
        Ok(())
    }
}

/// Keys that are looked for at once.
const KEYS_MAX: usize = 32;

/// Requests that share a transaction have their answers looked for together.
impl Ahead for RequestKey {
    fn look(all: Vec<Self>, tx: &mut Tx<'_>) -> Result<(), db::Error> {
        let places = tx.unknown::<Remembered>(all.iter().map(RequestKey::place));
        for portion in places.chunks(KEYS_MAX) {
            // Filled up with the last one, so that few statements are prepared.
            let size = portion.len().next_power_of_two();
            let filled =
                portion.iter().chain(std::iter::repeat_n(&portion[portion.len() - 1], size - portion.len()));
            let values: Vec<Param<'_>> = filled
                .flat_map(|(principal, route, key)| [principal.to_param(), route.to_param(), key.to_param()])
                .collect();
            let either = vec!["(principal = ? AND route = ? AND request_key = ?)"; size].join(" OR ");
            let sql = format!(
                "SELECT {REMEMBERED} FROM idempotent_answers WHERE {either} ORDER BY principal, route, request_key"
            );
            let found = tx.query(&sql, &values, Remembered::read)?;
            // That there is none is known too: an answer is inserted plainly.
            portion.iter().for_each(|place| tx.note::<Remembered>(place.clone(), None));
            found.into_iter().for_each(|one| tx.note(one.key(), Some(one)));
        }
        Ok(())
    }
}

fn find(tx: &mut Tx<'_>, key: &RequestKey) -> Result<Option<Answer>, Error> {
    let found = match tx.kept::<Remembered>(&key.place()) {
        Some(known) => known,
        None => {
            let sql = format!(
                "SELECT {REMEMBERED} FROM idempotent_answers WHERE principal = ? AND route = ? AND request_key = ?"
            );
            tx.query_opt(&sql, params![key.principal, key.route, key.key], Remembered::read)?
        }
    };
    let found = found.map(|found| (found.fingerprint, found.answer));
    match found {
        None => Ok(None),
        Some((fingerprint, answer)) if fingerprint == key.fingerprint => Ok(Some(answer)),
        Some(_) => Err(Error::invalid(
            "idempotency_key_reused",
            "this Idempotency-Key was used for another request: take a new one",
        )),
    }
}

/// Deletes answers that have been kept long enough, a batch at a time; answers how many went. Looked for without a lock,
/// then deleted by key, so that no request waits for it.
pub fn sweep(tx: &mut Tx<'_>, now: Timestamp) -> Result<usize, db::Error> {
    let horizon = now.minus(KEPT_FOR);
    let old: Vec<(String, String, String)> = tx.unlocked().query(
        "SELECT principal, route, request_key FROM idempotent_answers WHERE created_at < ? LIMIT ?",
        params![horizon, SWEEP_BATCH],
        |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
    )?;
    let keys: Vec<Param<'_>> = old
        .iter()
        .flat_map(|(principal, route, key)| [principal.to_param(), route.to_param(), key.to_param()])
        .collect();
    tx.delete_rows("idempotent_answers", &["principal", "route", "request_key"], &keys)
}
