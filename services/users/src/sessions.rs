//! Signing in, refreshing, signing out.
//!
//! Invariants: rights are read in the transaction that issues a token, and a token that was issued under rights that
//! have changed since is older than the change; an attempt at a password is counted before the password is looked at.

use std::net::IpAddr;
use std::time::Duration;

use contracts::users::{SessionEnd, SessionRevoked};
use contracts::{SessionId, topics};
use db::Tx;
use host::Vault;
use kernel::{Error, Kind, Result, Timestamp};
use serde::Serialize;
use web::Principal;
use web::auth::{AUDIENCE, Claims, ISSUER};

use crate::domain::email::Email;
use crate::domain::lockout::Rules;
use crate::domain::refresh::{Decision, RefreshToken, decide};
use crate::domain::secret::Secret;
use crate::hasher::Check;
use crate::queries::UserView;
use crate::store::sessions::{self as store, SessionRow};
use crate::store::users::UserRow;
use crate::store::{codes, users as accounts};
use crate::{Parts, Users};

/// Random bytes of a refresh token: 256 bits.
const REFRESH_TOKEN_BYTES: usize = 32;
/// No token of ours is longer.
const REFRESH_TOKEN_MAX: usize = 64;

/// What a caller gets who has signed in or refreshed.
#[derive(Serialize, schemars::JsonSchema)]
pub(crate) struct SignedIn {
    pub access_token: String,
    pub refresh_token: String,
    /// `Bearer`.
    pub token_type: &'static str,
    pub expires_in_s: u64,
    pub user: UserView,
}

/// What the transaction decided; the token is signed after it.
pub(crate) struct Issued {
    pub user: UserRow,
    pub session_id: SessionId,
    pub issued_at: Timestamp,
}

impl Parts {
    /// The claims of this moment, signed.
    pub(crate) fn access_token(&self, issued: &Issued, life: Duration) -> Result<String> {
        let millis = issued.issued_at.as_millis();
        self.signer.sign(&Claims {
            iss: ISSUER.to_owned(),
            aud: AUDIENCE.to_owned(),
            sub: issued.user.id,
            role: issued.user.role,
            sid: issued.session_id,
            jti: self.vault.random_token(16)?,
            verified: issued.user.verified_at.is_some(),
            iat_ms: millis,
            iat: millis.div_euclid(1_000),
            exp: expires_at(issued.issued_at, life).as_millis() / 1_000,
        })
    }

    /// Opens a session whose first access token lives for `life`.
    pub(crate) fn open_session(
        &self,
        tx: &mut Tx<'_>,
        user: UserRow,
        life: Duration,
        refresh_until: Timestamp,
    ) -> Result<Issued> {
        let issued_at = self.clock.now().max(user.tokens_valid_from);
        let session = SessionRow {
            id: self.ids.next(),
            user_id: user.id,
            issued_at,
            tokens_until: expires_at(issued_at, life),
            refresh_until,
            valid_from: Timestamp::EPOCH,
            ended_at: None,
        };
        store::insert(tx, &session)?;
        Ok(Issued { user, session_id: session.id, issued_at })
    }

    fn signed_in(&self, issued: &Issued, refresh_token: String) -> Result<SignedIn> {
        let life = self.config.access_token_life();
        Ok(SignedIn {
            access_token: self.access_token(issued, life)?,
            refresh_token,
            token_type: "Bearer",
            expires_in_s: life.as_secs(),
            user: self.view(&issued.user)?,
        })
    }

    /// Ends a session at once and for good; says so.
    fn end(&self, tx: &mut Tx<'_>, session: &SessionRow, reason: SessionEnd) -> Result<()> {
        if !store::end(tx, session.id, reason, self.clock.now())? {
            return Ok(());
        }
        let (session_id, user_id, until) = (session.id, session.user_id, session.tokens_until);
        let revoked = SessionRevoked { user_id, session_id, reason };
        self.outbox.send(tx, topics::USERS, &user_id.to_string(), &revoked, None)?;
        let revocations = self.revocations.clone();
        tx.once_it_may_be_stored(move || {
            revocations.revoke_session(session_id, until);
            match reason {
                SessionEnd::RefreshTokenReused => {
                    tracing::warn!(%user_id, %session_id, "a refresh token came back: the session is ended");
                }
                _ => tracing::info!(%user_id, %session_id, ?reason, "a session has ended"),
            }
        });
        Ok(())
    }
}

