//! Sealing of personal data and one-time codes (AES-256-GCM), and blind indexes to find them by (HMAC-SHA-256).
//!
//! Invariants:
//! - what is sealed is in clear only in memory and on its way to the person whom it concerns;
//! - what is sealed says with which key, and opens for as long as that key is among those that are given;
//! - an index stays the same over every rotation of the sealing keys: it has a key of its own.

use std::sync::{Arc, PoisonError, RwLock};

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use aws_lc_rs::{digest, hmac};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use kernel::Error;

/// How values are sealed: by AES-256-GCM, with a key that is named.
const SCHEME: &str = "k1";
const KEY_ID_BYTES: usize = 6;

struct SealingKey {
    id: String,
    key: LessSafeKey,
}

struct Keys {
    /// The first one seals; never empty.
    sealing: Arc<[SealingKey]>,
    index: hmac::Key,
}

/// Seals and opens. Cheap to clone; clones share their keys.
#[derive(Clone)]
pub struct Vault {
    keys: Arc<RwLock<Arc<Keys>>>,
    random: SystemRandom,
}

fn derive(secret: &str, purpose: &str) -> hmac::Tag {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes()), purpose.as_bytes())
}

impl SealingKey {
    fn of(secret: &str) -> Result<Self, Error> {
        let key = UnboundKey::new(&AES_256_GCM, derive(secret, "rtc vault sealing v1").as_ref())
            .map_err(Error::internal)?;
        let id = URL_SAFE_NO_PAD.encode(&derive(secret, "rtc vault key id v1").as_ref()[..KEY_ID_BYTES]);
        Ok(Self { id, key: LessSafeKey::new(key) })
    }

    fn open(&self, text: &str) -> Option<String> {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        let (nonce, ciphertext) = bytes.split_at_checked(NONCE_LEN)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let mut ciphertext = ciphertext.to_vec();
        let clear = self.key.open_in_place(nonce, Aad::empty(), &mut ciphertext).ok()?;
        String::from_utf8(clear.to_vec()).ok()
    }
}

fn sealing_keys(secrets: &[impl AsRef<str>]) -> Result<Arc<[SealingKey]>, Error> {
    if secrets.is_empty() {
        return Err(Error::internal("a vault has at least one key"));
    }
    secrets.iter().map(|secret| SealingKey::of(secret.as_ref())).collect()
}

impl Vault {
    /// `secret` is any text with enough entropy; the keys are derived from it.
    pub fn new(secret: &str) -> Result<Self, Error> {
        Self::with_keys(&[secret], secret)
    }

    /// The first of `secrets` seals and all of them open; indexes are made with `index`.
    pub fn with_keys(secrets: &[impl AsRef<str>], index: &str) -> Result<Self, Error> {
        let index = hmac::Key::new(hmac::HMAC_SHA256, derive(index, "rtc vault index v1").as_ref());
        let keys = Keys { sealing: sealing_keys(secrets)?, index };
        Ok(Self { keys: Arc::new(RwLock::new(Arc::new(keys))), random: SystemRandom::new() })
    }

    /// From now on the first of `secrets` seals and all of them open. Where none of the present ones is among them
    /// nothing would open any more: that is refused.
    pub fn rotate(&self, secrets: &[impl AsRef<str>]) -> Result<(), Error> {
        let sealing = sealing_keys(secrets)?;
        let mut keys = self.keys.write().unwrap_or_else(PoisonError::into_inner);
        if !sealing.iter().any(|new| keys.sealing.iter().any(|old| old.id == new.id)) {
            return Err(Error::internal(
                "none of the keys in use is among the new ones: what is sealed could not be opened",
            ));
        }
        *keys = Arc::new(Keys { sealing, index: keys.index.clone() });
        Ok(())
    }

    fn keys(&self) -> Arc<Keys> {
        self.keys.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// `k1.<key id>.<nonce and ciphertext, base64url>`.
    pub fn seal(&self, clear: &str) -> Result<String, Error> {
        let keys = self.keys();
        let SealingKey { id, key } = &keys.sealing[0];
        let mut nonce = [0; NONCE_LEN];
        self.random.fill(&mut nonce).map_err(Error::internal)?;
        let mut bytes = clear.as_bytes().to_vec();
        key.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::empty(), &mut bytes)
            .map_err(Error::internal)?;
        let sealed = [nonce.as_slice(), &bytes].concat();
        Ok(format!("{SCHEME}.{id}.{}", URL_SAFE_NO_PAD.encode(sealed)))
    }

    pub fn open(&self, sealed: &str) -> Result<String, Error> {
        let keys = self.keys();
        let clear = match sealed_by(sealed) {
            Some((Some(id), text)) => {
                keys.sealing.iter().find(|key| key.id == id).and_then(|key| key.open(text))
            }
            // Sealed before keys had names.
            Some((None, text)) => keys.sealing.iter().find_map(|key| key.open(text)),
            None => None,
        };
        clear.ok_or_else(|| Error::internal("a sealed value cannot be opened"))
    }

    /// What names the key that seals.
    pub fn key_id(&self) -> String {
        self.keys().sealing[0].id.clone()
    }

    /// Whether former keys are still there: values may be sealed with them.
    pub fn has_former_keys(&self) -> bool {
        self.keys().sealing.len() > 1
    }

    /// What is sealed, with the present key; `None` where it is already.
    pub fn reseal(&self, sealed: &str) -> Result<Option<String>, Error> {
        match sealed_by(sealed) {
            Some((Some(id), _)) if id == self.keys().sealing[0].id => Ok(None),
            _ => self.seal(&self.open(sealed)?).map(Some),
        }
    }

    /// A blind index: the same text gives the same index, which tells nothing of the text.
    pub fn index(&self, purpose: &str, clear: &str) -> String {
        let mut context = hmac::Context::with_key(&self.keys().index);
        context.update(purpose.as_bytes());
        context.update(&[0]);
        context.update(clear.as_bytes());
        URL_SAFE_NO_PAD.encode(context.sign())
    }

    /// Random text for tokens: `bytes` bytes, base64url.
    pub fn random_token(&self, bytes: usize) -> Result<String, Error> {
        let mut buffer = vec![0; bytes];
        self.random.fill(&mut buffer).map_err(Error::internal)?;
        Ok(URL_SAFE_NO_PAD.encode(buffer))
    }

    /// A random code of `length` letters and digits (A–Z, 0–9), each equally likely.
    pub fn random_code(&self, length: usize) -> Result<String, Error> {
        const LETTERS: &[u8; 36] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
        let mut code = String::with_capacity(length);
        while code.len() < length {
            let mut byte = [0];
            self.random.fill(&mut byte).map_err(Error::internal)?;
            // 252 is the largest multiple of 36 in a byte: above it some letters would be more likely.
            if byte[0] < 252 {
                code.push(char::from(LETTERS[usize::from(byte[0] % 36)]));
            }
        }
        Ok(code)
    }

    /// SHA-256 of a random token, base64url: how tokens are stored.
    pub fn hash_token(token: &str) -> String {
        URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, token.as_bytes()))
    }
}

/// The key's id, where there is one, and what it has sealed.
fn sealed_by(sealed: &str) -> Option<(Option<&str>, &str)> {
    let rest = sealed.strip_prefix(SCHEME)?.strip_prefix('.')?;
    Some(match rest.split_once('.') {
        Some((id, text)) => (Some(id), text),
        None => (None, rest),
    })
}
