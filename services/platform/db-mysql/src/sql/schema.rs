//! Schema changes.

use db::Error;

use super::refused;
use super::tokens::{Kind, Token, find, text};

/// Types as SQLite knows them, and what holds as much.
fn type_of(token: &Token<'_>) -> Option<&'static str> {
    [("INTEGER", "BIGINT"), ("TEXT", "LONGTEXT"), ("BLOB", "LONGBLOB")]
        .into_iter()
        .find(|(theirs, _)| token.is(theirs))
        .map(|(_, ours)| ours)
}

fn is_name(token: &Token<'_>) -> bool {
    matches!(token.kind, Kind::Word | Kind::Quoted)
}

pub(super) fn translate(statement: &[Token<'_>], collation: &str) -> Result<String, Error> {
    let word = |at: usize, word: &str| statement.get(at).is_some_and(|token| token.is(word));
    if word(1, "VIRTUAL") {
        return Err(refused("virtual tables are SQLite's alone", statement));
    }
    if word(0, "CREATE") && (word(1, "INDEX") || word(1, "UNIQUE")) {
        return index(statement);
    }
    let mut out: Vec<Token<'_>> = Vec::with_capacity(statement.len());
    let mut rest = statement;
    while let Some(token) = rest.first() {
        let starts =
            |words: &[&str]| rest.len() >= words.len() && rest.iter().zip(words).all(|(t, w)| t.is(w));
        if starts(&["INTEGER", "PRIMARY", "KEY", "AUTOINCREMENT"]) {
            out.push(Token { text: "BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY", ..*token });
            rest = &rest[4..];
        } else if starts(&["WITHOUT", "ROWID"]) {
            rest = &rest[2..];
        } else if let Some(ours) = type_of(token).filter(|_| out.last().is_some_and(is_name)) {
            out.push(Token { text: ours, ..*token });
            rest = &rest[1..];
        } else if starts(&["DEFAULT"]) && rest.get(1).is_some_and(|value| value.kind == Kind::Quoted) {
            // In parentheses a long text may have a default too.
            let sign = |text| Token { kind: Kind::Sign, text, spaced: true };
            out.extend([*token, sign("("), rest[1], sign(")")]);
            rest = &rest[2..];
        } else {
            out.push(*token);
            rest = &rest[1..];
        }
    }
    let mut sql = text(&out);
    if word(0, "CREATE") && word(1, "TABLE") {
        sql.push_str(" ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = ");
        sql.push_str(collation);
    }
    Ok(sql)
}

/// An index over some rows becomes one over all: it finds the same and is only larger. A unique one would not mean the
/// same.
fn index(statement: &[Token<'_>]) -> Result<String, Error> {
    let end = find(statement, &["WHERE"]).unwrap_or(statement.len());
    if end < statement.len() && statement.get(1).is_some_and(|token| token.is("UNIQUE")) {
        return Err(refused("a unique index over some of the rows has no counterpart", statement));
    }
    let mut kept = statement[..end].to_vec();
    if let Some(at) = find(&kept, &["IF", "NOT", "EXISTS"]) {
        kept.drain(at..at + 3);
    }
    Ok(text(&kept))
}
