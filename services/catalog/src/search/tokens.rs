//! Text into tokens, the same way for what is indexed and for what is asked.
//!
//! Words of scripts with blanks are tokens as they are. Hangul, Han and Kana words are the word, its pairs of
//! characters and its last character: "이어폰" is `이어폰 이어 어폰 폰`. Every character begins a token, so any part of a
//! word is found as a phrase of neighbouring pairs.
//!
//! Invariant: tokens hold letters and digits only, so nothing that a user types is syntax.

/// Changes with every change of the tokens: an index with another version is built anew.
pub const VERSION: i64 = 1;

/// More words than these in a question add nothing but work.
const TERMS_MAX: usize = 16;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Script {
    /// Words are found by their parts.
    Dense,
    /// Words are found whole, the last one by its beginning.
    Spaced,
}

fn script(c: char) -> Script {
    match u32::from(c) {
        0x1100..=0x11ff
        | 0x3040..=0x30ff
        | 0x3130..=0x318f
        | 0x3400..=0x4dbf
        | 0x4e00..=0x9fff
        | 0xac00..=0xd7a3
        | 0xf900..=0xfaff
        | 0x20000..=0x3134f => Script::Dense,
        _ => Script::Spaced,
    }
}

/// Full-width forms as plain ones.
fn narrow(c: char) -> char {
    match u32::from(c) {
        wide @ 0xff01..=0xff5e => char::from_u32(wide - 0xfee0).unwrap_or(c),
        _ => c,
    }
}

/// Puts decomposed Hangul together (The Unicode Standard, section 3.12): some systems send syllables in parts.
fn compose(text: impl Iterator<Item = char>) -> String {
    let mut composed = String::new();
    for c in text {
        let joined = composed.chars().next_back().and_then(|last| join(u32::from(last), u32::from(c)));
        if let Some(joined) = joined {
            composed.pop();
            composed.push(joined);
        } else {
            composed.push(c);
        }
    }
    composed
}

fn join(last: u32, next: u32) -> Option<char> {
    match (last, next) {
        (0x1100..=0x1112, 0x1161..=0x1175) => {
            char::from_u32(0xac00 + ((last - 0x1100) * 21 + (next - 0x1161)) * 28)
        }
        (0xac00..=0xd7a3, 0x11a8..=0x11c2) if (last - 0xac00).is_multiple_of(28) => {
            char::from_u32(last + next - 0x11a7)
        }
        _ => None,
    }
}

fn words(text: &str) -> Vec<(Script, Vec<char>)> {
    let mut words: Vec<(Script, Vec<char>)> = Vec::new();
    let mut open = false;
    for c in compose(text.chars().map(narrow)).chars().flat_map(char::to_lowercase) {
        if !c.is_alphanumeric() {
            open = false;
            continue;
        }
        let script = script(c);
        match words.last_mut() {
            Some((last, word)) if open && *last == script => word.push(c),
            _ => words.push((script, vec![c])),
        }
        open = true;
    }
    words
}

fn pairs(word: &[char]) -> impl Iterator<Item = String> {
    word.windows(2).map(|pair| pair.iter().collect())
}

/// The tokens of a text, with blanks between them, as they go into the index.
pub fn indexed(text: &str) -> String {
    let mut tokens: Vec<String> = Vec::new();
    for (script, word) in words(text) {
        if script == Script::Spaced || word.len() != 2 {
            tokens.push(word.iter().collect());
        }
        if script == Script::Dense && word.len() > 1 {
            tokens.extend(pairs(&word));
            tokens.extend(word.last().map(char::to_string));
        }
    }
    tokens.join(" ")
}

/// A question as an expression of FTS5: all of its words, the last one as a beginning. `None` where it has no word.
pub fn expression(question: &str) -> Option<String> {
    let mut words = words(question);
    words.truncate(TERMS_MAX);
    let last = words.len().checked_sub(1)?;
    let term = |(index, (script, word)): (usize, &(Script, Vec<char>))| {
        let whole: String = word.iter().collect();
        match (script, word.len()) {
            (Script::Spaced, _) if index < last => format!("\"{whole}\""),
            (Script::Spaced, _) | (Script::Dense, 1) => format!("\"{whole}\" *"),
            (Script::Dense, 2) => format!("\"{whole}\""),
            (Script::Dense, _) => {
                let parts: Vec<String> = pairs(word).collect();
                format!("(\"{whole}\" OR \"{}\")", parts.join(" "))
            }
        }
    };
    let terms: Vec<String> = words.iter().enumerate().map(term).collect();
    Some(terms.join(" AND "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn korean_words_are_indexed_with_their_parts() {
        assert_eq!(indexed("무선 이어폰 Pro-2"), "무선 선 이어폰 이어 어폰 폰 pro 2");
        assert_eq!(indexed("차"), "차");
        assert_eq!(indexed("갤럭시S24"), "갤럭시 갤럭 럭시 시 s24");
    }

    #[test]
    fn decomposed_and_full_width_text_is_the_same_text() {
        assert_eq!(indexed("\u{1102}\u{1169}\u{11a8}\u{110e}\u{1161}"), indexed("녹차"));
        assert_eq!(indexed("ＴＥＡ"), "tea");
    }

    #[test]
    fn the_last_word_is_a_beginning_and_the_others_are_whole() {
        assert_eq!(expression("Green Te").as_deref(), Some("\"green\" AND \"te\" *"));
        assert_eq!(expression("이어폰").as_deref(), Some("(\"이어폰\" OR \"이어 어폰\")"));
    }

    #[test]
    fn signs_are_not_syntax() {
        assert_eq!(expression("\"') * ^ : - + ; -- "), None);
        assert_eq!(
            expression("name:tea* OR (x").as_deref(),
            Some("\"name\" AND \"tea\" AND \"or\" AND \"x\" *")
        );
    }
}
