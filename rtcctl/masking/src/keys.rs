//! Texts without private keys as PEM has them, also such that were cut off at either end.

use crate::MASK;

const MARK: &str = "-----";
const BEGIN: &str = "-----BEGIN ";
const END: &str = "-----END ";
const PRIVATE: &str = "PRIVATE KEY";
/// The lines of a key but for its last are 64 letters long.
const LINE_MIN: usize = 48;

pub(crate) fn without_keys(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    // Up to `kept` it is written, up to `seen` it was looked at.
    let (mut kept, mut seen) = (0, 0);
    while let Some(at) = text[seen..].find(MARK).map(|at| seen + at) {
        let block = &text[at..];
        if let Some(label) = block.strip_prefix(BEGIN) {
            let label_end = label.find(MARK).map(|end| BEGIN.len() + end);
            if label_end.is_some_and(|end| !block[..end].contains(PRIVATE)) {
                seen = at + BEGIN.len();
                continue;
            }
            out.push_str(&text[kept..at]);
            out.push_str(MASK);
            let end = label_end.and_then(|label_end| {
                let end = block.find(END)?;
                (end > label_end).then_some(())?;
                Some(end + END.len() + block[end + END.len()..].find(MARK)? + MARK.len())
            });
            kept = end.map_or(text.len(), |end| at + end);
            seen = kept;
            continue;
        }
        seen = at + 1;
        // A log that was cut begins within a key.
        if let Some(end) = end_of_key(block) {
            out.push_str(&text[kept..kept + before_the_end(&text[kept..at])]);
            out.push_str(MASK);
            kept = at + end;
            seen = kept;
        }
    }
    out.push_str(&text[kept..]);
    out
}

/// Behind `-----END RSA PRIVATE KEY-----`, where a text begins with it.
fn end_of_key(block: &str) -> Option<usize> {
    let label = block.strip_prefix(END)?;
    let is_label = |byte: &u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || *byte == b' ';
    let len = label.bytes().take_while(is_label).count();
    let is_key = label[..len].ends_with(PRIVATE) && label[len..].starts_with(MARK);
    is_key.then_some(END.len() + len + MARK.len())
}

/// Where the key begins whose end stands behind a text: lines that end with what may be of a key, whatever a log has
/// put before it.
fn before_the_end(text: &str) -> usize {
    let is_key = |letter: char| letter.is_ascii_alphanumeric() || "+/=\\".contains(letter);
    let mut from = text.trim_end_matches(is_key).len();
    let mut line_end = text.rfind('\n');
    let mut is_last = true;
    while let Some(end) = line_end {
        let begin = text[..end].rfind('\n').map_or(0, |at| at + 1);
        let line = text[begin..end].trim_end();
        let word = line.len() - line.trim_end_matches(is_key).len();
        if word == 0 || !(is_last || word >= LINE_MIN || (begin == 0 && word == line.len())) {
            break;
        }
        from = begin + line.len() - word;
        is_last = false;
        line_end = begin.checked_sub(1);
    }
    from
}
