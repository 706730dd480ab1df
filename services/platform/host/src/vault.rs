//! Sealing of personal data and one-time codes (AES-256-GCM), and blind indexes to find them by (HMAC-SHA-256).
//!
//! Invariant: what is sealed is in clear only in memory and on its way to the person whom it concerns.

use std::collections::HashMap;
use std::sync::Arc;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use aws_lc_rs::{digest, hmac};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use kernel::Error;

struct Keys {
    current: String,
    sealing: HashMap<String, LessSafeKey>,
    index: hmac::Key,
}

/// Seals and opens. Cheap to clone.
#[derive(Clone)]
pub struct Vault {
    keys: Arc<Keys>,
    random: SystemRandom,
}

impl Vault {
    /// `secret` is any text with enough entropy; the keys are derived from it.
    pub fn new(secret: &str) -> Result<Self, Error> {
        let derive = |purpose: &str| {
            let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
            hmac::sign(&key, purpose.as_bytes())
        };
        let sealing = UnboundKey::new(&AES_256_GCM, derive("rtc vault sealing v1").as_ref())
            .map_err(Error::internal)?;
        let index = hmac::Key::new(hmac::HMAC_SHA256, derive("rtc vault index v1").as_ref());
        let keys = Keys {
            current: "k1".to_owned(),
            sealing: HashMap::from([("k1".to_owned(), LessSafeKey::new(sealing))]),
            index,
        };
        Ok(Self { keys: Arc::new(keys), random: SystemRandom::new() })
    }

    /// `<key id>.<nonce and ciphertext, base64url>`.
    pub fn seal(&self, clear: &str) -> Result<String, Error> {
        let key = &self.keys.sealing[&self.keys.current];
        let mut nonce = [0; NONCE_LEN];
        self.random.fill(&mut nonce).map_err(Error::internal)?;
        let mut bytes = clear.as_bytes().to_vec();
        key.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::empty(), &mut bytes)
            .map_err(Error::internal)?;
        let sealed = [nonce.as_slice(), &bytes].concat();
        Ok(format!("{}.{}", self.keys.current, URL_SAFE_NO_PAD.encode(sealed)))
    }

    pub fn open(&self, sealed: &str) -> Result<String, Error> {
        let refused = |_| Error::internal("a sealed value cannot be opened");
        let (key_id, text) = sealed.split_once('.').ok_or(()).map_err(refused)?;
        let key = self.keys.sealing.get(key_id).ok_or(()).map_err(refused)?;
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| ()).map_err(refused)?;
        let (nonce, ciphertext) = bytes.split_at_checked(NONCE_LEN).ok_or(()).map_err(refused)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| ()).map_err(refused)?;
        let mut ciphertext = ciphertext.to_vec();
        let clear =
            key.open_in_place(nonce, Aad::empty(), &mut ciphertext).map_err(|_| ()).map_err(refused)?;
        String::from_utf8(clear.to_vec()).map_err(|_| ()).map_err(refused)
    }

    /// A blind index: the same text gives the same index, which tells nothing of the text.
    pub fn index(&self, purpose: &str, clear: &str) -> String {
        let mut context = hmac::Context::with_key(&self.keys.index);
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