/// The whole second at which a token expires, never before its life is over.
fn expires_at(issued_at: Timestamp, life: Duration) -> Timestamp {
    let millis = issued_at.plus(life).as_millis();
    Timestamp::from_millis(millis.div_euclid(1_000) * 1_000 + i64::from(millis.rem_euclid(1_000) > 0) * 1_000)
}

fn wrong_credentials() -> Error {
    Error::unauthenticated("credentials_wrong", "the e-mail address or the password is wrong")
}

fn locked_out(until: Timestamp, now: Timestamp) -> Error {
    let wait = u32::try_from(until.since(now).as_millis().div_ceil(1_000)).unwrap_or(u32::MAX);
    let text = "too many failed attempts: wait before you try again";
    Error::new(Kind::TooMany, "locked_out", text).with_retry_after(wait.max(1))
}

/// Signs in by address and password.
pub(crate) async fn sign_in(
    users: &Users,
    email: &Secret,
    password: &Secret,
    address: Option<IpAddr>,
) -> Result<SignedIn> {
    let email = Email::parse(email.reveal())
        .ok_or_else(|| Error::field("/email", "invalid_email", "this is no e-mail address"))?;
    let email_index = users.email_index(&email);
    let place = address.map_or("unknown".to_owned(), |address| address.to_string());
    let pair = users.vault.index("sign-in", &format!("{place} {email_index}"));
    // Whoever has many addresses gets past the first count, not past the second.
    let account = users.vault.index("sign-in-account", &email_index);
    let window = users.config.lockout_window();
    let counts = [
        (pair, Rules { failures_max: users.config.lockout_failures, window }),
        (account, Rules { failures_max: users.config.lockout_account_failures, window }),
    ];
    let user = {
        let (this, counts) = (users.clone(), counts.clone());
        let counted = move |tx: &mut Tx<'_>| -> Result<Option<UserRow>> {
            let now = this.clock.now();
            for (who, rules) in &counts {
                let lockout = codes::lockout(tx, who, now)?.attempt(now, *rules);
                codes::put_lockout(tx, who, &lockout.map_err(|until| locked_out(until, now))?, now)?;
            }
            // Only to check the password: rights are read again in the transaction that issues the token.
            Ok(accounts::by_email(&mut tx.unlocked(), &email_index)?)
        };
        users.db.write(counted).await?
    };
    let stored = user.as_ref().and_then(|user| user.password_hash.clone());
    let stronger = match users.hasher.check(password, stored.clone()).await? {
        Check::Wrong => return Err(wrong_credentials()),
        Check::Right => None,
        Check::RightButWeak(stronger) => stored.map(|old| (old, stronger)),
    };
    let id = user.ok_or_else(wrong_credentials)?.id;
    let refresh_token = users.vault.random_token(REFRESH_TOKEN_BYTES)?;
    let hash = Vault::hash_token(&refresh_token);
    let this = users.clone();
    let issued = users
        .db
        .write(move |tx| -> Result<Issued> {
            let user = accounts::by_id(tx, id)?.ok_or_else(wrong_credentials)?;
            for (who, _) in &counts {
                codes::clear_lockout(tx, who)?;
            }
            if let Some((old, new)) = &stronger {
                accounts::strengthen(tx, id, old, new)?;
            }
            let expires_at = this.clock.now().plus(this.config.refresh_token_life());
            let issued = this.open_session(tx, user, this.config.access_token_life(), expires_at)?;
            let first =
                RefreshToken { generation: 1, parent: 0, expires_at, used_at: None, revoked_at: None };
            store::insert_token(tx, issued.session_id, &hash, &first)?;
            Ok(issued)
        })
        .await?;
    users.signed_in(&issued, refresh_token)
}

