//! Pictures: judged by their content and named after it.
//!
//! Invariants: a picture's name is the SHA-256 of its content, and a number where the names before it were cleared away, so
//! what it names never changes, and a name from outside that has another form names nothing; a picture is in the store of
//! objects before anybody hears its name.

use aws_lc_rs::digest;
use bytes::Bytes;
use kernel::Result;
use objects::{Key, Objects};

/// What a picture can be. Vector formats carry scripts and are not among them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ImageKind {
    Jpeg,
    Png,
    Webp,
    Gif,
}

impl ImageKind {
    const ALL: [ImageKind; 4] = [ImageKind::Jpeg, ImageKind::Png, ImageKind::Webp, ImageKind::Gif];

    /// By the first bytes; what the sender says of it does not count.
    pub fn sniff(bytes: &[u8]) -> Option<Self> {
        match bytes {
            [0xff, 0xd8, 0xff, ..] => Some(ImageKind::Jpeg),
            [0x89, b'P', b'N', b'G', b'\r', b'\n', 0x1a, b'\n', ..] => Some(ImageKind::Png),
            [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => Some(ImageKind::Webp),
            [b'G', b'I', b'F', b'8', b'7' | b'9', b'a', ..] => Some(ImageKind::Gif),
            _ => None,
        }
    }

    const fn extension(self) -> &'static str {
        match self {
            ImageKind::Jpeg => "jpg",
            ImageKind::Png => "png",
            ImageKind::Webp => "webp",
            ImageKind::Gif => "gif",
        }
    }

    pub const fn media_type(self) -> &'static str {
        match self {
            ImageKind::Jpeg => "image/jpeg",
            ImageKind::Png => "image/png",
            ImageKind::Webp => "image/webp",
            ImageKind::Gif => "image/gif",
        }
    }
}

/// `<64 hexadecimal digits>.<extension>`, or `<64 hexadecimal digits>-<number from 1 on>.<extension>`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PictureName {
    text: String,
    kind: ImageKind,
}

const HASH_DIGITS: usize = 64;

impl PictureName {
    pub fn of(kind: ImageKind, bytes: &[u8]) -> Self {
        let hash = digest::digest(&digest::SHA256, bytes);
        let hex: String = hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        Self { text: format!("{hex}.{}", kind.extension()), kind }
    }

    /// `None` for everything that [`PictureName::of`] cannot have made.
    pub fn parse(text: &str) -> Option<Self> {
        let (stem, extension) = text.split_once('.')?;
        let (hash, number) = stem.split_at_checked(HASH_DIGITS)?;
        let is_hash = hash.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        let is_number = number.is_empty() || Self::number(number).is_some();
        let kind = ImageKind::ALL.into_iter().find(|kind| kind.extension() == extension)?;
        (is_hash && is_number).then(|| Self { text: text.to_owned(), kind })
    }

    /// `-7`, in the one way in which it is written.
    fn number(text: &str) -> Option<u32> {
        let digits = text.strip_prefix('-')?;
        let number: u32 = digits.parse().ok()?;
        (number > 0 && number.to_string() == digits).then_some(number)
    }

    /// The name for the same content where this one is not to be used any more.
    pub fn next(&self) -> Self {
        let stem = self.text.split_once('.').map_or("", |(stem, _)| stem);
        let (hash, number) = stem.split_at_checked(HASH_DIGITS).unwrap_or((stem, ""));
        let number = Self::number(number).unwrap_or(0).saturating_add(1);
        Self { text: format!("{hash}-{number}.{}", self.kind.extension()), kind: self.kind }
    }

    pub fn as_str(&self) -> &str {
        &self.text
    }

    pub fn kind(&self) -> ImageKind {
        self.kind
    }

    /// Where it is in the store: `<first two digits>/<name>`.
    pub fn key(&self) -> Result<Key> {
        Key::new(format!("{}/{}", &self.text[..2], self.text)).map_err(kernel::Error::internal)
    }
}

/// Keeps a picture durably.
pub async fn keep(objects: &dyn Objects, name: &PictureName, bytes: Bytes) -> Result<()> {
    Ok(objects.put(&name.key()?, bytes, name.kind().media_type()).await?)
}

pub async fn find(objects: &dyn Objects, name: &PictureName) -> Result<Option<Bytes>> {
    Ok(objects.get(&name.key()?).await?.map(|object| object.bytes))
}
