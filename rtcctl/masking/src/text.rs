//! Texts that people and programs wrote: words, names with their values, addresses, keys.

use crate::address::{address_within, at_the_end_of};
use crate::encoded::piece;
use crate::header::is_said;
use crate::keys::without_keys;
use crate::known::is_secret_name;
use crate::value::{end_of_value, is_scheme, value};

/// A pair is looked for over so many words: `{"name": "X", "type": "text", "value": "y"}`.
const PAIR_WORDS: u8 = 8;

/// A word ends where one of these stands; `=` and `:` end it too, and may make it a name.
fn ends_word(letter: char) -> bool {
    letter.is_whitespace() || "\"'`<>()[]{},;|=:&?#@\\".contains(letter)
}

/// Masks a text.
pub fn masked(text: &str) -> String {
    masked_within(text, 0)
}

/// Masks a text that was encoded so many times over.
pub(crate) fn masked_within(text: &str, layers: usize) -> String {
    let text = without_keys(text);
    let text = text.as_str();
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    let mut pair = Pair::default();
    while let Some(letter) = rest.chars().next() {
        if ends_word(letter) {
            pair.passed(letter);
            out.push(letter);
            rest = &rest[letter.len_utf8()..];
            continue;
        }
        let before = &text[..text.len() - rest.len()];
        let (word, after) = rest.split_at(rest.find(ends_word).unwrap_or(rest.len()));
        // Where a document lies in a text, `\n` stands before a word.
        let is_escaped = before.ends_with('\\');
        if let Some((head, address, after)) = at_the_end_of(rest, word, after) {
            out.push_str(&piece(head, is_escaped, layers));
            out.push_str(&address_within(address, layers));
            pair.read("", false);
            rest = after;
            continue;
        }
        let begin = out.len();
        out.push_str(&piece(word, is_escaped, layers));
        let is_value = pair.read(word, is_escaped);
        rest = if is_scheme(word) {
            credentials(after, &mut out)
        } else if is_value || is_secret_name(word) {
            value(word, begin, after, &mut out)
        } else {
            after
        };
    }
    out
}

/// A name and its value that stand beside each other: `name: DB_PASSWORD`, `value: x`.
#[derive(Default)]
struct Pair {
    /// The last word was `name`.
    is_name: bool,
    /// And a mark came after it.
    is_given: bool,
    /// So many words later the value of what was named a secret may still come.
    left: u8,
}

impl Pair {
    fn passed(&mut self, letter: char) {
        match letter {
            ':' | '=' => self.is_given = self.is_name,
            ' ' | '\t' | '"' | '\'' | '\\' => {}
            _ => (self.is_name, self.is_given) = (false, false),
        }
        if letter == '}' {
            self.left = 0;
        }
    }

    /// Whether this word says that the secret comes.
    fn read(&mut self, word: &str, is_escaped: bool) -> bool {
        let plain = word.trim_start_matches(['.', '-']);
        let is = |known: &str| {
            let has_letter = is_escaped && plain.starts_with(['n', 'r', 't']);
            plain.eq_ignore_ascii_case(known) || (has_letter && plain[1..].eq_ignore_ascii_case(known))
        };
        let is_value = self.left > 0 && is("value");
        self.is_name = is("name") || is("key");
        self.left = match (self.is_given && is_secret_name(word), self.is_name) {
            (true, _) => PAIR_WORDS,
            (false, true) => 0,
            (false, false) => self.left.saturating_sub(1),
        };
        self.is_given = false;
        is_value
    }
}

/// What follows `Bearer`, where it is no word of a sentence.
fn credentials<'a>(rest: &'a str, out: &mut String) -> &'a str {
    let begins = rest.trim_start_matches(' ');
    let end = end_of_value(begins);
    let word = &begins[..end];
    if begins.len() == rest.len() || is_said(word) {
        return rest;
    }
    out.push(' ');
    out.push_str(crate::MASK);
    &begins[end..]
}
