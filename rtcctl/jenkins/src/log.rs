//! The log of a build, piece by piece.
//!
//! `logText/progressiveText?start=N`: the next offset is the header `X-Text-Size` (of the stored log, not of what was
//! sent: notes are taken out), there will be more while `X-More-Data: true` (`LargeText`, Stapler). A start behind the
//! end begins again at 0. A piece may end within a character. Notes of the console are taken out here too: a Jenkins
//! behind some proxies and plug-ins sends them.

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
        let (mut plain, held) = without_notes(&all);
        self.begun = match held.is_empty() {
            true => plain.split_off(plain.len() - unfinished(&plain)),
            false => held.to_vec(),
        };
        String::from_utf8_lossy(&plain).into_owned()
    }

    /// The log is over: what was begun will never be finished.
    fn end(&mut self) -> String {
        let begun = std::mem::take(&mut self.begun);
        match begun.first() {
            None | Some(0x1b) => String::new(),
            Some(_) => char::REPLACEMENT_CHARACTER.to_string(),
        }
    }
}

/// `ConsoleNote`: Jenkins marks what it adds to a line with `ESC [8mha:`, base64, `ESC [0m`.
const NOTE_BEGINS: &[u8] = b"\x1b[8mha:";
const NOTE_ENDS: &[u8] = b"\x1b[0m";
/// No note is longer; what is is no note.
const NOTE_BYTES_MAX: usize = 256 * 1024;

/// The bytes without notes, and the begin of a note that is not whole yet.
fn without_notes(bytes: &[u8]) -> (Vec<u8>, &[u8]) {
    let mut plain = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some(at) = rest.iter().position(|byte| *byte == 0x1b) {
        let (before, from) = rest.split_at(at);
        plain.extend_from_slice(before);
        let looks_like_one = from.iter().zip(NOTE_BEGINS).all(|(byte, wanted)| byte == wanted);
        let end = find(from, NOTE_ENDS);
        match (looks_like_one, end) {
            (true, Some(end)) if from.len() >= NOTE_BEGINS.len() && end >= NOTE_BEGINS.len() => {
                rest = &from[end + NOTE_ENDS.len()..]
            }
            (true, None) if from.len() <= NOTE_BYTES_MAX => return (plain, from),
            _ => {
                plain.push(0x1b);
                rest = &from[1..];
            }
        }
    }
    plain.extend_from_slice(rest);
    (plain, &[])
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
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
        if !has_more {
            text.push_str(&log.end());
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
    fn notes_are_taken_out_wherever_they_are_cut_and_colours_stay() {
        let raw = "\x1b[8mha:////4AAAAB+LCAAA=\x1b[0mStarted by ann\n\x1b[31mä\x1b[0m \x1b[8mx\x1b[8mha:AA\x1b[0mend\x1b[1m";
        let plain = "Started by ann\n\x1b[31mä\x1b[0m \x1b[8mxend\x1b[1m";
        for piece in 1..raw.len() {
            let mut log = Log::default();
            let read: String = raw.as_bytes().chunks(piece).map(|bytes| log.take(bytes)).collect();
            assert_eq!(read, plain, "pieces of {piece}");
        }
        let mut log = Log::default();
        assert_eq!(log.take(b"a\x1b[8mha:never ended"), "a");
        assert_eq!(log.end(), "");
    }

    #[test]
    fn bytes_that_are_no_text_are_shown_as_such_and_hold_nothing_up() {
        let mut log = Log::default();
        assert_eq!(log.take(b"a\xff\x80b"), "a\u{fffd}\u{fffd}b");
        assert_eq!(log.take(b"\x80\x80\x80\x80"), "\u{fffd}\u{fffd}\u{fffd}\u{fffd}");
    }
}
