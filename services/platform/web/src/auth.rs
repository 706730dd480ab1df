//! Who is calling: access tokens (JWT, EdDSA), their revocation, and the policy of a route.
//!
//! Invariants: the algorithm is ours and never the token's choice; a token is good only while its session and its
//! user's role are; nobody trusts an identity header.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock, PoisonError, RwLock};
use std::time::Duration;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use contracts::{Role, SessionId, UserId};
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use kernel::{Clock, Error, Timestamp};
use serde::{Deserialize, Serialize};

use crate::remote_auth::{KeySource, RevocationFeed};
use crate::{Client, Problem};

pub const ISSUER: &str = "rtc";
pub const AUDIENCE: &str = "rtc";

/// The claims of an access token.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Claims {
    pub iss: String,
    pub aud: String,
    pub sub: UserId,
    pub role: Role,
    /// The session; signing out ends all its tokens.
    pub sid: SessionId,
    pub jti: String,
    /// The user's e-mail address is verified.
    #[serde(default)]
    pub verified: bool,
    /// Issued at, in milliseconds: finer than `iat`, so that a change of role divides tokens exactly.
    pub iat_ms: i64,
    /// Seconds since the epoch (RFC 7519).
    pub iat: i64,
    pub exp: i64,
}

/// A caller whose token is good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Principal {
    pub user_id: UserId,
    pub role: Role,
    pub session_id: SessionId,
    pub email_verified: bool,
    pub issued_at: Timestamp,
    pub expires_at: Timestamp,
}

impl Principal {
    pub fn is(&self, role: Role) -> bool {
        self.role == role
    }

    /// Whether this caller may see what belongs to `owner`.
    pub fn may_see(&self, owner: UserId) -> bool {
        self.user_id == owner || self.role == Role::Admin
    }
}

/// Who may call a route. Ownership is checked by the handler, because only it knows the owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Policy {
    /// Anybody. A token that is sent is not looked at.
    Public,
    /// Anybody, and a caller with a good token is known.
    Optional,
    /// Everybody who is signed in.
    SignedIn,
    /// Only these roles.
    Roles(&'static [Role]),
    /// Only processes of ours; for everybody else, and for the gateway, the route is not there.
    Service,
}

/// Sessions and tokens that ended before their time.
#[derive(Debug, Default)]
pub struct Revocations {
    state: RwLock<Revoked>,
}

#[derive(Debug, Default)]
struct Revoked {
    /// Until when to remember: after that the session's tokens have expired by themselves.
    sessions: HashMap<SessionId, Timestamp>,
    /// From when a session's tokens are good, and until when to remember it.
    sessions_valid_from: HashMap<SessionId, (Timestamp, Timestamp)>,
    tokens_valid_from: HashMap<UserId, Timestamp>,
}

impl Revocations {
    pub fn revoke_session(&self, session: SessionId, until: Timestamp) {
        self.state.write().unwrap_or_else(PoisonError::into_inner).sessions.insert(session, until);
    }

    /// Tokens of this user issued before `from` are no longer good: the role changed.
    pub fn require_newer(&self, user: UserId, from: Timestamp) {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        let entry = state.tokens_valid_from.entry(user).or_insert(from);
        *entry = (*entry).max(from);
    }

    /// Tokens of this session issued before `from` are no longer good: they were replaced. `until` is when the last
    /// of them has expired by itself.
    pub fn require_newer_in_session(&self, session: SessionId, from: Timestamp, until: Timestamp) {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        let entry = state.sessions_valid_from.entry(session).or_insert((from, until));
        *entry = (entry.0.max(from), entry.1.max(until));
    }

    /// Takes over what the users service has told.
    pub fn apply(&self, feed: &RevocationFeed) {
        for session in &feed.sessions {
            match session.valid_from {
                None => self.revoke_session(session.id, session.until),
                Some(from) => self.require_newer_in_session(session.id, from, session.until),
            }
        }
        for tokens in &feed.tokens {
            self.require_newer(tokens.user_id, tokens.valid_from);
        }
    }

    pub fn forget_before(&self, now: Timestamp) {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        state.sessions.retain(|_, until| *until > now);
        state.sessions_valid_from.retain(|_, (_, until)| *until > now);
        let horizon = now.minus(Duration::from_secs(24 * 3600));
        state.tokens_valid_from.retain(|_, from| *from > horizon);
    }

    fn allows(&self, principal: &Principal) -> bool {
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        !state.sessions.contains_key(&principal.session_id)
            && state
                .sessions_valid_from
                .get(&principal.session_id)
                .is_none_or(|(from, _)| principal.issued_at >= *from)
            && state.tokens_valid_from.get(&principal.user_id).is_none_or(|from| principal.issued_at >= *from)
    }
}

/// Checks access tokens against the published keys.
pub struct TokenVerifier {
    clock: Arc<dyn Clock>,
    keys: RwLock<HashMap<String, DecodingKey>>,
    revocations: Arc<Revocations>,
    /// Tokens whose signature was checked. Expiry and revocation are checked each time.
    checked: moka::sync::Cache<String, Principal>,
    /// Where the keys come from, where the users service is in another process.
    source: OnceLock<KeySource>,
}

impl TokenVerifier {
    pub fn new(clock: Arc<dyn Clock>, revocations: Arc<Revocations>) -> Self {
        let checked = moka::sync::Cache::builder()
            .max_capacity(20_000)
            .time_to_live(Duration::from_secs(15 * 60))
            .build();
        Self { clock, keys: RwLock::default(), revocations, checked, source: OnceLock::new() }
    }

    /// Takes the keys from the users service from now on. Said once.
    pub(crate) fn follow(&self, users: Client) {
        let _ = self.source.set(KeySource::new(users));
    }

