//! Headers: their values have blanks in them, and end with the line where the name began it.
//!
//! Invariants: in the midst of a line a header hides words that cannot be a sentence, and never the rest of the line; what
//! was looked at for an end is behind it, so that no letter is looked at again for the next header.

use crate::value::{Name, end_of_quoted, end_of_value, ends_value, is_blank, until, without_marks};

/// How the value of a header begins that is no secret by itself; what follows these is one word only for `is_scheme`.
const SCHEMES: [&str; 9] = [
    "token",
    "apikey",
    "api-key",
    "key",
    "digest",
    "negotiate",
    "ntlm",
    "aws4-hmac-sha256",
    "sharedaccesssignature",
];

/// Whether a header has this name.
pub(crate) fn is_one(word: &str) -> bool {
    let ends = |known: &str| {
        let begin = word.len().checked_sub(known.len());
        begin.and_then(|begin| word.get(begin..)).is_some_and(|end| end.eq_ignore_ascii_case(known))
    };
    ends("authorization") || ends("cookie")
}

/// Whether a word is one that people write, rather than a credential.
pub(crate) fn is_said(word: &str) -> bool {
    word.len() < 8 || is_lower(word)
}

fn is_lower(word: &str) -> bool {
    word.bytes().all(|byte| byte.is_ascii_lowercase())
}

/// Where the line ends that the name began: a real one, one that is written `\n`, or what stands in quotes.
pub(crate) fn end_of_line(name: &Name<'_>, begins: &str) -> Option<usize> {
    let before = name.before.trim_end_matches([' ', '\t', '<', '>', '-']);
    let marks = &name.before[before.len()..];
    if before.is_empty() || before.ends_with('\n') {
        return Some(until(begins, |letter| letter == '\n'));
    }
    let has_letter = marks.is_empty() && before.ends_with('\\') && name.word.starts_with(['n', 'r', 't']);
    if has_letter || before.ends_with("\\n") {
        return Some(end_of_written_line(begins));
    }
    // Behind a blank it closes what stands before it.
    let quote = before.bytes().next_back().filter(|byte| b"\"'`".contains(byte));
    let quote = quote.filter(|_| !marks.starts_with(is_blank))?;
    let before = &before[..before.len() - 1];
    let level = before.len() - before.trim_end_matches('\\').len();
    let text = &begins[..end_of_quoted(begins, quote, level)];
    Some(text.find('\n').unwrap_or(text.len()))
}

/// Up to the next `\n` or `\r`, or to the end of the document's text.
fn end_of_written_line(text: &str) -> usize {
    let bytes = text.as_bytes();
    let is_end = |at: usize| match bytes[at] {
        b'\n' => true,
        b'"' => at == 0 || bytes[at - 1] != b'\\',
        b'\\' => matches!(bytes.get(at + 1), Some(b'n' | b'r')),
        _ => false,
    };
    let end = (0..bytes.len()).find(|at| is_end(*at)).unwrap_or(bytes.len());
    text[..end].trim_end_matches('\\').len()
}

/// The value of a header: its first word of letters and digits, and where the next one begins.
pub(crate) struct Words<'a> {
    pub begins: &'a str,
    pub first: usize,
    pub second: usize,
}

impl Words<'_> {
    fn has_scheme(&self) -> bool {
        let first = &self.begins[..self.first];
        self.second > self.first && SCHEMES.iter().any(|scheme| first.eq_ignore_ascii_case(scheme))
    }

    /// All of a line that ends there, but for a scheme that is known.
    pub fn of_line(&self, end: usize) -> (usize, usize) {
        let end = self.begins[..end].trim_end().len();
        (if self.second < end && self.has_scheme() { self.second } else { 0 }, end)
    }

    /// What stands behind its first word, where a blank is between them.
    fn behind(&self) -> &str {
        let behind = &self.begins[self.second..];
        let len = if self.first > 0 && self.second > self.first { end_of_value(behind) } else { 0 };
        &behind[..len]
    }

    /// `authorization: server message`, `authorization: token expired`.
    pub fn is_sentence(&self) -> bool {
        let behind = self.behind();
        let is_behind = self.has_scheme() && !behind.is_empty();
        let word = if is_behind { behind } else { &self.begins[..end_of_value(self.begins)] };
        let word = word.trim_end_matches(':');
        !word.is_empty() && is_lower(word)
    }

    /// Pairs, what stands behind a scheme, and one word otherwise.
    pub fn within_a_line(&self) -> (usize, usize) {
        let behind = self.behind();
        if self.has_scheme() && !behind.is_empty() {
            return (self.second, self.second + end_of_pairs(&self.begins[self.second..]));
        }
        // A scheme that is not known.
        if !is_said(behind) {
            return (0, self.second + behind.len());
        }
        (0, end_of_pairs(self.begins))
    }
}

/// Where pairs end that follow each other: `a=1; b="x y", c=2`.
fn end_of_pairs(text: &str) -> usize {
    let (mut at, mut end) = (0, 0);
    loop {
        let piece = &text[at..];
        let mut len = until(piece, ends_value);
        while piece[..len].trim_end_matches('\\').ends_with('=')
            && let Some(value) = piece[len..].strip_prefix('"')
        {
            let closing = until(value, |letter| letter == '"' || letter == '\n');
            let Some(behind) = value[closing..].strip_prefix('"') else { break };
            len = piece.len() - behind.len() + until(behind, ends_value);
        }
        let own = without_marks(&piece[..len]).len();
        if own > 0 {
            end = at + own;
        }
        let next = piece[len..].trim_start_matches(is_blank);
        let is_more = piece[..len].ends_with([';', ',']) && next.len() < piece.len() - len;
        if !is_more || !next[..until(next, ends_value)].contains('=') {
            return end;
        }
        at = text.len() - next.len();
    }
}
