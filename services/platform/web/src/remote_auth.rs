//! Who is calling, where the users service is in another process: its keys and what it has revoked, kept up to date.
//!
//! Invariants: what is known stays known while the users service is away; a key is dropped only because the key set no
//! longer has it; nobody is let in before both the keys and the revocations have been read once.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use axum::body::Body;
use axum::http::{HeaderValue, Request};
use contracts::{SessionId, UserId};
use kernel::{Clock, Error, Result, Timestamp};
use messaging::{Every, Job, Progress, Pump};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::auth::{Revocations, TokenVerifier};
use crate::body::collect;
use crate::deadline::Deadline;
use crate::edge::SERVICE_TOKEN_HEADER;
use crate::{Client, Edge};

/// Where the users service has its key set.
pub const JWKS_PATH: &str = "/.well-known/jwks.json";
/// Where it tells the other services what it has revoked.
pub const REVOCATIONS_PATH: &str = "/internal/revocations";

/// How soon after an attempt an unknown key is a reason for another one.
const ON_DEMAND: Duration = Duration::from_secs(2);
const KEYS_EVERY: Duration = Duration::from_secs(60);
/// A feed of changes is followed from a point a little in the past; this is for what came later still.
const ALL_REVOCATIONS_EVERY: Duration = Duration::from_secs(300);
const REVOCATIONS_EVERY: Duration = Duration::from_secs(1);
const PATIENCE: Duration = Duration::from_secs(2);
const ANSWER_MAX: usize = 32 * 1024 * 1024;

/// What ended before its time, or only the part of it that is new.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct RevocationFeed {
    pub sessions: Vec<RevokedSession>,
    pub tokens: Vec<RevokedTokens>,
    /// Send it back as `after` to get what is new since.
    pub next: i64,
}

/// A session of which no token is good, or only newer ones.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct RevokedSession {
    pub id: SessionId,
    /// When the last of its tokens has expired by itself.
    pub until: Timestamp,
    /// From when its tokens are good; absent where none is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub valid_from: Option<Timestamp>,
}

/// A user whose tokens are good only from some time on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct RevokedTokens {
    pub user_id: UserId,
    pub valid_from: Timestamp,
}

#[derive(Deserialize)]
struct KeySet {
    keys: Vec<PublicKey>,
}

/// What is needed of an Ed25519 key of the set (RFC 8037); others are not ours.
#[derive(Deserialize)]
struct PublicKey {
    kid: Option<String>,
    crv: Option<String>,
    x: Option<String>,
}

async fn get<T: DeserializeOwned>(
    users: &Client,
    path: &str,
    service_token: Option<HeaderValue>,
) -> Result<T> {
    let mut request = Request::get(path).body(Body::empty()).map_err(Error::internal)?;
    request.extensions_mut().insert(Deadline(Instant::now() + PATIENCE));
    if let Some(token) = service_token {
        request.headers_mut().insert(SERVICE_TOKEN_HEADER, token);
    }
    let response = users.send(request).await?;
    let status = response.status();
    if !status.is_success() {
        let said = format!("{path}: {status}");
        return Err(
            Error::unavailable("users_unavailable", "the users service gave no answer").with_source(said)
        );
    }
    let body = tokio::time::timeout(PATIENCE, collect(response.into_body(), ANSWER_MAX)).await;
    let body = body.map_err(|elapsed| Error::unavailable("users_unavailable", elapsed.to_string()))??;
    serde_json::from_slice(&body).map_err(Error::internal)
}

/// The users service as the source of the keys.
pub(crate) struct KeySource {
    users: Client,
    /// The keys that came from there: only those may go because they are no longer there.
    known: Mutex<HashSet<String>>,
    attempted_at: tokio::sync::Mutex<Option<Instant>>,
    loaded: AtomicBool,
}

impl KeySource {
    pub(crate) fn new(users: Client) -> Self {
        Self {
            users,
            known: Mutex::default(),
            attempted_at: tokio::sync::Mutex::default(),
            loaded: AtomicBool::new(false),
        }
    }

    pub(crate) fn is_loaded(&self) -> bool {
        self.loaded.load(Ordering::Acquire)
    }

