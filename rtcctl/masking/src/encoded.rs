//! Words in which other texts lie: percent-encoded ones, and tokens behind any mark.

use std::borrow::Cow;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use crate::MASK;
use crate::known::Tokens;
use crate::text::masked_within;

/// A text is taken out of another so many times.
pub(crate) const LAYERS_MAX: usize = 3;

/// All but what RFC 3986 leaves as it is, and the star of a mask.
const WRITTEN_AS_CODES: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~').remove(b'*');

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

/// What a word means where it is percent-encoded.
fn decoded(word: &str) -> Option<String> {
    match Cow::<[u8]>::from(percent_decode_str(word)) {
        Cow::Borrowed(_) => None,
        Cow::Owned(bytes) => Some(String::from_utf8_lossy(&bytes).into_owned()),
    }
}

fn encoded(text: &str) -> String {
    utf8_percent_encode(text, WRITTEN_AS_CODES).to_string()
}
