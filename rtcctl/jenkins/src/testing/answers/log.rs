//! What a build writes, piece by piece, as Jenkins sends it.

use axum::http::header;
use axum::response::{IntoResponse, Response};

use super::super::Build;

impl Build {
    /// One piece more, unless somebody is asked something. Notes are in the stored log and not in what is sent.
    pub(super) fn log(&mut self, query: &str, sends_notes: bool, is_cut: bool) -> Response {
        let mut start: usize = query.trim_start_matches("start=").parse().unwrap_or(0);
        if self.inputs.is_empty() {
            match self.pending.pop_front() {
                Some(piece) => self.written.extend(piece),
                None => self.result = Some(self.ends_as),
            }
        }
        if start > self.written.len() {
            start = 0;
        }
        let mut sent = match sends_notes {
            true => self.written[start..].to_vec(),
            false => without_notes(&self.written[start..]),
        };
        // It says how much there is, and breaks off before.
        let length = sent.len() + usize::from(is_cut);
        if is_cut {
            sent.truncate(sent.len() / 2);
        }
        let size = self.written.len().to_string();
        let mut answer =
            ([("X-Text-Size", size), ("Content-Type", "text/plain;charset=UTF-8".to_owned())], sent)
                .into_response();
        if is_cut {
            answer.headers_mut().insert(header::CONTENT_LENGTH, header::HeaderValue::from(length));
        }
        if self.result.is_none() {
            answer.headers_mut().insert("X-More-Data", header::HeaderValue::from_static("true"));
        }
        answer
    }
}

/// Console notes: `ESC [8mha:` up to `ESC [0m`.
fn without_notes(bytes: &[u8]) -> Vec<u8> {
    let (begin, end) = (b"\x1b[8mha:".as_slice(), b"\x1b[0m".as_slice());
    let mut plain = Vec::new();
    let mut rest = bytes;
    while let Some(at) = find(rest, begin) {
        plain.extend_from_slice(&rest[..at]);
        let after = find(&rest[at..], end).map_or(rest.len(), |to| at + to + end.len());
        rest = &rest[after..];
    }
    plain.extend_from_slice(rest);
    plain
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}
