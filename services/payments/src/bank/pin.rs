//! PINs: argon2id over a keyed index of the PIN, on a blocking thread, few at a time; wrong ones lock the account.
//!
//! Invariants: a PIN is never printed, stored or sent on; a wrong try is counted before the hash is computed, so that
//! tries made at once cannot outrun the lock.

use std::sync::Arc;
use std::time::Duration;

use argon2::Argon2;
use argon2::password_hash::{PasswordHash, PasswordHasher, PasswordVerifier, SaltString};
use contracts::UserId;
use db::{Db, params};
use host::Vault;
use kernel::{Clock, Error, Kind};
use serde::Deserialize;
use tokio::sync::Semaphore;

use super::Refusal;

const TRIES_MAX: i64 = 5;
const LOCKED_FOR: Duration = Duration::from_secs(15 * 60);
/// Each needs 19 MiB and a core for some tens of milliseconds.
const AT_ONCE: usize = 2;

/// 4 to 12 digits.
#[derive(Clone, Deserialize)]
pub struct Pin(String);

impl std::fmt::Debug for Pin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Pin(…)")
    }
}

impl schemars::JsonSchema for Pin {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Pin".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string", "pattern": "^[0-9]{4,12}$", "writeOnly": true })
    }
}

impl Pin {
    pub fn check(&self) -> Result<(), Error> {
        if (4..=12).contains(&self.0.len()) && self.0.bytes().all(|byte| byte.is_ascii_digit()) {
            return Ok(());
        }
        Err(Error::field("/pin", "pin_invalid", "a PIN is 4 to 12 digits"))
    }
}

/// Hashes and checks PINs.
#[derive(Clone)]
pub(crate) struct Pins {
    vault: Vault,
    permits: Arc<Semaphore>,
}

impl Pins {
    pub(crate) fn new(vault: Vault) -> Self {
        Self { vault, permits: Arc::new(Semaphore::new(AT_ONCE)) }
    }

    /// Stands for the PIN where equal PINs must be found equal; worth nothing without the vault's key.
    pub(crate) fn index(&self, pin: &Pin) -> String {
        self.vault.index("bank.pin", &pin.0)
    }

    async fn on_a_blocking_thread<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let _permit = self.permits.acquire().await.map_err(Error::internal)?;
        tokio::task::spawn_blocking(work).await.map_err(Error::internal)?
    }

    pub(crate) async fn hash(&self, pin: &Pin) -> Result<String, Error> {
        let (index, salt) = (self.index(pin), self.vault.random_token(16)?);
        self.on_a_blocking_thread(move || {
            let salt = SaltString::encode_b64(salt.as_bytes())
                .map_err(|error| Error::internal(error.to_string()))?;
            let hash = Argon2::default().hash_password(index.as_bytes(), &salt);
            Ok(hash.map_err(|error| Error::internal(error.to_string()))?.to_string())
        })
        .await
    }

    async fn matches(&self, pin: &Pin, hash: String) -> Result<bool, Error> {
        let index = self.index(pin);
        self.on_a_blocking_thread(move || {
            let hash = PasswordHash::new(&hash).map_err(|error| Error::internal(error.to_string()))?;
            Ok(Argon2::default().verify_password(index.as_bytes(), &hash).is_ok())
        })
        .await
    }

    /// Checks the PIN of an account of `owner`.
    pub(crate) async fn check(
        &self,
        db: &Db,
        clock: &Arc<dyn Clock>,
        owner: UserId,
        number: &str,
        pin: &Pin,
    ) -> Result<(), Error> {
        let (now, account) = (clock.now(), number.to_owned());
        let hash = db
            .write(move |tx| -> Result<String, Error> {
                let sql = "SELECT pin_hash, pin_failures, pin_locked_until FROM bank_accounts \
                           WHERE number = ? AND owner_id = ?";
                let found = tx.query_opt(sql, params![account, owner.to_string()], |row| {
                    Ok((
                        row.get::<Option<String>>(0)?,
                        row.get::<i64>(1)?,
                        row.get::<Option<kernel::Timestamp>>(2)?,
                    ))
                })?;
                let (hash, failures, locked_until) =
                    found.ok_or_else(|| Refusal::AccountNotFound.into_error())?;
                let hash = hash
                    .ok_or_else(|| Error::conflict("pin_not_set", "this account was opened without a PIN"))?;
                if let Some(until) = locked_until.filter(|until| *until > now) {
                    let wait_s = u32::try_from(until.since(now).as_secs() + 1).unwrap_or(u32::MAX);
                    let error =
                        Error::new(Kind::TooMany, "pin_locked", "too many wrong PINs: try again later");
                    return Err(error.with_retry_after(wait_s));
                }
                let tries = if locked_until.is_some() { 1 } else { failures + 1 };
                let lock = (tries >= TRIES_MAX).then(|| now.plus(LOCKED_FOR));
                tx.execute(
                    "UPDATE bank_accounts SET pin_failures = ?, pin_locked_until = ? WHERE number = ?",
                    params![tries, lock, account],
                )?;
                Ok(hash)
            })
            .await?;
        if !self.matches(pin, hash).await? {
            return Err(Error::forbidden("pin_wrong", "that is not the PIN of this account"));
        }
        let account = number.to_owned();
        db.write(move |tx| -> Result<(), Error> {
            let sql = "UPDATE bank_accounts SET pin_failures = 0, pin_locked_until = NULL WHERE number = ?";
            tx.execute(sql, params![account])?;
            Ok(())
        })
        .await
    }
}