    async fn fetch(&self, verifier: &TokenVerifier) -> Result<()> {
        let set: KeySet = get(&self.users, JWKS_PATH, None).await?;
        let mut found = HashSet::new();
        for key in set.keys {
            if let (Some(kid), Some("Ed25519"), Some(x)) = (key.kid, key.crv.as_deref(), key.x) {
                verifier.add_key(&kid, &x)?;
                found.insert(kid);
            }
        }
        // A set without a key is a mistake, and obeying it would lock everybody out.
        if found.is_empty() {
            return Err(Error::internal("the key set is empty"));
        }
        let gone: Vec<String> = {
            let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
            let gone = known.difference(&found).cloned().collect();
            *known = found;
            gone
        };
        gone.iter().for_each(|kid| verifier.remove_key(kid));
        Ok(())
    }

    /// Fetches the keys because somebody came with one that is not known. Who comes meanwhile waits for the same
    /// answer; whoever makes up keys makes nobody ask more often.
    pub(crate) async fn refresh_on_demand(&self, verifier: &TokenVerifier) {
        let came = Instant::now();
        let mut attempted_at = self.attempted_at.lock().await;
        let recently = attempted_at.is_some_and(|at| at >= came || came < at + ON_DEMAND);
        if recently {
            return;
        }
        let result = self.fetch(verifier).await;
        *attempted_at = Some(Instant::now());
        if let Err(error) = result {
            tracing::warn!(error = %error.chain(), "the keys of the users service could not be read");
        }
    }
}

/// Follows the users service: every process has one that does not run it itself.
pub struct RemoteAuth {
    users: Client,
    edge: Arc<Edge>,
    revocations: Arc<Revocations>,
    clock: Arc<dyn Clock>,
    progress: tokio::sync::Mutex<Followed>,
    failing: AtomicBool,
}

#[derive(Default)]
struct Followed {
    keys_at: Option<Instant>,
    all_revocations_at: Option<Instant>,
    next: Option<i64>,
}

impl RemoteAuth {
    /// Makes `edge` take the keys from `users`. Show the [service token](Edge::trust_service_token) to the edge first.
    pub fn new(users: Client, edge: Arc<Edge>, revocations: Arc<Revocations>) -> Arc<Self> {
        edge.verifier.follow(users.clone());
        let clock = edge.clock.clone();
        let progress = tokio::sync::Mutex::default();
        Arc::new(Self { users, edge, revocations, clock, progress, failing: AtomicBool::new(false) })
    }

    /// Whether requests can be told apart by now.
    pub fn is_loaded(&self) -> bool {
        self.edge.verifier.source().is_some_and(KeySource::is_loaded)
    }

    /// Reads what is due. The first time that is everything.
    pub async fn refresh(&self) -> Result<()> {
        let mut followed = self.progress.lock().await;
        let now = Instant::now();
        let is_due = |last: Option<Instant>, every| last.is_none_or(|last| now >= last + every);
        let all = is_due(followed.all_revocations_at, ALL_REVOCATIONS_EVERY);
        let path = match followed.next {
            Some(next) if !all => format!("{REVOCATIONS_PATH}?after={next}"),
            _ => REVOCATIONS_PATH.to_owned(),
        };
        let feed: RevocationFeed = get(&self.users, &path, self.edge.service_token()).await?;
        self.revocations.apply(&feed);
        followed.next = Some(feed.next);
        if all {
            followed.all_revocations_at = Some(now);
            self.revocations.forget_before(self.clock.now());
        }
        let source = self.edge.verifier.source().ok_or_else(|| Error::internal("nobody is followed"))?;
        if is_due(followed.keys_at, KEYS_EVERY) {
            source.fetch(&self.edge.verifier).await?;
            followed.keys_at = Some(now);
            source.loaded.store(true, Ordering::Release);
        }
        Ok(())
    }

    /// The work of this process, whatever others do: it is never leased.
    pub fn pump(self: Arc<Self>) -> Arc<dyn Pump> {
        Arc::new(Every::new("auth.revocations", REVOCATIONS_EVERY, Follow(self)))
    }
}

struct Follow(Arc<RemoteAuth>);

#[async_trait]
impl Job for Follow {
    /// Never fails: a pump that fails is turned more and more rarely, and this one has to be there when the users
    /// service is back.
    async fn run(&self) -> Result<Progress> {
        let result = self.0.refresh().await;
        match (&result, self.0.failing.swap(result.is_err(), Ordering::Relaxed)) {
            (Err(error), false) => {
                tracing::warn!(error = %error.chain(), "the users service cannot be followed; what is known stays");
            }
            (Ok(()), true) => tracing::info!("the users service is followed again"),
            _ => {}
        }
        Ok(Progress::Idle)
    }
}
