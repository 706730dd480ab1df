//! Proof that an e-mail address is its owner's: a code that is sent there and comes back.
//!
//! Invariant: what is answered does not depend on whether the address has an account, or is verified already.

use std::time::Duration;

use contracts::topics;
use contracts::users::{EmailVerified, VerificationRequested};
use kernel::{Error, Kind, Result};

use crate::Users;
use crate::domain::email::Email;
use crate::domain::secret::Secret;
use crate::domain::verification::{CODE_LENGTH, StoredCode, Try, normalise};
use crate::store::{codes, users as store};

const HOUR: Duration = Duration::from_secs(3_600);

fn address(email: &Secret) -> Result<Email> {
    Email::parse(email.reveal())
        .ok_or_else(|| Error::field("/email", "invalid_email", "this is no e-mail address"))
}

fn hash_of(users: &Users, user: &contracts::UserId, code: &str) -> String {
    // Keyed, because a code is short enough to be found by trying them all.
    users.vault.index("verification code", &format!("{user} {code}"))
}

/// Sends a code where there is somebody to send it to.
pub(crate) async fn request(users: &Users, email: &Secret) -> Result<()> {
    let email_index = users.email_index(&address(email)?);
    // Made and sealed in any case, so that both cases do the same work.
    let code = users.vault.random_code(CODE_LENGTH)?;
    let sealed = users.vault.seal(&code)?;
    let this = users.clone();
    users
        .db
        .write(move |tx| -> Result<()> {
            let now = this.clock.now();
            // Counted with this one in it: of two that come at once, one waits for the other.
            codes::insert_request(tx, &email_index, now)?;
            let mut before = codes::requests_since(tx, &email_index, now.minus(HOUR))?;
            if let Some(own) = before.iter().rposition(|at| *at == now) {
                before.remove(own);
            }
            let allowed = this.config.codes_per_hour as usize;
            if before.len() >= allowed {
                let free_at = before[before.len() - allowed].plus(HOUR);
                let wait = u32::try_from(free_at.since(now).as_millis().div_ceil(1_000)).unwrap_or(u32::MAX);
                return Err(Error::new(
                    Kind::TooMany,
                    "too_many_codes",
                    "enough codes were asked for: wait for one to arrive",
                )
                .with_retry_after(wait.max(1)));
            }
            let user = store::by_email(tx, &email_index)?;
            let Some(user) = user.filter(|user| user.verified_at.is_none()) else { return Ok(()) };
            let expires_at = now.plus(this.config.code_life());
            let stored = StoredCode {
                hash: hash_of(&this, &user.id, &code),
                expires_at,
                tries_left: this.config.code_tries,
            };
            codes::put_code(tx, user.id, &stored)?;
            let requested = VerificationRequested {
                user_id: user.id,
                email: user.email,
                code: sealed.clone(),
                expires_at,
                locale: user.locale,
            };
            this.outbox.send(tx, topics::USERS, &user.id.to_string(), &requested, None)?;
            Ok(())
        })
        .await
}

/// Takes a code back. One answer for a wrong code, a dead one, and an address without an account.
pub(crate) async fn confirm(users: &Users, email: &Secret, code: &Secret) -> Result<()> {
    let refused = || {
        Error::field(
            "/code",
            "code_invalid",
            "this code is not good: ask for another if it is older than 3 minutes",
        )
    };
    let email_index = users.email_index(&address(email)?);
    let code = normalise(code.reveal()).ok_or_else(refused)?;
    let this = users.clone();
    // A wrong try is a change that must stay, so it is no error of the transaction.
    let confirmed = users
        .db
        .write(move |tx| -> Result<bool> {
            let now = this.clock.now();
            let Some(mut user) = store::by_email(tx, &email_index)? else { return Ok(false) };
            let Some(stored) = codes::code(tx, user.id)? else { return Ok(false) };
            match stored.attempt(&hash_of(&this, &user.id, &code), now) {
                Try::Dead => Ok(false),
                Try::Wrong(tries_left) => {
                    codes::put_code(tx, user.id, &StoredCode { tries_left, ..stored })?;
                    Ok(false)
                }
                Try::Right => {
                    codes::delete_code(tx, user.id)?;
                    user.verified_at = Some(now);
                    user.version += 1;
                    store::update(tx, &user)?;
                    let verified = EmailVerified { user_id: user.id };
                    this.outbox.send(tx, topics::USERS, &user.id.to_string(), &verified, None)?;
                    Ok(true)
                }
            }
        })
        .await?;
    if confirmed { Ok(()) } else { Err(refused()) }
}
