//! Statements as the services write them (SQLite's SQL, kept to what is shared) into what MySQL and MariaDB take.
//!
//! Invariants:
//! - every parameter stays where it was;
//! - what cannot be said with the same meaning is refused, never said with another.

mod schema;
#[cfg(test)]
mod tests;
mod tokens;

use db::Error;

use tokens::{Kind, Token, find, split, text, tokens};

/// How the server's answer becomes the number of rows that SQLite would give.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Count {
    /// As it is: with CLIENT_FOUND_ROWS an UPDATE counts the rows that it found.
    AsItIs,
    /// One row that is inserted or, where its key is taken, not: a duplicate is no error but 0.
    IfAbsent,
    /// Several such rows: those given less those that were there.
    New,
    /// Rows that are inserted or changed.
    Given,
}

/// A statement for the server.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Translated {
    pub sql: String,
    /// Reads rows of a table, so that it can lock them.
    pub is_read: bool,
    pub is_schema: bool,
    pub count: Count,
}

impl Translated {
    fn plain(tokens: &[Token<'_>]) -> Self {
        Self { sql: text(tokens), is_read: false, is_schema: false, count: Count::AsItIs }
    }
}

fn refused(reason: &str, tokens: &[Token<'_>]) -> Error {
    Error::Other(format!("{reason}: {}", text(tokens)))
}

/// The statements of a text, without those that are empty.
pub(crate) fn statements(sql: &str) -> Vec<String> {
    let tokens = tokens(sql);
    split(&tokens, ";").into_iter().filter(|one| !one.is_empty()).map(text).collect()
}

/// `collation` is that of new tables: binary, and blanks at the end count.
pub(crate) fn translate(sql: &str, collation: &str) -> Result<Translated, Error> {
    let mut tokens = tokens(sql);
    while tokens.last().is_some_and(|token| token.is(";")) {
        tokens.pop();
    }
    casts(&mut tokens);
    let Some(first) = tokens.first() else { return Ok(Translated::plain(&tokens)) };
    if first.is("SELECT") || first.is("WITH") {
        let is_read = tokens.iter().any(|token| token.is("FROM"));
        return Ok(Translated { is_read, ..Translated::plain(&tokens) });
    }
    if first.is("INSERT") {
        return insert(&tokens);
    }
    if first.is("UPDATE") {
        if let Some(set) = find(&tokens, &["SET"]) {
            let end = find(&tokens, &["WHERE"]).unwrap_or(tokens.len());
            check_order(&split(&tokens[set + 1..end], ","), &tokens)?;
        }
        return Ok(Translated::plain(&tokens));
    }
    if first.is("PRAGMA") {
        return Err(refused("not a statement of this database", &tokens));
    }
    if ["CREATE", "ALTER", "DROP"].iter().any(|word| first.is(word)) {
        let sql = schema::translate(&tokens, collation)?;
        return Ok(Translated { sql, is_read: false, is_schema: true, count: Count::AsItIs });
    }
    Ok(Translated::plain(&tokens))
}

/// `CAST(x AS TEXT)` and `CAST(x AS INTEGER)`.
fn casts(tokens: &mut [Token<'_>]) {
    let mut open: Vec<bool> = Vec::new();
    for at in 0..tokens.len() {
        match tokens[at].text {
            "(" => open.push(at > 0 && tokens[at - 1].is("CAST")),
            ")" => {
                open.pop();
            }
            _ if at > 0 && open.last() == Some(&true) && tokens[at - 1].is("AS") => {
                if tokens[at].is("TEXT") {
                    tokens[at].text = "CHAR";
                } else if tokens[at].is("INTEGER") {
                    tokens[at].text = "SIGNED";
                }
            }
            _ => {}
        }
    }
}

// ---- assignments ----------------------------------------------------------------------------------------------

/// The column that `x = …` or `t.x = …` sets.
fn column<'a>(assignment: &[Token<'a>]) -> Option<&'a str> {
    let equals = assignment.iter().position(|token| token.is("="))?;
    assignment.get(equals.checked_sub(1)?).map(|token| token.text)
}

/// Whether an expression reads `column` as it is in the row: not `excluded.column`, not a function's name.
fn reads(expression: &[Token<'_>], column: &str) -> bool {
    expression.iter().enumerate().any(|(at, token)| {
        let is_excluded = at >= 2 && expression[at - 1].is(".") && expression[at - 2].is("excluded");
        let is_call = expression.get(at + 1).is_some_and(|next| next.is("("));
        token.kind == Kind::Word && token.is(column) && !is_excluded && !is_call
    })
}

/// MySQL assigns from left to right and reads what it has just assigned; SQLite reads the row as it was.
fn check_order(assignments: &[&[Token<'_>]], statement: &[Token<'_>]) -> Result<(), Error> {
    let mut assigned: Vec<&str> = Vec::new();
    for assignment in assignments {
        let Some(name) = column(assignment) else {
            return Err(refused("cannot tell what is assigned", statement));
        };
        let value = assignment.iter().position(|token| token.is("=")).map_or(0, |equals| equals + 1);
        if let Some(earlier) = assigned.iter().find(|earlier| reads(&assignment[value..], earlier)) {
            return Err(refused(&format!("{earlier} is read after it was assigned"), statement));
        }
        assigned.push(name);
    }
    Ok(())
}

// ---- INSERT ---------------------------------------------------------------------------------------------------

/// What happens where a key is taken.
enum Conflict<'t, 'a> {
    Fails,
    Nothing,
    Update { assignments: Vec<&'t [Token<'a>]>, condition: &'t [Token<'a>] },
}