    pub(crate) fn source(&self) -> Option<&KeySource> {
        self.source.get()
    }

    /// Publishes a key under its `kid`. `x` is the Ed25519 public key, base64url (RFC 8037).
    pub fn add_key(&self, kid: &str, x: &str) -> Result<(), Error> {
        let key = DecodingKey::from_ed_components(x).map_err(Error::internal)?;
        self.keys.write().unwrap_or_else(PoisonError::into_inner).insert(kid.to_owned(), key);
        Ok(())
    }

    pub fn remove_key(&self, kid: &str) {
        self.keys.write().unwrap_or_else(PoisonError::into_inner).remove(kid);
        self.checked.invalidate_all();
    }

    pub fn verify(&self, token: &str) -> Result<Principal, Error> {
        let principal = match self.checked.get(token) {
            Some(principal) => principal,
            None => {
                let principal = self.check_signature(token)?;
                self.checked.insert(token.to_owned(), principal);
                principal
            }
        };
        if principal.expires_at <= self.clock.now() {
            return Err(Error::unauthenticated("token_expired", "the access token has expired: refresh it"));
        }
        if !self.revocations.allows(&principal) {
            return Err(Error::unauthenticated(
                "token_revoked",
                "this session has ended or its rights have changed",
            ));
        }
        Ok(principal)
    }

    fn check_signature(&self, token: &str) -> Result<Principal, Error> {
        let refused = || Error::unauthenticated("token_invalid", "the access token is not good");
        let header = jsonwebtoken::decode_header(token).map_err(|_| refused())?;
        let kid = header.kid.ok_or_else(refused)?;
        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
        let key = keys.get(&kid).ok_or_else(refused)?;
        let mut validation = Validation::new(Algorithm::EdDSA);
        validation.set_issuer(&[ISSUER]);
        validation.set_audience(&[AUDIENCE]);
        validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
        // Our clock decides, at every request, not the library's once.
        validation.validate_exp = false;
        let claims = jsonwebtoken::decode::<Claims>(token, key, &validation).map_err(|_| refused())?.claims;
        Ok(Principal {
            user_id: claims.sub,
            role: claims.role,
            session_id: claims.sid,
            email_verified: claims.verified,
            issued_at: Timestamp::from_millis(claims.iat_ms),
            expires_at: Timestamp::from_millis(claims.exp.saturating_mul(1_000)),
        })
    }

    fn knows(&self, kid: &str) -> bool {
        self.keys.read().unwrap_or_else(PoisonError::into_inner).contains_key(kid)
    }

    /// As [`authorize`](Self::authorize); a token that was signed with a key that is not known here is a reason to ask
    /// for the keys again.
    pub(crate) async fn authorize_fresh(
        &self,
        policy: Policy,
        headers: &HeaderMap,
    ) -> Result<Option<Principal>, Error> {
        let result = self.authorize(policy, headers);
        let (Err(_), Some(source)) = (&result, self.source.get()) else { return result };
        let Ok(Some(token)) = bearer(headers) else { return result };
        let kid = jsonwebtoken::decode_header(token).ok().and_then(|header| header.kid);
        if kid.is_none_or(|kid| self.knows(&kid)) {
            return result;
        }
        if !source.is_loaded() {
            let text = "it cannot be told yet who calls: try again in a moment";
            return Err(Error::unavailable("keys_unavailable", text));
        }
        source.refresh_on_demand(self).await;
        self.authorize(policy, headers)
    }

    /// Applies a route's policy to a request's headers.
    pub fn authorize(&self, policy: Policy, headers: &HeaderMap) -> Result<Option<Principal>, Error> {
        if policy == Policy::Public {
            return Ok(None);
        }
        if policy == Policy::Service {
            // No token of a person opens it.
            return Err(Error::not_found("no_such_route", "there is nothing under this address"));
        }
        let Some(token) = bearer(headers)? else {
            if policy == Policy::Optional {
                return Ok(None);
            }
            return Err(Error::unauthenticated("token_missing", "send Authorization: Bearer <access token>"));
        };
        let principal = self.verify(token)?;
        if let Policy::Roles(roles) = policy
            && !roles.contains(&principal.role)
        {
            let wanted: Vec<_> = roles.iter().map(|role| role.as_str()).collect();
            return Err(Error::forbidden(
                "role_required",
                format!("this needs the role {}", wanted.join(" or ")),
            ));
        }
        Ok(Some(principal))
    }
}

/// The bearer token of a request; an unreadable or doubled header is refused.
pub fn bearer(headers: &HeaderMap) -> Result<Option<&str>, Error> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let Some(value) = values.next() else { return Ok(None) };
    let refused = || Error::unauthenticated("token_invalid", "send one Authorization header: Bearer <token>");
    if values.next().is_some() {
        return Err(refused());
    }
    let text = value.to_str().map_err(|_| refused())?;
    let (scheme, token) = text.split_once(' ').ok_or_else(refused)?;
    if !scheme.eq_ignore_ascii_case("bearer") || token.is_empty() {
        return Err(refused());
    }
    Ok(Some(token.trim()))
}

/// The signed-in caller of a route whose policy requires one.
#[derive(Debug, Clone, Copy)]
pub struct Caller(pub Principal);

impl<S: Send + Sync> FromRequestParts<S> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        match parts.extensions.get::<Principal>() {
            Some(principal) => Ok(Caller(*principal)),
            None => Err(Problem(Error::unauthenticated(
                "token_missing",
                "send Authorization: Bearer <access token>",
            ))),
        }
    }
}

impl<S: Send + Sync> axum::extract::OptionalFromRequestParts<S> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Option<Self>, Problem> {
        Ok(parts.extensions.get::<Principal>().copied().map(Caller))
    }
}
