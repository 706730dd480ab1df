//! What the operator has set: sorting, filter, the service looked into, pause. Keys change it; answers fill it.

use std::cmp::Ordering;

use codes::{Error, Result};
use crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use super::live::{Live, Red};
use crate::metrics::model::Reading;

/// What a key asks of the loop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    Nothing,
    Quit,
    /// Ctrl-C, which a terminal in raw mode does not turn into a signal.
    Interrupt,
    /// What is shown has to be asked for anew.
    Ask,
    Redraw,
}

/// The columns of the table, by which it can be sorted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Column {
    Name,
    Rate,
    Errors,
    P50,
    P95,
    P99,
}

impl Column {
    pub const ALL: [Column; 6] =
        [Column::Name, Column::Rate, Column::Errors, Column::P50, Column::P95, Column::P99];

    pub fn title(self) -> &'static str {
        match self {
            Column::Name => "SERVICE",
            Column::Rate => "RATE",
            Column::Errors => "ERRORS",
            Column::P50 => "P50",
            Column::P95 => "P95",
            Column::P99 => "P99",
        }
    }

    fn next(self) -> Self {
        let place = Self::ALL.iter().position(|column| *column == self).unwrap_or(0);
        Self::ALL[(place + 1) % Self::ALL.len()]
    }

    fn of(self, row: &Red) -> Reading {
        match self {
            Column::Name => Reading::NoSeries,
            Column::Rate => row.rate,
            Column::Errors => row.errors,
            Column::P50 => row.p50,
            Column::P95 => row.p95,
            Column::P99 => row.p99,
        }
    }

    /// Names from the beginning of the alphabet, figures from the greatest; what is unknown goes last.
    fn order(self, left: &Red, right: &Red) -> Ordering {
        match (self, self.of(left).value(), self.of(right).value()) {
            (Column::Name, ..) | (_, None, None) => left.name.cmp(&right.name),
            (_, None, Some(_)) => Ordering::Greater,
            (_, Some(_), None) => Ordering::Less,
            (_, Some(one), Some(other)) => other.total_cmp(&one).then_with(|| left.name.cmp(&right.name)),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    Natural,
    Reversed,
}

/// Who gets the keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    Browsing,
    /// Letters go into the filter.
    Typing,
    /// Any key closes it.
    Help,
}

/// Whether what is shown goes on changing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pace {
    Running,
    Paused,
}

/// Everything that is drawn.
pub struct View {
    pub env: String,
    pub live: Option<Live>,
    /// Why the last question had no answer; what stands on the screen is older then.
    pub trouble: Option<Error>,
    pub sort: Column,
    pub direction: Direction,
    pub filter: String,
    pub mode: Mode,
    pace: Pace,
    /// The name of the row that is marked, which it stays when others move.
    marked: Option<String>,
    detail: Option<String>,
    /// Whether a question is due at the next turn.
    due: bool,
}

impl View {
    pub fn new(env: &str) -> Self {
        Self {
            env: env.to_owned(),
            live: None,
            trouble: None,
            sort: Column::Name,
            direction: Direction::Natural,
            filter: String::new(),
            mode: Mode::Browsing,
            pace: Pace::Running,
            marked: None,
            detail: None,
            due: true,
        }
    }

    pub fn is_paused(&self) -> bool {
        self.pace == Pace::Paused
    }

    /// The service that is looked into.
    pub fn detail(&self) -> Option<&str> {
        self.detail.as_deref()
    }

    /// Whether a question should be asked now.
    pub fn wants_answer(&self) -> bool {
        self.due
    }

    /// It is time for the next question.
    pub fn come_due(&mut self) {
        self.due = true;
    }

    /// A question is under way.
    pub fn asked(&mut self) {
        self.due = false;
    }

    /// An answer, or why there is none. What came before stays on the screen in that case.
    pub fn take(&mut self, answer: Result<Live>) {
        match answer {
            Ok(live) => (self.live, self.trouble) = (Some(live), None),
            Err(error) => self.trouble = Some(error),
        }
    }

