//! Bytes into records of fields (RFC 4180 with one freedom: a quotation mark inside an unquoted field is text).
//!
//! Invariants: never more than [`RECORD_LIMIT`] and one line of [`LINE_LIMIT`] bytes are held, whatever comes in; a record
//! that is refused costs its first line only, the lines after it are read again on their own.

use std::collections::VecDeque;
use std::io::{self, BufRead};

use super::{Fault, Refused, shown};

/// The longest line that is looked at; of a longer one only its number is kept.
pub const LINE_LIMIT: usize = 64 * 1024;
/// The longest record, whose quoted fields may span lines.
pub const RECORD_LIMIT: usize = 64 * 1024;
const LINES_LIMIT: usize = 256;

/// The fields of one record. They are bytes: what they mean is for the caller to find out.
#[derive(Debug, Default)]
pub struct Record {
    /// The number of the line on which the record begins, from 1.
    pub line: u64,
    text: Vec<u8>,
    ends: Vec<usize>,
}

impl Record {
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    pub fn field(&self, index: usize) -> Option<&[u8]> {
        let end = *self.ends.get(index)?;
        let start = if index == 0 { 0 } else { self.ends[index - 1] };
        Some(&self.text[start..end])
    }

    pub fn fields(&self) -> impl Iterator<Item = &[u8]> {
        (0..self.len()).filter_map(|index| self.field(index))
    }

    fn clear(&mut self) {
        self.text.clear();
        self.ends.clear();
    }

    fn is_blank(&self) -> bool {
        self.ends.len() == 1 && self.text.iter().all(u8::is_ascii_whitespace)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    FieldStart,
    Plain,
    Quoted,
    QuoteInQuoted,
}

struct Scanner {
    delimiter: u8,
    state: State,
}

enum Scan {
    Complete,
    WantsMore,
    BadQuote,
}

impl Scanner {
    /// Takes one line without its line feed.
    fn take(&mut self, line: &[u8], record: &mut Record) -> Scan {
        for (index, &byte) in line.iter().enumerate() {
            let ends_the_line = byte == b'\r' && index + 1 == line.len();
            self.state = match self.state {
                State::Quoted if byte == b'"' => State::QuoteInQuoted,
                State::Quoted => {
                    record.text.push(byte);
                    State::Quoted
                }
                State::FieldStart if byte == b'"' => State::Quoted,
                _ if ends_the_line => continue,
                State::QuoteInQuoted if byte == b'"' => {
                    record.text.push(byte);
                    State::Quoted
                }
                _ if byte == self.delimiter => {
                    record.ends.push(record.text.len());
                    State::FieldStart
                }
                State::QuoteInQuoted => return Scan::BadQuote,
                State::FieldStart | State::Plain => {
                    record.text.push(byte);
                    State::Plain
                }
            };
        }
        if self.state == State::Quoted {
            record.text.push(b'\n');
            return Scan::WantsMore;
        }
        record.ends.push(record.text.len());
        Scan::Complete
    }
}

/// A line as it was read: its text without the line feed, or the length of one that was too long to keep.
#[derive(Debug)]
enum Content {
    Text(Vec<u8>),
    TooLong(u64),
}

#[derive(Debug)]
struct Line {
    number: u64,
    content: Content,
}

/// Reads records one after the other.
pub struct Records<R> {
    reader: R,
    delimiter: u8,
    next_line: u64,
    /// Lines that were read as the rest of a record that turned out not to be one.
    again: VecDeque<Line>,
    spare: Vec<Vec<u8>>,
    /// The lines after the first of the record last handed out.
    rest: Vec<Line>,
}

impl<R: BufRead> Records<R> {
    pub fn new(reader: R) -> Self {
        Self {
            reader,
            delimiter: b',',
            next_line: 1,
            again: VecDeque::new(),
            spare: Vec::new(),
            rest: Vec::new(),
        }
    }

