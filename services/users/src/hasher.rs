//! Passwords into argon2id hashes and back (S1).
//!
//! Invariants: hashing never runs on a thread that serves requests, and never more often at once than the memory is
//! meant for; a look at a password costs the same whether there is an account or not.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use argon2::password_hash::{PasswordHash, PasswordHasher, PasswordVerifier, SaltString};
use argon2::{ARGON2ID_IDENT, Algorithm, Argon2, Params, Version};
use host::{StartError, Vault};
use kernel::{Error, Result};
use tokio::sync::Semaphore;

use crate::config::PasswordCost;
use crate::domain::secret::Secret;

/// What a look at a password found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Check {
    Wrong,
    Right,
    /// Right, and here is a hash of today's strength to keep instead of the one that was looked at.
    RightButWeak(String),
}

pub(crate) struct Hasher {
    argon: Argon2<'static>,
    vault: Vault,
    slots: Arc<Semaphore>,
    queue_timeout: Duration,
    /// The hash of a password that nobody knows: what an unknown address is compared with.
    decoy: String,
    verifications: Arc<AtomicU64>,
}

impl Hasher {
    pub(crate) async fn new(cost: &PasswordCost, vault: Vault) -> Result<Self, StartError> {
        let params = Params::new(cost.memory_kib, cost.passes, cost.lanes, None)
            .map_err(|error| StartError::Config(format!("services.users.password: {error}")))?;
        let mut hasher = Self {
            argon: Argon2::new(Algorithm::Argon2id, Version::V0x13, params),
            slots: Arc::new(Semaphore::new(cost.concurrency_max)),
            queue_timeout: Duration::from_millis(cost.queue_timeout_ms),
            decoy: String::new(),
            verifications: Arc::default(),
            vault,
        };
        hasher.decoy = hasher.hash(&Secret::new(hasher.vault.random_token(32)?)).await?;
        Ok(hasher)
    }

    /// How often a password has been compared with a hash.
    #[cfg(test)]
    pub(crate) fn verifications(&self) -> u64 {
        self.verifications.load(Ordering::SeqCst)
    }

    pub(crate) async fn hash(&self, password: &Secret) -> Result<String> {
        let (argon, vault, password) = (self.argon.clone(), self.vault.clone(), password.clone());
        self.run(move || hash(&argon, &vault, &password)).await
    }

    /// Compares with `stored`, or with the decoy where there is nothing to compare with: that is always wrong.
    pub(crate) async fn check(&self, password: &Secret, stored: Option<String>) -> Result<Check> {
        let (argon, vault, password) = (self.argon.clone(), self.vault.clone(), password.clone());
        let known = stored.is_some();
        let stored = stored.unwrap_or_else(|| self.decoy.clone());
        let verifications = self.verifications.clone();
        self.run(move || {
            verifications.fetch_add(1, Ordering::SeqCst);
            let parsed = PasswordHash::new(&stored).map_err(|error| Error::internal(error.to_string()))?;
            let same = argon.verify_password(password.reveal().as_bytes(), &parsed).is_ok();
            match (known && same, is_weaker(&parsed, argon.params())) {
                (false, _) => Ok(Check::Wrong),
                (true, false) => Ok(Check::Right),
                (true, true) => Ok(Check::RightButWeak(hash(&argon, &vault, &password)?)),
            }
        })
        .await
    }

    async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
        let busy = || Error::unavailable("sign_in_busy", "too many sign in at once: try again in a moment");
        let slot = tokio::time::timeout(self.queue_timeout, self.slots.clone().acquire_owned());
        let slot = slot.await.map_err(|_| busy())?.map_err(Error::internal)?;
        // The slot goes with the work: a caller who gives up does not make room while the memory is still taken.
        let done = tokio::task::spawn_blocking(move || {
            let result = work();
            drop(slot);
            result
        });
        done.await.map_err(Error::internal)?
    }
}

fn hash(argon: &Argon2<'_>, vault: &Vault, password: &Secret) -> Result<String> {
    let refused = |error: argon2::password_hash::Error| Error::internal(error.to_string());
    // 22 letters of base64url are 16 random bytes; as a salt they are only bytes again.
    let salt = SaltString::encode_b64(vault.random_token(16)?.as_bytes()).map_err(refused)?;
    Ok(argon.hash_password(password.reveal().as_bytes(), &salt).map_err(refused)?.to_string())
}

fn is_weaker(stored: &PasswordHash<'_>, wanted: &Params) -> bool {
    let Ok(params) = Params::try_from(stored) else { return true };
    stored.algorithm != ARGON2ID_IDENT
        || params.m_cost() < wanted.m_cost()
        || params.t_cost() < wanted.t_cost()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_would_take_more_memory_than_there_is_meant_to_be_waits_or_is_refused() {
        let cost =
            PasswordCost { memory_kib: 64, passes: 1, concurrency_max: 1, queue_timeout_ms: 0, lanes: 1 };
        let hasher = Hasher::new(&cost, Vault::new("a secret").unwrap()).await.unwrap();
        let password = Secret::new("a horse in the rain 7");
        let taken = hasher.slots.clone().acquire_owned().await.unwrap();
        let refused = hasher.check(&password, None).await.unwrap_err();
        assert_eq!((refused.code(), refused.http_status()), ("sign_in_busy", 503));
        drop(taken);
        assert_eq!(hasher.check(&password, None).await.unwrap(), Check::Wrong);
    }

    #[tokio::test]
    async fn a_hash_knows_its_password_and_nothing_else_does() {
        let cost = PasswordCost { memory_kib: 64, passes: 1, ..PasswordCost::default() };
        let hasher = Hasher::new(&cost, Vault::new("a secret").unwrap()).await.unwrap();
        let password = Secret::new("비밀번호는 열두 글자");
        let (one, two) = (hasher.hash(&password).await.unwrap(), hasher.hash(&password).await.unwrap());
        assert_ne!(one, two);
        assert_eq!(hasher.check(&password, Some(one.clone())).await.unwrap(), Check::Right);
        assert_eq!(
            hasher.check(&Secret::new("비밀번호는 열세 글자"), Some(one)).await.unwrap(),
            Check::Wrong
        );
        let decoy = hasher.decoy.clone();
        assert_eq!(hasher.check(&password, None).await.unwrap(), Check::Wrong);
        assert!(hasher.check(&password, Some("no hash".to_owned())).await.is_err());
        assert!(decoy.starts_with("$argon2id$"));
        for broken in [PasswordCost { lanes: 0, ..cost.clone() }, PasswordCost { memory_kib: 1, ..cost }] {
            let refused = Hasher::new(&broken, Vault::new("a secret").unwrap()).await;
            assert!(matches!(refused, Err(StartError::Config(_))));
        }
    }
}