/// Exchanges a refresh token for the next pair of tokens (S3).
pub(crate) async fn refresh(users: &Users, presented: &Secret) -> Result<SignedIn> {
    let refused =
        || Error::unauthenticated("refresh_token_invalid", "this refresh token is not good: sign in");
    if presented.reveal().len() > REFRESH_TOKEN_MAX {
        return Err(refused());
    }
    let presented_text = presented.reveal().to_owned();
    let presented_hash = Vault::hash_token(&presented_text);
    let this = users.clone();
    // The end of a session is a change that must stay, so it is no error of the transaction.
    let outcome = users
        .db
        .write(move |tx| -> Result<Result<(Issued, String), Decision>> {
            let Some((session_id, presented)) = store::token(tx, &presented_hash)? else {
                return Ok(Err(Decision::Expired));
            };
            let now = this.clock.now();
            let session = store::by_id(tx, session_id)?.ok_or(db::Error::NoRow)?;
            let successor = store::successor(tx, session_id, presented.generation)?;
            let grace = this.config.refresh_grace();
            let decision = decide(session.ended_at, &presented, successor.as_ref(), now, grace);
            match (decision, &successor) {
                (Decision::GiveAgain, Some(successor)) => {
                    let token = this.successor_of(&presented_text, successor.generation);
                    return Ok(Ok((this.renew(tx, session, decision, now)?, token)));
                }
                (Decision::Rotate | Decision::ReplaceLost, _) => {}
                (Decision::EndSession, _) => {
                    this.end(tx, &session, SessionEnd::RefreshTokenReused)?;
                    return Ok(Err(decision));
                }
                _ => return Ok(Err(decision)),
            }
            if let Some(lost) = successor {
                store::mark_revoked(tx, session_id, lost.generation, now)?;
            }
            // Also where the answer was lost: tabs that come back together after that have their grace again.
            store::mark_used(tx, session_id, presented.generation, now)?;
            let next = RefreshToken {
                generation: store::newest_generation(tx, session_id)? + 1,
                parent: presented.generation,
                expires_at: now.plus(this.config.refresh_token_life()),
                used_at: None,
                revoked_at: None,
            };
            let token = this.successor_of(&presented_text, next.generation);
            store::insert_token(tx, session_id, &Vault::hash_token(&token), &next)?;
            Ok(Ok((this.renew(tx, session, decision, now)?, token)))
        })
        .await?;
    let (issued, next) = outcome.map_err(|decision| match decision {
        Decision::Ended | Decision::EndSession => {
            Error::unauthenticated("session_ended", "this session has ended: sign in")
        }
        _ => refused(),
    })?;
    users.signed_in(&issued, next)
}

impl Parts {
    /// The refresh token that a presented one gives: 256 bits that only the holder of our key can know, and that
    /// can be given again without being kept. The generation tells a replaced successor from the one before it.
    fn successor_of(&self, presented: &str, generation: i64) -> String {
        self.vault.index("refresh successor", &format!("{generation} {presented}"))
    }

    /// Notes the next access token of a session. Where the last one was lost on its way, it ends here.
    fn renew(
        &self,
        tx: &mut Tx<'_>,
        mut session: SessionRow,
        decision: Decision,
        now: Timestamp,
    ) -> Result<Issued> {
        let user = accounts::by_id(tx, session.user_id)?.ok_or(db::Error::NoRow)?;
        if decision == Decision::ReplaceLost {
            session.valid_from = now.max(session.issued_at).plus(Duration::from_millis(1));
        }
        session.issued_at = now.max(user.tokens_valid_from).max(session.valid_from);
        let last_expiry = expires_at(session.issued_at, self.config.access_token_life());
        session.tokens_until = session.tokens_until.max(last_expiry);
        session.refresh_until = now.plus(self.config.refresh_token_life());
        store::update(tx, &session)?;
        if decision == Decision::ReplaceLost {
            let revocations = self.revocations.clone();
            let (id, from, until) = (session.id, session.valid_from, session.tokens_until);
            tx.once_it_may_be_stored(move || revocations.require_newer_in_session(id, from, until));
        }
        Ok(Issued { user, session_id: session.id, issued_at: session.issued_at })
    }
}

/// Ends the caller's session. Signing out twice is signing out.
pub(crate) async fn sign_out(users: &Users, caller: Principal) -> Result<()> {
    let this = users.clone();
    users
        .db
        .write(move |tx| -> Result<()> {
            match store::by_id(tx, caller.session_id)? {
                Some(session) => this.end(tx, &session, SessionEnd::SignedOut),
                None => {
                    let revocations = this.revocations.clone();
                    tx.once_it_may_be_stored(move || {
                        revocations.revoke_session(caller.session_id, caller.expires_at);
                    });
                    Ok(())
                }
            }
        })
        .await
}