    pub fn split_by(&mut self, delimiter: u8) {
        self.delimiter = delimiter;
    }

    /// Fills `record` with the next one that is not blank: `Ok(None)` at the end, `Some(Err(_))` for a refused line.
    pub fn next(&mut self, record: &mut Record) -> io::Result<Option<Result<(), Refused>>> {
        loop {
            let Some(Line { number, content }) = self.line()? else { return Ok(None) };
            let first = match content {
                Content::Text(text) => text,
                Content::TooLong(bytes) => {
                    let detail = format!("{bytes} bytes in one line; the most is {LINE_LIMIT}");
                    return Ok(Some(Err(Refused::new(number, Fault::LineTooLong, detail))));
                }
            };
            let outcome = self.assemble(&first, number, record);
            self.keep_spare(first);
            match outcome? {
                Ok(()) if record.is_blank() => {}
                other => return Ok(Some(other)),
            }
        }
    }

    /// Says that the record just handed out was none: every line of it but the first is read again.
    pub fn reject(&mut self) {
        while let Some(line) = self.rest.pop() {
            self.again.push_front(line);
        }
    }

    fn assemble(
        &mut self,
        first: &[u8],
        number: u64,
        record: &mut Record,
    ) -> io::Result<Result<(), Refused>> {
        record.clear();
        record.line = number;
        while let Some(line) = self.rest.pop() {
            if let Content::Text(text) = line.content {
                self.keep_spare(text);
            }
        }
        let mut scanner = Scanner { delimiter: self.delimiter, state: State::FieldStart };
        let mut scan = scanner.take(first, record);
        loop {
            let detail = match scan {
                Scan::Complete => return Ok(Ok(())),
                Scan::BadQuote => "text after the closing quotation mark of a field",
                Scan::WantsMore if record.text.len() > RECORD_LIMIT || self.rest.len() >= LINES_LIMIT => {
                    "a quotation mark is opened and not closed"
                }
                Scan::WantsMore => match self.line()? {
                    Some(line) => {
                        let next = match &line.content {
                            Content::Text(text) => Some(scanner.take(text, record)),
                            Content::TooLong(_) => None,
                        };
                        self.rest.push(line);
                        match next {
                            Some(next) => {
                                scan = next;
                                continue;
                            }
                            None => "a quotation mark is opened before a line that is too long",
                        }
                    }
                    None => "a quotation mark is opened and not closed",
                },
            };
            self.reject();
            return Ok(Err(Refused::new(number, Fault::BadQuoting, format!("{detail}: {}", shown(first)))));
        }
    }

    fn line(&mut self) -> io::Result<Option<Line>> {
        if let Some(line) = self.again.pop_front() {
            return Ok(Some(line));
        }
        let mut text = self.spare.pop().unwrap_or_default();
        text.clear();
        let content = loop {
            let chunk = match self.reader.fill_buf() {
                Ok(chunk) => chunk,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            if chunk.is_empty() {
                if text.is_empty() {
                    return Ok(None);
                }
                break Content::Text(text);
            }
            let (taken, ended) = match chunk.iter().position(|&byte| byte == b'\n') {
                Some(at) => (at, true),
                None => (chunk.len(), false),
            };
            if text.len() + taken > LINE_LIMIT {
                let before = text.len() as u64;
                self.keep_spare(text);
                break Content::TooLong(before + self.reader.skip_until(b'\n')? as u64);
            }
            text.extend_from_slice(&chunk[..taken]);
            self.reader.consume(taken + usize::from(ended));
            if ended {
                break Content::Text(text);
            }
        };
        let number = self.next_line;
        self.next_line += 1;
        Ok(Some(Line { number, content }))
    }

    fn keep_spare(&mut self, line: Vec<u8>) {
        if self.spare.len() < 4 {
            self.spare.push(line);
        }
    }

    /// The number of the line that is read next.
    pub fn position(&self) -> u64 {
        self.next_line
    }
}
