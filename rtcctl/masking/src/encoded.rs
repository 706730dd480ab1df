//! Words in which other texts lie: percent-encoded ones, and tokens behind any mark.

use std::borrow::Cow;

use crate::MASK;
use crate::known::Tokens;
use crate::text::masked_within;

/// A text is taken out of another so many times.
pub(crate) const LAYERS_MAX: usize = 3;

/// A word without the secrets in it. `is_escaped` where its first letter may belong to a backslash.
pub(crate) fn piece(word: &str, is_escaped: bool, layers: usize) -> Cow<'_, str> {
    // First what stands there as it is: without it the rest may mean something else.
    let word = without_tokens(word, is_escaped);
    if layers < LAYERS_MAX
        && let Some(plain) = decoded(&word)
    {
        let masked = masked_within(&plain, layers + 1);
        if masked != plain {
            return Cow::Owned(encoded(&masked));
        }
    }
    word
}

fn without_tokens(word: &str, is_escaped: bool) -> Cow<'_, str> {
    let mut tokens = Tokens::default();
    let (mut out, mut kept, mut last) = (String::new(), 0, None);
    for (at, letter) in word.char_indices() {
        let follows_escape = is_escaped && (at == 1 || (at == 5 && word.starts_with('u')));
        let is_begin = last.is_none_or(|last: char| !last.is_ascii_alphanumeric()) || follows_escape;
        let follows_inner = at >= 2 && word.as_bytes()[at - 2] == b'\\';
        last = Some(letter);
        if at < kept || !(is_begin || follows_inner) {
            continue;
        }
        if let Some(len) = tokens.at(word, at) {
            out.push_str(&word[kept..at]);
            out.push_str(MASK);
            kept = at + len;
        }
    }
    if kept == 0 {
        return Cow::Borrowed(word);
    }
    out.push_str(&word[kept..]);
    Cow::Owned(out)
}

fn hex(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

/// What a word means where it is percent-encoded.
fn decoded(word: &str) -> Option<String> {
    let bytes = word.as_bytes();
    let first = word.find('%')?;
    let mut out = bytes[..first].to_vec();
    let (mut at, mut is_encoded) = (first, false);
    while at < bytes.len() {
        let pair = bytes.get(at + 1).zip(bytes.get(at + 2)).filter(|_| bytes[at] == b'%');
        match pair.and_then(|(high, low)| Some(hex(*high)? * 16 + hex(*low)?)) {
            Some(byte) => {
                out.push(byte);
                is_encoded = true;
                at += 3;
            }
            None => {
                out.push(bytes[at]);
                at += 1;
            }
        }
    }
    is_encoded.then(|| String::from_utf8_lossy(&out).into_owned())
}

fn encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' | b'*' => {
                out.push(byte.into());
            }
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}
