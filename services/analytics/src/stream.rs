//! NDJSON in, NDJSON out: each line is answered after it is stored.
//!
//! Invariants:
//! - the next bytes are read only after the chunk before is stored and its answers are taken, so a slow database or a
//!   slow reader slows the sender and nothing piles up;
//! - at most [`LINE_MAX`] bytes of a line and [`CHUNK_MAX`] lines are held;
//! - answers come in the order of the lines, blank lines have none;
//! - as the process stops, the stream ends after the chunk under way: what was not answered is to be sent again.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, BodyDataStream};
use bytes::Bytes;
use db::Db;
use futures_util::StreamExt;
use kernel::Clock;
use serde::Serialize;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

use crate::commands::{self, Line};
use crate::domain::{Outcome, Refusal, RefusalCode, Source, Transaction};

/// The longest line, without its end.
pub const LINE_MAX: usize = 64 * 1024;
/// The most lines in one transaction.
pub const CHUNK_MAX: usize = 500;
/// How long a chunk that has begun waits for more lines: one fsync for many, and no wait that a person would notice.
const LINGER: Duration = Duration::from_millis(5);

/// What became of one line.
#[derive(Debug, Serialize, schemars::JsonSchema)]
pub struct LineAnswer {
    /// Counted from 1, blank lines included.
    pub line: u64,
    pub result: LineResult,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<RefusalCode>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

#[derive(Debug, Serialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LineResult {
    Accepted,
    Duplicate,
    Rejected,
}

impl LineAnswer {
    fn of(line: u64, outcome: Outcome) -> Self {
        let (result, refusal) = match outcome {
            Outcome::Accepted => (LineResult::Accepted, None),
            Outcome::Duplicate => (LineResult::Duplicate, None),
            Outcome::Rejected(refusal) => (LineResult::Rejected, Some(refusal)),
        };
        let (code, detail) = refusal.map(|refusal| (refusal.code, refusal.detail)).unzip();
        Self { line, result, code, detail }
    }
}

/// Cuts bytes into lines.
#[derive(Debug, Default)]
pub struct Lines {
    partial: Vec<u8>,
    is_skipping: bool,
    /// Lines that have ended or been refused.
    count: u64,
}

/// Lines with their numbers, ready to be stored.
pub type Chunk = Vec<(u64, Line)>;

impl Lines {
    /// Moves lines from `input` to `chunk` until either is done.
    pub fn cut(&mut self, input: &mut Bytes, chunk: &mut Chunk) {
        while chunk.len() < CHUNK_MAX && !input.is_empty() {
            let end = input.iter().position(|byte| *byte == b'\n');
            let part = input.split_to(end.map_or(input.len(), |end| end + 1));
            let part = &part[..end.unwrap_or(part.len())];
            if self.is_skipping {
                self.is_skipping = end.is_none();
                continue;
            }
            if self.partial.len() + part.len() > LINE_MAX {
                let detail = format!("a line may hold at most {LINE_MAX} bytes");
                self.push(chunk, Err(Refusal::new(RefusalCode::LineTooLong, detail)));
                self.partial = Vec::new();
                self.is_skipping = end.is_none();
                continue;
            }
            match end {
                Some(_) if self.partial.is_empty() => self.read(part, chunk),
                Some(_) => {
                    let mut line = std::mem::take(&mut self.partial);
                    line.extend_from_slice(part);
                    self.read(&line, chunk);
                }
                None => self.partial.extend_from_slice(part),
            }
        }
    }

    /// The last line needs no end.
    pub fn finish(&mut self, chunk: &mut Chunk) {
        let line = std::mem::take(&mut self.partial);
        if !line.is_empty() {
            self.read(&line, chunk);
        }
    }

    fn read(&mut self, line: &[u8], chunk: &mut Chunk) {
        if line.iter().all(u8::is_ascii_whitespace) {
            self.count += 1;
            return;
        }
        self.push(chunk, Transaction::read(line));
    }

