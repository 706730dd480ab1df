//! The keys that sign access tokens, and their rotation without downtime (S2).
//!
//! Invariants: a key is published for at least as long as others may keep the key set before it signs anything, and
//! until the last token that it signed has died; the private half is in clear only in memory.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use kernel::{Error, Result, Timestamp};
use web::auth::Claims;

use crate::Users;
use crate::store::keys::{self as store, KeyRow, KeyState};

/// Time for a request that signs with a key while it is being replaced.
const RETIREMENT_MARGIN: Duration = Duration::from_secs(60);

/// The key that signs, in memory.
#[derive(Default)]
pub(crate) struct Signer {
    current: RwLock<Option<Arc<(String, EncodingKey)>>>,
    /// The keys of the set that the verifier was told of.
    published: Mutex<HashSet<String>>,
}

impl Signer {
    fn signs_with(&self, kid: &str) -> bool {
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        current.as_ref().is_some_and(|current| current.0 == kid)
    }

    fn set(&self, kid: String, key: EncodingKey) {
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new((kid, key)));
    }

    pub(crate) fn sign(&self, claims: &Claims) -> Result<String> {
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner).clone();
        let current = current.ok_or_else(|| Error::internal("there is no signing key"))?;
        let mut header = Header::new(Algorithm::EdDSA);
        header.kid = Some(current.0.clone());
        jsonwebtoken::encode(&header, claims, &current.1).map_err(Error::internal)
    }
}

/// One public key of the set (RFC 7517, RFC 8037).
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, schemars::JsonSchema)]
pub(crate) struct Jwk {
    kty: &'static str,
    crv: &'static str,
    #[serde(rename = "use")]
    usage: &'static str,
    alg: &'static str,
    pub kid: String,
    pub x: String,
}

#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, schemars::JsonSchema)]
pub(crate) struct Jwks {
    pub keys: Vec<Jwk>,
}

fn generate(users: &Users, now: Timestamp) -> Result<KeyRow> {
    let pair = Ed25519KeyPair::generate().map_err(Error::internal)?;
    let private = pair.to_pkcs8v1().map_err(Error::internal)?;
    Ok(KeyRow {
        kid: users.ids.uuid().as_simple().to_string(),
        public_x: URL_SAFE_NO_PAD.encode(pair.public_key().as_ref()),
        private_sealed: users.vault.seal(&URL_SAFE_NO_PAD.encode(private.as_ref()))?,
        created_at: now,
    })
}

fn open(users: &Users, key: &KeyRow) -> Result<EncodingKey> {
    let private = URL_SAFE_NO_PAD.decode(users.vault.open(&key.private_sealed)?).map_err(Error::internal)?;
    Ok(EncodingKey::from_ed_der(&private))
}

/// Reads the keys, makes those that are missing, and lets the verifier know all of them. Keys that the vault does not open
/// are another installation's: everything else that is sealed would not open either.
pub(crate) async fn load(users: &Users) -> std::result::Result<(), host::StartError> {
    let now = users.clock.now();
    let (first, second) = (generate(users, now)?, generate(users, now)?);
    let (current, all) = users
        .db
        .write(move |tx| -> Result<_> {
            if store::in_state(tx, KeyState::Current)?.is_none() {
                store::insert(tx, &first, KeyState::Current)?;
            }
            if store::in_state(tx, KeyState::Next)?.is_none() {
                store::insert(tx, &second, KeyState::Next)?;
            }
            Ok((store::in_state(tx, KeyState::Current)?, store::all(tx)?))
        })
        .await?;
    let current = current.ok_or_else(|| Error::internal("there is no signing key"))?;
    if users.vault.open(&current.private_sealed).is_err() {
        let reason = "it does not open what is in the database: that was sealed with the key of another data directory";
        return Err(host::StartError::Secret { name: "vault_key".to_owned(), reason: reason.to_owned() });
    }
    Ok(adopt(users, &current, &all)?)
}