    /// The rows that pass the filter, sorted.
    pub fn rows(&self) -> Vec<&Red> {
        let Some(live) = &self.live else { return Vec::new() };
        let rows = if self.detail.is_some() { &live.routes } else { &live.services };
        let wanted = self.filter.to_lowercase();
        let mut rows: Vec<&Red> =
            rows.iter().filter(|row| row.name.to_lowercase().contains(&wanted)).collect();
        rows.sort_by(|left, right| self.sort.order(left, right));
        if self.direction == Direction::Reversed {
            rows.reverse();
        }
        rows
    }

    /// The place of the marked row among them.
    pub fn marked(&self) -> usize {
        let rows = self.rows();
        self.marked.as_ref().and_then(|name| rows.iter().position(|row| row.name == *name)).unwrap_or(0)
    }

    fn mark(&mut self, place: usize) {
        self.marked = self.rows().get(place).map(|row| row.name.clone());
    }

    fn step(&mut self, steps: isize) {
        let last = self.rows().len().saturating_sub(1);
        self.mark(self.marked().saturating_add_signed(steps).min(last));
    }

    fn enter(&mut self) -> Act {
        if self.detail.is_some() {
            return Act::Nothing;
        }
        let Some(service) = self.rows().get(self.marked()).map(|row| row.name.clone()) else {
            return Act::Nothing;
        };
        self.look_into(Some(service))
    }

    fn look_into(&mut self, service: Option<String>) -> Act {
        self.marked = std::mem::replace(&mut self.detail, service);
        self.filter.clear();
        self.due = true;
        Act::Ask
    }

    pub fn press(&mut self, key: KeyEvent) -> Act {
        if key.kind == KeyEventKind::Release {
            return Act::Nothing;
        }
        if key.modifiers.contains(KeyModifiers::CONTROL) {
            return match key.code {
                KeyCode::Char('c') => Act::Interrupt,
                KeyCode::Char('l') => Act::Redraw,
                _ => Act::Nothing,
            };
        }
        match self.mode {
            Mode::Help => {
                self.mode = Mode::Browsing;
                Act::Nothing
            }
            Mode::Typing => {
                match key.code {
                    KeyCode::Char(letter) => self.filter.push(letter),
                    KeyCode::Backspace => drop(self.filter.pop()),
                    KeyCode::Enter => self.mode = Mode::Browsing,
                    KeyCode::Esc => {
                        self.filter.clear();
                        self.mode = Mode::Browsing;
                    }
                    _ => {}
                }
                Act::Nothing
            }
            Mode::Browsing => self.browse(key.code),
        }
    }

    fn browse(&mut self, code: KeyCode) -> Act {
        match code {
            KeyCode::Char('q') => return Act::Quit,
            KeyCode::Esc | KeyCode::Backspace if self.detail.is_some() => return self.look_into(None),
            KeyCode::Esc if !self.filter.is_empty() => self.filter.clear(),
            KeyCode::Esc => return Act::Quit,
            KeyCode::Char('?' | 'h') => self.mode = Mode::Help,
            KeyCode::Char('/') => self.mode = Mode::Typing,
            KeyCode::Char('s') => (self.sort, self.direction) = (self.sort.next(), Direction::Natural),
            KeyCode::Char('r') => {
                self.direction = match self.direction {
                    Direction::Natural => Direction::Reversed,
                    Direction::Reversed => Direction::Natural,
                };
            }
            KeyCode::Char('p' | ' ') => {
                self.pace = match self.pace {
                    Pace::Running => Pace::Paused,
                    Pace::Paused => {
                        self.due = true;
                        Pace::Running
                    }
                };
            }
            KeyCode::Down | KeyCode::Char('j') => self.step(1),
            KeyCode::Up | KeyCode::Char('k') => self.step(-1),
            KeyCode::PageDown => self.step(10),
            KeyCode::PageUp => self.step(-10),
            KeyCode::Home => self.mark(0),
            KeyCode::End => self.step(isize::MAX),
            KeyCode::Enter | KeyCode::Right => return self.enter(),
            KeyCode::Left if self.detail.is_some() => return self.look_into(None),
            _ => {}
        }
        Act::Nothing
    }
}
