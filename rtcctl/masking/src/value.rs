//! What stands behind the name of a secret, however it is written: behind `=` and `:`, in quotes, as the rest of a header's
//! line, in brackets, and below the name as in YAML.

use crate::MASK;
use crate::header::{self, Words};

/// A value in quotes has its end within so much, or ends with its line.
const QUOTED_LINES_MAX: usize = 64;
const QUOTED_BYTES_MAX: usize = 64 * 1024;
/// What stands between a name and its value, the longer ones first.
const MARKS: [&str; 5] = ["=>", ":=", "==", "=", ":"];
/// A word that is the name of a secret, and what stands before it.
pub(crate) struct Name<'a> {
    pub before: &'a str,
    pub word: &'a str,
}

impl Name<'_> {
    fn is_flag(&self) -> bool {
        self.word.starts_with('-')
            || (self.before.ends_with('\\') && self.word.get(1..).is_some_and(|word| word.starts_with("--")))
    }

    /// How far the name's own line is indented, where a list's mark is part of it.
    fn indent(&self) -> usize {
        let line = self.before.rfind('\n').map_or(self.before, |at| &self.before[at + 1..]);
        line.len() - line.trim_start_matches([' ', '\t', '-']).len()
    }
}

pub(crate) fn is_blank(letter: char) -> bool {
    letter == ' ' || letter == '\t'
}

pub(crate) fn is_scheme(word: &str) -> bool {
    word.eq_ignore_ascii_case("bearer") || word.eq_ignore_ascii_case("basic")
}

/// Up to where a text has none of these.
pub(crate) fn until(text: &str, is_end: impl Fn(char) -> bool) -> usize {
    let end = text.find(is_end).unwrap_or(text.len());
    #[cfg(test)]
    crate::tests::work::done(end);
    end
}

/// What ends a value that is in no quotes.
pub(crate) fn ends_value(letter: char) -> bool {
    letter.is_whitespace() || "\"'`".contains(letter)
}

/// Without the marks that are not a value's own: a password may hold any, so that only those at its very end are taken off.
pub(crate) fn without_marks(value: &str) -> &str {
    value.trim_end_matches([',', ';', '.', ')', ']', '}', '>', '|', '\\'])
}

/// Where a value that is in no quotes ends.
pub(crate) fn end_of_value(text: &str) -> usize {
    without_marks(&text[..until(text, ends_value)]).len()
}

/// What follows a name: `="x y"`, `: x`, and ` x` after a flag. `begin` is where the name stands in what is told: what was
/// hidden before it counts as it reads, so that it comes to the same a second time. Answers what is left.
pub(crate) fn value<'a>(word: &str, begin: usize, rest: &'a str, out: &mut String) -> &'a str {
    let name = Name { before: &out[..begin], word };
    let Some((from, to)) = secret(&name, rest) else { return rest };
    out.push_str(&rest[..from]);
    if to > from {
        out.push_str(MASK);
    }
    &rest[to..]
}

/// From where to where the secret stands.
fn secret(name: &Name<'_>, rest: &str) -> Option<(usize, usize)> {
    let quoted = rest.trim_start_matches('\\').strip_prefix(['"', '\'']).unwrap_or(rest);
    let spaced = quoted.trim_start_matches(is_blank);
    let mark = MARKS.into_iter().find(|mark| spaced.starts_with(mark));
    let begins = match mark {
        Some(mark) => spaced[mark.len()..].trim_start_matches(is_blank),
        None if name.is_flag() && rest.starts_with(' ') && !spaced.starts_with('-') => spaced,
        None => return None,
    };
    let skipped = rest.len() - begins.len();
    let at = |(from, to): (usize, usize)| Some((skipped + from, skipped + to));
    if mark == Some(":")
        && let Some(found) = below(name, begins)
    {
        return at(found);
    }
    // Also `\"`, as where one document lies in another.
    let opening = begins.trim_start_matches('\\');
    if let Some(quote) = opening.bytes().next().filter(|byte| b"\"'`".contains(byte)) {
        let level = begins.len() - opening.len();
        return at((level + 1, level + 1 + end_of_quoted(&opening[1..], quote, level)));
    }
    let is_closed = quoted.len() < rest.len();
    // `volume "token" : secret "x" is not there` says it in words.
    if is_closed && spaced.len() < quoted.len() {
        return None;
    }
    let is_header = mark.is_some() && !name.is_flag() && header::is_one(name.word);
    if is_closed && let Some(inner) = begins.strip_prefix(['[', '{']) {
        let (is_list, first) = (begins.starts_with('['), inner.trim_start());
        if is_header || (is_list && !first.starts_with(['[', '{'])) {
            let line = || (0, begins[..until(begins, |letter| letter == '\n')].trim_end().len());
            return at(in_brackets(begins).unwrap_or_else(line));
        }
        // What is further in has names of its own.
        if first.starts_with(['"', '\'', '\\', '[', '{', '}']) {
            return None;
        }
    }
    let first = until(begins, |letter| !(letter.is_ascii_alphanumeric() || letter == '-'));
    let after = begins[first..].trim_start_matches(is_blank);
    let second = begins.len() - after.len();
    // `Authorization: Bearer abc` has its value one word later.
    if second > first && is_scheme(&begins[..first]) {
        let word = end_of_value(after);
        if word > 0 {
            return at((second, second + word));
        }
    }
    if !is_header {
        return at((0, end_of_value(begins)));
    }
    let end = if is_closed { None } else { header::end_of_line(name, begins) };
    let words = Words { begins, first, second };
    if let Some(end) = end {
        return at(words.of_line(end));
    }
    let is_said = mark == Some(":") && (is_closed || begins.len() + 1 < spaced.len());
    if is_said && words.is_sentence() { None } else { at(words.within_a_line()) }
}

