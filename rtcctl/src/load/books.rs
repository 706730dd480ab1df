//! The account of what was ordered: which orders exist, in which state they are, and which nobody knows about.
//!
//! Invariants: an order is in the books once, under the id that the platform gave it; the journal holds a line for every
//! order in the books from the moment of its acceptance on, and is replaced as a whole when the states are known.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::measure::{Durations, Spread};

/// A line of the journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JournalLine {
    pub id: String,
    pub key: String,
    /// The last state that is known.
    pub status: String,
}

/// An accepted order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accepted {
    /// The number of the request, from which its key and its shopper follow.
    pub index: u64,
    pub id: Box<str>,
    pub state: Box<str>,
}

impl Accepted {
    pub fn is_settled(&self) -> bool {
        is_terminal(&self.state)
    }
}

/// Whether an order in this state stays in it as far as its saga is concerned.
pub fn is_terminal(state: &str) -> bool {
    matches!(state, "confirmed" | "fulfilled" | "rejected" | "cancelled")
}

/// What the report says about orders.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct OrderFigures {
    pub accepted: u64,
    /// Of the accepted: those that were known only when the request was repeated under its key.
    pub recovered: u64,
    /// Answered with a refusal (4xx).
    pub refused: u64,
    /// Turned away by an overloaded platform before anything was done (503 `overloaded`).
    pub shed: u64,
    /// Nobody knows whether they exist.
    pub unknown: u64,
    pub unknown_keys: Vec<String>,
    pub by_state: BTreeMap<String, u64>,
    /// Accepted and not terminal when it was no longer waited for.
    pub unsettled: u64,
    /// From acceptance to the terminal state.
    pub settling: Option<Spread>,
}

/// What the report says about sales that were sent in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct IngestFigures {
    pub accepted: u64,
    pub duplicates: u64,
    pub rejected: u64,
}

/// Written line by line, replaced at the end.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    file: BufWriter<File>,
    error: Option<io::Error>,
}

impl Journal {
    pub fn create(path: &Path) -> io::Result<Self> {
        Ok(Self { path: path.to_owned(), file: BufWriter::new(File::create(path)?), error: None })
    }

    fn add(&mut self, line: &JournalLine) {
        if self.error.is_none() {
            self.error = write_line(&mut self.file, line).err();
        }
    }

    /// Brings what is buffered to the file.
    pub fn flush(&mut self) {
        if self.error.is_none() {
            self.error = self.file.flush().err();
        }
    }

    fn replace(mut self, lines: impl Iterator<Item = JournalLine>) -> io::Result<()> {
        if let Some(error) = self.error.take() {
            return Err(error);
        }
        self.file.flush()?;
        let mut name = self.path.as_os_str().to_owned();
        name.push(".new");
        let beside = PathBuf::from(name);
        let mut file = BufWriter::new(File::create(&beside)?);
        for line in lines {
            write_line(&mut file, &line)?;
        }
        file.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
        std::fs::rename(beside, self.path)
    }
}

fn write_line(file: &mut BufWriter<File>, line: &JournalLine) -> io::Result<()> {
    serde_json::to_writer(&mut *file, line)?;
    file.write_all(b"\n")
}

/// Everything that is known about orders and sales of this run.
#[derive(Debug, Default)]
pub struct Books {
    pub accepted: Vec<Accepted>,
    pub recovered: u64,
    pub refused: u64,
    pub shed: u64,
    /// Numbers of requests whose outcome is open, oldest first.
    pub open: std::collections::VecDeque<u64>,
    pub unknown: Vec<u64>,
    pub settling: Durations,
    pub ingest: IngestFigures,
    pub journal: Option<Journal>,
}

impl Books {
    pub fn accept(&mut self, index: u64, key: String, id: &str, state: &str) {
        if let Some(journal) = &mut self.journal {
            journal.add(&JournalLine { id: id.to_owned(), key, status: state.to_owned() });
        }
        self.accepted.push(Accepted { index, id: id.into(), state: state.into() });
    }

    pub fn settled_after(&mut self, duration: Duration) {
        self.settling.add(duration);
    }

    /// The figures; `key` names a request. At most a hundred unknown keys are listed.
    pub fn figures(&self, key: impl Fn(u64) -> String) -> OrderFigures {
        let mut by_state: BTreeMap<String, u64> = BTreeMap::new();
        for order in &self.accepted {
            *by_state.entry(order.state.to_string()).or_default() += 1;
        }
        OrderFigures {
            accepted: self.accepted.len() as u64,
            recovered: self.recovered,
            refused: self.refused,
            shed: self.shed,
            unknown: (self.unknown.len() + self.open.len()) as u64,
            unknown_keys: self.unknown.iter().chain(&self.open).take(100).map(|&index| key(index)).collect(),
            by_state,
            unsettled: self.accepted.iter().filter(|order| !order.is_settled()).count() as u64,
            settling: self.settling.spread(),
        }
    }

    /// Replaces the journal by the states that are known now.
    pub fn close_journal(&mut self, key: impl Fn(u64) -> String) -> io::Result<()> {
        let Some(journal) = self.journal.take() else { return Ok(()) };
        journal.replace(self.accepted.iter().map(|order| JournalLine {
            id: order.id.to_string(),
            key: key(order.index),
            status: order.state.to_string(),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_journal_grows_with_every_acceptance_and_ends_with_the_known_states() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("orders.ndjson");
        let read = || -> Vec<JournalLine> {
            let text = std::fs::read_to_string(&path).unwrap();
            text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
        };
        let line = |id: &str, status: &str| JournalLine {
            id: id.into(),
            key: format!("k-{id}"),
            status: status.into(),
        };
        let mut books = Books { journal: Some(Journal::create(&path).unwrap()), ..Books::default() };
        books.accept(1, "k-1".into(), "1", "placed");
        books.accept(2, "k-2".into(), "2", "placed");
        books.journal.as_mut().unwrap().flush();
        assert_eq!(read(), [line("1", "placed"), line("2", "placed")]);
        books.accepted[1].state = "confirmed".into();
        books.close_journal(|index| format!("k-{index}")).unwrap();
        assert_eq!(read(), [line("1", "placed"), line("2", "confirmed")]);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left beside it");
    }

    #[test]
    fn what_is_still_open_at_the_end_counts_as_unknown() {
        let mut books = Books { unknown: vec![4], ..Books::default() };
        books.open.push_back(9);
        books.accept(1, String::new(), "a", "confirmed");
        books.accept(2, String::new(), "b", "paying");
        let figures = books.figures(|index| format!("k-{index}"));
        assert_eq!((figures.accepted, figures.unknown, figures.unsettled), (2, 2, 1));
        assert_eq!(figures.unknown_keys, ["k-4", "k-9"]);
    }
}
