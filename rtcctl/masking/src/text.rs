//! Texts that people and programs wrote: words, names with their values, addresses, keys.

use crate::MASK;
use crate::address::{at_the_beginning, masked_address};
use crate::known::{is_secret_name, is_token};

/// A word ends where one of these stands; `=` and `:` end it too, and may make it a name.
fn ends_word(letter: char) -> bool {
    letter.is_whitespace() || "\"'`<>()[]{},;|=:&?#@".contains(letter)
}

/// Where a value that is in no quotes ends: a password may hold any mark, so that only those at its very end are not its own.
fn end_of_value(text: &str) -> usize {
    let is_end = |letter: char| letter.is_whitespace() || "\"'`".contains(letter);
    let whole = &text[..text.find(is_end).unwrap_or(text.len())];
    whole.trim_end_matches([',', ';', '.', ')', ']', '}', '>', '|']).len()
}

fn is_scheme(word: &str) -> bool {
    word.eq_ignore_ascii_case("bearer") || word.eq_ignore_ascii_case("basic")
}

/// Masks a text.
pub fn masked(text: &str) -> String {
    let text = without_keys(text);
    let mut out = String::with_capacity(text.len());
    let mut rest = text.as_str();
    while let Some(letter) = rest.chars().next() {
        if let Some((address, after)) = at_the_beginning(rest) {
            out.push_str(&masked_address(address));
            rest = after;
            continue;
        }
        if ends_word(letter) {
            out.push(letter);
            rest = &rest[letter.len_utf8()..];
            continue;
        }
        let end = rest.find(ends_word).unwrap_or(rest.len());
        let (word, after) = rest.split_at(end);
        rest = after;
        if is_token(word) {
            out.push_str(MASK);
            continue;
        }
        out.push_str(word);
        if is_scheme(word) {
            rest = credentials(rest, &mut out);
        } else if is_secret_name(word) {
            rest = value(rest, word.starts_with('-'), &mut out);
        }
    }
    out
}

/// What follows a name: `="x y"`, `: x`, and ` x` after a flag. Answers what is left.
fn value<'a>(rest: &'a str, is_flag: bool, out: &mut String) -> &'a str {
    let quoted = rest.strip_prefix(['"', '\'']).unwrap_or(rest);
    let is_blank = |letter: char| letter == ' ' || letter == '\t';
    let spaced = quoted.trim_start_matches(is_blank);
    let begins = match spaced.strip_prefix(['=', ':']) {
        Some(after) => after.trim_start_matches(is_blank),
        None if is_flag && rest.starts_with(' ') && !spaced.starts_with('-') => spaced,
        None => return rest,
    };
    // Also `\"`, as where one document lies in another.
    let opening = begins.trim_start_matches('\\');
    let (quote, begins) = match opening.chars().next() {
        Some(quote @ ('"' | '\'' | '`')) => (Some(quote), &opening[1..]),
        // `volume "token" : secret "x" is not there` says it in words.
        _ if quoted.len() < rest.len() && spaced.len() < quoted.len() => return rest,
        _ => (None, begins),
    };
    out.push_str(&rest[..rest.len() - begins.len()]);
    let end = match quote {
        Some(quote) => begins.find([quote, '\n']).unwrap_or(begins.len()),
        None => {
            let first = begins.find([' ', '\t']).unwrap_or(begins.len());
            let after = begins[first..].trim_start_matches(is_blank);
            // `Authorization: Bearer abc` has its value one word later.
            if is_scheme(&begins[..first]) && !after.is_empty() {
                out.push_str(&begins[..begins.len() - after.len()]);
                out.push_str(MASK);
                return &after[end_of_value(after)..];
            }
            end_of_value(begins)
        }
    };
    if end > 0 {
        out.push_str(MASK);
    }
    &begins[end..]
}

/// What follows `Bearer`, where it is no word of a sentence.
fn credentials<'a>(rest: &'a str, out: &mut String) -> &'a str {
    let begins = rest.trim_start_matches(' ');
    let end = end_of_value(begins);
    let word = &begins[..end];
    let is_sentence = word.len() < 8 || word.bytes().all(|byte| byte.is_ascii_lowercase());
    if begins.len() == rest.len() || is_sentence {
        return rest;
    }
    out.push(' ');
    out.push_str(MASK);
    &begins[end..]
}

/// Without private keys as PEM has them, also such that were cut off.
fn without_keys(text: &str) -> String {
    const BEGIN: &str = "-----BEGIN ";
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(BEGIN) {
        let (before, block) = rest.split_at(at);
        out.push_str(before);
        let label_end = block[BEGIN.len()..].find("-----").map(|end| BEGIN.len() + end);
        let is_private = label_end.is_none_or(|end| block[..end].contains("PRIVATE KEY"));
        if !is_private {
            out.push_str(BEGIN);
            rest = &block[BEGIN.len()..];
            continue;
        }
        out.push_str(MASK);
        let end = label_end.and_then(|label_end| {
            let end = block.find("-----END ")?;
            (end > label_end).then_some(())?;
            Some(end + 9 + block[end + 9..].find("-----")? + 5)
        });
        rest = end.map_or("", |end| &block[end..]);
    }
    out.push_str(rest);
    out
}
