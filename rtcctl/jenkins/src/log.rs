//! The log of a build, piece by piece.
//!
//! `logText/progressiveText?start=N`: the next offset is the header `X-Text-Size` (of the stored log, not of what was
//! sent: notes are taken out), there will be more while `X-More-Data: true` (`LargeText`, Stapler). A start behind the
//! end begins again at 0. A piece may end within a character.

use crate::client::body;
use crate::{Client, JobName, Result};

/// Where a reader of a log is.
#[derive(Debug, Clone, Default)]
pub struct Log {
    /// Within the log as Jenkins keeps it.
    offset: u64,
    /// The begin of a character whose end is in the next piece.
    begun: Vec<u8>,
}

/// What came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chunk {
    pub text: String,
    /// The build is still writing.
    pub has_more: bool,
    /// The log is shorter than what was read of it already, and this begins it again: somebody replaced it.
    pub began_again: bool,
}

impl Log {
    /// A log from an offset that an earlier reader had come to.
    pub fn from(offset: u64) -> Self {
        Self { offset, begun: Vec::new() }
    }

    /// What to begin with when this reader is gone; nothing before it is lost.
    pub fn offset(&self) -> u64 {
        self.offset - self.begun.len() as u64
    }

    fn take(&mut self, bytes: &[u8]) -> String {
        let mut all = std::mem::take(&mut self.begun);
        all.extend_from_slice(bytes);
        let whole = all.len() - unfinished(&all);
        self.begun = all.split_off(whole);
        String::from_utf8_lossy(&all).into_owned()
    }
}

/// How many bytes at the end are the begin of a character.
fn unfinished(bytes: &[u8]) -> usize {
    for back in 1..=bytes.len().min(3) {
        let byte = bytes[bytes.len() - back];
        let length = match byte {
            0b1100_0000..=0b1101_1111 => 2,
            0b1110_0000..=0b1110_1111 => 3,
            0b1111_0000..=0b1111_0111 => 4,
            0b1000_0000..=0b1011_1111 => continue,
            _ => 1,
        };
        return if length > back { back } else { 0 };
    }
    0
}

impl Client {
    /// The next piece of a log. Nothing new is an empty text.
    pub async fn log(&self, job: &JobName, number: u64, log: &mut Log) -> Result<Chunk> {
        let path = format!("{}/{number}/logText/progressiveText?start={}", job.path(), log.offset);
        // Another Accept makes newer ones answer in parts.
        let answer = self.fetch(&path, &format!("build {number} of {job}"), "text/plain").await?;
        let header = |name: &str| answer.headers().get(name).and_then(|value| value.to_str().ok());
        let has_more = header("x-more-data") == Some("true");
        let size: Option<u64> = header("x-text-size").and_then(|size| size.parse().ok());
        let url = answer.url().clone();
        let bytes = body(answer, &url).await?;
        let size = size.unwrap_or(log.offset + bytes.len() as u64);
        let began_again = size < log.offset;
        if began_again {
            log.begun.clear();
        }
        log.offset = size;
        let mut text = log.take(&bytes);
        if !has_more && !log.begun.is_empty() {
            // The rest of that character will never come.
            text.push(char::REPLACEMENT_CHARACTER);
            log.begun.clear();
        }
        Ok(Chunk { text, has_more, began_again })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_character_that_is_cut_anywhere_comes_whole() {
        let text = "ok ä 한 🛒 end";
        for piece in 1..text.len() {
            let mut log = Log::default();
            let read: String = text.as_bytes().chunks(piece).map(|bytes| log.take(bytes)).collect();
            assert_eq!((read.as_str(), log.begun.len()), (text, 0), "pieces of {piece}");
        }
    }

    #[test]
    fn bytes_that_are_no_text_are_shown_as_such_and_hold_nothing_up() {
        let mut log = Log::default();
        assert_eq!(log.take(b"a\xff\x80b"), "a\u{fffd}\u{fffd}b");
        assert_eq!(log.take(b"\x80\x80\x80\x80"), "\u{fffd}\u{fffd}\u{fffd}\u{fffd}");
    }
}
