//! SQL as a list of tokens: enough to find clauses without being fooled by strings, comments and parentheses.

/// What a token is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Word,
    /// A string or a quoted name.
    Quoted,
    Number,
    Sign,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Token<'a> {
    pub kind: Kind,
    pub text: &'a str,
    /// Whether blanks or a comment stand before it: `COUNT (` is not `COUNT(`.
    pub spaced: bool,
}

impl Token<'_> {
    pub fn is(&self, word: &str) -> bool {
        self.kind != Kind::Quoted && self.text.eq_ignore_ascii_case(word)
    }
}

/// How many bytes blanks and comments take at the start of `rest`.
fn blank(rest: &str) -> usize {
    if let Some(comment) = rest.strip_prefix("--") {
        return 2 + comment.find('\n').unwrap_or(comment.len());
    }
    if let Some(comment) = rest.strip_prefix("/*") {
        return comment.find("*/").map_or(rest.len(), |end| end + 4);
    }
    rest.len() - rest.trim_start().len()
}

/// The bytes of a quoted text with its quotes; a doubled quote is part of it.
fn quoted(rest: &str, quote: char) -> usize {
    let mut chars = rest.char_indices().skip(1).peekable();
    while let Some((at, c)) = chars.next() {
        if c == quote && chars.next_if(|(_, next)| *next == quote).is_none() {
            return at + c.len_utf8();
        }
    }
    rest.len()
}

pub(super) fn tokens(sql: &str) -> Vec<Token<'_>> {
    let mut found = Vec::new();
    let mut rest = sql;
    let mut spaced = false;
    while let Some(first) = rest.chars().next() {
        let skipped = blank(rest);
        if skipped > 0 {
            rest = &rest[skipped..];
            spaced = true;
            continue;
        }
        let is_word = |c: char| c.is_alphanumeric() || c == '_';
        let run = |rest: &str, test: &dyn Fn(char) -> bool| rest.find(|c| !test(c)).unwrap_or(rest.len());
        let (kind, length) = match first {
            '\'' | '"' | '`' => (Kind::Quoted, quoted(rest, first)),
            c if c.is_ascii_digit() => (Kind::Number, run(rest, &|c| is_word(c) || c == '.')),
            c if is_word(c) => (Kind::Word, run(rest, &is_word)),
            c => {
                let two = ["<>", "<=", ">=", "!=", "||"].into_iter().find(|sign| rest.starts_with(sign));
                (Kind::Sign, two.map_or(c.len_utf8(), str::len))
            }
        };
        let (text, after) = rest.split_at(length);
        found.push(Token { kind, text, spaced });
        spaced = false;
        rest = after;
    }
    found
}

pub(super) fn text(tokens: &[Token<'_>]) -> String {
    let mut text = String::new();
    for token in tokens {
        if token.spaced && !text.is_empty() {
            text.push(' ');
        }
        text.push_str(token.text);
    }
    text
}

/// Splits at `sign` where no parenthesis is open.
pub(super) fn split<'t, 'a>(tokens: &'t [Token<'a>], sign: &str) -> Vec<&'t [Token<'a>]> {
    let mut parts = Vec::new();
    let (mut depth, mut start) = (0_i32, 0);
    for (at, token) in tokens.iter().enumerate() {
        depth += step(token);
        if depth == 0 && token.is(sign) {
            parts.push(&tokens[start..at]);
            start = at + 1;
        }
    }
    parts.push(&tokens[start..]);
    parts
}

fn step(token: &Token<'_>) -> i32 {
    match token.text {
        "(" => 1,
        ")" => -1,
        _ => 0,
    }
}

/// Where these words follow each other and no parenthesis is open.
pub(super) fn find(tokens: &[Token<'_>], words: &[&str]) -> Option<usize> {
    let mut depth = 0;
    for (at, token) in tokens.iter().enumerate() {
        let here = &tokens[at..];
        if depth == 0
            && here.len() >= words.len()
            && here.iter().zip(words).all(|(token, word)| token.is(word))
        {
            return Some(at);
        }
        depth += step(token);
    }
    None
}
