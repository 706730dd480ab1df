//! The name of an object.

use std::fmt;

/// The text is not a key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a key of an object: {0:?}")]
pub struct KeyError(String);

const BYTES_MAX: usize = 512;

/// Segments of `A-Z a-z 0-9 . _ -` with `/` between them; no segment begins with a dot. At most 512 bytes.
///
/// No key is the directory of another (`a` and `a/b`).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(String);

fn is_segment(text: &str) -> bool {
    let is_fit = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    !text.is_empty() && text.len() <= 255 && !text.starts_with('.') && text.bytes().all(is_fit)
}

impl Key {
    pub fn new(text: impl Into<String>) -> Result<Self, KeyError> {
        let text = text.into();
        if text.len() <= BYTES_MAX && text.split('/').all(is_segment) {
            return Ok(Self(text));
        }
        Err(KeyError(text))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