fn conflict<'t, 'a>(statement: &'t [Token<'a>], at: usize) -> Result<Conflict<'t, 'a>, Error> {
    let clause = &statement[at..];
    if find(clause, &["DO", "NOTHING"]).is_some() {
        return Ok(Conflict::Nothing);
    }
    let set = find(clause, &["DO", "UPDATE", "SET"])
        .ok_or_else(|| refused("not a conflict clause that is known", statement))?
        + 3;
    let end = find(&clause[set..], &["WHERE"]).map_or(clause.len(), |end| set + end);
    let condition = clause.get(end + 1..).unwrap_or_default();
    Ok(Conflict::Update { assignments: split(&clause[set..end], ","), condition })
}

/// `excluded.x` is `VALUES(x)`, the form that MySQL 8 and MariaDB share.
fn values(expression: &[Token<'_>]) -> String {
    let mut out = String::new();
    let mut rest = expression;
    while let Some(token) = rest.first() {
        if token.spaced && !out.is_empty() {
            out.push(' ');
        }
        match rest {
            [excluded, dot, name, after @ ..] if excluded.is("excluded") && dot.is(".") => {
                out.push_str(&format!("VALUES({})", name.text));
                rest = after;
            }
            _ => {
                out.push_str(token.text);
                rest = &rest[1..];
            }
        }
    }
    out
}

/// How many rows `VALUES (…), (…)` gives; `None` for `INSERT … SELECT`.
fn rows(statement: &[Token<'_>]) -> Option<usize> {
    let at = find(statement, &["VALUES"])?;
    Some(split(&statement[at + 1..], ",").len())
}

fn insert(statement: &[Token<'_>]) -> Result<Translated, Error> {
    let or_ignore = find(statement, &["INSERT", "OR", "IGNORE"]) == Some(0);
    if !or_ignore && statement.get(1).is_some_and(|token| token.is("OR")) {
        return Err(refused("only INSERT OR IGNORE has a counterpart", statement));
    }
    let at = find(statement, &["ON", "CONFLICT"]);
    let conflict = match at {
        Some(at) => conflict(statement, at)?,
        None if or_ignore => Conflict::Nothing,
        None => Conflict::Fails,
    };
    let mut head: Vec<Token<'_>> = statement[..at.unwrap_or(statement.len())].to_vec();
    if or_ignore {
        head.drain(1..3);
    }
    let is_one = rows(&head) == Some(1);
    match conflict {
        Conflict::Fails => Ok(Translated::plain(&head)),
        // A plain INSERT whose duplicate is taken for what it is: INSERT IGNORE would cut what is too long.
        Conflict::Nothing if is_one => Ok(Translated { count: Count::IfAbsent, ..Translated::plain(&head) }),
        Conflict::Nothing => {
            let first = find(&head, &["("])
                .filter(|open| find(&head, &["VALUES"]).is_none_or(|values| *open < values))
                .and_then(|open| head.get(open + 1))
                .ok_or_else(|| refused("name the columns", statement))?;
            let sql = format!("{} ON DUPLICATE KEY UPDATE {1} = {1}", text(&head), first.text);
            Ok(Translated { sql, count: Count::New, ..Translated::plain(&[]) })
        }
        Conflict::Update { assignments, condition } => {
            let tail = update(&assignments, condition, statement)?;
            let sql = format!("{} ON DUPLICATE KEY UPDATE {tail}", text(&head));
            Ok(Translated { sql, count: Count::Given, ..Translated::plain(&[]) })
        }
    }
}

fn update(
    assignments: &[&[Token<'_>]],
    condition: &[Token<'_>],
    statement: &[Token<'_>],
) -> Result<String, Error> {
    let mut ordered = assignments.to_vec();
    if !condition.is_empty() {
        if condition.iter().chain(assignments.iter().copied().flatten()).any(|token| token.is("?")) {
            return Err(refused("a parameter would be needed twice", statement));
        }
        // What the condition reads is assigned last, so that it is the same for all.
        ordered.sort_by_key(|one| column(one).is_some_and(|name| reads(condition, name)));
        let read = ordered.iter().filter(|one| column(one).is_some_and(|name| reads(condition, name)));
        if read.count() > 1 {
            return Err(refused("the condition reads more than one column that is assigned", statement));
        }
    }
    check_order(&ordered, statement)?;
    let condition = values(condition);
    let parts: Vec<String> = ordered
        .iter()
        .map(|assignment| {
            let equals = assignment.iter().position(|token| token.is("=")).unwrap_or(0);
            let (name, value) = (text(&assignment[..equals]), values(&assignment[equals + 1..]));
            if condition.is_empty() {
                format!("{name} = {value}")
            } else {
                format!("{name} = IF({condition}, {value}, {name})")
            }
        })
        .collect();
    Ok(parts.join(", "))
}
