//! The name of an image that cannot come to mean another one.

use std::fmt;

/// `repository@sha256:…`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    repository: String,
    digest: String,
}

/// Why a text names no image that stays the same.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotPinned {
    #[error("{0:?} has a tag and no digest: a tag moves")]
    Tag(String),
    #[error("{0:?} has neither tag nor digest")]
    Bare(String),
    #[error("{0:?} has a digest that is not sha256: and 64 hexadecimal digits in lower case")]
    Digest(String),
    #[error("{0:?} has no repository before its digest, or one that no registry has")]
    Repository(String),
}

impl Image {
    /// Reads a reference. A tag beside the digest is refused too: readers take it for what counts.
    pub fn parse(text: &str) -> Result<Self, NotPinned> {
        let Some((repository, digest)) = text.split_once('@') else {
            let last = text.rsplit('/').next().unwrap_or(text);
            return Err(match last.contains(':') {
                true => NotPinned::Tag(text.to_owned()),
                false => NotPinned::Bare(text.to_owned()),
            });
        };
        let hex = digest.strip_prefix("sha256:").unwrap_or_default();
        let is_hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        if hex.len() != 64 || !hex.bytes().all(is_hex) {
            return Err(NotPinned::Digest(text.to_owned()));
        }
        let good = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"._-/:".contains(&byte);
        let path = repository.rsplit('/').next().unwrap_or_default();
        if path.is_empty() || path.contains(':') || !repository.bytes().all(good) {
            return Err(NotPinned::Repository(text.to_owned()));
        }
        Ok(Self { repository: repository.to_owned(), digest: digest.to_owned() })
    }

    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// `sha256:…`.
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// The beginning of the digest: what names and labels take.
    pub fn short(&self) -> &str {
        &self.digest["sha256:".len()..][..12]
    }
}

impl fmt::Display for Image {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.repository, self.digest)
    }
}
