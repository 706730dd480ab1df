//! What stands behind the name of a secret, however it is written: behind `=` and `:`, in quotes, as the rest of a header's
//! line, and below the name as in YAML.

use crate::MASK;

/// A value in quotes has its end within so much, or ends with its line.
const QUOTED_LINES_MAX: usize = 64;
const QUOTED_BYTES_MAX: usize = 64 * 1024;
/// What stands between a name and its value, the longer ones first.
const MARKS: [&str; 5] = ["=>", ":=", "==", "=", ":"];
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

    /// A header has its line to itself, with blanks in it.
    fn is_header(&self) -> bool {
        let ends = |known: &str| {
            let begin = self.word.len().checked_sub(known.len());
            begin.and_then(|begin| self.word.get(begin..)).is_some_and(|end| end.eq_ignore_ascii_case(known))
        };
        !self.is_flag() && (ends("authorization") || ends("cookie"))
    }

    /// The quote in which it begins, and how many backslashes that has.
    fn quote(&self) -> Option<(u8, usize)> {
        let quote = self.before.bytes().next_back().filter(|byte| b"\"'`".contains(byte))?;
        let before = &self.before[..self.before.len() - 1];
        Some((quote, before.len() - before.trim_end_matches('\\').len()))
    }

    /// How far the name's own line is indented, where a list's mark is part of it.
    fn indent(&self) -> usize {
        let line = self.before.rfind('\n').map_or(self.before, |at| &self.before[at + 1..]);
        line.len() - line.trim_start_matches([' ', '\t', '-']).len()
    }
}

fn is_blank(letter: char) -> bool {
    letter == ' ' || letter == '\t'
}

pub(crate) fn is_scheme(word: &str) -> bool {
    word.eq_ignore_ascii_case("bearer") || word.eq_ignore_ascii_case("basic")
}

/// Where a value that is in no quotes ends: a password may hold any mark, so that only those at its very end are not its own.
pub(crate) fn end_of_value(text: &str) -> usize {
    let is_end = |letter: char| letter.is_whitespace() || "\"'`".contains(letter);
    let whole = &text[..text.find(is_end).unwrap_or(text.len())];
    whole.trim_end_matches([',', ';', '.', ')', ']', '}', '>', '|', '\\']).len()
}

/// What follows a name: `="x y"`, `: x`, and ` x` after a flag. Answers what is left.
pub(crate) fn value<'a>(name: &Name<'_>, rest: &'a str, out: &mut String) -> &'a str {
    let quoted = rest.trim_start_matches('\\').strip_prefix(['"', '\'']).unwrap_or(rest);
    let spaced = quoted.trim_start_matches(is_blank);
    let mark = MARKS.into_iter().find(|mark| spaced.starts_with(mark));
    let begins = match mark {
        Some(mark) => spaced[mark.len()..].trim_start_matches(is_blank),
        None if name.is_flag() && rest.starts_with(' ') && !spaced.starts_with('-') => spaced,
        None => return rest,
    };
    let mut hide = |begins: &'a str, from: usize, to: usize| {
        out.push_str(&rest[..rest.len() - begins.len() + from]);
        if to > from {
            out.push_str(MASK);
        }
        &begins[to..]
    };
    if let Some((from, to)) = below(name, begins).filter(|_| mark == Some(":")) {
        return hide(begins, from, to);
    }
    // Also `\"`, as where one document lies in another.
    let opening = begins.trim_start_matches('\\');
    if let Some(quote) = opening.bytes().next().filter(|byte| b"\"'`".contains(byte)) {
        let level = begins.len() - opening.len();
        return hide(&opening[1..], 0, end_of_quoted(&opening[1..], quote, level));
    }
    // `volume "token" : secret "x" is not there` says it in words.
    if quoted.len() < rest.len() && spaced.len() < quoted.len() {
        return rest;
    }
    let first = begins.find(char::is_whitespace).unwrap_or(begins.len());
    let after = begins[first..].trim_start_matches(is_blank);
    // `Authorization: Bearer abc` has its value one word later.
    let word = end_of_value(after);
    if is_scheme(&begins[..first]) && word > 0 {
        return hide(after, 0, word);
    }
    if name.is_header() && mark.is_some() {
        let line = &begins[..begins.find('\n').unwrap_or(begins.len())];
        let end = match name.quote().filter(|_| quoted.len() == rest.len()) {
            Some((quote, level)) => end_of_quoted(line, quote, level),
            None => line.len(),
        };
        let end = line[..end].trim_end().len();
        let is_known = SCHEMES.iter().any(|scheme| begins[..first].eq_ignore_ascii_case(scheme));
        let from = if is_known && begins.len() - after.len() < end { begins.len() - after.len() } else { 0 };
        return hide(begins, from, end);
    }
    hide(begins, 0, end_of_value(begins))
}

/// Where a quote is closed that was opened with so many backslashes before it; where it is not, the end of the line.
fn end_of_quoted(text: &str, quote: u8, level: usize) -> usize {
    let bytes = text.as_bytes();
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
                return at - backslashes.min(level);
            }
            b'\n' => lines += 1,
            _ => {}
        }
        backslashes = 0;
        at += 1;
    }
    text.find('\n').unwrap_or(text.len())
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