    fn push(&mut self, chunk: &mut Chunk, line: Line) {
        self.count += 1;
        chunk.push((self.count, line));
    }
}

/// One stream under way.
pub struct Session {
    pub db: Db,
    pub clock: Arc<dyn Clock>,
    pub source: Source,
    pub idle: Duration,
    pub body: BodyDataStream,
    pub stopping: CancellationToken,
    /// Held as long as the stream lives.
    #[expect(dead_code, reason = "its end is what counts")]
    pub permit: OwnedSemaphorePermit,
}

struct Running {
    session: Session,
    input: Bytes,
    lines: Lines,
    has_ended: bool,
}

/// The answers as a body. Whoever takes them drives the stream.
pub fn answer(session: Session) -> Body {
    let running = Running { session, input: Bytes::new(), lines: Lines::default(), has_ended: false };
    Body::from_stream(futures_util::stream::unfold(running, async |mut running| {
        let answers = running.next().await?;
        Some((Ok::<_, std::convert::Infallible>(answers), running))
    }))
}

impl Running {
    /// The answers to the next chunk; `None` at the end.
    async fn next(&mut self) -> Option<Bytes> {
        if self.has_ended || self.session.stopping.is_cancelled() {
            return None;
        }
        let chunk = self.gather().await;
        if chunk.is_empty() {
            return None;
        }
        let (numbers, lines): (Vec<u64>, Vec<Line>) = chunk.into_iter().unzip();
        let outcomes = self.store(lines).await;
        let mut answers = Vec::with_capacity(numbers.len() * 40);
        for (number, outcome) in numbers.into_iter().zip(outcomes) {
            // Writing to memory cannot fail.
            let _ = serde_json::to_writer(&mut answers, &LineAnswer::of(number, outcome));
            answers.push(b'\n');
        }
        Some(answers.into())
    }

    /// Waits for lines; with one at hand it waits for more only as long as [`LINGER`].
    async fn gather(&mut self) -> Chunk {
        let mut chunk = Chunk::new();
        let mut full_by = None;
        while chunk.len() < CHUNK_MAX {
            if !self.input.is_empty() {
                self.lines.cut(&mut self.input, &mut chunk);
                continue;
            }
            let now = Instant::now();
            let until = match chunk.is_empty() {
                true => now + self.session.idle,
                false => *full_by.get_or_insert(now + LINGER),
            };
            // What is always ready never times out: the rest of a refused line must not hold up its answer.
            if until < now {
                break;
            }
            let arrived = tokio::select! {
                biased;
                () = self.session.stopping.cancelled() => {
                    self.has_ended = true;
                    break;
                }
                arrived = timeout_at(until, self.session.body.next()) => arrived,
            };
            match arrived {
                Ok(Some(Ok(bytes))) => self.input = bytes,
                Ok(Some(Err(error))) => {
                    tracing::debug!(%error, "a stream of transactions broke off");
                    self.has_ended = true;
                    break;
                }
                Ok(None) => {
                    self.lines.finish(&mut chunk);
                    self.has_ended = true;
                    break;
                }
                Err(_) if chunk.is_empty() => {
                    let detail = format!("nothing arrived for {} ms", self.session.idle.as_millis());
                    self.lines.push(&mut chunk, Err(Refusal::new(RefusalCode::IdleTimeout, detail)));
                    self.has_ended = true;
                    break;
                }
                Err(_) => break,
            }
        }
        chunk
    }

    async fn store(&mut self, lines: Vec<Line>) -> Vec<Outcome> {
        let count = lines.len();
        let (source, now) = (self.session.source.clone(), self.session.clock.now());
        let stored = self.session.db.write(move |tx| commands::ingest(tx, &source, &lines, now)).await;
        stored.unwrap_or_else(|error| {
            tracing::warn!(error = %error.chain(), "a chunk of transactions was not stored");
            self.has_ended = true;
            let refusal = Refusal::new(RefusalCode::NotStored, error.message());
            vec![Outcome::Rejected(refusal); count]
        })
    }
}