/// Where a quote is closed that was opened with so many backslashes before it; where it is not, the end of the line.
pub(crate) fn end_of_quoted(text: &str, quote: u8, level: usize) -> usize {
    closing(text, quote, level).unwrap_or_else(|| until(text, |letter| letter == '\n'))
}

fn closing(text: &str, quote: u8, level: usize) -> Option<usize> {
    let end = closing_of(text.as_bytes(), quote, level);
    #[cfg(test)]
    crate::tests::work::done(end.unwrap_or(text.len().min(QUOTED_BYTES_MAX)));
    end
}

fn closing_of(bytes: &[u8], quote: u8, level: usize) -> Option<usize> {
    let (mut backslashes, mut lines, mut at) = (0, 0, 0);
    while at < bytes.len().min(QUOTED_BYTES_MAX) && lines <= QUOTED_LINES_MAX {
        match bytes[at] {
            b'\\' => {
                backslashes += 1;
                at += 1;
                continue;
            }
            // Twice is one of the text, in YAML and in SQL.
            b'\'' if quote == b'\'' && level == 0 && at > 0 && bytes.get(at + 1) == Some(&b'\'') => at += 1,
            // Each document that lies in another doubles the backslashes of what is in it, and adds one.
            byte if byte == quote && (backslashes < level || backslashes % (2 * (level + 1)) == level) => {
                return Some(at - backslashes.min(level));
            }
            b'\n' => lines += 1,
            _ => {}
        }
        backslashes = 0;
        at += 1;
    }
    None
}

/// What stands between brackets, without the quotes of a list of texts. A bracket that is not closed has none.
fn in_brackets(text: &str) -> Option<(usize, usize)> {
    let inner = &text[1..end_of_brackets(text)?];
    let (from, to) = (1 + inner.len() - inner.trim_start().len(), 1 + inner.trim_end().len());
    let said = text.get(from..to).unwrap_or_default();
    let opening = said.trim_start_matches('\\');
    let quote = opening.chars().next().filter(|letter| matches!(letter, '"' | '\''));
    if !quote.is_some_and(|quote| text.starts_with('[') && said.ends_with(quote)) {
        return Some((from, to.max(from)));
    }
    let level = said.len() - opening.len();
    let texts = &opening[1..opening.len() - 1];
    let escapes = (texts.len() - texts.trim_end_matches('\\').len()).min(level);
    let from = from + level + 1;
    Some((from, from + texts.len() - escapes))
}

fn end_of_brackets(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    let (mut at, mut depth, mut lines, mut backslashes) = (0, 0_usize, 0, 0);
    while at < QUOTED_BYTES_MAX && lines <= QUOTED_LINES_MAX {
        let byte = *bytes.get(at)?;
        at += 1;
        match byte {
            b'\\' => {
                backslashes += 1;
                continue;
            }
            b'"' | b'\'' => {
                let len = closing(&text[at..], byte, backslashes)?;
                lines += bytes[at..at + len].iter().filter(|byte| **byte == b'\n').count();
                let closed = text[at + len..].trim_start_matches('\\');
                at = text.len() - closed.len() + 1;
            }
            b'[' | b'{' => depth += 1,
            b']' | b'}' => {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    #[cfg(test)]
                    crate::tests::work::done(at);
                    return Some(at - 1);
                }
            }
            b'\n' => lines += 1,
            _ => {}
        }
        backslashes = 0;
    }
    None
}

/// The value below its name: a block, or one word that is further in than the name.
fn below(name: &Name<'_>, begins: &str) -> Option<(usize, usize)> {
    let block = begins.strip_prefix(['|', '>']);
    let block = block.map(|block| block.trim_start_matches(|letter: char| "+-0123456789".contains(letter)));
    let lines = block.unwrap_or(begins).trim_start_matches([' ', '\t', '\r']).strip_prefix('\n')?;
    let offset = begins.len() - lines.len();
    let indent = name.indent();
    let indent_of = |line: &str| line.len() - line.trim_start_matches(is_blank).len();
    if block.is_some() {
        let (mut from, mut to, mut passed) = (None, 0, 0);
        for line in lines.split_inclusive('\n') {
            let said = line.trim_end();
            if !said.is_empty() && indent_of(line) <= indent {
                break;
            }
            if !said.is_empty() {
                from.get_or_insert(passed + indent_of(line));
                to = passed + said.len();
            }
            passed += line.len();
        }
        return from.map(|from| (offset + from, offset + to));
    }
    let line = lines.split('\n').next().unwrap_or_default();
    let (from, word) = (indent_of(line), line.trim());
    if from <= indent {
        return None;
    }
    if let Some(quote) = word.bytes().next().filter(|byte| b"\"'".contains(byte)) {
        let from = from + 1;
        return Some((offset + from, offset + from + end_of_quoted(&lines[from..], quote, 0)));
    }
    let is_value = word.bytes().any(|byte| byte.is_ascii_alphanumeric())
        && !word.contains(char::is_whitespace)
        && !word.ends_with(':');
    is_value.then_some((offset + from, offset + from + word.len()))
}