/// Lets the verifier know the keys of the set and no others of ours, and signs with the current one.
fn adopt(users: &Users, current: &KeyRow, all: &[KeyRow]) -> Result<()> {
    let kids: HashSet<String> = all.iter().map(|key| key.kid.clone()).collect();
    let gone: Vec<String> = {
        let mut published = users.signer.published.lock().unwrap_or_else(PoisonError::into_inner);
        for key in all.iter().filter(|key| !published.contains(&key.kid)) {
            users.verifier.add_key(&key.kid, &key.public_x)?;
        }
        let gone = published.difference(&kids).cloned().collect();
        *published = kids;
        gone
    };
    gone.iter().for_each(|kid| users.verifier.remove_key(kid));
    if !users.signer.signs_with(&current.kid) {
        users.signer.set(current.kid.clone(), open(users, current)?);
    }
    Ok(())
}

/// Takes in what another replica has done to the keys.
pub(crate) async fn refresh(users: &Users) -> Result<()> {
    let (current, all, surplus) = users
        .db
        .read(|tx| -> Result<_> {
            let surplus =
                store::count_in(tx, KeyState::Current)? > 1 || store::count_in(tx, KeyState::Next)? > 1;
            Ok((store::in_state(tx, KeyState::Current)?, store::all(tx)?, surplus))
        })
        .await?;
    if surplus {
        // Two replicas began at the same time, each with keys of its own. What either has signed stays good.
        let good_until = users.clock.now().plus(users.config.longest_token_life()).plus(RETIREMENT_MARGIN);
        users
            .db
            .write(move |tx| -> Result<()> {
                store::retire_surplus(tx, KeyState::Current, good_until)?;
                Ok(store::retire_surplus(tx, KeyState::Next, good_until)?)
            })
            .await?;
    }
    let current = current.ok_or_else(|| Error::internal("there is no signing key"))?;
    adopt(users, &current, &all)
}

/// The next key signs from now on, another next one is published, the one before stays until its tokens have died.
pub(crate) async fn rotate(users: &Users) -> Result<Jwks> {
    let fresh = generate(users, users.clock.now())?;
    // Known here before it can be in the published set; taken back where nothing comes of it.
    users.verifier.add_key(&fresh.kid, &fresh.public_x)?;
    let (this, kid) = (users.clone(), fresh.kid.clone());
    let rotated = users
        .db
        .write(move |tx| -> Result<()> {
            let now = this.clock.now();
            let missing = || Error::internal("a signing key is missing");
            let current = store::in_state(tx, KeyState::Current)?.ok_or_else(missing)?;
            let next = store::in_state(tx, KeyState::Next)?.ok_or_else(missing)?;
            let known_at = next.created_at.plus(Duration::from_secs(this.config.jwks_cache_s));
            if known_at > now {
                let wait = known_at.since(now).as_millis().div_ceil(1_000);
                return Err(Error::conflict(
                    "next_key_too_new",
                    "the next key is not yet known to everybody who keeps the key set",
                )
                .with_retry_after(u32::try_from(wait).unwrap_or(u32::MAX)));
            }
            let signing = open(&this, &next)?;
            store::retire(
                tx,
                &current.kid,
                now.plus(this.config.longest_token_life()).plus(RETIREMENT_MARGIN),
            )?;
            store::promote(tx, &next.kid)?;
            store::insert(tx, &fresh, KeyState::Next)?;
            let (kid, then) = (next.kid, this.clone());
            tx.after_commit(move || {
                tracing::info!(%kid, "a new key signs access tokens");
                then.signer.set(kid, signing);
            });
            Ok(())
        })
        .await;
    if let Err(error) = rotated {
        users.verifier.remove_key(&kid);
        return Err(error);
    }
    key_set(users).await
}

/// All keys whose tokens are or will be good.
pub(crate) async fn key_set(users: &Users) -> Result<Jwks> {
    let all = users.db.read(store::all).await?;
    let public = |key: KeyRow| Jwk {
        kty: "OKP",
        crv: "Ed25519",
        usage: "sig",
        alg: "EdDSA",
        kid: key.kid,
        x: key.public_x,
    };
    Ok(Jwks { keys: all.into_iter().map(public).collect() })
}
