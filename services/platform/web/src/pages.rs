//! Pages by key (R3): an opaque signed cursor that says after which row the next page begins.
//!
//! Invariants: a cursor works only for the list and the filters that it was made for, and cannot be forged; it goes on
//! working while the key that signed it is among those that are given.

use std::sync::{Arc, PoisonError, RwLock};

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use kernel::Error;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

pub const LIMIT_DEFAULT: u32 = 50;
pub const LIMIT_MAX: u32 = 250;
const MAC_LEN: usize = 16;

/// One page of a list.
#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Page<T> {
    pub data: Vec<T>,
    /// Give it back as `cursor` for the next page; absent on the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<String>,
}

/// The query parameters of every list.
#[derive(Debug, Clone, Default, Deserialize, schemars::JsonSchema)]
pub struct PageParams {
    /// 1–250, default 50.
    pub limit: Option<u32>,
    pub cursor: Option<String>,
}

impl PageParams {
    pub fn limit(&self) -> Result<u32, Error> {
        self.limit_or(LIMIT_DEFAULT)
    }

    pub fn limit_or(&self, default: u32) -> Result<u32, Error> {
        match self.limit {
            None => Ok(default),
            Some(limit) if (1..=LIMIT_MAX).contains(&limit) => Ok(limit),
            Some(_) => Err(Error::field("/limit", "out_of_range", format!("limit is 1 to {LIMIT_MAX}"))),
        }
    }
}

/// Signs and reads cursors. Clones share their keys.
#[derive(Clone)]
pub struct Pages {
    keys: Arc<RwLock<Arc<[hmac::Key]>>>,
}

fn mac(key: &hmac::Key, scope: &str, payload: &[u8]) -> hmac::Tag {
    let mut context = hmac::Context::with_key(key);
    context.update(scope.as_bytes());
    context.update(&[0]);
    context.update(payload);
    context.sign()
}

impl Pages {
    pub fn new(key: &[u8]) -> Self {
        Self { keys: Arc::new(RwLock::new(Arc::from([hmac::Key::new(hmac::HMAC_SHA256, key)]))) }
    }

    /// From now on the first key signs, and what any of them has signed is good. Without a key nothing changes.
    pub fn rotate(&self, keys: &[impl AsRef<[u8]>]) {
        if keys.is_empty() {
            return;
        }
        let keys = keys.iter().map(|key| hmac::Key::new(hmac::HMAC_SHA256, key.as_ref())).collect();
        *self.keys.write().unwrap_or_else(PoisonError::into_inner) = keys;
    }

    fn keys(&self) -> Arc<[hmac::Key]> {
        self.keys.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// `scope` names the list with its filters.
    pub fn encode<K: Serialize>(&self, scope: &str, last: &K) -> Result<String, Error> {
        let mut bytes = serde_json::to_vec(last).map_err(Error::internal)?;
        let mac = mac(&self.keys()[0], scope, &bytes);
        bytes.extend_from_slice(&mac.as_ref()[..MAC_LEN]);
        Ok(URL_SAFE_NO_PAD.encode(bytes))
    }

    pub fn decode<K: DeserializeOwned>(&self, scope: &str, cursor: Option<&str>) -> Result<Option<K>, Error> {
        let Some(cursor) = cursor else { return Ok(None) };
        let refused =
            || Error::field("/cursor", "cursor_invalid", "this cursor does not belong to this list");
        let bytes = URL_SAFE_NO_PAD.decode(cursor).map_err(|_| refused())?;
        let (payload, shown) =
            bytes.split_at_checked(bytes.len().wrapping_sub(MAC_LEN)).ok_or_else(refused)?;
        let is_of = |key: &hmac::Key| {
            let expected = mac(key, scope, payload);
            aws_lc_rs::constant_time::verify_slices_are_equal(&expected.as_ref()[..MAC_LEN], shown).is_ok()
        };
        if !self.keys().iter().any(is_of) {
            return Err(refused());
        }
        serde_json::from_slice(payload).map(Some).map_err(|_| refused())
    }

    /// Makes a page of rows that were read with `limit + 1`: the one too many says that there is a next page.
    pub fn page<T, K: Serialize>(
        &self,
        scope: &str,
        limit: u32,
        mut rows: Vec<T>,
        key: impl Fn(&T) -> K,
    ) -> Result<Page<T>, Error> {
        let limit = limit as usize;
        let more = rows.len() > limit;
        rows.truncate(limit);
        let next_cursor = match rows.last() {
            Some(last) if more => Some(self.encode(scope, &key(last))?),
            _ => None,
        };
        Ok(Page { data: rows, next_cursor })
    }
}
