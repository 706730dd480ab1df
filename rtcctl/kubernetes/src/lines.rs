//! A body as lines, as they come.
//!
//! Invariants: a character or a line that arrives in parts is put together; a line longer than the limit is cut, never
//! kept growing.

use http_body_util::BodyExt;
use kube::client::Body;

/// Reads lines from a body.
pub(crate) struct Lines {
    body: Body,
    buffer: Vec<u8>,
    /// Up to here there is no line feed.
    searched: usize,
    limit: usize,
    at_end: bool,
}

impl Lines {
    pub(crate) fn new(body: Body, limit: usize) -> Self {
        Self { body, buffer: Vec::new(), searched: 0, limit, at_end: false }
    }

    /// The next line without its end; `None` where the body ends as it should.
    pub(crate) async fn next(&mut self) -> Result<Option<Vec<u8>>, kube::Error> {
        loop {
            if let Some(at) = self.buffer[self.searched..].iter().position(|byte| *byte == b'\n') {
                let mut line: Vec<u8> = self.buffer.drain(..=self.searched + at).collect();
                self.searched = 0;
                line.pop();
                return Ok(Some(line));
            }
            self.searched = self.buffer.len();
            if self.buffer.len() > self.limit {
                self.searched = 0;
                return Ok(Some(std::mem::take(&mut self.buffer)));
            }
            if self.at_end {
                self.searched = 0;
                return Ok((!self.buffer.is_empty()).then(|| std::mem::take(&mut self.buffer)));
            }
            match self.body.frame().await {
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        self.buffer.extend_from_slice(&data);
                    }
                }
                Some(Err(error)) => return Err(error),
                None => self.at_end = true,
            }
        }
    }
}
