//! Texts within the limits of those who receive them.
//!
//! Invariants: a limit is kept after escaping; nothing is cut within an escape; what was cut is counted.

use masking::masked;

/// A text as it may be sent, and how many characters of it could not.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Fitted {
    pub text: String,
    pub left_out: usize,
}

/// How a character is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Writing {
    /// As it is.
    Plain,
    /// `&`, `<` and `>` mean something in Slack's mrkdwn, and nothing else is escaped there.
    Mrkdwn,
    /// Within backticks, which nothing escapes.
    Code,
}

impl Writing {
    fn write(self, letter: char, out: &mut String) {
        match (self, letter) {
            (Self::Plain, letter) => out.push(letter),
            (_, '&') => out.push_str("&amp;"),
            (_, '<') => out.push_str("&lt;"),
            (_, '>') => out.push_str("&gt;"),
            (Self::Code, '`') => out.push('\''),
            (_, letter) => out.push(letter),
        }
    }
}

/// Limits are of UTF-16 units: a receiver that counts characters has room left.
fn units(text: &str) -> usize {
    text.chars().map(char::len_utf16).sum()
}

/// Masked, without what moves a cursor or turns the order of letters round.
pub(crate) fn cleaned(text: &str) -> String {
    masked(text)
        .chars()
        .filter(|letter| !matches!(letter, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\r'))
        .map(|letter| if letter.is_control() && letter != '\n' { ' ' } else { letter })
        .collect()
}

/// The same on one line.
pub(crate) fn line(text: &str) -> String {
    cleaned(text.trim()).replace('\n', " ")
}

/// A cleaned text within `max` units.
pub(crate) fn fitted(text: &str, max: usize, writing: Writing) -> Fitted {
    let mut whole = String::with_capacity(text.len());
    text.chars().for_each(|letter| writing.write(letter, &mut whole));
    if units(&whole) <= max {
        return Fitted { text: whole, left_out: 0 };
    }
    let (mut out, mut used, mut piece) = (String::new(), 0, String::new());
    let mut letters = text.chars();
    let mut left_out = letters.clone().count();
    for letter in letters.by_ref() {
        piece.clear();
        writing.write(letter, &mut piece);
        // One unit is kept for the ellipsis.
        if used + units(&piece) + 1 > max {
            break;
        }
        used += units(&piece);
        out.push_str(&piece);
        left_out -= 1;
    }
    out.push('…');
    Fitted { text: out, left_out }
}

/// Lines within `max` units and `lines_max` lines, each begun with `mark`; whole ones are left out, and counted.
pub(crate) fn fitted_lines(
    lines: &[String],
    mark: &str,
    (lines_max, max): (usize, usize),
    writing: Writing,
) -> (String, Option<String>) {
    let mut out = String::new();
    let mut is_cut = false;
    for (index, text) in lines.iter().enumerate() {
        let gap = usize::from(index > 0) + units(mark);
        let room = max.saturating_sub(units(&out) + gap);
        let Fitted { text: piece, left_out } = fitted(&line(text), room.min(max / 2), writing);
        // A line that would be all ellipsis is better left out.
        if index >= lines_max || (left_out > 0 && room < max / 2) {
            let rest = lines.len() - index;
            return (out, Some(format!("{rest} more {}", if rest == 1 { "line" } else { "lines" })));
        }
        is_cut |= left_out > 0;
        if index > 0 {
            out.push('\n');
        }
        out.push_str(mark);
        out.push_str(&piece);
    }
    (out, is_cut.then(|| "long lines".to_owned()))
}

/// `why: 120 characters`, for what was cut.
pub(crate) fn told(what: &str, fitted: &Fitted) -> Option<String> {
    (fitted.left_out > 0).then(|| {
        format!("{what}: {} more character{}", fitted.left_out, if fitted.left_out == 1 { "" } else { "s" })
    })
}
