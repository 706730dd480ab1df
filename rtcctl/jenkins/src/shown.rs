//! What a build wrote, as it may be shown on a terminal.
//!
//! Invariant: nothing that a build writes moves the cursor, changes the title or leaves the line that it is on; of all
//! escape sequences colours alone pass, and only where they are wanted.

/// Whether colours pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Colours {
    Kept,
    Removed,
}

/// A filter over a log that comes in pieces; a sequence may be cut between two of them.
#[derive(Debug)]
pub struct Shown {
    colours: Colours,
    state: State,
}

#[derive(Debug, Default)]
enum State {
    #[default]
    Text,
    /// A carriage return, which is half of a line's end or overwrites the line.
    Return,
    Escape,
    /// `ESC [` and its parameters.
    Control(String),
    /// Everything up to the bell or `ESC \`: titles, links.
    Message,
    MessageEscape,
}

/// No sequence of colours is longer.
const PARAMETERS_MAX: usize = 64;

impl Shown {
    pub fn new(colours: Colours) -> Self {
        Self { colours, state: State::Text }
    }

    /// What may be shown of the next piece.
    pub fn take(&mut self, text: &str) -> String {
        let mut shown = String::with_capacity(text.len());
        for letter in text.chars() {
            self.state = match (std::mem::take(&mut self.state), letter) {
                (State::Return, '\n') => {
                    shown.push('\n');
                    State::Text
                }
                (State::Return, '\r') => State::Return,
                (State::Return, letter) => {
                    shown.push('\n');
                    plain(letter, &mut shown)
                }
                (State::Text, letter) => plain(letter, &mut shown),
                (State::Escape, '[') => State::Control(String::new()),
                (State::Escape, ']' | 'P' | '_' | '^' | 'X') => State::Message,
                (State::Escape, '\n') => {
                    shown.push('\n');
                    State::Text
                }
                (State::Escape, _) => State::Text,
                (State::Control(parameters), '\u{40}'..='\u{7e}') => {
                    let is_colour = letter == 'm'
                        && parameters.chars().all(|c| c.is_ascii_digit() || matches!(c, ';' | ':'));
                    if is_colour && self.colours == Colours::Kept {
                        shown.push_str(&format!("\x1b[{parameters}m"));
                    }
                    State::Text
                }
                (State::Control(mut parameters), '\u{20}'..='\u{3f}')
                    if parameters.len() < PARAMETERS_MAX =>
                {
                    parameters.push(letter);
                    State::Control(parameters)
                }
                (State::Control(_), letter) => plain(letter, &mut shown),
                (State::Message, '\u{7}' | '\u{9c}') => State::Text,
                (State::Message, '\u{1b}') => State::MessageEscape,
                // A message that is never ended does not swallow the rest of the log.
                (State::Message, '\n') => {
                    shown.push('\n');
                    State::Text
                }
                (State::Message, _) => State::Message,
                (State::MessageEscape, '\\') => State::Text,
                (State::MessageEscape, '[') => State::Control(String::new()),
                (State::MessageEscape, _) => State::Message,
            };
        }
        shown
    }
}

fn plain(letter: char, shown: &mut String) -> State {
    match letter {
        '\u{1b}' => return State::Escape,
        '\u{9b}' => return State::Control(String::new()),
        '\u{9d}' | '\u{90}' => return State::Message,
        '\r' => return State::Return,
        '\n' | '\t' => shown.push(letter),
        letter if letter.is_control() => shown.push(char::REPLACEMENT_CHARACTER),
        letter => shown.push(letter),
    }
    State::Text
}

#[cfg(test)]
mod tests {
    use super::*;

    const WILD: &str = "a\x1b[31mred\x1b[0m\x1b[2J\x1b]0;title\x07b\r\nc\rd\x1bMe\u{9b}5Af\x1b]8;;http://x\x1b\\link\x1b[0m\u{7}\n";

    #[test]
    fn colours_pass_where_they_are_wanted_and_nothing_else_does() {
        let kept = Shown::new(Colours::Kept).take(WILD);
        assert_eq!(kept, "a\x1b[31mred\x1b[0mb\nc\ndeflink\x1b[0m\u{fffd}\n");
        assert_eq!(Shown::new(Colours::Removed).take(WILD), "aredb\nc\ndeflink\u{fffd}\n");
    }

    #[test]
    fn a_sequence_that_is_cut_anywhere_is_the_same() {
        let whole = Shown::new(Colours::Kept).take(WILD);
        for (at, _) in WILD.char_indices() {
            let mut shown = Shown::new(Colours::Kept);
            let (before, after) = WILD.split_at(at);
            assert_eq!(shown.take(before) + &shown.take(after), whole, "cut at {at}");
        }
    }

    #[test]
    fn what_is_never_ended_swallows_no_lines() {
        let mut shown = Shown::new(Colours::Kept);
        assert_eq!(shown.take("\x1b]0;no end\nnext\x1b[9999999999999999999999999999999999999999999999999999999999999999999x\n"), "\nnext999x\n");
    }
}
